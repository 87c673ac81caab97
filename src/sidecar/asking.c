/* asking: a census, the sparks beside it, and the model over both. */
#include "sidecar/asking.h"

#include <math.h>

#include "policy/plan.h"
#include "sidecar/posthog.h"
#include "sidecar/sidecar_state.h"

#define LOWERED 0.98 /* of the share now: less is no matter of rounding */

/* Records of the time; without a spark at the mean rate since the first. */
static void fill_counts(struct whatif_pattern *w, const struct asking *a,
                        const struct census_pattern *p, uint64_t now_ns)
{
    struct spark_view v;
    double all = (double)p->counts.received, span_s = a->span == SERIES_HOUR ? 3600 : 86400;
    double mean = all > 0 ? (double)p->counts.received_bytes / all : 0;
    double age_s = fmax((double)(now_ns - p->first_seen_ns) / 1e9, 1);
    double seconds = fmin(span_s, age_s);
    if (sparks_of(history_sparks(a->history), p, &v)) {
        w->records = a->span == SERIES_HOUR ? v.hour : v.day;
        mean = v.mean_bytes;
        w->busy_s = v.hour > 0 ? w->records / v.hour * v.busy_minutes * 60 : seconds;
    } else {
        w->records = all * seconds / age_s;
        w->busy_s = seconds;
    }
    w->busy_s = fmin(w->busy_s, span_s);
    w->bytes = w->records * mean;
}

static int list_patterns(struct asking *a, const struct rules *then)
{
    struct pipeline *p = a->sc->pipeline;
    struct census *c = &a->census;
    uint64_t now_ns = clock_unix_ns(a->sc->clock);
    a->list = arena_alloc(&c->arena, (c->pattern_count + 1) * sizeof *a->list);
    if (a->list == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < c->pattern_count; i++) {
        const struct census_pattern *row = &c->patterns[i];
        a->list[i].facts = row->facts;
        a->list[i].now = pipeline_bound_rules(p, row->key.service);
        a->list[i].then = pipeline_has_own_rules(p, row->key.service) ? a->list[i].now : then;
        fill_counts(&a->list[i], a, row, now_ns);
    }
    return 0;
}

/* What was really kept; observing, what enforcing would have kept. */
static void fill_sums(struct asking *a)
{
    const struct history_sum sum = history_sum(a->history, a->span);
    bool observes = a->sc->cfg->observe;
    a->known_s = fmax(sum.seconds, 1);
    a->received = (struct whatif_sum){sum.received, sum.received_bytes};
    a->now = (struct whatif_sum){observes ? sum.would_keep : sum.kept,
                                 observes ? sum.would_keep_bytes : sum.kept_bytes};
}

int asking_open(struct asking *a, struct sidecar *sc, enum series_span span,
                const struct rules *then, const struct governor_target *target,
                struct budget *budget)
{
    const struct census_want want = {
        .services = true, .patterns = true, .facts = true, .budget = budget};
    const struct governor_target now = sidecar_target(sc);
    struct rules *bound = NULL;
    *a = (struct asking){.sc = sc, .span = span, .history = history_now(sc)};
    if (a->history == NULL)
        return ERR_EMPTY;
    int rc = census_take(sc->pipeline, &want, &a->census);
    if (rc < 0)
        return rc;
    fill_sums(a);
    rc = pipeline_bind(sc->pipeline, then, &bound);
    if (rc == 0)
        rc = list_patterns(a, bound);
    if (rc == 0)
        rc = whatif_of(&a->model, a->list, a->census.pattern_count, &a->census.arena, a->known_s,
                       &now, target);
    for (uint32_t i = 0; rc == 0 && i < a->census.pattern_count; i++)
        a->list[i].then = NULL; /* these rules end here */
    rules_unref(bound);
    if (rc < 0) {
        asking_done(a);
        return rc;
    }
    a->then = whatif_scaled(&a->model, &a->received, &a->now);
    return 0;
}

void asking_done(struct asking *a)
{
    census_done(&a->census);
    a->list = NULL;
}

struct money_month asking_month(const struct asking *a, double kept_bytes)
{
    return sidecar_month_of(a->sc, a->known_s, a->received.bytes, kept_bytes);
}

uint32_t asking_lowered(const struct asking *a, const char **why)
{
    uint32_t n = 0;
    *why = NULL;
    for (uint32_t i = 0; i < a->census.pattern_count; i++) {
        const struct whatif_pattern *w = &a->list[i];
        const struct plan_pattern p = {.facts = w->facts,
                                       .rules = w->now,
                                       .status_class = a->census.patterns[i].key.status_class};
        const char *soft = plan_soft_protection(&p);
        if (soft == NULL || w->is_certain_now || w->records <= 0 ||
            w->share_then >= w->share_now * LOWERED)
            continue;
        *why = *why == NULL ? soft : *why;
        n++;
    }
    return n;
}
