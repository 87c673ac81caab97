/*
 * shadow: what a policy would have done, counted beside what was done.
 *
 * Two lanes. While the program only observes, everything is forwarded and the
 * policy in force is the `enforced` lane: what it would have kept. A second policy
 * (shadow.policy_file) is the `shadow` lane in either mode; it decides on its own
 * first-of-a-window state, with the same randomness, so both lanes keep the same
 * records where their rates agree. Budgets are of the running program and are not
 * part of a shadow; the limit on errors and the context of errors are, each lane with its own
 * state (pipeline/pipeline_look.c).
 *
 * Counts are kept in total and for each entry of the pattern table, by its number;
 * when an entry begins anew, its counts stay in the totals.
 *
 * Units      records; bytes as a backend would meter them (pipeline/metering.h), stamps and
 *            released context included.
 * Memory     48 bytes a pattern and lane, in blocks as patterns come, drawn from the
 *            budget; without room a pattern is counted in the totals only.
 * Blocking   never.
 */
#pragma once

#include "pipeline/sampler.h"
#include "util/err.h"

/* clang-format off */
#define SHADOW_LANES(X) \
    X(ENFORCED, "enforced") \
    X(POLICY,   "shadow")
/* clang-format on */

#define X(name, text) SHADOW_##name,
enum shadow_lane { SHADOW_LANES(X) SHADOW_LANE_COUNT };
#undef X

const char *shadow_lane_name(enum shadow_lane lane);

struct shadow_counts {
    uint64_t kept, sampled_out, dropped_by_rule, kept_bytes;
    uint64_t released; /* of those that are sampled out, as context: they are in the bytes */
};

struct shadow;

struct shadow_opts {
    uint32_t max_patterns;
    struct budget *budget;
};

MUST_CHECK int shadow_new(struct shadow **out, const struct shadow_opts *opts);
void shadow_free(struct shadow *s);

/* An entry of the pattern table begins, with its window as it is there. */
void shadow_begin(struct shadow *s, const struct pattern *entry);

/* The decision on a record of entry `number` that was made, and not carried out; what it would
 * cost if it is kept. */
void shadow_note(struct shadow *s, enum shadow_lane lane, uint32_t number, const struct decision *d,
                 size_t bytes);

/* One that was sampled out would be sent after all. Of an entry that began anew since then:
 * SHADOW_NO_PATTERN. */
#define SHADOW_NO_PATTERN UINT32_MAX
void shadow_release(struct shadow *s, enum shadow_lane lane, uint32_t number, size_t bytes);

/* Decide under other rules, as the policy's lane, which has windows of its own. */
struct decision shadow_decide(struct shadow *s, const struct rules *rules,
                              const struct subject *subject);

const struct shadow_counts *shadow_total(const struct shadow *s, enum shadow_lane lane);

/* Of one pattern; zeros when it was not counted. */
struct shadow_counts shadow_of(const struct shadow *s, enum shadow_lane lane, uint32_t number);
