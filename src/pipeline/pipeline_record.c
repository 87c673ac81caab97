/* pipeline_record: sign, place, decide, count, emit. */
#include <math.h>
#include <string.h>

#include "pattern/trace_line.h"
#include "pipeline/pipeline_state.h"
#include "pipeline/stamp.h"
#include "util/diag.h"
#include "util/hash.h"

#define TELL_MS 10000 /* between two lines of the log about dropped errors */

/* Which version of a service that is; of records that are counted under "other", none. */
static void note_version(struct pipeline *p, uint32_t service, struct span version)
{
    if (version.len == 0 || service == LEDGER_OTHER)
        return;
    struct service_versions *known = ledger_versions(p->ledger, service);
    uint64_t hash = hash64(version);
    if (service_versions_has(known, hash))
        return;
    if (redactor_enforces(p->redactor))
        version = redactor_show(p->redactor, version, false, REDACT_IN_RESOURCE);
    service_versions_add(known, hash, version, clock_unix_ns(p->opts.clock));
}

/* The Resource changed: whose records are these, and which rules are theirs? */
static void enter_resource(struct pass *pass, const struct logs_group *g)
{
    struct pipeline *p = pass->p;
    pass->resource_index = g->resource_index;
    pass->service = pipeline_service(p, g->service_name);
    note_version(p, pass->service, g->service_version);
    pass->rules = rulebook_of(&p->rulebook, pass->service, pass->at_ms);
    pass->second = rulebook_second(&p->rulebook, pass->at_ms);
    pass->guarding = p->guard == NULL ? 0 : guard_possible(p->guard, g);
}

#define GOVERN_MS 50 /* within a request: a batch of some seconds is no burst */

void pipeline_govern(struct pass *pass)
{
    struct pipeline *p = pass->p;
    pass->governed_ms = pass->at_ms;
    if (p->governor == NULL)
        return;
    bool is_at_work = governor_begin(p->governor, pass->at_ms, pass->fullness);
    pass->governor = is_at_work ? p->governor : NULL;
}

/* When was it written? Time passes for what is governed. */
static void enter_time(struct pass *pass, const struct log_record *r)
{
    uint64_t ns = r->time_unix_ns != 0 ? r->time_unix_ns : r->observed_unix_ns;
    pass->at_ms = record_clock_move(&pass->p->clock, ns);
    if (pass->at_ms - pass->governed_ms >= GOVERN_MS)
        pipeline_govern(pass);
}

/* What it would cost to send it as it came, in a request as it came. */
static size_t arrived_bytes(struct pass *pass, const struct logs_group *g, struct span bytes)
{
    size_t around = 0;
    if (g->scope_index != pass->scope_index)
        around += metering_scope(g);
    if (g->resource_index != pass->resource_index)
        around += metering_resource(g);
    pass->scope_index = g->scope_index;
    return around + metering_framed(bytes.len);
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

static void count(struct pass *pass, const struct subject *s, const struct decision *d,
                  size_t bytes, size_t sent_bytes)
{
    struct pipeline *p = pass->p;
    struct pattern *e = s->pattern;
    e->counts.received++;
    e->counts.received_bytes += bytes;
    e->last_seen_s = pass->unix_s;
    if (d->verdict == VERDICT_KEPT) {
        e->counts.kept++;
        e->counts.kept_bytes += sent_bytes;
        ledger_meter(p->ledger, pass->service, sent_bytes);
        p->reasons.kept[d->reason]++;
    } else {
        e->counts.sampled_out += d->verdict == VERDICT_SAMPLED_OUT;
        e->counts.dropped_by_rule += d->verdict == VERDICT_DROPPED_BY_RULE;
        p->reasons.dropped[d->reason]++;
    }
    ledger_decide(p->ledger, pass->service, d->verdict, 1, bytes);
    if (s->level >= LEVEL_ERROR)
        ledger_error(p->ledger, pass->service);
    if (s->selected != 0)
        pipeline_count_selected(p, s, d->verdict, sent_bytes);
}

/* Observing, the count is of what came: what would be kept of it is known elsewhere. */
static bool is_sample_due(const struct pipeline *p, const struct pattern *e,
                          const struct decision *d)
{
    const struct pattern_counts *n = &e->counts;
    if (p->opts.observe)
        return samples_is_due(n->received);
    return samples_is_due(d->verdict == VERDICT_KEPT ? n->kept
                                                     : n->sampled_out + n->dropped_by_rule);
}

/* A body that is no text has what people see of its pattern instead. */
__attribute__((noinline, cold)) static void
take_sample(const struct pass *pass, const struct subject *s, enum verdict verdict)
{
    struct pipeline_view view;
    const struct log_value *body = &pipeline_view(pass->p, s, &view)->record->body;
    const struct pattern *e = s->pattern;
    struct span text =
        body->kind == LOG_STRING ? body->text : span_of(e->template_text, e->template_len);
    samples_take(pass->p->samples, e->number, verdict == VERDICT_KEPT, pass->unix_ns, text);
}

/* Kept with certainty: only that it counts 1, for who skips what has no weight, and not of what
 * came with a weight of 1 or 0. */
static unsigned stamps_of_certain(const struct pipeline *p, const struct subject *s,
                                  const struct decision *d)
{
    unsigned set = p->opts.stamps & 1u << STAMP_WEIGHT_ALWAYS;
    if (set == 0 || d->reason == REASON_OBSERVED)
        return 0;
    const struct log_value *came = log_known(s->record, LOG_ADJUSTED_COUNT);
    if (came == NULL || (came->kind != LOG_DOUBLE && came->kind != LOG_INT))
        return set;
    double weight = came->kind == LOG_INT ? (double)came->integer : came->real;
    bool may_be_a_peers = p->opts.peer_weights.count > 0;
    return weight == 0 || (weight == 1 && !may_be_a_peers) ? 0 : set;
}

struct span pipeline_stamp(const struct pipeline *p, const struct subject *s,
                           const struct decision *d, uint8_t *room)
{
    unsigned set = d->threshold == 0 ? stamps_of_certain(p, s, d) : p->opts.stamps;
    if (set == 0)
        return (struct span){0};
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
    return stamp_write(room, set, &v);
}

/* ---- the context of errors --------------------------------------------- */

struct span pipeline_context_stamp(const struct pipeline *p, const struct recording *c,
                                   uint8_t *room)
{
    const struct stamp_values v = {
        .released = true,
        .signature = c->signature,
        .family = c->family,
        .reason = reason_name(REASON_ERROR_CONTEXT),
    };
    return stamp_write(room, pipeline_context_stamps(p->opts.stamps), &v);
}

struct pattern *pipeline_context_pattern(const struct pipeline *p, const struct recording *c)
{
    struct pattern *e = patterns_at(p->patterns, c->pattern);
    bool is_its = e->in_use && e->key.service == c->service &&
                  (e->key.signature == c->signature || e->key.signature == c->family);
    return is_its ? e : NULL;
}

/* Paid like the error that it belongs to. */
void pipeline_pay_context(const struct pass *pass, const struct recording *c)
{
    if (pass->governor == NULL)
        return;
    size_t bytes = metering_framed(c->bytes.len) + (size_t)pass->p->metering.around;
    governor_certain(pass->governor, bytes, false);
    governor_pay(pass->governor, bytes, true, true);
}

uint32_t pipeline_find_context(const struct pass *pass, const struct subject *s,
                               struct recorder *recorder, double left,
                               struct recording found[RECORDER_RECORDS_MAX])
{
    const struct pipeline *p = pass->p;
    uint32_t n = recorder_find(recorder, s->group, s->record->trace_id, pass->at_ms, found);
    size_t paid = 0;
    for (uint32_t i = n; i-- > 0;) { /* the newest that can be paid for */
        paid += metering_framed(found[i].bytes.len + p->context_stamps);
        if ((double)paid <= left)
            continue;
        recorder_limit(recorder);
        memmove(found, found + i + 1, (n - i - 1) * sizeof *found);
        return n - i - 1;
    }
    return n;
}

void pipeline_allow_context(const struct pipeline *p, double *left, size_t kept_bytes)
{
    double more = p->opts.context.max_share * (double)kept_bytes;
    *left = fmin(*left + more, CONTEXT_DEPTH_BYTES);
}

/* It goes on after all. A trace that was begun is finished on credit. */
static void count_context(struct pass *pass, const struct logs_group *g, const struct recording *c,
                          size_t own, size_t grown)
{
    struct pipeline *p = pass->p;
    struct pattern *e = pipeline_context_pattern(p, c);
    if (e != NULL)
        e->counts.kept_bytes += grown;
    p->context_left -= (double)own;
    ledger_release(p->ledger, c->service, 1, grown);
    metering_sent(&p->metering, g, own, grown);
    pipeline_pay_context(pass, c);
}

/* Before a trigger is emitted: what led to it, in order. Fails where emit() does; what was
 * not given out then is there for the next try. */
static int release_context(struct pass *pass, const struct subject *s)
{
    struct pipeline *p = pass->p;
    struct recording found[RECORDER_RECORDS_MAX];
    uint32_t n = pipeline_find_context(pass, s, p->recorder, p->context_left, found);
    size_t bytes = 0, largest = 0;
    for (uint32_t i = 0; i < n; i++) {
        size_t one = found[i].bytes.len + STAMP_BYTES;
        bytes += one;
        largest = one > largest ? one : largest;
    }
    if (n == 0 || pipeline_admit(p, pass->request_bytes + bytes, largest) < 0)
        return 0; /* the next trigger may have better luck */
    for (uint32_t i = 0; i < n; i++) {
        const struct recording *c = &found[i];
        uint8_t room[STAMP_BYTES];
        struct span stamps = pipeline_context_stamp(p, c, room);
        struct logs_group g = recorder_group(p->recorder, c);
        int rc = pipeline_emit(p, &g, c->bytes, stamps, c->service, true);
        if (rc < 0 && rc != PIPELINE_WITHHELD)
            return rc;
        recorder_release(p->recorder, c);
        if (rc == PIPELINE_WITHHELD)
            continue; /* it stays sampled out */
        count_context(pass, &g, c, metering_framed(c->bytes.len + stamps.len), (size_t)rc);
    }
    return 0;
}

bool pipeline_is_follower(struct follow *f, const struct pass *pass, const struct subject *s)
{
    return !follow_is_idle(f, pass->at_ms) && s->record->body.kind == LOG_STRING &&
           trace_line_continues(s->record->body.text) &&
           follow_may(f, s->group->resource_hash, pass->at_ms);
}

/* Sampled out, and a line of the trace of an error before it: it goes on as its context. `room`
 * begins with `added` bytes for behind the record. False: it is none, or there is no room. */
static bool release_follower(struct pass *pass, const struct subject *s, size_t added,
                             uint8_t *room)
{
    struct pipeline *p = pass->p;
    if (!pipeline_is_follower(&p->follow, pass, s))
        return false;
    const struct recording it = pipeline_recording(pass, s, (struct span){0});
    added += pipeline_context_stamp(p, &it, room + added).len;
    size_t bytes = s->bytes.len + added;
    if (pipeline_admit(p, pass->request_bytes + bytes, bytes) < 0)
        return false;
    int rc = pipeline_emit(p, s->group, s->bytes, span_of(room, added), pass->service, true);
    if (rc < 0)
        return false;
    follow_took(&p->follow, s->group->resource_hash);
    count_context(pass, s->group, &it, metering_framed(bytes), (size_t)rc);
    return true;
}

/* The allocator said no in the middle of a request. It is refused as a whole, so that its
 * client sends it again: what has gone on may arrive twice, but nothing is lost. */
static void reject_rest(struct pass *pass, const struct subject *s, const struct decision *d,
                        size_t bytes, int rc)
{
    pass->all = VERDICT_REJECTED;
    pass->failed = rc;
    if (d->reason == REASON_FIRST)
        s->pattern->in_window--; /* it will be the first once more */
    ledger_decide(pass->p->ledger, pass->service, VERDICT_REJECTED, 1, bytes);
}

/* A survivor, behind its context. `room` begins with `added` bytes for behind the record.
 * Returns what it has added to what is sent, PIPELINE_WITHHELD, or ERR_*: there was no memory. */
static int emit(struct pass *pass, const struct subject *s, const struct decision *d, size_t added,
                uint8_t *room)
{
    struct pipeline *p = pass->p;
    int rc = 0;
    if (p->recorder != NULL && !p->opts.observe && s->level >= p->opts.context.trigger)
        rc = release_context(pass, s);
    added += pipeline_stamp(p, s, d, room + added).len;
    if (rc == 0)
        rc = pipeline_emit(p, s->group, s->bytes, span_of(room, added), pass->service,
                           s->level >= LEVEL_ERROR);
    if (rc < 0)
        return rc;
    size_t own = metering_framed(s->bytes.len + added);
    metering_sent(&p->metering, s->group, own, (size_t)rc);
    pipeline_allow_context(p, &p->context_left, own);
    if (s->level >= p->opts.context.trigger && !p->opts.observe && p->context_left > 0)
        follow_begin(&p->follow, s->group->resource_hash, pass->at_ms);
    return rc;
}

/* Drop ERROR records above sampling.floor.max_per_second; off by default. */
static void limit_floor(struct pass *pass, struct decision *d)
{
    struct pipeline *p = pass->p;
    if (p->opts.floor_per_second == 0 || d->reason != REASON_FLOOR)
        return;
    if (!token_bucket_take(&p->floor.bucket, pass->at_ms)) {
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

bool pipeline_pay(const struct pass *pass, const struct subject *s, const struct decision *d)
{
    if (reason_is_certain(d->reason))
        governor_certain(pass->governor, s->metered, d->reason == REASON_FIRST && !d->is_new);
    unsigned stamps = pass->p->opts.stamps;
    bool is_stamped = d->threshold > 0 ? stamps != 0 : (stamps >> STAMP_WEIGHT_ALWAYS & 1) != 0;
    /* What chance has kept stands for what it has not: losing it would falsify the sums. */
    bool must_stay = d->reason == REASON_FLOOR || d->is_new || !reason_is_certain(d->reason);
    return governor_pay(pass->governor, s->metered, is_stamped, must_stay);
}

/* Apart and by value, so that the decision stays in registers while there is no watcher. */
__attribute__((noinline, cold)) static void tell_watcher(const struct pipeline *p,
                                                         const struct subject *s, struct decision d)
{
    struct pipeline_view view;
    p->watcher.decided(p->watcher.ctx, pipeline_view(p, s, &view), &d);
}

void pipeline_remember(const struct pass *pass, const struct subject *s, struct span mended,
                       struct recorder *recorder)
{
    const struct recording it = pipeline_recording(pass, s, mended);
    recorder_put(recorder, s->group, s->record->trace_id, &it, pass->at_ms);
}

/* What was decided is done and counted. `room` begins with what is to be mended. */
static void carry_out(struct pass *pass, const struct subject *s, struct decision d, size_t arrived,
                      struct span mended, uint8_t *room)
{
    struct pipeline *p = pass->p;
    bool unpaid = d.verdict == VERDICT_KEPT && pass->governor != NULL && !p->opts.observe &&
                  !pipeline_pay(pass, s, &d);
    int sent = d.verdict == VERDICT_KEPT && !unpaid ? emit(pass, s, &d, mended.len, room) : 0;
    if (sent == PIPELINE_WITHHELD) {
        d.verdict = VERDICT_DROPPED_BY_RULE;
        d.reason = REASON_REDACTION;
        sent = 0;
    }
    if (sent < 0) {
        reject_rest(pass, s, &d, arrived, sent);
        return;
    }
    count(pass, s, &d, arrived, (size_t)sent);
    if (unpaid)
        ledger_settle(p->ledger, pass->service, FATE_LOST_BUDGET, 1);
    if (p->watcher.decided != NULL)
        tell_watcher(p, s, d.reason == REASON_OBSERVED ? p->looked.would : d);
    if (p->samples != NULL && is_sample_due(p, s->pattern, &d))
        take_sample(pass, s, (d.reason == REASON_OBSERVED ? p->looked.would : d).verdict);
    if (d.verdict != VERDICT_SAMPLED_OUT || release_follower(pass, s, mended.len, room))
        return;
    if (p->recorder != NULL)
        pipeline_remember(pass, s, mended, p->recorder);
    if (p->events != NULL && events_wants_sample(p->events, s->pattern->number)) {
        struct pipeline_view view;
        events_sample(p->events, s->pattern->number, &pipeline_view(p, s, &view)->record->body);
    }
}

/* The provider's policies have no memory for this record: the request is refused. */
static int refuse_for_provider(struct pass *pass, size_t arrived, int rc)
{
    pass->all = VERDICT_REJECTED;
    pass->failed = rc;
    ledger_decide(pass->p->ledger, pass->service, VERDICT_REJECTED, 1, arrived);
    return 0;
}

int pipeline_record(void *ctx, const struct logs_group *g, struct span bytes)
{
    struct pass *pass = ctx;
    struct pipeline *p = pass->p;
    size_t arrived = arrived_bytes(pass, g, bytes);
    bool is_rejected = pass->all == VERDICT_REJECTED;
    struct log_record record;
    int rc = is_rejected ? 0 : log_record_read(&record, bytes);
    if (rc < 0)
        return rc; /* a bug: logs_check() has accepted it */
    if (!is_rejected)
        enter_time(pass, &record);
    if (g->resource_index != pass->resource_index)
        enter_resource(pass, g);
    if (is_rejected) {
        ledger_decide(p->ledger, pass->service, VERDICT_REJECTED, 1, arrived);
        return 0;
    }
    enum severity_source source;
    enum level level = pipeline_level(p, g, bytes, &record, &source);
    struct logs_group changed;
    int provided = PROVIDED_SAME;
    if (p->provider.apply != NULL) {
        changed = *g;
        provided =
            pipeline_ask_provider(p, &(struct provided_record){&changed, &bytes, &record, &level});
        if (provided < 0)
            return refuse_for_provider(pass, arrived, provided);
        g = &changed;
    }
    if (p->opts.peer_weights.count > 0)
        peer_weights_apply(&p->opts.peer_weights, &record, bytes);
    struct subject s = {
        .group = g,
        .bytes = bytes,
        .record = &record,
        .level = level,
        .signature = pipeline_sign(p, g, bytes, &record),
        .now_ms = pass->at_ms,
        .metered = metering_framed(bytes.len) + (size_t)p->metering.around,
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
        governor_arrived(pass->governor, arrived);
    if (pass->guarding != 0)
        pipeline_ask_guard(p, &s, pass->guarding);
    struct decision d =
        provided == PROVIDED_DROPPED
            ? (struct decision){.verdict = VERDICT_DROPPED_BY_RULE, .reason = REASON_PROVIDER}
            : sampler_decide(pass->rules, &s);
    bool is_for_guard = d.reason == REASON_GUARDED;
    limit_floor(pass, &d);
    if (p->shadow != NULL)
        d = pipeline_look_on(pass, &s, d, mended);
    s.guarded = is_for_guard;
    carry_out(pass, &s, d, arrived, mended, room);
    return 0;
}
