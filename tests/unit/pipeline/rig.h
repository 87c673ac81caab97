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

#include "otlp/wire.h"
#include "pipeline/stamp.h"
#include "unit/pipeline/inside.h"
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

struct rig {
    struct pipeline_opts opts;
    struct rules *rules;
    struct pipeline *pipeline;
    struct clock_fake clock;
    struct budget memory;
    struct arena arena;
    struct buf record, scope, logs, request, scratch, inner;
    /* of all that came out */
    uint64_t emitted, released, bytes, released_bytes;
    double weight;
    struct log_record last; /* its spans are gone but for the numbers */
    double last_weight;     /* 0: the last push let nothing out */
};

static inline int rig_on_emit(void *ctx, const struct logs_group *g, struct span record,
                              struct span stamp, uint32_t service)
{
    struct rig *r = ctx;
    struct log_record read;
    (void)g, (void)service;
    buf_clear(&r->scratch);
    buf_append(&r->scratch, record);
    buf_append(&r->scratch, stamp);
    assert_int_equal(log_record_read(&read, buf_span(&r->scratch)), 0);
    const struct log_value *v = log_known(&read, LOG_ADJUSTED_COUNT);
    r->last_weight = v == NULL ? 1 : v->real;
    r->emitted++;
    r->bytes += r->scratch.len;
    r->released += v != NULL && v->real == 0;
    r->released_bytes += v != NULL && v->real == 0 ? r->scratch.len : 0;
    r->weight += r->last_weight;
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

static inline void rig_attr(struct rig *r, struct buf *to, uint32_t number, const char *key,
                            const char *value)
{
    struct buf *pair = &r->inner;
    buf_clear(pair);
    wire_append_len(pair, 1, span_str(key));
    wire_append_len_head(pair, 2, wire_len_size(1, strlen(value)));
    wire_append_len(pair, 1, span_str(value));
    wire_append_len(to, number, buf_span(pair));
}

/* One request of one record. */
static inline void rig_push(struct rig *r, const struct rig_record *what)
{
    struct buf *bufs[] = {&r->record, &r->scope, &r->logs, &r->request, &r->scratch};
    uint32_t records;
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_clear(bufs[i]);
    wire_append_i64(&r->record, 1, clock_unix_ns(&r->clock.clock));
    wire_append_varint(&r->record, 2, what->severity > 0 ? what->severity : 9);
    wire_append_len_head(&r->record, 5, wire_len_size(1, strlen(what->body)));
    wire_append_len(&r->record, 1, span_str(what->body));
    if (what->key != NULL)
        rig_attr(r, &r->record, 6, what->key, what->value);
    if ((what->trace[0] | what->trace[1]) != 0)
        wire_append_len(&r->record, 9, span_of(what->trace, sizeof what->trace));
    wire_append_len(&r->scope, 2, buf_span(&r->record));
    rig_attr(r, &r->scratch, 1, "service.name", what->service != NULL ? what->service : "app");
    wire_append_len(&r->logs, 1, buf_span(&r->scratch));
    wire_append_len(&r->logs, 2, buf_span(&r->scope));
    wire_append_len(&r->request, 1, buf_span(&r->logs));
    r->last_weight = 0;
    assert_int_equal(pipeline_push(r->pipeline, buf_span(&r->request), &r->arena, &records), 0);
    arena_reset(&r->arena);
}

static inline uint64_t rig_kept(const struct rig *r, enum reason reason)
{
    return pipeline_reasons(r->pipeline)->kept[reason];
}

static inline void rig_close(struct rig *r)
{
    struct buf *bufs[] = {&r->record, &r->scope, &r->logs, &r->request, &r->scratch, &r->inner};
    assert_int_equal(ledger_imbalance(pipeline_ledger(r->pipeline)), 0);
    pipeline_free(r->pipeline);
    rules_unref(r->rules);
    assert_int_equal(r->memory.used, 0);
    arena_done(&r->arena);
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_done(bufs[i]);
}
