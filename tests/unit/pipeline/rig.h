/*
 * rig: a pipeline on a fake clock, requests to push, and what came out of it.
 *
 *     struct rig r;
 *     rig_init(&r);                  defaults in r.opts, r.rules: change them
 *     rig_open(&r);
 *     rig_push(&r, &(struct rig_record){.body = "x"});
 *     rig_close(&r);                 the ledger balances, all memory is given back
 */
#pragma once

#include "unit/test.h"

#include <stdlib.h>

#include "pipeline/stamp.h"
#include "unit/pipeline/inside.h"
#include "unit/pipeline/requests.h"
#include "util/rng.h"

#define RIG_START_NS UINT64_C(1700000000000000000)
#define RIG_MEMORY (64u << 20)

struct rig_record {
    const char *body;
    const char *service;     /* NULL: "app" */
    uint8_t severity;        /* 0: INFO */
    uint64_t trace[2];       /* 0, 0: none */
    const char *key, *value; /* an attribute; NULL: none */
};

/* One record that came out; valid during the call. */
struct rig_seen {
    const struct logs_group *group;
    const struct log_record *record; /* with its stamp */
    struct span bytes, stamp;
    double weight; /* 1 where no stamp says one */
};

struct rig {
    struct pipeline_opts opts;
    void (*seen)(void *ctx, const struct rig_seen *s); /* NULL: only counted */
    void *seen_ctx;
    struct rules *rules;
    struct pipeline *pipeline;
    struct clock_fake clock;
    struct budget memory;
    struct arena arena;
    struct requests requests;
    struct buf scratch;
    /* of all that came out */
    uint64_t emitted, released, bytes, released_bytes;
    double weight;
    struct log_record last; /* its spans are gone but for the numbers */
    double last_weight;     /* 0: the last push let nothing out */
    size_t last_len;        /* of the record without its stamp */
};

static inline int rig_on_emit(void *ctx, const struct logs_group *g, struct span record,
                              struct span stamp, uint32_t service)
{
    struct rig *r = ctx;
    struct log_record read;
    (void)service;
    buf_clear(&r->scratch);
    buf_append(&r->scratch, record);
    buf_append(&r->scratch, stamp);
    assert_int_equal(log_record_read(&read, buf_span(&r->scratch)), 0);
    const struct log_value *v = log_known(&read, LOG_ADJUSTED_COUNT);
    r->last_weight = v == NULL ? 1 : v->real;
    r->last_len = record.len;
    r->emitted++;
    r->bytes += r->scratch.len;
    r->released += v != NULL && v->real == 0;
    r->released_bytes += v != NULL && v->real == 0 ? r->scratch.len : 0;
    r->weight += r->last_weight;
    if (r->seen != NULL)
        r->seen(r->seen_ctx, &(const struct rig_seen){g, &read, record, stamp, r->last_weight});
    return (int)r->scratch.len;
}

static inline void rig_init(struct rig *r)
{
    *r = (struct rig){0};
    assert_int_equal(rules_new(&r->rules), 0);
    clock_fake_init(&r->clock, 1000, RIG_START_NS);
    budget_init(&r->memory, RIG_MEMORY);
    arena_init(&r->arena, 1 << 20, NULL);
    r->opts = (struct pipeline_opts){
        .max_patterns = 4096,
        .max_services = 16,
        .seed = 7,
        .stamps = 1u << STAMP_ADJUSTED_COUNT,
        .budget = &r->memory,
        .clock = &r->clock.clock,
        .sink = {.ctx = r, .emit = rig_on_emit},
    };
}

static inline void rig_open(struct rig *r)
{
    assert_int_equal(pipeline_new(&r->pipeline, &r->opts, r->rules), 0);
}

/* A request of as many records as are added, each with a Resource of its own. */
static inline void rig_begin(struct rig *r)
{
    requests_begin(&r->requests);
}

static inline void rig_add(struct rig *r, const struct rig_record *what)
{
    const struct request_record record = {
        .body = what->body,
        .time_ns = clock_unix_ns(&r->clock.clock),
        .severity = what->severity,
        .trace = {what->trace[0], what->trace[1]},
        .key = what->key,
        .value = what->value,
    };
    requests_record(&r->requests, &record);
    requests_resource(&r->requests, what->service != NULL ? what->service : "app");
}

/* What pipeline_push() says. */
static inline int rig_send(struct rig *r)
{
    uint32_t records;
    r->last_weight = 0;
    int rc = pipeline_push(r->pipeline, buf_span(&r->requests.bytes), &r->arena, &records);
    arena_reset(&r->arena);
    return rc;
}

/* One request of one record, which is taken. */
static inline void rig_push(struct rig *r, const struct rig_record *what)
{
    rig_begin(r);
    rig_add(r, what);
    assert_int_equal(rig_send(r), 0);
}

static inline uint64_t rig_kept(const struct rig *r, enum reason reason)
{
    return pipeline_reasons(r->pipeline)->kept[reason];
}

static inline void rig_close(struct rig *r)
{
    assert_int_equal(ledger_imbalance(pipeline_ledger(r->pipeline)), 0);
    pipeline_free(r->pipeline);
    rules_unref(r->rules);
    assert_int_equal(r->memory.used, 0);
    arena_done(&r->arena);
    requests_done(&r->requests);
    buf_done(&r->scratch);
}
