/* families: a table of what is known, a table of keys, and a queue of templates
 * that were just made and have to enter. */
#include "pattern/families.h"

#include <stdlib.h>
#include <string.h>

#include "pattern/families_state.h"
#include "pattern/family_template.h"
#include "pattern/signature.h"
#include "pattern/signature_identity.h"
#include "util/err.h"
#include "util/hash.h"
#include "util/unicode.h"

/* How often the hand passes: losing a pattern costs relearning it, losing a fired
 * key costs seeing as many words again. */
enum { CHANCES_SEEN_AGAIN = 1, CHANCES_OF_FAMILY = 3 };

static void give(struct families *f, uint64_t bytes)
{
    budget_give(f->opts.budget, bytes);
}

static bool take(struct families *f, uint64_t bytes)
{
    return budget_take(f->opts.budget, bytes) == 0;
}

static void drop_known(void *ctx, struct slot *slot)
{
    struct families *f = ctx;
    struct known *k = container_of(slot, struct known, slot);
    f->aliases -= k->word != NO_ALIAS;
    if (k->template_text != NULL)
        give(f, k->template_len);
    free(k->template_text);
}

static void drop_members(struct families *f, struct hole *h)
{
    if (h->count > 1)
        give(f, (h->count - 1u) * sizeof *h->others);
    free(h->others);
    h->others = NULL;
    h->count = 0;
}

static void drop_hole(void *ctx, struct slot *slot)
{
    drop_members(ctx, container_of(slot, struct hole, slot));
}

int families_new(struct families **out, const struct families_opts *opts)
{
    struct families *f = calloc(1, sizeof *f);
    if (f == NULL)
        return ERR_NOMEM;
    f->opts = *opts;
    f->generation = 1;
    token_bucket_init(&f->learning, opts->learn_per_second);
    f->queue.budget = f->shown.budget = opts->budget;
    struct slots_opts known = {
        .entry_bytes = sizeof(struct known),
        .max_entries = opts->max_signatures > 0 ? opts->max_signatures : FAMILY_SIGNATURES,
        .seed = opts->seed,
        .budget = opts->budget,
        .drop = drop_known,
        .ctx = f,
    };
    struct slots_opts holes = known;
    holes.entry_bytes = sizeof(struct hole);
    holes.max_entries = opts->max_holes > 0 ? opts->max_holes : FAMILY_HOLES;
    holes.drop = drop_hole;
    if (slots_init(&f->known, &known) < 0 || slots_init(&f->holes, &holes) < 0) {
        families_free(f);
        return ERR_NOMEM;
    }
    *out = f;
    return 0;
}

void families_free(struct families *f)
{
    if (f == NULL)
        return;
    slots_done(&f->known);
    slots_done(&f->holes);
    buf_done(&f->queue);
    buf_done(&f->shown);
    free(f);
}

static struct known *find_known(const struct families *f, uint64_t signature)
{
    struct slot *s = slots_find(&f->known, signature);
    return s != NULL ? container_of(s, struct known, slot) : NULL;
}

static void spare(struct slot *s, uint8_t chances)
{
    if (s->chances < chances)
        s->chances = chances;
}

/* ---- learning ---------------------------------------------------------- */

/* Of several places that became variables the leftmost counts, whichever was first. */
static void point(struct families *f, struct known *k, uint16_t word, uint64_t to)
{
    if (word >= k->word) /* NO_ALIAS is beyond any word */
        return;
    f->aliases += k->word == NO_ALIAS;
    k->word = word;
    k->to = to;
    k->since_ns = f->now_ns;
    if (++f->generation == 0)
        f->generation = 1;
}

/* Put the generalised template into the queue. False: no memory. */
static bool enqueue(struct families *f, uint32_t word, uint64_t *id)
{
    size_t start = f->queue.len, len = 0;
    buf_append(&f->queue, span_of(&len, sizeof len));
    template_generalise(&f->template, word, &f->queue);
    if (f->queue.err != 0) {
        f->queue.len = start; /* what is waiting already may still be served */
        f->queue.err = 0;
        return false;
    }
    struct span identity = span_skip(buf_span(&f->queue), start + sizeof len);
    memcpy(f->queue.base + start, &identity.len, sizeof len);
    *id = hash64(identity);
    return true;
}

static uint64_t *member(struct hole *h, uint32_t i)
{
    return i == 0 ? &h->first : &h->others[i - 1];
}

/* Room for one member more. */
static bool grow(struct families *f, struct hole *h)
{
    if (h->count == 0)
        return true;
    if (h->count == FAMILY_WEIGHT_MAX || !take(f, sizeof *h->others))
        return false;
    uint64_t *others = realloc(h->others, h->count * sizeof *others);
    if (others == NULL) {
        give(f, sizeof *others);
        return false;
    }
    h->others = others;
    return true;
}

static void add_member(struct families *f, struct hole *h, uint64_t signature, uint32_t weight)
{
    for (uint32_t i = 0; i < h->count; i++)
        if (*member(h, i) == signature)
            return; /* it was forgotten and comes again */
    if (!grow(f, h))
        return;
    *member(h, h->count++) = signature;
    h->weight = (uint8_t)(h->weight + weight);
}

static uint32_t weight_needed(const struct families *f, uint32_t word)
{
    bool first = word == 0 && f->opts.weight < FAMILY_FIRST_WEIGHT;
    return first ? FAMILY_FIRST_WEIGHT : f->opts.weight;
}

static struct frame frame_of(const struct families *f, struct span identity)
{
    if (identity.len == 0)
        return (struct frame){0};
    const uint8_t *first = memchr(identity.base, PART_SEPARATOR, identity.len);
    const uint8_t *last = memrchr(identity.base, PART_SEPARATOR, identity.len);
    const uint8_t *end = identity.base + identity.len;
    if (first == NULL)
        return (struct frame){0}; /* one part alone merges with nothing */
    return (struct frame){
        hash64_seeded(span_of(identity.base, (size_t)(first - identity.base)), f->opts.seed),
        hash64_seeded(span_of(last + 1, (size_t)(end - last - 1)), f->opts.seed),
    };
}

static uint32_t frame_bit(uint64_t first, uint64_t last)
{
    return (uint32_t)hash_mix(first, last) % FRAME_BITS;
}

static bool has_frame(const struct families *f, struct frame at)
{
    const uint32_t bits[] = {frame_bit(at.first, at.last), frame_bit(0, at.last),
                             frame_bit(at.first, 0)};
    uint64_t any = 0;
    for (size_t i = 0; i < ARRAY_LEN(bits); i++)
        any |= f->frames[bits[i] / 64] >> bits[i] % 64 & 1;
    return any != 0;
}

/* A word of f->template is a variable from now on. */
static void note_frame(struct families *f, uint16_t word)
{
    const struct template *t = &f->template;
    const uint8_t *end = t->tail.base + t->tail.len;
    struct frame at = frame_of(f, span_of(t->head.base, (size_t)(end - t->head.base)));
    bool is_first = t->head.len == 0 && t->words[word] == 0;
    bool is_last = t->tail.len == 0 && t->words[word] == t->part_count - 1;
    uint32_t bit = frame_bit(is_first ? 0 : at.first, is_last ? 0 : at.last);
    f->frames[bit / 64] |= UINT64_C(1) << bit % 64;
}

static void fire(struct families *f, struct hole *h, uint16_t word)
{
    uint64_t family;
    if (!enqueue(f, word, &family))
        return; /* the next member tries again */
    for (uint32_t i = 0; i < h->count; i++) {
        struct known *k = find_known(f, *member(h, i));
        if (k != NULL)
            point(f, k, word, family);
    }
    drop_members(f, h);
    h->fired = true;
    h->family = family;
    note_frame(f, word);
}

static void enter_hole(struct families *f, struct known *k, uint16_t word)
{
    uint64_t key = template_hole(&f->template, word);
    struct slot *slot = slots_find(&f->holes, key);
    bool is_new = slot == NULL;
    if (is_new)
        slot = slots_take(&f->holes, key);
    if (slot == NULL)
        return;
    struct hole *h = container_of(slot, struct hole, slot);
    if (!h->fired) {
        add_member(f, h, k->slot.key, template_weight(&f->template, word));
        if (h->weight >= weight_needed(f, word))
            fire(f, h, word);
    } else if (find_known(f, h->family) == NULL) {
        (void)enqueue(f, word, &h->family); /* forgotten: what it became must be found again */
    }
    if (h->fired)
        point(f, k, word, h->family);
    if (!is_new)
        spare(slot, h->fired ? CHANCES_OF_FAMILY : CHANCES_SEEN_AGAIN);
}

static void keep_template(struct families *f, struct known *k, struct span identity)
{
    buf_clear(&f->shown);
    signature_template(identity, &f->shown);
    struct span text = utf8_cut(buf_span(&f->shown), FAMILY_TEMPLATE_BYTES);
    if (f->shown.err != 0 || text.len == 0 || !take(f, text.len))
        return;
    k->template_text = malloc(text.len);
    if (k->template_text == NULL) {
        give(f, text.len);
        return;
    }
    memcpy(k->template_text, text.base, text.len);
    k->template_len = (uint8_t)text.len;
}

/* There is no time to learn it now: has one of its words become a variable already? The
 * leftmost such counts, as it does for what is learned. */
static uint64_t match(struct families *f, uint64_t signature, struct span identity)
{
    if (!has_frame(f, frame_of(f, identity)) ||
        !template_read(&f->template, identity, f->opts.seed))
        return signature;
    for (uint32_t w = 0; w < f->template.word_count; w++) {
        struct slot *slot = slots_find(&f->holes, template_hole(&f->template, w));
        struct hole *h = slot != NULL ? container_of(slot, struct hole, slot) : NULL;
        if (h == NULL || !h->fired)
            continue;
        spare(slot, CHANCES_OF_FAMILY);
        return families_resolve(f, h->family);
    }
    return signature;
}

/* A pattern that is not known, be it seen or made. NULL: no memory for it. */
static struct known *learn(struct families *f, uint64_t signature, struct span identity, bool made)
{
    bool may_merge = template_read(&f->template, identity, f->opts.seed);
    if (!may_merge && !made)
        return NULL;
    struct slot *slot = slots_take(&f->known, signature);
    if (slot == NULL)
        return NULL;
    struct known *k = container_of(slot, struct known, slot);
    k->word = NO_ALIAS;
    if (made) {
        keep_template(f, k, identity);
        spare(slot, CHANCES_OF_FAMILY);
    }
    for (uint32_t w = 0; may_merge && w < f->template.word_count; w++)
        enter_hole(f, k, (uint16_t)w);
    return k;
}

/* Templates that were made enter, and what they make in turn. They lie in the queue
 * while they are read, which grows meanwhile: so each is copied out first. */
static void serve_queue(struct families *f)
{
    uint8_t identity[FAMILY_IDENTITY_BYTES];
    while (f->read < f->queue.len) {
        size_t len;
        memcpy(&len, f->queue.base + f->read, sizeof len);
        memcpy(identity, f->queue.base + f->read + sizeof len, len);
        f->read += sizeof len + len;
        struct span made = span_of(identity, len);
        uint64_t signature = hash64(made);
        struct known *k = find_known(f, signature);
        if (k == NULL)
            learn(f, signature, made, true);
        else if (k->template_text == NULL)
            keep_template(f, k, made); /* it was seen before as a line of its own */
    }
    buf_done(&f->queue);
    f->read = 0;
}

/* ---- asking ------------------------------------------------------------ */

/* It has an alias, whose end is not known. */
static bool is_stale(const struct families *f, const struct known *k)
{
    return k != NULL && k->word != NO_ALIAS && k->generation != f->generation;
}

/* Follow the aliases to the end; every link remembers it. */
static uint64_t end_of(struct families *f, struct known *k)
{
    struct known *link = k;
    uint64_t end = k->slot.key;
    for (uint32_t n = 0; n < LINKS_MAX && is_stale(f, link); n++) {
        end = link->to;
        link = find_known(f, end);
        if (link != NULL)
            spare(&link->slot, CHANCES_OF_FAMILY);
    }
    if (link != NULL && link->word != NO_ALIAS && link->generation == f->generation)
        end = link->family; /* from here on it was known */
    for (link = k; is_stale(f, link);) {
        link->family = end;
        link->generation = f->generation;
        link = find_known(f, link->to);
    }
    return end;
}

uint64_t families_resolve(struct families *f, uint64_t signature)
{
    struct known *k = find_known(f, signature);
    if (k == NULL)
        return signature;
    spare(&k->slot, CHANCES_SEEN_AGAIN);
    return end_of(f, k);
}

uint64_t families_add(struct families *f, uint64_t signature, struct span identity,
                      uint64_t unix_ns)
{
    struct known *k = find_known(f, signature);
    f->is_put_off = false;
    struct known *to = k != NULL && k->word != NO_ALIAS ? find_known(f, k->to) : NULL;
    bool broken = k != NULL && k->word != NO_ALIAS && to == NULL;
    if (k != NULL)
        spare(&k->slot, CHANCES_SEEN_AGAIN);
    if (to != NULL)
        spare(&to->slot, CHANCES_OF_FAMILY);
    if (k != NULL && !broken)
        return end_of(f, k);
    if (identity.len > FAMILY_IDENTITY_BYTES)
        return signature;
    if (f->opts.learn_per_second > 0 && !token_bucket_take(&f->learning, unix_ns / 1000000)) {
        f->is_put_off = true;
        f->put_off++;
        return match(f, signature, identity);
    }
    f->now_ns = unix_ns;
    if (!broken)
        k = learn(f, signature, identity, false);
    else if (template_read(&f->template, identity, f->opts.seed) &&
             k->word < f->template.word_count)
        (void)enqueue(f, k->word, &k->to); /* what it became was forgotten */
    if (k == NULL) {
        f->learning.tokens += 1; /* it is none that could merge: no work was done */
        return signature;
    }
    serve_queue(f);
    /* Not spared: only a second use spares it, or a flood of patterns that are seen once
     * would make the hand go full circle and evict what is used all the time. */
    k = find_known(f, signature);
    return k == NULL ? signature : end_of(f, k);
}

bool families_put_off(const struct families *f)
{
    return f->is_put_off;
}

struct span families_template(const struct families *f, uint64_t family)
{
    const struct known *k = find_known(f, family);
    return k != NULL && k->template_text != NULL ? span_of(k->template_text, k->template_len)
                                                 : (struct span){0};
}

uint32_t families_generation(const struct families *f)
{
    return f->generation;
}

void families_each_alias(struct families *f, void (*each)(void *ctx, const struct family_alias *a),
                         void *ctx)
{
    for (uint32_t i = 0; i < f->known.made; i++) {
        const struct known *k = container_of(slots_at(&f->known, i), struct known, slot);
        if (k->word == NO_ALIAS)
            continue;
        struct family_alias alias = {.from = k->slot.key,
                                     .to = k->to,
                                     .since_ns = k->since_ns,
                                     .template_text = families_template(f, k->to)};
        each(ctx, &alias);
    }
}

struct families_stats families_stats(const struct families *f)
{
    return (struct families_stats){
        .signatures = f->known.made,
        .aliases = f->aliases,
        .holes = f->holes.made,
        .evicted = f->known.evicted + f->holes.evicted,
        .put_off = f->put_off,
    };
}
