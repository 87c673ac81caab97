/* What is kept with certainty is bounded by shares: context, firsts, what is new. */
#include "unit/pipeline/rig.h"

#include <math.h>

/* Words without digits, so that each number is a pattern of its own. */
static const char *words(char text[64], unsigned n)
{
    char word[8] = "aaaaaa";
    for (int i = 5; i >= 0; i--, n /= 26)
        word[i] = (char)('a' + n % 26);
    snprintf(text, 64, "%s was handled as it should be", word);
    return text;
}

static void first_rules(struct rig *r, double rate, unsigned first)
{
    assert_int_equal(rules_set_first(r->rules, first, 60000, NULL), 0);
    assert_int_equal(rules_set_global(r->rules, rate, NULL), 0);
}

/* Five errors of a hundred records, with context, for twenty minutes: what is released is a tenth
 * of the budget at most, and the whole stays within it. */
static void context_is_a_share_of_the_budget(void **state)
{
    (void)state;
    enum { SECONDS = 1200, RATE = 500, BUDGET = 100 };
    static const struct {
        double share;
        unsigned errors; /* of a hundred */
        bool has_budget;
    } rows[] = {{0.1, 5, true}, {0.1, 1, true}, {0.02, 5, true}, {0, 5, true}, {0.1, 1, false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig r;
        char text[64];
        rig_init(&r);
        first_rules(&r, 0.2, 5);
        r.opts.context.bytes = 1 << 20;
        r.opts.context.trigger = LEVEL_ERROR;
        r.opts.context.window_ms = 5000;
        r.opts.context.max_records = 50;
        r.opts.context.max_per_second = 100;
        r.opts.context.max_share = rows[i].share;
        if (rows[i].has_budget)
            r.opts.target = (struct governor_target){GOVERNOR_RECORDS, BUDGET, 0.75};
        rig_open(&r);
        for (unsigned k = 0; k < SECONDS * RATE; k++) {
            bool is_error = k % 100 < rows[i].errors;
            rig_push(&r, &(struct rig_record){.body = words(text, k % 40),
                                              .severity = is_error ? 17 : 9});
            clock_fake_advance(&r.clock, 1000 / RATE);
        }
        double released = (double)r.released_bytes / (double)(r.bytes - r.released_bytes);
        assert_row(released <= rows[i].share + 0.02, "%zu: %.3f released", i, released);
        assert_row(rows[i].share <= 0 || released > rows[i].share / 2, "%zu: %.3f", i, released);
        double kept = (double)r.emitted / SECONDS / BUDGET;
        assert_row(!rows[i].has_budget || (kept > 0.95 && kept < 1.05), "%zu: %.3f of the budget",
                   i, kept);
        assert_int_equal(pipeline_governor(r.pipeline).used > 0, rows[i].has_budget);
        double off = (r.weight - SECONDS * RATE) / (SECONDS * RATE);
        assert_row(fabs(off) < 0.05, "%zu: the sum of the weights is off by %.3f", i, off);
        rig_close(&r);
    }
}

/* The first seconds after a start, and after another target, are like those that follow. */
static void a_start_does_not_starve(void **state)
{
    (void)state;
    enum { RATE = 4000, BUDGET = 200, PATTERNS = 200, SEEDS = 20 };
    double squares[2] = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rig r;
        struct rng rng = {seed};
        char text[64];
        rig_init(&r);
        first_rules(&r, 1, 5);
        r.opts.seed = seed;
        r.opts.target = (struct governor_target){GOVERNOR_RECORDS, BUDGET, 0.75};
        rig_open(&r);
        double before = 0;
        for (unsigned second = 0; second < 20; second++) {
            uint64_t emitted = r.emitted;
            for (unsigned k = 0; k < RATE; k++) {
                unsigned pattern = (unsigned)(rng_upto(&rng, PATTERNS * PATTERNS - 1));
                rig_push(
                    &r, &(struct rig_record){.body = words(text, (unsigned)sqrt((double)pattern))});
                if (k % 4 == 3)
                    clock_fake_advance(&r.clock, 1);
            }
            uint64_t kept = r.emitted - emitted;
            assert_row(second == 0 || second == 10 || (kept > BUDGET / 2 && kept < 2 * BUDGET),
                       "%llu: %llu in second %u", (unsigned long long)seed,
                       (unsigned long long)kept, second);
            if (second % 10 == 4) { /* five seconds after a start, and after another target */
                double off = (r.weight - before) / (5 * RATE) - 1;
                squares[second / 10] += off * off / SEEDS;
            }
            before = second % 10 == 9 ? r.weight : before;
            if (second == 9)
                pipeline_set_target(
                    r.pipeline, &(struct governor_target){GOVERNOR_RECORDS, BUDGET * 3 / 4, 0.75});
        }
        rig_close(&r);
    }
    print_message("the total of 5 s is off by %.3f after a start, %.3f after another target\n",
                  sqrt(squares[0]), sqrt(squares[1]));
    assert_true(sqrt(squares[0]) < 0.1 && sqrt(squares[1]) < 0.1);
}

/* Under any budget the first record of each pattern is seen, and what overflows is one pattern. */
static void what_is_new_is_kept(void **state)
{
    (void)state;
    enum { LOUD = 100000, NEW = 500, ROOM = 64 };
    struct rig r;
    char text[64];
    rig_init(&r);
    first_rules(&r, 1, 5);
    r.opts.target = (struct governor_target){GOVERNOR_RECORDS, 1, 0.75};
    r.opts.max_patterns_per_service = 2 * NEW;
    rig_open(&r);
    unsigned seen = 0;
    for (unsigned k = 0; k < LOUD; k++) {
        rig_push(&r, &(struct rig_record){.body = "the loud one"});
        clock_fake_advance(&r.clock, k % 2);
        if (k % (LOUD / NEW) != 0)
            continue;
        rig_push(&r, &(struct rig_record){.body = words(text, 1 + k)});
        seen += r.last_weight == 1;
    }
    assert_int_equal(seen, NEW);
    assert_int_equal(ledger_total(pipeline_ledger(r.pipeline))->fate[FATE_LOST_BUDGET], 0);
    rig_close(&r);

    rig_init(&r);
    first_rules(&r, 0.001, 5);
    r.opts.target = (struct governor_target){GOVERNOR_RECORDS, 1, 0.75};
    r.opts.max_patterns_per_service = ROOM;
    rig_open(&r);
    for (unsigned k = 0; k < 20000; k++) { /* random words, as fast as they come */
        rig_push(&r, &(struct rig_record){.body = words(text, k * 7919)});
        clock_fake_advance(&r.clock, k % 2);
    }
    assert_row(r.emitted < 3 * ROOM, "%llu of random words", (unsigned long long)r.emitted);
    rig_close(&r);
}

/* Patterns that take each other's place in a full table: their firsts are a tenth of all. */
static void firsts_of_patterns_that_come_and_go(void **state)
{
    (void)state;
    enum { RECORDS = 100000 };
    static const struct {
        const char *name;
        unsigned table, per_service, keys;
        double most;
    } rows[] = {
        {"15,000 keys in a table of 512", 512, 0, 15000, 0.31},
        {"100,000 keys in a table of 512", 512, 0, 100000, 0.31},
        {"100,000 keys through the overflow", 4096, 2048, 100000, 0.25},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (int shadowed = 0; shadowed < 2; shadowed++) {
            struct rig r;
            struct rng rng = {5};
            char text[64];
            rig_init(&r);
            first_rules(&r, 0.2, 5);
            r.opts.max_patterns = rows[i].table;
            r.opts.max_patterns_per_service = rows[i].per_service;
            r.memory.limit = UINT64_C(256) << 20;
            rig_open(&r);
            if (shadowed)
                assert_int_equal(pipeline_set_shadow_rules(r.pipeline, r.rules), 0);
            for (unsigned k = 0; k < RECORDS; k++) {
                uint64_t n = rng_upto(&rng, rows[i].keys - 1);
                rig_push(&r, &(struct rig_record){.body = words(text, (unsigned)n)});
                clock_fake_advance(&r.clock, k % 5 == 0);
            }
            double kept = (double)r.emitted / RECORDS;
            assert_row(kept < rows[i].most && kept > 0.19, "%s: %.3f kept", rows[i].name, kept);
            double off = r.weight / RECORDS - 1;
            assert_row(fabs(off) < 0.05, "%s: off by %.3f", rows[i].name, off);
            if (shadowed) {
                double would = (double)shadow_total(r.pipeline->shadow, SHADOW_POLICY)->kept;
                assert_row(fabs(would / (double)r.emitted - 1) < 0.03, "%s: %.0f by the shadow",
                           rows[i].name, would);
            }
            rig_close(&r);
        }
}

/* A case of a bug report: 3,000 records of one trace. And sessions, by a key. */
static void one_trace_and_one_session(void **state)
{
    (void)state;
    enum { RECORDS = 3000 };
    unsigned whole = 0;
    for (uint64_t trace = 1; trace <= 20; trace++) {
        struct rig r;
        char text[64];
        rig_init(&r);
        first_rules(&r, 0.2, 5);
        rig_open(&r);
        for (unsigned k = 0; k < RECORDS; k++) {
            snprintf(text, sizeof text, "processed row %u of table orders", k);
            rig_push(&r, &(struct rig_record){
                             .body = text, .trace = {trace, trace * UINT64_C(0x9e3779b97f4a7c15)}});
        }
        assert_row(r.emitted > 560 && r.emitted < 700, "%llu kept", (unsigned long long)r.emitted);
        assert_row(fabs(r.weight / RECORDS - 1) < 0.15, "for %.0f", r.weight);
        rig_close(&r);
    }
    struct rig r;
    rig_init(&r);
    first_rules(&r, 0.2, 0);
    r.opts.key = SPAN("sessionId");
    rig_open(&r);
    for (unsigned session = 0; session < 200; session++) {
        char id[16], text[64];
        uint64_t before = r.emitted;
        snprintf(id, sizeof id, "s%u", session);
        for (unsigned k = 0; k < 150; k++)
            rig_push(&r, &(struct rig_record){.body = words(text, k % 7),
                                              .trace = {session + 1, rng_next(&(struct rng){k})},
                                              .key = "sessionId",
                                              .value = id});
        uint64_t kept = r.emitted - before;
        assert_row(kept == 0 || kept == 150, "%llu of session %u", (unsigned long long)kept,
                   session);
        whole += kept == 150;
    }
    assert_in_range(whole, 20, 62); /* 40 +- 4 sigma */
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(context_is_a_share_of_the_budget),
        cmocka_unit_test(a_start_does_not_starve),
        cmocka_unit_test(what_is_new_is_kept),
        cmocka_unit_test(firsts_of_patterns_that_come_and_go),
        cmocka_unit_test(one_trace_and_one_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
