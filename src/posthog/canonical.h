/*
 * canonical: JSON in one form, so that two texts of the same value are equal: members by name,
 * and those that are null or empty left out, because PostHog adds them to what it is given.
 *
 * Pure.
 */
#pragma once

#include "otlp/json_doc.h"
#include "util/buf.h"

#define CANONICAL_DEPTH_MAX 64   /* deeper values are null */
#define CANONICAL_MEMBERS_MAX 64 /* of one object; further ones are left out */

void canonical_write(struct buf *out, struct json_node n);

/* Of a text; ERR_MALFORMED. */
MUST_CHECK int canonical_of(struct buf *out, struct span text);
