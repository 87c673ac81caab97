#include "unit/test.h"

#include <math.h>

#include "pipeline/sampler.h"
#include "unit/otlp/pb.h"
#include "util/rng.h"

/* A record with the ends that a row asks for, and what the sampler needs around it. */
struct rig {
    struct buf bytes, resource;
    struct log_record record;
    struct logs_group group;
    struct pattern pattern;
    struct subject subject;
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

static void rig_init(struct rig *r, unsigned severity, const char *severity_text, const char *body)
{
    *r = (struct rig){0};
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
        .now_ms = r->subject.now_ms,
    };
    return &r->subject;
}

static void rig_done(struct rig *r)
{
    buf_done(&r->bytes);
    buf_done(&r->resource);
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
    } rows[] = {
        {"error over drop", NULL, "drop me", NULL, 17, 0, true, true, VERDICT_KEPT, REASON_FLOOR},
        {"fatal", NULL, "x", NULL, 24, 0, true, true, VERDICT_KEPT, REASON_FLOOR},
        {"error by text", "Error", "drop me", NULL, 0, 0, true, true, VERDICT_KEPT, REASON_FLOOR},
        {"critical by text", "CRITICAL", "x", NULL, 0, 0, true, true, VERDICT_KEPT, REASON_FLOOR},
        {"the number counts", "ERROR", "x", NULL, 9, 0, true, true, VERDICT_SAMPLED_OUT, REASON_PATTERN_RATE},
        {"exception", NULL, "drop me", "E", 9, 0, true, true, VERDICT_KEPT, REASON_FLOOR},
        {"empty exception", NULL, "x", "", 9, 0, true, true, VERDICT_SAMPLED_OUT, REASON_PATTERN_RATE},
        {"keep", NULL, "keep me", NULL, 9, 0, true, true, VERDICT_KEPT, REASON_KEEP_RULE},
        {"keep over drop", NULL, "keep and drop me", NULL, 9, 0, true, true, VERDICT_KEPT, REASON_KEEP_RULE},
        {"drop over first", NULL, "drop me", NULL, 9, 5, true, true, VERDICT_DROPPED_BY_RULE, REASON_DROP_RULE},
        {"first over rate", NULL, "x", NULL, 9, 5, true, true, VERDICT_KEPT, REASON_FIRST},
        {"pattern", NULL, "x", NULL, 9, 0, true, true, VERDICT_SAMPLED_OUT, REASON_PATTERN_RATE},
        {"severity", NULL, "x", NULL, 9, 0, false, true, VERDICT_SAMPLED_OUT, REASON_SEVERITY_RATE},
        {"none is info", NULL, "x", NULL, 0, 0, false, true, VERDICT_SAMPLED_OUT, REASON_SEVERITY_RATE},
        {"global", NULL, "x", NULL, 9, 0, false, false, VERDICT_SAMPLED_OUT, REASON_GLOBAL_RATE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rules *rules;
        struct rig r;
        assert_int_equal(rules_new(&rules), 0);
        add_rule(rules, true, "keep*");
        add_rule(rules, false, "*drop*");
        rules_set_first(rules, rows[i].first, 1000, NULL);
        rules_set_global(rules, 0, NULL);
        if (rows[i].has_level_rate)
            rules_set_level(rules, LEVEL_INFO, 0, NULL);
        if (rows[i].has_pattern_rate)
            rules_set_pattern(rules, 77, 0, NULL);
        rig_init(&r, rows[i].severity, rows[i].severity_text, rows[i].body);
        if (rows[i].exception != NULL)
            add_text_attr(&r.bytes, 6, "exception.type", rows[i].exception);
        struct decision d = sampler_decide(rules, rig_subject(&r));
        assert_row(d.verdict == rows[i].verdict, "%s", rows[i].name);
        assert_row(d.reason == rows[i].reason, "%s: %s", rows[i].name, reason_name(d.reason));
        bool by_rate = rows[i].verdict == VERDICT_SAMPLED_OUT;
        assert_row(d.threshold == (by_rate ? RULES_REJECT_ALL : 0), "%s", rows[i].name);
        rig_done(&r);
        rules_unref(rules);
    }
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
    } rows[] = {
        {"floor", "x", 17, "F"},
        {"second keep rule", "keep2", 9, "fkK"},
        {"drop rule", "drop", 9, "fkkD"},
        {"rate", "x", 9, "fkkd1R"},
    };
    struct rules *rules;
    assert_int_equal(rules_new(&rules), 0);
    add_rule(rules, true, "keep1");
    add_rule(rules, true, "keep2");
    add_rule(rules, false, "drop");
    rules_set_first(rules, 3, 1000, NULL);
    rules_set_level(rules, LEVEL_INFO, 0.5, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct seen seen = {0};
        struct rig r;
        const struct sampler_trace trace = {&seen, on_step};
        rig_init(&r, rows[i].severity, NULL, rows[i].body);
        const struct subject *s = rig_subject(&r);
        struct subject alone = *s;
        alone.pattern = NULL;
        struct decision d = sampler_explain(rules, &alone, &trace);
        assert_row(r.pattern.in_window == 0, "%s", rows[i].name);
        char stages[16] = "";
        for (unsigned k = 0; k < seen.count; k++)
            stages[k] = (seen.steps[k].applies ? "FKD1R" : "fkd1r")[seen.steps[k].stage];
        assert_row(strcmp(stages, rows[i].stages) == 0, "%s: %s", rows[i].name, stages);
        r.pattern.in_window = 3; /* this record is no longer among the first */
        r.pattern.window = s->signature % 1000 / 1000 + 1;
        struct decision same = sampler_decide(rules, s);
        assert_row(d.verdict == same.verdict && d.reason == same.reason && d.threshold == same.threshold,
                   "%s: %s, not %s", rows[i].name, reason_name(d.reason), reason_name(same.reason));
        if (rows[i].stages[1] == 'k' && rows[i].stages[2] == 'K')
            assert_int_equal(seen.steps[2].place, 1);
        if (d.reason == REASON_SEVERITY_RATE) {
            assert_int_equal(seen.steps[5].source, RULES_SEVERITY);
            assert_true(seen.steps[5].threshold == rules_threshold_of(0.5));
        }
        rig_done(&r);
    }
    rules_unref(rules);
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
        {"all of them", {.levels = 1u << LEVEL_INFO, .has_pattern = true, .pattern = 77,
                         .body = {(const uint8_t *)"hello*", 6}}, true},
        {"all but one", {.levels = 1u << LEVEL_INFO, .has_pattern = true, .pattern = 78,
                         .body = {(const uint8_t *)"hello*", 6}}, false},
#define ATTR(k, v) .attribute = {{{(const uint8_t *)(k), sizeof(k) - 1}, \
                                  {(const uint8_t *)(v), sizeof(v) - 1}}}, .attributes = 1
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
    buf_append(&r.bytes, SPAN("\x32\x15\x0a\x06status\x12\x0b\x18\xec\xfc\xff\xff\xff\xff\xff\xff\xff\x01"));
    buf_append(&r.bytes, SPAN("\x32\x0c\x0a\x06" "cached\x12\x02\x10\x01"));
    buf_append(&r.bytes, SPAN("\x32\x12\x0a\x05ratio\x12\x09\x21\x9a\x99\x99\x99\x99\x99\xb9\x3f"));
    buf_append(&r.bytes, SPAN("\x32\x0a\x0a\x04list\x12\x02\x2a\x00"));
    struct buf inner = {0};
    add_text_attr(&inner, 1, "k8s.namespace", "prod");
    wire_append_len(&r.resource, 1, buf_span(&inner));
    buf_done(&inner);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rules *rules;
        assert_int_equal(rules_new(&rules), 0);
        rules_add_matcher(rules, false, &rows[i].m, NULL);
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
    rules_set_first(rules, N, WINDOW, NULL);
    rules_set_level(rules, LEVEL_INFO, 0, NULL);
    rig_init(&r, 9, NULL, "x");
    uint64_t firsts = 0;
    for (uint64_t now = 50000; now < 60000; now += 10) {
        r.subject.now_ms = now;
        firsts += sampler_decide(rules, rig_subject(&r)).reason == REASON_FIRST;
    }
    assert_in_range(firsts, 10 * N, 11 * N); /* ten windows, or eleven cut ones */

    /* Just after a window began: N, and no more until the next one. */
    uint64_t begin = 70000 + WINDOW - (70000 + 77) % WINDOW;
    for (int i = 0; i < 2 * N; i++) {
        r.subject.now_ms = begin + (uint64_t)i;
        assert_row((sampler_decide(rules, rig_subject(&r)).reason == REASON_FIRST) == (i < N), "%d", i);
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

static void randomness(void **state)
{
    (void)state;
    static const uint8_t id[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 0xa0, 0xb1, 0xc2, 0xd3, 0xe4, 0xf5, 0x06};
    static const uint8_t zero[16];
    struct log_record r = {.trace_id = {id, 16}};
    assert_int_equal(sampler_randomness(&r, SPAN("a")), 0xa0b1c2d3e4f506);
    assert_int_equal(sampler_randomness(&r, SPAN("b")), 0xa0b1c2d3e4f506);
    const struct span invalid[] = {{NULL, 0}, {id, 15}, {id, 8}, {zero, 16}};
    for (size_t i = 0; i < ARRAY_LEN(invalid); i++) {
        r.trace_id = invalid[i];
        uint64_t a = sampler_randomness(&r, SPAN("a"));
        assert_row(a < RULES_REJECT_ALL, "%zu", i);
        assert_row(a == sampler_randomness(&r, SPAN("a")), "%zu", i);
        assert_row(a != sampler_randomness(&r, SPAN("b")), "%zu", i);
    }
}

/* Kept at R >= T, dropped at R = T - 1; one trace, one fate at one rate. */
static void a_trace_is_kept_or_dropped_alike(void **state)
{
    (void)state;
    struct rules *rules;
    assert_int_equal(rules_new(&rules), 0);
    rules_set_level(rules, LEVEL_INFO, 0.5, NULL);
    rules_set_level(rules, LEVEL_WARN, 0.5, NULL);
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
            rules_set_level(rules, LEVEL_INFO, p, NULL);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_reason_that_applies),
        cmocka_unit_test(an_explanation_is_the_decision),
        cmocka_unit_test(matchers),
        cmocka_unit_test(the_first_of_each_window),
        cmocka_unit_test(randomness),
        cmocka_unit_test(a_trace_is_kept_or_dropped_alike),
        cmocka_unit_test(weights_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
