/* pipeline: its parts, and one pass over a sound request (pipeline_record.c: each record). */
#include "pipeline/pipeline.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "pipeline/pipeline_state.h"
#include "pipeline/stamp.h"

#define PRESSES 0.25 /* of the queue: half of where shedding begins (pipeline/pressure.h) */
#define OVERFLOW_SHARE \
    8 /* of a service's patterns: lines of so many kinds are enough to look at \
       */

#define NEWCOMERS_SHARE 0.1  /* of all records */
#define NEWCOMERS_DEPTH 1000 /* records: 200 patterns' firsts, which is a deployment's worth */

/* What a survivor carries when its pattern is its own family and it has a trace id. */
static size_t typical_stamp(unsigned set)
{
    uint8_t room[STAMP_BYTES];
    const struct stamp_values v = {
        .threshold = rules_threshold_of(0.1),
        .template_text = SPAN("a line of log with some of its words"),
        .reason = reason_name(REASON_BUDGET),
    };
    return stamp_write(room, set, &v).len;
}

/* Is a pattern that begins the first of its kind? One that takes another's place may have been
 * here before, and where patterns come and go each would bring its firsts: they are bounded by a
 * share of all records. What stands for many is never new. */
static void open_window(struct pipeline *p, struct pattern *e, bool is_overflow)
{
    uint64_t evicted = patterns_evicted(p->patterns);
    bool takes_place = evicted != p->newcomers.evicted;
    p->newcomers.evicted = evicted;
    if (!takes_place && !is_overflow)
        return;
    e->window = PATTERN_WINDOW_KNOWN;
    if (!takes_place)
        return;
    e->in_window = p->newcomers.left < 1; /* none of its first window, else */
    if (e->in_window == 0)
        p->newcomers.left -= rules_first(pipeline_rules(p, e->key.service));
}

static void on_new_pattern(void *ctx, uint32_t number, bool is_overflow)
{
    struct pipeline *p = ctx;
    struct pattern *e = patterns_at(p->patterns, number);
    open_window(p, e, is_overflow);
    if (p->governor != NULL)
        governor_forget(p->governor, number);
    if (p->shadow != NULL)
        shadow_begin(p->shadow, e);
    if (p->events != NULL)
        events_forget(p->events, number);
    if (p->samples != NULL)
        samples_forget(p->samples, number);
    p->guarded[number / 64] &= ~(UINT64_C(1) << number % 64);
    if (p->anomaly != NULL) {
        bool has_merged =
            p->families != NULL && families_generation(p->families) != p->placing.generation;
        anomaly_begin(p->anomaly, number, &e->key, p->placing.key, has_merged);
    }
}

/* ---- life -------------------------------------------------------------- */

/* Where errors have context; else *out stays NULL. */
static int open_recorder(const struct pipeline *p, struct recorder **out)
{
    const struct pipeline_opts *o = &p->opts;
    const struct recorder_opts context = {
        .bytes = o->context.bytes,
        .window_ms = o->context.window_ms,
        .max_records = o->context.max_records,
        .max_per_second = o->context.max_per_second,
        .seed = o->seed,
        .budget = o->budget,
    };
    return context.bytes > 0 && *out == NULL ? recorder_new(out, &context) : 0;
}

/* Of errors: what led to them, and the rest of their traces. */
static int start_context(struct pipeline *p)
{
    const struct pipeline_opts *o = &p->opts;
    p->context_left = CONTEXT_DEPTH_BYTES;
    p->context_stamps = stamp_bytes(pipeline_context_stamps(o->stamps));
    follow_init(&p->follow, o->context.bytes > 0 ? o->context.trace_lines : 0, o->context.window_ms,
                o->context.max_per_second);
    for (int lane = 0; lane < SHADOW_LANE_COUNT; lane++) {
        p->looked.context_left[lane] = p->context_left;
        p->looked.follow[lane] = p->follow;
    }
    return open_recorder(p, &p->recorder);
}

int pipeline_new(struct pipeline **out, const struct pipeline_opts *opts, const struct rules *rules)
{
    struct pipeline *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    p->opts = *opts;
    struct ledger_opts ledger = {opts->max_services, opts->seed, opts->budget};
    struct patterns_opts patterns = {opts->max_patterns, opts->max_services,
                                     opts->max_patterns_per_service, opts->seed, opts->budget};
    struct families_opts families = {
        .weight = opts->family_weight,
        .seed = opts->seed,
        .budget = opts->budget,
        .learn_per_second = FAMILY_LEARN_PER_SECOND,
    };
    struct governor_opts governor = {
        .target = opts->target,
        .max_patterns = opts->max_patterns,
        .stamp_bytes = typical_stamp(opts->stamps),
        .budget = opts->budget,
    };
    bool is_governed = opts->target.unit != GOVERNOR_NONE || opts->sink.fullness != NULL;
    struct draws_opts draws = {opts->key, opts->seed, opts->budget};
    p->newcomers.left = NEWCOMERS_DEPTH;
    if (ledger_new(&p->ledger, &ledger) < 0 || draws_new(&p->draws, &draws) < 0 ||
        patterns_new(&p->patterns, &patterns) < 0 || signer_new(&p->signer) < 0 ||
        (opts->family_weight > 0 && families_new(&p->families, &families) < 0) ||
        rulebook_init(&p->rulebook, rules, opts->max_services, p->families) < 0 ||
        (is_governed && governor_new(&p->governor, &governor) < 0) ||
        pipeline_set_observe(p, opts->observe) < 0 || pipeline_start_events(p) < 0 ||
        pipeline_watch_anomalies(p, rules) < 0 || start_context(p) < 0 ||
        pipeline_start_redaction(p) < 0 ||
        (opts->samples != NULL &&
         samples_new(&p->samples, opts->max_patterns, opts->samples) < 0) ||
        (p->guarded = calloc(opts->max_patterns / 64 + 1, sizeof *p->guarded)) == NULL ||
        (opts->minutes && minutes_new(&p->minutes, opts->max_services, opts->budget) < 0))
        goto fail;
    if (p->minutes != NULL)
        minutes_set_now(p->minutes, clock_unix_ns(opts->clock));
    token_bucket_init(&p->floor.bucket, opts->floor_per_second);
    token_bucket_init(&p->looked.floor, opts->floor_per_second);
    p->place = (struct pattern_place){
        .patterns = p->patterns,
        .families = p->families,
        .signer = p->signer,
        .overflow_entries = opts->max_patterns_per_service / OVERFLOW_SHARE,
        .on_new = on_new_pattern,
        .shown = redactor_enforces(p->redactor) ? pipeline_show_template : NULL,
        .ctx = p,
    };
    if (opts->clock != NULL)
        day_counts_init(&p->today, p->patterns, opts->clock, opts->budget);
    *out = p;
    return 0;

fail:
    pipeline_free(p);
    return ERR_NOMEM;
}

void pipeline_free(struct pipeline *p)
{
    if (p == NULL)
        return;
    day_counts_done(&p->today);
    rulebook_done(&p->rulebook);
    guard_unref(p->guard);
    redactor_free(p->redactor);
    minutes_free(p->minutes);
    shadow_free(p->shadow);
    anomaly_free(p->anomaly);
    events_free(p->events);
    usage_free(p->usage);
    samples_free(p->samples);
    free(p->guarded);
    signer_free(p->signer);
    families_free(p->families);
    governor_free(p->governor);
    patterns_free(p->patterns);
    ledger_free(p->ledger);
    pattern_place_done(&p->place);
    recorder_free(p->recorder);
    recorder_free(p->looked.recorder);
    draws_free(p->draws);
    free(p);
}

int pipeline_admit(const struct pipeline *p, size_t bytes, size_t largest)
{
    const struct pipeline_sink *sink = &p->opts.sink;
    return sink->admit == NULL ? 0 : sink->admit(sink->ctx, bytes, largest);
}

int pipeline_push_sound(struct pipeline *p, struct span request, struct arena *arena,
                        const struct logs_count *count)
{
    return pipeline_push_of_key(p, request, (struct span){0}, arena, count);
}

int pipeline_push_of_key(struct pipeline *p, struct span request, struct span key,
                         struct arena *arena, const struct logs_count *count)
{
    struct pipeline_part whole = {.most = UINT32_MAX};
    return pipeline_push_part(p, request, key, arena, count, &whole);
}

/* Room for all that is left of the request, whose next part the pass is. */
static int admit(struct pass *pass, struct span request, struct arena *arena,
                 const struct logs_count *count, const struct pipeline_part *part)
{
    /* Every survivor may carry stamps. */
    size_t stamps = TIMESTAMP_BYTES + stamp_bytes(pass->p->opts.stamps);
    double left = 1 - (double)part->done / count->records;
    pass->request_bytes =
        (size_t)((double)request.len * left) + (size_t)(count->records - part->done) * stamps;
    int rc = pipeline_admit(pass->p, pass->request_bytes, count->largest + stamps);
    /* What may have to be gathered around the records: all or nothing, so before the first. */
    size_t around = request.len - count->record_bytes +
                    2 * ARENA_ALIGN * ((size_t)count->resources + count->scopes);
    return rc == 0 ? arena_reserve(arena, around) : rc;
}

static int record_of_part(void *ctx, const struct logs_group *g, struct span bytes)
{
    struct pass *pass = ctx;
    if (pass->left == 0 && pass->all != VERDICT_REJECTED)
        return LOGS_PAUSE;
    pass->left--;
    return pipeline_record(pass, g, bytes);
}

int pipeline_push_part(struct pipeline *p, struct span request, struct span key,
                       struct arena *arena, const struct logs_count *count,
                       struct pipeline_part *part)
{
    struct pass pass = {
        .p = p,
        .now_ms = clock_now_ms(p->opts.clock),
        .unix_ns = clock_unix_ns(p->opts.clock),
        .resource_index = UINT32_MAX,
        .scope_index = UINT32_MAX,
        .left = part->most,
    };
    pass.unix_s = (uint32_t)(pass.unix_ns / 1000000000);
    if (count->records == 0)
        return 0;
    int full = admit(&pass, request, arena, count, part);
    if (full < 0)
        pass.all = VERDICT_REJECTED;
    uint32_t left = count->records - part->done, records = left < part->most ? left : part->most;
    p->newcomers.left = fmin(p->newcomers.left + NEWCOMERS_SHARE * records, NEWCOMERS_DEPTH);
    /* Observing, what presses is all that would not be there. */
    if (p->opts.sink.fullness != NULL && !p->opts.observe)
        pass.fullness = p->opts.sink.fullness(p->opts.sink.ctx);
    record_clock_begin(&p->clock, pass.unix_ns / 1000000, pass.fullness > PRESSES);
    pass.at_ms = p->clock.now_ms;
    if (pass.at_ms != 0) /* else its first record says when this is */
        pipeline_govern(&pass);
    int rc = logs_each_from(request, key, p->opts.seed, arena, &part->place,
                            records < left ? record_of_part : pipeline_record, &pass);
    part->done += records;
    if (rc >= 0 && (full < 0 || pass.failed < 0))
        rc = full < 0 ? full : pass.failed;
    return rc;
}

int pipeline_push(struct pipeline *p, struct span request, struct arena *arena, uint32_t *records)
{
    struct logs_count n;
    int rc = logs_check(request, &n);
    if (rc < 0)
        return rc;
    *records = n.records;
    return pipeline_push_sound(p, request, arena, &n);
}

struct setting_aside {
    struct pipeline *p;
    enum verdict verdict;
    const struct logs_rejected *next, *end;
};

static int set_aside_of(void *ctx, uint32_t resource_index, struct span service_name)
{
    struct setting_aside *r = ctx;
    if (r->next == r->end)
        return 1;
    if (r->next->resource_index != resource_index)
        return 0;
    ledger_decide(r->p->ledger, pipeline_service(r->p, service_name), r->verdict, r->next->records,
                  r->next->bytes);
    r->next++;
    return 0;
}

void pipeline_set_aside(struct pipeline *p, struct span request, const struct logs_mended *left_out,
                        enum verdict verdict)
{
    const struct logs_rejected *first = (const void *)left_out->tally.base;
    size_t n = left_out->tally.len / sizeof *first;
    struct setting_aside r = {p, verdict, first, n > 0 ? first + n : first};
    ignore_code(logs_each_resource(request, set_aside_of, &r)); /* it is sound */
    assert(r.next == r.end);
}

void pipeline_watch(struct pipeline *p, const struct pipeline_watcher *watcher)
{
    p->watcher = *watcher;
}

void pipeline_set_common_rules(struct pipeline *p, const struct rules *rules)
{
    /* Without memory for it there is no boost; it is tried again with the next rules. */
    ignore_code(pipeline_watch_anomalies(p, rules));
    rulebook_set_common(&p->rulebook, rules);
}

int pipeline_set_rules(struct pipeline *p, uint32_t service, const struct rules *rules)
{
    /* Without memory for it there is no boost; it is tried again with the next rules. */
    ignore_code(pipeline_watch_anomalies(p, rules));
    rulebook_set_service(&p->rulebook, service, rules);
    return 0;
}

void pipeline_forget_rules(struct pipeline *p)
{
    for (uint32_t i = 0; i < ledger_services(p->ledger); i++)
        rulebook_set_service(&p->rulebook, i, NULL);
}

static int ensure_shadow(struct pipeline *p)
{
    const struct shadow_opts opts = {p->opts.max_patterns, p->opts.budget};
    if (p->shadow != NULL)
        return 0;
    p->looked.sent_before = p->metering.sent;
    return shadow_new(&p->shadow, &opts);
}

int pipeline_set_observe(struct pipeline *p, bool observe)
{
    int rc = observe ? ensure_shadow(p) : 0;
    /* What would have been sampled out was sent: it is no context later. */
    if (rc == 0 && p->opts.observe != observe && p->recorder != NULL)
        recorder_forget(p->recorder);
    if (rc == 0)
        p->opts.observe = observe;
    return rc;
}

int pipeline_set_shadow_rules(struct pipeline *p, const struct rules *rules)
{
    int rc = rules != NULL ? ensure_shadow(p) : 0;
    if (rc < 0)
        return rc;
    /* Without memory for it its context of errors is not counted. */
    if (rules != NULL)
        ignore_code(open_recorder(p, &p->looked.recorder));
    /* Without memory for it there is no boost; it is tried again with the next rules. */
    ignore_code(pipeline_watch_anomalies(p, rules));
    rulebook_set_second(&p->rulebook, rules);
    return 0;
}

void pipeline_set_target(struct pipeline *p, const struct governor_target *target)
{
    p->opts.target = *target;
    if (p->governor != NULL)
        governor_set_target(p->governor, target);
}

void pipeline_move_target(struct pipeline *p, const struct governor_target *target)
{
    const struct governor_target *now = &p->opts.target;
    bool is_moved = now->unit == target->unit && now->exponent == target->exponent &&
                    (now->unit == GOVERNOR_BYTES || now->unit == GOVERNOR_RECORDS);
    if (!is_moved || p->governor == NULL) {
        pipeline_set_target(p, target);
        return;
    }
    p->opts.target.amount = target->amount;
    governor_set_amount(p->governor, target->amount);
}

struct minutes_cell pipeline_minute(const struct pipeline *p, uint32_t service, uint64_t minute)
{
    return p->minutes == NULL ? (struct minutes_cell){0} : minutes_at(p->minutes, service, minute);
}

uint64_t pipeline_untold(const struct pipeline *p, uint32_t service)
{
    return p->minutes == NULL ? 0 : minutes_untold(p->minutes, service);
}

uint32_t pipeline_floor_limit(const struct pipeline *p)
{
    return p->opts.floor_per_second;
}

const struct rules *pipeline_shadow_rules(const struct pipeline *p)
{
    return p->rulebook.second.given;
}

const struct rules *pipeline_rules(const struct pipeline *p, uint32_t service)
{
    return rulebook_given(&p->rulebook, service);
}

const struct rules *pipeline_bound_rules(struct pipeline *p, uint32_t service)
{
    return rulebook_of(&p->rulebook, service, p->clock.now_ms);
}

bool pipeline_has_own_rules(const struct pipeline *p, uint32_t service)
{
    return p->rulebook.of_service[service].given != NULL;
}

int pipeline_bind(const struct pipeline *p, const struct rules *rules, struct rules **out)
{
    return rulebook_bind(&p->rulebook, rules, out);
}

uint32_t pipeline_service(struct pipeline *p, struct span name)
{
    if (redactor_enforces(p->redactor))
        name = redactor_show(p->redactor, name, false, REDACT_IN_RESOURCE);
    uint32_t known = ledger_services(p->ledger), service = ledger_service(p->ledger, name);
    if (service == known && p->opts.service_seen != NULL)
        p->opts.service_seen(p->opts.service_ctx, service, ledger_service_name(p->ledger, service));
    return service;
}

bool pipeline_find_service(const struct pipeline *p, struct span name, uint32_t *service)
{
    *service = ledger_find(p->ledger, name);
    return *service != LEDGER_OTHER || span_eq(name, SPAN("(other)"));
}

struct span pipeline_service_name(const struct pipeline *p, uint32_t service)
{
    return service == LEDGER_OTHER ? SPAN("") : ledger_service_name(p->ledger, service);
}

void pipeline_found(struct pipeline *p, uint32_t service, struct span record, size_t bytes)
{
    if (p->minutes != NULL)
        minutes_count(p->minutes, service, record, (struct span){0});
    ledger_decide(p->ledger, service, VERDICT_KEPT, 1, bytes);
    ledger_meter(p->ledger, service, bytes);
}

void pipeline_settle(struct pipeline *p, uint32_t service, enum fate fate, uint64_t records)
{
    ledger_settle(p->ledger, service, fate, records);
}

uint64_t pipeline_day(struct pipeline *p)
{
    return day_counts_tick(&p->today);
}

unsigned pipeline_samples(const struct pipeline *p, uint32_t number, bool is_kept,
                          struct sample_text out[SAMPLES_EACH])
{
    return samples_of(p->samples, number, is_kept, out);
}

uint64_t pipeline_today(const struct pipeline *p, uint32_t number, struct pattern_counts *out)
{
    return day_counts_get(&p->today, number, out);
}
