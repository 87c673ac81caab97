/* tero_keep: how much of what matches is kept. */
#include "policy/tero_state.h"

#include <math.h>
#include <stdlib.h>

#include "pipeline/attr_text.h"
#include "pipeline/consistent.h"
#include "pipeline/rules.h"
#include "util/hash.h"

#define KEEP_BYTES 32                 /* of the text */
#define WINDOW_S_MAX (7u * 24 * 3600) /* a week */
#define RANDOM_MASK (RULES_REJECT_ALL - 1)

/* ---- reading ---------------------------------------------------------------- */

/* Digits from *at on. */
static bool read_whole(const char **at, uint64_t *out)
{
    uint64_t n = 0;
    const char *p = *at;
    for (; *p >= '0' && *p <= '9' && p - *at < 10; p++)
        n = n * 10 + (uint64_t)(*p - '0');
    bool is_whole = p > *at && (*p < '0' || *p > '9');
    *at = p;
    *out = n;
    return is_whole;
}

/* N/s, N/m, N/Ds, N/Dm */
static bool read_rate(struct tero_keep *keep, const char *text)
{
    uint64_t n, every = 1;
    if (!read_whole(&text, &n) || *text++ != '/')
        return false;
    if (*text >= '0' && *text <= '9' && !read_whole(&text, &every))
        return false;
    if ((text[0] != 's' && text[0] != 'm') || text[1] != '\0')
        return false;
    every *= text[0] == 'm' ? 60 : 1;
    if (every == 0 || every > WINDOW_S_MAX)
        return false;
    keep->kind = TERO_RATE;
    keep->limit = n;
    keep->window_ms = every * 1000;
    return true;
}

static bool read_percent(struct tero_keep *keep, const char *text)
{
    size_t digits = strspn(text, "0123456789.");
    char *end;
    if (digits == 0 || text[digits] != '%' || text[digits + 1] != '\0')
        return false;
    double percent = strtod(text, &end);
    if (end != text + digits || !(percent >= 0 && percent <= 100))
        return false;
    keep->kind = TERO_PERCENT;
    keep->percent = percent;
    return true;
}

int tero_keep_parse(struct tero_keep *keep, struct span text)
{
    char room[KEEP_BYTES + 1];
    text = span_trim(text);
    if (text.len > KEEP_BYTES)
        return ERR_CONFIG;
    if (text.len == 0 || span_eq(text, SPAN("all"))) {
        keep->kind = TERO_ALL;
        return 0;
    }
    if (span_eq(text, SPAN("none"))) {
        keep->kind = TERO_NONE;
        return 0;
    }
    memcpy(room, text.base, text.len);
    room[text.len] = '\0';
    return read_percent(keep, room) || read_rate(keep, room) ? 0 : ERR_CONFIG;
}

/* ---- deciding ---------------------------------------------------------------- */

/* 56 random bits: of the trace id as all samplers have them, else of the key's content. False: the
 * record has no such field. */
static bool key_bits(const struct tero_keep *keep, const struct tero_view *view, uint64_t *bits)
{
    char room[ATTR_TEXT_BYTES];
    struct log_value v;
    if (!tero_field_read(&keep->key, view, &v))
        return false;
    bool is_trace = keep->key.place == TERO_FIELD && keep->key.field == TERO_TRACE_ID;
    if (is_trace && consistent_randomness(&view->log, bits))
        return true;
    struct span content = v.text.len > 0 ? v.text : attr_text(&v, room);
    if (content.len == 0)
        return false;
    *bits = hash64(content) & RANDOM_MASK;
    return true;
}

/* A record without the field that is the key is kept: nothing says that it may go. */
static bool draw(struct tero *t, const struct tero_keep *keep, const struct tero_view *view)
{
    uint64_t bits = rng_next(&t->rng) & RANDOM_MASK;
    if (keep->percent >= 100 ||
        (keep->percent > 0 && keep->has_key && !key_bits(keep, view, &bits)))
        return true;
    double share = keep->percent / 100;
    uint64_t threshold = RULES_REJECT_ALL - (uint64_t)llround(share * (double)RULES_REJECT_ALL);
    return keep->percent > 0 && bits >= threshold;
}

/* Windows follow each other from the first record on. */
static bool has_room(struct tero_keep *keep, uint64_t now_ms)
{
    if (!keep->has_begun || now_ms - keep->begun_ms >= keep->window_ms) {
        keep->has_begun = true;
        keep->begun_ms = now_ms;
        keep->used = 0;
    }
    return keep->used < keep->limit;
}

/* Of those of a kind the most restrictive; of equal ones the first. */
static struct tero_policy *strictest(struct tero *t, size_t matched, enum tero_keep_kind kind)
{
    struct tero_policy *best = NULL;
    for (size_t i = 0; i < matched; i++) {
        struct tero_policy *p = &t->policies[t->matched[i]];
        if (p->keep.kind == kind && (best == NULL || p->keep.percent < best->keep.percent))
            best = p;
    }
    return best;
}

struct tero_policy *tero_keep_decide(struct tero *t, size_t matched, const struct tero_view *view,
                                     uint64_t now_ms)
{
    struct tero_policy *none = strictest(t, matched, TERO_NONE);
    if (none != NULL)
        return none;
    struct tero_policy *percent = strictest(t, matched, TERO_PERCENT);
    if (percent != NULL && !draw(t, &percent->keep, view))
        return percent;
    for (size_t i = 0; i < matched; i++) {
        struct tero_policy *p = &t->policies[t->matched[i]];
        if (p->keep.kind == TERO_RATE && !has_room(&p->keep, now_ms))
            return p;
    }
    for (size_t i = 0; i < matched; i++) /* only a record that is kept takes from the limits */
        t->policies[t->matched[i]].keep.used++;
    return NULL;
}
