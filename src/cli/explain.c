/* explain: what explain writes goes to standard output; --live asks the sidecar for it. */
#include "cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/admin.h"
#include "cli/command.h"
#include "cli/input.h"
#include "config/pipeline.h"
#include "telemetry/explain.h"

struct verb {
    struct config cfg;
    struct rules *rules;
    struct pipeline *pipeline;
    struct explain explain;
    const char *service, *severity, *admin;
    const char *text; /* NULL: standard input */
    bool json, live;
};

static void on_words(void *ctx, struct span text)
{
    (void)ctx;
    fwrite(text.base, 1, text.len, stdout);
}

static void on_refused(void *ctx, size_t line, const char *why)
{
    (void)ctx;
    fprintf(stderr, "lipservice: explain: line %zu: %s\n", line, why);
}

static int explain_here(struct verb *v)
{
    struct pipeline_opts opts = config_pipeline(&v->cfg);
    opts.clock = clock_real();
    struct error err = {{0}};
    struct input in = {0};
    int code = command_rules(&v->rules, &v->cfg, v->cfg.sampling.policy_file);
    if (code != 0)
        return code;
    int rc = pipeline_new(&v->pipeline, &opts, v->rules);
    const struct explain_opts explain = {
        .pipeline = v->pipeline,
        .rule_text = config_rule_text,
        .rules = &v->cfg,
        .json = v->json,
        .is_strict = v->cfg.receiver.strict,
        .service = span_str(v->service),
        .severity = span_str(v->severity),
        .write = on_words,
        .refused = on_refused,
    };
    if (rc == 0)
        rc = explain_init(&v->explain, &explain);
    if (rc == 0 && v->text != NULL)
        rc = explain_line(&v->explain, span_str(v->text));
    else if (rc == 0 && (rc = input_open(&in, "-", &err)) == 0)
        rc = explain_text(&v->explain, in.text);
    input_close(&in);
    if (rc < 0)
        return command_die(rc, &err);
    return v->explain.records == 0 && v->explain.refused > 0 ? EXIT_USAGE : EXIT_OK;
}

static int explain_live(struct verb *v)
{
    struct error err = {{0}};
    struct buf target = {0};
    struct input in = {0};
    if (v->text != NULL)
        in.text = span_str(v->text);
    else if (input_open(&in, "-", &err) < 0)
        return command_die(ERR_IO, &err);
    buf_printf(&target, "/api/explain?as=%s", v->json ? "json" : "words");
    admin_add_query(&target, "input", v->text != NULL ? "line" : "");
    admin_add_query(&target, "service", v->service);
    admin_add_query(&target, "severity", v->severity);
    int code = admin_ask(&v->cfg, v->admin, &target, in.text, stdout);
    if (v->text == NULL)
        input_close(&in);
    buf_done(&target);
    return code;
}

int verb_explain(int argc, char **argv)
{
    static struct verb v;
    const struct command_flag flags[] = {
        {.name = "json", .given = &v.json},         {.name = "service", .value = &v.service},
        {.name = "severity", .value = &v.severity}, {.name = "live", .given = &v.live},
        {.name = "admin", .value = &v.admin},
    };
    int first;
    v = (struct verb){.service = "", .severity = ""};
    int code = command_load(argc, argv, flags, ARRAY_LEN(flags), &v.cfg, &first);
    if (code != 0)
        return code;
    v.text = argv[first];
    if (first + 1 < argc)
        code = command_usage_error("one text at most, in quotes: ", argv[first + 1]);
    else if (v.severity[0] != '\0' && log_severity_of_text(span_str(v.severity)) == 0)
        code = command_usage_error("--severity: not a level that is known: ", v.severity);
    else
        code = v.live || v.admin != NULL ? explain_live(&v) : explain_here(&v);
    if (fflush(stdout) != 0 && code == 0)
        code = EXIT_BUG;
    explain_done(&v.explain);
    pipeline_free(v.pipeline);
    rules_unref(v.rules);
    config_done(&v.cfg);
    return code;
}
