/* pipeline_record: sign, place, decide, count, emit. */
#include <math.h>
#include <string.h>

#include "pipeline/pipeline_state.h"
#include "pipeline/stamp.h"
#include "util/diag.h"

#define TELL_MS 10000 /* between two lines of the log about dropped errors */

/* The Resource changed: whose records are these, and which rules are theirs? */
static void enter_resource(struct pass *pass, const struct logs_group *g)
{
    struct pipeline *p = pass->p;
    pass->resource_index = g->resource_index;
    pass->service = pipeline_service(p, g->service_name);
    pass->rules = rulebook_of(&p->rulebook, pass->service, pass->now_ms);
    pass->second = rulebook_second(&p->rulebook, pass->now_ms);
}

uint8_t pipeline_status_class(const struct log_record *r)
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

static struct sign_input sign_input(const struct logs_group *g, struct span bytes,
                                    const struct log_record *r)
{
    return (struct sign_input){
        .event_name = r->event_name,
        .record = r->attributes > 0 ? bytes : (struct span){0},
        .scope_logs = g->scope,
        .body = r->body,
        .is_plain = !r->may_name,
    };
}

enum level pipeline_level(struct pipeline *p, const struct logs_group *g, struct span bytes,
                          const struct log_record *r, enum severity_source *source)
{
    static const enum level levels[] = {
        [SIGN_LEVEL_TRACE] = LEVEL_TRACE, [SIGN_LEVEL_DEBUG] = LEVEL_DEBUG,
        [SIGN_LEVEL_INFO] = LEVEL_INFO,   [SIGN_LEVEL_WARN] = LEVEL_WARN,
        [SIGN_LEVEL_ERROR] = LEVEL_ERROR, [SIGN_LEVEL_FATAL] = LEVEL_FATAL,
    };
    unsigned severity = log_severity(r);
    *source = severity > 0 ? SEVERITY_OF_FIELDS : SEVERITY_OF_NOTHING;
    if (severity > 0 || !p->opts.severity_from_text)
        return level_of(severity);
    const struct sign_input in = sign_input(g, bytes, r);
    enum sign_level hint = signer_hint(p->signer, &in);
    if (hint == SIGN_LEVEL_NONE)
        return level_of(0);
    *source = SEVERITY_OF_TEXT;
    return levels[hint];
}

uint64_t pipeline_sign(struct pipeline *p, const struct logs_group *g, struct span bytes,
                       const struct log_record *r)
{
    const struct sign_input in = sign_input(g, bytes, r);
    return signer_sign(p->signer, &in);
}

static void count(struct pass *pass, struct pattern *e, const struct decision *d, size_t bytes)
{
    struct pipeline *p = pass->p;
    e->counts.received++;
    e->counts.received_bytes += bytes;
    e->last_seen_s = pass->unix_s;
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

static struct span stamp(const struct pipeline *p, const struct subject *s,
                         const struct decision *d, uint8_t *room)
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

/* Before a trigger is emitted: what led to it, in order. Fails where emit() does; what was
 * not given out then is there for the next try. */
static int release_context(const struct pass *pass, const struct subject *s)
{
    struct pipeline *p = pass->p;
    const struct pipeline_sink *sink = &p->opts.sink;
    struct recording found[RECORDER_RECORDS_MAX];
    uint32_t n = recorder_find(p->recorder, s->group, s->record->trace_id, pass->now_ms, found);
    size_t bytes = 0, largest = 0, paid = 0;
    for (uint32_t i = n; i-- > 0;) { /* the newest that can be paid for */
        size_t one = found[i].bytes.len + STAMP_BYTES;
        paid += found[i].bytes.len + p->context_stamps;
        if ((double)paid > p->context_left) {
            recorder_limit(p->recorder);
            memmove(found, found + i + 1, (n - i - 1) * sizeof *found);
            n -= i + 1;
            break;
        }
        bytes += one;
        largest = one > largest ? one : largest;
    }
    if (n == 0 || sink->admit(sink->ctx, pass->request_bytes + bytes, largest) < 0)
        return 0; /* the next trigger may have better luck */
    for (uint32_t i = 0; i < n; i++) {
        const struct recording *c = &found[i];
        struct stamp_values v = {
            .released = true,
            .signature = c->signature,
            .family = c->family,
            .reason = reason_name(REASON_ERROR_CONTEXT),
        };
        uint8_t room[STAMP_BYTES];
        struct span stamps = stamp_write(room, pipeline_context_stamps(p->opts.stamps), &v);
        struct logs_group g = recorder_group(p->recorder, c);
        int rc = pipeline_emit(p, &g, c->bytes, stamps, c->service);
        if (rc < 0)
            return rc;
        recorder_release(p->recorder, c);
        if (rc == PIPELINE_WITHHELD)
            continue; /* it stays sampled out */
        p->context_left -= (double)(c->bytes.len + stamps.len);
        ledger_release(p->ledger, c->service, 1, c->bytes.len);
        if (pass->governor != NULL) { /* paid like the error that it belongs to */
            governor_certain(pass->governor, c->bytes.len, false);
            governor_pay(pass->governor, c->bytes.len, true, true);
        }
    }
    return 0;
}

/* The allocator said no in the middle of a request. It is refused as a whole, so that its
 * client sends it again: what has gone on may arrive twice, but nothing is lost. */
static void reject_rest(struct pass *pass, const struct subject *s, const struct decision *d,
                        int rc)
{
    pass->all = VERDICT_REJECTED;
    pass->failed = rc;
    if (d->reason == REASON_FIRST)
        s->pattern->in_window--; /* it will be the first once more */
    ledger_decide(pass->p->ledger, pass->service, VERDICT_REJECTED, 1, s->bytes.len);
}

/* A survivor, behind its context. `room` begins with `added` bytes for behind the record. 0, or
 * PIPELINE_WITHHELD. Negative: there was no memory, and the rest of the request is rejected. */
static int emit(struct pass *pass, const struct subject *s, const struct decision *d, size_t added,
                uint8_t *room)
{
    struct pipeline *p = pass->p;
    int rc = 0;
    if (p->recorder != NULL && s->level >= p->opts.context.trigger)
        rc = release_context(pass, s);
    if (d->threshold > 0 && p->opts.stamps != 0)
        added += stamp(p, s, d, room + added).len;
    if (rc == 0)
        rc = pipeline_emit(p, s->group, s->bytes, span_of(room, added), pass->service);
    if (rc < 0)
        reject_rest(pass, s, d, rc);
    else if (rc == 0)
        p->context_left =
            fmin(p->context_left + p->opts.context.max_share * (double)(s->bytes.len + added),
                 CONTEXT_DEPTH_BYTES);
    return rc;
}

/* Drop ERROR records above sampling.floor.max_per_second; off by default. */
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
    if (p->floor.untold > 0 &&
        (p->floor.told_ms == 0 || pass->now_ms - p->floor.told_ms >= TELL_MS)) {
        diag(DIAG_WARN, "errors",
             "more errors than sampling.floor.max_per_second: the others are dropped",
             "limit=%u dropped=%llu", p->opts.floor_per_second,
             (unsigned long long)p->floor.untold);
        p->floor.untold = 0;
        p->floor.told_ms = pass->now_ms;
    }
}

/* Kept: is there anything left to pay it with? */
static bool is_paid(struct pass *pass, const struct decision *d, size_t bytes)
{
    if (reason_is_certain(d->reason))
        governor_certain(pass->governor, bytes, d->reason == REASON_FIRST && !d->is_new);
    bool is_stamped = d->threshold > 0 && pass->p->opts.stamps != 0;
    /* What chance has kept stands for what it has not: losing it would falsify the sums. */
    bool must_stay = d->reason == REASON_FLOOR || d->is_new || !reason_is_certain(d->reason);
    return governor_pay(pass->governor, bytes, is_stamped, must_stay);
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

/* Apart and by value, so that the decision stays in registers while there is no watcher. */
__attribute__((noinline, cold)) static void tell_watcher(const struct pipeline *p,
                                                         const struct subject *s, struct decision d)
{
    struct pipeline_view view;
    p->watcher.decided(p->watcher.ctx, pipeline_view(p, s, &view), &d);
}

/* Sampled out: what an error may want back, and what an event may show of it. */
static void remember(const struct pass *pass, const struct subject *s, struct span mended)
{
    struct pipeline *p = pass->p;
    if (p->recorder != NULL) {
        const struct recording it = {s->bytes, mended, s->signature, s->family, pass->service, 0};
        recorder_put(p->recorder, s->group, s->record->trace_id, &it, pass->now_ms);
    }
    if (p->events != NULL && events_wants_sample(p->events, s->pattern->number)) {
        struct pipeline_view view;
        events_sample(p->events, s->pattern->number, &pipeline_view(p, s, &view)->record->body);
    }
}

int pipeline_record(void *ctx, const struct logs_group *g, struct span bytes)
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
    enum severity_source source;
    struct subject s = {
        .group = g,
        .bytes = bytes,
        .record = &record,
        .level = pipeline_level(p, g, bytes, &record, &source),
        .signature = pipeline_sign(p, g, bytes, &record),
        .now_ms = pass->now_ms,
        .governor = pass->governor,
    };
    p->severities[source]++;
    struct pattern_key key = {s.signature, pass->service, (uint8_t)s.level,
                              pipeline_status_class(&record)};
    p->placing.group = g;
    p->placing.record = bytes;
    if (p->anomaly != NULL) {
        p->placing.key = &key;
        p->placing.generation = p->families == NULL ? 0 : families_generation(p->families);
    }
    s.pattern = pattern_place(&p->place, &key, pass->unix_ns, &s.family);
    if (p->anomaly != NULL)
        s.anomaly =
            anomaly_arrived(p->anomaly, s.pattern->number, pass->service, s.level >= LEVEL_ERROR);

    s.draw = draws_take(p->draws, &record, bytes, s.pattern->number);

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
    bool unpaid = d.verdict == VERDICT_KEPT && pass->governor != NULL && !p->opts.observe &&
                  !is_paid(pass, &d, bytes.len);
    if (d.verdict == VERDICT_KEPT && !unpaid) {
        rc = emit(pass, &s, &d, mended.len, room);
        if (rc < 0)
            return 0;
        if (rc == PIPELINE_WITHHELD) {
            d.verdict = VERDICT_DROPPED_BY_RULE;
            d.reason = REASON_REDACTION;
        }
    }
    count(pass, s.pattern, &d, bytes.len);
    if (unpaid)
        ledger_settle(p->ledger, pass->service, FATE_LOST_BUDGET, 1);
    if (p->watcher.decided != NULL)
        tell_watcher(p, &s, d);
    if (d.verdict == VERDICT_SAMPLED_OUT)
        remember(pass, &s, mended);
    return 0;
}
