/*
 * check: asks PostHog what it knows of us, and says what is wrong (posthog/findings.h).
 *
 * Five to ten requests, one after the other: the key, the project, its settings, the quota, the
 * drop rules, the attributes that persons and sessions are linked by. A question that the key may
 * not ask is not asked.
 *
 * Blocking: never.
 */
#pragma once

#include "posthog/findings.h"
#include "posthog/listing.h"
#include "util/buf.h"

struct check_opts {
    struct app *app;
    const char *token, *ingestion_host; /* borrowed for as long as the check runs */
    uint32_t project_id;
    bool leads;
    /* Call fn for each service we send, to be held against a rule; NULL: they are not known. */
    void (*each_service)(void *ctx, void (*fn)(void *arg, struct span service), void *arg);
    void *ctx;
    void (*done)(void *ctx);
};

struct check {
    struct check_opts opts;
    struct project project;
    struct listing listing;
    struct app_call *call;
    struct gathered gathered;
    struct findings findings; /* when it is done */
    char path[64];
    bool is_running;
};

/* done() is called once, not from inside, unless check_stop() is. */
MUST_CHECK int check_start(struct check *c, const struct check_opts *opts);
void check_stop(struct check *c); /* accepts a zeroed one */

/* As one document, and as lines for people. */
void check_write_json(const struct check *c, struct buf *out);
void check_write_text(const struct check *c, struct buf *out);
