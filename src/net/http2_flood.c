/* http2_flood: a budget for each kind, refilled when one is used up. */
#include "net/http2_flood.h"

#define REFILL_MS 10 /* at the lowest rate a tenth of a frame */

static const struct {
    uint32_t per_s, burst;
} budgets[] = {
#define X(name, per_s, burst) [FLOOD_##name] = {per_s, burst},
    FLOODS(X)
#undef X
};

static void refill(struct flood *f)
{
    uint64_t now_ms = clock_now_ms(f->clock), ms = now_ms - f->refilled_ms;
    if (ms < REFILL_MS)
        return;
    f->refilled_ms = now_ms;
    for (int i = 0; i < FLOOD_COUNT; i++) {
        uint64_t back = ms * budgets[i].per_s / 1000;
        f->spent[i] = back >= f->spent[i] ? 0 : f->spent[i] - (uint32_t)back;
    }
}

bool flood_spend(struct flood *f, enum flood_kind kind)
{
    if (++f->spent[kind] > budgets[kind].burst)
        refill(f);
    return f->spent[kind] <= budgets[kind].burst;
}
