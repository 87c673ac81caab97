/*
 * sequences: which numbers of one sender's reports are counted: all up to the highest, but for some
 * ranges that are missing.
 *
 * A range is missing while another server has those reports in its journal and not yet in the
 * database; or for good, where a sidecar gave one up. Past SEQUENCES_RANGES the lowest range is
 * taken for counted.
 *
 * As text the ranges are "3-5,9".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/buf.h"
#include "util/span.h"

#define SEQUENCES_RANGES 16
#define SEQUENCES_TEXT_BYTES (SEQUENCES_RANGES * 34)

struct sequences {
    uint64_t highest; /* 0: none */
    struct {
        uint64_t from, to;
    } missing[SEQUENCES_RANGES]; /* in order */
    unsigned count;
};

/* A text that is none has the ranges before its fault. */
struct sequences sequences_read(uint64_t highest, struct span missing);
void sequences_write(const struct sequences *s, char out[SEQUENCES_TEXT_BYTES]);

/* Count this one. False: it was counted. */
bool sequences_take(struct sequences *s, uint64_t number);
