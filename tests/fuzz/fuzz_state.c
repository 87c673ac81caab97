/* fuzz_state: any bytes as what an earlier process has kept: patterns and families, a history,
 * versions. What is read can be counted, saved and read again; what is refused leaves a pipeline
 * that goes on. */
#include <assert.h>
#include <stdlib.h>

#include "pipeline/census.h"
#include "pipeline/pipeline.h"
#include "policy/versions.h"
#include "telemetry/history.h"
#include "util/saved.h"

#define NOW_NS (UINT64_C(1764540000) * 1000000000)
#define MEMORY (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fill(struct pipeline_opts *opts, struct budget *budget, const struct clock *clock,
                 uint64_t seed)
{
    *opts = (struct pipeline_opts){
        .max_patterns = 64,
        .max_services = 8,
        .max_patterns_per_service = 32,
        .family_weight = 6,
        .seed = seed,
        .budget = budget,
        .clock = clock,
    };
}

static void check_history(struct pipeline *p, struct span text, struct budget *budget)
{
    struct census c;
    struct history *h;
    struct buf again = {0}, page = {0};
    const struct census_want want = {
        .services = true, .patterns = true, .templates = true, .facts = true};
    const struct history_view view = {SERIES_DAY, 86400, {0}, true};
    if (census_take(p, &want, &c) < 0 || history_new(&h, budget, NOW_NS) < 0)
        abort();
    census_sort(&c);
    int rc = history_restore(h, &c, text, NOW_NS);
    history_feed(h, &c, NOW_NS + 10000000000u);
    history_save(h, &c, &again);
    assert(again.err == 0);
    struct json j = json_on(&page);
    history_write(h, &view, &j);
    struct history_sum sum = history_sum(h, SERIES_DAY);
    assert(rc < 0 || sum.seconds >= 0);
    history_free(h);
    assert(budget->used > 0 || again.len > 0);
    buf_done(&again);
    buf_done(&page);
    census_done(&c);
}

static void check_versions(struct span text, struct budget *budget)
{
    struct versions *v;
    struct buf again = {0};
    uint64_t before = budget->used;
    if (versions_new(&v, budget) < 0)
        abort();
    int rc = versions_read(v, text);
    uint32_t last = 0;
    for (uint32_t i = 0; i < versions_count(v); i++) {
        assert(versions_at(v, i)->number > last);
        last = versions_at(v, i)->number;
    }
    versions_save(v, &again);
    assert(rc < 0 || again.err == 0);
    versions_free(v);
    assert(budget->used == before);
    buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct saved all = {.left = span_of(data, size)};
    uint64_t seed = saved_u64(&all);
    const struct span patterns = saved_span(&all), history = saved_span(&all),
                      versions = saved_span(&all);
    struct clock_fake clock;
    struct budget budget;
    struct pipeline_opts opts;
    struct pipeline *p;
    struct rules *rules;
    struct buf again = {0};
    clock_fake_init(&clock, 1000, NOW_NS);
    budget_init(&budget, MEMORY);
    fill(&opts, &budget, &clock.clock, seed);
    if (rules_new(&rules) < 0 || rules_set_boost(rules, 2, NULL) < 0 ||
        pipeline_new(&p, &opts, rules) < 0)
        abort();
    int rc = pipeline_restore(p, 0, patterns);
    clock_fake_advance(&clock, 1000);
    pipeline_tick(p);
    pipeline_save(p, 0, &again);
    assert(rc < 0 || again.err == 0);
    check_history(p, history, &budget);
    check_versions(versions, &budget);
    buf_done(&again);
    pipeline_free(p);
    rules_unref(rules);
    assert(budget.used == 0);
    return 0;
}
