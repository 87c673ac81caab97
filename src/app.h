/*
 * app: the sidecar: its parts in start order, its pages, its signals, its end.
 *
 *     app_start() -> app_run() until SIGTERM or SIGINT, then drained -> app_stop()
 *
 * Draining: readiness goes off; requests are still taken until none came for a
 * moment or half of shutdown.timeout is over, because a sidecar must outlive its
 * application's last flush; then connections are told to close, what is held is
 * delivered, and what is not delivered in time is counted as lost. A second
 * signal ends at once. Whatever the loop or the pool waits for, the process ends a
 * second after shutdown.timeout at the latest (app_signals.c).
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "app_live.h"
#include "config/config.h"
#include "export/exporter.h"
#include "export/journal.h"
#include "net/client.h"
#include "net/http.h"
#include "net/listener.h"
#include "net/page.h"
#include "pipeline/pipeline.h"
#include "policy/file.h"
#include "policy/remote.h"
#include "policy/report.h"
#include "receiver/receiver.h"
#include "util/budget.h"
#include "util/clock.h"

enum app_phase { APP_STARTING, APP_RUNNING, APP_QUIETING, APP_FLUSHING, APP_ENDED };

/* What the thread that waits for signals has heard, and what of it the loop has done. */
struct app_signals {
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

struct app {
    const struct config *cfg;         /* in force */
    const struct config_input *input; /* where it came from, for a reload */
    struct config *reloaded;          /* owned, once there was one */
    struct {
        struct metric accepted, refused;
        bool failed_last;
        uint64_t last_ms; /* monotonic; 0: never */
    } reloads;
    uv_loop_t loop;
    enum app_phase phase;
    const struct clock *clock;
    struct budget budget;
    uint64_t started_ms, drain_began_ms;
    bool reported_at_end; /* the last report was begun */
    bool told_at_end;     /* the last events */
    struct client *client;
    struct exporter *exporter;
    struct aside *aside; /* NULL without exporters.refused_file */
    struct journal *journal; /* durability: disk; else NULL */
    bool leaves_on_disk;     /* the end: what is not delivered now is not lost */
    struct pipeline *pipeline;
    struct policy_file *policy_file; /* NULL without sampling.policy_file */
    struct policy_file *shadow_file; /* likewise, of shadow.policy_file */
    struct remote *remote; /* NULL without policy.server, as is report */
    struct report *report;
    struct receiver *receiver;
    struct http_service service; /* of both OTLP ports */
    uint32_t connections, page_connections; /* at most, of one port */
    struct listener grpc, http;
    struct page_server health, metrics, admin;
    struct live *live; /* what the admin pages answer from the running pipeline */
    struct app_signals signals;
    atomic_bool is_ledger_told; /* the last line of the log */
    uv_timer_t drain_timer, tick_timer;
    size_t parts_started;
};

/* ERR_CONFIG, ERR_UNAVAILABLE (a port is taken), ERR_NOMEM. On failure nothing is left. */
int app_start(struct app *app, const struct config *cfg, const struct config_input *input,
              struct error *err);

/* Until drained. Always 0: what could not be delivered is told by count in the log. */
int app_run(struct app *app);

void app_stop(struct app *app);

/* Ready means listening and not draining, and with durability: disk able to store; not that the upstream is there, or an
 * outage of it would take the application's pod down. */
bool app_is_ready(const struct app *app);

/* From app_pages.c: the tables of the three page servers. */
extern const struct page app_health_pages[], app_metrics_pages[], app_admin_pages[];
extern const size_t app_health_page_count, app_metrics_page_count, app_admin_page_count;

/* For pages: {"pattern":... up to its template, without the end of the object. */
void app_write_pattern_name(struct buf *out, const struct app *app, const struct pattern *p);
uint32_t app_read_limit(struct span query);

/* All *n patterns, sorted, in the memory of *room, which is the caller's to free. NULL: there
 * is none, and *out says so; the status is 503. */
struct pattern **app_list_patterns(const struct app *app, int (*compare)(const void *, const void *),
                                   struct buf *room, struct buf *out, uint32_t *n);

/* From app_journal.c: the parts of durability: disk, which do nothing without it. */
int app_journal_open(struct app *app, struct error *err);
void app_journal_close(struct app *app);
void app_journal_free(struct app *app);
int app_journal_start(struct app *app, struct error *err); /* to deliver what is there */
void app_journal_leave(struct app *app);
/* Store what has been taken and let go of the directory: runs the loop until that is done. */
void app_journal_end(struct app *app);
/* What the end of a process says of the spool, in records. Zeros without one. */
struct app_journal_end_counts {
    uint64_t left;           /* the next start will find them */
    uint64_t earlier_unread; /* of those: stored by an earlier process and not read by this one */
    uint64_t removed;        /* stored, and their files were removed under us: lost */
    uint64_t dropped;        /* read, not delivered, and their segment made room: lost */
    uint64_t unstored;       /* kept, and not stored: their clients were not answered with success */
    uint64_t lost, lost_frames; /* by the spool, those of earlier processes included */
};
void app_journal_end_counts(const struct app *app, struct app_journal_end_counts *out);

/* Records of earlier processes that wait and are not in the ledger yet. */
uint64_t app_journal_backlog(const struct app *app);
/* Why the spool keeps us from being ready, for the health page; NULL: it does not. */
const char *app_journal_status(const struct app *app);
/* {"directory":...} for the health page. */
void app_write_journal(struct buf *out, const struct app *app);

/* From app_shadow.c: a page. */
int app_write_shadow(void *ctx, struct span query, struct buf *out);

/* From app_limits.c: how many connections the limit on open files allows. */
void app_limits_set(struct app *app);

/* From app_signals.c. The first thing of a run: from here on no stray signal ends it. */
void app_signals_early(void);
int app_signals_start(struct app *app, struct error *err);
void app_signals_stop(struct app *app);
void app_signals_release(struct app *app);

/* For it: a signal asks for the end. */
void app_stop_asked(struct app *app, int number);
/* The last line of the log, once: what became of every record. */
void app_log_ledger(struct app *app);

/* From app_reload.c: read the configuration again; what is wrong with it is told, and changes
 * nothing. */
int app_reload(struct app *app, struct error *err);
int app_reload_page(void *ctx, struct span query, struct span body, struct buf *out); /* POST */
void app_free_reloaded(struct app *app);

/* For a reload: parts of the policy. */
int app_set_policy_files(struct app *app, const struct config *before, struct error *err);
int app_open_policy_server(struct app *app, struct error *err);
void app_close_policy_server(struct app *app);

/* From app_sink.c: how to reach a server, in net's words, after its files were checked;
 * `prefix` is the key of the settings for the message. */
int app_open_route(struct route *out, const struct config_route *from, const char *prefix,
                   struct error *err);
/* Likewise: open the one exporter that is configured. */
int app_open_sink(struct app *app, struct sink *out, enum coding *compression, struct error *err);
