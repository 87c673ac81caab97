/* explain: one record in, one paragraph or one JSON object out. */
#include "telemetry/explain.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "otlp/wire.h"
#include "pattern/signature.h"

#define SHOWN_BODY_BYTES 200
#define ARENA_BYTES (64u << 20) /* what lies around the records of one request */

/* ---- words for one record ---------------------------------------------- */

static const char *rule_text(const struct explain *e, bool keep, unsigned place)
{
    return e->opts.rule_text(e->opts.rules, keep, place);
}

static void add_text(struct buf *out, struct span text)
{
    size_t n = text.len < SHOWN_BODY_BYTES ? text.len : SHOWN_BODY_BYTES;
    while (n < text.len && n > 0 && (text.base[n] & 0xc0) == 0x80)
        n--; /* not through a character */
    json_write_string(out, span_of(text.base, n));
    if (n < text.len && out->err == 0) {
        out->len--; /* the quote */
        buf_append_str(out, "...\"");
    }
}

static void add_body(struct buf *out, const struct log_value *body)
{
    static const char *const kinds[] = {
        [LOG_NONE] = "none",       [LOG_BOOL] = "a boolean", [LOG_INT] = "an integer",
        [LOG_DOUBLE] = "a number", [LOG_ARRAY] = "a list",   [LOG_KVLIST] = "a map",
        [LOG_BYTES] = "bytes",     [LOG_STRING] = "",
    };
    if (body->kind == LOG_STRING)
        add_text(out, body->text);
    else
        buf_printf(out, "\"(%s)\"", kinds[body->kind]);
}

static const char *severity_source(const struct subject *s)
{
    if (s->level_from_text)
        return "body";
    if (s->record->severity_number > 0)
        return "number";
    return log_severity(s->record) > 0 ? "text" : "default";
}

/* Which detectors fired. */
static void redaction_words(struct buf *out, const struct redact_set *kinds)
{
    const char *comma = "  redaction  found ";
    for (unsigned k = 0; k < REDACT_KINDS_MAX; k++) {
        if ((kinds->bits >> k & 1) == 0)
            continue;
        buf_printf(out, "%s%s", comma, redact_stats_kind(kinds->names, k));
        comma = ", ";
    }
    if (kinds->bits != 0)
        buf_append_byte(out, '\n');
}

static void begin_words(struct explain *e, const struct subject *s, struct span template_text,
                        const struct redact_set *kinds)
{
    char id[SIGNATURE_TEXT_BYTES];
    const char *from = severity_source(s);
    buf_printf(&e->out, "record %llu\n  service    ", (unsigned long long)e->records);
    if (s->group->service_name.len > 0)
        add_text(&e->out, s->group->service_name);
    else
        buf_append_str(&e->out, "(unnamed)"); /* as top, tap and shadow have it */
    buf_append_str(&e->out, "\n  body       ");
    add_body(&e->out, &s->record->body);
    buf_append_str(&e->out, "\n  template   ");
    add_text(&e->out, template_text);
    buf_printf(&e->out, "\n  signature  %s\n", signature_format(id, s->signature));
    if (s->family != s->signature)
        buf_printf(&e->out, "  family     %s\n", signature_format(id, s->family));
    buf_printf(&e->out, "  severity   %s, ", level_name(s->level));
    if (*from == 'n') {
        buf_printf(&e->out, "from the severity number %d\n", s->record->severity_number);
    } else if (*from == 't') {
        buf_append_str(&e->out, "from the severity text ");
        add_text(&e->out, s->record->severity_text);
        buf_append_byte(&e->out, '\n');
    } else if (*from == 'b') {
        buf_append_str(&e->out, "which its text names (sampling.severity_from)\n");
    } else {
        buf_append_str(&e->out, "because the record has none that is known\n");
    }
    redaction_words(&e->out, kinds);
}

static const char *rate_setting(enum rules_source source)
{
    static const char *const settings[] = {
        [RULES_PATTERN] = "pattern_rates",
        [RULES_SEVERITY] = "severity_rates",
        [RULES_GLOBAL] = "global_rate",
    };
    return settings[source];
}

/* On what the floor keeps; 0: none. */
static uint32_t limit_of(const struct explain *e, const struct sampler_step *step)
{
    bool keeps = step->stage == SAMPLER_FLOOR && step->applies;
    return keeps ? pipeline_floor_limit(e->opts.pipeline) : 0;
}

static const struct guard_item *guarding(const struct explain *e, const struct sampler_step *step)
{
    return guard_at(pipeline_guard(e->opts.pipeline), step->place);
}

static void rule_words(struct explain *e, const struct sampler_step *step)
{
    bool is_keep = step->stage == SAMPLER_KEEP;
    buf_printf(&e->out, "  %s[%u]    %s: %s\n", is_keep ? "keep" : "drop", step->place,
               rule_text(e, is_keep, step->place),
               !step->applies ? "does not match"
               : is_keep      ? "matches: kept"
                              : "matches: dropped");
}

static void guard_words(struct explain *e, const struct sampler_step *step)
{
    const struct guard_item *item = guarding(e, step);
    buf_printf(&e->out, "  guarded    PostHog counts it (%s ", guard_kind_name(item->kind));
    add_text(&e->out, item->name);
    buf_append_str(&e->out, "): kept\n");
}

static void step_words(struct explain *e, const struct sampler_step *step)
{
    struct buf *out = &e->out;
    switch (step->stage) {
    case SAMPLER_FLOOR:
        buf_printf(out, "  floor      %s",
                   step->applies ? "ERROR or above, or an exception.type: kept"
                                 : "below ERROR, and no exception.type: goes on");
        if (limit_of(e, step) > 0)
            buf_printf(out,
                       ", but not more than %u a second: depends on the records before, not "
                       "counted here",
                       limit_of(e, step));
        buf_append_byte(out, '\n');
        break;
    case SAMPLER_PRIORITY:
        if (step->applies)
            buf_append_str(
                out, "  priority   sampling.priority decides: 0 drops, any other number keeps\n");
        break;
    case SAMPLER_CONTEXT:
        if (step->applies)
            buf_append_str(out, "  context    adjusted count 0, the context of an error: kept\n");
        break;
    case SAMPLER_KEEP:
    case SAMPLER_DROP:
        rule_words(e, step);
        break;
    case SAMPLER_GUARD:
        guard_words(e, step);
        break;
    case SAMPLER_FIRST:
        if (rules_first(e->rules) == 0)
            buf_append_str(out, "  first      none are kept for being first\n");
        else
            buf_printf(
                out,
                "  first      the first %u of a pattern in each %llu ms are kept: depends on the "
                "records before, not counted here\n",
                rules_first(e->rules), (unsigned long long)rules_window_ms(e->rules));
        break;
    case SAMPLER_RATE:
        buf_printf(out, "  rate       %.6g, from %s (%s)\n", rules_rate_of(step->threshold),
                   rate_setting(step->source), rules_origin(e->rules));
        break;
    case SAMPLER_BOOST:
        buf_printf(
            out,
            "  boost      up to %g times the rate while the pattern or its service is anomalous: "
            "depends on the records before, not counted here\n",
            rules_boost(e->rules));
        break;
    case SAMPLER_BUDGET:
        buf_append_str(
            out,
            "  budget     sampling.budget may lower the rate: depends on the records before, not "
            "counted here\n");
        break;
    }
}

static const char *randomness_from(const struct subject *s)
{
    static const char *const names[] = {
        [DRAW_SPACED] = "spacing", [DRAW_SHARED] = "trace_id", [DRAW_KEY] = "key"};
    bool has_own = log_known(s->record, LOG_SAMPLING_RANDOMNESS) != NULL;
    return s->draw.source == DRAW_SHARED && has_own ? "attribute" : names[s->draw.source];
}

/* Left to the spacing of its pattern: which records are kept depends on those before. */
static bool is_in_turn(const struct subject *s, const struct decision *d)
{
    return s->draw.source == DRAW_SPACED && d->verdict != VERDICT_DROPPED_BY_RULE &&
           d->threshold > 0 && d->threshold < RULES_REJECT_ALL;
}

/* 2026-11-21T13:05:24Z */
static void add_time(struct buf *out, uint64_t unix_ns)
{
    char text[32];
    struct tm tm;
    time_t t = (time_t)(unix_ns / 1000000000u);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
    buf_append_str(out, text);
}

static bool counts_of(const struct explain *e, const struct subject *s, struct explain_counts *out)
{
    return s->pattern != NULL && e->opts.counts(e->opts.ctx, s->pattern, out);
}

static void row_words(struct buf *out, const char *title, const struct pattern_counts *n,
                      uint64_t since_ns)
{
    buf_printf(out,
               "  %s %" PRIu64 " received, %" PRIu64 " kept, %" PRIu64 " sampled out, %" PRIu64
               " dropped by rule, since ",
               title, n->received, n->kept, n->sampled_out, n->dropped_by_rule);
    add_time(out, since_ns);
}

static void counts_words(struct explain *e, const struct subject *s)
{
    struct explain_counts n;
    if (!counts_of(e, s, &n)) {
        buf_append_str(&e->out, "  counts     none: no such record of this service was seen\n");
        return;
    }
    row_words(&e->out, "counts    ", &n.all, n.first_seen_ns);
    buf_append_str(&e->out, ", last seen ");
    add_time(&e->out, n.last_seen_ns);
    buf_append_byte(&e->out, '\n');
    row_words(&e->out, "today     ", &n.today, n.today_ns);
    buf_append_byte(&e->out, '\n');
}

static void end_words(struct explain *e, const struct subject *s, const struct decision *d)
{
    static const char *const sources[] = {[DRAW_SPACED] = "the even spacing of its pattern",
                                          [DRAW_SHARED] = "the last 7 bytes of the trace id",
                                          [DRAW_KEY] = "the attribute of sampling.key"};
    struct buf *out = &e->out;
    const char *or_first = rules_first(e->rules) > 0 ? ", unless it is among the first" : "";
    buf_printf(out, "  threshold  T = 0x%014llx\n  randomness R ",
               (unsigned long long)d->threshold);
    if (s->draw.source != DRAW_SPACED)
        buf_printf(out, "= 0x%014llx, ", (unsigned long long)s->draw.randomness);
    bool has_own =
        s->draw.source == DRAW_SHARED && log_known(s->record, LOG_SAMPLING_RANDOMNESS) != NULL;
    buf_printf(out, "from %s\n  verdict    ",
               has_own ? "sampling.randomness" : sources[s->draw.source]);
    if (is_in_turn(s, d))
        buf_printf(out, "in turn (%s): one of %.6g of its pattern is kept and counts for as many%s",
                   reason_name(d->reason), 1.0 / rules_rate_of(d->threshold), or_first);
    else
        buf_printf(out, "%s (%s)", verdict_name(d->verdict), reason_name(d->reason));
    if (!is_in_turn(s, d) && d->threshold > 0 && d->verdict == VERDICT_KEPT)
        buf_printf(out, ": R >= T; counts for %.6g", 1.0 / rules_rate_of(d->threshold));
    else if (!is_in_turn(s, d) && d->verdict == VERDICT_SAMPLED_OUT)
        buf_printf(out, ": R < T%s", or_first);
    buf_append_byte(out, '\n');
    if (e->opts.counts != NULL)
        counts_words(e, s);
    buf_append_byte(&e->out, '\n');
}

/* ---- JSON for one record ----------------------------------------------- */

static void begin_json(struct explain *e, const struct subject *s, struct span template_text,
                       const struct redact_set *kinds)
{
    char id[SIGNATURE_TEXT_BYTES];
    struct json *j = &e->json;
    *j = json_on(&e->out);
    json_begin(j, NULL);
    json_text(j, "service", s->group->service_name);
    add_body(json_value(j, "body"), &s->record->body);
    json_text(j, "template", template_text);
    json_str(j, "signature", signature_format(id, s->signature));
    json_str(j, "family", signature_format(id, s->family));
    json_begin(j, "severity");
    json_str(j, "level", level_name(s->level));
    json_str(j, "from", severity_source(s));
    json_i64(j, "number", s->record->severity_number);
    json_text(j, "text", s->record->severity_text);
    json_end(j);
    json_begin_list(j, "redaction");
    for (unsigned k = 0; k < REDACT_KINDS_MAX; k++)
        if ((kinds->bits >> k & 1) != 0)
            json_str(j, NULL, redact_stats_kind(kinds->names, k));
    json_end_list(j);
    json_begin_list(j, "steps");
}

static void step_json(struct explain *e, const struct sampler_step *step)
{
    static const char *const stages[] = {
        [SAMPLER_FLOOR] = "floor",   [SAMPLER_PRIORITY] = "priority", [SAMPLER_KEEP] = "keep",
        [SAMPLER_GUARD] = "guarded", [SAMPLER_DROP] = "drop",         [SAMPLER_CONTEXT] = "context",
        [SAMPLER_FIRST] = "first",   [SAMPLER_RATE] = "rate",         [SAMPLER_BOOST] = "boost",
        [SAMPLER_BUDGET] = "budget",
    };
    bool is_rule = step->stage == SAMPLER_KEEP || step->stage == SAMPLER_DROP;
    bool depends = step->stage == SAMPLER_FIRST || step->stage == SAMPLER_BUDGET ||
                   step->stage == SAMPLER_BOOST ||
                   limit_of(e, step) > 0; /* on the records before */
    struct json *j = &e->json;
    json_begin(j, NULL);
    json_str(j, "stage", stages[step->stage]);
    json_bool(j, "applies", step->applies);
    if (is_rule) {
        json_u64(j, "place", step->place);
        json_str(j, "rule", rule_text(e, step->stage == SAMPLER_KEEP, step->place));
    } else if (step->stage == SAMPLER_GUARD) {
        json_str(j, "kind", guard_kind_name(guarding(e, step)->kind));
        json_text(j, "name", guarding(e, step)->name);
    } else if (limit_of(e, step) > 0) {
        json_u64(j, "max_per_second", limit_of(e, step));
    } else if (step->stage == SAMPLER_FIRST) {
        json_u64(j, "count", rules_first(e->rules));
        json_u64(j, "window_ms", rules_window_ms(e->rules));
    } else if (step->stage == SAMPLER_BOOST) {
        json_printf(j, "boost", "%.15g", rules_boost(e->rules));
    } else if (step->stage == SAMPLER_RATE) {
        json_printf(j, "rate", "%.15g", rules_rate_of(step->threshold));
        json_str(j, "from", rate_setting(step->source));
        json_str(j, "origin", rules_origin(e->rules));
    }
    if (depends)
        json_str(j, "note", "not counted here");
    json_end(j);
}

static void row_json(struct json *j, const struct pattern_counts *n)
{
    json_u64(j, "received", n->received);
    json_u64(j, "kept", n->kept);
    json_u64(j, "sampled_out", n->sampled_out);
    json_u64(j, "dropped_by_rule", n->dropped_by_rule);
}

static void counts_json(struct explain *e, const struct subject *s)
{
    struct explain_counts n;
    struct json *j = &e->json;
    if (!counts_of(e, s, &n)) {
        json_null(j, "counts");
        return;
    }
    json_begin(j, "counts");
    row_json(j, &n.all);
    json_printf(j, "first_seen", "%.3f", (double)n.first_seen_ns / 1e9);
    json_printf(j, "last_seen", "%.3f", (double)n.last_seen_ns / 1e9);
    json_begin(j, "today");
    row_json(j, &n.today);
    json_printf(j, "since", "%.3f", (double)n.today_ns / 1e9);
    json_end(j);
    json_end(j);
}

static void end_json(struct explain *e, const struct subject *s, const struct decision *d)
{
    struct json *j = &e->json;
    json_end_list(j);
    json_printf(j, "threshold", "\"0x%014llx\"", (unsigned long long)d->threshold);
    if (s->draw.source != DRAW_SPACED)
        json_printf(j, "randomness", "\"0x%014llx\"", (unsigned long long)s->draw.randomness);
    json_str(j, "randomness_from", randomness_from(s));
    json_str(j, "verdict", is_in_turn(s, d) ? "in_turn" : verdict_name(d->verdict));
    json_str(j, "reason", reason_name(d->reason));
    if (e->opts.counts != NULL)
        counts_json(e, s);
    json_end(j);
    json_line(j);
}

/* ---- the pipeline's calls ---------------------------------------------- */

static void on_begin(void *ctx, const struct subject *s, struct span template_text,
                     const struct rules *rules, const struct redact_set *kinds)
{
    struct explain *e = ctx;
    e->records++;
    e->rules = rules;
    buf_clear(&e->out);
    (e->opts.json ? begin_json : begin_words)(e, s, template_text, kinds);
}

static void on_step(void *ctx, const struct sampler_step *step)
{
    struct explain *e = ctx;
    (e->opts.json ? step_json : step_words)(e, step);
}

static void on_end(void *ctx, const struct subject *s, const struct decision *d)
{
    struct explain *e = ctx;
    (e->opts.json ? end_json : end_words)(e, s, d);
    if (e->out.err == 0)
        e->opts.write(e->opts.ctx, buf_span(&e->out));
}

static int on_request(void *ctx, struct span request, const struct logs_count *count, size_t end)
{
    struct explain *e = ctx;
    const struct pipeline_explainer to = {on_begin, on_end, {e, on_step}};
    uint64_t more = count == NULL ? 1 : count->records;
    (void)end;
    if (e->opts.max_records > 0 && more > e->opts.max_records - e->records)
        return -ERR_TOO_BIG;
    int rc = pipeline_explain(e->opts.pipeline, request, &e->arena, &to);
    arena_reset(&e->arena);
    return rc < 0 ? -rc : 0;
}

static void on_refused(void *ctx, size_t line, const char *why)
{
    struct explain *e = ctx;
    e->refused++;
    e->opts.refused(e->opts.ctx, line, why);
}

/* A request of one record with this text as its body. 0, or -ERR_*: as on_request(). */
static int one_line(struct explain *e, struct span text)
{
    struct buf value = {0}, pair = {0}, attr = {0}, record = {0}, logs = {0}, request = {0};
    if (e->opts.severity.len > 0)
        wire_append_len(&record, 3, e->opts.severity); /* LogRecord.severity_text */
    wire_append_len(&value, 1, text);                  /* AnyValue.string_value */
    wire_append_len(&record, 5, buf_span(&value));     /* LogRecord.body */
    buf_clear(&value);
    wire_append_len(&value, 1, e->opts.service);
    wire_append_len(&pair, 1, SPAN("service.name")); /* KeyValue */
    wire_append_len(&pair, 2, buf_span(&value));
    wire_append_len(&attr, 1, buf_span(&pair)); /* Resource.attributes */
    wire_append_len(&logs, 1, buf_span(&attr)); /* ResourceLogs.resource */
    buf_clear(&pair);
    wire_append_len(&pair, 2, buf_span(&record));  /* ScopeLogs.log_records */
    wire_append_len(&logs, 2, buf_span(&pair));    /* ResourceLogs.scope_logs */
    wire_append_len(&request, 1, buf_span(&logs)); /* ExportLogsServiceRequest.resource_logs */
    int rc = request.err != 0 ? -request.err : on_request(e, buf_span(&request), NULL, 0);
    struct buf *bufs[] = {&value, &pair, &attr, &record, &logs, &request};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_done(bufs[i]);
    return rc;
}

static int all_lines(struct explain *e, struct span text)
{
    int rc = 0;
    for (size_t number = 1; text.len > 0 && rc == 0; number++) {
        const uint8_t *end = memchr(text.base, '\n', text.len);
        struct span line = end == NULL ? text : span_of(text.base, (size_t)(end - text.base));
        text = span_skip(text, line.len + (end != NULL));
        if (line.len > 0 && line.base[line.len - 1] == '\r')
            line.len--;
        rc = one_line(e, line);
        if (rc == -ERR_UTF8) {
            on_refused(e, number, err_text(ERR_UTF8));
            rc = 0;
        }
    }
    return rc;
}

/* ---- life -------------------------------------------------------------- */

int explain_init(struct explain *e, const struct explain_opts *opts)
{
    *e = (struct explain){.opts = *opts, .out = {.budget = opts->budget}};
    arena_init(&e->arena, ARENA_BYTES, opts->budget);
    return capture_init(&e->capture, opts->is_strict);
}

void explain_done(struct explain *e)
{
    capture_done(&e->capture);
    arena_done(&e->arena);
    buf_done(&e->out);
}

int explain_line(struct explain *e, struct span text)
{
    return -one_line(e, text);
}

int explain_text(struct explain *e, struct span text)
{
    const struct capture_sink sink = {e, on_request, on_refused};
    if (!capture_is_json(text))
        return -all_lines(e, text);
    int rc = capture_read(&e->capture, text, &sink);
    return rc > 0 ? -rc : rc;
}
