/*
 * annotating: a mark on PostHog's charts for each version of a policy, so that whoever sees a step
 * in them sees its cause.
 *
 * A leader does it, and once: what stands there already is not written again, by whichever instance
 * it was. Policies without a version have no mark.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "posthog/listing.h"
#include "sidecar/posthog.h"
#include "sidecar/sidecar_state.h"
#include "util/diag.h"

#define WAITING_MAX 16 /* of a policy server's services, at a start: the others are left out */
#define TEXT_BYTES 200
#define SOON_MS 1000   /* the project is not known yet */
#define AGAIN_MS 60000 /* after a fault */

struct annotating {
    struct sidecar *sc;
    uv_timer_t timer;
    struct listing listing;
    struct app_call *call;
    char waiting[WAITING_MAX][TEXT_BYTES];
    uint64_t since_ns[WAITING_MAX];
    unsigned count;
    bool is_there; /* the first one stands in the list */
    bool is_reading;
    enum app_fault said; /* in the log; APP_FINE: nothing */
};

static void on_turn(uv_timer_t *timer);

static void next_turn(struct annotating *a, uint32_t ms)
{
    if (a->count > 0)
        uv_timer_start(&a->timer, on_turn, ms, 0);
}

static void first_is_done(struct annotating *a)
{
    a->said = APP_FINE;
    a->count--;
    memmove(a->waiting, a->waiting + 1, a->count * sizeof a->waiting[0]);
    memmove(a->since_ns, a->since_ns + 1, a->count * sizeof a->since_ns[0]);
    next_turn(a, 0);
}

static void try_again(struct annotating *a, enum app_fault fault, const char *why)
{
    char quoted[DIAG_QUOTE_BYTES];
    if (fault != a->said)
        diag(DIAG_WARN, "not_annotated", "a version of the policy has no mark in PostHog yet",
             "reason=%s", diag_quote(quoted, span_str(why)));
    a->said = fault;
    next_turn(a, AGAIN_MS);
}

static void on_written(void *ctx, const struct app_answer *answer)
{
    struct annotating *a = ctx;
    a->call = NULL;
    if (answer->fault == APP_FINE)
        first_is_done(a);
    else
        try_again(a, answer->fault, answer->text);
}

static void write_first(struct annotating *a)
{
    struct buf body = {0};
    struct json j = json_on(&body);
    char time[32];
    time_t s = (time_t)(a->since_ns[0] / 1000000000);
    struct tm tm;
    strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&s, &tm));
    json_begin(&j, NULL);
    json_str(&j, "content", a->waiting[0]);
    json_str(&j, "date_marker", time);
    json_str(&j, "scope", "project");
    json_end(&j);
    const struct app_request r = {.method = "POST",
                                  .path = "annotations/",
                                  .body = buf_span(&body),
                                  .ctx = a,
                                  .done = on_written};
    if (body.err != 0 || app_send(posthog_app(a->sc), &r, &a->call) < 0)
        next_turn(a, AGAIN_MS);
    buf_done(&body);
}

static void on_item(void *ctx, struct json_node item)
{
    struct annotating *a = ctx;
    a->is_there |= span_eq(json_string(json_get(item, "content")), span_str(a->waiting[0])) &&
                   !json_is_true(json_get(item, "deleted"));
}

static void on_list(void *ctx, const struct app_verdict *v)
{
    struct annotating *a = ctx;
    a->is_reading = false;
    if (v->fault != APP_FINE)
        try_again(a, v->fault, v->text);
    else if (a->is_there)
        first_is_done(a);
    else
        write_first(a);
}

static void on_turn(uv_timer_t *timer)
{
    struct annotating *a = container_of(timer, struct annotating, timer);
    struct app *app = posthog_app(a->sc);
    if (a->call != NULL || a->is_reading)
        return;
    if (app == NULL || app_project(app) == APP_ID_NONE) {
        next_turn(a, SOON_MS);
        return;
    }
    a->is_there = false;
    a->is_reading = listing_begin(&a->listing, app, "annotations/", on_item, on_list, a) == 0;
    if (!a->is_reading)
        next_turn(a, AGAIN_MS);
}

void annotating_note(struct sidecar *sc, struct span service, const struct rules *rules)
{
    struct annotating *a = sc->annotating;
    if (a == NULL || rules == NULL || rules_version(rules) <= 0 || a->count == WAITING_MAX)
        return;
    char *text = a->waiting[a->count];
    int shown = service.len < 100 ? (int)service.len : 100;
    snprintf(text, TEXT_BYTES, "lipservice: policy %lld (%s) is in force%s%.*s",
             (long long)rules_version(rules), rules_origin(rules), shown > 0 ? " for " : "", shown,
             shown > 0 ? (const char *)service.base : "");
    for (unsigned i = 0; i < a->count; i++)
        if (strcmp(a->waiting[i], text) == 0)
            return;
    a->since_ns[a->count++] = clock_unix_ns(sc->clock);
    if (a->count == 1)
        next_turn(a, 0);
}

/* ---- life -------------------------------------------------------------- */

int annotating_start(struct sidecar *sc, struct error *err)
{
    (void)err;
    if (sc->cfg->app.personal_api_key[0] == '\0' || !sc->cfg->app.leads)
        return 0;
    int rc = budget_take(&sc->budget, sizeof(struct annotating));
    struct annotating *a = rc < 0 ? NULL : calloc(1, sizeof *a);
    if (a == NULL) {
        if (rc == 0)
            budget_give(&sc->budget, sizeof *a);
        return ERR_NOMEM;
    }
    a->sc = sc;
    uv_timer_init(&sc->loop, &a->timer);
    sc->annotating = a;
    return 0;
}

/* Before what it asks by is gone. */
void annotating_quiet(struct sidecar *sc)
{
    struct annotating *a = sc->annotating;
    if (a == NULL)
        return;
    uv_timer_stop(&a->timer);
    a->count = 0;
    if (a->is_reading)
        listing_stop(&a->listing);
    if (a->call != NULL)
        app_cancel(a->call);
    a->is_reading = false;
    a->call = NULL;
}

void annotating_stop(struct sidecar *sc)
{
    if (sc->annotating != NULL)
        uv_close((uv_handle_t *)&sc->annotating->timer, NULL);
}

void annotating_release(struct sidecar *sc)
{
    if (sc->annotating == NULL)
        return;
    free(sc->annotating);
    sc->annotating = NULL;
    budget_give(&sc->budget, sizeof *sc->annotating);
}
