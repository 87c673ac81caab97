/*
 * families_state: what families are made of. For the files that implement them.
 */
#pragma once

#include "pattern/families.h"
#include "pattern/family_template.h"
#include "pattern/slots.h"
#include "util/buf.h"
#include "util/token_bucket.h"

#define NO_ALIAS UINT16_MAX
#define FRAME_BITS 65536             /* 8 KiB stay in a core's own cache; see struct frame */
#define LINKS_MAX TEMPLATE_MAX_WORDS /* each loses a word; only forged hashes could make a ring */

struct known {
    struct slot slot; /* key: the signature */
    uint16_t word;    /* counted from the left, its hole became a variable; NO_ALIAS */
    uint8_t template_len;
    uint32_t generation; /* of `family` */
    uint64_t to;         /* what it became then */
    uint64_t family;     /* and in the end: the chain's, looked up once a generation */
    uint64_t since_ns;
    char *template_text; /* of generalised ones */
};

struct hole {
    struct slot slot; /* key: template_hole() */
    bool fired;
    uint8_t weight, count;
    union {
        uint64_t family; /* when fired: what its members became */
        uint64_t first;  /* until then: their signatures; most keys only ever have this one */
    };
    uint64_t *others;
};

/* Hashes of an identity's first and last part, 0 for the one with the hole. A line that has
 * no frame in common with any fired key matches none, and need not be taken apart. */
struct frame {
    uint64_t first, last;
};

struct families {
    struct families_opts opts;
    struct slots known, holes;
    uint32_t generation, aliases;
    uint64_t now_ns;
    struct token_bucket learning; /* where that is limited */
    uint64_t put_off;
    bool is_put_off;                  /* the last one */
    uint64_t frames[FRAME_BITS / 64]; /* a bit for each that a key fired with; none is taken back */
    struct buf queue; /* of identities, each behind its length; [read, len) is to be done */
    size_t read;
    struct buf shown;
    struct template template;
};
