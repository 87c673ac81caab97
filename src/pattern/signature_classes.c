/* signature_classes: one kernel, built for each width of vectors. */
#include "pattern/signature_classes.h"

#include <string.h>

/* Of three of the same byte: do they make a run? */
static uint64_t runs_among(const uint8_t *s, uint64_t same)
{
    uint64_t run = 0;
    for (; same != 0; same &= same - 1) {
        int i = __builtin_ctzll(same);
        if (s[i] != 0 && strchr(".-*_#~+=", s[i]) != NULL)
            run |= UINT64_C(1) << i;
    }
    return run;
}

/* Byte by byte, to hold the others against. */
static void block_1(const uint8_t *s, struct class_block *out)
{
    struct class_block b = {0};
    uint64_t same = 0;
    for (unsigned i = 0; i < 64; i++) {
        uint64_t bit = UINT64_C(1) << i;
        uint8_t c = s[i], low = c | 0x20;
        bool digit = c >= '0' && c <= '9', letter = low >= 'a' && low <= 'z';
        if (c != 0 && strchr(" \t\n\v\f\r=,;:|()[]{}<>\"'`", c) != NULL)
            b.stop |= bit;
        if (c != 0 && strchr("\x1b\\^#", c) != NULL)
            b.escape |= bit;
        b.digit |= digit ? bit : 0;
        b.odd |= digit || letter || c == '_' ? 0 : bit;
        b.wide |= c >= 0x80 ? bit : 0;
        same |= c == s[i + 1] && c == s[i + 2] ? bit : 0;
    }
    b.run = runs_among(s, same & ~b.wide);
    b.stop |= b.run | b.wide;
    b.odd &= ~b.stop;
    *out = b;
}

#if defined(__x86_64__)
typedef char signed_16 __attribute__((vector_size(16)));
typedef char signed_32 __attribute__((vector_size(32)));

#define VECTOR_BYTES 16
#define KERNEL(name) name##_16
#define KERNEL_TARGET
#define MOVEMASK(v) (uint32_t)__builtin_ia32_pmovmskb128((signed_16)(v))
#include "pattern/signature_classes_kernel.h"
#undef VECTOR_BYTES
#undef KERNEL
#undef KERNEL_TARGET
#undef MOVEMASK

#define VECTOR_BYTES 32
#define KERNEL(name) name##_32
#define KERNEL_TARGET __attribute__((target("avx2")))
#define MOVEMASK(v) (uint32_t)__builtin_ia32_pmovmskb256((signed_32)(v))
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

#define VECTOR_BYTES 16
#define KERNEL(name) name##_16
#define KERNEL_TARGET
#define MOVEMASK(v) movemask_any((places_16)(v))
#include "pattern/signature_classes_kernel.h"
#endif

typedef void block_fn(const uint8_t *s, struct class_block *out);

/* NULL: not on this machine. */
static block_fn *block_of_width(unsigned width)
{
#if defined(__x86_64__)
    if (width == 32 && __builtin_cpu_supports("avx2"))
        return block_32;
#endif
    return width == 16 ? block_16 : width == 1 ? block_1 : NULL;
}

static void find(block_fn *block, const uint8_t *s, size_t n, struct class_block *out)
{
    size_t blocks = n / 64 + 1; /* the last holds the end */
    for (size_t i = 0; i < blocks; i++)
        block(s + 64 * i, &out[i]);
    out[blocks - 1].stop |= ~UINT64_C(0) << n % 64;
    out[blocks] = (struct class_block){.stop = ~UINT64_C(0)};
}

bool classes_find_with(unsigned width, const uint8_t *s, size_t n, struct class_block *out)
{
    block_fn *block = block_of_width(width);
    if (block == NULL)
        return false;
    find(block, s, n, out);
    return true;
}

void classes_find(const uint8_t *s, size_t n, struct class_block *out)
{
    static block_fn *widest; /* the same for all threads, whoever writes it */
    block_fn *block = __atomic_load_n(&widest, __ATOMIC_RELAXED);
    if (block == NULL) {
        static const uint8_t widths[] = {32, 16};
        for (size_t i = 0; block == NULL; i++)
            block = block_of_width(widths[i]);
        __atomic_store_n(&widest, block, __ATOMIC_RELAXED);
    }
    find(block, s, n, out);
}
