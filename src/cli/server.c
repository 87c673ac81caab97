/* server: the policy server, until a signal. */
#include "server/server.h"

#include "cli/command.h"
#include "cli/verbs.h"
#include "util/diag.h"

int verb_server(int argc, char **argv)
{
    static struct config cfg;
    struct server *server;
    struct error err = {{0}};
    server_early();
    int code = command_load(argc, argv, NULL, 0, &cfg, NULL);
    if (code != 0)
        return code;
    struct diag_opts log = {cfg.telemetry.log_level, cfg.telemetry.log_json};
    diag_setup(&log);
    int rc = server_start(&server, &cfg, &err);
    if (rc == 0) {
        server_run(server);
        server_stop(server);
    } else {
        code = command_die(rc, &err);
    }
    config_done(&cfg);
    return code;
}
