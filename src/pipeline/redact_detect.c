/* redact_detect: the trigger table, and which check belongs to which trigger. */
#include "pipeline/redact_check.h"

/* Bytes that a name of a secret, its quotes or blanks end with, before = or : or %. */
static const char name_ends[] = "dtynDTYN\"'\\ ";

static bool has_kind(const struct redact_detector *d, unsigned kind)
{
    return (d->kinds >> kind & 1) != 0;
}

/* A digit behind anything that is no digit: where a number begins. */
static void set_numbers(struct redact_detector *d)
{
    bool alone = has_kind(d, REDACT_CARD) || has_kind(d, REDACT_SSN) || has_kind(d, REDACT_IP);
    for (unsigned first = 0; first < 256; first++)
        if ((alone && !redact_is_word((uint8_t)first)) ||
            (has_kind(d, REDACT_IBAN) && redact_is_upper((uint8_t)first)) ||
            (has_kind(d, REDACT_PHONE) && first == '+'))
            redact_triggers_add_number(&d->triggers, (uint8_t)first);
    d->triggers.has_short_numbers = has_kind(d, REDACT_IP) || has_kind(d, REDACT_PHONE);
}

static void set_signs(struct redact_detector *d)
{
    if (has_kind(d, REDACT_EMAIL))
        redact_triggers_add_sign(&d->triggers, '@');
    if (has_kind(d, REDACT_IP))
        redact_triggers_add_sign(&d->triggers, ':');
    if (has_kind(d, REDACT_ASSIGNED))
        for (const char *c = name_ends; *c != '\0'; c++)
            redact_triggers_add_assign(&d->triggers, (uint8_t)*c);
    if (has_kind(d, REDACT_URL_PASSWORD))
        redact_triggers_add(&d->triggers, ':', '/');
    if (has_kind(d, REDACT_PRIVATE_KEY))
        redact_triggers_add(&d->triggers, '-', 'B');
}

void redact_detector_init(struct redact_detector *d, uint64_t kinds)
{
    *d = (struct redact_detector){.kinds = kinds};
    for (unsigned c = 0; c < 256; c++)
        d->is_word[c] = redact_is_word((uint8_t)c);
    redact_triggers_init(&d->triggers);
    set_numbers(d);
    set_signs(d);
    for (size_t i = 0; redact_keys[i].prefix != NULL; i++) {
        const uint8_t *prefix = (const uint8_t *)redact_keys[i].prefix;
        if (has_kind(d, redact_keys[i].kind))
            redact_triggers_add_key(&d->triggers, redact_keys[i].prefix);
        if (d->keys_of[prefix[0]] == 0)
            d->keys_of[prefix[0]] = (uint8_t)(i + 1);
    }
}

/* Both of the two begin with three digits at least, and have eleven bytes. */
static bool may_be_long(const struct redact_view *v, size_t at)
{
    return v->n - at >= 11 && redact_is_digit(v->t[at + 1]) && redact_is_digit(v->t[at + 2]);
}

/* At a digit that begins a number, or the one text begins with. */
static bool find_number(const struct redact_detector *d, const struct redact_view *v, size_t at,
                        struct redact_hit *hit)
{
    if (at > 0 && redact_is_word(v->t[at - 1]))
        return has_kind(d, REDACT_IBAN) && redact_iban(v, at, hit);
    return (at > 0 && v->t[at - 1] == '+' && has_kind(d, REDACT_PHONE) && at - 1 >= v->from &&
            redact_phone(v, at - 1, hit)) ||
           (may_be_long(v, at) && has_kind(d, REDACT_SSN) && redact_ssn(v, at, hit)) ||
           (may_be_long(v, at) && has_kind(d, REDACT_CARD) && redact_card(v, at, hit)) ||
           (has_kind(d, REDACT_IP) && redact_ipv4(v, at, hit)) ||
           (has_kind(d, REDACT_IP) && redact_ipv6(v, at, hit));
}

/* At the first byte of a word. */
static bool find_key(const struct redact_detector *d, const struct redact_view *v, size_t at,
                     struct redact_hit *hit)
{
    unsigned row = d->keys_of[v->t[at]];
    if (row == 0 || !redact_left_edge(v, at))
        return false;
    for (const struct redact_key *k = &redact_keys[row - 1];
         k->prefix != NULL && (uint8_t)k->prefix[0] == v->t[at]; k++)
        if (has_kind(d, k->kind) && redact_key_here(v, k, at, hit))
            return true;
    return false;
}

/* A pair at `at` that is in the table. */
static bool find_at(const struct redact_detector *d, const struct redact_view *v, size_t at,
                    struct redact_hit *hit)
{
    uint8_t first = v->t[at], second = v->t[at + 1];
    if (redact_is_digit(second) && !redact_is_digit(first) && find_number(d, v, at + 1, hit))
        return true;
    switch (second) {
    case '@':
        return has_kind(d, REDACT_EMAIL) && redact_email(v, at + 1, hit);
    case '=':
    case ':':
    case '%':
        if (has_kind(d, REDACT_ASSIGNED) && redact_assigned(v, at + 1, hit))
            return true;
        return second == ':' && has_kind(d, REDACT_IP) && redact_ipv6(v, at + 1, hit);
    case '/':
        return first == ':' && has_kind(d, REDACT_URL_PASSWORD) && redact_url_password(v, at, hit);
    case 'B':
        if (first == '-' && has_kind(d, REDACT_PRIVATE_KEY))
            return redact_private_key(v, at + 1, hit);
    }
    return find_key(d, v, at, hit);
}

/* Is a trigger at `i` not worth a check? */
static bool is_idle(const struct redact_detector *d, const struct redact_view *v, size_t i)
{
    const uint8_t *t = v->t;
    /* Most numbers are short: neither a card nor a social security number. */
    if (redact_is_digit(t[i + 1]))
        return !d->is_word[t[i]] && !d->triggers.has_short_numbers && !may_be_long(v, i + 1);
    /* In the middle of a word only a number may begin, of an account. */
    return i > 0 && d->is_word[t[i + 1]] && d->is_word[t[i - 1]];
}

bool redact_next(const struct redact_detector *d, const struct redact_look *look, struct span text,
                 size_t from, struct redact_hit *hit)
{
    const struct redact_view v = {text.base, text.len, from};
    if (from == 0 && text.len > 0 && redact_is_digit(text.base[0]) && find_number(d, &v, 0, hit))
        return true;
    /* The pair that begins before `from` may have its trigger behind it. */
    for (size_t base = from > 0 ? from - 1 : 0; base + 1 < text.len; base += 64) {
        uint64_t found = redact_look_bits(look, &d->triggers, text, base);
        for (; found != 0; found &= found - 1) {
            size_t i = base + (size_t)__builtin_ctzll(found);
            if (redact_triggers_has(&d->triggers, text.base + i) && !is_idle(d, &v, i) &&
                find_at(d, &v, i, hit) && hit->at >= from && hit->len > 0)
                return true;
        }
    }
    return false;
}
