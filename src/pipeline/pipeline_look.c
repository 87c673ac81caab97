/* pipeline_look: what is only counted: a second policy, and this one while observing. */
#include "pipeline/pipeline_state.h"
#include "pipeline/stamp.h"

/* What a survivor of the lane would add to what is sent. */
static size_t cost_in(const struct pass *pass, enum shadow_lane lane, size_t own)
{
    const struct pipeline *p = pass->p;
    const struct shadow_counts *n = shadow_total(p->shadow, lane);
    uint64_t sent = p->metering.sent - p->looked.sent_before;
    return metering_framed(own) + metering_share(&p->metering, sent, n->kept + n->released);
}

/* One that was sampled out would go on after all, as the context of an error. */
static void release(const struct pass *pass, enum shadow_lane lane, const struct recording *c,
                    const struct pattern *e, size_t own)
{
    struct pipeline *p = pass->p;
    p->looked.context_left[lane] -= (double)metering_framed(own);
    shadow_release(p->shadow, lane, e != NULL ? e->number : SHADOW_NO_PATTERN,
                   cost_in(pass, lane, own));
    if (lane != SHADOW_ENFORCED)
        return;
    p->looked.released++;
    pipeline_pay_context(pass, c);
}

/* What the lane would send before a trigger. */
static void look_at_context(const struct pass *pass, const struct subject *s, enum shadow_lane lane,
                            struct recorder *recorder)
{
    struct pipeline *p = pass->p;
    struct recording found[RECORDER_RECORDS_MAX];
    uint32_t n = pipeline_find_context(pass, s, recorder, p->looked.context_left[lane], found);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t room[STAMP_BYTES];
        const struct recording *c = &found[i];
        size_t stamps = pipeline_context_stamp(p, c, room).len;
        recorder_release(recorder, c);
        release(pass, lane, c, pipeline_context_pattern(p, c), c->bytes.len + stamps);
    }
}

/* A line of the trace of an error that the lane keeps. False: it is none. */
static bool look_at_follower(const struct pass *pass, const struct subject *s,
                             enum shadow_lane lane, struct span mended)
{
    struct pipeline *p = pass->p;
    uint8_t room[STAMP_BYTES];
    if (!pipeline_is_follower(&p->looked.follow[lane], pass, s))
        return false;
    const struct recording it = pipeline_recording(pass, s, mended);
    size_t stamps = pipeline_context_stamp(p, &it, room).len;
    release(pass, lane, &it, s->pattern, s->bytes.len + mended.len + stamps);
    follow_took(&p->looked.follow[lane], s->group->resource_hash);
    return true;
}

static void look(const struct pass *pass, const struct subject *s, const struct decision *d,
                 enum shadow_lane lane, struct recorder *recorder, struct span mended)
{
    struct pipeline *p = pass->p;
    uint8_t room[STAMP_BYTES];
    bool is_kept = d->verdict == VERDICT_KEPT;
    bool is_trigger = is_kept && s->level >= p->opts.context.trigger;
    if (recorder != NULL && is_trigger)
        look_at_context(pass, s, lane, recorder);
    size_t stamps = is_kept ? pipeline_stamp(p, s, d, room).len : 0;
    size_t own = s->bytes.len + mended.len + stamps;
    shadow_note(p->shadow, lane, s->pattern->number, d, cost_in(pass, lane, own));
    if (is_kept)
        pipeline_allow_context(p, &p->looked.context_left[lane], metering_framed(own));
    if (is_trigger && p->looked.context_left[lane] > 0)
        follow_begin(&p->looked.follow[lane], s->group->resource_hash, pass->at_ms);
    if (recorder != NULL && d->verdict == VERDICT_SAMPLED_OUT &&
        !look_at_follower(pass, s, lane, mended))
        pipeline_remember(pass, s, mended, recorder);
}

struct decision pipeline_look_on(const struct pass *pass, const struct subject *s,
                                 struct decision d, struct span mended)
{
    struct pipeline *p = pass->p;
    if (pass->second != NULL) {
        struct decision other = shadow_decide(p->shadow, pass->second, s);
        if (p->opts.floor_per_second > 0 && other.reason == REASON_FLOOR &&
            !token_bucket_take(&p->looked.floor, pass->at_ms))
            other =
                (struct decision){.verdict = VERDICT_DROPPED_BY_RULE, .reason = REASON_FLOOR_LIMIT};
        look(pass, s, &other, SHADOW_POLICY, p->looked.recorder, mended);
    }
    if (!p->opts.observe)
        return d;
    bool is_lost =
        d.verdict == VERDICT_KEPT && pass->governor != NULL && !pipeline_pay(pass, s, &d);
    if (is_lost) /* the budget's last resort: it is no context of anything */
        d.verdict = VERDICT_SAMPLED_OUT;
    p->looked.would = d;
    look(pass, s, &d, SHADOW_ENFORCED, is_lost ? NULL : p->recorder, mended);
    return (struct decision){.verdict = VERDICT_KEPT, .reason = REASON_OBSERVED};
}
