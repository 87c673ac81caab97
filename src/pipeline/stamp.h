/*
 * stamp: the attributes that a survivor of p < 1 carries, as encoded LogRecord
 * fields to put behind the record. Which ones is the user's choice
 * (sampling.stamps); what was kept with certainty by every sampler carries none
 * and stays as it came, byte for byte.
 *
 * p is the probability over all samplers (pipeline/sampler.h), so a record that
 * came with a threshold is stamped even where we have added nothing to it:
 * PostHog can sum an adjusted count, but not read a threshold.
 *
 * A key that the record has already comes a second time, behind the first:
 * PostHog keeps the last of duplicates, and so do our own readers. Not so the
 * template: the one that a record brings is better than ours, and stays alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"
#include "util/span.h"

/* Name in sampling.stamps, key of the attribute, most bytes of its text (0: it is a
 * double). In the order in which they are written. */
/* clang-format off */
#define STAMPS(X) \
    X(ADJUSTED_COUNT, "adjusted_count", "otel.logs.adjusted_count", 0)   /* 1/p, or 0 */ \
    X(PATTERN,        "pattern",        "pattern.id",               24)  /* lps1:... */ \
    X(FAMILY,         "family",         "pattern.family",           24)  /* where it is another than the pattern */ \
    X(THRESHOLD,      "threshold",      "sampling.threshold",       14)  /* T, trailing zeros cut */ \
    X(RANDOMNESS,     "randomness",     "sampling.randomness",      14)  /* R, unless the record has it */ \
    X(TEMPLATE,       "template",       "log.record.template",      240) /* as it is shown to people */ \
    X(REASON,         "reason",         "sampling.reason",          16)  /* of the decision */ \
    X(WEIGHT_ALWAYS,  "weight_always",  "otel.logs.adjusted_count", 0)   /* also where it is 1: stands in place of the first */
/* clang-format on */

#define X(name, word, key, bytes) STAMP_##name,
enum stamp { STAMPS(X) STAMP_COUNT };
#undef X

/* A set of stamps: bit per enum stamp. What true counts need and nothing else has: each stamp
 * costs 29 to 101 bytes of each record that carries it (bench/README.md). */
#define STAMPS_DEFAULT (1u << STAMP_ADJUSTED_COUNT)

const char *stamp_name(enum stamp s);

/* By its name; negative: none of them. */
MUST_CHECK int stamp_parse(struct span name);

struct stamp_values {
    bool released;      /* represented by others: its adjusted count is 0 */
    uint64_t threshold; /* 0: kept with certainty, which weight_always alone says */
    uint64_t randomness;
    bool own_randomness;        /* else it is in the record already */
    uint64_t signature, family; /* the same: none to tell, because bytes are billed */
    struct span template_text;  /* empty: unknown, or the record has its own */
    const char *reason;
};

#define STAMP_BYTES 640 /* all of them, encoded */

/* Most bytes that a set of stamps takes. */
size_t stamp_bytes(unsigned set);

/* Is a weight written? */
static inline bool stamp_has_weight(unsigned set)
{
    return (set & (1u << STAMP_ADJUSTED_COUNT | 1u << STAMP_WEIGHT_ALWAYS)) != 0;
}

/* Write the stamps of a set to room; the span points into it. */
struct span stamp_write(uint8_t room[STAMP_BYTES], unsigned set, const struct stamp_values *v);
