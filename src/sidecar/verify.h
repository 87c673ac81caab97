/*
 * verify: what this process has sent, by service and minute, for whoever holds it against what
 * PostHog stored: itself, or `lipservice posthog verify`, which reads it as a page.
 */
#pragma once

#include "posthog/verify.h"

struct sidecar;

/* Times, in seconds since 1970, at which PostHog threw logs away, as the checks have seen it. */
struct quota_times {
    struct {
        uint64_t from_s, to_s;
    } list[LEDGER_CHECK_QUOTAS];
    uint32_t count;
    uint64_t checked_s; /* the last check */
    bool is_limited;    /* was it then? */
};
void quota_times_note(struct quota_times *q, bool is_limited, uint64_t now_s, uint64_t again_s);

/* What was sent by then is delivered, and should be shown. */
uint64_t sidecar_settled_s(const struct sidecar *sc);

/* Fill in what was sent in the hours before now, but for canaries. */
void sidecar_fill_check(const struct sidecar *sc, struct ledger_check *c, uint32_t hours,
                        uint64_t settled_s);

/* A page: the same as JSON. */
MUST_CHECK int sidecar_write_minutes(void *ctx, struct span query, struct buf *out);
