/*
 * drain: the end, in phases, and the last line of the log.
 *
 * A sidecar must outlive its application's last flush. So requests are still taken until none
 * came for a moment, or half of shutdown.timeout is over; then connections are asked to close,
 * what is held is delivered, and what is not delivered in time is counted as lost (or waits on
 * disk). A second signal ends at once.
 */
#include "sidecar/sidecar_state.h"

#include <stdio.h>
#include <string.h>

#include "util/diag.h"
#include "util/fate.h"

#define TICK_MS 50
#define QUIET_MS 1000     /* no request for so long: the application has flushed */
#define REASONS_BYTES 512 /* of all losses, with 20 digits each */
#define ON_DISK_BYTES 128 /* of the spool's part of the last line */

const char *sidecar_phase_name(enum sidecar_phase phase)
{
    static const char *const names[] = {
#define X(name, text) [SIDECAR_##name] = text,
        SIDECAR_PHASES(X)
#undef X
    };
    return names[phase];
}

/* ---- the last line ------------------------------------------------------ */

/* What is settled, and what will not be any more: when a system call does not return, records
 * are queued to the end. */
static void end_fates(struct sidecar *sc, struct ledger_row *t,
                      const struct durable_end_counts *spool)
{
    if (!sc->cfg->durable)
        t->fate[FATE_LOST_SHUTDOWN] += t->queued;
    t->fate[FATE_LOST_DISK] += spool->unstored;
    t->fate[FATE_LOST_DAMAGED] += spool->removed;
    t->fate[FATE_LOST_DROPPED] += spool->dropped;
}

void sidecar_log_ledger(struct sidecar *sc)
{
    if (sc->phase == SIDECAR_STARTING || atomic_exchange(&sc->is_ledger_logged, true))
        return;
    struct ledger_row t = sidecar_totals(sc);
    struct durable_end_counts spool;
    uint64_t lost = 0;
    char reasons[REASONS_BYTES] = "", on_disk[ON_DISK_BYTES] = "";
    durable_end_counts(sc, &spool);
    end_fates(sc, &t, &spool);
    for (int f = FATE_DELIVERED + 1; f < FATE_COUNT; f++) {
        size_t n = strlen(reasons);
        lost += t.fate[f];
        if (t.fate[f] > 0)
            snprintf(reasons + n, sizeof reasons - n, " lost_%s=%llu", fate_name((enum fate)f),
                     (unsigned long long)t.fate[f]);
    }
    if (sc->cfg->durable)
        snprintf(on_disk, sizeof on_disk,
                 " earlier_unread=%llu spool_lost=%llu spool_lost_frames=%llu",
                 (unsigned long long)spool.earlier_unread, (unsigned long long)spool.lost,
                 (unsigned long long)spool.lost_frames);
    bool has_lost = lost > 0 || spool.lost_frames > 0;
    diag(has_lost ? DIAG_WARN : DIAG_INFO, "ledger",
         has_lost         ? "ended, and not everything could be delivered"
         : spool.left > 0 ? "ended; what is not delivered waits on disk"
                          : "ended",
         "received=%llu kept=%llu released=%llu sampled_out=%llu dropped_by_rule=%llu "
         "rejected=%llu joined=%llu delivered=%llu lost=%llu%s left_on_disk=%llu%s",
         (unsigned long long)t.received, (unsigned long long)t.verdict[VERDICT_KEPT],
         (unsigned long long)t.released, (unsigned long long)t.verdict[VERDICT_SAMPLED_OUT],
         (unsigned long long)t.verdict[VERDICT_DROPPED_BY_RULE],
         (unsigned long long)t.verdict[VERDICT_REJECTED],
         (unsigned long long)t.verdict[VERDICT_JOINED], (unsigned long long)t.fate[FATE_DELIVERED],
         (unsigned long long)lost, reasons, (unsigned long long)spool.left, on_disk);
}

/* ---- phases ------------------------------------------------------------- */

static bool is_closed(const struct sidecar *sc)
{
    return listener_is_quiet(&sc->grpc) && listener_is_quiet(&sc->http);
}

static bool has_application_flushed(const struct sidecar *sc)
{
    uint64_t now = clock_now_ms(sc->clock);
    return (now - receiver_last_request_ms(sc->receiver) >= QUIET_MS && is_closed(sc)) ||
           now - sc->drain_began_ms >= sc->signals.drain_ms / 2;
}

static void stop_taking(struct sidecar *sc)
{
    proxy_drain(sc, false);
    receiver_end_watches(sc->receiver);
    for (size_t i = 0; i < ARRAY_LEN(sc->services); i++)
        sc->services[i].draining = true;
    listener_drain_sessions(&sc->grpc);
    listener_drain_sessions(&sc->http);
    listener_stop_accepting(&sc->grpc);
    listener_stop_accepting(&sc->http);
}

/* Nothing can be added to the counts any more: the events about them go out with the rest. */
static void finish_pipeline(struct sidecar *sc)
{
    uv_timer_stop(&sc->tick_timer);
    pipeline_finish(sc->pipeline);
}

static bool is_flushed(const struct sidecar *sc)
{
    return durable_is_idle(sc) && exporter_is_idle(sc->exporter) &&
           (sc->report == NULL || report_is_idle(sc->report));
}

static void report_last(struct sidecar *sc)
{
    if (sc->report != NULL)
        report_now(sc->report);
}

static bool has_reported(const struct sidecar *sc)
{
    return sc->report == NULL || report_is_idle(sc->report);
}

/* The loop turns to its end once more: what is read in that turn would be acknowledged
 * and lost. */
static void end(struct sidecar *sc)
{
    receiver_end(sc->receiver);
    uv_stop(&sc->loop);
}

/* From QUIETING on each phase is followed by the next, when it is over or the time is. */
static const struct {
    void (*enter)(struct sidecar *sc);
    bool (*is_over)(const struct sidecar *sc);
} phases[SIDECAR_PHASE_COUNT] = {
    [SIDECAR_QUIETING] = {NULL, has_application_flushed},
    [SIDECAR_CLOSING] = {stop_taking, is_closed},
    [SIDECAR_FLUSHING] = {finish_pipeline, is_flushed},
    [SIDECAR_REPORTING] = {report_last, has_reported},
    [SIDECAR_ENDED] = {end, NULL},
};

/* The only writer of sc->phase once the sidecar runs. */
static void drain_go(struct sidecar *sc, enum sidecar_phase to)
{
    sc->phase = to;
    if (phases[to].enter != NULL)
        phases[to].enter(sc);
}

static void flush(struct sidecar *sc)
{
    durable_flush(sc);
    exporter_flush(sc->exporter);
}

static void on_tick(uv_timer_t *timer)
{
    struct sidecar *sc = container_of(timer, struct sidecar, drain_timer);
    uint64_t used_ms = clock_now_ms(sc->clock) - sc->drain_began_ms;
    bool is_late = used_ms >= sc->signals.drain_ms;
    if (sc->phase == SIDECAR_CLOSING && used_ms >= sc->signals.drain_ms / 4 * 3)
        proxy_drain(sc, true); /* so that the rest of the time is for records */
    while (sc->phase < SIDECAR_ENDED && phases[sc->phase].is_over(sc)) {
        drain_go(sc, sc->phase + 1);
        if (sc->phase < SIDECAR_ENDED && sc->phase > SIDECAR_QUIETING)
            flush(sc);
    }
    if (sc->phase < SIDECAR_ENDED && sc->phase > SIDECAR_QUIETING)
        flush(sc); /* what has come since the last tick */
    if (sc->phase < SIDECAR_ENDED && is_late)
        drain_go(sc, SIDECAR_ENDED);
}

void drain_begin(struct sidecar *sc, int number)
{
    if (sc->phase >= SIDECAR_QUIETING) {
        diag(DIAG_WARN, "stopping", "second signal: ending at once", "signal=%d", number);
        if (sc->phase < SIDECAR_ENDED)
            drain_go(sc, SIDECAR_ENDED);
        return;
    }
    drain_go(sc, SIDECAR_QUIETING);
    proxy_drain(sc, false);
    live_stop_taps(sc->live);
    feed_stop(sc->feed);
    sc->drain_began_ms = clock_now_ms(sc->clock);
    diag(DIAG_INFO, "stopping", "draining; once more ends at once", "signal=%d timeout_ms=%u",
         number, sc->signals.drain_ms);
    uv_timer_start(&sc->drain_timer, on_tick, 0, TICK_MS);
}

int drain_start(struct sidecar *sc, struct error *err)
{
    (void)err;
    return uv_timer_init(&sc->loop, &sc->drain_timer);
}

void drain_stop(struct sidecar *sc)
{
    uv_close((uv_handle_t *)&sc->drain_timer, NULL);
}
