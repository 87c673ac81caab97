/* Any bytes as requests, counted, and the report of each service: the document is JSON, has as many
 * patterns as were said, and what was reported is not reported again. */
#include <assert.h>
#include <stdlib.h>

#include "otlp/json_object.h"
#include "pipeline/pipeline.h"
#include "policy/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REPORT_BYTES (4u << 20) /* of 64 patterns */

static int on_admit(void *ctx, size_t bytes, size_t largest)
{
    (void)ctx;
    (void)bytes;
    (void)largest;
    return 0;
}

static int on_emit(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                   uint32_t service)
{
    (void)ctx;
    (void)g;
    (void)service;
    return (int)(record.len + stamp.len);
}

static int on_take(void *ctx, const struct census_want *want, struct census *out)
{
    return census_take(ctx, want, out);
}

static bool on_member(void *arg, const struct json_member *m)
{
    unsigned *members = arg;
    (void)m;
    ++*members;
    return true;
}

static void check(const struct report_opts *opts, struct json_object *json)
{
    struct census c;
    struct buf body = {0};
    int rc = report_take(&c, opts);
    assert(rc == 0);
    for (uint32_t s = 0; s < c.services_held; s++) {
        unsigned members = 0;
        int patterns = report_write(&body, opts, &c, s);
        assert(patterns >= 0);
        assert(json_object_visit(json, buf_span(&body), on_member, &members) == 0 && members >= 5);
        buf_clear(&body);
    }
    buf_done(&body);
    census_done(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct json_object *json;
    static struct rules *rules;
    struct clock_fake clock;
    struct budget budget;
    struct report_marks marks;
    struct pipeline *p;
    struct arena arena;
    uint32_t records;
    if (json == NULL && (json_object_new(&json, REPORT_BYTES) < 0 || rules_new(&rules) < 0))
        abort();
    clock_fake_init(&clock, 1000, 1700000000000000000u);
    budget_init(&budget, 32 << 20);
    arena_init(&arena, 1 << 20, NULL);
    report_marks_init(&marks, &budget);
    const struct pipeline_opts opts = {
        .max_patterns = 64,
        .max_services = 4,
        .family_weight = 3,
        .budget = &budget,
        .clock = &clock.clock,
        .sink = {NULL, on_admit, on_emit, NULL},
    };
    if (pipeline_new(&p, &opts, rules) < 0)
        abort();
    const struct report_opts report = {.server = "",
                                       .api_key = "",
                                       .clock = &clock.clock,
                                       .marks = &marks,
                                       .take = on_take,
                                       .ctx = p,
                                       .budget = &budget};
    if (pipeline_push(p, span_of(data, size), &arena, &records) == 0)
        check(&report, json);
    pipeline_free(p);
    report_marks_done(&marks);
    arena_done(&arena);
    assert(budget.used == 0);
    return 0;
}
