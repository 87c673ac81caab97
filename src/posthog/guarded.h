/*
 * guarded: what in a project counts logs, read and made a guard (pipeline/guard.h) of.
 *
 * Four lists: alerts that are enabled, metric rules that are enabled, saved views, and insights
 * over logs. What weighs rows itself (a metric that sums the adjusted count, SQL that reads it)
 * needs no guard. What cannot be translated is a finding, and what is named of its services is
 * guarded; where nothing is left that tells records apart, it is not: it would keep everything.
 *
 * Errors     a list that the key may not read, or that the project does not have, is a finding.
 *            Any other fault ends it, and no guard is made: the one before stays in force.
 * Blocking   never.
 */
#pragma once

#include <stdbool.h>

#include "pipeline/guard.h"
#include "posthog/listing.h"
#include "posthog/selection.h"

#define GUARDED_FINDINGS_MAX 128
#define GUARDED_NAME_BYTES (GUARD_NAME_BYTES + 1)

struct guarded_finding {
    enum guard_kind kind;
    bool is_list;    /* the list itself could not be read */
    bool is_guarded; /* as far as it goes */
    bool is_fine;    /* all of it, or it needs no guard */
    char name[GUARDED_NAME_BYTES], why[SELECTION_WHY_BYTES];
};

struct guarded {
    struct app *app;
    bool keeps, has_weights; /* weights: every record has one (sampling.stamps: weight_always) */
    void *ctx;
    void (*done)(void *ctx, struct guarded *g, const struct app_verdict *v);

    struct listing listing;
    enum guard_kind at; /* which list is read */
    struct guard *guard;
    int rc; /* of building it */
    struct guarded_finding findings[GUARDED_FINDINGS_MAX];
    unsigned found, more; /* more: findings without room */
    struct buf *saved;    /* what is guarded goes there as well (guarded_saved.h); may be NULL */
};

/* Begin; then g->saved may be set. done() is called once, not from inside; then g->guard is there
 * when the fault is APP_FINE, and the caller's. */
MUST_CHECK int
guarded_begin(struct guarded *g, struct app *app, bool keeps, bool has_weights,
              void (*done)(void *ctx, struct guarded *g, const struct app_verdict *v), void *ctx);
void guarded_stop(struct guarded *g);

/* One item of a list, into the guard and the findings; the body of the above. */
void guarded_item(struct guarded *g, struct json_node item);
