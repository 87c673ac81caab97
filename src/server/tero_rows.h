/*
 * tero_rows: Tero's policies in the database: one set a team, and what each policy has done.
 *
 * What clients report is added up by policy, since the set was put. What they report of a policy
 * that is not in the set is left out.
 *
 * Blocking   the database.
 */
#pragma once

#include "server/api.h"

#define TERO_HASH_BYTES 33 /* half of a SHA-256 as hex digits, with its NUL */

struct tero_set {
    int64_t version, created_ms; /* version 0: there is none, and it is empty */
    char hash[TERO_HASH_BYTES];
    struct buf document; /* {"policies": [...]} */
};

void tero_set_done(struct tero_set *set);

/* The set of a team: as it was put, or in the form of proto3 as far as that has it. */
MUST_CHECK int tero_set_read(struct tero_set *out, struct store *s, int64_t team, bool as_served);

/* Another set of the key's team. *version is its number; ids of policies are those of `root`. */
MUST_CHECK int tero_set_put(struct call *c, struct store *s, struct span document,
                            struct span served, int64_t *version);

/* Something that one client says of one policy; `errors` is a JSON list. */
struct tero_status {
    struct span policy_id, errors, instance;
    int64_t hits, misses;
};
MUST_CHECK int tero_status_add(struct call *c, struct store *s, const struct tero_status *status);
