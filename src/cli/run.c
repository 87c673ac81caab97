/* run: the sidecar, until a signal. */
#include "cli/run.h"

#include <string.h>
#include <unistd.h>

#include "cli/verbs.h"
#include "sidecar/sidecar.h"
#include "util/diag.h"

static void say_started(int started)
{
    if (started < 0)
        return;
    ssize_t n = write(started, "!", 1);
    (void)n; /* the one that waits for it may have gone */
    close(started);
}

int run_sidecar(const struct command_options *o, int started)
{
    static struct config cfg;
    struct sidecar *sidecar;
    struct error err = {{0}};
    char quoted[DIAG_QUOTE_BYTES];
    const char *variable;
    int code = command_load_options(o, &cfg);
    if (code != 0)
        return code;
    struct diag_opts log = {cfg.telemetry.log_level, cfg.telemetry.log_json};
    diag_setup(&log);
    for (size_t at = 0; (variable = config_unknown_variable(environ, &at)) != NULL;)
        diag(DIAG_WARN, "unknown_variable", "no setting has this name; it is not read",
             "variable=%s", diag_quote(quoted, span_of(variable, strcspn(variable, "="))));
    int rc = sidecar_start(&sidecar, &cfg, &o->input, &err);
    if (rc == 0) {
        say_started(started);
        sidecar_run(sidecar);
        sidecar_stop(sidecar);
    } else {
        code = command_die(rc, &err);
    }
    config_done(&cfg);
    return code;
}

int verb_run(int argc, char **argv)
{
    static struct command_options o;
    sidecar_early();
    int code = command_parse(argc, argv, NULL, 0, &o, NULL);
    return code != 0 ? code : run_sidecar(&o, -1);
}
