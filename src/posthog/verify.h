/*
 * verify: asks PostHog what it stored of what we sent (posthog/ledger_check.h).
 *
 * One count-ranges request for each service and hour, one query in SQL for rows that are there
 * twice, and one look for each canary. The first failure ends it.
 *
 * Blocking: never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "posthog/check.h"
#include "posthog/client.h"
#include "posthog/days.h"
#include "posthog/fault.h"
#include "posthog/ledger_check.h"

#define CANARIES_MAX 8
#define CANARY_ID_BYTES 40

struct canary {
    char id[CANARY_ID_BYTES];
    uint64_t sent_s; /* since 1970; 0: none */
    bool is_found;
    double late_s; /* between its time and that of its arrival there */
};

struct verify_opts {
    struct app *app;
    bool may_query;     /* in SQL */
    bool may_bill;      /* see what is billed */
    uint64_t settled_s; /* what was sent by then is delivered, and should be shown */
    void *ctx;
    void (*done)(void *ctx);
};

struct verify {
    struct verify_opts opts;
    struct ledger_check check; /* what was sent is the caller's to fill, before the start */
    struct canary canaries[CANARIES_MAX];
    struct day_totals days;    /* the caller's to fill, as well */
    uint32_t canaries_missing; /* of those that should be shown */
    struct app_verdict fault;  /* APP_FINE: all was asked */
    struct app_call *call;
    char path[256];
    uint32_t service_at, hour_at, canary_at;
    bool is_running;
};

/* What a check has found that explains differences. */
void verify_take_causes(struct verify *v, const struct gathered *g);

/* done() is called once, not from inside, unless verify_stop() is. ERR_EMPTY: there is nothing to
 * ask for. */
MUST_CHECK int verify_start(struct verify *v, const struct verify_opts *opts);
void verify_stop(struct verify *v); /* accepts a zeroed one */

/* All was asked, all is there, and nothing is unexplained. */
bool verify_is_good(const struct verify *v);

void verify_write_json(const struct verify *v, struct buf *out);
void verify_write_text(const struct verify *v, struct buf *out);
