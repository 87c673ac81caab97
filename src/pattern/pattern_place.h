/*
 * pattern_place: under which entry of the table a record is counted.
 *
 *   its own    while its signature is no more than itself
 *   family's   as soon as it has become one: then the first of a window, rates and
 *              budgets are the family's, or a line with a name in it would be new
 *              for every name
 *   overflow   when the service has as many patterns as it may: one entry for all
 *              lines that begin with the same two words; and one for the rest when
 *              those become too many
 *
 * The overflow's id is the family of its lines (pattern/signature_overflow.h), and
 * policies may name it.
 *
 * Blocking: never. Cost: one probe for a pattern that is known, two in a family.
 */
#pragma once

#include "pattern/families.h"
#include "pattern/patterns.h"
#include "pattern/signature.h"
#include "util/buf.h"

struct pattern_place {
    struct patterns *patterns;
    struct families *families; /* NULL: no merging */
    const struct signer *signer;
    uint32_t overflow_entries; /* of a service's cap, kept for its overflow */
    /* An entry of the table begins anew; for tables beside it. May be NULL. */
    void (*on_new)(void *ctx, uint32_t number, bool is_overflow);
    /* What is stored in place of a template; is_own: of the one of what the signer has just
     * signed, which `text` is not. NULL: itself. */
    struct span (*shown)(void *ctx, struct span text, bool is_own);
    void *ctx;
    struct buf scratch;
    uint64_t overflowed; /* records */
};

void pattern_place_done(struct pattern_place *place);

/* The entry for what the signer has just signed; *family is what its signature has
 * become, the same while it has become nothing. */
struct pattern *pattern_place(struct pattern_place *place, const struct pattern_key *key,
                              uint64_t unix_ns, uint64_t *family);

/* The template of what the signer has just signed, for people. Borrowed until the next call. */
struct span pattern_own_template(struct pattern_place *place);
