/*
 * peer_weights: weights that other programs have left on a record under names of their own: a
 * logger that sends one of ten says sample_rate 10 (or 0.1), one that folds repeats says
 * log_count 57. Which names mean that is the user's to say; without any nothing is looked for.
 *
 * Such a weight counts as one that the record came with (otel.logs.adjusted_count): it is kept
 * on, and our own sampling multiplies it.
 *
 * Units: records that a record stands for. Blocking: never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "otlp/logs.h"

#define PEER_WEIGHTS_MAX 8
#define PEER_WEIGHT_NAME_BYTES 64

struct peer_weights {
    uint32_t count; /* 0: none */
    char names[PEER_WEIGHTS_MAX][PEER_WEIGHT_NAME_BYTES];
};

/* Give *r, the view of `record`, the weight of the first of these names that it has, unless it
 * has a weight of the usual names. A number from 1 on is how many records it stands for, one
 * between 0 and 1 the share that was kept; as text too. Others are none. */
void peer_weights_apply(const struct peer_weights *w, struct log_record *r, struct span record);
