/*
 * policy_sync: messages of Tero's policy sync, from protobuf to JSON and back.
 *
 * The program works with their JSON; the same members are there whichever way a message came. Both
 * ways are led by the descriptors that protoc-c makes of proto/policy_sync.proto.
 *
 *     POST /v1/policy/sync    SyncRequest -> SyncResponse    application/json or
 * application/x-protobuf
 *
 * What a peer may say in JSON: names as in .proto files or in lowerCamelCase, enums as names or
 * numbers, 64-bit numbers as numbers or strings, the path of an attribute as a text or a list.
 *
 * Limits     POLICY_SYNC_BYTES of a message, POLICY_SYNC_ARENA_BYTES of memory to read one.
 * Errors     0, or a negative code (util/err.h). *err says which member, where a person wrote it.
 * Blocking   never.
 */
#pragma once

#include <stdint.h>

#include "otlp/json_doc.h"
#include "util/budget.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/span.h"

#define POLICY_SYNC_BYTES (1u << 20)        /* of a message: some 3,000 policies */
#define POLICY_SYNC_ARENA_BYTES (16u << 20) /* a field of 2 bytes becomes a struct of 100 */

enum policy_sync_message { POLICY_SYNC_REQUEST, POLICY_SYNC_RESPONSE };

/* Append the message as a JSON object. A field that a policy has and proto/policy_sync.proto has
 * not becomes a member "field N", which makes that policy invalid and harms no other.
 * ERR_MALFORMED: it is no such message, or a text is not UTF-8. ERR_TOO_BIG, ERR_FULL, ERR_NOMEM.
 */
MUST_CHECK int policy_sync_to_json(struct buf *out, enum policy_sync_message kind,
                                   struct span message, struct budget *budget);

/* Append the message as protobuf. ERR_CONFIG with *err: a member is of another kind, or protobuf
 * has no field for it here. */
MUST_CHECK int policy_sync_to_protobuf(struct buf *out, enum policy_sync_message kind,
                                       struct json_node root, struct error *err);

/* Is this the name of a field, as .proto files spell it or in lowerCamelCase? */
bool policy_sync_name_is(struct span key, const char *name);

/* The first member of that name in either spelling; the node of nothing: there is none. */
struct json_node policy_sync_get(struct json_node object, const char *name);

/* A whole number as JSON has those of 64 bits: a number or a string of digits. */
bool policy_sync_integer(struct json_node n, int64_t *out);
