/*
 * families: patterns that differ in one word only, once enough words were seen
 * in its place, are one family.
 *
 * Leave-one-out: each new pattern enters one key per word, itself with a hole
 * there. A key gathers the words of its hole; a plain one weighs 1, one that
 * looks like an identifier 2. At the weight set (for the first word of a message
 * FAMILY_FIRST_WEIGHT, because verbs stand there) the hole is a variable: all
 * that are in the key become aliases of the template with a variable in that
 * place, which enters in its turn, so two variables are found in two steps.
 *
 * The family's id is the signature of that template. So processes which
 * generalise alike agree without talking; and what is known depends on which
 * patterns were seen, never on their order: every pattern enters all its keys,
 * and where several of them have become variables, the leftmost decides. A chain
 * of aliases loses a word with each link, so it ends.
 *
 * All is bounded; what was not used for long is forgotten first (CLOCK), which
 * costs no more than learning it again, and then the order does count.
 *
 * So is the work: at most learn_per_second patterns are learned in a second, or a client that
 * logs random words would make each record cost three times as much. What comes beyond is
 * looked for in the families that are known, and learned when it is seen again.
 *
 * Units      Unix nanoseconds.
 * Ownership  identity bytes are read during the call; templates are copied.
 * Blocking   never. A known pattern costs a probe; a new one a few hundred
 *            nanoseconds a word, one that is not learned a few dozen.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/budget.h"
#include "util/buf.h"
#include "util/span.h"

#define FAMILY_SIGNATURES 16384 /* as many patterns as are counted apart by default */
#define FAMILY_HOLES 65536      /* a pattern has about eight words, and most share keys */
#define FAMILY_WEIGHT_MIN 2     /* at 1 every word would be a variable at once */
#define FAMILY_WEIGHT_MAX 32    /* each key remembers this many patterns until then */
#define FAMILY_FIRST_WEIGHT 12
#define FAMILY_LEARN_PER_SECOND 2000 /* takes 6 ms; a start with 16384 patterns is over in 8 s */
#define FAMILY_IDENTITY_BYTES 16384  /* a line is never longer; with its trace it may be */
#define FAMILY_TEMPLATE_BYTES 240    /* of a template, for people */

struct families;

struct families_opts {
    uint32_t weight;                    /* from FAMILY_WEIGHT_MIN to FAMILY_WEIGHT_MAX */
    uint32_t max_signatures, max_holes; /* 0: as above */
    uint64_t seed;                      /* a log writer may choose what is hashed */
    struct budget *budget;              /* may be NULL */
    uint32_t learn_per_second;          /* 0: no limit */
};

int families_new(struct families **out, const struct families_opts *opts);
void families_free(struct families *f);

/* The family of a pattern, which is learned when it is new; the signature itself
 * when it has none. `identity` is signer_identity(). */
uint64_t families_add(struct families *f, uint64_t signature, struct span identity,
                      uint64_t unix_ns);

/* The last families_add() has not learned its pattern, because too many were new: it is to
 * be added again when it is seen again. */
bool families_put_off(const struct families *f);

/* The same for a pattern whose identity is not at hand: one probe, no learning. */
uint64_t families_resolve(struct families *f, uint64_t signature);

/* What people see of a family; empty when it is forgotten. Borrowed until the next call. */
struct span families_template(const struct families *f, uint64_t family);

/* Changes whenever a family may have: what was resolved before holds until then.
 * Never 0. */
uint32_t families_generation(const struct families *f);

/* `from` has become `to`, which may have become more general since. */
struct family_alias {
    uint64_t from, to, since_ns;
    struct span template_text; /* of `to`; empty when it is forgotten */
};

void families_each_alias(struct families *f, void (*each)(void *ctx, const struct family_alias *a),
                         void *ctx);

/* What was learned, for another process with the same seed and weight. Failures are the buf's. */
void families_save(const struct families *f, struct buf *out);

/* Into families that have learned nothing yet. ERR_MALFORMED: it is no such text; what of it was
 * read stays. */
int families_restore(struct families *f, struct span text);

struct families_stats {
    uint32_t signatures, aliases, holes;
    uint64_t evicted; /* of signatures and holes */
    uint64_t put_off; /* how often learning waited, because too much was new */
};
struct families_stats families_stats(const struct families *f);
