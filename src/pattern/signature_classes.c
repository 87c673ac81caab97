/* signature_classes: one kernel, built for each width of vectors. */
#include "pattern/signature_classes.h"

#include <string.h>

struct class_block {
    uint64_t stop, run, digit, word, wide;
    uint64_t escape, question; /* not 0: there is one */
};

/* Runs are found when all blocks are there: run has what may be of one until then. */
static inline void put_block(struct classes *out, size_t n, const struct class_block *b)
{
    uint64_t stop = b->stop | b->wide;
    out->stop[n] = stop;
    out->run[n] = b->run;
    out->digit[n] = b->digit;
    out->odd[n] = ~(stop | b->digit | b->word);
    out->wide[n] = b->wide;
    out->may_escape |= b->escape != 0;
    out->has_question |= b->question != 0;
}

/* ---- by halves of a byte ------------------------------------------------- */

#define IS_STOP 0x3f
#define IS_DIGIT 0x80
#define MAY_RUN 0x40
#define IS_WORD 0x07
#define IS_UNDERSCORE 0x04
#define IS_ESCAPE 0x38
#define IS_QUESTION 0x40

struct halves {
    uint8_t of_stop[16], of_word[16];
};

/* clang-format off */
/* of_stop: 01 tab to CR; 02 in 2x; 04 in 3x; 08 [ ] { }; 10 |; 20 `; 40 # * + - . = ~ and the
 * other bytes of 2x, 3x and 7x in their columns; 80 digits.
 * of_word: 01 in 4x, 6x; 02 in 5x, 7x; 04 _; 08 \ ^; 10 ESC; 20 #; 40 ?. */
static const struct halves by_low = {
    {[0] = 0xa2, [1] = 0x80, [2] = 0x82, [3] = 0xc0, [4 ... 6] = 0x80, [7 ... 8] = 0x82,
     [9] = 0x83, [0xa] = 0x45, [0xb] = 0x4d, [0xc] = 0x17, [0xd] = 0x4d, [0xe] = 0x44},
    {[0] = 0x02, [1 ... 2] = 0x03, [3] = 0x23, [4 ... 0xa] = 0x03, [0xb] = 0x11, [0xc] = 0x09,
     [0xd] = 0x01, [0xe] = 0x09, [0xf] = 0x45},
};
static const struct halves by_high = {
    {[0] = 0x01, [2] = 0x42, [3] = 0xc4, [5] = 0x08, [6] = 0x20, [7] = 0x58},
    {[1] = 0x10, [2] = 0x20, [3] = 0x40, [4] = 0x01, [5] = 0x0e, [6] = 0x01, [7] = 0x02},
};
/* clang-format on */

static inline bool is_of_run(uint8_t c)
{
    static const bool of_run[256] = {
        ['.'] = true, ['-'] = true, ['*'] = true, ['_'] = true,
        ['#'] = true, ['~'] = true, ['+'] = true, ['='] = true,
    };
    return of_run[c];
}

/* Byte by byte, to hold the others against. */
static void block_1(const uint8_t *s, size_t len, size_t n, struct classes *out)
{
    struct class_block b = {0};
    for (size_t i = 0; i < len; i++) {
        uint64_t bit = UINT64_C(1) << i;
        uint8_t c = s[i], low = c | 0x20;
        bool digit = c >= '0' && c <= '9', letter = low >= 'a' && low <= 'z';
        if (c != 0 && strchr(" \t\n\v\f\r=,;:|()[]{}<>\"'`", c) != NULL)
            b.stop |= bit;
        if (c != 0 && strchr("\x1b\\^#", c) != NULL)
            b.escape |= bit;
        b.question |= c == '?' ? bit : 0;
        b.digit |= digit ? bit : 0;
        b.word |= letter || c == '_' ? bit : 0;
        b.wide |= c >= 0x80 ? bit : 0;
        b.run |= is_of_run(c) ? bit : 0;
    }
    put_block(out, n, &b);
}

static void blocks_1(uint8_t *to, const uint8_t *from, size_t n, struct classes *out)
{
    memmove(to, from, n);
    for (size_t k = 0; k <= n / 64; k++)
        block_1(to + 64 * k, n - 64 * k < 64 ? n - 64 * k : 64, k, out);
}

#if defined(__x86_64__)
typedef char signed_16 __attribute__((vector_size(16)));
typedef char signed_32 __attribute__((vector_size(32)));

#define VECTOR_BYTES 16
#define KERNEL(name) name##_16
#define KERNEL_TARGET
#define MOVEMASK(v) (uint32_t) __builtin_ia32_pmovmskb128((signed_16)(v))
#include "pattern/signature_classes_kernel.h"
#undef VECTOR_BYTES
#undef KERNEL
#undef KERNEL_TARGET
#undef MOVEMASK

/* Each half has the table. Put together in memory, it would be slow to load. */
__attribute__((target("avx2"))) static inline signed_32 lookup_32(const uint8_t table[16],
                                                                  signed_32 at)
{
    signed_16 once;
    memcpy(&once, table, sizeof once);
    signed_32 twice =
        __builtin_shufflevector(once, once, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0,
                                1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return __builtin_ia32_pshufb256(twice, at);
}

#define LOOKUP(table, at) (vector_32) lookup_32((table), (signed_32)(at))
#define VECTOR_BYTES 32
#define KERNEL(name) name##_32
#define KERNEL_TARGET __attribute__((target("avx2")))
#define MOVEMASK(v) (uint32_t) __builtin_ia32_pmovmskb256((signed_32)(v))
#include "pattern/signature_classes_kernel.h"

#else

/* NEON and others have none: each byte keeps the bit of its place, and the product adds up
 * the bytes of a half in its highest one. */
typedef uint8_t places_16 __attribute__((vector_size(16)));
static inline uint32_t movemask_any(places_16 v)
{
    static const places_16 places = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint64_t half[2];
    v = (places_16)(v >= 0x80) & places;
    memcpy(half, &v, sizeof half);
    return (uint32_t)(half[0] * 0x0101010101010101u >> 56) |
           (uint32_t)(half[1] * 0x0101010101010101u >> 56) << 8;
}

static inline places_16 lookup_any(const uint8_t table[16], places_16 at)
{
    places_16 t;
    memcpy(&t, table, sizeof t);
#ifdef __clang__
    for (unsigned i = 0; i < 16; i++)
        at[i] = t[at[i] & 15];
    return at;
#else
    return __builtin_shuffle(t, at);
#endif
}

#define LOOKUP(table, at) (vector_16) lookup_any((table), (places_16)(at))
#define VECTOR_BYTES 16
#define KERNEL(name) name##_16
#define KERNEL_TARGET
#define MOVEMASK(v) movemask_any((places_16)(v))
#include "pattern/signature_classes_kernel.h"
#endif

typedef void blocks_fn(uint8_t *to, const uint8_t *from, size_t n, struct classes *out);

/* NULL: not on this machine. */
static blocks_fn *blocks_of_width(unsigned width)
{
#if defined(__x86_64__)
    if (width == 32 && __builtin_cpu_supports("avx2"))
        return blocks_32;
#endif
    return width == 16 ? blocks_16 : width == 1 ? blocks_1 : NULL;
}

/* Of three bytes in a row that may be of a run, those that are one. */
static uint64_t runs_in(const uint8_t *block, uint64_t found)
{
    uint64_t runs = 0;
    for (; found != 0; found &= found - 1) {
        const uint8_t *at = block + __builtin_ctzll(found);
        if (at[0] == at[1] && at[0] == at[2] && is_of_run(at[0]))
            runs |= found & -found;
    }
    return runs;
}

static void find(blocks_fn *blocks, uint8_t *to, const uint8_t *from, size_t n, struct classes *out)
{
    size_t last = n / 64; /* it holds the end */
    out->may_escape = out->has_question = false;
    blocks(to, from, n, out);
    memset(to + n, 0, CLASS_SLACK);
    uint64_t behind = ~UINT64_C(0) << n % 64;
    out->stop[last] |= behind;
    out->odd[last] &= ~behind;
    out->stop[last + 1] = ~UINT64_C(0);
    out->run[last + 1] = out->digit[last + 1] = out->odd[last + 1] = 0;
    out->odd_or_digit[last + 1] = out->wide[last + 1] = 0;
    for (size_t k = 0; k <= last; k++) {
        uint64_t may = out->run[k], next = out->run[k + 1];
        uint64_t found = may & (may >> 1 | next << 63) & (may >> 2 | next << 62);
        out->run[k] = found != 0 ? runs_in(to + 64 * k, found) : 0;
        out->stop[k] |= out->run[k];
        out->odd[k] &= ~out->run[k];
        out->odd_or_digit[k] = out->odd[k] | out->digit[k];
    }
}

bool classes_copy_with(unsigned width, uint8_t *to, const uint8_t *from, size_t n,
                       struct classes *out)
{
    blocks_fn *blocks = blocks_of_width(width);
    if (blocks == NULL)
        return false;
    find(blocks, to, from, n, out);
    return true;
}

void classes_copy(uint8_t *to, const uint8_t *from, size_t n, struct classes *out)
{
    static blocks_fn *widest; /* the same for all threads, whichever writes it */
    blocks_fn *blocks = __atomic_load_n(&widest, __ATOMIC_RELAXED);
    if (blocks == NULL) {
        static const uint8_t widths[] = {32, 16};
        for (size_t i = 0; blocks == NULL; i++)
            blocks = blocks_of_width(widths[i]);
        __atomic_store_n(&widest, blocks, __ATOMIC_RELAXED);
    }
    find(blocks, to, from, n, out);
}
