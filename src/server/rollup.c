/* rollup: a hash table with chains, its entries in an arena. */
#include "server/rollup.h"

#include <assert.h>
#include <stdlib.h>

#include "util/hash.h"

#define BUCKETS_MIN 256
#define ARENA_BYTES ((size_t)1 << 40) /* the budget is the limit */
#define BLOCK_BYTES ((size_t)64 * 1024)
#define ENTRY_BYTES (sizeof(struct rollup_entry) + 4 * ARENA_ALIGN)
#define SENDER_BYTES (sizeof(struct rollup_sender) + 2 * ROLLUP_ID_BYTES + 4 * ARENA_ALIGN)

void rollup_init(struct rollup *r, struct budget *budget)
{
    *r = (struct rollup){.budget = budget};
    arena_init(&r->arena, ARENA_BYTES, budget);
}

static void drop_buckets(struct rollup *r)
{
    budget_give(r->budget, r->bucket_count * sizeof *r->buckets);
    free(r->buckets);
    r->buckets = NULL;
    r->bucket_count = 0;
}

void rollup_done(struct rollup *r)
{
    drop_buckets(r);
    arena_done(&r->arena);
    rollup_init(r, r->budget);
}

void rollup_take(struct rollup *out, struct rollup *from)
{
    assert(rollup_is_empty(out) && out->buckets == NULL);
    arena_done(&out->arena);
    *out = *from;
    rollup_init(from, from->budget);
}

/* Buckets for so many entries; the entries move over. */
static int grow(struct rollup *r, uint32_t entries)
{
    uint32_t count = r->bucket_count > 0 ? r->bucket_count : BUCKETS_MIN;
    while (count < entries)
        count *= 2;
    if (count == r->bucket_count)
        return 0;
    if (budget_take(r->budget, count * sizeof *r->buckets) < 0)
        return ERR_FULL;
    struct rollup_entry **buckets = calloc(count, sizeof *buckets);
    if (buckets == NULL) {
        budget_give(r->budget, count * sizeof *r->buckets);
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < r->bucket_count; i++) {
        for (struct rollup_entry *e = r->buckets[i], *next; e != NULL; e = next) {
            next = e->next;
            e->next = buckets[e->hash & (count - 1)];
            buckets[e->hash & (count - 1)] = e;
        }
    }
    drop_buckets(r);
    r->buckets = buckets;
    r->bucket_count = count;
    return 0;
}

int rollup_reserve(struct rollup *r, uint32_t lines, size_t text_bytes)
{
    size_t need = lines * ENTRY_BYTES + text_bytes + SENDER_BYTES;
    int rc = grow(r, r->entry_count + lines);
    if (rc < 0 || need <= r->reserved_bytes)
        return rc;
    /* A report that adds no pattern takes a little of what it reserved. With as much again in the
     * block, hundreds of such reports share it, and what is left at its end is a small part. */
    size_t block = need + (need > BLOCK_BYTES ? need : BLOCK_BYTES);
    rc = arena_reserve(&r->arena, block);
    if (rc < 0) /* less will do */
        rc = arena_reserve(&r->arena, block = need);
    if (rc == 0)
        r->reserved_bytes = block;
    return rc;
}

/* From what was reserved. */
static void *take(struct rollup *r, size_t bytes)
{
    size_t padded = bytes + ARENA_ALIGN;
    void *at = arena_alloc(&r->arena, bytes);
    assert(at != NULL);
    r->reserved_bytes -= padded < r->reserved_bytes ? padded : r->reserved_bytes;
    return at;
}

static struct span keep(struct rollup *r, struct span text)
{
    if (text.len == 0)
        return SPAN("");
    void *at = take(r, text.len);
    memcpy(at, text.base, text.len);
    return span_of(at, text.len);
}

static struct rollup_entry *find(struct rollup *r, struct service *service, uint64_t minute,
                                 struct span signature, uint64_t hash)
{
    for (struct rollup_entry *e = r->buckets[hash & (r->bucket_count - 1)]; e != NULL; e = e->next)
        if (e->hash == hash && e->service == service && e->minute == minute &&
            span_eq(e->line.signature, signature))
            return e;
    return NULL;
}

/* What the latest says, where it says something. */
static void add_texts(struct rollup *r, struct rollup_line *to, const struct rollup_line *more)
{
    if (to->template_text.len == 0 && more->template_text.len > 0)
        to->template_text = keep(r, more->template_text);
    if (!span_eq(to->family, more->family))
        to->family = keep(r, more->family);
}

static void add_counts(struct rollup_counts *to, const struct rollup_counts *more)
{
    to->received += more->received;
    to->kept += more->kept;
    to->bytes += more->bytes;
    to->kept_bytes += more->kept_bytes;
    for (int l = 0; l < LEVEL_COUNT; l++)
        to->level[l] += more->level[l];
    if (more->first_ms < to->first_ms)
        to->first_ms = more->first_ms;
    if (more->last_ms > to->last_ms)
        to->last_ms = more->last_ms;
}

static uint64_t hash_of(const struct service *service, uint64_t minute, struct span signature)
{
    return hash_mix(hash_mix(hash64(signature), (uint64_t)(uintptr_t)service), minute);
}

void rollup_add(struct rollup *r, struct service *service, int64_t now_ms,
                const struct rollup_line *line, struct span instance)
{
    uint64_t minute = (uint64_t)now_ms / 60000;
    uint64_t hash = hash_of(service, minute, line->signature);
    struct rollup_entry *e = find(r, service, minute, line->signature, hash);
    if (e != NULL) {
        e->lines++;
        if (!span_eq(e->instance, instance))
            e->instance = SPAN("");
        add_counts(&e->line.counts, &line->counts);
        add_texts(r, &e->line, line);
        return;
    }
    e = take(r, sizeof *e);
    *e = (struct rollup_entry){
        .service = service, .hash = hash, .minute = minute, .lines = 1, .instance = instance};
    e->line.counts = line->counts;
    e->line.signature = keep(r, line->signature);
    e->line.template_text = keep(r, line->template_text);
    e->line.family = keep(r, line->family);
    e->next = r->buckets[hash & (r->bucket_count - 1)];
    r->buckets[hash & (r->bucket_count - 1)] = e;
    r->entry_count++;
}

/* The times stay: the records were seen then, whoever counts them. */
void rollup_take_out(struct rollup *r, struct service *service, int64_t now_ms,
                     const struct rollup_line *line)
{
    uint64_t minute = (uint64_t)now_ms / 60000;
    const struct rollup_counts *less = &line->counts;
    struct rollup_entry *e =
        find(r, service, minute, line->signature, hash_of(service, minute, line->signature));
    assert(e != NULL && e->lines > 0 && e->line.counts.received >= less->received);
    struct rollup_counts *c = &e->line.counts;
    e->lines--;
    c->received -= less->received;
    c->kept -= less->kept;
    c->bytes -= less->bytes;
    c->kept_bytes -= less->kept_bytes;
    for (int l = 0; l < LEVEL_COUNT; l++)
        c->level[l] -= less->level[l];
}

struct span rollup_note_sender(struct rollup *r, struct service *service, struct span instance,
                               struct span boot, uint64_t sequence, int64_t now_ms,
                               struct receipt_place place)
{
    struct rollup_sender *s = take(r, sizeof *s);
    *s = (struct rollup_sender){.next = r->senders,
                                .service = service,
                                .instance = keep(r, instance),
                                .boot = keep(r, boot),
                                .sequence = sequence,
                                .seen_ms = now_ms,
                                .place = place};
    r->senders = s;
    return s->instance;
}

_Static_assert(sizeof(struct rollup_trouble) <= sizeof(struct rollup_entry), "a line's room");

void rollup_add_trouble(struct rollup *r, struct service *service, int64_t now_ms, const char *kind,
                        struct span reason, uint64_t records)
{
    struct rollup_trouble *t = take(r, sizeof *t);
    *t = (struct rollup_trouble){.next = r->troubles,
                                 .service = service,
                                 .kind = kind,
                                 .reason = keep(r, reason),
                                 .minute = (uint64_t)now_ms / 60000,
                                 .records = records};
    r->troubles = t;
}

_Static_assert(sizeof(struct rollup_version) <= sizeof(struct rollup_entry), "a line's room");

void rollup_add_version(struct rollup *r, struct service *service, struct span text,
                        int64_t first_ms)
{
    struct rollup_version *v = take(r, sizeof *v);
    *v = (struct rollup_version){
        .next = r->versions, .service = service, .text = keep(r, text), .first_ms = first_ms};
    r->versions = v;
}

void rollup_take_out_trouble(struct rollup *r, struct service *service, int64_t now_ms,
                             const char *kind, struct span reason, uint64_t records)
{
    struct rollup_trouble **at = &r->troubles;
    uint64_t minute = (uint64_t)now_ms / 60000;
    while (*at != NULL && ((*at)->service != service || strcmp((*at)->kind, kind) != 0 ||
                           (*at)->minute != minute || (*at)->records != records ||
                           !span_eq((*at)->reason, reason)))
        at = &(*at)->next;
    assert(*at != NULL);
    *at = (*at)->next;
}

int rollup_each(const struct rollup *r, int (*fn)(void *ctx, const struct rollup_entry *e),
                void *ctx)
{
    int rc = 0;
    for (uint32_t i = 0; i < r->bucket_count; i++)
        for (struct rollup_entry *e = r->buckets[i]; e != NULL && rc == 0; e = e->next)
            rc = fn(ctx, e);
    return rc;
}
