/*
 * provider: Tero's policies, fetched from whoever provides them, and what they have done.
 *
 *     POST {server}/v1/policy/sync    SyncRequest -> SyncResponse    (otlp/policy_sync.h)
 *
 * Asked at once, and then as often as the provider recommends, jittered. A request says which set
 * is in force by its hash, in the message and as If-None-Match, so a server may answer 304; and
 * what each policy has done since the request before, which is never said twice: a request that
 * fails takes its counts with it. Whatever goes wrong, the last good set stays in force: the
 * provider away, an answer that is none, or an error_message. An invalid policy alone is without
 * effect, and is reported with its id. Where policies are kept on disk, the last set is in force
 * from the start.
 *
 * Units      milliseconds.
 * Memory     one set, and one answer while it is read, drawn from the budget.
 * Blocking   never.
 */
#pragma once

#include <uv.h>

#include "net/client.h"
#include "otlp/json_doc.h"
#include "policy/kept.h"
#include "policy/tero.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/metric.h"

#define PROVIDER_HASH_BYTES 200          /* of a set; a longer one is not used */
#define PROVIDER_LEAST_MS 1000           /* between requests, whatever is recommended */
#define PROVIDER_MOST_MS (3600u * 1000u) /* likewise */

struct provider;

struct provider_opts {
    const char *server;   /* base URL; copied */
    const char *api_key;  /* bearer; "" for none; copied */
    const char *instance; /* of this process; borrowed */
    struct route route;   /* copied */
    bool as_protobuf;     /* else JSON */
    uint32_t interval_ms; /* until the provider recommends another */
    uint32_t timeout_ms;
    uint64_t seed; /* of draws */
    const struct clock *clock;
    struct kept *kept; /* NULL: sets are not kept on disk */
    struct budget *budget;
    struct tero *before; /* in force until the provider's own come; NULL: none. Taken over where
                          * provider_open() returns 0 */
};

struct provider_stats {
    struct metric installed; /* answers with another set */
    struct metric unchanged; /* the same, or 304 */
    struct metric invalid;   /* answers that were none */
    struct metric failed;    /* no answer, or another status */
    struct metric from_disk;
    uint64_t policies, invalid_policies; /* of the set in force */
    uint64_t last_success_ms;            /* monotonic; 0: never */
};

MUST_CHECK int provider_open(struct provider **out, uv_loop_t *loop, struct client *client,
                             const struct provider_opts *opts);
/* Cancels what is under way. Handles close with the loop. Accepts NULL. */
void provider_close(struct provider *p);

/* The set in force, which is the caller's from here on; NULL: none. Accepts NULL. */
struct tero *provider_take_set(struct provider *p);

/* What the policies in force make of a record: as tero_apply() says. */
MUST_CHECK int provider_apply(struct provider *p, struct tero_record *r);

const struct provider_stats *provider_stats(const struct provider *p);
