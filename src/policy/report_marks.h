/*
 * report_marks: how much of what is counted the policy server knows of.
 *
 * Beside the pattern table and not in it: a record costs nothing for them, and there may be
 * other readers with marks of their own. A mark says which pattern it is of, because another one
 * may stand in that entry later, or the same anew. The marks outlive a report: one that is opened
 * with other settings goes on where the last was.
 *
 * Units      records, bytes.
 * Memory     56 bytes a pattern, 120 a service, drawn from the budget.
 * Blocking   never.
 */
#pragma once

#include "pipeline/census.h"
#include "util/budget.h"
#include "util/err.h"
#include "util/fate.h"

struct report_mark {
    struct pattern_key key;
    uint64_t first_seen_ns;
    uint64_t received, kept, bytes, kept_bytes;
};

struct report_mark_service {
    uint64_t received, sequence; /* records; the number of the last report that was taken */
    uint64_t fate[FATE_COUNT];   /* records whose loss the server knows of */
};

struct report_marks {
    struct budget *budget;        /* may be NULL */
    struct report_mark *patterns; /* by number of the entry */
    struct report_mark_service *services;
    uint32_t pattern_count, service_count;
};

void report_marks_init(struct report_marks *m, struct budget *budget);
void report_marks_done(struct report_marks *m);

/* What of a pattern was reported; zeros where nothing was. */
struct report_mark report_marks_of(const struct report_marks *m, const struct census_pattern *p);
uint64_t report_marks_of_service(const struct report_marks *m, uint32_t service);
uint64_t report_marks_sequence(const struct report_marks *m, uint32_t service);
uint64_t report_marks_fate(const struct report_marks *m, uint32_t service, enum fate fate);

/* Room for the marks of a census. ERR_FULL, ERR_NOMEM: all marks stay as they are. */
MUST_CHECK int report_marks_reserve(struct report_marks *m, const struct census *c);

/* The server knows of it now, as the census has it. There must be room. */
void report_marks_set(struct report_marks *m, const struct census_pattern *p);
void report_marks_set_service(struct report_marks *m, uint32_t service, uint64_t received);
void report_marks_set_sequence(struct report_marks *m, uint32_t service, uint64_t sequence);
void report_marks_set_fates(struct report_marks *m, uint32_t service,
                            const uint64_t fate[FATE_COUNT]);

/* The same in two steps: what a pattern's mark would be; and, later, that it is so. Between them
 * another pattern may have come into the entry and have a mark, which stays. */
struct report_mark report_marks_note(struct report_marks *m, const struct census_pattern *p);
void report_marks_advance(struct report_marks *m, uint32_t number, const struct report_mark *mark);
