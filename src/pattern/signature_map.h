/*
 * signature_map: what a map says of itself, whether it came as OTLP, as JSON or as
 * key=value pairs: a level, a type, a message, names.
 *
 * Keys count in any case of (ASCII) letters and two levels deep: b in a map a is a.b. The
 * model fills a dictionary: of members with the very same key the last counts, and stands
 * where the first stood; then of keys that are the same in lower case the last counts. Nearly
 * no map has such members, so values go to their slots as they come; only when a slot is hit
 * twice is the map gone through again, in that order.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pattern/signature.h"
#include "pattern/signature_words.h"
#include "util/span.h"

/* The keys that mean something, by what they mean; of one kind the first that is there counts.
 * MAP_TEMPLATE are all keys of message templates: of these the first in the map counts. */
enum map_slot {
    MAP_MESSAGE = 0,
    MAP_EVENT = 23,
    MAP_CODE = 26,
    MAP_SCOPE = 31,
    MAP_TYPE = 35,
    MAP_LEVEL = 40,
    MAP_SYSLOG = 52,
    MAP_TEMPLATE = 55,
    MAP_SLOTS,
    MAP_NO_SLOT = 255,
};

#define MAP_EVENT_NAME (MAP_EVENT + 1)    /* event.name */
#define MAP_EXCEPTION_TYPE (MAP_TYPE + 0) /* exception.type */
#define MAP_OTEL_SCOPE_NAME (MAP_SCOPE + 0)

#define MAP_MAX_NAMES 64 /* of a map that is signed by its keys; and of logfmt */
#define MAP_MAX_OUTERS 8
#define MAP_MAX_TEMPLATES 32
#define MAP_INDEX_SLOTS 2048

/* What is unescaped, and kept until the whole record is signed. Every map's text fits once;
 * they lie in each other at most four deep. */
#define SCRATCH_BYTES (9 * SIGN_MAX_BODY_BYTES)

struct scratch {
    size_t used;
    uint8_t bytes[SCRATCH_BYTES];
};

/* Room for `len` bytes; NULL: there is no more. */
uint8_t *scratch_take(struct scratch *s, size_t len);

enum map_kind {
    MAP_OTHER, /* null, booleans, arrays, bytes */
    MAP_OBJECT,
    MAP_STRING,
    MAP_ESCAPED, /* a string of JSON, with its escapes */
    MAP_NUMBER,  /* of JSON, as written */
    MAP_INT,
    MAP_DOUBLE,
};

struct map_value {
    enum map_kind kind;
    struct span text;
    union {
        int64_t integer;
        double real;
    };
};

struct map_member {
    struct span key; /* unescaped */
    uint16_t outer;  /* the member it is in, from 1; 0: none */
    uint8_t slot;
    struct map_value value;
};

struct map {
    struct scratch *scratch;
    uint64_t found; /* bit n: slots[n] is valid */
    bool again;     /* a slot was hit twice */
    uint32_t count, outers;
    uint16_t outer[MAP_MAX_OUTERS]; /* members that hold some with a slot */
    struct map_value slots[MAP_SLOTS];
    struct map_member members[SIGN_MAX_MEMBERS];              /* of inner ones those with a slot */
    uint16_t first[SIGN_MAX_MEMBERS], last[SIGN_MAX_MEMBERS]; /* with the same key, from 1 */
    uint16_t index[MAP_INDEX_SLOTS];
};

/* ---- filling: map_begin(), any number of map_add(), map_end() ------------ */

void map_begin(struct map *m);

/* Returns the member's number, for what is in it; 0: it is not kept. `outer` may be 0. */
uint32_t map_add(struct map *m, uint32_t outer, struct span key, const struct map_value *value);

void map_end(struct map *m);

/* The slot of a key in a map of that name (empty: in none). */
uint8_t map_slot_of(struct span outer, struct span key);

/* An encoded KeyValueList, or the attributes of an encoded LogRecord. */
void map_read_kvlist(struct map *m, struct span kvlist);
void map_read_attributes(struct map *m, struct span record);

/* signature_json.c: a text that is one JSON object. False: it is none. */
bool map_read_json(struct map *m, struct span text);

/* Unescape what stood between the quotes. */
struct span json_unescape(struct scratch *scratch, struct span raw);

/* signature_logfmt.c: key=value key="a b" ... and nothing else, two pairs at least. */
bool map_read_logfmt(struct map *m, struct span line);

/* ---- asking -------------------------------------------------------------- */

/* The level that it names. */
enum sign_level map_level(struct map *m, const struct words *w);

/* A string that is not empty, in this slot; NULL base: there is none. */
struct span map_text(struct map *m, unsigned slot);

/* The first such of the slots from..to. */
struct span map_first_text(struct map *m, unsigned from, unsigned to);

/* The template or message, whatever is not blank; NULL base: there is none. */
struct span map_template(struct map *m);
struct span map_message(struct map *m);

/* The first 64 different keys of the map itself, sorted. Returns their number. */
uint32_t map_names(const struct map *m, struct span names[MAP_MAX_NAMES]);
