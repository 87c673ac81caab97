/* posthog check: one check, printed. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/posthog.h"
#include "posthog/check.h"

#define EXIT_FAULTS 1

static void on_done(void *ctx)
{
    *(bool *)ctx = true;
}

static int run_check(struct posthog_session *s, struct check *c, bool as_json)
{
    bool is_over = false;
    struct buf out = {0};
    const struct check_opts opts = {
        .app = s->app,
        .token = s->cfg.posthog.api_key,
        .ingestion_host = s->cfg.posthog.host,
        .project_id = s->cfg.app.project_id,
        .leads = s->cfg.app.leads,
        .ctx = &is_over,
        .done = on_done,
    };
    int rc = check_start(c, &opts);
    if (rc < 0)
        return command_die(rc, &(struct error){{0}});
    posthog_wait(s, &is_over);
    (as_json ? check_write_json : check_write_text)(c, &out);
    fwrite(out.base, 1, out.len, stdout);
    buf_done(&out);
    return c->findings.faults > 0 ? EXIT_FAULTS : EXIT_OK;
}

int posthog_check(int argc, char **argv)
{
    struct posthog_session s;
    struct check *check = calloc(1, sizeof *check);
    bool as_json = false;
    const struct command_flag flags[] = {{"json", NULL, &as_json}};
    int code = posthog_open(&s, argc, argv, flags, ARRAY_LEN(flags), NULL);
    if (code == 0)
        code = check == NULL ? EXIT_BUG : run_check(&s, check, as_json);
    posthog_close(&s);
    free(check);
    return code;
}
