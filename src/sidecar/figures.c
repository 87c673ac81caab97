/* figures: asks each part of the sidecar once. */
#include "sidecar/figures.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static void take_pipeline(struct figures *f, const struct sidecar *sc)
{
    const struct census_want counters = {0}; /* of these alone there is always room */
    if (census_take(sc->pipeline, &counters, &f->census) < 0)
        return;
    const struct governor_target target = sidecar_target(sc);
    const struct ledger_row *t = &f->census.total;
    f->month = sidecar_month(sc, (double)t->received_bytes,
                             (double)t->kept_bytes + (double)t->released_bytes);
    f->is_price_assumed = posthog_terms(sc).is_assumed;
    f->accepted_records = t->received - t->verdict[VERDICT_REJECTED];
    f->queued_records = t->queued + durable_stats(sc).unfound_records;
    f->unsynced_records = t->queued;
    f->services = f->census.services_held - 1;
    f->is_observing = sc->cfg->observe;
    f->budget_unit = target.unit == GOVERNOR_RECORDS ? "records" : "bytes";
    f->has[FIGURES_BUDGET] = target.unit != GOVERNOR_NONE;
    f->has[FIGURES_SHADOW] = f->census.has_shadow;
    f->has[FIGURES_ANOMALY] = f->census.has_anomaly;
    f->has[FIGURES_EVENTS] = f->census.has_events;
    f->has[FIGURES_REDACTION] = f->census.redaction.mode != REDACT_OFF;
}

static void take_receiver(struct figures *f, const struct sidecar *sc)
{
    f->receiver = receiver_stats(sc->receiver);
    for (size_t i = 0; i < ARRAY_LEN(sc->services); i++) {
        const struct http_service *s = &sc->services[i];
        for (size_t v = 0; v < ARRAY_LEN(f->http_requests); v++)
            metric_add(&f->http_requests[v], s->requests[v].value);
        for (size_t r = 0; r < ARRAY_LEN(f->http_faults); r++)
            metric_add(&f->http_faults[r], s->faults[r].value);
    }
    f->has[FIGURES_KEYS] = sc->keys.watch != NULL;
    f->keys_installed = sc->keys.installed;
    f->has[FIGURES_PROXY] = sc->proxy != NULL;
    if (sc->proxy != NULL)
        f->proxy = *proxy_stats(sc->proxy);
    f->keys_refused = sc->keys.refused;
    f->has[FIGURES_ADMIN_KEY] = sc->cfg->telemetry.admin_api_key[0] != '\0';
    f->admin_refused = sc->admin.refused_keys;
    struct tls_figures tls = tls_figures(sc);
    f->has[FIGURES_TLS] = tls.is_on;
    f->tls_installed = tls.installed;
    f->tls_refused = tls.refused;
    f->tls_handshakes = tls.handshakes;
    f->tls_expires_s = (double)tls.expires_s;
    f->connections = listener_connections(&sc->grpc) + listener_connections(&sc->http);
}

/* What a crash, or with a journal a power loss, would take now, is counted by the journal. */
static void take_spool(struct figures *f, const struct sidecar *sc)
{
    if (!sc->cfg->durable)
        return;
    f->journal = durable_stats(sc);
    const struct spool_stats *d = &f->journal.spool;
    uint64_t now = clock_unix_ns(sc->clock);
    f->has[FIGURES_SPOOL] = true;
    f->unsynced_records = f->journal.unsynced_records;
    f->spool_capacity = sc->cfg->spool.max_bytes;
    f->is_spool_broken = d->broken != 0;
    f->is_spool_unreadable = d->unreadable != 0;
    if (d->oldest_unix_ns != 0 && d->oldest_unix_ns <= now)
        f->spool_oldest_s = (double)(now - d->oldest_unix_ns) / 1e9;
}

static double age_s(const struct sidecar *sc, uint64_t since_ms)
{
    return since_ms == 0 ? -1 : (double)(clock_now_ms(sc->clock) - since_ms) / 1000;
}

static void take_policies(struct figures *f, const struct sidecar *sc)
{
    if (sc->policy_file != NULL) {
        f->has[FIGURES_POLICY_FILE] = true;
        f->policy_file = *policy_file_stats(sc->policy_file);
        f->policy_file_age_s = age_s(sc, f->policy_file.installed_ms);
    }
    const struct versions *list = versioning_list(sc);
    const struct version *active = list == NULL ? NULL : versions_in(list, VERSION_ACTIVE);
    f->versions = list == NULL ? 0 : versions_count(list);
    f->active_version = active == NULL ? 0 : active->number;
    if (sc->remote != NULL && sc->report != NULL) {
        f->has[FIGURES_SERVER] = true;
        f->remote = *remote_stats(sc->remote);
        f->report = *report_stats(sc->report);
        f->policy_age_s = age_s(sc, f->remote.last_success_ms);
        f->report_age_s = age_s(sc, f->report.last_success_ms);
    }
    f->has[FIGURES_PROVIDER] = sc->provider != NULL;
    if (sc->provider != NULL) {
        f->provider = *provider_stats(sc->provider);
        f->sync_age_s = age_s(sc, f->provider.last_success_ms);
    }
    f->has[FIGURES_POSTHOG] = posthog_figures(sc, &f->posthog);
    f->has[FIGURES_LEADER] = f->has[FIGURES_POSTHOG] && sc->cfg->app.leads;
    f->verified_age_s = age_s(sc, f->posthog.verified_ms);
    f->posthog_age_s = age_s(sc, f->posthog.checked_ms);
    f->reloads_accepted = sc->reloads.accepted;
    f->reloads_refused = sc->reloads.refused;
    f->has_reload_failed = sc->reloads.failed_last;
}

static void take_memory_of_past(struct figures *f, const struct sidecar *sc)
{
    const struct history *h = history_of(sc);
    f->has[FIGURES_STATE] = sc->state != NULL;
    f->state = state_stats(sc);
    f->state_age_s = age_s(sc, f->state.written_ms);
    f->has[FIGURES_HISTORY] = h != NULL;
    f->history_bytes = sc->history_memory.used;
    f->history_left_out = h == NULL ? 0 : history_left_out(h);
}

static double resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL || fscanf(f, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    if (f != NULL)
        fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static void take_process(struct figures *f, const struct sidecar *sc)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    f->memory = sidecar_memory(sc);
    f->cpu_s = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
               (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    f->resident_bytes = resident_bytes();
    f->uptime_s = (double)(clock_now_ms(sc->clock) - sc->started_ms) / 1000;
    f->one = 1;
}

void figures_take(struct figures *f, const struct sidecar *sc)
{
    *f = (struct figures){.has[FIGURES_ALWAYS] = true};
    take_pipeline(f, sc);
    take_receiver(f, sc);
    exporter_stats(sc->exporter, &f->exporter);
    f->circuit[f->exporter.circuit] = true;
    f->queue_capacity = sc->cfg->queue.max_bytes;
    take_spool(f, sc);
    take_policies(f, sc);
    take_memory_of_past(f, sc);
    f->live = live_stats(sc->live);
    f->readers = feed_readers(sc->feed);
    take_process(f, sc);
}
