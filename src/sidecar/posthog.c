/* posthog: one timer, one check, and what follows from it. */
#include "sidecar/posthog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/money.h"
#include "config/route.h"
#include "export/posthog.h"
#include "posthog/pace.h"
#include "sidecar/sidecar_state.h"
#include "sidecar/verify.h"
#include "util/diag.h"
#include "util/rng.h"

#define FIRST_MS 1000     /* after the start, jittered: a fleet's restart is no flood */
#define PATIENCE_MS 60000 /* for a 429 */
#define BILL_MS 3600000   /* between looks at prices */
#define WORDS_BYTES 512   /* of findings in a line of log */

struct posthog_part {
    struct sidecar *sc;
    struct app *app;
    uv_timer_t timer;
    struct check check;
    struct app_call *call; /* for the bill */
    struct bill bill;
    struct pace pace;
    uint64_t billed_ms; /* when it was asked for; 0: never */
    struct posthog_figures figures;
    char said[WORDS_BYTES]; /* the findings of the last line of log */
    char protected[2 * KEYS_BYTES];
    struct quota_times quota_times;
    struct {
        uint64_t seen, sent; /* delivered at the last check; while logs were thrown away */
    } * quota_of;            /* by service */
    struct verify verify;    /* the leader's */
    struct rng rng;
    bool was_good; /* the last look at what is stored */
};

static void schedule(struct posthog_part *p, uint64_t ms);

/* ---- the bill ---------------------------------------------------------- */

static void on_bill(void *ctx, const struct app_answer *a)
{
    struct posthog_part *p = ctx;
    struct bill bill;
    p->call = NULL;
    if (a->fault != APP_FINE)
        return; /* the last one stays; without one prices are assumed */
    bill_read(&bill, a->root);
    if (bill.is_known)
        p->bill = bill;
}

static void ask_bill(struct posthog_part *p)
{
    uint64_t now = clock_now_ms(p->sc->clock);
    const struct app_request r = {.method = "GET",
                                  .path = "/api/billing/?include_forecasting=true",
                                  .ctx = p,
                                  .done = on_bill};
    if (!project_may(&p->check.project, "billing:read") || p->call != NULL ||
        (p->billed_ms > 0 && now - p->billed_ms < BILL_MS))
        return;
    if (app_send(p->app, &r, &p->call) == 0)
        p->billed_ms = now;
}

struct money_terms posthog_terms(const struct sidecar *sc)
{
    return sc->posthog != NULL && sc->posthog->bill.is_known ? sc->posthog->bill.terms
                                                             : config_money(sc->cfg);
}

struct money_month sidecar_month_of(const struct sidecar *sc, double seconds, double without_bytes,
                                    double with_bytes)
{
    const struct money_terms terms = posthog_terms(sc);
    double others = sc->posthog != NULL ? pace_others(&sc->posthog->pace) * GOVERNOR_MONTH_S : 0;
    return money_month(&terms, others, seconds, without_bytes, with_bytes);
}

struct money_month sidecar_month(const struct sidecar *sc, double without_bytes, double with_bytes)
{
    double seconds = (double)(clock_now_ms(sc->clock) - sc->started_ms) / 1000;
    return sidecar_month_of(sc, seconds, without_bytes, with_bytes);
}

/* ---- the budget -------------------------------------------------------- */

static double unix_s(const struct sidecar *sc)
{
    return (double)clock_unix_ns(sc->clock) / 1e9;
}

/* As PostHog bills it. */
static double delivered_bytes(const struct sidecar *sc)
{
    struct exporter_stats s;
    exporter_stats(sc->exporter, &s);
    return (double)s.sent_logs_bytes.value;
}

static void find_period(const struct posthog_part *p, double now_s, double *start_s, double *end_s)
{
    *start_s = (double)p->bill.period_start_s;
    *end_s = (double)p->bill.period_end_s;
    if (!(*start_s <= now_s && now_s < *end_s))
        pace_month(now_s, p->sc->cfg->sampling.budget.period_day, start_s, end_s);
}

static void read_quota(struct posthog_part *p)
{
    const struct quota *q = &p->check.gathered.quota;
    double start_s, end_s;
    if (p->check.gathered.quota_fault.fault != APP_FINE || !q->has_usage || !q->has_limit)
        return;
    const struct pace_reading r = {unix_s(p->sc), q->usage_mb * QUOTA_MB, delivered_bytes(p->sc)};
    p->pace.share = p->sc->cfg->sampling.budget.share;
    find_period(p, r.at_s, &start_s, &end_s);
    pace_read(&p->pace, &r, q->limit_mb * QUOTA_MB, start_s, end_s);
}

struct governor_target sidecar_target(const struct sidecar *sc)
{
    const struct posthog_part *p = sc->posthog;
    struct governor_target t = config_target(sc->cfg);
    if (p == NULL || !sc->cfg->sampling.budget.of_posthog || !p->pace.is_known ||
        (pace_is_stale(&p->pace, unix_s(sc)) && t.unit != GOVERNOR_NONE))
        return t;
    t.unit = GOVERNOR_BYTES;
    t.amount = pace_rate(&p->pace, unix_s(sc), delivered_bytes(sc));
    return t;
}

static void set_budget(struct posthog_part *p)
{
    const struct governor_target t = sidecar_target(p->sc);
    if (!p->sc->cfg->sampling.budget.of_posthog)
        return;
    pipeline_move_target(p->sc->pipeline, &t);
}

/* ---- the check --------------------------------------------------------- */

static void each_service(void *ctx, void (*fn)(void *arg, struct span service), void *arg)
{
    struct posthog_part *p = ctx;
    struct census c;
    const struct census_want want = {.services = true, .budget = &p->sc->budget};
    if (census_take(p->sc->pipeline, &want, &c) < 0)
        return;
    for (uint32_t i = 0; i < c.services_held; i++)
        if (i != LEDGER_OTHER)
            fn(arg, c.services[i].name);
    census_done(&c);
}

static void log_check(struct posthog_part *p)
{
    const struct check *c = &p->check;
    char words[WORDS_BYTES] = "", reason[DIAG_QUOTE_BYTES];
    const char *first = "";
    size_t n = 0;
    for (uint32_t i = 0; i < c->findings.count; i++) {
        const struct finding *f = &c->findings.list[i];
        bool is_fault = finding_grade(f->what) == FINDING_FAULT;
        if (is_fault && first[0] == '\0')
            first = f->text;
        if (n < sizeof words - 32)
            n += (size_t)snprintf(words + n, sizeof words - n, "%s%s", n > 0 ? "," : "",
                                  finding_word(f->what));
    }
    bool is_news = p->figures.checked_ms == 0 || strcmp(words, p->said) != 0;
    memcpy(p->said, words, sizeof words);
    diag(!is_news                 ? DIAG_DEBUG
         : c->findings.faults > 0 ? DIAG_WARN
                                  : DIAG_INFO,
         "posthog_check",
         c->findings.faults > 0 ? "PostHog does not do with the logs what is meant; `lipservice "
                                  "posthog check` says what to do"
                                : "PostHog was asked, and all is well",
         "project=%u faults=%u findings=%s reason=%s", c->project.id, c->findings.faults,
         words[0] != '\0' ? words : "none", diag_quote(reason, span_str(first)));
}

/* Names by which PostHog links persons and sessions are not redacted. */
static void protect(struct posthog_part *p)
{
    const struct link_keys *keys = &p->check.gathered.keys;
    if (keys->persons[0] == '\0' && keys->sessions[0] == '\0')
        return; /* not known: what was protected stays so */
    snprintf(p->protected, sizeof p->protected, "%s,%s", keys->persons, keys->sessions);
    if (pipeline_protect(p->sc->pipeline, span_str(p->protected)) < 0)
        diag(DIAG_WARN, "not_protected",
             "attributes that PostHog links persons by may be redacted: the list is too long",
             "setting=redaction.exempt");
}

static void take_figures(struct posthog_part *p)
{
    const struct check *c = &p->check;
    const struct quota *q = &c->gathered.quota;
    struct posthog_figures *f = &p->figures;
    memset(f->found, 0, sizeof f->found);
    for (uint32_t i = 0; i < c->findings.count; i++)
        f->found[c->findings.list[i].what] = true;
    f->is_limited = q->is_limited;
    f->quota_used_bytes = q->has_usage ? q->usage_mb * QUOTA_MB : -1;
    f->quota_limit_bytes = q->has_limit ? q->limit_mb * QUOTA_MB : -1;
    f->checked_ms = clock_now_ms(p->sc->clock);
}

/* ---- what is stored ---------------------------------------------------- */

void posthog_tick(struct sidecar *sc)
{
    if (sc->posthog != NULL)
        days_note(&sc->posthog->verify.days, delivered_bytes(sc), (uint64_t)unix_s(sc));
}

const struct day_totals *posthog_days(const struct sidecar *sc)
{
    return &sc->posthog->verify.days;
}

void posthog_quota_times(const struct sidecar *sc, struct ledger_check *c)
{
    const struct quota_times *q = &sc->posthog->quota_times;
    c->quota_count = q->count;
    for (uint32_t i = 0; i < q->count; i++) {
        c->quotas[i].from_s = q->list[i].from_s;
        c->quotas[i].to_s = q->list[i].to_s;
    }
}

void posthog_canaries(const struct sidecar *sc, struct canary out[CANARIES_MAX])
{
    memcpy(out, sc->posthog->verify.canaries, sizeof sc->posthog->verify.canaries);
}

/* In the place of the oldest. */
static void send_canary(struct posthog_part *p)
{
    struct canary *list = p->verify.canaries, c = {.sent_s = (uint64_t)unix_s(p->sc)};
    snprintf(c.id, sizeof c.id, "%016llx%016llx", (unsigned long long)rng_next(&p->rng),
             (unsigned long long)rng_next(&p->rng));
    if (pipeline_canary(p->sc->pipeline, span_str(c.id)) < 0)
        return; /* no room: the next one may have some */
    memmove(list + 1, list, (CANARIES_MAX - 1) * sizeof *list);
    list[0] = c;
}

static void take_verified(struct posthog_part *p)
{
    const struct verify *v = &p->verify;
    struct posthog_figures *f = &p->figures;
    f->verified_ms = clock_now_ms(p->sc->clock);
    memcpy(f->by_cause, v->check.by_cause, sizeof f->by_cause);
    f->sent = v->check.sent;
    f->stored = v->check.stored;
    f->canaries_missing = v->canaries_missing;
    for (size_t i = CANARIES_MAX; i-- > 0;)
        if (v->canaries[i].is_found)
            f->canary_late_s = v->canaries[i].late_s;
}

static void on_verified(void *ctx)
{
    struct posthog_part *p = ctx;
    const struct verify *v = &p->verify;
    const uint64_t *n = v->check.by_cause;
    char reason[DIAG_QUOTE_BYTES];
    bool is_good = verify_is_good(v),
         is_news = p->figures.verified_ms == 0 || is_good != p->was_good;
    if (v->fault.fault == APP_FINE)
        take_verified(p);
    p->was_good = is_good;
    diag(!is_news  ? DIAG_DEBUG
         : is_good ? DIAG_INFO
                   : DIAG_WARN,
         "posthog_verify",
         is_good ? "PostHog has stored what was sent"
                 : "PostHog has not stored what was sent; `lipservice posthog verify` says more",
         "sent=%llu stored=%llu unexplained=%llu wrong_project=%llu canaries_missing=%u reason=%s",
         (unsigned long long)v->check.sent, (unsigned long long)v->check.stored,
         (unsigned long long)n[CAUSE_UNEXPLAINED], (unsigned long long)n[CAUSE_PROJECT],
         v->canaries_missing, diag_quote(reason, span_str(v->fault.text)));
    ledger_check_done(&p->verify.check);
}

/* The last hour. */
static void verify(struct posthog_part *p)
{
    const struct verify_opts opts = {
        .app = p->app,
        .may_query = project_may(&p->check.project, "query:read"),
        .may_bill = project_may(&p->check.project, "billing:read"),
        .settled_s = sidecar_settled_s(p->sc),
        .ctx = p,
        .done = on_verified,
    };
    send_canary(p);
    if (p->verify.is_running || app_project(p->app) == APP_ID_NONE)
        return;
    p->verify.check.budget = &p->sc->budget;
    sidecar_fill_check(p->sc, &p->verify.check, 1, opts.settled_s);
    verify_take_causes(&p->verify, &p->check.gathered);
    if (verify_start(&p->verify, &opts) < 0)
        p->verify.is_running = false; /* nothing was sent yet */
}

uint64_t posthog_quota_sent(const struct sidecar *sc, uint32_t service)
{
    return sc->posthog->quota_of[service].sent;
}

static void note_quota(struct posthog_part *p)
{
    const struct gathered *g = &p->check.gathered;
    struct census c;
    const struct census_want want = {.services = true, .budget = &p->sc->budget};
    bool was_limited = p->quota_times.is_limited;
    if (g->quota_fault.fault != APP_FINE || !g->quota.is_known)
        return;
    quota_times_note(&p->quota_times, g->quota.is_limited, (uint64_t)unix_s(p->sc),
                     p->sc->cfg->app.check_interval_ms / 1000 + 1);
    if (census_take(p->sc->pipeline, &want, &c) < 0)
        return;
    for (uint32_t i = 0; i < c.services_held; i++) {
        uint64_t delivered = c.services[i].row.fate[FATE_DELIVERED];
        if (was_limited || g->quota.is_limited)
            p->quota_of[i].sent += delivered - p->quota_of[i].seen;
        p->quota_of[i].seen = delivered;
    }
    census_done(&c);
}

static void on_checked(void *ctx)
{
    struct posthog_part *p = ctx;
    log_check(p);
    take_figures(p);
    protect(p);
    read_quota(p);
    set_budget(p);
    note_quota(p);
    if (p->sc->cfg->app.leads)
        verify(p);
    ask_bill(p);
    schedule(p, p->sc->cfg->app.check_interval_ms);
}

static void on_time(uv_timer_t *timer)
{
    struct posthog_part *p = container_of(timer, struct posthog_part, timer);
    const struct check_opts opts = {
        .app = p->app,
        .token = p->sc->cfg->posthog.api_key,
        .ingestion_host = p->sc->cfg->posthog.host,
        .project_id = p->sc->cfg->app.project_id,
        .leads = p->sc->cfg->app.leads,
        .each_service = each_service,
        .ctx = p,
        .done = on_checked,
    };
    if (check_start(&p->check, &opts) < 0)
        schedule(p, p->sc->cfg->app.check_interval_ms);
}

static void schedule(struct posthog_part *p, uint64_t ms)
{
    uv_timer_start(&p->timer, on_time, ms, 0);
}

struct app *posthog_app(const struct sidecar *sc)
{
    return sc->posthog != NULL ? sc->posthog->app : NULL;
}

bool posthog_figures(const struct sidecar *sc, struct posthog_figures *out)
{
    const struct posthog_part *p = sc->posthog;
    if (p == NULL)
        return false;
    *out = p->figures;
    out->others_per_s = pace_others(&p->pace);
    memcpy(out->requests, app_counts(p->app), sizeof out->requests);
    return true;
}

/* ---- life -------------------------------------------------------------- */

int posthog_start(struct sidecar *sc, struct error *err)
{
    const struct config *cfg = sc->cfg;
    char host[UPSTREAM_URL_BYTES];
    if (cfg->app.personal_api_key[0] == '\0')
        return 0;
    struct app_opts opts = {
        .host = host,
        .key = cfg->app.personal_api_key,
        .project_id = cfg->app.project_id,
        .patience_ms = PATIENCE_MS,
        .clock = sc->clock,
        .budget = &sc->budget,
    };
    int rc = posthog_app_url(host, cfg->app.host, cfg->posthog.host, err);
    if (rc == 0)
        rc = config_open_route(&opts.route, &cfg->posthog.route, "exporters.posthog", err);
    if (rc == 0)
        rc = budget_take(&sc->budget, sizeof *sc->posthog);
    if (rc < 0)
        return rc;
    struct posthog_part *p = calloc(1, sizeof *p);
    if (p == NULL) {
        budget_give(&sc->budget, sizeof *p);
        return ERR_NOMEM;
    }
    *p = (struct posthog_part){
        .sc = sc,
        .figures = {.quota_used_bytes = -1, .quota_limit_bytes = -1, .canary_late_s = -1}};
    sc->posthog = p;
    uv_timer_init(&sc->loop, &p->timer);
    p->quota_of = calloc(cfg->sampling.max_services, sizeof *p->quota_of);
    rc = p->quota_of == NULL ? ERR_NOMEM : app_open(&p->app, &sc->loop, &opts);
    if (rc < 0)
        return rc;
    pace_init(&p->pace, cfg->sampling.budget.share);
    rng_init(&p->rng);
    schedule(p, FIRST_MS / 2 + rng_upto(&p->rng, FIRST_MS));
    return 0;
}

void posthog_stop(struct sidecar *sc)
{
    struct posthog_part *p = sc->posthog;
    if (p == NULL)
        return;
    check_stop(&p->check);
    verify_stop(&p->verify);
    app_close(p->app);
    uv_close((uv_handle_t *)&p->timer, NULL);
}

void posthog_release(struct sidecar *sc)
{
    if (sc->posthog == NULL)
        return;
    free(sc->posthog->quota_of);
    free(sc->posthog);
    sc->posthog = NULL;
    budget_give(&sc->budget, sizeof *sc->posthog);
}
