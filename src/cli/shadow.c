/* shadow: the admin page, as it comes. */
#include "cli/verbs.h"

#include <stdio.h>

#include "cli/admin.h"
#include "cli/command.h"

int verb_shadow(int argc, char **argv)
{
    static struct config cfg;
    const char *admin = NULL, *limit = "25";
    bool json = false;
    struct buf target = {0};
    const struct command_flag flags[] = {
        {.name = "json", .given = &json},
        {.name = "limit", .value = &limit},
        {.name = "admin", .value = &admin},
    };
    int first, code = command_load(argc, argv, flags, ARRAY_LEN(flags), &cfg, &first);
    if (code != 0)
        return code;
    if (first < argc) {
        code = command_usage_error("unexpected argument ", argv[first]);
    } else {
        buf_append_str(&target, "/api/shadow");
        admin_add_query(&target, "limit", limit);
        admin_add_query(&target, "as", json ? "json" : "words");
        code = admin_ask(&cfg, admin, &target, (struct span){0}, stdout);
    }
    buf_done(&target);
    config_done(&cfg);
    return code;
}
