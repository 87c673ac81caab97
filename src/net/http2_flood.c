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

void flood_earn(struct flood *f, enum flood_kind kind, uint32_t frames)
{
    f->spent[kind] -= frames < f->spent[kind] ? frames : f->spent[kind];
}

void frame_walk_init(struct frame_walk *w)
{
    *w = (struct frame_walk){.left = 24}; /* the preface (3.4) */
}

bool frame_walk_next(struct frame_walk *w, struct span *in, uint8_t *type, int32_t *id)
{
    size_t skipped = w->left < in->len ? w->left : in->len;
    w->left -= (uint32_t)skipped;
    *in = span_skip(*in, skipped);
    while (in->len > 0 && w->head_len < FRAME_HEAD_BYTES) {
        w->head[w->head_len++] = in->base[0];
        *in = span_skip(*in, 1);
    }
    if (w->head_len < FRAME_HEAD_BYTES)
        return false;
    const uint8_t *h = w->head;
    w->left = (uint32_t)h[0] << 16 | (uint32_t)h[1] << 8 | h[2];
    w->head_len = 0;
    *type = h[3];
    *id = (int32_t)((uint32_t)(h[5] & 0x7f) << 24 | (uint32_t)h[6] << 16 | (uint32_t)h[7] << 8 |
                    h[8]);
    return true;
}
