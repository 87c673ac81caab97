/*
 * signature_identity: the bytes a signature is the hash of, being put together,
 * and the makers of their parts. For the files that implement the signature.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "pattern/signature.h"
#include "pattern/signature_line.h"

#define PART_SEPARATOR 0x02

/* What a part that is no text begins with. */
#define PART_VARIABLE 0x01
#define PART_KIND 0x05  /* of a body without a message */
#define PART_TRACE 0x06 /* of a stack trace */
#define PART_LEVEL 0x07
#define PART_TYPE 0x08 /* of an error */

struct identity {
    size_t len;
    bool begun; /* the next part needs a separator */
    uint8_t bytes[SIGN_MAX_IDENTITY_BYTES + LINE_EMIT_BYTES];
};

/* Append to the part at hand. Bytes past the limit are left out. */
static inline void identity_add(struct identity *id, struct span s)
{
    size_t room = id->len < SIGN_MAX_IDENTITY_BYTES ? SIGN_MAX_IDENTITY_BYTES - id->len : 0;
    size_t len = s.len < room ? s.len : room;
    if (len > 0)
        memcpy(id->bytes + id->len, s.base, len);
    id->len += len;
}

static inline void identity_add_byte(struct identity *id, uint8_t byte)
{
    identity_add(id, span_of(&byte, 1));
}

static inline void identity_begin_part(struct identity *id)
{
    if (id->begun)
        identity_add_byte(id, PART_SEPARATOR);
    id->begun = true;
}

static inline void identity_add_part(struct identity *id, struct span part)
{
    identity_begin_part(id);
    identity_add(id, part);
}

/* A part with its mark before it. */
static inline void identity_add_marked(struct identity *id, uint8_t mark, struct span part)
{
    identity_begin_part(id);
    identity_add_byte(id, mark);
    identity_add(id, part);
}

/* signature_trace.c: the parts of the lines below a first line. */
void trace_sign(struct identity *id, struct span lines);

/* ---- signature_access.c ------------------------------------------------- */

/* A line of an access log; words are looked up, so it lies in a struct line. */
bool access_is(const struct words *w, struct span line);

/* Put its parts. False: it is none. */
bool access_sign(const struct words *w, struct identity *id, struct span line);

enum route { ROUTE_NONE, ROUTE_NO_WORD, ROUTE_WORD };

/* Put the parts of a request's target, and say whether a word is among them. */
enum route route_sign(struct identity *id, struct span target);

/* The first word of a line that begins with / or holds ://; empty when there is none. */
struct span route_in(struct span line);
