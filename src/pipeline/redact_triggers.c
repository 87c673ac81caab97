/* redact_triggers: a table, and classes for 64 pairs at once. */
#include "pipeline/redact_triggers.h"

#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "pipeline/redact_check.h"

/* Seconds of a bin share their firsts. */
enum { BIN_DIGIT, BIN_AT, BIN_ASSIGN, BIN_COLON, BIN_SLASH, BIN_LETTERS, BINS = 16 };

/* The parts of TRIGGER_WORD, each a rectangle of halves. */
enum {
    IS_DIGIT = 0x01,
    IS_UPPER = 0x06, /* A to O, P to Z */
    IS_LOWER = 0x18, /* likewise */
    IS_UNDERSCORE = 0x20,
    IS_WORD = IS_DIGIT | IS_UPPER | IS_LOWER | IS_UNDERSCORE,
};

/* The bits of TRIGGER_BEFORE and _BEHIND: a name's end by its high half, before : and =, and before
 * %; besides, a sign behind anything, and other pairs. */
enum { ASSIGN_3 = 0x0e, ASSIGN_2 = 0xe0, OF_SIGN = 0x01, OF_OTHER = 0x10 };

#define KEY_BINS 8

static unsigned bin_of(unsigned second)
{
    switch (second) {
    case '@':
        return BIN_AT;
    case '=':
    case '%':
        return BIN_ASSIGN;
    case ':':
        return BIN_COLON;
    case '/':
        return BIN_SLASH;
    }
    return redact_is_digit((uint8_t)second) ? BIN_DIGIT
                                            : BIN_LETTERS + second % (BINS - BIN_LETTERS);
}

static void add_exact(struct redact_triggers *t, uint8_t first, uint8_t second)
{
    uint16_t bit = (uint16_t)(1u << bin_of(second));
    t->firsts[first] |= bit;
    t->seconds[second] |= bit;
}

static void widen(struct redact_triggers *t, enum trigger_class class, uint8_t byte, uint8_t bits)
{
    t->classes[class].low[byte & 15] |= bits;
    t->classes[class].high[byte >> 4] |= bits;
}

void redact_triggers_add_number(struct redact_triggers *t, uint8_t first)
{
    for (uint8_t digit = '0'; digit <= '9'; digit++)
        add_exact(t, first, digit);
    t->has_ibans = t->has_ibans || redact_is_upper(first);
}

void redact_triggers_add_key(struct redact_triggers *t, const char *prefix)
{
    const uint8_t *p = (const uint8_t *)prefix;
    bool is_known = t->keys > 0 && t->last_key == p[0];
    t->keys += !is_known;
    t->last_key = p[0];
    uint8_t bit = (uint8_t)(1u << t->keys % KEY_BINS);
    add_exact(t, p[0], p[1]);
    for (int i = 0; i < 3; i++)
        widen(t, (enum trigger_class)(TRIGGER_FIRST + i), p[i], bit);
}

void redact_triggers_add_sign(struct redact_triggers *t, uint8_t second)
{
    for (unsigned first = 0; first < 256; first++) {
        add_exact(t, (uint8_t)first, second);
        widen(t, TRIGGER_BEFORE, (uint8_t)first, OF_SIGN);
    }
    widen(t, TRIGGER_BEHIND, second, OF_SIGN);
}

void redact_triggers_add_assign(struct redact_triggers *t, uint8_t first)
{
    uint8_t bit = (uint8_t)(0x11u << (first >> 5)); /* 2x; 4x, 5x; 6x, 7x */
    for (const char *sign = "=:%"; *sign != '\0'; sign++)
        add_exact(t, first, (uint8_t)*sign);
    widen(t, TRIGGER_BEFORE, first, bit);
    widen(t, TRIGGER_BEHIND, '=', ASSIGN_3);
    widen(t, TRIGGER_BEHIND, ':', ASSIGN_3);
    widen(t, TRIGGER_BEHIND, '%', ASSIGN_2);
}

void redact_triggers_add(struct redact_triggers *t, uint8_t first, uint8_t second)
{
    add_exact(t, first, second);
    widen(t, TRIGGER_BEFORE, first, OF_OTHER);
    widen(t, TRIGGER_BEHIND, second, OF_OTHER);
}

static bool has_vectors(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2");
#else
    return false;
#endif
}

void redact_triggers_init(struct redact_triggers *t)
{
    static const struct {
        uint8_t low_from, low_to, high, bits;
    } words[] = {
        {0, 9, 3, IS_DIGIT},         {1, 15, 4, IS_UPPER & 0x02}, {0, 10, 5, IS_UPPER & 0x04},
        {1, 15, 6, IS_LOWER & 0x08}, {0, 10, 7, IS_LOWER & 0x10}, {15, 15, 5, IS_UNDERSCORE},
    };
    *t = (struct redact_triggers){.is_wide = has_vectors()};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        for (unsigned low = words[i].low_from; low <= words[i].low_to; low++)
            widen(t, TRIGGER_WORD, (uint8_t)(words[i].high << 4 | low), words[i].bits);
}

/* ---- by vectors --------------------------------------------------------- */

#if defined(__x86_64__)
#define WIDE __attribute__((target("avx2"))) static inline
#define VECTOR 32
#define BEHIND 2 /* bytes behind those of a vector that are looked at with them */

/* Of 64 pairs: bit i is about the first or the second of pair i. */
struct pairs {
    uint64_t digit_behind; /* the second is a digit */
    uint64_t word, upper;  /* the first is one */
    uint64_t key, other;   /* may be a trigger by the classes of its bytes */
};

WIDE __m256i of_class(const struct redact_triggers *t, enum trigger_class c, __m256i v)
{
    const __m256i half = _mm256_set1_epi8(15);
    __m256i low = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)t->classes[c].low));
    __m256i high = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)t->classes[c].high));
    __m256i of_low = _mm256_shuffle_epi8(low, _mm256_and_si256(v, half));
    __m256i of_high = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16(v, 4), half));
    return _mm256_and_si256(of_low, of_high);
}

/* Bytes with one of the bits. */
WIDE uint64_t with(__m256i v, uint8_t bits)
{
    __m256i none = _mm256_cmpeq_epi8(_mm256_and_si256(v, _mm256_set1_epi8((char)bits)),
                                     _mm256_setzero_si256());
    return ~(uint32_t)_mm256_movemask_epi8(none);
}

/* The pairs of a vector that begins at `at`, as those of `p` from `place` on; below 0: the first
 * ones are left out. */
WIDE void look(const struct redact_triggers *t, const uint8_t *at, int place, struct pairs *p)
{
    __m256i first = _mm256_loadu_si256((const void *)at);
    __m256i second = _mm256_loadu_si256((const void *)(at + 1));
    __m256i third = _mm256_loadu_si256((const void *)(at + 2));
    __m256i word = of_class(t, TRIGGER_WORD, first);
    __m256i key = _mm256_and_si256(
        of_class(t, TRIGGER_FIRST, first),
        _mm256_and_si256(of_class(t, TRIGGER_SECOND, second), of_class(t, TRIGGER_THIRD, third)));
    __m256i other =
        _mm256_and_si256(of_class(t, TRIGGER_BEFORE, first), of_class(t, TRIGGER_BEHIND, second));
    unsigned left = place < 0 ? (unsigned)-place : 0, shift = place > 0 ? (unsigned)place : 0;
    p->digit_behind |= with(of_class(t, TRIGGER_WORD, second), IS_DIGIT) >> left << shift;
    p->word |= with(word, IS_WORD) >> left << shift;
    p->upper |= with(word, IS_UPPER) >> left << shift;
    p->key |= with(key, 0xff) >> left << shift;
    p->other |= with(other, 0xff) >> left << shift;
}

/* Bit i: one of `digits` from i + n on. Those of the next 64 are `next`. */
static inline uint64_t ahead(uint64_t digits, uint64_t next, unsigned n)
{
    return digits >> n | next << (64 - n);
}

/* Three digits, and then no two others in a row until there are eleven bytes: the least of a card
 * and of a social security number. */
static inline uint64_t long_numbers(uint64_t digits, uint64_t next)
{
    uint64_t found = digits & ahead(digits, next, 1) & ahead(digits, next, 2);
    for (unsigned n = 3; n <= 9; n += 2)
        found &= ahead(digits, next, n) | ahead(digits, next, n + 1);
    return found;
}

/* The last pairs of a text are taken with a vector that ends with it, so that no byte behind it is
 * read. */
WIDE void look_at_block(const struct redact_triggers *t, struct span text, size_t at,
                        struct pairs *p)
{
    size_t n = text.len - BEHIND - at; /* pairs with a third byte */
    if (n >= VECTOR)
        look(t, text.base + at, 0, p);
    if (n >= 2 * VECTOR)
        look(t, text.base + at + VECTOR, VECTOR, p);
    else if (n != VECTOR)
        look(t, text.base + text.len - BEHIND - VECTOR, (int)n - VECTOR, p);
}

/* From its end on, because of a number the bytes behind are asked for. The last pair has no third
 * byte: the exact table has it. */
__attribute__((target("avx2"))) static void look_wide(struct redact_look *l,
                                                      const struct redact_triggers *t)
{
    const struct span text = l->text;
    size_t last = text.len - 2; /* pair */
    uint64_t next = 0;
    l->bits[last / 64 + 1] = 0;
    for (size_t k = last / 64 + 1; k-- > 0;) {
        struct pairs p = {0};
        if (64 * k < last)
            look_at_block(t, text, 64 * k, &p);
        bool word_before = k > 0 && redact_is_word(text.base[64 * k - 1]);
        uint64_t numbers =
            t->has_short_numbers ? p.digit_behind : long_numbers(p.digit_behind, next);
        uint64_t ibans = t->has_ibans ? p.digit_behind & p.upper : 0;
        next = p.digit_behind;
        l->bits[k] = (numbers & ~p.word) | ibans | p.other | (p.key & ~(p.word << 1 | word_before));
    }
    l->bits[last / 64] |= (uint64_t)redact_triggers_has(t, text.base + last) << last % 64;
}
#endif

/* ---- byte by byte -------------------------------------------------------- */

/* No branch, since what the bytes are cannot be predicted. */
static uint64_t find_narrow(const struct redact_triggers *t, const uint8_t *from, size_t n)
{
    uint64_t found = 0;
    size_t i = 0;
#define HAS(k) (uint64_t) redact_triggers_has(t, from + (k))
    for (; i + 4 <= n; i += 4)
        found = found >> 4 | HAS(i) << 60 | HAS(i + 1) << 61 | HAS(i + 2) << 62 | HAS(i + 3) << 63;
    for (; i < n; i++)
        found = found >> 1 | HAS(i) << 63;
#undef HAS
    return found >> (64 - n);
}

void redact_look_at(struct redact_look *l, const struct redact_triggers *t, struct span text)
{
    l->text = (struct span){0};
#if defined(__x86_64__)
    if (!t->is_wide || text.len < VECTOR + BEHIND || text.len > REDACT_LOOK_BYTES)
        return;
    l->text = text;
    look_wide(l, t);
#endif
}

uint64_t redact_look_bits(const struct redact_look *l, const struct redact_triggers *t,
                          struct span text, size_t at)
{
    size_t n = text.len - at - 1 < 64 ? text.len - at - 1 : 64;
    if (l == NULL || !redact_look_knows(l, text))
        return find_narrow(t, text.base + at, n);
    size_t from = (size_t)(text.base - l->text.base) + at;
    unsigned shift = from % 64;
    uint64_t found = l->bits[from / 64] >> shift;
    if (shift > 0)
        found |= l->bits[from / 64 + 1] << (64 - shift);
    if (at == 0) /* what stands before the text is no word of its */
        found |= redact_triggers_has(t, text.base);
    return n < 64 ? found & ((UINT64_C(1) << n) - 1) : found;
}

bool redact_look_clears(const struct redact_look *l, const struct redact_triggers *t,
                        struct span text)
{
    if (text.len < 2)
        return text.len == 0 || !redact_is_digit(text.base[0]);
    if (text.len > 64 || !redact_look_knows(l, text) || redact_is_digit(text.base[0]))
        return false; /* a number may begin with the text, without a pair before it */
    return redact_look_bits(l, t, text, 0) == 0;
}
