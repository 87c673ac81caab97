/*
 * versions: policies as a list that only grows at its end: who made each, when, why, and which one
 * is in force.
 *
 *     PROPOSED --> SHADOW --> ACTIVE --> PAST
 *          \______________________^
 *
 * A rollback is a new version with the content of an old one, so numbers only rise. At most one is
 * ACTIVE and one SHADOW. The list is bounded: the oldest that is neither goes first, but for the
 * newest of each maker outside.
 *
 * Units      seconds since 1970; bytes and money a month.
 * Ownership  texts are copied. Pointers to versions hold until the next call that changes the list.
 * Memory     the documents and 350 bytes each, drawn from the budget.
 * Blocking   never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/budget.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/span.h"

#define VERSIONS_MAX 64
#define VERSIONS_BYTES (4u << 20) /* of all documents: one may be 1 MiB long */
#define VERSION_BY_BYTES 64
#define VERSION_WHY_BYTES 200

/* clang-format off */
#define VERSION_STATES(X) \
    X(PROPOSED, "proposed") \
    X(SHADOW,   "shadow") \
    X(ACTIVE,   "active") \
    X(PAST,     "past")
/* clang-format on */

#define X(name, text) VERSION_##name,
enum version_state { VERSION_STATES(X) VERSION_STATE_COUNT };
#undef X

const char *version_state_name(enum version_state s);

struct version {
    uint32_t number;
    enum version_state state;
    uint64_t created_unix_s;
    char by[VERSION_BY_BYTES], why[VERSION_WHY_BYTES];
    double saving_bytes, saving_money; /* a month, as it was estimated */
    double saving_share;               /* of a proposal: of the bytes kept then; else 0 */
    uint32_t changes;                  /* rates that differ from what was in force then, */
    uint32_t base;                     /* which was this version; 0: none */
    bool is_from_outside;              /* of the configuration, or of a file: the newest of such a
                                        * maker stays, or a start would take it for a new one */
    struct span document;              /* owned by the list */
};

struct versions;

MUST_CHECK int versions_new(struct versions **out, struct budget *budget);
void versions_free(struct versions *v); /* accepts NULL */

/* A new one, PROPOSED; its number is the highest so far and 1. `like`: number, state and document
 * are not asked. ERR_TOO_BIG, ERR_FULL, ERR_NOMEM. */
MUST_CHECK int versions_add(struct versions *v, const struct version *like, struct span document,
                            uint32_t *number);

/* One of an earlier process, with its number and state. */
MUST_CHECK int versions_restore(struct versions *v, const struct version *it);

/* All of them, and into an empty list. Failures of the first are the buf's; ERR_MALFORMED: it is no
 * such text, ERR_*: there is no room for all; what was read stays. */
void versions_save(const struct versions *v, struct buf *out);
MUST_CHECK int versions_read(struct versions *v, struct span text);

/* Oldest first. NULL: past the last; there is none of that number. */
const struct version *versions_at(const struct versions *v, uint32_t i);
const struct version *versions_find(const struct versions *v, uint32_t number);
uint32_t versions_count(const struct versions *v);
const struct version *versions_in(const struct versions *v, enum version_state s); /* the newest */

/* It is in force now, and what was is PAST; likewise of SHADOW, where what was is PROPOSED. */
void versions_set_active(struct versions *v, uint32_t number);
void versions_set_shadow(struct versions *v, uint32_t number);
/* Nothing is only counted any more. */
void versions_end_shadow(struct versions *v);
