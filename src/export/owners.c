/* owners: a log of small numbers. */
#include "export/owners.h"

#include <assert.h>

#define NUMBER_BYTES 10 /* at most, of a 64-bit number */
#define KEEP_BYTES (64u << 10) /* of an empty log */
#define SPARE_BYTES (32u << 10) /* for frames that are on their way when it is called full */

void owners_init(struct owners *o, size_t max_bytes, struct budget *budget)
{
    *o = (struct owners){.log = {.max_bytes = max_bytes + SPARE_BYTES, .budget = budget}};
}

void owners_done(struct owners *o)
{
    buf_done(&o->log);
}

/* What was read is in the way of what comes. */
static void compact(struct owners *o)
{
    if (o->at == o->log.len && o->log.cap > KEEP_BYTES) {
        buf_done(&o->log);
        o->at = 0;
    } else if (o->at > o->log.len / 2) {
        buf_consume(&o->log, o->at);
        o->at = 0;
    }
}

int owners_reserve(struct owners *o, size_t parts)
{
    compact(o);
    int rc = buf_reserve(&o->log, (2 + 2 * parts) * NUMBER_BYTES);
    o->log.err = 0;
    return rc;
}

static void put(struct owners *o, uint64_t n)
{
    for (; n >= 0x80; n >>= 7)
        buf_append_byte(&o->log, (uint8_t)(n | 0x80));
    buf_append_byte(&o->log, (uint8_t)n);
}

static uint64_t get(const struct owners *o, size_t *at)
{
    uint64_t n = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = o->log.base[(*at)++];
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return n;
    }
}

void owners_add(struct owners *o, uint64_t id, const struct batch_part *parts, size_t count)
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

void owners_until(struct owners *o, uint64_t id,
                  void (*fn)(void *ctx, uint32_t service, uint32_t records), void *ctx)
{
    while (o->at < o->log.len) {
        size_t at = o->at;
        uint64_t here = o->read_id + get(o, &at);
        if (here >= id)
            break;
        for (uint64_t left = get(o, &at); left > 0; left--) {
            uint32_t service = (uint32_t)get(o, &at);
            uint32_t records = (uint32_t)get(o, &at);
            if (fn != NULL)
                fn(ctx, service, records);
        }
        o->at = at;
        o->read_id = here;
    }
}

bool owners_is_full(const struct owners *o)
{
    return o->log.len - o->at + SPARE_BYTES >= o->log.max_bytes;
}
