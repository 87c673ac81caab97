/*
 * sync: what has to be done so that a list in PostHog holds what we want, and what others have
 * there stays as it is.
 *
 * Ours are told by their tag or the beginning of their name (posthog/ours.h), and one from another
 * by its name. Each step leaves the list in a state from which the same plan leads to the same end:
 * who is stopped in the middle begins again.
 *
 * Pure.
 */
#pragma once

#include <stdbool.h>

#include "otlp/json_doc.h"
#include "posthog/listing.h"
#include "util/buf.h"
#include "util/err.h"

#define SYNC_NAME_BYTES 128

struct sync_wanted {
    char name[SYNC_NAME_BYTES];
    struct buf body;      /* to create it with */
    struct buf change;    /* to change one with that is not like it */
    struct buf canonical; /* of the members that have to be alike */
};

enum sync_what { SYNC_KEEP, SYNC_CREATE, SYNC_CHANGE, SYNC_REMOVE };

struct sync_step {
    enum sync_what what;
    char id[LISTING_ID_BYTES], name[SYNC_NAME_BYTES];
    const struct sync_wanted *wanted; /* NULL: REMOVE */
};

struct sync {
    const char *const *members; /* of an item, that have to be alike; NULL at the end */
    struct sync_wanted *wanted;
    unsigned wanted_count;
    struct sync_step *steps; /* first those of `wanted`, in their order, then what is removed */
    unsigned step_count;
    unsigned ours, others; /* items seen */
    int rc;                /* of reading them */
};

/* Takes the content of body and change. */
MUST_CHECK int sync_want(struct sync *s, const char *name, struct buf *body, struct buf *change);

/* Begin the plan, when all is wanted; then each item of the list. */
MUST_CHECK int sync_begin(struct sync *s);
void sync_item(struct sync *s, struct json_node item);
void sync_done(struct sync *s);

const char *sync_word(enum sync_what what);
