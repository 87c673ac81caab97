/* pipeline: one pass over a sound request. */
#include "pipeline/pipeline.h"

#include <stdlib.h>

#include "pipeline/signature.h"
#include "pipeline/stamp.h"
#include "util/buf.h"

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
    struct in_force common;      /* of services without their own */
    struct in_force *of_service; /* by service id; given NULL: the common ones */
    struct pipeline_reasons reasons;
    struct pipeline_watcher watcher; /* nobody, as a rule */
    struct buf template_text; /* scratch */
};

/* One pipeline_push() in progress. */
struct pass {
    struct pipeline *p;
    uint64_t now_ms, unix_ns;
    uint32_t resource_index; /* whose service is cached */
    uint32_t service;
    const struct rules *rules;
    enum verdict all; /* REJECTED: count only */
};

int pipeline_new(struct pipeline **out, const struct pipeline_opts *opts, const struct rules *rules)
{
    struct pipeline *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    p->opts = *opts;
    p->common.given = rules_ref(rules);
    p->of_service = calloc(opts->max_services, sizeof *p->of_service);
    struct ledger_opts ledger = {opts->max_services, opts->seed, opts->budget};
    struct patterns_opts patterns = {opts->max_patterns, opts->seed, opts->budget};
    struct families_opts families = {
        .weight = opts->family_weight, .seed = opts->seed, .budget = opts->budget};
    if (p->of_service == NULL || ledger_new(&p->ledger, &ledger) < 0 ||
        patterns_new(&p->patterns, &patterns) < 0 || signer_new(&p->signer) < 0 ||
        (opts->family_weight > 0 && families_new(&p->families, &families) < 0)) {
        pipeline_free(p);
        return ERR_NOMEM;
    }
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
    signer_free(p->signer);
    families_free(p->families);
    patterns_free(p->patterns);
    ledger_free(p->ledger);
    buf_done(&p->template_text);
    free(p);
}

static uint64_t resolve(void *families, uint64_t signature)
{
    return families_resolve(families, signature);
}

/* The rules of a service, bound to the families of now or of a second ago. When there is
 * no memory for that, those of before. */
static const struct rules *rules_in_force(struct pipeline *p, uint32_t service, uint64_t now_ms)
{
    struct in_force *f = &p->of_service[service];
    if (f->given == NULL)
        f = &p->common;
    if (p->families == NULL || !rules_name_patterns(f->given))
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
    pass->rules = rules_in_force(p, pass->service, pass->now_ms);
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

static struct pattern *pattern_of(struct pass *pass, const struct pattern_key *key)
{
    struct pipeline *p = pass->p;
    bool is_new;
    struct pattern *e = patterns_get(p->patterns, key, &is_new);
    if (is_new) {
        e->first_seen_ns = pass->unix_ns;
        buf_clear(&p->template_text);
        signer_template(p->signer, &p->template_text);
        pattern_set_template(p->patterns, e, buf_span(&p->template_text));
    }
    if (p->families != NULL && e->family_generation != families_generation(p->families)) {
        /* Never less than is known of it: to be forgotten does not undo an alias. */
        uint64_t family = families_add(p->families, key->signature, signer_identity(p->signer),
                                       pass->unix_ns);
        if (family != key->signature)
            e->family = family;
        e->family_generation = families_generation(p->families);
    }
    return e;
}

static struct span stamp(const struct pipeline *p, const struct subject *s, const struct decision *d,
                         uint8_t room[STAMP_BYTES])
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
    };
    struct pattern_key key = {s.signature, pass->service, (uint8_t)s.level, status_class(&record)};
    s.pattern = pattern_of(pass, &key);
    s.family = s.pattern->family;

    struct decision d = sampler_decide(pass->rules, &s);
    count(pass, s.pattern, &d, bytes.len);
    if (p->watcher.decided != NULL)
        tell_watcher(p, &s, d);
    if (d.verdict != VERDICT_KEPT)
        return 0;

    uint8_t room[STAMP_BYTES];
    struct span stamps = {0};
    if (d.threshold > 0 && p->opts.stamps != 0)
        stamps = stamp(p, &s, &d, room);
    if (p->opts.sink.emit(p->opts.sink.ctx, g, bytes, stamps, pass->service) < 0)
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
    size_t stamps = stamp_bytes(p->opts.stamps);
    int full = p->opts.sink.admit(p->opts.sink.ctx, request.len + (size_t)count->records * stamps,
                                  count->largest + stamps);
    /* What may have to be gathered around the records: all or nothing, so before the first. */
    size_t around = request.len - count->record_bytes +
                    2 * ARENA_ALIGN * ((size_t)count->resources + count->scopes);
    if (full == 0)
        full = arena_reserve(arena, around);
    if (full < 0)
        pass.all = VERDICT_REJECTED;
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
    };
    uint32_t service = ledger_find(e->p->ledger, g->service_name), slot;
    struct pattern_key key = {s.signature, service, (uint8_t)s.level, status_class(&record)};
    if (patterns_find(e->p->patterns, &key, &slot))
        s.pattern = patterns_at(e->p->patterns, slot);
    s.family = e->p->families == NULL ? s.signature : families_resolve(e->p->families, s.signature);
    const struct rules *rules = rules_in_force(e->p, service, e->now_ms);
    buf_clear(&e->p->template_text);
    signer_template(e->p->signer, &e->p->template_text);
    e->to->begin(e->to->trace.ctx, &s, buf_span(&e->p->template_text), rules);
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
    p->common = (struct in_force){.given = rules_ref(rules)};
    drop_rules(&old);
}

int pipeline_set_rules(struct pipeline *p, uint32_t service, const struct rules *rules)
{
    struct in_force old = p->of_service[service];
    p->of_service[service] = (struct in_force){.given = rules == NULL ? NULL : rules_ref(rules)};
    drop_rules(&old);
    return 0;
}

const struct rules *pipeline_rules(const struct pipeline *p, uint32_t service)
{
    const struct rules *own = p->of_service[service].given;
    return own != NULL ? own : p->common.given;
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

const struct pipeline_reasons *pipeline_reasons(const struct pipeline *p)
{
    return &p->reasons;
}
