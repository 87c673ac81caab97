/* pipeline_guard: which records PostHog counts, and how many they are. */
#include <string.h>

#include "pipeline/pipeline_state.h"

void pipeline_ask_guard(const struct pipeline *p, struct subject *s, uint64_t possible)
{
    const struct filter_row row = {s->group, s->bytes, s->record};
    for (uint64_t left = possible; left != 0; left &= left - 1)
        if (guard_selects(p->guard, (unsigned)__builtin_ctzll(left), &row))
            s->selected |= left & -left;
    s->guarded = s->selected != 0 && guard_keeps(p->guard);
}

void pipeline_count_selected(struct pipeline *p, const struct subject *s, enum verdict verdict,
                             size_t sent_bytes)
{
    if (s->guarded)
        p->guarded[s->pattern->number / 64] |= UINT64_C(1) << s->pattern->number % 64;
    for (uint64_t left = s->selected; left != 0; left &= left - 1) {
        struct guard_counts *n = &p->selected[__builtin_ctzll(left)];
        n->received++;
        n->kept += verdict == VERDICT_KEPT;
        n->guarded += s->guarded && verdict == VERDICT_KEPT;
        n->guarded_bytes += s->guarded ? sent_bytes : 0;
    }
}

void pipeline_set_guard(struct pipeline *p, const struct guard *guard)
{
    struct guard_counts counts[GUARD_MAX] = {0};
    for (unsigned i = 0; i < guard_count(guard); i++) {
        int before = guard_find(p->guard, guard_at(guard, i));
        if (before >= 0)
            counts[i] = p->selected[before];
    }
    struct guard *old = p->guard;
    p->guard = guard_ref(guard);
    memcpy(p->selected, counts, sizeof counts);
    guard_unref(old);
}

const struct guard *pipeline_guard(const struct pipeline *p)
{
    return p->guard;
}
