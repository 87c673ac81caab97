/* families_save: what was learned, written and read again, entry by entry. */
#include <stdlib.h>
#include <string.h>

#include "pattern/families_state.h"
#include "util/saved.h"

static void save_known(const struct known *k, struct buf *out)
{
    saved_put_u64(out, k->slot.key);
    saved_put_u8(out, k->slot.chances);
    saved_put_u32(out, k->word);
    if (k->word != NO_ALIAS) {
        saved_put_u64(out, k->to);
        saved_put_u64(out, k->since_ns);
    }
    saved_put_span(out, span_of(k->template_text, k->template_text == NULL ? 0 : k->template_len));
}

static void save_hole(const struct hole *h, struct buf *out)
{
    saved_put_u64(out, h->slot.key);
    saved_put_u8(out, h->slot.chances);
    saved_put_u8(out, h->fired);
    if (h->fired) {
        saved_put_u64(out, h->family);
        return;
    }
    saved_put_u8(out, h->weight);
    saved_put_u8(out, h->count);
    for (uint32_t i = 0; i < h->count; i++)
        saved_put_u64(out, i == 0 ? h->first : h->others[i - 1]);
}

void families_save(const struct families *f, struct buf *out)
{
    saved_put_u64(out, f->opts.seed);
    saved_put_u32(out, f->opts.weight);
    saved_put_u32(out, f->known.made);
    for (uint32_t i = 0; i < f->known.made; i++)
        save_known(container_of(slots_at(&f->known, i), struct known, slot), out);
    saved_put_u32(out, f->holes.made);
    for (uint32_t i = 0; i < f->holes.made; i++)
        save_hole(container_of(slots_at(&f->holes, i), struct hole, slot), out);
    for (size_t i = 0; i < ARRAY_LEN(f->frames); i++)
        saved_put_u64(out, f->frames[i]);
}

static void restore_template(struct families *f, struct known *k, struct span text)
{
    if (text.len == 0 || text.len > FAMILY_TEMPLATE_BYTES ||
        budget_take(f->opts.budget, text.len) < 0)
        return;
    k->template_text = malloc(text.len);
    if (k->template_text == NULL) {
        budget_give(f->opts.budget, text.len);
        return;
    }
    memcpy(k->template_text, text.base, text.len);
    k->template_len = (uint8_t)text.len;
}

static void restore_known(struct families *f, struct saved *s)
{
    uint64_t key = saved_u64(s), to = 0, since_ns = 0;
    uint8_t chances = saved_u8(s);
    uint32_t word = saved_u32(s);
    if (word != NO_ALIAS) {
        to = saved_u64(s);
        since_ns = saved_u64(s);
    }
    struct span text = saved_span(s);
    struct slot *slot = s->is_bad || word > NO_ALIAS || slots_find(&f->known, key) != NULL
                            ? NULL
                            : slots_take(&f->known, key);
    if (slot == NULL)
        return;
    struct known *k = container_of(slot, struct known, slot);
    slot->chances = chances;
    k->word = (uint16_t)word;
    k->to = to;
    k->since_ns = since_ns;
    f->aliases += k->word != NO_ALIAS;
    restore_template(f, k, text);
}

/* Members without memory are forgotten: they are learned again. */
static void restore_members(struct families *f, struct hole *h, struct saved *s, uint8_t count)
{
    uint64_t bytes = count > 1 ? (count - 1u) * sizeof *h->others : 0;
    if (bytes > 0 && budget_take(f->opts.budget, bytes) == 0) {
        h->others = calloc(count - 1u, sizeof *h->others);
        if (h->others == NULL)
            budget_give(f->opts.budget, bytes);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t member = saved_u64(s);
        if (i == 0)
            h->first = member;
        else if (h->others != NULL)
            h->others[i - 1] = member;
    }
    h->count = h->others != NULL ? count : count > 0;
}

static void restore_hole(struct families *f, struct saved *s)
{
    uint64_t key = saved_u64(s);
    uint8_t chances = saved_u8(s), fired = saved_u8(s);
    struct slot *slot =
        s->is_bad || slots_find(&f->holes, key) != NULL ? NULL : slots_take(&f->holes, key);
    struct hole ignored = {.fired = false}, *h = &ignored;
    if (slot != NULL) {
        h = container_of(slot, struct hole, slot);
        slot->chances = chances;
        h->fired = fired != 0;
    }
    if (fired != 0) {
        h->family = saved_u64(s);
        return;
    }
    uint8_t weight = saved_u8(s), count = saved_u8(s);
    if (slot == NULL || count > FAMILY_WEIGHT_MAX) {
        s->is_bad |= count > FAMILY_WEIGHT_MAX;
        saved_bytes(s, (size_t)count * sizeof(uint64_t));
        return;
    }
    restore_members(f, h, s, count);
    h->weight = h->count == count ? weight : (uint8_t)h->count;
}

int families_restore(struct families *f, struct span text)
{
    struct saved s = {.left = text};
    bool is_ours = saved_u64(&s) == f->opts.seed && saved_u32(&s) == f->opts.weight;
    if (s.is_bad)
        return ERR_MALFORMED;
    if (!is_ours)
        return 0; /* keys of another seed mean nothing here */
    for (uint32_t n = saved_u32(&s); n > 0 && !s.is_bad; n--)
        restore_known(f, &s);
    for (uint32_t n = saved_u32(&s); n > 0 && !s.is_bad; n--)
        restore_hole(f, &s);
    for (size_t i = 0; i < ARRAY_LEN(f->frames); i++)
        f->frames[i] |= saved_u64(&s);
    if (++f->generation == 0)
        f->generation = 1;
    return s.is_bad ? ERR_MALFORMED : 0;
}
