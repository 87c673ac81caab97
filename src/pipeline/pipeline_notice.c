/* pipeline_notice: anomalies and events, and the second that drives them. */
#include "pipeline/event_record.h"
#include "pipeline/pipeline_state.h"
#include "util/diag.h"

#define USUAL_INTERVAL_MS 10000
#define USUAL_LEARNING_MS 600000
#define USUAL_SUMMARY_MS 300000

/* One record of our own: it passes no sampler, no budget and no pattern, and both lines of
 * the ledger hold with it. */
static int send_event(void *ctx, const struct logs_group *g, struct span record)
{
    struct pipeline *p = ctx;
    int rc = pipeline_admit(p, record.len + g->resource.len + g->scope.len, record.len);
    if (rc < 0)
        return rc;
    uint32_t service = ledger_service(p->ledger, SPAN("lipservice"));
    rc = pipeline_emit(p, g, record, (struct span){0}, service, false);
    if (rc < 0) /* sent later, or never: not counted yet */
        return rc == PIPELINE_WITHHELD ? 0 : rc;
    ledger_decide(p->ledger, service, VERDICT_KEPT, 1, (uint64_t)rc);
    ledger_meter(p->ledger, service, (uint64_t)rc);
    metering_sent(&p->metering, g, metering_framed(record.len), (size_t)rc);
    p->reasons.kept[REASON_EVENT]++;
    return 0;
}

int pipeline_start_events(struct pipeline *p)
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
    struct usage_opts usage = {
        .interval_ms = o->events.usage_ms,
        .max_services = o->max_services,
        .seed = o->seed,
        .ledger = p->ledger,
        .budget = o->budget,
        .send = send_event,
        .ctx = p,
    };
    int rc = o->events.usage_ms > 0 ? usage_new(&p->usage, &usage) : 0;
    if (rc == 0 && (o->events.enabled || o->floor_per_second > 0))
        rc = events_new(&p->events, &events);
    return rc;
}

static void on_anomaly(void *ctx, const struct anomaly_news *news)
{
    struct pipeline *p = ctx;
    if (p->opts.events.enabled)
        events_anomaly(p->events, news);
    if (p->noticed.fn == NULL)
        return;
    const struct pattern *e = news->of_service ? NULL : patterns_at(p->patterns, news->number);
    p->noticed.fn(p->noticed.ctx, news->kind,
                  ledger_service_name(p->ledger, e == NULL ? news->number : e->key.service),
                  e == NULL ? (struct span){0} : span_of(e->template_text, e->template_len));
}

void pipeline_notice(struct pipeline *p, pipeline_noticed_fn *fn, void *ctx)
{
    p->noticed.fn = fn;
    p->noticed.ctx = ctx;
}

int pipeline_watch_anomalies(struct pipeline *p, const struct rules *rules)
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
        .tell = on_anomaly,
        .ctx = p,
    };
    if (p->anomaly != NULL || !is_wanted)
        return 0;
    int rc = anomaly_new(&p->anomaly, &anomaly);
    if (rc < 0)
        diag(DIAG_WARN, "anomaly", "no memory to watch for anomalies: anomaly_boost has no effect",
             "reason=%d", rc);
    return rc;
}

int pipeline_canary(struct pipeline *p, struct span id)
{
    struct event_record r = {.head = {0}};
    struct logs_group g;
    struct span record;
    event_record_begin(&r, "lipservice.canary", false, clock_unix_ns(p->opts.clock),
                       SPAN("lipservice"));
    event_record_text(&r, "lipservice.canary", id);
    event_record_body(&r, "Canary: it is looked for, to see that what is sent is stored");
    int rc = event_record_end(&r, p->opts.seed, &g, &record);
    if (rc == 0)
        rc = send_event(p, &g, record);
    event_record_done(&r);
    return rc;
}

void pipeline_tick(struct pipeline *p)
{
    if (p->minutes != NULL)
        minutes_set_now(p->minutes, clock_unix_ns(p->opts.clock));
    if (p->anomaly == NULL && p->events == NULL && p->usage == NULL)
        return;
    uint64_t now_ms = clock_now_ms(p->opts.clock), unix_ns = clock_unix_ns(p->opts.clock);
    if (p->usage != NULL)
        usage_tick(p->usage, unix_ns);
    if (p->events != NULL)
        events_tick(p->events, now_ms, unix_ns);
    if (p->anomaly != NULL)
        anomaly_tick(p->anomaly, now_ms);
}

void pipeline_finish(struct pipeline *p)
{
    if (p->events != NULL) {
        pipeline_tick(p);
        events_finish(p->events);
    }
    if (p->usage != NULL)
        usage_finish(p->usage, clock_unix_ns(p->opts.clock));
}
