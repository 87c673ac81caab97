/*
 * rulebook: which rules apply to whom: those of all services, those of single ones, and
 * a second policy that is only counted.
 *
 * Rules that name patterns are bound to the families that these have become
 * (rules_bind()): those of now, or of a second ago, because binding copies them.
 *
 * Ownership  rules are kept by reference.
 * Blocking   never. Asking costs a comparison where nothing was learned.
 */
#pragma once

#include <stdint.h>

#include "pattern/families.h"
#include "pipeline/rules.h"
#include "util/err.h"

#define RULEBOOK_BIND_MS \
    1000 /* while much is learned, binding each time would copy all rules each time */

/* Rules as they were given, and as they apply to what is known of families. */
struct in_force {
    struct rules *given,
        *bound; /* given: as set; bound: a copy bound to families, NULL until it is needed */
    uint32_t generation; /* of families */
    uint64_t bound_ms;
};

struct rulebook {
    struct families *families; /* NULL: no merging */
    struct in_force common, second;
    struct in_force *of_service; /* by service id */
    uint32_t max_services;
};

MUST_CHECK int rulebook_init(struct rulebook *b, const struct rules *common, uint32_t max_services,
                             struct families *families);
void rulebook_done(struct rulebook *b);

void rulebook_set_common(struct rulebook *b, const struct rules *rules);
/* NULL: the common ones again. */
void rulebook_set_service(struct rulebook *b, uint32_t service, const struct rules *rules);
/* NULL: none. */
void rulebook_set_second(struct rulebook *b, const struct rules *rules);

/* As they apply now; of the second policy NULL when there is none. */
const struct rules *rulebook_of(struct rulebook *b, uint32_t service, uint64_t now_ms);
const struct rules *rulebook_second(struct rulebook *b, uint64_t now_ms);

/* A copy of other rules, bound to the families of now. ERR_NOMEM. */
MUST_CHECK int rulebook_bind(const struct rulebook *b, const struct rules *rules,
                             struct rules **out);

/* As they were given. */
const struct rules *rulebook_given(const struct rulebook *b, uint32_t service);
