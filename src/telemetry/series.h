/*
 * series: what was counted, by steps of time: each 10 s for an hour, and each minute for a day.
 *
 * Several series advance together: whoever holds them says which step it is. Memory is taken in
 * blocks as steps come to hold something, and given back when all of a block is old.
 *
 * Units      steps are numbers since 1970, of 10 s or of 60 s; records; bytes as metered.
 * Memory     1,920 bytes for 60 steps; 61,440 for all of them.
 * Blocking   never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/budget.h"
#include "util/err.h"

#define SERIES_BLOCK 60 /* steps */

/* clang-format off */
#define SERIES_SPANS(X) \
    /* name  seconds of a step, steps that are remembered */ \
    X(HOUR, 10, 360) \
    X(DAY,  60, 1440)
/* clang-format on */

#define X(name, step_s, steps) SERIES_##name,
enum series_span { SERIES_SPANS(X) SERIES_SPAN_COUNT };
#undef X

#define SERIES_BLOCKS_MAX 25 /* one more than the steps need: it is begun while all are held */

struct series_cell {
    uint32_t received, kept, errors, lost;
    uint64_t received_bytes, kept_bytes;
};

struct series {
    struct series_cell *blocks[SERIES_SPAN_COUNT][SERIES_BLOCKS_MAX]; /* NULL: zeros */
};

uint32_t series_step_s(enum series_span span);
uint32_t series_steps(enum series_span span);

/* Time goes on from one second to another: what is older than a span is forgotten. */
void series_advance(struct series *s, uint64_t from_s, uint64_t to_s, struct budget *budget);

/* Counted in the steps of that second, in both spans; false: there was no memory for it. */
bool series_add(struct series *s, uint64_t at_s, const struct series_cell *n,
                struct budget *budget);

/* A block of a span, made where there is none; NULL: no memory. */
struct series_cell *series_block(struct series *s, enum series_span span, uint32_t block,
                                 struct budget *budget);

/* The step that begins with that second, which has not been forgotten. */
struct series_cell series_at(const struct series *s, enum series_span span, uint64_t at_s);

/* All of `from` is counted in `to`, and `from` is empty. */
void series_fold(struct series *to, struct series *from, struct budget *budget);

void series_done(struct series *s, struct budget *budget);
