/*
 * whatif: the question of what the last hour or day would have cost under other settings or another
 * policy, asked of the history and of the patterns that are counted now.
 *
 * Settings are applied to the rules in force, whoever made them; nothing is read from disk, and
 * nothing changes. Services whose policy came from a policy server keep it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "otlp/json_doc.h"
#include "pattern/signature.h"
#include "sidecar/asking.h"
#include "sidecar/posthog.h"
#include "sidecar/sidecar_state.h"

#define ROWS 20
#define KEY_BYTES 128

/* What is asked. */
struct question {
    struct sidecar *sc;
    enum series_span span;
    uint64_t seconds;
    struct config *cfg; /* of which the sampling settings alone are there */
    struct rules *then; /* for all services without their own */
    struct governor_target target;
    struct error err;
};

/* ---- settings ---------------------------------------------------------- */

static int set_severity(struct question *q, struct span name, const char *value)
{
    int level = level_parse(name);
    char *end;
    double rate = strtod(value, &end);
    if (level < 0 || *end != '\0' || end == value)
        return err_set(&q->err, ERR_CONFIG, "sampling.severity_rates: a severity and a rate");
    return rules_set_level(q->then, (enum level)level, rate, &q->err);
}

static int set_pattern(struct question *q, struct span name, const char *value)
{
    uint64_t id;
    char *end;
    double rate = strtod(value, &end);
    if (signature_parse(name, &id) < 0 || *end != '\0' || end == value)
        return err_set(&q->err, ERR_CONFIG, "sampling.pattern_rates: a pattern id and a rate");
    return rules_set_pattern(q->then, id, rate, &q->err);
}

static int set_global(struct question *q, struct span rest, const char *value)
{
    (void)rest;
    int rc = config_set(q->cfg, "sampling.global_rate", value, &q->err);
    return rc < 0 ? rc : rules_set_global(q->then, q->cfg->sampling.global_rate, &q->err);
}

static int set_first(struct question *q, struct span rest, const char *value)
{
    char key[KEY_BYTES];
    snprintf(key, sizeof key, "sampling.first.%.*s", (int)rest.len, (const char *)rest.base);
    int rc = config_set(q->cfg, key, value, &q->err);
    return rc < 0 ? rc
                  : rules_set_first(q->then, q->cfg->sampling.first_count,
                                    q->cfg->sampling.first_window_ms, &q->err);
}

/* One amount takes the place of the others. */
static int set_budget(struct question *q, struct span rest, const char *value)
{
    char key[KEY_BYTES];
    if (!span_eq(rest, SPAN("exponent"))) {
        q->cfg->sampling.budget.bytes_per_month = 0;
        q->cfg->sampling.budget.records_per_second = 0;
        q->cfg->sampling.budget.target_reduction = 0;
    }
    snprintf(key, sizeof key, "sampling.budget.%.*s", (int)rest.len, (const char *)rest.base);
    int rc = config_set(q->cfg, key, value, &q->err);
    if (rc == 0)
        q->target = config_target(q->cfg);
    return rc;
}

static int set_one(struct question *q, struct span key, const char *value)
{
    static const struct {
        const char *prefix;
        bool is_whole;
        int (*set)(struct question *q, struct span rest, const char *value);
    } settings[] = {
        {"sampling.severity_rates.", false, set_severity},
        {"sampling.pattern_rates.", false, set_pattern},
        {"sampling.global_rate", true, set_global},
        {"sampling.first.", false, set_first},
        {"sampling.budget.", false, set_budget},
    };
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        struct span prefix = span_str(settings[i].prefix);
        if (span_starts(key, prefix) && settings[i].is_whole == (key.len == prefix.len) &&
            key.len < KEY_BYTES)
            return settings[i].set(q, span_skip(key, prefix.len), value);
    }
    return err_set(&q->err, ERR_CONFIG,
                   "%.*s: what-if knows sampling.severity_rates, pattern_rates, global_rate, first "
                   "and budget",
                   (int)(key.len < 64 ? key.len : 64), (const char *)key.base);
}

/* A number or a string, as text. */
static int value_text(struct question *q, struct json_node n, char out[KEY_BYTES])
{
    double number;
    struct span text = json_string(n);
    if (text.base != NULL && text.len < KEY_BYTES)
        snprintf(out, KEY_BYTES, "%.*s", (int)text.len, (const char *)text.base);
    else if (json_number(n, &number))
        snprintf(out, KEY_BYTES, "%.17g", number);
    else
        return err_set(&q->err, ERR_CONFIG, "set: a value is a number or a short text");
    return 0;
}

/* {"sampling.severity_rates.INFO": 0.1} or {"sampling.severity_rates": {"INFO": 0.1}} */
static int apply_sets(struct question *q, struct json_node set)
{
    struct json_each each = json_each(set);
    char value[KEY_BYTES], key[KEY_BYTES];
    int rc = 0;
    while (rc == 0 && json_next(&each)) {
        struct json_each inner = json_each(each.value);
        if (json_kind(each.value) != JSON_OBJECT) {
            rc = value_text(q, each.value, value);
            rc = rc < 0 ? rc : set_one(q, each.key, value);
            continue;
        }
        while (rc == 0 && json_next(&inner)) {
            int n = snprintf(
                key, sizeof key, "%.*s.%.*s", (int)(each.key.len < 64 ? each.key.len : 64),
                (const char *)each.key.base, (int)(inner.key.len < 40 ? inner.key.len : 40),
                (const char *)inner.key.base);
            rc = value_text(q, inner.value, value);
            rc = rc < 0 ? rc : set_one(q, span_of(key, (size_t)n), value);
        }
    }
    return rc;
}

static int apply_document(struct question *q, struct span document)
{
    struct policy_notes notes;
    struct rules *rules;
    int rc = policy_document_read_file(&rules, config_visit_yaml, "policy", document,
                                       q->sc->cfg->sampling.rules, &notes, &q->err);
    if (rc < 0)
        return rc;
    rules_unref(q->then);
    q->then = rules;
    return 0;
}

/* ---- the question ------------------------------------------------------ */

static void question_done(struct question *q)
{
    rules_unref(q->then);
    if (q->cfg != NULL)
        free(q->cfg);
}

static int read_question(struct question *q, struct json_node root)
{
    struct span span = json_string(json_get(root, "span"));
    struct span document = json_string(json_get(root, "document"));
    struct sidecar *sc = q->sc;
    q->span = SERIES_HOUR;
    q->seconds = 3600;
    if (span.base != NULL &&
        (!history_parse_span(span, &q->span, &q->seconds) || q->seconds < 3600))
        return err_set(&q->err, ERR_CONFIG, "span is 1h or 24h");
    q->cfg = calloc(1, sizeof *q->cfg);
    if (q->cfg == NULL)
        return ERR_NOMEM;
    q->cfg->sampling = sc->cfg->sampling;
    q->target = sidecar_target(sc);
    int rc = pipeline_bind(sc->pipeline, pipeline_rules(sc->pipeline, LEDGER_OTHER), &q->then);
    if (rc == 0 && document.base != NULL)
        rc = apply_document(q, document);
    return rc < 0 ? rc : apply_sets(q, json_get(root, "set"));
}

/* ---- the answer -------------------------------------------------------- */

struct change {
    double bytes;
    uint32_t at;
};

static int by_change(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    if (fabs(x->bytes) < fabs(y->bytes) || fabs(x->bytes) > fabs(y->bytes))
        return fabs(x->bytes) < fabs(y->bytes) ? 1 : -1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* The largest changes, in order; how many. */
static size_t largest(const struct whatif_pattern *list, size_t count, struct change top[ROWS])
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const struct change one = {list[i].bytes * (list[i].share_then - list[i].share_now),
                                   (uint32_t)i};
        if (fabs(one.bytes) < 1e-9)
            continue;
        if (n < ROWS)
            top[n++] = one;
        else if (by_change(&one, &top[n - 1]) < 0)
            top[n - 1] = one;
        else
            continue;
        qsort(top, n, sizeof *top, by_change);
    }
    return n;
}

struct rows {
    const struct whatif_pattern *list;
    const struct census *census; /* without templates */
    struct change top[ROWS];
    size_t count;
};

static bool is_shown(const void *ctx, const struct census_pattern *p)
{
    const struct rows *r = ctx;
    for (size_t i = 0; i < r->count; i++)
        if (r->census->patterns[r->top[i].at].number == p->number)
            return true;
    return false;
}

/* With templates, in the order of the entries; found by number. */
static const struct census_pattern *find_row(const struct census *named, uint32_t number)
{
    for (uint32_t i = 0; i < named->pattern_count; i++)
        if (named->patterns[i].number == number)
            return &named->patterns[i];
    return NULL;
}

static void write_rows(struct json *j, struct sidecar *sc, const struct rows *r)
{
    struct census named = {0};
    const struct census_want want = {.services = true,
                                     .patterns = true,
                                     .templates = true,
                                     .is_wanted = is_shown,
                                     .ctx = r,
                                     .budget = j->out->budget};
    bool has_names = census_take(sc->pipeline, &want, &named) == 0;
    json_begin_list(j, "rows");
    for (size_t i = 0; i < r->count && has_names; i++) {
        const struct whatif_pattern *w = &r->list[r->top[i].at];
        const struct census_pattern *p = find_row(&named, r->census->patterns[r->top[i].at].number);
        if (p == NULL)
            continue;
        json_begin(j, NULL);
        sidecar_write_pattern_name(j, &named, p);
        json_u64(j, "records", (uint64_t)llround(w->records));
        json_u64(j, "bytes", (uint64_t)llround(w->bytes));
        json_printf(j, "share_now", "%.6g", w->share_now);
        json_printf(j, "share_then", "%.6g", w->share_then);
        json_end(j);
    }
    json_end_list(j);
    census_done(&named);
}

static void write_month(struct json *j, const struct asking *a)
{
    const struct money_terms terms = posthog_terms(a->sc);
    const struct money_month now = asking_month(a, a->now.bytes);
    const struct money_month then = asking_month(a, a->then.bytes);
    json_begin(j, "month");
    json_printf(j, "without", "%.6g", now.without);
    json_printf(j, "now", "%.6g", now.with);
    json_printf(j, "then", "%.6g", then.with);
    json_printf(j, "saving", "%.6g", now.with - then.with);
    json_str(j, "currency", a->sc->cfg->cost.currency);
    json_bool(j, "is_assumed", terms.is_assumed);
    json_bool(j, "is_free", now.is_free);
    json_end(j);
}

static void write_answer(const struct question *q, const struct asking *a, struct buf *out)
{
    struct rows rows = {.list = a->list, .census = &a->census};
    struct json j = json_on(out);
    rows.count = largest(a->list, a->census.pattern_count, rows.top);
    json_begin(&j, NULL);
    json_u64(&j, "span_s", q->seconds);
    json_u64(&j, "known_s", (uint64_t)a->known_s);
    json_bool(&j, "observing", q->sc->cfg->observe);
    json_u64(&j, "received", (uint64_t)a->received.records);
    json_u64(&j, "received_bytes", (uint64_t)a->received.bytes);
    json_u64(&j, "kept_now", (uint64_t)a->now.records);
    json_u64(&j, "kept_then", (uint64_t)llround(a->then.records));
    json_u64(&j, "kept_bytes_now", (uint64_t)a->now.bytes);
    json_u64(&j, "kept_bytes_then", (uint64_t)llround(a->then.bytes));
    json_u64(&j, "patterns_with_unasked_rules", a->model.unasked);
    write_month(&j, a);
    write_rows(&j, q->sc, &rows);
    json_end(&j);
    json_line(&j);
}

static int answer(struct question *q, struct buf *out)
{
    struct asking a;
    int rc = asking_open(&a, q->sc, q->span, q->then, &q->target, out->budget);
    if (rc == ERR_EMPTY)
        return sidecar_refuse(out, 404, "history.memory is 0: nothing is remembered");
    if (rc < 0)
        return sidecar_refuse(out, 503, "no memory for this page now");
    write_answer(q, &a, out);
    asking_done(&a);
    return 200;
}

int whatif_ask(void *ctx, struct span query, struct span body, struct buf *out)
{
    struct question q = {.sc = ctx};
    struct json_doc *doc = NULL;
    struct json_node root;
    (void)query;
    if (json_doc_new(&doc, body, out->budget, &root) < 0 || json_kind(root) != JSON_OBJECT) {
        json_doc_free(doc);
        return sidecar_refuse(out, 400,
                              "a JSON object is wanted here, with span and set or document");
    }
    int rc = read_question(&q, root);
    int status = rc == 0           ? answer(&q, out)
                 : rc == ERR_NOMEM ? sidecar_refuse(out, 503, "no memory for this page now")
                                   : sidecar_refuse(out, 422, q.err.text);
    question_done(&q);
    json_doc_free(doc);
    return status;
}
