/*
 * redact_names: which attributes are secret by their name, and which are never touched.
 *
 * Names are compared by their last segment (behind the last point or slash), letters in any case,
 * with - as _: db.user.password, X-Api-Key, accessToken. What a user lists is compared so, too,
 * and the whole name as well; a list of what is exempt may have * at the end of a name.
 *
 * Ownership  the lists are borrowed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/err.h"
#include "util/span.h"

#define REDACT_NAMES_MAX 64 /* in a list of a user's */

struct redact_name_list {
    struct span names[REDACT_NAMES_MAX];
    uint32_t count;
    uint32_t first[8]; /* bit per first byte, folded: nearly all other names are turned away */
    uint64_t lengths;  /* likewise, bit per length; of a name that ends in * all from there on */
};

/* Zero is a valid one, without names of a user's. */
struct redact_names {
    struct redact_name_list secret, exempt;
};

/* Lists of names, divided by commas; blanks around them do not count. ERR_FULL: more than
 * REDACT_NAMES_MAX. */
MUST_CHECK int redact_names_init(struct redact_names *n, struct span secret, struct span exempt);

/* More of what is exempt. ERR_FULL, with nothing added. */
MUST_CHECK int redact_names_exempt(struct redact_names *n, struct span names);

bool redact_name_is_secret(const struct redact_names *n, struct span key);
bool redact_name_is_exempt(const struct redact_names *n, struct span key);
