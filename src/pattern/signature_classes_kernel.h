/*
 * signature_classes_kernel: the classes of one block of 64 bytes, with vectors of VECTOR_BYTES.
 * No header like others: signature_classes.c includes it once for each width, with
 *     KERNEL(name)   the names here, made unlike those of another width
 *     MOVEMASK(v)    the highest bit of each byte of v
 *     LOOKUP(t, i)   where there is one: for each byte of i, below 16, that byte of the table t
 */
typedef uint8_t KERNEL(vector) __attribute__((vector_size(VECTOR_BYTES)));

KERNEL_TARGET static inline KERNEL(vector) KERNEL(load)(const uint8_t *at)
{
    KERNEL(vector) v;
    memcpy(&v, at, sizeof v);
    return v;
}

/* From `first` on, `count` bytes; all 0xff where it holds. */
KERNEL_TARGET static inline KERNEL(vector)
    KERNEL(within)(KERNEL(vector) v, uint8_t first, uint8_t count)
{
    return (KERNEL(vector))((v - first) <= (KERNEL(vector)){} + (uint8_t)(count - 1));
}

KERNEL_TARGET static inline KERNEL(vector) KERNEL(is)(KERNEL(vector) v, uint8_t byte)
{
    return (KERNEL(vector))(v == byte);
}

KERNEL_TARGET static inline KERNEL(vector) KERNEL(is_run)(KERNEL(vector) v)
{
    return KERNEL(is)(v, '.') | KERNEL(is)(v, '-') | KERNEL(is)(v, '*') | KERNEL(is)(v, '_') |
           KERNEL(is)(v, '#') | KERNEL(is)(v, '~') | KERNEL(is)(v, '+') | KERNEL(is)(v, '=');
}

struct KERNEL(found) {
    KERNEL(vector) stop, digit, word, escape, question; /* word: a letter or underscore */
};

#ifdef LOOKUP
/* What a byte is, is what both of its halves may be. */
KERNEL_TARGET static inline struct KERNEL(found) KERNEL(find)(KERNEL(vector) v)
{
    KERNEL(vector) low = v & 0x0f, high = v >> 4;
    KERNEL(vector) a = LOOKUP(by_low.of_stop, low) & LOOKUP(by_high.of_stop, high);
    KERNEL(vector) b = LOOKUP(by_low.of_word, low) & LOOKUP(by_high.of_word, high);
    return (struct KERNEL(found)){
        .stop = (KERNEL(vector))((a & IS_STOP) > 0),
        .digit = a, /* IS_DIGIT is the highest bit */
        .word = (KERNEL(vector))((b & IS_WORD) > 0),
        .escape = b & IS_ESCAPE,
        .question = b & IS_QUESTION,
    };
}
#else
KERNEL_TARGET static inline struct KERNEL(found) KERNEL(find)(KERNEL(vector) v)
{
    KERNEL(vector)
    separator = KERNEL(within)(v, ':', 5) /* : ; < = > */ | KERNEL(within)(v, '\'', 3) /* ' ( ) */ |
                KERNEL(within)(v, '{', 3) /* { | } */ | KERNEL(is)(v, '"') | KERNEL(is)(v, ',') |
                KERNEL(is)(v, '`') | KERNEL(is)(v, '[') | KERNEL(is)(v, ']');
    return (struct KERNEL(found)){
        .stop = separator | KERNEL(is)(v, ' ') | KERNEL(within)(v, '\t', 5),
        .digit = KERNEL(within)(v, '0', 10),
        .word = KERNEL(within)(v | 0x20, 'a', 26) | KERNEL(is)(v, '_'),
        .escape =
            KERNEL(is)(v, 0x1b) | KERNEL(is)(v, '\\') | KERNEL(is)(v, '^') | KERNEL(is)(v, '#'),
        .question = KERNEL(is)(v, '?'),
    };
}
#endif

/* The n-th block, which s points at. */
KERNEL_TARGET static inline __attribute__((always_inline)) void
KERNEL(block)(const uint8_t *s, size_t n, struct classes *out)
{
    struct class_block b = {0};
    KERNEL(vector) escape = {0}, question = {0};
    for (unsigned at = 0; at < 64; at += VECTOR_BYTES) {
        KERNEL(vector) v = KERNEL(load)(s + at);
        struct KERNEL(found) f = KERNEL(find)(v);
        KERNEL(vector)
        again = (KERNEL(vector))(v == KERNEL(load)(s + at + 1)) &
                (KERNEL(vector))(v == KERNEL(load)(s + at + 2));
        if (MOVEMASK(again) != 0) /* rarely */
            b.run |= (uint64_t)MOVEMASK(again & KERNEL(is_run)(v)) << at;
        b.stop |= (uint64_t)MOVEMASK(f.stop) << at;
        b.digit |= (uint64_t)MOVEMASK(f.digit) << at;
        b.word |= (uint64_t)MOVEMASK(f.word) << at;
        b.wide |= (uint64_t)MOVEMASK(v) << at;
        escape |= f.escape;
        question |= f.question;
    }
    b.escape = MOVEMASK(~(KERNEL(vector))(escape == 0));
    b.question = MOVEMASK(~(KERNEL(vector))(question == 0));
    put_block(out, n, &b);
}

/* One function for all blocks, so that tables stay in registers. */
KERNEL_TARGET static void KERNEL(blocks)(const uint8_t *s, size_t count, struct classes *out)
{
    for (size_t n = 0; n < count; n++)
        KERNEL(block)(s + 64 * n, n, out);
}
