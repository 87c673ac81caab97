/*
 * sidecar_state: what the files of the sidecar share. Only src/sidecar/ includes it.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "config/config.h"
#include "config/sandbox.h"
#include "config/tls.h"
#include "export/exporter.h"
#include "export/hold.h"
#include "export/journal.h"
#include "net/client.h"
#include "net/http.h"
#include "net/listener.h"
#include "net/page.h"
#include "net/tls_keeper.h"
#include "net/watch.h"
#include "pipeline/census.h"
#include "pipeline/pipeline.h"
#include "policy/file.h"
#include "policy/provider.h"
#include "policy/remote.h"
#include "policy/report.h"
#include "receiver/receiver.h"
#include "sidecar/feed.h"
#include "sidecar/history.h"
#include "sidecar/live.h"
#include "sidecar/state.h"
#include "sidecar/versioning.h"
#include "util/budget.h"
#include "util/clock.h"
#include "util/buf.h"
#include "util/err.h"
#include "util/json.h"

/* clang-format off */
#define SIDECAR_PHASES(X) \
    /* name      as /status says it */ \
    X(STARTING,  "starting") \
    X(RUNNING,   "ready") \
    X(QUIETING,  "draining")  /* the application may still flush: requests are taken */ \
    X(CLOSING,   "draining")  /* connections are closing */ \
    X(FLUSHING,  "draining")  /* what is held goes upstream or to disk */ \
    X(REPORTING, "draining")  /* the policy server gets the last counts */ \
    X(ENDED,     "ended")
/* clang-format on */

#define X(name, text) SIDECAR_##name,
enum sidecar_phase { SIDECAR_PHASES(X) SIDECAR_PHASE_COUNT };
#undef X

/* What the thread that waits for signals has heard, and what of it the loop has done. */
struct sidecar_signals {
    uv_async_t async;
    uv_thread_t thread;
    bool is_waiting; /* the thread */
    atomic_bool is_over;
    atomic_uint stops, reloads;
    atomic_int number;      /* of the last stop */
    atomic_uint timeout_ms; /* shutdown.timeout that is in force */
    atomic_uint drain_ms;   /* and was when the first stop came */
    uint32_t stops_done, reloads_done;
};

#define CONNECT_TIMEOUT_MS 10000 /* to PostHog, or whatever the upstream is */

struct sidecar {
    const struct config *cfg;         /* in force */
    const struct config_input *input; /* where it came from, for a reload */
    struct config *reloaded;          /* owned, once there was one */
    struct {
        struct metric accepted, refused;
        bool failed_last;
        uint64_t last_ms; /* monotonic; 0: never */
    } reloads;
    uv_loop_t loop;
    enum sidecar_phase phase;
    const struct clock *clock;
    struct budget budget;           /* of memory.limit, for records */
    struct budget bodies;           /* a part of it, for bodies that arrive */
    struct budget overhead;         /* for connections, heads and answers */
    struct budget handshake_memory; /* a part of it, for those of TLS */
    struct budget page_memory;      /* for the pages and those who read them */
    struct budget history_memory;   /* a part of that for records, for what was counted */
    struct budget sample_memory;    /* a part of that, for lines of patterns */
    uint64_t started_ms, drain_began_ms;
    struct client *client;
    struct exporter *exporter;
    struct refused_file *refused_file;    /* NULL without exporters.refused_file */
    struct journal *journals[LANE_COUNT]; /* durability: disk; else NULL; of errors where they
                                           * have a lane, or have left records in one */
    struct hold hold;                     /* of both */
    bool leaves_on_disk;                  /* the end: what is not delivered now is not lost */
    struct pipeline *pipeline;
    struct policy_file *policy_file; /* NULL without sampling.policy_file */
    struct policy_file *shadow_file; /* likewise, of shadow.policy_file */
    struct kept *kept;               /* NULL without state.directory */
    struct remote *remote;           /* NULL without policy.server, as is report */
    struct report *report;
    struct provider *provider;        /* NULL without policy.sync.server */
    struct posthog_part *posthog;     /* NULL without posthog.personal_api_key */
    struct report_marks report_marks; /* of all reports, one after the other */
    struct {
        char instance[256], boot[17]; /* the host's name; random, of this process */
    } identity;
    struct receiver *receiver;
    struct proxy *proxy;         /* NULL: what is not OTLP is refused */
    struct client *proxy_client; /* its own, whose connections no slow reader takes from others */
    struct http_service services[2]; /* of the two OTLP ports */
    struct {
        struct watch *watch; /* NULL without receivers.otlp.auth.keys_file */
        struct metric installed, refused;
    } keys;
    uint32_t connections, page_connections;           /* at most, of one port */
    struct tls_keeper *tls[CONFIG_TLS_SIDECAR_COUNT]; /* NULL: clear text only */
    struct listener grpc, http;
    struct page_server health, metrics, admin;
    struct feed *feed;               /* readers of /api/events */
    struct remembering *remembering; /* NULL with history.memory: 0 */
    struct state *state;             /* NULL without state.directory */
    struct versioning *versioning;
    struct annotating *annotating; /* NULL but for a leader */
    struct guarding *guarding;     /* NULL without posthog.personal_api_key */
    struct live *live;             /* what the admin pages answer from the running pipeline */
    struct sidecar_signals signals;
    atomic_bool is_ledger_logged; /* the last line of the log */
    uv_timer_t drain_timer, tick_timer;
    size_t parts_started;
    struct sandbox sandbox;
};

/* ---- sidecar.c ---- */

/* Ready means listening and not draining, and with durability: disk able to store. It does not
 * mean that the upstream answers: its outage must not take the application's pod down. */
bool sidecar_is_ready(const struct sidecar *sc);

/* What became of all records. */
struct ledger_row sidecar_totals(const struct sidecar *sc);

/* ---- pages.c, metrics.c, shadow_page.c ---- */

/* The tables of the three page servers. */
extern const struct page sidecar_health_pages[], sidecar_metrics_pages[], sidecar_admin_pages[];
extern const size_t sidecar_health_page_count, sidecar_metrics_page_count, sidecar_admin_page_count;

/* A page that says why it is none; returns the status. */
MUST_CHECK int sidecar_refuse(struct buf *out, int status, const char *why);

/* A census for a page. 0; else *out says why there is none, and this is the status. */
MUST_CHECK int sidecar_take(const struct sidecar *sc, struct census_want want, struct buf *out,
                            struct census *c);

/* For pages of patterns: "limit=N" of a query, and the members that name one. */
struct census_want sidecar_want_patterns(struct span query);
void sidecar_write_pattern_name(struct json *j, const struct census *c,
                                const struct census_pattern *p);

/* A client may have a service called "other". */
struct span sidecar_service_name(const struct census *c, uint32_t service);

void sidecar_write_pages_markdown(struct buf *out);
void sidecar_write_metrics_markdown(struct buf *out);

/* POST: patterns of before. */
MUST_CHECK int sidecar_warm_page(void *ctx, struct span query, struct span body, struct buf *out);

/* ---- patterns_page.c ---- */

/* In the order that the query wants: "sort=saved&reverse=1". */
struct census_want sidecar_want_ordered(struct span query);
void sidecar_write_pattern_members(struct json *j, const struct census *c,
                                   const struct census_pattern *p);
MUST_CHECK int sidecar_write_patterns(void *ctx, struct span query, struct buf *out);
MUST_CHECK int sidecar_write_pattern(void *ctx, struct span query, struct buf *out);

/* ---- whatif.c ---- */

/* POST: what a time that is over would have cost. */
MUST_CHECK int whatif_ask(void *ctx, struct span query, struct span body, struct buf *out);

/* ---- limit_table.c ---- */

void sidecar_write_limits_markdown(struct buf *out);
void sidecar_write_limits(struct buf *out);

/* A page. */
MUST_CHECK int sidecar_write_shadow(void *ctx, struct span query, struct buf *out);

/* ---- durable.c: the parts of durability: disk, which do nothing without it ---- */

MUST_CHECK int durable_open(struct sidecar *sc, struct error *err);
void durable_close(struct sidecar *sc);
void durable_free(struct sidecar *sc);
MUST_CHECK int durable_start(struct sidecar *sc, struct error *err); /* to deliver what is there */
void durable_leave(struct sidecar *sc);
/* Store what has been taken and let go of the directory: runs the loop until that is done. */
void durable_end(struct sidecar *sc);
/* What the end of a process says of the spool, in records. Zeros without one. */
struct durable_end_counts {
    uint64_t left;           /* the next start will find them */
    uint64_t earlier_unread; /* of those: stored by an earlier process and not read by this one */
    uint64_t removed;        /* stored, and their files were removed under us: lost */
    uint64_t dropped;        /* read, not delivered, and their segment made room: lost */
    uint64_t unstored; /* kept, and not stored: their clients were not answered with success */
    uint64_t lost, lost_frames; /* by the spool, those of earlier processes included */
};
void durable_end_counts(const struct sidecar *sc, struct durable_end_counts *out);

/* Zeros without a spool. */
struct journal_stats durable_stats(const struct sidecar *sc);
bool durable_is_idle(const struct sidecar *sc);
void durable_flush(struct sidecar *sc);
/* Why the spool keeps us from being ready, for the health page; NULL: it does not. */
const char *durable_status(const struct sidecar *sc);
/* For the health page: the member "spool". */
void durable_write(struct json *j, const struct sidecar *sc);

/* ---- limits.c ---- */

/* How many connections the limit on open files allows. */
void sidecar_limits_set(struct sidecar *sc);

/* ---- sandbox.c ---- */

/* Give up what a start does not need: before there is a second thread. */
MUST_CHECK int sidecar_sandbox_start(struct sidecar *sc, struct error *err);
void sidecar_sandbox_release(struct sidecar *sc);

/* ---- memory.c ---- */

void sidecar_memory_init(struct sidecar *sc);

/* The sum of the accounts. */
struct budget sidecar_memory(const struct sidecar *sc);

/* ---- signals.c ---- */

MUST_CHECK int sidecar_signals_start(struct sidecar *sc, struct error *err);
void sidecar_signals_stop(struct sidecar *sc);
void sidecar_signals_release(struct sidecar *sc);

/* ---- drain.c ---- */

MUST_CHECK int drain_start(struct sidecar *sc, struct error *err);
void drain_stop(struct sidecar *sc);

/* A signal asks for the end. */
void drain_begin(struct sidecar *sc, int number);

/* As /status says it. */
const char *sidecar_phase_name(enum sidecar_phase phase);

/* The last line of the log, once: what became of every record. */
void sidecar_log_ledger(struct sidecar *sc);

/* ---- reload.c ---- */

/* Read the configuration again. What is wrong with it is logged and returned, and changes
 * nothing. */
MUST_CHECK int sidecar_reload(struct sidecar *sc, struct error *err);
MUST_CHECK int sidecar_reload_page(void *ctx, struct span query, struct span body,
                                   struct buf *out); /* POST */
void sidecar_free_reloaded(struct sidecar *sc);

/* ---- access.c: who may speak ---- */

/* Read the file of keys for the receiver, and watch it. */
MUST_CHECK int access_start(struct sidecar *sc, struct error *err);
void access_reload(struct sidecar *sc);
void access_stop(struct sidecar *sc);

/* Ports that others reach without TLS or a key. */
void access_warn(const struct sidecar *sc);

/* ---- proxy.c ---- */

MUST_CHECK int proxy_start(struct sidecar *sc, struct error *err);
void proxy_stop(struct sidecar *sc);

/* This process will end: what has no end of its own is ended now, and the rest when it is `late`.
 */
void proxy_drain(struct sidecar *sc, bool late);
void proxy_release(struct sidecar *sc);
/* To the host that is configured now. */
MUST_CHECK int proxy_reload(struct sidecar *sc, struct error *err);

/* ---- tls.c ---- */

MUST_CHECK int tls_start(struct sidecar *sc, struct error *err);
void tls_stop(struct sidecar *sc);
void tls_reload(struct sidecar *sc);

/* What a service of that block is to speak; NULL: clear text. */
const struct tls_port *tls_port_of(const struct sidecar *sc, enum config_tls_block b);

struct tls_figures {
    bool is_on;
    struct metric installed, refused, handshakes;
    int64_t expires_s; /* of the certificate that ends first */
};
struct tls_figures tls_figures(const struct sidecar *sc);

/* ---- policies.c: policy files and the policy server ---- */

MUST_CHECK int policies_start(struct sidecar *sc, struct error *err);
void policies_stop(struct sidecar *sc);
void policies_release(struct sidecar *sc);

/* `before`: the configuration whose files are open; NULL: none are. */
MUST_CHECK int policies_set_files(struct sidecar *sc, const struct config *before,
                                  struct error *err);
MUST_CHECK int policies_open_server(struct sidecar *sc, struct error *err);
void policies_close_server(struct sidecar *sc);

/* ---- providing.c: a provider of Tero's policies ---- */

MUST_CHECK int providing_start(struct sidecar *sc, struct error *err);
void providing_stop(struct sidecar *sc);
/* Check what is configured now before anything changes; then put it in force. */
MUST_CHECK int providing_try(const struct config *cfg, const struct config *old, struct error *err);
MUST_CHECK int providing_reload(struct sidecar *sc, const struct config *old, struct error *err);

/* ---- annotating.c: a mark in PostHog for each version of a policy ---- */

MUST_CHECK int annotating_start(struct sidecar *sc, struct error *err);
void annotating_quiet(struct sidecar *sc);
void annotating_stop(struct sidecar *sc);
void annotating_release(struct sidecar *sc);

/* Rules are in force, of one service, or of all where it is empty. */
void annotating_note(struct sidecar *sc, struct span service, const struct rules *rules);

/* ---- guarding.c: what PostHog counts is kept ---- */

MUST_CHECK int guarding_start(struct sidecar *sc, struct error *err);
void guarding_reload(struct sidecar *sc, const struct config *before);
void guarding_stop(struct sidecar *sc);
void guarding_release(struct sidecar *sc);

/* The member "guarded" of a line for top: what keeps most. */
void guarding_save(const struct sidecar *sc, struct buf *out); /* for the state */
void guarding_write_top(struct json *j, const struct census *c);

/* The page /api/guard. */
MUST_CHECK int guarding_write(void *ctx, struct span query, struct buf *out);

/* ---- sink.c ---- */

/* Open the one exporter that is configured. */
MUST_CHECK int sidecar_open_sink(struct sidecar *sc, struct sink *out, enum coding *compression,
                                 struct error *err);
