/*
 * signature_identity: the bytes a signature is the hash of, being put together,
 * and the makers of their parts. For the files that implement the signature.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "otlp/json_object.h"
#include "pattern/signature.h"
#include "pattern/signature_line.h"

#define PART_SEPARATOR 0x02
#define PART_VARIABLE 0x01
#define PART_MESSAGE 0x04
#define PART_KEYS 0x05
#define PART_TRACE 0x06
#define PART_KIND 0x07

struct identity {
    size_t len;
    bool begun; /* the next part needs a separator */
    uint8_t bytes[SIGN_MAX_IDENTITY_BYTES + LINE_EMIT_BYTES];
};

/* Members of the map being signed; their spans die with the map's bytes. */
struct members {
    uint32_t count;
    struct json_member list[SIGN_MAX_MEMBERS];
    struct span keys[SIGN_MAX_MEMBERS]; /* for sorting */
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

/* signature_trace.c: the parts of the lines below a first line. */
void trace_sign(struct identity *id, struct span lines);

/* signature_record.c */

/* Collect a member; for json_object_visit(), with a struct members. */
bool members_add(void *members, const struct json_member *member);

/* Collect those of an encoded KeyValueList, up to its end or its damage. */
void members_read_kvlist(struct members *m, struct span kvlist);

/* Put the parts of a map. Returns the message, whose parts come next; empty
 * when it has none. */
struct span members_sign(struct members *m, struct identity *id);

/* Write the text of the first elements of an encoded ArrayValue to out, at
 * most max bytes. Returns their number. */
size_t array_text(struct span array, uint8_t *out, size_t max);
