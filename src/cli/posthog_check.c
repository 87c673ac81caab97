/* posthog check */
#include <stdio.h>

#include "cli/posthog.h"

int posthog_check(int argc, char **argv)
{
    struct posthog_session s;
    bool json = false;
    const struct command_flag flags[] = {{"json", NULL, &json}};
    int code = posthog_open_project(&s, argc, argv, flags, ARRAY_LEN(flags), NULL);
    if (code == 0)
        printf("project %u\n", s.project.id);
    posthog_close(&s);
    return code;
}
