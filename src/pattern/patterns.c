/*
 * patterns: an open-addressed index over blocks of entries.
 *
 * The index holds entry numbers + 1. Deletion shifts the cluster back (Knuth
 * 6.4 R), so there are no tombstones and a probe stays short for ever.
 * Entries are made in blocks, so that a quiet sidecar stays small.
 */
#include "pattern/patterns.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "util/err.h"
#include "util/hash.h"
#include "util/unicode.h"

#define BLOCK_ENTRIES 256
#define STALE_STEPS 8 /* entries looked at for each new pattern of a service at its cap */
#define STALE_ROUND_NS UINT64_C(1000000000) /* no more than a round of all in so long */

static_assert(sizeof(struct pattern) == 128, "see patterns.h");

struct patterns {
    struct patterns_opts opts;
    struct pattern **blocks;
    uint32_t made; /* entries that exist */
    uint32_t hand; /* of the CLOCK */
    uint32_t stale_hand;
    uint32_t stale_steps;          /* of the round under way */
    uint64_t stale_began_ns;       /* when that began */
    uint32_t unused, unused_count; /* list of entries that were evicted and not used again; + 1 */
    uint32_t *of_service;          /* entries of each; NULL without a cap */
    uint32_t *index;
    uint32_t index_mask;
    uint64_t added, evicted;
    struct pattern_counts other;
};

static struct pattern *entry(const struct patterns *p, uint32_t i)
{
    return &p->blocks[i / BLOCK_ENTRIES][i % BLOCK_ENTRIES];
}

static uint32_t home(const struct patterns *p, const struct pattern_key *k)
{
    uint64_t rest = (uint64_t)k->service << 16 | (uint64_t)k->level << 8 | k->status_class;
    return (uint32_t)hash_mix(k->signature ^ p->opts.seed, rest) & p->index_mask;
}

static bool same_key(const struct pattern_key *a, const struct pattern_key *b)
{
    return a->signature == b->signature && a->service == b->service && a->level == b->level &&
           a->status_class == b->status_class;
}

static uint32_t find(const struct patterns *p, const struct pattern_key *k)
{
    uint32_t at = home(p, k);
    while (p->index[at] != 0 && !same_key(&entry(p, p->index[at] - 1)->key, k))
        at = (at + 1) & p->index_mask;
    return at;
}

static void unindex(struct patterns *p, uint32_t hole)
{
    uint32_t at = hole;
    for (;;) {
        at = (at + 1) & p->index_mask;
        if (p->index[at] == 0)
            break;
        uint32_t want = home(p, &entry(p, p->index[at] - 1)->key);
        /* Move it back unless its home lies cyclically in (hole, at]. */
        if (((at - want) & p->index_mask) >= ((at - hole) & p->index_mask)) {
            p->index[hole] = p->index[at];
            hole = at;
        }
    }
    p->index[hole] = 0;
}

static void drop_template(struct patterns *p, struct pattern *e)
{
    if (e->template_text == NULL)
        return;
    budget_give(p->opts.budget, e->template_len);
    free(e->template_text);
    e->template_text = NULL;
    e->template_len = 0;
}

static void evict(struct patterns *p, struct pattern *e)
{
    unindex(p, find(p, &e->key));
    pattern_counts_add(&p->other, &e->counts);
    drop_template(p, e);
    if (p->of_service != NULL)
        p->of_service[e->key.service]--;
    e->in_use = false;
    p->evicted++;
}

/* Second chance: an entry used since the hand last passed is spared once. */
static uint32_t evict_next(struct patterns *p)
{
    for (;;) {
        uint32_t i = p->hand;
        struct pattern *e = entry(p, i);
        p->hand = (p->hand + 1) % p->made;
        if (!e->referenced) {
            evict(p, e);
            return i;
        }
        e->referenced = false;
    }
}

bool patterns_has_room(struct patterns *p, uint32_t service, uint32_t reserve, uint64_t unix_ns)
{
    uint32_t cap = p->opts.max_per_service;
    if (cap == 0 || p->of_service[service] + reserve < cap)
        return true;
    if (unix_ns - p->stale_began_ns >= STALE_ROUND_NS) { /* also when the clock was set back */
        p->stale_began_ns = unix_ns;
        p->stale_steps = 0;
    }
    for (int step = 0;
         step < STALE_STEPS && p->stale_steps < p->made && p->of_service[service] + reserve >= cap;
         step++) {
        p->stale_steps++;
        uint32_t i = p->stale_hand;
        struct pattern *e = entry(p, i);
        p->stale_hand = (p->stale_hand + 1) % p->made;
        if (!e->in_use || e->key.service != service ||
            e->last_seen_s + PATTERN_STALE_S > unix_ns / 1000000000)
            continue;
        evict(p, e);
        e->window = p->unused;
        p->unused = i + 1;
        p->unused_count++;
    }
    return p->of_service[service] + reserve < cap;
}

static uint32_t block_count(const struct patterns *p)
{
    return (p->opts.max_entries + BLOCK_ENTRIES - 1) / BLOCK_ENTRIES;
}

/* One more block; false when the budget or the heap says no. */
static bool add_block(struct patterns *p)
{
    size_t bytes = BLOCK_ENTRIES * sizeof(struct pattern);
    if (p->blocks[p->made / BLOCK_ENTRIES] != NULL)
        return true; /* the first block, made with the table */
    if (budget_take(p->opts.budget, bytes) < 0)
        return false;
    struct pattern *block = aligned_alloc(alignof(struct pattern), bytes);
    if (block == NULL) {
        budget_give(p->opts.budget, bytes);
        return false;
    }
    memset(block, 0, bytes);
    p->blocks[p->made / BLOCK_ENTRIES] = block;
    return true;
}

static uint32_t take_entry(struct patterns *p)
{
    if (p->unused != 0) {
        uint32_t i = p->unused - 1;
        p->unused = entry(p, i)->window;
        p->unused_count--;
        return i;
    }
    if (p->made < p->opts.max_entries && (p->made % BLOCK_ENTRIES != 0 || add_block(p)))
        return p->made++;
    return evict_next(p);
}

int patterns_new(struct patterns **out, const struct patterns_opts *opts)
{
    struct patterns *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    p->opts = *opts;
    if (p->opts.max_entries == 0)
        p->opts.max_entries = 1;
    uint32_t blocks = block_count(p);
    uint32_t slots = 1;
    while (slots < p->opts.max_entries * 2)
        slots *= 2;
    p->index_mask = slots - 1;
    p->index = calloc(slots, sizeof *p->index);
    p->blocks = calloc(blocks, sizeof *p->blocks);
    if (opts->max_per_service > 0)
        p->of_service = calloc(opts->max_services, sizeof *p->of_service);
    /* The first block is taken now, so that there is always something to evict. */
    if (p->index == NULL || p->blocks == NULL || !add_block(p) ||
        (opts->max_per_service > 0 && p->of_service == NULL)) {
        patterns_free(p);
        return ERR_NOMEM;
    }
    *out = p;
    return 0;
}

void patterns_free(struct patterns *p)
{
    if (p == NULL)
        return;
    for (uint32_t i = 0; i < p->made; i++)
        drop_template(p, entry(p, i));
    uint32_t blocks = p->blocks == NULL ? 0 : block_count(p);
    for (uint32_t i = 0; i < blocks && p->blocks[i] != NULL; i++) {
        free(p->blocks[i]);
        budget_give(p->opts.budget, BLOCK_ENTRIES * sizeof(struct pattern));
    }
    free(p->of_service);
    free(p->blocks);
    free(p->index);
    free(p);
}

struct pattern *patterns_peek(const struct patterns *p, const struct pattern_key *key)
{
    uint32_t at = find(p, key);
    return p->index[at] == 0 ? NULL : entry(p, p->index[at] - 1);
}

struct pattern *patterns_find(struct patterns *p, const struct pattern_key *key)
{
    struct pattern *e = patterns_peek(p, key);
    if (e != NULL)
        e->referenced = true;
    return e;
}

struct pattern *patterns_add(struct patterns *p, const struct pattern_key *key)
{
    uint32_t i = take_entry(p);
    struct pattern *e = entry(p, i);
    /* Not referenced: only a second use spares it, or a flood of patterns that are seen
     * once would make the hand go full circle and evict what is used all the time. */
    *e = (struct pattern){.key = *key, .family = key->signature, .number = i, .in_use = true};
    e->phase = (uint32_t)hash_mix(p->opts.seed ^ key->signature, ++p->added);
    p->index[find(p, key)] = i + 1;
    if (p->of_service != NULL)
        p->of_service[key->service]++;
    return e;
}

void pattern_set_template(struct patterns *p, struct pattern *e, struct span text)
{
    drop_template(p, e);
    text = utf8_cut(text, PATTERN_TEMPLATE_BYTES);
    if (text.len == 0 || budget_take(p->opts.budget, text.len) < 0)
        return;
    e->template_text = malloc(text.len);
    if (e->template_text == NULL) {
        budget_give(p->opts.budget, text.len);
        return;
    }
    memcpy(e->template_text, text.base, text.len);
    e->template_len = (uint8_t)text.len;
}

uint32_t patterns_count(const struct patterns *p)
{
    return p->made - p->unused_count;
}

uint64_t patterns_evicted(const struct patterns *p)
{
    return p->evicted;
}

const struct pattern_counts *patterns_other(const struct patterns *p)
{
    return &p->other;
}

uint32_t patterns_slots(const struct patterns *p)
{
    return p->made;
}

struct pattern *patterns_at(struct patterns *p, uint32_t i)
{
    return entry(p, i);
}
