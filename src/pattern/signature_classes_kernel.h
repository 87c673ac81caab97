/*
 * signature_classes_kernel: the classes of blocks of 64 bytes, with vectors of VECTOR_BYTES.
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

struct KERNEL(found) {
    KERNEL(vector) stop, digit, word; /* word: a letter or underscore */
    KERNEL(vector) run;               /* may be of a run: all bytes that are, and some others */
    KERNEL(vector) escape, question;
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
        .run = (KERNEL(vector))(((a & MAY_RUN) | (b & IS_UNDERSCORE)) > 0),
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
        .run = KERNEL(within)(v, '*', 5) /* * + , - . */ | KERNEL(is)(v, '_') | KERNEL(is)(v, '#') |
               KERNEL(is)(v, '~') | KERNEL(is)(v, '='),
        .escape =
            KERNEL(is)(v, 0x1b) | KERNEL(is)(v, '\\') | KERNEL(is)(v, '^') | KERNEL(is)(v, '#'),
        .question = KERNEL(is)(v, '?'),
    };
}
#endif

struct KERNEL(block) {
    struct class_block bits;
    KERNEL(vector) escape, question;
};

/* The bytes of v from `drop` on are those of the block from `at` on. */
KERNEL_TARGET static inline __attribute__((always_inline)) void
KERNEL(add)(struct KERNEL(block) * b, KERNEL(vector) v, unsigned drop, size_t at)
{
    struct KERNEL(found) f = KERNEL(find)(v);
    b->bits.stop |= (uint64_t)(MOVEMASK(f.stop) >> drop) << at;
    b->bits.run |= (uint64_t)(MOVEMASK(f.run) >> drop) << at;
    b->bits.digit |= (uint64_t)(MOVEMASK(f.digit) >> drop) << at;
    b->bits.word |= (uint64_t)(MOVEMASK(f.word) >> drop) << at;
    b->bits.wide |= (uint64_t)(MOVEMASK(v) >> drop) << at;
    b->escape |= f.escape;
    b->question |= f.question;
}

KERNEL_TARGET static inline __attribute__((always_inline)) void
KERNEL(put)(struct KERNEL(block) * b, size_t n, struct classes *out)
{
    b->bits.escape = MOVEMASK(~(KERNEL(vector))(b->escape == 0));
    b->bits.question = MOVEMASK(~(KERNEL(vector))(b->question == 0));
    put_block(out, n, &b->bits);
}

/* All blocks, the last of which may be empty. What is copied is not read back: bytes that were
 * just stored in pieces of another size are slow to load. */
KERNEL_TARGET static void KERNEL(blocks)(uint8_t *to, const uint8_t *from, size_t n,
                                         struct classes *out)
{
    KERNEL(vector) v;
    size_t k = 0, at;
    for (; 64 * k + 64 <= n; k++) {
        struct KERNEL(block) b = {0};
        for (at = 0; at < 64; at += VECTOR_BYTES) {
            v = KERNEL(load)(from + 64 * k + at);
            memcpy(to + 64 * k + at, &v, sizeof v);
            KERNEL(add)(&b, v, 0, at);
        }
        KERNEL(put)(&b, k, out);
    }
    struct KERNEL(block) b = {0};
    for (at = 0; 64 * k + at + VECTOR_BYTES <= n; at += VECTOR_BYTES) {
        v = KERNEL(load)(from + 64 * k + at);
        memcpy(to + 64 * k + at, &v, sizeof v);
        KERNEL(add)(&b, v, 0, at);
    }
    size_t left = n - (64 * k + at);
    if (left > 0 && n >= VECTOR_BYTES) { /* a vector that ends with the text */
        v = KERNEL(load)(from + n - VECTOR_BYTES);
        memcpy(to + n - VECTOR_BYTES, &v, sizeof v);
        KERNEL(add)(&b, v, VECTOR_BYTES - (unsigned)left, at);
    } else if (left > 0) {
        v = (KERNEL(vector)){0};
        memcpy(&v, from, left);
        memcpy(to, &v, left);
        KERNEL(add)(&b, v, 0, at);
    }
    KERNEL(put)(&b, k, out);
}
