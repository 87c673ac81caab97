#include "unit/test.h"

#include <math.h>
#include <stdlib.h>

#include "pipeline/consistent.h"
#include "pipeline/sampler.h"
#include "unit/otlp/pb.h"
#include "util/hash.h"
#include "util/rng.h"

/* A record with the ends that a row asks for, and what the sampler needs around it. */
struct rig {
    struct buf bytes, resource;
    struct log_record record;
    struct logs_group group;
    struct pattern pattern;
    struct subject subject;
    struct draws *draws;
};

static void add_text_attr(struct buf *message, uint32_t number, const char *key, const char *text)
{
    struct buf value = {0}, pair = {0};
    wire_append_len(&value, 1, span_str(text));
    wire_append_len(&pair, 1, span_str(key));
    wire_append_len(&pair, 2, buf_span(&value));
    wire_append_len(message, number, buf_span(&pair));
    buf_done(&value);
    buf_done(&pair);
}

static void add_number_attr(struct buf *message, const char *key, bool is_double, double number)
{
    struct buf value = {0}, pair = {0};
    if (is_double)
        wire_append_double(&value, 4, number);
    else
        wire_append_varint(&value, 3, (uint64_t)(int64_t)number);
    wire_append_len(&pair, 1, span_str(key));
    wire_append_len(&pair, 2, buf_span(&value));
    wire_append_len(message, 6, buf_span(&pair));
    buf_done(&value);
    buf_done(&pair);
}

static void add_priority(struct buf *message, const char *text)
{
    if (strcmp(text, "text") == 0)
        add_text_attr(message, 6, "sampling.priority", "0");
    else
        add_number_attr(message, "sampling.priority",
                        strchr(text, '.') != NULL || strcmp(text, "nan") == 0, strtod(text, NULL));
}

static void rig_init(struct rig *r, unsigned severity, const char *severity_text, const char *body)
{
    const struct draws_opts opts = {0};
    *r = (struct rig){0};
    assert_int_equal(draws_new(&r->draws, &opts), 0);
    uint8_t head[2] = {0x10, (uint8_t)severity};
    buf_append(&r->bytes, span_of(head, 2));
    if (severity_text != NULL)
        wire_append_len(&r->bytes, 3, span_str(severity_text));
    if (body != NULL) {
        struct buf value = {0};
        wire_append_len(&value, 1, span_str(body));
        wire_append_len(&r->bytes, 5, buf_span(&value));
        buf_done(&value);
    }
    r->group.service_name = SPAN("checkout");
}

static const struct subject *rig_subject(struct rig *r)
{
    assert_int_equal(log_record_read(&r->record, buf_span(&r->bytes)), 0);
    r->group.resource = buf_span(&r->resource);
    r->subject = (struct subject){
        .group = &r->group,
        .bytes = buf_span(&r->bytes),
        .record = &r->record,
        .level = level_of(log_severity(&r->record)),
        .signature = 77,
        .family = 79,
        .pattern = &r->pattern,
        .draw = draws_take(r->draws, &r->record, buf_span(&r->bytes), 0),
        .now_ms = r->subject.now_ms,
    };
    return &r->subject;
}

static void rig_done(struct rig *r)
{
    buf_done(&r->bytes);
    buf_done(&r->resource);
    draws_free(r->draws);
}

static void add_rule(struct rules *r, bool keep, const char *body)
{
    struct rules_matcher m = {.body = span_str(body)};
    assert_int_equal(rules_add_matcher(r, keep, &m, NULL), 0);
}

static void the_first_reason_that_applies(void **state)
{
    (void)state;
    static const struct {
        const char *name, *severity_text, *body, *exception;
        unsigned severity;
        uint32_t first;
        bool has_pattern_rate, has_level_rate;
        enum verdict verdict;
        enum reason reason;
        const char *priority; /* an int, a double with a point or nan, or "text" */
        bool is_context;      /* adjusted count 0 */
    } rows[] = {
        {"error over drop", NULL, "drop me", NULL, 17, 0, true, true, VERDICT_KEPT, REASON_FLOOR},
        {"fatal", NULL, "x", NULL, 24, 0, true, true, VERDICT_KEPT, REASON_FLOOR},
        {"error by text", "Error", "drop me", NULL, 0, 0, true, true, VERDICT_KEPT, REASON_FLOOR},
        {"critical by text", "CRITICAL", "x", NULL, 0, 0, true, true, VERDICT_KEPT, REASON_FLOOR},
        {"the number counts", "ERROR", "x", NULL, 9, 0, true, true, VERDICT_SAMPLED_OUT,
         REASON_PATTERN_RATE},
        {"exception", NULL, "drop me", "E", 9, 0, true, true, VERDICT_KEPT, REASON_FLOOR},
        {"empty exception", NULL, "x", "", 9, 0, true, true, VERDICT_SAMPLED_OUT,
         REASON_PATTERN_RATE},
        {"error over priority 0", NULL, "x", NULL, 17, 0, true, true, VERDICT_KEPT, REASON_FLOOR,
         "0"},
        {"exception over priority 0", NULL, "x", "E", 9, 0, true, true, VERDICT_KEPT, REASON_FLOOR,
         "0"},
        {"priority 0", NULL, "x", NULL, 9, 5, false, false, VERDICT_DROPPED_BY_RULE,
         REASON_PRIORITY, "0"},
        {"priority 0 over keep", NULL, "keep me", NULL, 9, 5, true, true, VERDICT_DROPPED_BY_RULE,
         REASON_PRIORITY, "0"},
        {"priority over drop", NULL, "drop me", NULL, 9, 0, true, true, VERDICT_KEPT,
         REASON_PRIORITY, "1"},
        {"priority below 0", NULL, "x", NULL, 9, 0, true, true, VERDICT_KEPT, REASON_PRIORITY,
         "-1"},
        {"priority 0.0", NULL, "x", NULL, 9, 5, true, true, VERDICT_DROPPED_BY_RULE,
         REASON_PRIORITY, "0.0"},
        {"priority 0.5", NULL, "x", NULL, 9, 0, true, true, VERDICT_KEPT, REASON_PRIORITY, "0.5"},
        {"priority nan", NULL, "x", NULL, 9, 0, true, true, VERDICT_SAMPLED_OUT,
         REASON_PATTERN_RATE, "nan"},
        {"priority as text", NULL, "x", NULL, 9, 0, true, true, VERDICT_SAMPLED_OUT,
         REASON_PATTERN_RATE, "text"},
        {"keep", NULL, "keep me", NULL, 9, 0, true, true, VERDICT_KEPT, REASON_KEEP_RULE},
        {"keep over drop", NULL, "keep and drop me", NULL, 9, 0, true, true, VERDICT_KEPT,
         REASON_KEEP_RULE},
        {"drop over first", NULL, "drop me", NULL, 9, 5, true, true, VERDICT_DROPPED_BY_RULE,
         REASON_DROP_RULE},
        {"context over rate", NULL, "x", NULL, 9, 0, true, true, VERDICT_KEPT, REASON_ERROR_CONTEXT,
         NULL, true},
        {"context over first", NULL, "x", NULL, 9, 5, true, true, VERDICT_KEPT,
         REASON_ERROR_CONTEXT, NULL, true},
        {"drop over context", NULL, "drop me", NULL, 9, 0, true, true, VERDICT_DROPPED_BY_RULE,
         REASON_DROP_RULE, NULL, true},
        {"first over rate", NULL, "x", NULL, 9, 5, true, true, VERDICT_KEPT, REASON_FIRST},
        {"pattern", NULL, "x", NULL, 9, 0, true, true, VERDICT_SAMPLED_OUT, REASON_PATTERN_RATE},
        {"severity", NULL, "x", NULL, 9, 0, false, true, VERDICT_SAMPLED_OUT, REASON_SEVERITY_RATE},
        {"none is info", NULL, "x", NULL, 0, 0, false, true, VERDICT_SAMPLED_OUT,
         REASON_SEVERITY_RATE},
        {"global", NULL, "x", NULL, 9, 0, false, false, VERDICT_SAMPLED_OUT, REASON_GLOBAL_RATE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rules *rules;
        struct rig r;
        assert_int_equal(rules_new(&rules), 0);
        add_rule(rules, true, "keep*");
        add_rule(rules, false, "*drop*");
        assert_int_equal(rules_set_first(rules, rows[i].first, 1000, NULL), 0);
        assert_int_equal(rules_set_global(rules, 0, NULL), 0);
        if (rows[i].has_level_rate)
            assert_int_equal(rules_set_level(rules, LEVEL_INFO, 0, NULL), 0);
        if (rows[i].has_pattern_rate)
            assert_int_equal(rules_set_pattern(rules, 77, 0, NULL), 0);
        rig_init(&r, rows[i].severity, rows[i].severity_text, rows[i].body);
        if (rows[i].exception != NULL)
            add_text_attr(&r.bytes, 6, "exception.type", rows[i].exception);
        if (rows[i].priority != NULL)
            add_priority(&r.bytes, rows[i].priority);
        if (rows[i].is_context)
            add_number_attr(&r.bytes, "otel.logs.adjusted_count", true, 0);
        struct decision d = sampler_decide(rules, rig_subject(&r));
        assert_row(d.verdict == rows[i].verdict, "%s", rows[i].name);
        assert_row(d.reason == rows[i].reason, "%s: %s", rows[i].name, reason_name(d.reason));
        bool by_rate = rows[i].verdict == VERDICT_SAMPLED_OUT;
        assert_row(d.threshold == (by_rate ? RULES_REJECT_ALL : 0), "%s", rows[i].name);
        rig_done(&r);
        rules_unref(rules);
    }
}

/* A family's or an overflow's entry: its window is nobody's of those that it counts for. */
static void one_window_for_all_that_share_an_entry(void **state)
{
    (void)state;
    struct rules *rules;
    struct rig r;
    assert_int_equal(rules_new(&rules), 0);
    assert_int_equal(rules_set_first(rules, 5, 60000, NULL), 0);
    assert_int_equal(rules_set_global(rules, 0, NULL), 0);
    rig_init(&r, 9, NULL, "x");
    for (uint64_t now_ms = 1; now_ms < 200000; now_ms += 7919) {
        r.pattern = (struct pattern){.key.signature = 12345};
        unsigned kept = 0;
        for (uint64_t i = 0; i < 100; i++) {
            struct subject s = *rig_subject(&r);
            s.signature = hash_mix(i % 20, 7);
            s.family = r.pattern.key.signature;
            s.now_ms = now_ms + i; /* at most one window ends meanwhile */
            kept += sampler_decide(rules, &s).verdict == VERDICT_KEPT;
        }
        assert_row(kept == 5 || kept == 10, "at %llu: %u", (unsigned long long)now_ms, kept);
    }
    rig_done(&r);
    rules_unref(rules);
}

struct seen {
    struct sampler_step steps[16];
    unsigned count;
};

static void on_step(void *ctx, const struct sampler_step *step)
{
    struct seen *seen = ctx;
    seen->steps[seen->count++] = *step;
}

static void an_explanation_is_the_decision(void **state)
{
    (void)state;
    static const struct {
        const char *name, *body;
        unsigned severity;
        const char *stages; /* capitals: it applies */
        bool guarded;
    } rows[] = {
        {"floor", "x", 17, "F"},
        {"second keep rule", "keep2", 9, "fpkK"},
        {"drop rule", "drop", 9, "fpkkD"},
        {"rate", "x", 9, "fpkkdc1R"},
        {"guarded", "x", 9, "fpkkdG", true},
        {"guarded and dropped", "drop", 9, "fpkkD", true},
    };
    struct rules *rules;
    assert_int_equal(rules_new(&rules), 0);
    add_rule(rules, true, "keep1");
    add_rule(rules, true, "keep2");
    add_rule(rules, false, "drop");
    assert_int_equal(rules_set_first(rules, 3, 1000, NULL), 0);
    assert_int_equal(rules_set_level(rules, LEVEL_INFO, 0.5, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct seen seen = {0};
        struct rig r;
        const struct sampler_trace trace = {&seen, on_step};
        rig_init(&r, rows[i].severity, NULL, rows[i].body);
        const struct subject *s = rig_subject(&r);
        r.subject.guarded = rows[i].guarded;
        r.subject.selected = rows[i].guarded ? 8 : 0;
        struct subject alone = *s;
        alone.pattern = NULL;
        struct decision d = sampler_explain(rules, &alone, &trace);
        assert_row(r.pattern.in_window == 0, "%s", rows[i].name);
        char stages[16] = "";
        for (unsigned k = 0; k < seen.count; k++)
            stages[k] = (seen.steps[k].applies ? "FPKDGC1R" : "fpkdgc1r")[seen.steps[k].stage];
        assert_row(strcmp(stages, rows[i].stages) == 0, "%s: %s", rows[i].name, stages);
        r.pattern.in_window = 3; /* this record is no longer among the first */
        r.pattern.window = 1;
        struct decision same = sampler_decide(rules, s);
        assert_row(d.verdict == same.verdict && d.reason == same.reason &&
                       d.threshold == same.threshold,
                   "%s: %s, not %s", rows[i].name, reason_name(d.reason), reason_name(same.reason));
        if (strncmp(rows[i].stages, "fpkK", 4) == 0)
            assert_int_equal(seen.steps[3].place, 1);
        if (d.reason == REASON_SEVERITY_RATE) {
            assert_int_equal(seen.steps[7].source, RULES_SEVERITY);
            assert_true(seen.steps[7].threshold == rules_threshold_of(0.5));
        }
        rig_done(&r);
    }
    rules_unref(rules);
}

/* What is stamped is what was decided by, boost included; errors, rules and 0 know of none. */
static void a_boost_on_the_rate(void **state)
{
    (void)state;
    static const struct {
        double rate, boost;
        float anomaly;
        double p;
    } rows[] = {
        {0.1, 4, 0, 0.1}, {0.1, 4, 1, 0.4}, {0.1, 4, 0.5f, 0.25}, {0.1, 1, 1, 0.1},
        {0.5, 4, 1, 1},   {0, 1000, 1, 0},  {1, 4, 1, 1},         {0.001, 1000, 1, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rules *rules;
        struct rig r;
        assert_int_equal(rules_new(&rules), 0);
        assert_int_equal(rules_set_first(rules, 0, 1000, NULL), 0);
        assert_int_equal(rules_set_level(rules, LEVEL_INFO, rows[i].rate, NULL), 0);
        assert_int_equal(rules_set_boost(rules, rows[i].boost, NULL), 0);
        rig_init(&r, 9, NULL, "hello");
        struct subject s = *rig_subject(&r);
        s.anomaly = rows[i].anomaly;
        struct seen seen = {0};
        const struct sampler_trace trace = {&seen, on_step};
        struct decision same = sampler_explain(rules, &s, &trace);
        struct decision d = sampler_decide(rules, &s);
        double p = rules_rate_of(d.threshold);
        assert_row(fabs(p - rows[i].p) <= rows[i].p / 4096, "%zu: %g, not %g", i, p, rows[i].p);
        assert_int_equal(d.reason, REASON_SEVERITY_RATE);
        assert_true(same.threshold == d.threshold && same.verdict == d.verdict);
        const struct sampler_step *last = &seen.steps[seen.count - 1];
        assert_int_equal(last->stage, rows[i].boost > 1 ? SAMPLER_BOOST : SAMPLER_RATE);
        if (last->stage == SAMPLER_BOOST) {
            assert_true(last->threshold == d.threshold);
            assert_int_equal(last->applies, rows[i].anomaly > 0);
        }
        rig_done(&r);
        rules_unref(rules);
    }
}

static void matchers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct rules_matcher m;
        bool hit;
    } rows[] = {
        {"level", {.levels = 1u << LEVEL_INFO}, true},
        {"other levels", {.levels = 1u << LEVEL_DEBUG | 1u << LEVEL_WARN}, false},
        {"service", {.service = {(const uint8_t *)"check*", 6}}, true},
        {"other service", {.service = {(const uint8_t *)"check", 5}}, false},
        {"pattern", {.has_pattern = true, .pattern = 77}, true},
        {"its family", {.has_pattern = true, .pattern = 79}, true},
        {"a pattern of its family", {.has_pattern = true, .pattern = 78, .family = 79}, true},
        {"other pattern", {.has_pattern = true, .pattern = 0}, false},
        {"body", {.body = {(const uint8_t *)"*world", 6}}, true},
        {"body, other end", {.body = {(const uint8_t *)"*worl", 5}}, false},
        {"all of them",
         {.levels = 1u << LEVEL_INFO,
          .has_pattern = true,
          .pattern = 77,
          .body = {(const uint8_t *)"hello*", 6}},
         true},
        {"all but one",
         {.levels = 1u << LEVEL_INFO,
          .has_pattern = true,
          .pattern = 78,
          .body = {(const uint8_t *)"hello*", 6}},
         false},
#define ATTR(k, v) \
    .attribute = {{{(const uint8_t *)(k), sizeof(k) - 1}, {(const uint8_t *)(v), sizeof(v) - 1}}}, \
    .attributes = 1
        {"record attribute", {ATTR("http.route", "/api/*")}, true},
        {"key is no glob", {ATTR("http.*", "*")}, false},
        {"missing attribute", {ATTR("http.method", "*")}, false},
        {"int", {ATTR("status", "-404")}, true},
        {"int glob", {ATTR("status", "-4*")}, true},
        {"true", {ATTR("cached", "true")}, true},
        {"double", {ATTR("ratio", "0.1")}, true},
        {"empty text", {ATTR("empty", "")}, true},
        {"list has no text", {ATTR("list", "*")}, false},
        {"resource attribute", {ATTR("k8s.namespace", "prod")}, true},
        {"resource, other value", {ATTR("k8s.namespace", "pro")}, false},
#undef ATTR
    };
    struct rig r;
    rig_init(&r, 9, NULL, "hello world");
    add_text_attr(&r.bytes, 6, "http.route", "/api/v1");
    add_text_attr(&r.bytes, 6, "empty", "");
    buf_append(&r.bytes,
               SPAN("\x32\x15\x0a\x06status\x12\x0b\x18\xec\xfc\xff\xff\xff\xff\xff\xff\xff\x01"));
    buf_append(&r.bytes, SPAN("\x32\x0c\x0a\x06"
                              "cached\x12\x02\x10\x01"));
    buf_append(&r.bytes, SPAN("\x32\x12\x0a\x05ratio\x12\x09\x21\x9a\x99\x99\x99\x99\x99\xb9\x3f"));
    buf_append(&r.bytes, SPAN("\x32\x0a\x0a\x04list\x12\x02\x2a\x00"));
    struct buf inner = {0};
    add_text_attr(&inner, 1, "k8s.namespace", "prod");
    wire_append_len(&r.resource, 1, buf_span(&inner));
    buf_done(&inner);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rules *rules;
        assert_int_equal(rules_new(&rules), 0);
        assert_int_equal(rules_add_matcher(rules, false, &rows[i].m, NULL), 0);
        struct decision d = sampler_decide(rules, rig_subject(&r));
        assert_row((d.reason == REASON_DROP_RULE) == rows[i].hit, "%s", rows[i].name);
        rules_unref(rules);
    }
    rig_done(&r);
}

static void the_first_of_each_window(void **state)
{
    (void)state;
    enum { N = 3, WINDOW = 1000 };
    struct rules *rules;
    struct rig r;
    assert_int_equal(rules_new(&rules), 0);
    assert_int_equal(rules_set_first(rules, N, WINDOW, NULL), 0);
    assert_int_equal(rules_set_level(rules, LEVEL_INFO, 0, NULL), 0);
    rig_init(&r, 9, NULL, "x");
    r.pattern.key.signature = 5077;
    uint64_t firsts = 0;
    for (uint64_t now = 50000; now < 60000; now += 10) {
        r.subject.now_ms = now;
        firsts += sampler_decide(rules, rig_subject(&r)).reason == REASON_FIRST;
    }
    assert_in_range(firsts, 10 * N, 11 * N); /* ten windows, or eleven cut ones */

    /* Just after a window began: N, and no more until the next one. */
    uint64_t begin = 70000 + WINDOW - (70000 + r.pattern.key.signature) % WINDOW;
    for (int i = 0; i < 2 * N; i++) {
        r.subject.now_ms = begin + (uint64_t)i;
        assert_row((sampler_decide(rules, rig_subject(&r)).reason == REASON_FIRST) == (i < N), "%d",
                   i);
    }
    r.subject.now_ms = begin + WINDOW - 1;
    assert_int_equal(sampler_decide(rules, rig_subject(&r)).reason, REASON_SEVERITY_RATE);
    r.subject.now_ms = begin + WINDOW;
    assert_int_equal(sampler_decide(rules, rig_subject(&r)).reason, REASON_FIRST);

    /* A window with more records than its counter could hold begins no second time. */
    r.pattern.in_window = UINT32_MAX;
    assert_int_equal(sampler_decide(rules, rig_subject(&r)).reason, REASON_SEVERITY_RATE);
    assert_int_equal(sampler_decide(rules, rig_subject(&r)).reason, REASON_SEVERITY_RATE);
    rig_done(&r);
    rules_unref(rules);
}

/* Kept at R >= T, dropped at R = T - 1; one trace, one fate at one rate. */
static void a_trace_is_kept_or_dropped_alike(void **state)
{
    (void)state;
    struct rules *rules;
    assert_int_equal(rules_new(&rules), 0);
    assert_int_equal(rules_set_level(rules, LEVEL_INFO, 0.5, NULL), 0);
    assert_int_equal(rules_set_level(rules, LEVEL_WARN, 0.5, NULL), 0);
    static const struct {
        uint8_t last[7];
        bool kept;
    } rows[] = {
        {{0x80, 0, 0, 0, 0, 0, 0}, true},
        {{0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, false},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, true},
        {{0, 0, 0, 0, 0, 0, 0}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (unsigned severity = 9; severity < 17; severity++) {
            struct rig r;
            uint8_t id[16] = {1};
            memcpy(id + 9, rows[i].last, 7);
            rig_init(&r, severity, NULL, severity % 2 ? "one text" : "another");
            wire_append_len(&r.bytes, 9, span_of(id, 16));
            struct decision d = sampler_decide(rules, rig_subject(&r));
            assert_row((d.verdict == VERDICT_KEPT) == rows[i].kept, "%zu %u", i, severity);
            assert_int_equal(d.threshold, RULES_REJECT_ALL / 2);
            rig_done(&r);
        }
    }
    rules_unref(rules);
}

/* The weights of the survivors estimate what came, within three sigma. */
static void weights_add_up(void **state)
{
    (void)state;
    static const double rates[] = {0.01, 0.05, 0.2, 0.5, 0.9};
    enum { RECORDS = 200000 };
    for (size_t k = 0; k < ARRAY_LEN(rates); k++) {
        for (int traced = 0; traced < 2; traced++) {
            double p = rates[k], sum = 0;
            struct rules *rules;
            struct rng rng = {.state = 1234 + k};
            struct rig r;
            assert_int_equal(rules_new(&rules), 0);
            assert_int_equal(rules_set_level(rules, LEVEL_INFO, p, NULL), 0);
            rig_init(&r, 9, NULL, NULL);
            size_t head = r.bytes.len;
            for (uint64_t i = 0; i < RECORDS; i++) {
                uint64_t id[2] = {rng_next(&rng), rng_next(&rng)};
                r.bytes.len = head;
                if (traced)
                    wire_append_len(&r.bytes, 9, span_of(id, 16));
                else
                    wire_append_len(&r.bytes, 3, span_of(&i, 8)); /* any bytes that differ */
                struct decision d = sampler_decide(rules, rig_subject(&r));
                if (d.verdict == VERDICT_KEPT)
                    sum += 1 / rules_rate_of(d.threshold);
            }
            double sigma = sqrt(RECORDS * (1 - p) / p);
            assert_row(fabs(sum - RECORDS) < 3 * sigma, "p %g traced %d: %g", p, traced, sum);
            rig_done(&r);
            rules_unref(rules);
        }
    }
}

/* What a record brings, what we ask of it, and what it goes on with. */
static void earlier_thresholds_are_joined(void **state)
{
    (void)state;
    const uint64_t half = RULES_REJECT_ALL / 2, quarter = RULES_REJECT_ALL / 4;
    const struct {
        const char *name, *threshold, *randomness, *trace; /* trace: the id's last digits */
        double count, rate;                                /* count 0: no attribute */
        uint64_t expect;
        bool kept, own;
    } rows[] = {
        {"nothing before", NULL, NULL, "80000000000000", 0, 0.5, half, true, false},
        {"ours is higher", "8", NULL, "c0000000000000", 0, 0.25, 3 * quarter, true, false},
        {"ours is higher: dropped", "8", NULL, "bfffffffffffff", 0, 0.25, 3 * quarter, false,
         false},
        {"ours is lower", "c", NULL, "c0000000000000", 0, 0.5, 3 * quarter, true, false},
        {"trailing zeros", "c0000000000000", NULL, "c0000000000000", 0, 0.5, 3 * quarter, true,
         false},
        {"capitals", "C", NULL, "c0000000000000", 0, 0.5, 3 * quarter, true, false},
        {"we keep all", "c", NULL, "c0000000000000", 0, 1, 3 * quarter, true, false},
        {"zero", "0", NULL, "80000000000000", 0, 0.5, half, true, false},
        {"not hex", "8g", NULL, "80000000000000", 0, 0.5, half, true, false},
        {"empty", "", NULL, "80000000000000", 0, 0.5, half, true, false},
        {"15 digits", "c00000000000000", NULL, "80000000000000", 0, 0.5, half, true, false},
        {"randomness over trace id", "8", "c0000000000000", "00000000000001", 0, 0.25, 3 * quarter,
         true, false},
        {"randomness alone", NULL, "80000000000000", NULL, 0, 0.5, half, true, false},
        {"randomness alone: dropped", NULL, "7fffffffffffff", NULL, 0, 0.5, half, false, false},
        {"13 digits of randomness", NULL, "8000000000000", "7fffffffffffff", 0, 0.5, half, false,
         false},
        {"adjusted count", NULL, NULL, "c0000000000000", 4, 0.5, 3 * quarter, true, false},
        {"threshold over adjusted count", "8", NULL, "80000000000000", 4, 1, half, true, false},
        {"adjusted count for a bad threshold", "x", NULL, "c0000000000000", 4, 1, 3 * quarter, true,
         false},
        {"count below 1", NULL, NULL, "80000000000000", 0.5, 0.5, half, true, false},
        {"count nan", NULL, NULL, "80000000000000", NAN, 0.5, half, true, false},
        {"count too large", NULL, NULL, "80000000000000", 1e18, 0.5, half, true, false},
        {"no shared randomness, we keep all", "c", NULL, NULL, 0, 1, 3 * quarter, true, true},
        {"another draw: below its own threshold", "c", NULL, "bfffffffffffff", 0, 1, 3 * quarter,
         true, true},
        {"we keep none", "c", NULL, "ffffffffffffff", 0, 0, RULES_REJECT_ALL, false, false},
        {"we keep none, apart", "c", NULL, NULL, 0, 0, RULES_REJECT_ALL, false, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rules *rules;
        struct rig r;
        assert_int_equal(rules_new(&rules), 0);
        assert_int_equal(rules_set_global(rules, rows[i].rate, NULL), 0);
        rig_init(&r, 9, NULL, "x");
        if (rows[i].threshold != NULL)
            add_text_attr(&r.bytes, 6, "sampling.threshold", rows[i].threshold);
        if (rows[i].randomness != NULL)
            add_text_attr(&r.bytes, 6, "sampling.randomness", rows[i].randomness);
        if (rows[i].count != 0)
            add_number_attr(&r.bytes, "otel.logs.adjusted_count", true, rows[i].count);
        if (rows[i].trace != NULL) {
            uint8_t id[16] = {1};
            uint64_t last = strtoull(rows[i].trace, NULL, 16);
            for (int k = 15; k > 8; k--, last >>= 8)
                id[k] = (uint8_t)last;
            wire_append_len(&r.bytes, 9, span_of(id, 16));
        }
        struct decision d = sampler_decide(rules, rig_subject(&r));
        assert_row(d.threshold == rows[i].expect, "%s: %llx", rows[i].name,
                   (unsigned long long)d.threshold);
        assert_row((d.verdict == VERDICT_KEPT) == rows[i].kept, "%s", rows[i].name);
        assert_row(d.own_randomness == rows[i].own, "%s", rows[i].name);
        assert_row(!rows[i].kept || d.randomness >= d.threshold, "%s", rows[i].name);
        rig_done(&r);
        rules_unref(rules);
    }
}

/* A draw of our own multiplies, and what is carried on is uniform above the threshold. */
static void draws_apart_multiply(void **state)
{
    (void)state;
    enum { RECORDS = 20000, BINS = 4 };
    struct rng rng = {77};
    unsigned kept = 0, bins[BINS] = {0};
    struct rules *rules;
    struct rig r;
    assert_int_equal(rules_new(&rules), 0);
    assert_int_equal(rules_set_global(rules, 0.5, NULL), 0);
    rig_init(&r, 9, NULL, NULL);
    add_text_attr(&r.bytes, 6, "sampling.threshold", "c");
    size_t head = r.bytes.len;
    for (uint64_t i = 0; i < RECORDS; i++) {
        r.bytes.len = head;
        wire_append_i64(&r.bytes, 1, i);
        r.pattern.phase = (uint32_t)rng_next(&rng); /* each the first of its spacing */
        struct decision d = sampler_decide(rules, rig_subject(&r));
        const uint64_t eighth = RULES_REJECT_ALL / 8;
        assert_int_equal(d.threshold, 7 * eighth);
        if (d.verdict != VERDICT_KEPT)
            continue;
        kept++;
        assert_in_range(d.randomness, d.threshold, RULES_REJECT_ALL - 1);
        bins[(d.randomness - d.threshold) / (eighth / BINS)]++;
    }
    assert_true(fabs(kept - RECORDS / 2.0) < 3 * sqrt(RECORDS / 4.0));
    for (int b = 0; b < BINS; b++)
        assert_row(fabs(bins[b] - kept / 4.0) < 4 * sqrt(kept * 3 / 16.0), "%d: %u", b, bins[b]);
    rig_done(&r);
    rules_unref(rules);
}

/* Rounding neither reaches certainty nor leaves 56 bits. */
static void joining_at_the_ends(void **state)
{
    (void)state;
    const uint64_t all = RULES_REJECT_ALL, most = RULES_REJECT_ALL - 1;
    assert_int_equal(consistent_product(0, 0), 0);
    assert_int_equal(consistent_product(0, most), most);
    assert_int_equal(consistent_product(all / 2, all / 2), all / 4 * 3);
    assert_int_equal(consistent_product(most, most), most); /* 2^-112 is not to be had */
    assert_int_equal(consistent_product(all, 0), all);
    assert_int_equal(consistent_product(1, 1), 2);
    const uint64_t ends[] = {0, 1, all / 2, most - 1, most};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        for (size_t j = 0; j < ARRAY_LEN(ends); j++) {
            uint64_t t = consistent_product(ends[i], ends[j]);
            assert_in_range(consistent_carried(ends[i], ends[i], ends[j]), t, most);
            assert_in_range(consistent_carried(most, ends[i], ends[j]), t, most);
        }
    }
}

/* Whoever keeps with certainty leaves the weight that a record has. */
static void certainty_keeps_the_weight(void **state)
{
    (void)state;
    static const struct {
        unsigned severity;
        const char *body;
        bool priority;
        uint32_t first;
        enum reason reason;
    } rows[] = {
        {17, "x", false, 0, REASON_FLOOR},
        {9, "keep", false, 0, REASON_KEEP_RULE},
        {9, "x", true, 0, REASON_PRIORITY},
        {9, "x", false, 1, REASON_FIRST},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int sampled = 0; sampled < 2; sampled++) {
            struct rules *rules;
            struct rig r;
            assert_int_equal(rules_new(&rules), 0);
            add_rule(rules, true, "keep*");
            assert_int_equal(rules_set_first(rules, rows[i].first, 1000, NULL), 0);
            assert_int_equal(rules_set_global(rules, 0, NULL), 0);
            rig_init(&r, rows[i].severity, NULL, rows[i].body);
            if (sampled)
                add_text_attr(&r.bytes, 6, "sampling.threshold", "f");
            if (rows[i].priority)
                add_priority(&r.bytes, "1");
            struct decision d = sampler_decide(rules, rig_subject(&r));
            assert_int_equal(d.reason, rows[i].reason);
            assert_int_equal(d.verdict, VERDICT_KEPT);
            assert_int_equal(d.threshold, sampled ? RULES_REJECT_ALL / 16 * 15 : 0);
            rig_done(&r);
            rules_unref(rules);
        }
    }
}

/* The governor's factor on what our own rate gives a record, and how that joins a draw
 * from before. At half of the pressure an unknown pattern keeps 1/8 of INFO. */
static void a_governor_lowers_our_rate(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unsigned severity;
        double own;
        const char *threshold, *trace;
        double rate;
        enum reason reason;
    } rows[] = {
        {"by itself", 9, 0.5, NULL, NULL, 1.0 / 16, REASON_PRESSURE},
        {"warn", 13, 0.5, NULL, NULL, 1.0 / 4, REASON_PRESSURE},
        {"debug", 5, 1, NULL, NULL, 1.0 / 64, REASON_PRESSURE},
        {"a draw with the same R, lower than ours", 9, 0.5, "c", "ffffffffffffff", 1.0 / 32,
         REASON_PRESSURE},
        {"a draw with the same R, higher than ours", 9, 0.25, "8", "ffffffffffffff", 1.0 / 32,
         REASON_PRESSURE},
        {"a draw apart", 9, 0.5, "c", NULL, 1.0 / 64, REASON_PRESSURE},
        {"a draw apart from the trace's", 9, 0.5, "c", "00000000000001", 1.0 / 64, REASON_PRESSURE},
        {"nothing is left to chance", 9, 0, NULL, NULL, 0, REASON_SEVERITY_RATE},
        {"an error", 17, 1, NULL, NULL, 1, REASON_FLOOR},
        {"an error that was drawn", 17, 1, "c", NULL, 0.25, REASON_FLOOR},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct governor *g;
        struct rules *rules;
        struct rig r;
        const struct governor_opts opts = {.max_patterns = 16};
        assert_int_equal(governor_new(&g, &opts), 0);
        assert_true(governor_begin(g, 1000, 0.7));
        assert_int_equal(rules_new(&rules), 0);
        for (int l = LEVEL_TRACE; l <= LEVEL_WARN; l++)
            assert_int_equal(rules_set_level(rules, (enum level)l, rows[i].own, NULL), 0);
        rig_init(&r, rows[i].severity, NULL, "x");
        if (rows[i].threshold != NULL)
            add_text_attr(&r.bytes, 6, "sampling.threshold", rows[i].threshold);
        if (rows[i].trace != NULL) {
            uint8_t id[16] = {1};
            uint64_t last = strtoull(rows[i].trace, NULL, 16);
            for (int k = 15; k > 8; k--, last >>= 8)
                id[k] = (uint8_t)last;
            wire_append_len(&r.bytes, 9, span_of(id, 16));
        }
        struct subject s = *rig_subject(&r);
        s.governor = g;
        struct decision d = sampler_decide(rules, &s);
        assert_row(fabs(rules_rate_of(d.threshold) - rows[i].rate) < 1e-5, "%s: %g", rows[i].name,
                   rules_rate_of(d.threshold));
        assert_row(d.reason == rows[i].reason, "%s: %s", rows[i].name, reason_name(d.reason));
        rig_done(&r);
        rules_unref(rules);
        governor_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_reason_that_applies),
        cmocka_unit_test(one_window_for_all_that_share_an_entry),
        cmocka_unit_test(an_explanation_is_the_decision),
        cmocka_unit_test(a_boost_on_the_rate),
        cmocka_unit_test(matchers),
        cmocka_unit_test(the_first_of_each_window),
        cmocka_unit_test(a_trace_is_kept_or_dropped_alike),
        cmocka_unit_test(weights_add_up),
        cmocka_unit_test(earlier_thresholds_are_joined),
        cmocka_unit_test(draws_apart_multiply),
        cmocka_unit_test(joining_at_the_ends),
        cmocka_unit_test(certainty_keeps_the_weight),
        cmocka_unit_test(a_governor_lowers_our_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
