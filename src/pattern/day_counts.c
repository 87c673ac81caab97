/* day_counts: a copy of all counts, and a subtraction. */
#include "pattern/day_counts.h"

#include <stdlib.h>

#include "util/err.h"

#define DAY_NS UINT64_C(86400000000000)
#define LONGEST_WAIT_MS 1000 /* the wall clock may be set, to another day as well: look again */

void day_counts_init(struct day_counts *t, struct patterns *patterns, const struct clock *clock,
                     struct budget *budget)
{
    uint64_t now = clock_unix_ns(clock);
    *t = (struct day_counts){patterns, clock, budget, NULL, 0, now, now / DAY_NS};
}

static void drop_marks(struct day_counts *t)
{
    budget_give(t->budget, t->mark_count * sizeof *t->marks);
    free(t->marks);
    t->marks = NULL;
    t->mark_count = 0;
}

void day_counts_done(struct day_counts *t)
{
    drop_marks(t);
}

static int make_room(struct day_counts *t, uint32_t slots)
{
    size_t more = (slots - t->mark_count) * sizeof *t->marks; /* slots are never fewer */
    if (budget_take(t->budget, more) < 0)
        return ERR_FULL;
    struct day_counts_mark *marks = realloc(t->marks, slots * sizeof *marks);
    if (marks == NULL) {
        budget_give(t->budget, more);
        return ERR_NOMEM;
    }
    t->marks = marks;
    t->mark_count = slots;
    return 0;
}

static void mark(struct day_counts *t, uint64_t now)
{
    uint32_t slots = patterns_slots(t->patterns);
    if (slots > t->mark_count && make_room(t, slots) < 0)
        return;
    for (uint32_t i = 0; i < slots; i++) {
        const struct pattern *p = patterns_at(t->patterns, i);
        t->marks[i] = (struct day_counts_mark){p->counts, p->first_seen_ns};
    }
    t->since_ns = now;
    t->day = now / DAY_NS;
}

uint64_t day_counts_tick(struct day_counts *t)
{
    uint64_t now = clock_unix_ns(t->clock);
    if (now / DAY_NS != t->day)
        mark(t, now);
    uint64_t wait_ms = (DAY_NS - now % DAY_NS) / 1000000 + 1;
    return wait_ms < LONGEST_WAIT_MS ? wait_ms : LONGEST_WAIT_MS;
}

uint64_t day_counts_get(const struct day_counts *t, uint32_t slot, struct pattern_counts *out)
{
    const struct pattern *p = patterns_at(t->patterns, slot);
    *out = p->counts;
    /* Another pattern may have stood in this slot when it was marked. */
    if (slot >= t->mark_count || p->first_seen_ns != t->marks[slot].first_seen_ns)
        return t->since_ns;
    const struct pattern_counts *m = &t->marks[slot].counts;
    out->received -= m->received;
    out->kept -= m->kept;
    out->sampled_out -= m->sampled_out;
    out->dropped_by_rule -= m->dropped_by_rule;
    out->received_bytes -= m->received_bytes;
    out->kept_bytes -= m->kept_bytes;
    return t->since_ns;
}
