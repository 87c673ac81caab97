/* tero_world: policies as JSON, one request as JSON, and what comes out of it. */
#pragma once

#include "unit/test.h"

#include "otlp/fields.h"
#include "otlp/json.h"
#include "otlp/json_write.h"
#include "policy/tero.h"

struct world {
    struct tero *tero;
    struct json_decoder *decoder;
    struct arena arena;
    struct buf json, request, out, piece, around;
    uint64_t now_ms;
    unsigned kept, dropped, changed;
};

static inline struct span world_text(const struct buf *b)
{
    return b->len > 0 ? buf_span(b) : SPAN("");
}

/* Each record that is kept as a request of its own, a line of JSON. */
static inline int world_record(void *ctx, const struct logs_group *g, struct span record)
{
    struct world *w = ctx;
    struct tero_record r = {g->resource, g->scope, record};
    int rc = tero_apply(w->tero, &r, w->now_ms);
    assert_true(rc >= 0);
    w->dropped += rc == TERO_DROPPED;
    w->kept += rc != TERO_DROPPED;
    w->changed += rc == TERO_CHANGED;
    if (rc == TERO_DROPPED)
        return 0;
    buf_clear(&w->piece);
    buf_append(&w->piece, r.scope);
    wire_append_len(&w->piece, SCOPE_LOGS_LOG_RECORDS, r.record);
    buf_clear(&w->around);
    buf_append(&w->around, r.resource);
    wire_append_len(&w->around, RESOURCE_LOGS_SCOPE_LOGS, buf_span(&w->piece));
    buf_clear(&w->piece);
    wire_append_len(&w->piece, REQUEST_RESOURCE_LOGS, buf_span(&w->around));
    struct logs_count count;
    assert_int_equal(logs_check(buf_span(&w->piece), &count), 0);
    assert_int_equal(json_write_logs(&w->out, buf_span(&w->piece)), 0);
    buf_append_byte(&w->out, '\n');
    return 0;
}

static inline void world_init(struct world *w, const char *policies)
{
    struct error err = {{0}};
    *w = (struct world){0};
    arena_init(&w->arena, 1 << 20, NULL);
    w->decoder = json_decoder_new(NULL);
    int rc = tero_new(&w->tero, span_str(policies), 1, NULL, &err);
    assert_row(rc == 0, "%s: %s", policies, err.text);
}

static inline void world_offer(struct world *w, const char *request)
{
    struct logs_count count;
    struct error err = {{0}};
    buf_clear(&w->json);
    buf_clear(&w->request);
    buf_append_str(&w->json, request);
    int rc = json_logs_decode(w->decoder, &w->json, &w->request, &count, NULL, &err);
    assert_row(rc == 0, "%s: %s", request, err.text);
    buf_clear(&w->out);
    assert_int_equal(logs_each(buf_span(&w->request), 0, &w->arena, world_record, w), 0);
    buf_append_byte(&w->out, '\0');
    arena_reset(&w->arena);
}

static inline void world_done(struct world *w)
{
    struct buf *bufs[] = {&w->json, &w->request, &w->out, &w->piece, &w->around};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_done(bufs[i]);
    arena_done(&w->arena);
    json_decoder_free(w->decoder);
    tero_free(w->tero);
}
