/* batch: owned bytes on their way out. */
#include "export/batch.h"

#include <assert.h>
#include <stdlib.h>

static size_t head_bytes(uint32_t part_count)
{
    return sizeof(struct batch) + part_count * sizeof(struct batch_part);
}

int batch_alloc(struct batch **out, size_t body_bytes, uint32_t part_count, struct budget *budget)
{
    if (budget_take(budget, head_bytes(part_count)) < 0)
        return ERR_FULL;
    int rc = ERR_NOMEM;
    struct batch *batch = calloc(1, head_bytes(part_count));
    if (batch == NULL)
        goto give_back;
    batch->body.budget = budget;
    batch->part_count = part_count;
    rc = buf_reserve_exact(&batch->body, body_bytes);
    if (rc < 0)
        goto free_batch;
    *out = batch;
    return 0;

free_batch:
    free(batch);
give_back:
    budget_give(budget, head_bytes(part_count));
    return rc;
}

void batch_free(struct batch *b)
{
    if (b == NULL)
        return;
    struct budget *budget = b->body.budget;
    if (b->origin.drop != NULL)
        b->origin.drop(b->origin.ctx, b->origin.first, b->origin.last);
    buf_done(&b->body);
    budget_give(budget, head_bytes(b->part_count));
    free(b);
}

struct split {
    const struct batch *whole;
    struct batch_builder *halves[2];
    uint32_t first_half, done; /* records */
};

static int split_record(void *ctx, const struct logs_group *g, struct span record)
{
    struct split *s = ctx;
    struct batch_builder *half = s->halves[s->done++ >= s->first_half];
    assert(g->resource_index < s->whole->part_count); /* the builder sees to it */
    return batch_add(half, g, record, (struct span){0}, s->whole->parts[g->resource_index].service);
}

/* What a half has from its whole. */
static void inherit(struct batch *half, const struct batch *whole)
{
    half->attempts = whole->attempts;
    half->first_added_ms = whole->first_added_ms;
    memcpy(half->key, whole->key, sizeof half->key);
    half->origin = whole->origin;
    if (half->origin.hold != NULL)
        half->origin.hold(half->origin.ctx, half->origin.first, half->origin.last);
}

int batch_split(struct batch **whole, struct batch **a, struct batch **b)
{
    const struct batch *w = *whole;
    struct batch_opts opts = {.max_bytes = SIZE_MAX, .budget = w->body.budget};
    struct split split = {.whole = w, .first_half = (w->records + 1) / 2};
    struct batch *first = NULL, *second = NULL;
    struct arena arena;
    int rc = ERR_NOMEM;

    if (w->records < 2)
        return ERR_EMPTY;
    arena_init(&arena, w->body.len, w->body.budget);
    split.halves[0] = batch_builder_new(&opts);
    split.halves[1] = batch_builder_new(&opts);
    if (split.halves[0] == NULL || split.halves[1] == NULL)
        goto done;
    rc = logs_each(buf_span(&w->body), 0, &arena, split_record, &split);
    if (rc == 0)
        rc = batch_seal(split.halves[0], &first);
    if (rc == 0)
        rc = batch_seal(split.halves[1], &second);
    if (rc < 0)
        goto done;

    inherit(first, w);
    inherit(second, w);
    batch_free(*whole);
    *whole = NULL;
    *a = first;
    *b = second;
    first = NULL;

done:
    batch_free(first);
    batch_builder_free(split.halves[0]);
    batch_builder_free(split.halves[1]);
    arena_done(&arena);
    return rc;
}

void batch_each_service(const struct batch *b,
                        void (*fn)(void *ctx, uint32_t service, uint32_t records), void *ctx)
{
    for (uint32_t i = 0; i < b->part_count; i++)
        fn(ctx, b->parts[i].service, b->parts[i].records);
}

void batch_store_key(struct batch *b)
{
    if (b->key[0] == '\0')
        return;
    wire_append_len(&b->body, BATCH_KEY_FIELD, span_str(b->key));
    assert(b->body.err == 0);
}

struct span batch_stored_key(struct span body)
{
    struct wire w;
    struct wire_field f;
    struct span key = {0};
    wire_init(&w, body);
    while (wire_next(&w, &f))
        if (f.number == BATCH_KEY_FIELD && f.type == WIRE_LEN && f.bytes.len <= LOGS_KEY_BYTES)
            key = f.bytes;
    return key;
}
