/* frame_owners: a log of small numbers. */
#include "export/frame_owners.h"

#include <assert.h>

#define NUMBER_BYTES 10         /* at most, of a 64-bit number */
#define KEEP_BYTES (64u << 10)  /* of an empty log */
#define SPARE_BYTES (32u << 10) /* for frames that are on their way when it is called full */

void frame_owners_init(struct frame_owners *o, size_t max_bytes, struct budget *budget)
{
    *o = (struct frame_owners){.log = {.max_bytes = max_bytes + SPARE_BYTES, .budget = budget}};
}

void frame_owners_done(struct frame_owners *o)
{
    buf_done(&o->log);
}

/* Entries that were handed on are in the way of new ones. */
static void compact(struct frame_owners *o)
{
    size_t gone = o->kept.at;
    if (gone == o->log.len && o->log.cap > KEEP_BYTES)
        buf_done(&o->log);
    else if (gone > o->log.len / 2)
        buf_consume(&o->log, gone);
    else
        return;
    o->kept.at = 0;
    o->read.at -= gone;
}

int frame_owners_reserve(struct frame_owners *o, size_t parts)
{
    compact(o);
    int rc = buf_reserve(&o->log, (2 + 2 * parts) * NUMBER_BYTES);
    o->log.err = 0;
    return rc;
}

static void put(struct frame_owners *o, uint64_t n)
{
    for (; n >= 0x80; n >>= 7)
        buf_append_byte(&o->log, (uint8_t)(n | 0x80));
    buf_append_byte(&o->log, (uint8_t)n);
}

static uint64_t get(const struct frame_owners *o, size_t *at)
{
    uint64_t n = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = o->log.base[(*at)++];
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return n;
    }
}

void frame_owners_add(struct frame_owners *o, uint64_t id, const struct batch_part *parts,
                      size_t count)
{
    assert(id > o->last_id);
    put(o, id - o->last_id);
    put(o, count);
    for (size_t i = 0; i < count; i++) {
        put(o, parts[i].service);
        put(o, parts[i].records);
    }
    o->last_id = id;
    assert(o->log.err == 0);
}

/* Pass the entry at *p if its frame is below `id`; fn may be NULL. */
static bool pass(const struct frame_owners *o, struct frame_owners_place *p, uint64_t id,
                 void (*fn)(void *ctx, uint32_t service, uint32_t records), void *ctx)
{
    if (p->at == o->log.len)
        return false;
    size_t at = p->at;
    uint64_t here = p->id + get(o, &at);
    if (here >= id)
        return false;
    for (uint64_t left = get(o, &at); left > 0; left--) {
        uint32_t service = (uint32_t)get(o, &at);
        uint32_t records = (uint32_t)get(o, &at);
        if (fn != NULL)
            fn(ctx, service, records);
    }
    *p = (struct frame_owners_place){at, here};
    return true;
}

void frame_owners_until(struct frame_owners *o, uint64_t id,
                        void (*fn)(void *ctx, uint32_t service, uint32_t records), void *ctx)
{
    while (pass(o, &o->read, id, fn, ctx))
        continue;
}

void frame_owners_forget(struct frame_owners *o, uint64_t id)
{
    while (o->kept.at < o->read.at && pass(o, &o->kept, id, NULL, NULL))
        continue;
}

bool frame_owners_find(struct frame_owners *o, uint64_t id, struct frame_owners_part *part)
{
    frame_owners_forget(o, id);
    if (o->kept.at == o->read.at)
        return false;
    size_t at = o->kept.at;
    if (o->kept.id + get(o, &at) != id)
        return false;
    uint64_t count = get(o, &at);
    *part = (struct frame_owners_part){.at = at, .left = count};
    return true;
}

bool frame_owners_next(const struct frame_owners *o, struct frame_owners_part *part)
{
    if (part->left == 0)
        return false;
    part->left--;
    part->service = (uint32_t)get(o, &part->at);
    part->records = (uint32_t)get(o, &part->at);
    return true;
}

bool frame_owners_is_full(const struct frame_owners *o)
{
    return o->log.len - o->kept.at + SPARE_BYTES >= o->log.max_bytes;
}
