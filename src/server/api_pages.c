/* api_pages: what anybody may ask for: is it there, is it well, what can be asked. */
#include "server/api.h"
#include "server/assets.h"
#include "util/expose.h"

int page_root(struct call *c)
{
    struct json j = json_on(&c->out);
    json_begin(&j, NULL);
    json_str(&j, "name", "LipService");
    json_str(&j, "version", LIPSERVICE_VERSION);
    json_str(&j, "status", c->server->phase == SERVER_RUNNING ? "running" : "draining");
    json_end(&j);
    return 200;
}

int page_health(struct call *c)
{
    buf_append_str(&c->out, "{\"status\":\"healthy\"}");
    return 200;
}

/* Ready means: it takes requests, and the last write to the database went well. */
int page_ready(struct call *c)
{
    const struct server *s = c->server;
    const char *status = s->phase != SERVER_RUNNING ? "draining"
                         : s->flushing.last_rc < 0  ? "database"
                                                    : "ready";
    bool is_ready = s->phase == SERVER_RUNNING && s->flushing.last_rc == 0;
    struct json j = json_on(&c->out);
    json_begin(&j, NULL);
    json_str(&j, "status", status);
    json_end(&j);
    return is_ready ? 200 : 503;
}

int page_openapi(struct call *c)
{
    buf_append(&c->out, asset_text("openapi.json"));
    return 200;
}

/* ---- metrics ------------------------------------------------------------ */

static void write_reports(struct buf *out, const struct server *s)
{
    static const char *const names[] = {
#define X(name, text) [REPORT_##name] = text,
        REPORT_FATES(X)
#undef X
    };
    const char *family = "lipservice_server_reports_total";
    expose_family(out, family, EXPOSE_COUNTER, "reports of sidecars, by what became of them");
    for (int f = 0; f < REPORT_FATE_COUNT; f++) {
        struct expose_label label = {"outcome", span_str(names[f])};
        expose_sample(out, family, &label, 1, (double)s->reports[f].value);
    }
}

static void write_answers(struct buf *out, const struct server *s)
{
    const char *family = "lipservice_server_answers_total";
    expose_family(out, family, EXPOSE_COUNTER, "answers, by the first digit of their status");
    for (unsigned i = 2; i < ARRAY_LEN(s->answers); i++) {
        char text[2] = {(char)('0' + i), '\0'};
        struct expose_label label = {"status", span_str(text)};
        expose_sample(out, family, &label, 1, (double)s->answers[i].value);
    }
}

int page_metrics(struct call *c)
{
    const struct server *s = c->server;
    struct receipts_stats r = receipts_stats(s->receipts);
    const struct {
        const char *name;
        enum expose_type type;
        const char *help;
        double value;
    } rows[] = {
        {"lipservice_server_records_total", EXPOSE_COUNTER, "records that reports have counted",
         (double)s->records.value},
        {"lipservice_server_report_gaps_total", EXPOSE_COUNTER,
         "reports that are missing in the numbers of their senders", (double)s->senders.gaps},
        {"lipservice_server_reports_counted_elsewhere_total", EXPOSE_COUNTER,
         "reports that were accepted here, and that another server had counted: taken out again",
         (double)s->elsewhere.value},
        {"lipservice_server_notifications_total", EXPOSE_COUNTER,
         "times that a shared database said that something has changed", (double)s->notified.value},
        {"lipservice_server_senders", EXPOSE_GAUGE,
         "instances of services that have reported in the last week", s->senders.count},
        {"lipservice_server_teams", EXPOSE_GAUGE, "teams", s->registry.team_count},
        {"lipservice_server_services", EXPOSE_GAUGE, "services of all teams",
         s->registry.service_count},
        {"lipservice_server_waiting", EXPOSE_GAUGE, "requests that wait for another policy",
         s->poll.count},
        {"lipservice_server_connections", EXPOSE_GAUGE, "open connections",
         listener_connections(&s->listener)},
        {"lipservice_server_refused_keys_total", EXPOSE_COUNTER, "requests without a valid key",
         (double)s->refused_keys.value},
        {"lipservice_server_limited_total", EXPOSE_COUNTER, "requests beyond the limits of a key",
         (double)s->limited.value},
        {"lipservice_server_journal_bytes", EXPOSE_GAUGE,
         "reports on disk that the database has not taken", (double)r.bytes},
        {"lipservice_server_journal_syncs_total", EXPOSE_COUNTER,
         "writes to the journal, each of one or more reports", (double)r.syncs},
        {"lipservice_server_flushes_total", EXPOSE_COUNTER, "writes of counts to the database",
         (double)s->flushing.attempts},
        {"lipservice_server_failed_flushes_total", EXPOSE_COUNTER, "of these, failed ones",
         (double)s->flushing.failed},
        {"lipservice_server_unflushed_seconds", EXPOSE_GAUGE,
         "since the last write of counts that went well, or the start",
         (double)(clock_now_ms(s->clock) - s->flushing.last_ok_ms) / 1000},
        {"lipservice_server_webhook_deliveries_total", EXPOSE_COUNTER,
         "requests that a webhook has taken", (double)s->webhooks.delivered.value},
        {"lipservice_server_webhook_retries_total", EXPOSE_COUNTER,
         "requests that are tried again later", (double)s->webhooks.retried.value},
        {"lipservice_server_webhook_failures_total", EXPOSE_COUNTER, "requests that were given up",
         (double)s->webhooks.failed.value},
        {"lipservice_server_memory_used_bytes", EXPOSE_GAUGE, "of memory.limit",
         (double)(s->budget.used + s->overhead.used)},
        {"lipservice_server_memory_limit_bytes", EXPOSE_GAUGE, "memory.limit",
         (double)(s->budget.limit + s->overhead.limit)},
    };
    write_reports(&c->out, s);
    write_answers(&c->out, s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        expose_family(&c->out, rows[i].name, rows[i].type, rows[i].help);
        expose_sample(&c->out, rows[i].name, NULL, 0, rows[i].value);
    }
    return 200;
}
