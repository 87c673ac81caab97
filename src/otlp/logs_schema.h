/*
 * logs_schema: the messages of a log request as a table, for logs_check.c and mend.c, which walk
 * them: what to do with a field, by message and tag byte.
 */
#pragma once

#include <stdint.h>

#include "util/span.h"

enum message {
    REQUEST,
    RESOURCE_LOGS,
    RESOURCE,
    ENTITY_REF,
    SCOPE_LOGS,
    SCOPE,
    RECORD,
    KEY_VALUE,
    ANY_VALUE,
    ARRAY_VALUE,
    KEY_VALUE_LIST,
    MESSAGE_COUNT,
};

/* What to do with a field. Zero: not in the table. From ENTER on: a message,
 * ENTER + its kind. */
enum action { OTHER, VARINT, I64, I32, BYTES, STRING, ENTER };

#define TAGS 128       /* tags of one byte */
#define RECORD_DEPTH 3 /* messages around a record */

extern const uint8_t logs_actions[MESSAGE_COUNT][TAGS];

/* The action of a field that is read already; ERR_MALFORMED: OTLP defines it with another wire
 * type. */
int logs_action(enum message in, uint32_t number, uint32_t type);

/* logs_check() of one message that stands `depth` messages deep. */
int logs_check_message(struct span bytes, enum message kind, unsigned depth);
