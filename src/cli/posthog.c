/* posthog: a table of sub-verbs, and questions that are waited for. */
#include "cli/posthog.h"

#include <stdio.h>
#include <string.h>

#include "cli/verbs.h"
#include "config/route.h"
#include "export/posthog.h"
#include "util/clock.h"

#define PATIENCE_MS 120000 /* of a command, for a 429 */

static const struct subverb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *arguments, *what, *options;
} subverbs[] = {
    {"check", posthog_check, "[--json]",
     "whose key this is, what is missing, and whether logs are thrown away; exit code 0 or 1",
     "  --json            findings as one document\n"},
    {"analyze", posthog_analyze,
     "[--hours N] [--minutes N] [--write FILE] [--warm] [--admin URL] [--json]",
     "what the stored logs cost, and what a policy would save; logs:read is enough",
     "  --hours N         of so many hours until now; 24 by default\n"
     "  --minutes N       it takes at most so long; 5 by default, and at most\n"
     "  --write FILE      the policy that was priced; lipservice-policy.json by default\n"
     "  --warm            tell the running program which patterns are known\n"
     "  --admin URL       its admin page; that of the configuration by default\n"
     "  --json            one document\n"},
    {"verify", posthog_verify, "[--hours N] [--json]",
     "is stored what the running sidecar has sent? exit code 0 or 1",
     "  --hours N         how far back, from 1 to 24; 1\n"
     "  --json            as one document\n"
     "  --admin URL       where its admin page is; else telemetry.admin.endpoint says\n"},
    {"dashboard", posthog_dashboard, "--print | --apply | --remove",
     "charts of what is kept, dropped and saved",
     "  --print           a template that can be imported by hand; needs no key\n"
     "  --apply           put it there, in place of an older one of ours\n"
     "  --remove          remove it, and its insights\n"},
    {"alerts", posthog_alerts, "--print | --apply [--enable] | --remove",
     "alerts on losses, a missing canary, suppressed errors and surges",
     "  --print           the alerts as one document; needs no key\n"
     "  --apply           create them, disabled; thresholds that were changed there stay\n"
     "  --enable          and enable ours\n"
     "  --remove          remove ours\n"},
    {"rules", posthog_rules, "--print | --diff | --apply | --remove",
     "the part of the policy that PostHog's drop rules can say, for what does not pass here",
     "  --print           the rules, and what cannot be said, as one document; needs no key\n"
     "  --diff            what --apply would do\n"
     "  --apply           create and change ours, disabled; those of others stay\n"
     "  --remove          remove ours\n"},
};

static int print_overview(void)
{
    printf("lipservice posthog: what PostHog itself knows and stores, by its app API\n\n"
           "usage: lipservice posthog COMMAND [--config FILE] [--set KEY=VALUE]...\n"
           "       lipservice posthog COMMAND --help\n\n");
    for (size_t i = 0; i < ARRAY_LEN(subverbs); i++)
        printf("  %-13s %s\n", subverbs[i].name, subverbs[i].what);
    printf("\n"
           "posthog.personal_api_key (POSTHOG_PERSONAL_API_KEY) is the key that is shown, and\n"
           "exporters.posthog.api_key (POSTHOG_API_KEY) says which project.\n");
    return EXIT_OK;
}

int verb_posthog(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return print_overview();
    for (size_t i = 0; i < ARRAY_LEN(subverbs); i++) {
        const struct subverb *v = &subverbs[i];
        if (strcmp(argv[1], v->name) != 0)
            continue;
        if (argc < 3 || strcmp(argv[2], "--help") != 0)
            return v->run(argc - 1, argv + 1);
        printf("lipservice posthog %s: %s\n\nusage: lipservice posthog %s %s\n\n%s%s", v->name,
               v->what, v->name, v->arguments, v->options, COMMAND_COMMON_TEXT);
        return EXIT_OK;
    }
    return command_usage_error("unknown command posthog ", argv[1]);
}

/* ---- session ----------------------------------------------------------- */

int posthog_open(struct posthog_session *s, int argc, char **argv, const struct command_flag *flags,
                 size_t flag_count, int *first)
{
    *s = (struct posthog_session){.app = NULL};
    char host[UPSTREAM_URL_BYTES];
    struct error err = {{0}};
    int code = command_load(argc, argv, flags, flag_count, &s->cfg, first);
    if (code != 0)
        return code;
    s->has_config = true;
    if (s->cfg.app.personal_api_key[0] == '\0')
        return command_die(
            err_set(&err, ERR_CONFIG,
                    "posthog.personal_api_key is not set: make a key under Settings, Personal API "
                    "keys, and pass it as POSTHOG_PERSONAL_API_KEY"),
            &err);
    struct app_opts opts = {
        .host = host,
        .key = s->cfg.app.personal_api_key,
        .project_id = s->cfg.app.project_id,
        .patience_ms = PATIENCE_MS,
        .clock = clock_real(),
    };
    int rc = posthog_app_url(host, s->cfg.app.host, s->cfg.posthog.host, &err);
    if (rc == 0)
        rc = config_open_route(&opts.route, &s->cfg.posthog.route, "exporters.posthog", &err);
    if (rc == 0)
        rc = uv_loop_init(&s->loop);
    s->has_loop = rc == 0;
    if (rc == 0)
        rc = app_open(&s->app, &s->loop, &opts);
    return rc < 0 ? command_die(rc, &err) : 0;
}

void posthog_close(struct posthog_session *s)
{
    app_close(s->app);
    s->app = NULL;
    if (s->has_loop) {
        uv_run(&s->loop, UV_RUN_DEFAULT);
        uv_loop_close(&s->loop);
    }
    if (s->has_config)
        config_done(&s->cfg);
    s->has_loop = s->has_config = false;
}

void posthog_wait(struct posthog_session *s, const bool *is_over)
{
    while (!*is_over && uv_run(&s->loop, UV_RUN_ONCE) != 0)
        continue;
}

static int exit_code(enum app_fault fault)
{
    switch (fault) {
    case APP_FINE:
        return EXIT_OK;
    case APP_BAD_KEY:
    case APP_NO_SCOPE:
    case APP_FORBIDDEN:
        return EXIT_CONFIG;
    case APP_NO_ROOM:
    case APP_REFUSED:
        return EXIT_BUG;
    default:
        return EXIT_UNAVAILABLE;
    }
}

int posthog_die(const struct app_verdict *v)
{
    fprintf(stderr, "lipservice: %s%s%s\n", v->text, v->remedy[0] != '\0' ? "; " : "", v->remedy);
    return exit_code(v->fault);
}

/* ---- one question ------------------------------------------------------ */

static void on_reply(void *ctx, const struct app_answer *a)
{
    struct posthog_reply *reply = ctx;
    app_verdict_copy(&reply->verdict, a);
    reply->status = a->status;
    reply->root = a->root;
    reply->doc = *a->doc;
    *a->doc = NULL;
    reply->is_there = true;
}

int posthog_ask(struct posthog_session *s, const char *method, const char *path,
                const struct buf *body, size_t max_bytes, struct posthog_reply *reply)
{
    *reply = (struct posthog_reply){.doc = NULL};
    const struct app_request r = {
        .method = method,
        .path = path,
        .body = body != NULL ? buf_span(body) : (struct span){0},
        .max_answer_bytes = max_bytes,
        .ctx = reply,
        .done = on_reply,
    };
    if (app_send(s->app, &r, NULL) < 0) {
        reply->verdict.fault = APP_NO_ROOM;
        snprintf(reply->verdict.text, sizeof reply->verdict.text, "the request is too large");
        return exit_code(APP_NO_ROOM);
    }
    posthog_wait(s, &reply->is_there);
    return exit_code(reply->verdict.fault);
}

void posthog_reply_done(struct posthog_reply *reply)
{
    json_doc_free(reply->doc);
    reply->doc = NULL;
}

/* ---- the project ------------------------------------------------------- */

static void on_project(void *ctx, const struct project *p)
{
    (void)p;
    *(bool *)ctx = true;
}

int posthog_open_project(struct posthog_session *s, int argc, char **argv,
                         const struct command_flag *flags, size_t flag_count, int *first)
{
    bool is_over = false;
    struct error err = {{0}};
    int code = posthog_open(s, argc, argv, flags, flag_count, first);
    if (code != 0)
        return code;
    struct project *p = &s->project;
    int rc = project_find(p, s->app, s->cfg.posthog.api_key, s->cfg.app.project_id, on_project,
                          &is_over);
    if (rc < 0)
        return command_die(rc, &err);
    posthog_wait(s, &is_over);
    if (p->outcome == PROJECT_UNASKED)
        return posthog_die(&p->fault);
    if (p->outcome == PROJECT_UNKNOWN && p->token[0] == '\0')
        return command_die(
            err_set(&err, ERR_CONFIG,
                    "posthog.project_id: must be set where exporters.posthog.api_key "
                    "is not and there are several projects"),
            &err);
    if (p->outcome == PROJECT_UNKNOWN)
        return command_die(
            err_set(&err, ERR_CONFIG,
                    "exporters.posthog.api_key is the key of none of the %u projects that the "
                    "personal API key may see at %s",
                    p->listed, app_host(s->app)),
            &err);
    return EXIT_OK;
}
