/*
 * signature_classes_kernel: the classes of one block of 64 bytes, with vectors of VECTOR_BYTES.
 * No header like others: signature_classes.c includes it once for each width, with
 *     KERNEL(name)   the names here, made unlike those of another width
 *     MOVEMASK(v)    the highest bit of each byte of v
 */
typedef uint8_t KERNEL(vector) __attribute__((vector_size(VECTOR_BYTES)));

KERNEL_TARGET static inline KERNEL(vector) KERNEL(load)(const uint8_t *at)
{
    KERNEL(vector) v;
    memcpy(&v, at, sizeof v);
    return v;
}

/* From `first` on, `count` bytes; all 0xff where it holds. */
KERNEL_TARGET static inline KERNEL(vector) KERNEL(within)(KERNEL(vector) v, uint8_t first, uint8_t count)
{
    return (KERNEL(vector))((v - first) <= (KERNEL(vector)){} + (uint8_t)(count - 1));
}

KERNEL_TARGET static inline KERNEL(vector) KERNEL(is)(KERNEL(vector) v, uint8_t byte)
{
    return (KERNEL(vector))(v == byte);
}

KERNEL_TARGET static void KERNEL(block)(const uint8_t *s, struct class_block *out)
{
    struct class_block b = {0};
    uint64_t same = 0;
    for (unsigned at = 0; at < 64; at += VECTOR_BYTES) {
        KERNEL(vector) v = KERNEL(load)(s + at);
        KERNEL(vector) digit = KERNEL(within)(v, '0', 10);
        KERNEL(vector) letter = KERNEL(within)(v | 0x20, 'a', 26);
        KERNEL(vector) space = KERNEL(is)(v, ' ') | KERNEL(within)(v, '\t', 5);
        KERNEL(vector) separator =
            KERNEL(within)(v, ':', 5) /* : ; < = > */ | KERNEL(within)(v, '\'', 3) /* ' ( ) */ |
            KERNEL(within)(v, '{', 3) /* { | } */ | KERNEL(is)(v, '"') | KERNEL(is)(v, ',') |
            KERNEL(is)(v, '`') | KERNEL(is)(v, '[') | KERNEL(is)(v, ']');
        KERNEL(vector) escape =
            KERNEL(is)(v, 0x1b) | KERNEL(is)(v, '\\') | KERNEL(is)(v, '^') | KERNEL(is)(v, '#');
        KERNEL(vector) again = (KERNEL(vector))(v == KERNEL(load)(s + at + 1)) &
                               (KERNEL(vector))(v == KERNEL(load)(s + at + 2));
        b.digit |= (uint64_t)MOVEMASK(digit) << at;
        b.wide |= (uint64_t)MOVEMASK(v) << at;
        b.stop |= (uint64_t)MOVEMASK(space | separator) << at;
        b.odd |= (uint64_t)MOVEMASK(~(digit | letter | KERNEL(is)(v, '_'))) << at;
        b.escape |= (uint64_t)MOVEMASK(escape) << at;
        same |= (uint64_t)MOVEMASK(again) << at;
    }
    b.run = runs_among(s, same & ~b.wide);
    b.stop |= b.run | b.wide;
    b.odd &= ~b.stop;
    *out = b;
}
