/*
 * signature_state: what a signer holds, and the texts that it takes apart. For the files that
 * implement the signature.
 */
#pragma once

#include "pattern/signature_identity.h"
#include "pattern/signature_map.h"

#define SIGN_MAX_DEPTH 3 /* of maps in the message of a map; deeper ones are text */

struct signer {
    struct line line;
    struct map map; /* the one that was read last */
    struct scratch scratch;
    struct identity identity;
};

/* A text in its parts: the first line, and what follows it. */
struct text {
    struct span head, rest;
    bool is_single; /* there is no line behind the first */
};

/* signature.c: without the white space around it, and what is beyond the limit of a body. */
struct text text_split(struct span body);

/* Without white space of ASCII at both ends. */
static inline struct span text_strip(struct span s)
{
    while (s.len > 0 && (s.base[0] == ' ' || (s.base[0] >= '\t' && s.base[0] <= '\r')))
        s = span_skip(s, 1);
    while (s.len > 0 &&
           (s.base[s.len - 1] == ' ' || (s.base[s.len - 1] >= '\t' && s.base[s.len - 1] <= '\r')))
        s.len--;
    return s;
}
