/*
 * guarding: reads from time to time what PostHog counts, and hands it to the pipeline.
 *
 * Each instance asks, leader or not: what it does not know of it cannot keep. A fault leaves the
 * guard before in force, and is tried again sooner. Nothing here waits, and nothing of it is on
 * the way of a record.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/stamp.h"
#include "posthog/guarded_saved.h"
#include "posthog/project.h"
#include "sidecar/posthog.h"
#include "sidecar/sidecar_state.h"
#include "util/diag.h"
#include "util/rng.h"

#define AGAIN_MS 30000 /* after a fault, where that is sooner */

struct guarding {
    struct sidecar *sc;
    uv_timer_t timer;
    struct project project;
    struct guarded guarded;
    bool is_reading, has_project;
    struct rng rng;
    /* What is in force, and why not more. */
    uint64_t read_ms; /* monotonic; 0: never */
    struct guarded_finding *findings;
    unsigned found, more;
    struct app_verdict fault;  /* of the last try */
    struct buf saved, reading; /* what is guarded, for the state; and what is being read */
};

static void on_turn(uv_timer_t *timer);

/* A fleet that starts together does not ask together for ever. */
static void next_turn(struct guarding *g, bool failed)
{
    uint32_t ms = g->sc->cfg->guard.refresh_interval_ms;
    if (failed && ms > AGAIN_MS)
        ms = AGAIN_MS;
    uv_timer_start(&g->timer, on_turn, ms - rng_next(&g->rng) % (ms / 10 + 1), 0);
}

/* One line when what can be done has changed. */
static void log_fault(struct guarding *g, const struct app_verdict *v)
{
    char quoted[DIAG_QUOTE_BYTES], remedy[DIAG_QUOTE_BYTES];
    if (v->fault != APP_FINE && v->fault != g->fault.fault)
        diag(DIAG_WARN, "guard_unread",
             pipeline_guard(g->sc->pipeline) == NULL && g->read_ms == 0
                 ? "it is not known what PostHog counts: nothing is guarded"
                 : "what was read before stays guarded",
             "reason=%s remedy=%s", diag_quote(quoted, span_str(v->text)),
             diag_quote(remedy, span_str(v->remedy)));
    g->fault = *v;
}

static void log_findings(const struct guarding *g, const struct guarded *read)
{
    char name[DIAG_QUOTE_BYTES], why[DIAG_QUOTE_BYTES];
    for (unsigned i = 0; i < read->found; i++) {
        const struct guarded_finding *f = &read->findings[i];
        bool is_known = false;
        for (unsigned k = 0; k < g->found && !is_known; k++)
            is_known = memcmp(&g->findings[k], f, sizeof *f) == 0;
        if (!is_known && !f->is_fine)
            diag(DIAG_WARN, "guard_partial",
                 f->is_list      ? "a list of PostHog cannot be read: what it counts is not guarded"
                 : f->is_guarded ? "PostHog counts more than can be told: all of it is kept"
                                 : "PostHog counts this, and it cannot be guarded",
                 "kind=%s name=%s reason=%s", guard_kind_name(f->kind),
                 diag_quote(name, span_str(f->name)), diag_quote(why, span_str(f->why)));
    }
}

static void put_in_force(struct guarding *g, struct guarded *read)
{
    struct guarded_finding *findings = calloc(read->found + 1u, sizeof *findings);
    bool is_first = g->read_ms == 0;
    const struct guard *before = pipeline_guard(g->sc->pipeline);
    bool has_grown = guard_count(before) != guard_count(read->guard);
    log_findings(g, read);
    if (findings != NULL) {
        memcpy(findings, read->findings, read->found * sizeof *findings);
        free(g->findings);
        g->findings = findings;
        g->found = read->found;
        g->more = read->more;
    }
    g->read_ms = clock_now_ms(g->sc->clock);
    if (is_first || has_grown)
        diag(DIAG_INFO, "guard", "what PostHog counts is known", "guarded=%u kept=%s",
             guard_count(read->guard), guard_keeps(read->guard) ? "yes" : "no");
    pipeline_set_guard(g->sc->pipeline, guard_count(read->guard) > 0 ? read->guard : NULL);
    guard_unref(read->guard);
    read->guard = NULL;
    buf_done(&g->saved);
    if (g->reading.err == 0)
        buf_move(&g->saved, &g->reading);
    buf_done(&g->reading);
}

static void on_read(void *ctx, struct guarded *read, const struct app_verdict *v)
{
    struct guarding *g = ctx;
    g->is_reading = false;
    log_fault(g, v);
    if (v->fault == APP_FINE)
        put_in_force(g, read);
    next_turn(g, v->fault != APP_FINE);
}

static void read_lists(struct guarding *g)
{
    const struct config *cfg = g->sc->cfg;
    bool has_weights = (cfg->sampling.stamps >> STAMP_WEIGHT_ALWAYS & 1) != 0;
    buf_done(&g->reading);
    if (guarded_begin(&g->guarded, posthog_app(g->sc), cfg->guard.alerts == GUARD_KEEP, has_weights,
                      on_read, g) == 0) {
        g->guarded.saved = g->sc->state != NULL ? &g->reading : NULL;
        return;
    }
    g->is_reading = false;
    next_turn(g, true);
}

static void on_project(void *ctx, const struct project *p)
{
    struct guarding *g = ctx;
    g->has_project = p->outcome == PROJECT_FOUND || p->outcome == PROJECT_OTHERS ||
                     p->outcome == PROJECT_UNPROVED;
    if (g->has_project) {
        read_lists(g);
        return;
    }
    struct app_verdict v = p->fault;
    if (v.fault == APP_FINE) {
        v.fault = APP_NOT_FOUND;
        snprintf(v.text, sizeof v.text,
                 "exporters.posthog.api_key is the key of none of the projects that the personal "
                 "API key may see");
    }
    g->is_reading = false;
    log_fault(g, &v);
    next_turn(g, true);
}

static void on_turn(uv_timer_t *timer)
{
    struct guarding *g = container_of(timer, struct guarding, timer);
    const struct config *cfg = g->sc->cfg;
    g->is_reading = true;
    if (g->has_project) {
        read_lists(g);
        return;
    }
    if (project_find(&g->project, posthog_app(g->sc), cfg->posthog.api_key, cfg->app.project_id,
                     on_project, g) == 0)
        return;
    g->is_reading = false;
    next_turn(g, true);
}

/* ---- life -------------------------------------------------------------- */

static void stop_reading(struct guarding *g)
{
    uv_timer_stop(&g->timer);
    if (!g->is_reading)
        return;
    g->is_reading = false;
    project_stop(&g->project);
    guarded_stop(&g->guarded);
}

/* What PostHog counted before a restart is guarded until it is known what it counts now. */
static void recall(struct guarding *g)
{
    const struct config *cfg = g->sc->cfg;
    struct guarded *old = &g->guarded;
    bool has_weights = (cfg->sampling.stamps >> STAMP_WEIGHT_ALWAYS & 1) != 0;
    state_take_guard(g->sc, &g->saved);
    int rc = guarded_restore(old, buf_span(&g->saved), cfg->guard.alerts == GUARD_KEEP, has_weights,
                             &g->sc->budget);
    if (rc < 0) {
        diag(DIAG_WARN, "state_in_part", "a part of what was known is missing",
             "part=guard error=\"%s\"", err_text(rc));
        buf_done(&g->saved);
        return;
    }
    if (guard_count(old->guard) > 0) {
        diag(DIAG_INFO, "guard", "what PostHog counted before the restart is guarded for now",
             "guarded=%u kept=%s", guard_count(old->guard), guard_keeps(old->guard) ? "yes" : "no");
        pipeline_set_guard(g->sc->pipeline, old->guard);
    }
    guard_unref(old->guard);
    old->guard = NULL;
}

void guarding_save(const struct sidecar *sc, struct buf *out)
{
    if (sc->guarding != NULL && sc->guarding->saved.err == 0)
        buf_append(out, buf_span(&sc->guarding->saved));
}

int guarding_start(struct sidecar *sc, struct error *err)
{
    (void)err;
    if (posthog_app(sc) == NULL)
        return 0;
    int rc = budget_take(&sc->budget, sizeof(struct guarding));
    struct guarding *g = rc < 0 ? NULL : calloc(1, sizeof *g);
    if (g == NULL) {
        if (rc == 0)
            budget_give(&sc->budget, sizeof *g);
        return ERR_NOMEM;
    }
    g->sc = sc;
    rng_init(&g->rng);
    uv_timer_init(&sc->loop, &g->timer);
    g->saved.budget = g->reading.budget = &sc->budget;
    g->saved.max_bytes = g->reading.max_bytes = GUARDED_SAVED_BYTES;
    sc->guarding = g;
    if (sc->cfg->guard.alerts != GUARD_OFF) {
        recall(g);
        uv_timer_start(&g->timer, on_turn, 0, 0);
    }
    return 0;
}

void guarding_reload(struct sidecar *sc, const struct config *before)
{
    struct guarding *g = sc->guarding;
    if (g == NULL || memcmp(&before->guard, &sc->cfg->guard, sizeof before->guard) == 0)
        return;
    stop_reading(g);
    if (sc->cfg->guard.alerts != GUARD_OFF) {
        uv_timer_start(&g->timer, on_turn, 0, 0);
        return;
    }
    pipeline_set_guard(sc->pipeline, NULL);
    buf_done(&g->saved);
    g->found = g->more = 0;
    g->read_ms = 0;
}

void guarding_stop(struct sidecar *sc)
{
    struct guarding *g = sc->guarding;
    annotating_quiet(sc); /* it asks by the same part, which is stopped next */
    if (g == NULL)
        return;
    stop_reading(g);
    uv_close((uv_handle_t *)&g->timer, NULL);
}

void guarding_release(struct sidecar *sc)
{
    if (sc->guarding == NULL)
        return;
    buf_done(&sc->guarding->saved);
    buf_done(&sc->guarding->reading);
    free(sc->guarding->findings);
    free(sc->guarding);
    sc->guarding = NULL;
    budget_give(&sc->budget, sizeof *sc->guarding);
}

/* ---- the page ---------------------------------------------------------- */

#define SHOWN_NAME_BYTES 40

static int shown_bytes(struct span name)
{
    size_t n = name.len < SHOWN_NAME_BYTES ? name.len : SHOWN_NAME_BYTES;
    while (n > 0 && n < name.len && (name.base[n] & 0xc0) == 0x80)
        n--; /* not through a character */
    return (int)n;
}

#define SHOWN_ITEMS 3 /* in top: those that keep most */

void guarding_write_top(struct json *j, const struct census *c)
{
    struct buf text = {0};
    uint64_t shown = 0; /* bit per item */
    for (int n = 0; n < SHOWN_ITEMS; n++) {
        const struct guard_counts *most = NULL;
        for (unsigned i = 0; i < guard_count(c->guard); i++)
            if ((shown >> i & 1) == 0 && c->selected[i].guarded > 0 &&
                (most == NULL || c->selected[i].guarded_bytes > most->guarded_bytes))
                most = &c->selected[i];
        if (most == NULL)
            break;
        unsigned place = (unsigned)(most - c->selected);
        const struct guard_item *item = guard_at(c->guard, place);
        shown |= UINT64_C(1) << place;
        buf_printf(&text, "%s%" PRIu64 " kept because of %s \"%.*s\": %.2f MB", n > 0 ? "; " : "",
                   most->guarded, guard_kind_name(item->kind), shown_bytes(item->name),
                   (const char *)item->name.base, (double)most->guarded_bytes / 1e6);
    }
    json_text(j, "guarded", text.err == 0 ? buf_span(&text) : SPAN(""));
    buf_done(&text);
}

/* Where nothing is kept for it: the rows that an alert will see of what it counted before. */
static void write_threshold(struct json *j, const struct census *c, unsigned i)
{
    const struct guard_item *item = guard_at(c->guard, i);
    const struct guard_counts *n = &c->selected[i];
    if (item->threshold < 0)
        return;
    json_printf(j, "threshold", "%.15g", item->threshold);
    json_str(j, "fires", item->is_below ? "below" : "above");
    if (!guard_keeps(c->guard) && n->received > 0)
        json_printf(j, "scaled_threshold", "%.3g",
                    item->threshold * (double)n->kept / (double)n->received);
}

static void write_item(struct json *j, const struct census *c, unsigned i)
{
    const struct guard_item *item = guard_at(c->guard, i);
    const struct guard_counts *n = &c->selected[i];
    json_begin(j, NULL);
    json_str(j, "kind", guard_kind_name(item->kind));
    json_text(j, "id", item->id);
    json_text(j, "name", item->name);
    json_bool(j, "is_partial", item->is_partial);
    json_u64(j, "received", n->received);
    json_u64(j, "kept", n->kept);
    json_u64(j, "guarded", n->guarded);
    json_u64(j, "guarded_bytes", n->guarded_bytes);
    write_threshold(j, c, i);
    json_end(j);
}

static void write_findings(struct json *j, const struct guarding *g)
{
    json_begin_list(j, "untranslated");
    for (unsigned i = 0; g != NULL && i < g->found; i++) {
        const struct guarded_finding *f = &g->findings[i];
        if (f->is_fine)
            continue;
        json_begin(j, NULL);
        json_str(j, "kind", guard_kind_name(f->kind));
        json_str(j, "name", f->name);
        json_bool(j, "is_guarded", f->is_guarded);
        json_str(j, "why", f->why);
        json_end(j);
    }
    json_end_list(j);
}

int guarding_write(void *ctx, struct span query, struct buf *out)
{
    const struct sidecar *sc = ctx;
    const struct guarding *g = sc->guarding;
    static const char *const modes[] = {
        [GUARD_KEEP] = "keep", [GUARD_SCALE] = "scale", [GUARD_OFF] = "off"};
    struct census c;
    struct json j = json_on(out);
    (void)query;
    int refused = sidecar_take(sc, (struct census_want){.guard = true}, out, &c);
    if (refused != 0)
        return refused;
    json_begin(&j, NULL);
    json_str(&j, "alerts", g == NULL ? "off" : modes[sc->cfg->guard.alerts]);
    json_bool(&j, "is_read", g != NULL && g->read_ms != 0);
    json_str(&j, "fault", g == NULL ? "" : g->fault.text);
    json_u64(&j, "guarded_records", c.reasons.kept[REASON_GUARDED]);
    json_begin_list(&j, "guarded");
    for (unsigned i = 0; i < guard_count(c.guard); i++)
        write_item(&j, &c, i);
    json_end_list(&j);
    write_findings(&j, g);
    json_end(&j);
    json_line(&j);
    census_done(&c);
    return 200;
}
