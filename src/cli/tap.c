/* tap: lines of JSON come in, readable lines or the same JSON go out. */
#include "cli/verbs.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cli/admin.h"
#include "cli/command.h"
#include "cli/term.h"
#include "otlp/json_object.h"

#define LINE_BYTES ((size_t)1 << 16) /* of one line of the sidecar's */
#define BODY_COLUMNS 400

struct verb {
    struct config cfg;
    struct admin admin;
    struct client_call *call; /* NULL when it is over */
    struct json_object *json;
    struct buf part, line; /* what came of a line; what is written */
    uv_signal_t interrupts[2];
    uv_idle_t stop;
    bool is_raw, has_colour, is_over, has_noted;
    uint64_t limit, lines;
    uint64_t matched, over_rate, slow; /* as the sidecar said last */
    uint64_t printed;                  /* records not shown, as printed last */
    int code;
};

/* ---- one line ---------------------------------------------------------- */

struct row {
    double time;
    struct span service, severity, verdict, reason, pattern, family, body;
    double rate;
    bool is_sums, is_observing;
    uint64_t matched, over_rate, slow;
};

static bool on_member(void *arg, const struct json_member *m)
{
    struct row *r = arg;
    const struct {
        const char *name;
        struct span *text;
        double *real;
        uint64_t *number;
    } members[] = {
        {"service", &r->service},
        {"severity", &r->severity},
        {"verdict", &r->verdict},
        {"reason", &r->reason},
        {"pattern", &r->pattern},
        {"family", &r->family},
        {"body", &r->body},
        {"time", NULL, &r->time},
        {"rate", NULL, &r->rate},
        {"matched", NULL, NULL, &r->matched},
        {"over_rate", NULL, NULL, &r->over_rate},
        {"slow", NULL, NULL, &r->slow},
    };
    if (span_eq(m->key, SPAN("tap")))
        r->is_sums = true;
    if (r->is_sums && span_eq(m->key, SPAN("observing")))
        r->is_observing = m->number != 0;
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (!span_eq(m->key, span_str(members[i].name)))
            continue;
        if (members[i].text != NULL)
            *members[i].text = m->text;
        else if (members[i].real != NULL)
            *members[i].real = m->kind == JSON_DOUBLE ? m->real : (double)m->number;
        else
            *members[i].number = m->number;
    }
    return true;
}

static const char *colour_of(const struct row *r)
{
    if (r->is_sums)
        return "\033[2m";
    return span_eq(r->verdict, SPAN("kept")) ? "\033[32m" : "\033[33m";
}

static void add_time(struct buf *out, double unix_s)
{
    char text[16];
    time_t t = (time_t)unix_s;
    struct tm tm;
    strftime(text, sizeof text, "%H:%M:%S", localtime_r(&t, &tm));
    buf_printf(out, "%s.%03d ", text, (int)((unix_s - (double)t) * 1000));
}

/* 13:05:24.123 checkout WARN  sampled_out severity_rate 0.5 lps1:... user 7 logged in */
static void write_words(struct verb *v, const struct row *r)
{
    struct buf *out = &v->line;
    uint64_t missed = r->over_rate + r->slow;
    buf_clear(out);
    if (v->has_colour)
        buf_append_str(out, colour_of(r));
    if (r->is_sums && missed == v->printed)
        return;
    if (r->is_sums) {
        buf_printf(out, "... %" PRIu64 " more matched and were not shown", missed - v->printed);
        v->printed = missed;
    } else {
        add_time(out, r->time);
        term_add_padded(out, r->service.len > 0 ? r->service : SPAN(TERM_UNNAMED), 12);
        buf_append_byte(out, ' ');
        term_add_padded(out, r->severity, 5);
        buf_append_byte(out, ' ');
        term_add_padded(out, r->verdict, 15);
        buf_append_byte(out, ' ');
        term_add_padded(out, r->reason, 13);
        buf_printf(out, " %-8.4g ", r->rate);
        term_add(out, r->pattern, 24);
        if (!span_eq(r->family, r->pattern)) {
            buf_append_byte(out, '>');
            term_add(out, r->family, 24);
        }
        if (v->has_colour)
            buf_append_str(out, "\033[0m");
        buf_append_byte(out, ' ');
        term_add(out, r->body, BODY_COLUMNS);
    }
    buf_append_str(out, v->has_colour ? "\033[0m\n" : "\n");
    fwrite(out->base, 1, out->len, stdout);
}

static void end(struct verb *v);

static void take_line(struct verb *v, struct span line)
{
    struct row r = {0};
    if (v->is_over || json_object_visit_nested(v->json, line, on_member, &r) < 0)
        return;
    if (r.is_observing && !v->has_noted) {
        fprintf(stderr, "observing: all of them are forwarded; shown is what enforcing would do\n");
        v->has_noted = true;
    }
    if (r.is_sums) {
        v->matched = r.matched;
        v->over_rate = r.over_rate;
        v->slow = r.slow;
    } else {
        v->lines++;
    }
    if (v->is_raw) {
        fwrite(line.base, 1, line.len, stdout);
        fputc('\n', stdout);
    } else {
        write_words(v, &r);
    }
    if (v->limit > 0 && v->lines >= v->limit)
        end(v);
}

/* ---- the call ---------------------------------------------------------- */

/* A call may not be cancelled from inside its callbacks: in the next turn. */
static void on_stop(uv_idle_t *idle)
{
    struct verb *v = container_of(idle, struct verb, stop);
    if (v->call != NULL)
        client_cancel(v->call);
    v->call = NULL;
    uv_stop(idle->loop);
}

static void end(struct verb *v)
{
    v->is_over = true;
    uv_idle_start(&v->stop, on_stop);
}

static void on_interrupt(uv_signal_t *handle, int number)
{
    (void)number;
    end(handle->data);
}

static void on_piece(void *ctx, struct span bytes)
{
    struct verb *v = ctx;
    while (bytes.len > 0) {
        const uint8_t *stop = memchr(bytes.base, '\n', bytes.len);
        size_t n = stop == NULL ? bytes.len : (size_t)(stop - bytes.base);
        buf_append(&v->part, span_of(bytes.base, n));
        bytes = span_skip(bytes, n + (stop != NULL));
        if (stop == NULL)
            break;
        if (v->part.err == 0)
            take_line(v, buf_span(&v->part));
        buf_clear(&v->part);
    }
    if (fflush(stdout) != 0)
        end(v); /* the reader of our output has gone */
}

static void on_done(void *ctx, const struct client_result *r)
{
    struct verb *v = ctx;
    v->call = NULL;
    if (r->err != 0 || r->status != 200)
        v->code = admin_explain_failure(&v->admin, r);
    else if (!v->is_over)
        fprintf(stderr, "lipservice: tap: the sidecar has ended it\n");
    end(v);
}

static int listen_to(struct verb *v, const char *admin, const struct buf *target)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    const struct client_request how = {.ctx = v, .done = on_done, .piece = on_piece};
    int code = admin_open(&v->admin, &v->cfg, admin);
    if (code != 0)
        return code;
    signal(SIGPIPE, SIG_IGN);
    uv_idle_init(&v->admin.loop, &v->stop);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uv_signal_init(&v->admin.loop, &v->interrupts[i]);
        v->interrupts[i].data = v;
        uv_signal_start(&v->interrupts[i], on_interrupt, numbers[i]);
    }
    int rc = admin_send(&v->admin, target, 0, &how, &v->call);
    if (rc == 0)
        uv_run(&v->admin.loop, UV_RUN_DEFAULT);
    else
        v->code = command_die(rc, &(struct error){{0}});
    uv_close((uv_handle_t *)&v->stop, NULL);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        uv_close((uv_handle_t *)&v->interrupts[i], NULL);
    if (v->code == 0)
        fprintf(stderr,
                "%" PRIu64 " shown of %" PRIu64 " that matched; not shown: %" PRIu64
                " over the rate, %" PRIu64 " too fast for this reader\n",
                v->lines, v->matched > v->lines ? v->matched : v->lines, v->over_rate, v->slow);
    return v->code;
}

int verb_tap(int argc, char **argv)
{
    static struct verb v;
    const char *service = NULL, *severity = NULL, *pattern = NULL, *grep = NULL, *rate = NULL;
    const char *limit = NULL, *admin = NULL;
    bool dropped = false, kept = false;
    const struct command_flag flags[] = {
        {.name = "dropped", .given = &dropped}, {.name = "kept", .given = &kept},
        {.name = "service", .value = &service}, {.name = "severity", .value = &severity},
        {.name = "pattern", .value = &pattern}, {.name = "grep", .value = &grep},
        {.name = "rate", .value = &rate},       {.name = "limit", .value = &limit},
        {.name = "json", .given = &v.is_raw},   {.name = "admin", .value = &admin},
    };
    struct buf target = {0};
    char *rest = "";
    v = (struct verb){.part = {.max_bytes = LINE_BYTES}};
    int code = command_load(argc, argv, flags, ARRAY_LEN(flags), &v.cfg, NULL);
    if (code != 0)
        return code;
    if (limit != NULL)
        v.limit = strtoull(limit, &rest, 10);
    if (*rest != '\0' || (limit != NULL && (v.limit == 0 || limit[0] == '-')))
        code = command_usage_error("--limit: not a number of lines: ", limit);
    buf_append_str(&target, "/api/tap");
    admin_add_query(&target, "verdict", dropped == kept ? "" : dropped ? "dropped" : "kept");
    admin_add_query(&target, "service", service);
    admin_add_query(&target, "severity", severity);
    admin_add_query(&target, "pattern", pattern);
    admin_add_query(&target, "grep", grep);
    admin_add_query(&target, "rate", rate);
    v.has_colour = term_has_colour(STDOUT_FILENO);
    if (code == 0 && json_object_new(&v.json, LINE_BYTES) < 0)
        code = EXIT_BUG;
    if (code == 0)
        code = listen_to(&v, admin, &target);
    admin_close(&v.admin);
    json_object_free(v.json);
    buf_done(&v.part);
    buf_done(&v.line);
    buf_done(&target);
    config_done(&v.cfg);
    return code;
}
