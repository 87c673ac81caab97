/* series: two rings of blocks. */
#include "telemetry/series.h"

#include <stdlib.h>

#define BLOCK_BYTES (SERIES_BLOCK * sizeof(struct series_cell))

static const struct {
    uint32_t step_s, steps, places;
} spans[] = {
#define X(name, step_s, steps) [SERIES_##name] = {step_s, steps, (steps) + SERIES_BLOCK},
    SERIES_SPANS(X)
#undef X
};

#define X(name, step_s, steps) \
    _Static_assert((steps) % SERIES_BLOCK == 0 && (steps) / SERIES_BLOCK < SERIES_BLOCKS_MAX, \
                   "whole blocks");
SERIES_SPANS(X)
#undef X
_Static_assert(sizeof(struct series_cell) == 32, "no padding");

uint32_t series_step_s(enum series_span span)
{
    return spans[span].step_s;
}

uint32_t series_steps(enum series_span span)
{
    return spans[span].steps;
}

static void drop_block(struct series_cell **block, struct budget *budget)
{
    if (*block == NULL)
        return;
    budget_give(budget, BLOCK_BYTES);
    free(*block);
    *block = NULL;
}

/* Of the ring of a span: where the step of a second is. */
static uint32_t place_of(enum series_span span, uint64_t at_s)
{
    return (uint32_t)(at_s / spans[span].step_s % spans[span].places);
}

static void advance(struct series *s, enum series_span span, uint64_t from_s, uint64_t to_s,
                    struct budget *budget)
{
    uint64_t from = from_s / spans[span].step_s, to = to_s / spans[span].step_s;
    if (to - from > spans[span].places)
        from = to - spans[span].places;
    for (uint64_t step = from + 1; step <= to; step++) {
        uint32_t at = (uint32_t)(step % spans[span].places);
        struct series_cell **block = &s->blocks[span][at / SERIES_BLOCK];
        if (at % SERIES_BLOCK == 0) /* all of it is about to be written anew */
            drop_block(block, budget);
        else if (*block != NULL)
            (*block)[at % SERIES_BLOCK] = (struct series_cell){0};
    }
}

void series_advance(struct series *s, uint64_t from_s, uint64_t to_s, struct budget *budget)
{
    for (int span = 0; span < SERIES_SPAN_COUNT && to_s > from_s; span++)
        advance(s, (enum series_span)span, from_s, to_s, budget);
}

struct series_cell *series_block(struct series *s, enum series_span span, uint32_t block,
                                 struct budget *budget)
{
    struct series_cell **at = &s->blocks[span][block];
    if (*at == NULL && budget_take(budget, BLOCK_BYTES) == 0) {
        *at = calloc(SERIES_BLOCK, sizeof **at);
        if (*at == NULL)
            budget_give(budget, BLOCK_BYTES);
    }
    return *at;
}

static uint32_t add_saturated(uint32_t a, uint32_t b)
{
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static void add(struct series_cell *to, const struct series_cell *n)
{
    to->received = add_saturated(to->received, n->received);
    to->kept = add_saturated(to->kept, n->kept);
    to->errors = add_saturated(to->errors, n->errors);
    to->lost = add_saturated(to->lost, n->lost);
    to->received_bytes += n->received_bytes;
    to->kept_bytes += n->kept_bytes;
}

bool series_add(struct series *s, uint64_t at_s, const struct series_cell *n, struct budget *budget)
{
    bool is_whole = true;
    for (int span = 0; span < SERIES_SPAN_COUNT; span++) {
        uint32_t at = place_of((enum series_span)span, at_s);
        struct series_cell *block =
            series_block(s, (enum series_span)span, at / SERIES_BLOCK, budget);
        if (block != NULL)
            add(&block[at % SERIES_BLOCK], n);
        is_whole &= block != NULL;
    }
    return is_whole;
}

struct series_cell series_at(const struct series *s, enum series_span span, uint64_t at_s)
{
    uint32_t at = place_of(span, at_s);
    const struct series_cell *block = s->blocks[span][at / SERIES_BLOCK];
    return block == NULL ? (struct series_cell){0} : block[at % SERIES_BLOCK];
}

/* A block moves where there is none. */
void series_fold(struct series *to, struct series *from, struct budget *budget)
{
    for (int span = 0; span < SERIES_SPAN_COUNT; span++) {
        for (int b = 0; b < SERIES_BLOCKS_MAX; b++) {
            struct series_cell **mine = &to->blocks[span][b], **other = &from->blocks[span][b];
            for (int i = 0; i < SERIES_BLOCK && *mine != NULL && *other != NULL; i++)
                add(*mine + i, *other + i);
            if (*mine == NULL) {
                *mine = *other;
                *other = NULL;
            }
        }
    }
    series_done(from, budget);
}

void series_done(struct series *s, struct budget *budget)
{
    for (int span = 0; span < SERIES_SPAN_COUNT; span++)
        for (int b = 0; b < SERIES_BLOCKS_MAX; b++)
            drop_block(&s->blocks[span][b], budget);
}
