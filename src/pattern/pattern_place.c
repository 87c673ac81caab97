/* pattern_place: own entry, family's entry, overflow. */
#include "pattern/pattern_place.h"

#include "pattern/signature_overflow.h"

void pattern_place_done(struct pattern_place *place)
{
    buf_done(&place->scratch);
}

/* `text` is empty: the template of what the signer has just signed. */
static struct span template_of(struct pattern_place *place, struct span text)
{
    if (place->shown != NULL)
        return place->shown(place->ctx, text, text.len == 0);
    return text.len > 0 ? text : pattern_own_template(place);
}

static struct pattern *add(struct pattern_place *place, const struct pattern_key *key,
                           struct span template_text, uint64_t unix_ns, bool is_overflow)
{
    struct pattern *e = patterns_add(place->patterns, key);
    e->first_seen_ns = unix_ns;
    if (place->on_new != NULL)
        place->on_new(place->ctx, e->number, is_overflow);
    pattern_set_template(place->patterns, e, template_of(place, template_text));
    return e;
}

struct span pattern_own_template(struct pattern_place *place)
{
    buf_clear(&place->scratch);
    signer_template(place->signer, &place->scratch);
    return buf_span(&place->scratch);
}

/* NULL: it would be one too many. The one for the rest never is. */
static struct pattern *overflow_entry(struct pattern_place *place, struct pattern_key key,
                                      struct span identity, uint64_t unix_ns)
{
    char room[OVERFLOW_TEXT_BYTES];
    struct span text = overflow_text(room, identity);
    key.signature = overflow_id(text);
    struct pattern *e = patterns_find(place->patterns, &key);
    if (e != NULL)
        return e;
    if (identity.len > 0 && !patterns_has_room(place->patterns, key.service, 0, unix_ns))
        return NULL;
    return add(place, &key, text, unix_ns, true);
}

static struct pattern *overflow(struct pattern_place *place, const struct pattern_key *key,
                                uint64_t unix_ns, uint64_t *family)
{
    struct pattern *e = overflow_entry(place, *key, signer_identity(place->signer), unix_ns);
    if (e == NULL)
        e = overflow_entry(place, *key, SPAN(""), unix_ns);
    place->overflowed++;
    *family = e->key.signature;
    return e;
}

/* There is no entry of its own. */
static struct pattern *place_anew(struct pattern_place *place, struct pattern_key key,
                                  uint64_t unix_ns, uint64_t *family)
{
    bool is_family = *family != key.signature;
    struct pattern *e = NULL;
    if (is_family) {
        key.signature = *family;
        e = patterns_find(place->patterns, &key);
    }
    if (e != NULL)
        return e;
    if (!patterns_has_room(place->patterns, key.service, place->overflow_entries, unix_ns))
        return overflow(place, &key, unix_ns, family);
    struct span text = is_family ? families_template(place->families, *family) : (struct span){0};
    return add(place, &key, text, unix_ns, false);
}

struct pattern *pattern_place(struct pattern_place *place, const struct pattern_key *key,
                              uint64_t unix_ns, uint64_t *family)
{
    struct families *families = place->families;
    struct pattern *e = patterns_find(place->patterns, key);
    uint32_t generation = e != NULL ? e->family_generation : 0;
    *family = e != NULL ? e->family : key->signature;
    if (families != NULL && (e == NULL || e->family_generation != families_generation(families))) {
        /* Never less than is known of it: to be forgotten does not undo an alias. */
        uint64_t now =
            families_add(families, key->signature, signer_identity(place->signer), unix_ns);
        if (now != key->signature)
            *family = now;
        /* 0: to be asked again with the next record */
        generation = families_put_off(families) ? 0 : families_generation(families);
    }
    if (e == NULL) {
        e = place_anew(place, *key, unix_ns, family);
        if (e->key.signature != key->signature)
            return e;
    }
    e->family = *family;
    e->family_generation = generation;
    return *family == key->signature ? e : place_anew(place, *key, unix_ns, family);
}
