/* redact: a dry run of redaction on lines or OTLP; what it finds, and what it leaves. */
#include "cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>

#include "cli/command.h"
#include "cli/input.h"
#include "config/config.h"
#include "otlp/capture.h"
#include "otlp/json_write.h"

#define ARENA_BYTES (64u << 20) /* what lies around the records of one request */

struct verb {
    struct config cfg;
    struct redactor *redactor;
    struct capture capture;
    struct arena arena;
    struct buf out, request, piece;
    unsigned long long number; /* of the line, or the record */
    uint64_t found, refused;
    bool only_text;
};

static void print(const struct buf *out)
{
    fwrite(out->base, 1, out->len, stdout);
}

/* ---- lines -------------------------------------------------------------- */

static void on_found(void *ctx, const struct redact_found *f)
{
    struct verb *v = ctx;
    v->found++;
    if (!v->only_text)
        printf("%llu:%zu: %s\n", v->number, f->at + 1, f->kind);
}

static int redact_lines(struct verb *v, struct span text)
{
    while (text.len > 0) {
        const uint8_t *end = memchr(text.base, '\n', text.len);
        struct span line = end == NULL ? text : span_of(text.base, (size_t)(end - text.base));
        text = span_skip(text, line.len + (end != NULL));
        v->number++;
        buf_clear(&v->out);
        int hits = redactor_text(v->redactor, line, on_found, v, &v->out);
        if (hits < 0)
            return hits;
        buf_append_byte(&v->out, '\n');
        if (hits > 0 || v->only_text)
            print(&v->out);
    }
    return v->out.err;
}

/* ---- records ------------------------------------------------------------ */

static void on_found_in_record(void *ctx, const struct redact_found *f)
{
    struct verb *v = ctx;
    v->found++;
    if (!v->only_text)
        printf("%llu: %s%s%.*s:%zu: %s\n", v->number, redact_where_name(f->where),
               f->name.len > 0 ? " " : "", (int)f->name.len, (const char *)f->name.base, f->at + 1,
               f->kind);
}

/* A request of this one record, as a line of JSON. */
static int print_record(struct verb *v, const struct logs_group *g, struct span record)
{
    buf_clear(&v->piece);
    buf_append(&v->piece, g->scope);
    wire_append_len(&v->piece, 2, record); /* ScopeLogs.log_records */
    buf_clear(&v->out);
    buf_append(&v->out, g->resource);
    wire_append_len(&v->out, 2, buf_span(&v->piece)); /* ResourceLogs.scope_logs */
    buf_clear(&v->request);
    wire_append_len(&v->request, 1, buf_span(&v->out)); /* ExportLogsServiceRequest */
    buf_clear(&v->out);
    int rc = v->request.err != 0 ? v->request.err : json_write_logs(&v->out, buf_span(&v->request));
    buf_append_byte(&v->out, '\n');
    if (rc == 0)
        print(&v->out);
    return rc;
}

static int on_record(void *ctx, const struct logs_group *g, struct span record)
{
    struct verb *v = ctx;
    struct logs_group clean;
    v->number++;
    int rc = redactor_pass(v->redactor, 0, &g, &record, &clean);
    if (rc == REDACT_DROPPED && !v->only_text)
        printf("%llu: dropped\n", v->number);
    if (rc < 0 || rc == REDACT_DROPPED || (rc == REDACT_SAME && !v->only_text))
        return rc < 0 ? rc : 0;
    return print_record(v, g, record);
}

static int on_request(void *ctx, struct span request, const struct logs_count *count, size_t end)
{
    struct verb *v = ctx;
    (void)count;
    (void)end;
    int rc = logs_each(request, 0, &v->arena, on_record, v);
    arena_reset(&v->arena);
    return rc < 0 ? -rc : 0;
}

static void on_refused(void *ctx, size_t line, const char *why)
{
    struct verb *v = ctx;
    v->refused++;
    fprintf(stderr, "lipservice: redact: line %zu: %s\n", line, why);
}

static bool is_request(struct span text)
{
    struct logs_count count;
    return logs_check(text, &count) == 0 && count.records > 0;
}

static int redact_all(struct verb *v, struct span text)
{
    const struct capture_sink sink = {v, on_request, on_refused};
    if (!capture_is_json(text) && !is_request(text))
        return redact_lines(v, text);
    int rc = capture_read(&v->capture, text, &sink);
    return rc > 0 ? -rc : rc;
}

/* ---- the verb ----------------------------------------------------------- */

static int redact_file(struct verb *v, const char *path)
{
    struct redact_opts opts;
    struct error err = {{0}};
    struct input in = {0};
    int rc = input_open(&in, path, &err);
    if (rc == 0)
        rc = config_redaction(&v->cfg, &opts, &err);
    opts.mode = REDACT_ENFORCE;
    opts.found = on_found_in_record;
    opts.ctx = v;
    if (rc == 0)
        rc = redactor_new(&v->redactor, &opts);
    if (rc == 0)
        rc = capture_init(&v->capture, false);
    arena_init(&v->arena, ARENA_BYTES, NULL);
    if (rc == 0)
        rc = redact_all(v, in.text);
    input_close(&in);
    if (rc < 0)
        return command_die(rc, &err);
    return v->number == 0 && v->refused > 0 ? EXIT_USAGE : EXIT_OK;
}

int verb_redact(int argc, char **argv)
{
    static struct verb v;
    const struct command_flag flags[] = {{.name = "text", .given = &v.only_text}};
    int first;
    v = (struct verb){0};
    int code = command_load(argc, argv, flags, ARRAY_LEN(flags), &v.cfg, &first);
    if (code != 0)
        return code;
    if (v.cfg.redaction.mode == REDACT_OFF)
        v.cfg.redaction.mode = REDACT_DETECT; /* its settings are looked at all the same */
    if (argv[first] != NULL && first + 1 < argc)
        code = command_usage_error("one file at most: ", argv[first + 1]);
    else
        code = redact_file(&v, argv[first] != NULL ? argv[first] : "-");
    if (fflush(stdout) != 0 && code == 0)
        code = EXIT_BUG;
    struct buf *bufs[] = {&v.out, &v.request, &v.piece};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_done(bufs[i]);
    capture_done(&v.capture);
    arena_done(&v.arena);
    redactor_free(v.redactor);
    config_done(&v.cfg);
    return code;
}
