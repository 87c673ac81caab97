/* clang-format off */
/*
 * pipeline: what happens to one request of logs between decode and queue.
 *
 *     check -> for each record: view -> sign -> decide -> count -> emit
 *
 * A request enters whole or not at all: damage anywhere in it is found before
 * its first record is decided, and room for all of its records is asked for
 * (`admit`) before the first is emitted.
 *
 * Records leave by one door, pipeline_emit(). Whatever hides or changes text of a record has
 * to reach each call below, because the text goes on from there; `tests/lint/lint.py exits`
 * holds this list.
 *
 *     call                    where                           what goes on, and to where
 *     sink.emit()             pipeline/pipeline_emit.c        the record: to all that is behind
 *     pattern_set_template()  pattern/pattern_place.c         a template: pages, reports, stamps
 *     pattern_set_template()  pipeline/pipeline_save.c        the same, of the process before
 *     families_save()         pipeline/pipeline_save.c        templates of families: the state file
 *     families_each_alias()   pipeline/census.c               a family's template: pages
 *     recorder_put()          pipeline/pipeline_record.c      a record: context of an error later
 *     events_sample()         pipeline/pipeline_record.c      one body of a pattern: events
 *     watcher.decided()       pipeline/pipeline_record.c      body and template: taps
 *     samples_take()          pipeline/pipeline_record.c      bodies of a pattern: pages
 *     to->begin()             pipeline/pipeline_explain.c     body and template: explain
 *     to->end()               pipeline/pipeline_explain.c     the same record again
 *     noticed.fn()            pipeline/pipeline_notice.c      a service's name, a template: pages
 *     ledger_service()        pipeline/pipeline.c             a service's name: pages, reports
 *     ledger_service()        pipeline/pipeline_save.c        that of a process before
 *     ledger_service()        pipeline/pipeline_notice.c      our own
 *
 * Where redaction enforces, each of them gets what the redactor (pipeline/redact.h) has made of
 * it, but for recorder_put(): nearly all of that is never given out, and what is passes emit().
 *
 * Blocking: never. Knows neither sockets nor loops.
 */
/* clang-format on */
#pragma once

#include <stdint.h>

#include "otlp/logs.h"
#include "otlp/mend.h"
#include "pipeline/anomaly.h"
#include "pipeline/governor.h"
#include "pipeline/guard.h"
#include "pipeline/ledger.h"
#include "pipeline/minutes.h"
#include "pipeline/peer_weights.h"
#include "pipeline/redact.h"
#include "pipeline/rules.h"
#include "pipeline/sampler.h"
#include "pipeline/samples.h"
#include "util/arena.h"
#include "util/clock.h"
#include "util/err.h"

/* Where survivors go. */
struct pipeline_sink {
    void *ctx;
    /* Is there room for `bytes` of records, the longest of them `largest`, should all
     * survive? 0, ERR_FULL, or ERR_TOO_BIG: never. May be NULL: there always is. */
    int (*admit)(void *ctx, size_t bytes, size_t largest);
    /* Take one survivor: copy record and stamp, which goes behind it and may be empty. Returns
     * by how many bytes the request that is sent has grown: what a backend meters of it, with
     * the Resource and Scope where it is the first to need them. Or ERR_* when memory failed.
     * Settles nothing of it from inside. */
    int (*emit)(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                uint32_t service);
    /* How full is what survivors go into, 0 to 1? May be NULL: it never fills. */
    double (*fullness)(void *ctx);
    /* As emit(), of an error or of what belongs to one, for a sink that has a way of its own for
     * them. May be NULL: they go the way of all. */
    int (*emit_error)(void *ctx, const struct logs_group *g, struct span record, struct span stamp,
                      uint32_t service);
};

struct pipeline_opts {
    uint32_t max_patterns, max_services;
    uint32_t max_patterns_per_service; /* 0: as many as there are */
    uint32_t family_weight;            /* of families; 0: every pattern is its own */
    bool severity_from_text;           /* a record without one is as severe as its text says */
    uint64_t seed;
    struct peer_weights peer_weights;
    struct span key; /* the attribute whose values stay together; borrowed; empty: none */
    unsigned stamps; /* of survivors of p < 1: bit per enum stamp; 0: none */
    struct {
        size_t bytes; /* 0: errors have no context */
        enum level trigger;
        uint64_t window_ms;
        uint32_t max_records, max_per_second;
        uint32_t trace_lines; /* behind an error; up to FOLLOW_LINES_MAX; 0: none */
        double max_share;     /* of the bytes that are kept */
    } context;
    uint32_t floor_per_second;     /* 0: all of the floor's are kept, which is the promise */
    struct governor_target target; /* zero: no budget */
    struct {
        bool enabled;
        uint64_t interval_ms, learning_ms; /* of anomalies, for boosts as well; 0: the usual */
        uint64_t summary_ms;
        uint32_t max_per_minute;
        uint64_t usage_ms; /* 0: no records of usage */
    } events;
    struct budget *samples;    /* for lines that people may see; NULL: none are held */
    bool minutes;              /* count what goes on by its minute (pipeline/minutes.h) */
    bool observe;              /* forward all as it came, and count what would be done */
    struct redact_opts redact; /* mode OFF: none; the last fields are the pipeline's to fill */
    bool logs_secrets;         /* a line for the first of a kind in a service */
    struct budget *budget;
    const struct clock *clock;
    struct pipeline_sink sink;
    /* Called when a service is seen for the first time. May be NULL. */
    void (*service_seen)(void *ctx, uint32_t service, struct span name);
    void *service_ctx;
};

struct pipeline;

/* `rules` is what applies to services without a policy of their own. */
MUST_CHECK int pipeline_new(struct pipeline **out, const struct pipeline_opts *opts,
                            const struct rules *rules);
void pipeline_free(struct pipeline *p);

/* The level of a record: as its fields say, else as its text does where that is asked for. */
enum level pipeline_level(struct pipeline *p, const struct logs_group *g, struct span bytes,
                          const struct log_record *r, enum severity_source *source);

/* Take an ExportLogsServiceRequest. On success *records is how many it held.
 *   ERR_MORE, ERR_MALFORMED, ERR_TOO_DEEP, ERR_UTF8   damage: nothing entered
 *   ERR_FULL       no room now: its records are counted as rejected
 *   ERR_NOMEM      memory failed on the way: those not yet decided are counted as rejected
 *   ERR_TOO_BIG    no room ever, likewise; or the arena is too small for it */
MUST_CHECK int pipeline_push(struct pipeline *p, struct span request, struct arena *arena,
                             uint32_t *records);

/* The same for a request that is known to pass logs_check() with that count: one
 * that the JSON transcoder has written. */
MUST_CHECK int pipeline_push_sound(struct pipeline *p, struct span request, struct arena *arena,
                                   const struct logs_count *count);

/* Its records were there before the process was: their patterns are in the table, and are not new
 * when they come. Nothing is counted, decided or sent. *records: how many. Errors as above. */
MUST_CHECK int pipeline_warm(struct pipeline *p, struct span request, struct arena *arena,
                             uint32_t *records);

/* The same of a client whose own key goes on with its records; empty: ours. */
MUST_CHECK int pipeline_push_of_key(struct pipeline *p, struct span request, struct span key,
                                    struct arena *arena, const struct logs_count *count);

/* The same in parts, of a request whose records would hold up the loop: at most `most` of them in a
 * call. 1: there are more; call again with the same request, in another turn. On failure the rest
 * is counted as rejected, and what went on before may arrive twice. */
struct pipeline_part {
    struct logs_place place; /* zeroed at first */
    uint32_t done;           /* records, likewise */
    uint32_t most;
};

MUST_CHECK int pipeline_push_part(struct pipeline *p, struct span request, struct span key,
                                  struct arena *arena, const struct logs_count *count,
                                  struct pipeline_part *part);

/* Records that were left out of a request before it was pushed are received, and rejected or
 * joined. `request` is what remained of it, in which every ResourceLogs still stands. */
void pipeline_set_aside(struct pipeline *p, struct span request, const struct logs_mended *left_out,
                        enum verdict verdict);

/* Time has passed: call it about each second. What was noticed and dropped meanwhile may
 * be sent as records of our own, which are counted as received and kept of the service
 * "lipservice". Does nothing where there is nothing to notice. */
void pipeline_tick(struct pipeline *p);

/* Policies of another maker, which see each record before our rules do. NULL: there are none. */
enum provided { PROVIDED_SAME, PROVIDED_CHANGED, PROVIDED_DROPPED };
struct pipeline_provider {
    void *ctx;
    /* enum provided, or ERR_*: the record is refused. CHANGED: *record and what is around it in *g
     * are new, and stay until the next call. One that is protected is never dropped. */
    int (*apply)(void *ctx, struct logs_group *g, struct span *record, bool is_protected);
};
void pipeline_set_provider(struct pipeline *p, const struct pipeline_provider *provider);

/* Called when an anomaly begins, of a pattern, or of a service where there is no template; within
 * pipeline_tick(). NULL: nothing is. It may change nothing of the pipeline. */
typedef void pipeline_noticed_fn(void *ctx, enum anomaly_kind kind, struct span service,
                                 struct span template_text);
void pipeline_notice(struct pipeline *p, pipeline_noticed_fn *fn, void *ctx);

/* The last of it, when no more requests come. */
void pipeline_finish(struct pipeline *p);

/* A record of our own that is found again at the backend by this id: nothing but the ledger counts
 * it. ERR_*: there is no room for it now. */
MUST_CHECK int pipeline_canary(struct pipeline *p, struct span id);

/* What has gone on of a service, of a minute since 1970; and what is in no minute. Zeros where
 * opts.minutes is not set. */
struct minutes_cell pipeline_minute(const struct pipeline *p, uint32_t service, uint64_t minute);
uint64_t pipeline_untold(const struct pipeline *p, uint32_t service);

/* ---- a process before this one --------------------------------------- */

/* What it knows of patterns and families, and its budget's debts. Failures are the buf's. */
void pipeline_save(const struct pipeline *p, uint64_t unix_ns, struct buf *out);

/* The same into a pipeline that has seen nothing yet and has the same seed: what is in it is not
 * new when it comes, and a window that was begun goes on. ERR_MALFORMED: it is no such text; what
 * of it was read stays. */
MUST_CHECK int pipeline_restore(struct pipeline *p, uint64_t unix_ns, struct span text);

/* ---- records that are elsewhere ---------------------------------------- */

/* The number of a service, made on first sight. */
uint32_t pipeline_service(struct pipeline *p, struct span name);

/* The same without making one; false: it is not known, or has no place of its own. */
bool pipeline_find_service(const struct pipeline *p, struct span name, uint32_t *service);

/* Borrowed; empty of those that have no place of their own. */
struct span pipeline_service_name(const struct pipeline *p, uint32_t service);

/* A record that an earlier process kept was found: received and kept, and queued. */
void pipeline_found(struct pipeline *p, uint32_t service, struct span record, size_t bytes);

/* What became of records that the sink took. */
void pipeline_settle(struct pipeline *p, uint32_t service, enum fate fate, uint64_t records);

/* ---- for people -------------------------------------------------------- */

/* What is counted is read by a census (pipeline/census.h). */

/* The present day (UTC) begins anew at midnight. Returns in how many milliseconds to call
 * again. */
uint64_t pipeline_day(struct pipeline *p);

/* Lines of entry `number` of a census that were kept, or dropped (observing: would be), newest
 * first. How many; 0 where none are held. Borrowed until the next request. */
unsigned pipeline_samples(const struct pipeline *p, uint32_t number, bool is_kept,
                          struct sample_text out[SAMPLES_EACH]);

/* What of the counts of entry `number`, which an explainer was lent, is of the present day.
 * Returns since when. */
uint64_t pipeline_today(const struct pipeline *p, uint32_t number, struct pattern_counts *out);

/* For people: what would become of each record by itself under the rules of its service,
 * which are given to begin, as are the kinds that redaction finds in it. begin, the steps and end
 * are called for each; nothing is counted or emitted. The pattern of the subject is NULL when it
 * was never counted. */
struct pipeline_explainer {
    void (*begin)(void *ctx, const struct subject *s, struct span template_text,
                  const struct rules *rules, const struct redact_set *kinds);
    void (*end)(void *ctx, const struct subject *s, const struct decision *d);
    struct sampler_trace trace; /* its ctx goes to all three */
};
MUST_CHECK int pipeline_explain(struct pipeline *p, struct span request, struct arena *arena,
                                const struct pipeline_explainer *explainer);

/* Called for every decision from now on, behind its count, and not for what is rejected; while
 * observing for what enforcing would decide. decided NULL: no call. It may change nothing of the
 * pipeline. */
struct pipeline_watcher {
    void *ctx;
    void (*decided)(void *ctx, const struct subject *s, const struct decision *d);
};
void pipeline_watch(struct pipeline *p, const struct pipeline_watcher *watcher);

/* The rules of all services without their own, from now on. */
void pipeline_set_common_rules(struct pipeline *p, const struct rules *rules);

/* The rules of one service from now on; NULL: the common ones again. What they say of
 * a pattern holds for the family that it becomes, within a second of that. */
MUST_CHECK int pipeline_set_rules(struct pipeline *p, uint32_t service, const struct rules *rules);
void pipeline_forget_rules(struct pipeline *p); /* of all services */
const struct rules *pipeline_rules(const struct pipeline *p, uint32_t service);

/* The same, bound to the families that patterns have become by now. Borrowed until the next call
 * of anything here. */
const struct rules *pipeline_bound_rules(struct pipeline *p, uint32_t service);

/* Has the service rules of its own? */
bool pipeline_has_own_rules(const struct pipeline *p, uint32_t service);

/* A copy of other rules, bound in the same way. ERR_NOMEM. */
MUST_CHECK int pipeline_bind(const struct pipeline *p, const struct rules *rules,
                             struct rules **out);

/* From now on redaction leaves these attributes alone, commas between, in place of those of the
 * last call. ERR_FULL, ERR_NOMEM: nothing has changed. */
MUST_CHECK int pipeline_protect(struct pipeline *p, struct span names);

MUST_CHECK int pipeline_set_observe(struct pipeline *p, bool observe);
void pipeline_set_target(struct pipeline *p, const struct governor_target *target);

/* The same for a budget that moves all the time: where only its amount is another, what was
 * learned stays, and so do debts. */
void pipeline_move_target(struct pipeline *p, const struct governor_target *target);

/* Of records that the floor keeps, a second; 0: all of them. */
uint32_t pipeline_floor_limit(const struct pipeline *p);

/* What PostHog counts, for all services and policies from now on; NULL: nothing any more. What
 * its items have counted goes on where they are in the new one. */
void pipeline_set_guard(struct pipeline *p, const struct guard *guard);
const struct guard *pipeline_guard(const struct pipeline *p); /* NULL: none */

/* The policy that is only counted; NULL: none any more. */
MUST_CHECK int pipeline_set_shadow_rules(struct pipeline *p, const struct rules *rules);
const struct rules *pipeline_shadow_rules(const struct pipeline *p); /* NULL: none yet */
