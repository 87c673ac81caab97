/*
 * server_state: what the files of the server share. Only src/server/ includes it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "config/config.h"
#include "config/sandbox.h"
#include "net/http.h"
#include "net/listener.h"
#include "net/tls_keeper.h"
#include "server/flush.h"
#include "server/receipts.h"
#include "server/registry.h"
#include "server/rollup.h"
#include "server/senders.h"
#include "server/store.h"
#include "server/worker.h"
#include "util/budget.h"
#include "util/clock.h"
#include "util/list.h"
#include "util/metric.h"
#include "util/rng.h"

struct follow;
struct delivery;
struct consulting;

enum server_phase { SERVER_STARTING, SERVER_RUNNING, SERVER_DRAINING, SERVER_ENDED };

/* clang-format off */
/* What became of reports. */
#define REPORT_FATES(X) \
    X(ACCEPTED,  "accepted") \
    X(REPEATED,  "repeated")      /* it had been taken before */ \
    X(INVALID,   "invalid") \
    X(REFUSED,   "refused")       /* no room, too many services, being stored */ \
    X(UNSTORED,  "not_stored")    /* the journal could not be written */
/* clang-format on */

#define X(name, text) REPORT_##name,
enum report_fate { REPORT_FATES(X) REPORT_FATE_COUNT };
#undef X

struct server {
    const struct config *cfg;
    uv_loop_t loop;
    enum server_phase phase;
    const struct clock *clock;
    struct rng rng;
    struct budget budget;   /* of memory.limit: bodies, tables, answers */
    struct budget overhead; /* for connections, heads and answers on their way */
    uint64_t started_ms, drain_began_ms;
    struct sandbox sandbox;
    struct store *store; /* the worker's, while there is one */
    struct worker *worker;
    struct registry registry;
    struct senders senders;
    struct receipts *receipts;
    struct rollup rollup; /* what no flush has taken */
    struct {
        struct work work;
        struct flush flush;
        bool is_running, is_wanted;
        bool has_batch; /* one that could not be written waits */
        uint64_t attempts, failed;
        uint64_t last_ok_ms; /* monotonic */
        int last_rc;
    } flushing;
    struct {
        struct work work;
        struct flush_retention retention;
        bool is_running, is_done;
    } forgetting;
    struct {
        struct list waiting, strangers; /* all; those whose service is not known */
        struct list woken;              /* answered in the next turns */
        uint32_t count;
        uv_timer_t timer, wake_timer;
        struct served_policy fallback; /* of services without a policy */
    } poll;
    struct delivery *delivery;
    struct consulting *consulting; /* NULL without server.model.endpoint */
    struct {
        struct metric delivered, retried, failed;
    } webhooks;
    struct follow *follow;  /* NULL: the database is ours alone */
    bool has_fresh;         /* services that other servers may know more of */
    struct metric notified; /* by the database, that there is something new */
    char replica[24];       /* of this directory, among those of one database */
    struct http_service service;
    struct listener listener;
    uint32_t connections;
    struct tls_keeper *tls; /* NULL: clear text only */
    uv_signal_t signals[2];
    uv_timer_t flush_timer, forget_timer, drain_timer;
    struct metric reports[REPORT_FATE_COUNT], records, answers[6]; /* by hundreds of the status */
    struct metric elsewhere; /* reports that another server has counted */
    struct metric refused_keys, limited;
    size_t parts_started;
};

static inline int64_t server_unix_ms(const struct server *s)
{
    return (int64_t)(clock_unix_ns(s->clock) / 1000000);
}

/* ---- start.c: the database and what it knows, read before the loop runs ---- */

MUST_CHECK int start_store(struct server *s, struct error *err);
void start_release(struct server *s);
/* The reports that the last process acknowledged and did not store. */
MUST_CHECK int start_replay(struct server *s, struct error *err);

/* ---- intake.c: reports ---- */

MUST_CHECK int intake_start(struct server *s, struct error *err);
void intake_stop(struct server *s);
void intake_release(struct server *s);

/* Write what is there soon. */
void intake_flush_soon(struct server *s);
/* All that was acknowledged is in the database; what is not is begun now. */
bool intake_is_flushed(const struct server *s);
void intake_flush_now(struct server *s);
/* A receipts_fn: a report that the last process acknowledged. */
int intake_replay(void *ctx, uint64_t team_id, uint64_t unix_ms, struct span body,
                  struct receipt_place place);
/* Reports of a flush that were counted already. */
void intake_note_elsewhere(struct server *s, struct flush *f);

/* ---- api.c ---- */

MUST_CHECK int api_start(struct server *s, struct error *err);
void api_stop(struct server *s);

/* ---- follow.c: what other servers change ---- */

MUST_CHECK int follow_start(struct server *s, struct error *err);
void follow_stop(struct server *s);
void follow_release(struct server *s);

/* ---- ending.c ---- */

MUST_CHECK int ending_start(struct server *s, struct error *err);
void ending_stop(struct server *s);
