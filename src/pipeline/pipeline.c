/* pipeline: one pass over a sound request. */
#include "pipeline/pipeline.h"

#include <stdlib.h>

#include "pipeline/signature.h"
#include "pipeline/stamp.h"
#include "util/buf.h"
#include "util/diag.h"

#define USUAL_INTERVAL_MS 10000
#define USUAL_LEARNING_MS 600000
#define USUAL_SUMMARY_MS 300000
#define OVERFLOW_SHARE 8 /* of a service's patterns: lines of so many kinds are enough to look at */
#define TELL_MS 10000 /* between two lines of the log about dropped errors */
#define REBIND_MS 1000 /* while much is learned, binding each time would copy all rules each time */

/* Rules as they were given, and as they apply to what is known of families. */
struct in_force {
    struct rules *given, *bound; /* bound: NULL until there is a reason */
    uint32_t generation;         /* of families */
    uint64_t bound_ms;
};

struct pipeline {
    struct pipeline_opts opts;
    struct ledger *ledger;
    struct patterns *patterns;
    struct families *families; /* NULL: no merging */
    struct signer *signer;
    struct governor *governor;   /* NULL: neither a budget nor a queue that could press */
    struct in_force common;      /* of services without their own */
    struct in_force *of_service; /* by service id; given NULL: the common ones */
    struct in_force second;      /* the policy that is only counted; given NULL: none */
    struct shadow *shadow;       /* NULL: nothing is only counted */
    struct anomaly *anomaly;     /* NULL: neither boosts nor events */
    struct events *events;       /* NULL: nothing could be told */
    struct {
        const struct pattern_key *key; /* of the record that is being placed */
        uint32_t generation;           /* of families, before */
    } placing;                         /* for anomaly_begin() */
    struct pipeline_reasons reasons;
    struct timestamp_counts timestamps;
    struct pattern_place place;
    struct recorder *recorder;        /* NULL: errors have no context */
    struct {
        struct token_bucket bucket;
        uint64_t untold, told_ms; /* what was dropped since it was last said */
    } floor;                      /* where the floor has a limit */
    struct pipeline_watcher watcher; /* nobody, as a rule */
};

/* One pipeline_push() in progress. */
struct pass {
    struct pipeline *p;
    uint64_t now_ms, unix_ns;
    uint32_t resource_index; /* whose service is cached */
    uint32_t service;
    const struct rules *rules, *second;
    size_t request_bytes; /* and all stamps that its records may get */
    struct governor *governor; /* NULL: nothing to govern now */
    enum verdict all; /* REJECTED: count only */
};

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

static void on_new_pattern(void *ctx, uint32_t number)
{
    struct pipeline *p = ctx;
    if (p->governor != NULL)
        governor_forget(p->governor, number);
    if (p->shadow != NULL)
        shadow_forget(p->shadow, number);
    if (p->events != NULL)
        events_forget(p->events, number);
    if (p->anomaly != NULL) {
        bool has_merged = p->families != NULL && families_generation(p->families) != p->placing.generation;
        anomaly_begin(p->anomaly, number, &patterns_at(p->patterns, number)->key, p->placing.key, has_merged);
    }
}

/* ---- what is noticed --------------------------------------------------- */

/* One record of our own: it passes no sampler, no budget and no pattern, and both lines of
 * the ledger hold with it. */
static int send_event(void *ctx, const struct logs_group *g, struct span record)
{
    struct pipeline *p = ctx;
    const struct pipeline_sink *sink = &p->opts.sink;
    int rc = sink->admit(sink->ctx, record.len + g->resource.len + g->scope.len, record.len);
    if (rc < 0)
        return rc;
    uint32_t service = ledger_service(p->ledger, SPAN("lipservice"));
    ledger_decide(p->ledger, service, VERDICT_KEPT, 1, record.len);
    p->reasons.kept[REASON_EVENT]++;
    rc = sink->emit(sink->ctx, g, record, (struct span){0}, service);
    if (rc < 0)
        ledger_settle(p->ledger, service, FATE_LOST_MEMORY, 1);
    return rc;
}

static int start_events(struct pipeline *p)
{
    const struct pipeline_opts *o = &p->opts;
    struct events_opts events = {
        .enabled = o->events.enabled,
        .summary_ms = o->events.summary_ms > 0 ? o->events.summary_ms : USUAL_SUMMARY_MS,
        .max_per_minute = o->events.max_per_minute,
        .floor_per_second = o->floor_per_second,
        .max_patterns = o->max_patterns,
        .max_services = o->max_services,
        .seed = o->seed,
        .patterns = p->patterns,
        .ledger = p->ledger,
        .budget = o->budget,
        .send = send_event,
        .ctx = p,
    };
    return o->events.enabled || o->floor_per_second > 0 ? events_new(&p->events, &events) : 0;
}

/* From the first time that somebody wants to know. */
static int watch_anomalies(struct pipeline *p, const struct rules *rules)
{
    const struct pipeline_opts *o = &p->opts;
    bool is_wanted = o->events.enabled || (rules != NULL && rules_boost(rules) > 1);
    struct anomaly_opts anomaly = {
        .max_patterns = o->max_patterns,
        .max_services = o->max_services,
        .interval_ms = o->events.interval_ms > 0 ? o->events.interval_ms : USUAL_INTERVAL_MS,
        .learning_ms = o->events.learning_ms > 0 ? o->events.learning_ms : USUAL_LEARNING_MS,
        .seed = o->seed,
        .patterns = p->patterns,
        .families = p->families,
        .budget = o->budget,
        .tell = o->events.enabled ? events_anomaly : NULL,
        .ctx = p->events,
    };
    if (p->anomaly != NULL || !is_wanted)
        return 0;
    int rc = anomaly_new(&p->anomaly, &anomaly);
    if (rc < 0)
        diag(DIAG_WARN, "anomaly", "no memory to watch for anomalies: anomaly_boost has no effect",
             "reason=%d", rc);
    return rc;
}

void pipeline_tick(struct pipeline *p)
{
    if (p->anomaly == NULL && p->events == NULL)
        return;
    uint64_t now_ms = clock_now_ms(p->opts.clock);
    if (p->events != NULL)
        events_tick(p->events, now_ms, clock_unix_ns(p->opts.clock));
    if (p->anomaly != NULL)
        anomaly_tick(p->anomaly, now_ms);
}

void pipeline_finish(struct pipeline *p)
{
    if (p->events == NULL)
        return;
    pipeline_tick(p);
    events_finish(p->events);
}

/* ---- life -------------------------------------------------------------- */

int pipeline_new(struct pipeline **out, const struct pipeline_opts *opts, const struct rules *rules)
{
    struct pipeline *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    p->opts = *opts;
    p->common.given = rules_ref(rules);
    p->of_service = calloc(opts->max_services, sizeof *p->of_service);
    struct ledger_opts ledger = {opts->max_services, opts->seed, opts->budget};
    struct patterns_opts patterns = {opts->max_patterns, opts->max_services,
                                     opts->max_patterns_per_service, opts->seed, opts->budget};
    struct families_opts families = {
        .weight = opts->family_weight, .seed = opts->seed, .budget = opts->budget};
    struct governor_opts governor = {
        .target = opts->target,
        .max_patterns = opts->max_patterns,
        .stamp_bytes = typical_stamp(opts->stamps),
        .budget = opts->budget,
    };
    bool is_governed = opts->target.unit != GOVERNOR_NONE || opts->sink.fullness != NULL;
    if (p->of_service == NULL || ledger_new(&p->ledger, &ledger) < 0 ||
        patterns_new(&p->patterns, &patterns) < 0 || signer_new(&p->signer) < 0 ||
        (opts->family_weight > 0 && families_new(&p->families, &families) < 0) ||
        (is_governed && governor_new(&p->governor, &governor) < 0) ||
        pipeline_set_observe(p, opts->observe) < 0) {
        pipeline_free(p);
        return ERR_NOMEM;
    }
    if (start_events(p) < 0 || watch_anomalies(p, rules) < 0) {
        pipeline_free(p);
        return ERR_NOMEM;
    }
    struct recorder_opts context = {
        .bytes = opts->context.bytes,
        .window_ms = opts->context.window_ms,
        .max_records = opts->context.max_records,
        .max_per_second = opts->context.max_per_second,
        .seed = opts->seed,
        .budget = opts->budget,
    };
    if (context.bytes > 0 && recorder_new(&p->recorder, &context) < 0) {
        pipeline_free(p);
        return ERR_NOMEM;
    }
    token_bucket_init(&p->floor.bucket, opts->floor_per_second);
    p->place = (struct pattern_place){
        .patterns = p->patterns,
        .families = p->families,
        .signer = p->signer,
        .overflow_entries = opts->max_patterns_per_service / OVERFLOW_SHARE,
        .on_new = on_new_pattern,
        .ctx = p,
    };
    *out = p;
    return 0;
}

static void drop_rules(struct in_force *f)
{
    rules_unref(f->given);
    rules_unref(f->bound);
    *f = (struct in_force){0};
}

void pipeline_free(struct pipeline *p)
{
    if (p == NULL)
        return;
    for (uint32_t i = 0; p->of_service != NULL && i < p->opts.max_services; i++)
        drop_rules(&p->of_service[i]);
    free(p->of_service);
    drop_rules(&p->common);
    drop_rules(&p->second);
    shadow_free(p->shadow);
    anomaly_free(p->anomaly);
    events_free(p->events);
    signer_free(p->signer);
    families_free(p->families);
    governor_free(p->governor);
    patterns_free(p->patterns);
    ledger_free(p->ledger);
    pattern_place_done(&p->place);
    recorder_free(p->recorder);
    free(p);
}

static uint64_t resolve(void *families, uint64_t signature)
{
    return families_resolve(families, signature);
}

/* Rules as they are bound to the families of now or of a second ago. When there is no
 * memory for that, as before. */
static const struct rules *bind_rules(struct pipeline *p, struct in_force *f, uint64_t now_ms)
{
    if (p->families == NULL || f->given == NULL || !rules_name_patterns(f->given))
        return f->given;
    const struct rules *now = f->bound != NULL ? f->bound : f->given;
    bool is_due = f->bound == NULL || now_ms - f->bound_ms >= REBIND_MS;
    uint32_t generation = families_generation(p->families);
    struct rules *bound;
    if (f->generation == generation || !is_due || rules_bind(&bound, now, resolve, p->families) < 0)
        return now;
    rules_unref(f->bound);
    *f = (struct in_force){f->given, bound, generation, now_ms};
    return bound;
}

/* The Resource changed: whose records are these, and which rules are theirs? */
static void enter_resource(struct pass *pass, const struct logs_group *g)
{
    struct pipeline *p = pass->p;
    uint32_t known = ledger_services(p->ledger);
    pass->resource_index = g->resource_index;
    pass->service = ledger_service(p->ledger, g->service_name);
    if (pass->service == known && p->opts.service_seen != NULL)
        p->opts.service_seen(p->opts.service_ctx, pass->service);
    struct in_force *own = &p->of_service[pass->service];
    pass->rules = bind_rules(p, own->given != NULL ? own : &p->common, pass->now_ms);
    pass->second = bind_rules(p, &p->second, pass->now_ms);
}

static uint8_t status_class(const struct log_record *r)
{
    const struct log_value *v = log_known(r, LOG_HTTP_RESPONSE_STATUS);
    if (v == NULL)
        v = log_known(r, LOG_HTTP_STATUS);
    if (v == NULL)
        return 0;
    int64_t status = 0;
    if (v->kind == LOG_INT)
        status = v->integer;
    else if (v->kind == LOG_STRING && v->text.len == 3 && v->text.base[0] >= '1')
        status = (int64_t)(v->text.base[0] - '0') * 100;
    return status >= 100 && status < 600 ? (uint8_t)(status / 100) : 0;
}

static struct span text_of(const struct log_record *r, enum log_known which)
{
    const struct log_value *v = log_known(r, which);
    return v != NULL && v->kind == LOG_STRING ? v->text : (struct span){0};
}

static uint64_t sign(struct pipeline *p, const struct log_record *r)
{
    static const enum log_known templates[] = {
        LOG_RECORD_TEMPLATE,
        LOG_MESSAGE_TEMPLATE,
        LOG_ORIGINAL_FORMAT,
    };
    static const enum sign_body_kind kinds[] = {
        [LOG_NONE] = SIGN_BODY_NONE,     [LOG_STRING] = SIGN_BODY_STRING,
        [LOG_BOOL] = SIGN_BODY_BOOL,     [LOG_INT] = SIGN_BODY_INT,
        [LOG_DOUBLE] = SIGN_BODY_DOUBLE, [LOG_ARRAY] = SIGN_BODY_ARRAY,
        [LOG_KVLIST] = SIGN_BODY_KVLIST, [LOG_BYTES] = SIGN_BODY_BYTES,
    };
    struct sign_input in = {
        .event_name = r->event_name,
        .exception_type = text_of(r, LOG_EXCEPTION_TYPE),
        .body_kind = kinds[r->body.kind],
        .body = r->body.text,
    };
    if (in.event_name.len == 0)
        in.event_name = text_of(r, LOG_EVENT_NAME);
    for (size_t i = 0; i < ARRAY_LEN(templates) && in.template_attr.len == 0; i++)
        in.template_attr = text_of(r, templates[i]);
    return signer_sign(p->signer, &in);
}

static void count(struct pass *pass, struct pattern *e, const struct decision *d, size_t bytes)
{
    struct pipeline *p = pass->p;
    e->counts.received++;
    e->counts.received_bytes += bytes;
    e->last_seen_ns = pass->unix_ns;
    if (d->verdict == VERDICT_KEPT) {
        e->counts.kept++;
        e->counts.kept_bytes += bytes;
        p->reasons.kept[d->reason]++;
    } else {
        e->counts.sampled_out += d->verdict == VERDICT_SAMPLED_OUT;
        e->counts.dropped_by_rule += d->verdict == VERDICT_DROPPED_BY_RULE;
        p->reasons.dropped[d->reason]++;
    }
    ledger_decide(p->ledger, pass->service, d->verdict, 1, bytes);
}

static struct span stamp(const struct pipeline *p, const struct subject *s, const struct decision *d,
                         uint8_t *room)
{
    struct stamp_values v = {
        .threshold = d->threshold,
        .randomness = d->randomness,
        .own_randomness = d->own_randomness,
        .signature = s->signature,
        .family = s->family,
        .reason = reason_name(d->reason),
    };
    if (s->pattern->template_text != NULL && text_of(s->record, LOG_RECORD_TEMPLATE).len == 0)
        v.template_text = span_of(s->pattern->template_text, s->pattern->template_len);
    return stamp_write(room, p->opts.stamps, &v);
}

/* ---- the context of errors --------------------------------------------- */

/* Weight 0 and the reason are never optional: without them the sums are wrong. */
#define CONTEXT_STAMPS (1u << STAMP_ADJUSTED_COUNT | 1u << STAMP_REASON)
#define CONTEXT_STAMPS_CHOSEN (1u << STAMP_PATTERN | 1u << STAMP_FAMILY)

/* Before a trigger is emitted: what led to it, in order. */
static void release_context(const struct pass *pass, const struct subject *s)
{
    struct pipeline *p = pass->p;
    const struct pipeline_sink *sink = &p->opts.sink;
    struct recording found[RECORDER_RECORDS_MAX];
    uint32_t n = recorder_find(p->recorder, s->group, s->record->trace_id, pass->now_ms, found);
    size_t bytes = 0, largest = 0;
    for (uint32_t i = 0; i < n; i++) {
        size_t one = found[i].bytes.len + STAMP_BYTES;
        bytes += one;
        largest = one > largest ? one : largest;
    }
    if (n == 0 || sink->admit(sink->ctx, pass->request_bytes + bytes, largest) < 0)
        return; /* the next trigger may have better luck */
    for (uint32_t i = 0; i < n; i++) {
        const struct recording *c = &found[i];
        struct stamp_values v = {
            .released = true,
            .signature = c->signature,
            .family = c->family,
            .reason = reason_name(REASON_ERROR_CONTEXT),
        };
        uint8_t room[STAMP_BYTES];
        struct span stamps =
            stamp_write(room, CONTEXT_STAMPS | (p->opts.stamps & CONTEXT_STAMPS_CHOSEN), &v);
        struct logs_group g;
        recorder_release(p->recorder, c, &g);
        ledger_release(p->ledger, c->service, 1, c->bytes.len);
        if (pass->governor != NULL) { /* paid like the error that it belongs to */
            governor_certain(pass->governor, c->bytes.len, false);
            governor_pay(pass->governor, c->bytes.len, true, true);
        }
        if (sink->emit(sink->ctx, &g, c->bytes, stamps, c->service) < 0)
            ledger_settle(p->ledger, c->service, FATE_LOST_MEMORY, 1);
    }
}

/* By explicit setting only: a storm of errors must not be the outage itself. */
static void limit_floor(struct pass *pass, struct decision *d)
{
    struct pipeline *p = pass->p;
    if (p->opts.floor_per_second == 0 || d->reason != REASON_FLOOR)
        return;
    if (!token_bucket_take(&p->floor.bucket, pass->now_ms)) {
        d->verdict = VERDICT_DROPPED_BY_RULE;
        d->reason = REASON_FLOOR_LIMIT;
        if (p->opts.observe)
            return; /* nothing is dropped */
        p->floor.untold++;
        events_suppressed(p->events, pass->service, pass->now_ms);
    }
    if (p->floor.untold > 0 && (p->floor.told_ms == 0 || pass->now_ms - p->floor.told_ms >= TELL_MS)) {
        diag(DIAG_WARN, "errors", "more errors than sampling.floor.max_per_second: the others are dropped",
             "limit=%u dropped=%llu", p->opts.floor_per_second, (unsigned long long)p->floor.untold);
        p->floor.untold = 0;
        p->floor.told_ms = pass->now_ms;
    }
}

/* Kept: is there anything left to pay it with? */
static bool is_paid(struct pass *pass, const struct decision *d, size_t bytes)
{
    if (reason_is_certain(d->reason))
        governor_certain(pass->governor, bytes, d->reason == REASON_FIRST);
    bool is_stamped = d->threshold > 0 && pass->p->opts.stamps != 0;
    return governor_pay(pass->governor, bytes, is_stamped, d->reason == REASON_FLOOR);
}

/* What a second policy would do is counted, and while the program only observes, what
 * this one would. Returns what is done. */
static struct decision look_on(struct pass *pass, const struct subject *s, struct decision d)
{
    struct pipeline *p = pass->p;
    if (pass->second != NULL)
        shadow_decide(p->shadow, pass->second, s);
    if (!p->opts.observe)
        return d;
    if (d.verdict == VERDICT_KEPT && pass->governor != NULL && !is_paid(pass, &d, s->bytes.len))
        d.verdict = VERDICT_SAMPLED_OUT; /* the budget's last resort, which would be a loss */
    shadow_note(p->shadow, SHADOW_ENFORCED, s, &d);
    return (struct decision){.verdict = VERDICT_KEPT, .reason = REASON_OBSERVED};
}

/* Apart and by value, so that the decision stays in registers while nobody watches. */
__attribute__((noinline, cold)) static void tell_watcher(const struct pipeline *p,
                                                         const struct subject *s, struct decision d)
{
    p->watcher.decided(p->watcher.ctx, s, &d);
}

static int on_record(void *ctx, const struct logs_group *g, struct span bytes)
{
    struct pass *pass = ctx;
    struct pipeline *p = pass->p;
    if (g->resource_index != pass->resource_index)
        enter_resource(pass, g);
    if (pass->all == VERDICT_REJECTED) {
        ledger_decide(p->ledger, pass->service, VERDICT_REJECTED, 1, bytes.len);
        return 0;
    }

    struct log_record record;
    int rc = log_record_read(&record, bytes);
    if (rc < 0)
        return rc; /* a bug: logs_check() has accepted it */
    struct subject s = {
        .group = g,
        .bytes = bytes,
        .record = &record,
        .level = level_of(log_severity(&record)),
        .signature = sign(p, &record),
        .now_ms = pass->now_ms,
        .governor = pass->governor,
    };
    struct pattern_key key = {s.signature, pass->service, (uint8_t)s.level, status_class(&record)};
    if (p->anomaly != NULL) {
        p->placing.key = &key;
        p->placing.generation = p->families == NULL ? 0 : families_generation(p->families);
    }
    s.pattern = pattern_place(&p->place, &key, pass->unix_ns, &s.family);
    if (p->anomaly != NULL)
        s.anomaly = anomaly_arrived(p->anomaly, s.pattern->number, pass->service, s.level >= LEVEL_ERROR);

    uint8_t room[TIMESTAMP_BYTES + STAMP_BYTES];
    struct span mended = {0};
    if (!p->opts.observe || record.time_unix_ns != 0) /* as it came, unless that would be refused */
        mended = timestamp_mend(room, &record, pass->unix_ns, &p->timestamps);
    if (pass->governor != NULL)
        governor_arrived(pass->governor, bytes.len);
    struct decision d = sampler_decide(pass->rules, &s);
    limit_floor(pass, &d);
    if (p->shadow != NULL)
        d = look_on(pass, &s, d);
    count(pass, s.pattern, &d, bytes.len);
    if (p->watcher.decided != NULL)
        tell_watcher(p, &s, d);
    if (p->recorder != NULL && d.verdict == VERDICT_SAMPLED_OUT) {
        const struct recording it = {bytes, mended, s.signature, s.family, pass->service, 0};
        recorder_put(p->recorder, g, record.trace_id, &it, pass->now_ms);
    }
    if (p->events != NULL && d.verdict == VERDICT_SAMPLED_OUT)
        events_sample(p->events, s.pattern->number, &record.body);
    if (d.verdict != VERDICT_KEPT)
        return 0;
    if (pass->governor != NULL && !p->opts.observe && !is_paid(pass, &d, bytes.len)) {
        ledger_settle(p->ledger, pass->service, FATE_LOST_BUDGET, 1);
        return 0;
    }
    if (p->recorder != NULL && s.level >= p->opts.context.trigger)
        release_context(pass, &s);

    size_t added = mended.len;
    if (d.threshold > 0 && p->opts.stamps != 0)
        added += stamp(p, &s, &d, room + added).len;
    if (p->opts.sink.emit(p->opts.sink.ctx, g, bytes, span_of(room, added), pass->service) < 0)
        ledger_settle(p->ledger, pass->service, FATE_LOST_MEMORY, 1);
    return 0;
}

int pipeline_push_sound(struct pipeline *p, struct span request, struct arena *arena,
                        const struct logs_count *count)
{
    struct pass pass = {
        .p = p,
        .now_ms = clock_now_ms(p->opts.clock),
        .unix_ns = clock_unix_ns(p->opts.clock),
        .resource_index = UINT32_MAX,
    };
    if (count->records == 0)
        return 0;
    /* Every survivor may carry stamps. */
    size_t stamps = TIMESTAMP_BYTES + stamp_bytes(p->opts.stamps);
    pass.request_bytes = request.len + (size_t)count->records * stamps;
    int full = p->opts.sink.admit(p->opts.sink.ctx, pass.request_bytes, count->largest + stamps);
    /* What may have to be gathered around the records: all or nothing, so before the first. */
    size_t around = request.len - count->record_bytes +
                    2 * ARENA_ALIGN * ((size_t)count->resources + count->scopes);
    if (full == 0)
        full = arena_reserve(arena, around);
    if (full < 0)
        pass.all = VERDICT_REJECTED;
    double fullness = 0; /* observing, what presses is all that would not be there */
    if (p->opts.sink.fullness != NULL && !p->opts.observe)
        fullness = p->opts.sink.fullness(p->opts.sink.ctx);
    if (p->governor != NULL && governor_begin(p->governor, pass.now_ms, fullness))
        pass.governor = p->governor;
    int rc = logs_each(request, p->opts.seed, arena, on_record, &pass);
    return rc < 0 ? rc : full;
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

struct explaining {
    struct pipeline *p;
    uint64_t now_ms;
    const struct pipeline_explainer *to;
};

static int on_explain(void *ctx, const struct logs_group *g, struct span bytes)
{
    const struct explaining *e = ctx;
    struct log_record record;
    int rc = log_record_read(&record, bytes);
    if (rc < 0)
        return rc;
    struct subject s = {
        .group = g,
        .bytes = bytes,
        .record = &record,
        .level = level_of(log_severity(&record)),
        .signature = sign(e->p, &record),
        .governor = e->p->opts.target.unit != GOVERNOR_NONE ? e->p->governor : NULL,
    };
    s.family = e->p->families == NULL ? s.signature : families_resolve(e->p->families, s.signature);
    uint32_t service = ledger_find(e->p->ledger, g->service_name);
    struct pattern_key key = {s.family, service, (uint8_t)s.level, status_class(&record)};
    s.pattern = patterns_peek(e->p->patterns, &key);
    struct in_force *own = &e->p->of_service[service];
    const struct rules *rules = bind_rules(e->p, own->given != NULL ? own : &e->p->common, e->now_ms);
    e->to->begin(e->to->trace.ctx, &s, pattern_own_template(&e->p->place), rules);
    struct decision d = sampler_explain(rules, &s, &e->to->trace);
    e->to->end(e->to->trace.ctx, &s, &d);
    return 0;
}

int pipeline_explain(struct pipeline *p, struct span request, struct arena *arena,
                     const struct pipeline_explainer *explainer)
{
    struct logs_count n;
    struct explaining e = {p, p->opts.clock == NULL ? 0 : clock_now_ms(p->opts.clock), explainer};
    int rc = logs_check(request, &n);
    return rc < 0 ? rc : logs_each(request, p->opts.seed, arena, on_explain, &e);
}

void pipeline_watch(struct pipeline *p, const struct pipeline_watcher *watcher)
{
    p->watcher = *watcher;
}

void pipeline_set_common_rules(struct pipeline *p, const struct rules *rules)
{
    struct in_force old = p->common;
    watch_anomalies(p, rules);
    p->common = (struct in_force){.given = rules_ref(rules)};
    drop_rules(&old);
}

int pipeline_set_rules(struct pipeline *p, uint32_t service, const struct rules *rules)
{
    struct in_force old = p->of_service[service];
    watch_anomalies(p, rules);
    p->of_service[service] = (struct in_force){.given = rules == NULL ? NULL : rules_ref(rules)};
    drop_rules(&old);
    return 0;
}

static int ensure_shadow(struct pipeline *p)
{
    const struct shadow_opts opts = {p->opts.max_patterns, typical_stamp(p->opts.stamps), p->opts.budget};
    return p->shadow != NULL ? 0 : shadow_new(&p->shadow, &opts);
}

int pipeline_set_observe(struct pipeline *p, bool observe)
{
    int rc = observe ? ensure_shadow(p) : 0;
    if (rc == 0)
        p->opts.observe = observe;
    return rc;
}

int pipeline_set_shadow_rules(struct pipeline *p, const struct rules *rules)
{
    struct in_force old = p->second;
    int rc = rules != NULL ? ensure_shadow(p) : 0;
    if (rc < 0)
        return rc;
    if (rules != NULL)
        watch_anomalies(p, rules);
    p->second = (struct in_force){.given = rules != NULL ? rules_ref(rules) : NULL};
    drop_rules(&old);
    return 0;
}

void pipeline_set_target(struct pipeline *p, const struct governor_target *target)
{
    p->opts.target = *target;
    if (p->governor != NULL)
        governor_set_target(p->governor, target);
}

const struct rules *pipeline_shadow_rules(const struct pipeline *p)
{
    return p->second.given;
}

const struct shadow *pipeline_shadow(const struct pipeline *p)
{
    return p->shadow;
}

const struct rules *pipeline_rules(const struct pipeline *p, uint32_t service)
{
    const struct rules *own = p->of_service[service].given;
    return own != NULL ? own : p->common.given;
}

const struct anomaly *pipeline_anomaly(const struct pipeline *p)
{
    return p->anomaly;
}

const struct events *pipeline_events(const struct pipeline *p)
{
    return p->events;
}

const struct recorder *pipeline_recorder(const struct pipeline *p)
{
    return p->recorder;
}

struct governor_stats pipeline_governor(const struct pipeline *p)
{
    return p->governor == NULL ? (struct governor_stats){0} : governor_stats(p->governor);
}

struct ledger *pipeline_ledger(struct pipeline *p)
{
    return p->ledger;
}

struct patterns *pipeline_patterns(struct pipeline *p)
{
    return p->patterns;
}

struct families *pipeline_families(struct pipeline *p)
{
    return p->families;
}

uint64_t pipeline_overflowed(const struct pipeline *p)
{
    return p->place.overflowed;
}

const struct timestamp_counts *pipeline_timestamps(const struct pipeline *p)
{
    return &p->timestamps;
}

const struct pipeline_reasons *pipeline_reasons(const struct pipeline *p)
{
    return &p->reasons;
}
