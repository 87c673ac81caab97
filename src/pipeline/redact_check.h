/*
 * redact_check: the checks by hand. For the files that implement redact_detect.
 *
 * Each looks at `at`, where its trigger stands, uses nothing before `from`, and is true with *hit
 * when the kind is there.
 */
#pragma once

#include "pipeline/redact_detect.h"

struct redact_view {
    const uint8_t *t;
    size_t n, from;
};

static inline bool redact_is_digit(uint8_t c)
{
    return (uint8_t)(c - '0') < 10;
}

static inline bool redact_is_upper(uint8_t c)
{
    return (uint8_t)(c - 'A') < 26;
}

static inline bool redact_is_letter(uint8_t c)
{
    return (uint8_t)((c | 0x20) - 'a') < 26;
}

static inline bool redact_is_alnum(uint8_t c)
{
    return redact_is_digit(c) || redact_is_letter(c);
}

static inline bool redact_is_word(uint8_t c)
{
    return redact_is_alnum(c) || c == '_';
}

static inline bool redact_is_word_or_dash(uint8_t c)
{
    return redact_is_word(c) || c == '-';
}

/* Does a word begin at `at`, or end before it? */
static inline bool redact_left_edge(const struct redact_view *v, size_t at)
{
    return at == 0 || !redact_is_word(v->t[at - 1]);
}

static inline bool redact_right_edge(const struct redact_view *v, size_t end)
{
    return end >= v->n || !redact_is_word(v->t[end]);
}

static inline bool redact_hit_at(struct redact_hit *hit, unsigned kind, size_t at, size_t end)
{
    *hit = (struct redact_hit){at, end - at, kind};
    return true;
}

/* Is this literal at `at`? In any case of letters where it is small and `any_case` is set. */
static inline bool redact_has(const struct redact_view *v, size_t at, struct span literal,
                              bool any_case)
{
    if (at > v->n || v->n - at < literal.len)
        return false;
    struct span there = span_of(v->t + at, literal.len);
    return any_case ? span_ieq(there, literal) : span_eq(there, literal);
}

/* ---- redact_numbers.c: at the first digit of a run ------------------------ */

bool redact_card(const struct redact_view *v, size_t at, struct redact_hit *hit);
bool redact_ssn(const struct redact_view *v, size_t at, struct redact_hit *hit);
bool redact_ipv4(const struct redact_view *v, size_t at, struct redact_hit *hit);
bool redact_iban(const struct redact_view *v, size_t at, struct redact_hit *hit);
bool redact_phone(const struct redact_view *v, size_t at, struct redact_hit *hit); /* at the + */
bool redact_ipv6(const struct redact_view *v, size_t at, struct redact_hit *hit);  /* at a : */

/* ---- redact_keys.c: at the first byte of a word --------------------------- */

/* The rows of keys with a fixed prefix, sorted by first byte; the last has no prefix. */
struct redact_key {
    const char *prefix;
    uint8_t kind, set;
    uint8_t least, most; /* bytes behind the prefix; 0: see `find` */
    bool (*find)(const struct redact_view *v, size_t at, struct redact_hit *hit);
};
extern const struct redact_key redact_keys[];

/* The row's key, where its prefix stands at `at`. */
bool redact_key_here(const struct redact_view *v, const struct redact_key *key, size_t at,
                     struct redact_hit *hit);
bool redact_private_key(const struct redact_view *v, size_t at, struct redact_hit *hit);

/* ---- redact_words.c ------------------------------------------------------- */

bool redact_email(const struct redact_view *v, size_t at, struct redact_hit *hit); /* at the @ */
bool redact_url_password(const struct redact_view *v, size_t at, struct redact_hit *hit);
bool redact_assigned(const struct redact_view *v, size_t at, struct redact_hit *hit);
bool redact_bearer(const struct redact_view *v, size_t at, struct redact_hit *hit);
bool redact_basic(const struct redact_view *v, size_t at, struct redact_hit *hit);
