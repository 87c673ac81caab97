/* The first of a window, where many signatures share one entry. */
#include "unit/pipeline/rig.h"

#define RECORDS 1000
#define FIRST 5
#define WINDOW_MS 60000
#define FAMILY_WEIGHT 8
#define PATTERNS_PER_SERVICE 16

/* Twenty names, in a line with numbers around them. */
static void a_name(char line[128], unsigned i)
{
    snprintf(line, 128,
             "connection %u: user '%cliff%c' authenticated and granted access to vhost '/'",
             30000 + i * 7919 % 40000, 'a' + (char)(i % 20), 'a' + (char)(i / 20 % 3));
}

/* One word a line that was never there before: a pattern each. */
static void a_word(char line[128], unsigned i)
{
    snprintf(line, 128, "cache miss %c%c%cing", "bcdfghjklm"[i / 100 % 10],
             "aeiouyaeio"[i / 10 % 10], "nprstvwxzq"[i % 10]);
}

static void one_signature(char line[128], unsigned i)
{
    snprintf(line, 128, "request %u served", i);
}

struct kept {
    uint64_t enforced, shadow;
    unsigned most; /* of one entry */
};

/* RECORDS of them at this time and pace; nothing is kept but what is first. */
static struct kept push_all(void (*line_of)(char line[128], unsigned i), uint64_t start_ms,
                            uint64_t pace_ms)
{
    struct rig r;
    struct rules *second;
    rig_init(&r);
    assert_int_equal(rules_new(&second), 0);
    struct rules *both[] = {r.rules, second};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rules_set_first(both[i], FIRST, WINDOW_MS, NULL), 0);
        assert_int_equal(rules_set_global(both[i], 0, NULL), 0);
    }
    clock_fake_init(&r.clock, start_ms, RIG_START_NS);
    r.opts.max_patterns_per_service = PATTERNS_PER_SERVICE;
    r.opts.family_weight = FAMILY_WEIGHT;
    rig_open(&r);
    struct pipeline *p = r.pipeline;
    assert_int_equal(pipeline_set_shadow_rules(p, second), 0);
    for (unsigned i = 0; i < RECORDS; i++) {
        char line[128];
        line_of(line, i);
        rig_push(&r, &(struct rig_record){.body = line});
        clock_fake_advance(&r.clock, pace_ms);
    }
    struct kept kept = {ledger_total(pipeline_ledger(p))->verdict[VERDICT_KEPT],
                        shadow_total(p->shadow, SHADOW_POLICY)->kept, 0};
    assert_int_equal(pipeline_reasons(p)->kept[REASON_FIRST], kept.enforced);
    for (uint32_t i = 0; i < patterns_slots(pipeline_patterns(p)); i++) {
        const struct pattern *e = patterns_at(pipeline_patterns(p), i);
        kept.most = e->in_use && e->counts.kept > kept.most ? (unsigned)e->counts.kept : kept.most;
    }
    rules_unref(second);
    rig_close(&r);
    return kept;
}

static void windows_close_whoever_shares_them(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*line_of)(char line[128], unsigned i);
        unsigned before; /* kept of entries of their own, before they share one */
    } rows[] = {
        {"one signature", one_signature, 0},
        {"family", a_name, FAMILY_WEIGHT},
        {"overflow", a_word, PATTERNS_PER_SERVICE},
    };
    static const uint64_t start_ms[] = {1,       7777,     30000,    59999,
                                        3600000, 12345678, 86399999, UINT64_C(1) << 41};
    static const uint64_t pace_ms[] = {0, 1, 10, 60, 333, 2000};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (size_t k = 0; k < ARRAY_LEN(start_ms) * ARRAY_LEN(pace_ms); k++) {
            uint64_t start = start_ms[k / ARRAY_LEN(pace_ms)],
                     pace = pace_ms[k % ARRAY_LEN(pace_ms)];
            struct kept kept = push_all(rows[i].line_of, start, pace);
            /* As many windows as the time touches. */
            uint64_t windows = pace * (RECORDS - 1) / WINDOW_MS + 2;
            assert_row(kept.most <= FIRST * windows, "%s at %llu, every %llu ms: %u of one entry",
                       rows[i].name, (unsigned long long)start, (unsigned long long)pace,
                       kept.most);
            assert_row(kept.enforced >= FIRST && kept.enforced <= rows[i].before + FIRST * windows,
                       "%s at %llu, every %llu ms: %llu", rows[i].name, (unsigned long long)start,
                       (unsigned long long)pace, (unsigned long long)kept.enforced);
            assert_row(kept.shadow == kept.enforced,
                       "%s at %llu, every %llu ms: %llu and shadow %llu", rows[i].name,
                       (unsigned long long)start, (unsigned long long)pace,
                       (unsigned long long)kept.enforced, (unsigned long long)kept.shadow);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_close_whoever_shares_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
