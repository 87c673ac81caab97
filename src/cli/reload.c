/* reload: a POST to the admin page. */
#include "cli/verbs.h"

#include <stdio.h>

#include "cli/admin.h"
#include "cli/command.h"

int verb_reload(int argc, char **argv)
{
    static struct config cfg;
    const char *admin = NULL;
    struct buf target = {0};
    const struct command_flag flags[] = {{.name = "admin", .value = &admin}};
    int first, code = command_load(argc, argv, flags, ARRAY_LEN(flags), &cfg, &first);
    if (code != 0)
        return code;
    if (first < argc) {
        code = command_usage_error("unexpected argument ", argv[first]);
    } else {
        buf_append_str(&target, "/api/reload");
        code = admin_ask(&cfg, admin, &target, SPAN(""), stdout);
    }
    buf_done(&target);
    config_done(&cfg);
    return code;
}
