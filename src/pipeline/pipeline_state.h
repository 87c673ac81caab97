/*
 * pipeline_state: what a pipeline is made of. For the files that implement it.
 */
#pragma once

#include "pattern/day_counts.h"
#include "pattern/pattern_place.h"
#include "pattern/signature.h"
#include "pipeline/census.h"
#include "pipeline/guard.h"
#include "pipeline/follow.h"
#include "pipeline/metering.h"
#include "pipeline/pipeline.h"
#include "pipeline/record_clock.h"
#include "pipeline/redact.h"
#include "pipeline/rulebook.h"
#include "pipeline/stamp.h"
#include "pipeline/usage.h"
#include "util/err.h"
#include "util/token_bucket.h"

struct pipeline {
    struct pipeline_opts opts;
    struct ledger *ledger;
    struct patterns *patterns;
    struct families *families; /* NULL: no merging */
    struct signer *signer;
    struct governor *governor; /* NULL: neither a budget nor a queue that could press */
    struct rulebook rulebook;
    struct pipeline_provider provider;       /* zero: none */
    struct guard *guard;                     /* NULL: nothing is guarded */
    struct guard_counts selected[GUARD_MAX]; /* by its items */
    struct shadow *shadow;                   /* NULL: nothing is only counted */
    struct {
        struct recorder *recorder; /* of the second policy: what it would release; may be NULL */
        struct token_bucket floor; /* of the second policy, where the floor has a limit */
        struct decision would;     /* observing: on the record at hand, were it enforced */
        uint64_t released;         /* by `recorder` below, which was only said */
        uint64_t sent_before;      /* records, when looking on began */
        double context_left[SHADOW_LANE_COUNT]; /* as below */
        struct follow follow[SHADOW_LANE_COUNT];
    } looked;
    struct record_clock clock;
    struct metering metering;
    struct anomaly *anomaly; /* NULL: neither boosts nor events */
    struct events *events;   /* NULL: no events are sent */
    struct {
        pipeline_noticed_fn *fn; /* NULL: it is not called */
        void *ctx;
    } noticed;
    struct usage *usage;       /* NULL: no records of usage are sent */
    struct samples *samples;   /* NULL: none are taken */
    uint64_t *guarded;         /* entries of which a record was kept for PostHog; bit per number */
    struct minutes *minutes;   /* NULL: they are not counted */
    struct redactor *redactor; /* NULL: nothing is looked for */
    struct {
        const struct pattern_key *key; /* of the record that is being placed */
        uint32_t generation;           /* of families, before */
        const struct logs_group *group;
        struct span record;
    } placing; /* for anomaly_begin(), and for templates */
    struct census_reasons reasons;
    uint64_t severities[SEVERITY_SOURCES]; /* of records, by where they came from */
    struct timestamp_counts timestamps;
    struct pattern_place place;
    struct day_counts today;
    struct recorder *recorder; /* NULL: errors have no context */
    struct follow follow;      /* likewise */
    struct draws *draws;
    struct {
        double left;      /* records that may be kept for being the first of a pattern that takes
                           * another's place */
        uint64_t evicted; /* patterns, when the last one began */
    } newcomers;
    double context_left;   /* bytes that released context may take now */
    size_t context_stamps; /* bytes of the stamps of one */
    struct {
        struct token_bucket bucket;
        uint64_t untold, told_ms;    /* what was dropped since it was last said */
    } floor;                         /* where the floor has a limit */
    struct pipeline_watcher watcher; /* none, as a rule */
};

#define CONTEXT_DEPTH_BYTES 65536 /* of context at once: the usual error's, and twice over */

/* One pipeline_push_part() in progress. */
struct pass {
    struct pipeline *p;
    uint64_t now_ms, unix_ns;    /* of the process */
    uint64_t at_ms, governed_ms; /* of the records; when the governor was told last, 0: not yet */
    double fullness;
    uint32_t unix_s;
    uint32_t resource_index; /* whose service is cached */
    uint32_t scope_index;
    uint32_t service;
    const struct rules *rules, *second;
    uint64_t guarding;         /* by what of the guard the service may be selected, bit per item */
    size_t request_bytes;      /* and all stamps that its records may get */
    struct governor *governor; /* NULL: nothing to govern now */
    enum verdict all;          /* REJECTED: count only */
    int failed;                /* why, when that began in the middle; else 0 */
    uint32_t left;             /* records of this part */
};

/* What a record carries that is released as the context of an error. Weight 0 is never optional:
 * without it the sums are wrong. */
static inline unsigned pipeline_context_stamps(unsigned chosen)
{
    const unsigned always = 1u << STAMP_ADJUSTED_COUNT;
    const unsigned wanted = 1u << STAMP_PATTERN | 1u << STAMP_FAMILY | 1u << STAMP_REASON;
    return always | (chosen & wanted);
}

/* ---- pipeline.c -------------------------------------------------------- */

/* Is there room? As pipeline_sink.admit() says. */
MUST_CHECK int pipeline_admit(const struct pipeline *p, size_t bytes, size_t largest);

/* ---- pipeline_emit.c --------------------------------------------------- */

#define PIPELINE_WITHHELD (-30000) /* no failure: clear of util/err.h */

/* The one door: a survivor, the context of an error, an event; record and stamp are copied.
 * `of_error`: it is an error, or is sent on with one. By how many bytes the request that is sent
 * has grown; PIPELINE_WITHHELD: redaction drops it; or ERR_*: it was not taken and is in no count.
 */
MUST_CHECK int pipeline_emit(const struct pipeline *p, const struct logs_group *g,
                             struct span record, struct span stamp, uint32_t service,
                             bool of_error);

/* ---- pipeline_provided.c ----------------------------------------------- */

/* What the provider's policies make of a record, and what they are given. */
struct provided_record {
    struct logs_group *group;  /* a copy: may be changed */
    struct span *bytes;        /* likewise */
    struct log_record *record; /* is read again where bytes changed */
    enum level *level;         /* an error stays one */
};

/* enum provided, or ERR_*. Observing, nothing is changed. */
MUST_CHECK int pipeline_ask_provider(struct pipeline *p, const struct provided_record *r);

/* ---- pipeline_record.c ------------------------------------------------- */

/* Time has passed for the records: the governor is told, where there is one. */
void pipeline_govern(struct pass *pass);

/* One record of the pass that `pass` points to; a logs_record_fn. */
MUST_CHECK int pipeline_record(void *pass, const struct logs_group *g, struct span bytes);

/* Into room of STAMP_BYTES; empty: it carries none. */
struct span pipeline_stamp(const struct pipeline *p, const struct subject *s,
                           const struct decision *d, uint8_t *room);
struct span pipeline_context_stamp(const struct pipeline *p, const struct recording *c,
                                   uint8_t *room);

/* What there is to know of a record that is, or may become, context. */
static inline struct recording pipeline_recording(const struct pass *pass, const struct subject *s,
                                                  struct span mended)
{
    return (struct recording){s->bytes,           mended, s->signature, s->family, pass->service,
                              s->pattern->number, 0};
}

/* A line that goes on with the trace of an error before it, which f follows. */
bool pipeline_is_follower(struct follow *f, const struct pass *pass, const struct subject *s);

/* The context of a trigger, as far as `left` bytes pay for it. Returns how many. */
uint32_t pipeline_find_context(const struct pass *pass, const struct subject *s,
                               struct recorder *recorder, double left,
                               struct recording found[RECORDER_RECORDS_MAX]);

/* As much was kept: a share of it is for context. */
void pipeline_allow_context(const struct pipeline *p, double *left, size_t kept_bytes);

/* Remember what was sampled out, for the context of errors. */
void pipeline_remember(const struct pass *pass, const struct subject *s, struct span mended,
                       struct recorder *recorder);

/* The entry that it was counted under; NULL: it began anew since then. */
struct pattern *pipeline_context_pattern(const struct pipeline *p, const struct recording *c);

/* Kept: is there anything left to pay it with? */
bool pipeline_pay(const struct pass *pass, const struct subject *s, const struct decision *d);
void pipeline_pay_context(const struct pass *pass, const struct recording *c);

/* ---- pipeline_guard.c -------------------------------------------------- */

/* What of the guard selects the record, of what is possible (guard_possible()): s->selected and
 * s->guarded. Where there is a guard. */
void pipeline_ask_guard(const struct pipeline *p, struct subject *s, uint64_t possible);

/* What became of it; `sent_bytes` where it was kept. */
void pipeline_count_selected(struct pipeline *p, const struct subject *s, enum verdict verdict,
                             size_t sent_bytes);

/* ---- pipeline_look.c --------------------------------------------------- */

/* What a second policy would do is counted, and while the program only observes, what this one
 * would. Where something is looked at (p->shadow). Returns what is done. */
struct decision pipeline_look_on(const struct pass *pass, const struct subject *s,
                                 struct decision d, struct span mended);

uint64_t pipeline_sign(struct pipeline *p, const struct logs_group *g, struct span bytes,
                       const struct log_record *r);

/* 1 to 5 of an HTTP status among the attributes; 0: there is none. */
uint8_t pipeline_status_class(const struct log_record *r);

/* ---- pipeline_redact.c ------------------------------------------------- */

MUST_CHECK int pipeline_start_redaction(struct pipeline *p);

/* A subject as people may see it: itself, or one made in `view`, borrowed until the next call. */
struct pipeline_view {
    struct subject subject;
    struct log_record record;
    struct logs_group group;
    uint8_t name[LEDGER_NAME_BYTES]; /* of the service */
};
const struct subject *pipeline_view(const struct pipeline *p, const struct subject *s,
                                    struct pipeline_view *view);

/* The template of the record that was just signed, as people may see it: that of the redacted
 * record, redacted. The signer has signed that record then. */
struct span pipeline_own_template(struct pipeline *p, const struct logs_group *g,
                                  struct span record);

/* For struct pattern_place, whose ctx is the pipeline. */
struct span pipeline_show_template(void *ctx, struct span text, bool is_own);

/* Bits of the kinds that are found in a record; nothing is counted. */
struct redact_set pipeline_find_secrets(const struct pipeline *p, struct span record);

/* ---- pipeline_notice.c ------------------------------------------------- */

MUST_CHECK int pipeline_start_events(struct pipeline *p);

/* Create the anomaly detector when events are on or `rules` (NULL: no boost) has a boost. */
MUST_CHECK int pipeline_watch_anomalies(struct pipeline *p, const struct rules *rules);
