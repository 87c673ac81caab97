/*
 * sidecar_metrics: the Prometheus page. Every metric of the program is written
 * here and nowhere else; tests/lint checks that README.md explains each.
 *
 * Names: own prefix, the Collector's stems, base units, _total on counters.
 */
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sidecar/sidecar_state.h"
#include "util/expose.h"

static void write_context(struct buf *out, const struct sidecar *sc, const struct ledger_row *t)
{
    const struct recorder *r = pipeline_recorder(sc->pipeline);
    struct recorder_stats s = {0};
    if (r != NULL)
        s = recorder_stats(r, clock_now_ms(sc->clock));
    expose_family(out, "lipservice_records_released_total", EXPOSE_COUNTER,
                  "Sampled-out records that were sent after all, as the context of an error.");
    expose_plain(out, "lipservice_records_released_total", (double)t->released);
    expose_family(out, "lipservice_context_limited_total", EXPOSE_COUNTER,
                  "Errors whose context was cut short by sampling.error_context.max_per_second.");
    expose_plain(out, "lipservice_context_limited_total", (double)s.limited);
    expose_family(out, "lipservice_context_span_seconds", EXPOSE_GAUGE,
                  "How far back the memory for context goes.");
    expose_plain(out, "lipservice_context_span_seconds", (double)s.span_ms / 1000);
}

static void write_records(struct buf *out, const struct sidecar *sc)
{
    const struct ledger *l = pipeline_ledger(sc->pipeline);
    const struct ledger_row *t = ledger_total(l);
    const struct pipeline_reasons *why = pipeline_reasons(sc->pipeline);

    expose_family(
        out, "lipservice_receiver_accepted_log_records_total", EXPOSE_COUNTER,
        "Log records of requests that were answered with success, and events of our own.");
    expose_plain(out, "lipservice_receiver_accepted_log_records_total",
                 (double)(t->received - t->verdict[VERDICT_REJECTED]));
    expose_family(out, "lipservice_receiver_refused_log_records_total", EXPOSE_COUNTER,
                  "Log records of sound requests that were put off or refused for want of room.");
    expose_plain(out, "lipservice_receiver_refused_log_records_total",
                 (double)t->verdict[VERDICT_REJECTED]);
    expose_family(out, "lipservice_records_decided_total", EXPOSE_COUNTER,
                  "Records by verdict; the verdicts add up to the records received.");
    for (int v = 0; v < VERDICT_COUNT; v++)
        expose_one(out, "lipservice_records_decided_total", "verdict",
                   verdict_name((enum verdict)v), (double)t->verdict[v]);
    expose_family(out, "lipservice_records_kept_total", EXPOSE_COUNTER,
                  "Kept records by the reason of the decision.");
    for (int r = 0; r < REASON_COUNT; r++)
        expose_one(out, "lipservice_records_kept_total", "reason", reason_name((enum reason)r),
                   (double)why->kept[r]);
    expose_family(out, "lipservice_records_dropped_total", EXPOSE_COUNTER,
                  "Records sampled out or dropped by rule, by the reason of the decision.");
    for (int r = 0; r < REASON_COUNT; r++)
        expose_one(out, "lipservice_records_dropped_total", "reason", reason_name((enum reason)r),
                   (double)why->dropped[r]);
    expose_family(out, "lipservice_record_bytes_total", EXPOSE_COUNTER,
                  "Encoded bytes of records: received, kept, and released as context.");
    expose_one(out, "lipservice_record_bytes_total", "stage", "received",
               (double)t->received_bytes);
    expose_one(out, "lipservice_record_bytes_total", "stage", "kept", (double)t->kept_bytes);

    expose_one(out, "lipservice_record_bytes_total", "stage", "released",
               (double)t->released_bytes);
    write_context(out, sc, t);
    const struct timestamp_counts *times = pipeline_timestamps(sc->pipeline);
    expose_family(
        out, "lipservice_timestamps_mended_total", EXPOSE_COUNTER,
        "Records whose time was 0, or above 2^63-1, and became the observed time or now.");
    expose_one(out, "lipservice_timestamps_mended_total", "cause", "zero", (double)times->filled);
    expose_one(out, "lipservice_timestamps_mended_total", "cause", "out_of_range",
               (double)times->repaired);

    expose_family(out, "lipservice_exporter_sent_log_records_total", EXPOSE_COUNTER,
                  "Kept records that the upstream has accepted.");
    expose_plain(out, "lipservice_exporter_sent_log_records_total",
                 (double)t->fate[FATE_DELIVERED]);
    expose_family(out, "lipservice_records_lost_total", EXPOSE_COUNTER,
                  "Kept records that could not be delivered, by reason.");
    for (int f = FATE_DELIVERED + 1; f < FATE_COUNT; f++)
        expose_one(out, "lipservice_records_lost_total", "reason", fate_name((enum fate)f),
                   (double)t->fate[f]);
    expose_family(out, "lipservice_records_queued", EXPOSE_GAUGE,
                  "Kept records that wait, on disk too, or are under way.");
    expose_plain(out, "lipservice_records_queued", (double)(t->queued + durable_backlog(sc)));
    expose_family(out, "lipservice_ledger_imbalance", EXPOSE_GAUGE,
                  "How far the record counts are from adding up; always 0.");
    expose_plain(out, "lipservice_ledger_imbalance", (double)ledger_imbalance(l));
    expose_family(out, "lipservice_services", EXPOSE_GAUGE, "Services counted apart.");
    expose_plain(out, "lipservice_services", (double)ledger_services(l) - 1);
    expose_family(out, "lipservice_patterns", EXPOSE_GAUGE, "Patterns counted apart.");
    expose_plain(out, "lipservice_patterns",
                 (double)patterns_count(pipeline_patterns(sc->pipeline)));
    expose_family(out, "lipservice_patterns_evicted_total", EXPOSE_COUNTER,
                  "Patterns whose counts were folded into 'other' to make room.");
    expose_plain(out, "lipservice_patterns_evicted_total",
                 (double)patterns_evicted(pipeline_patterns(sc->pipeline)));
    expose_family(out, "lipservice_pattern_overflow_records_total", EXPOSE_COUNTER,
                  "Records counted as overflow, because their service has too many patterns.");
    expose_plain(out, "lipservice_pattern_overflow_records_total",
                 (double)pipeline_overflowed(sc->pipeline));
    struct families_stats families = {0};
    if (pipeline_families(sc->pipeline) != NULL)
        families = families_stats(pipeline_families(sc->pipeline));
    expose_family(out, "lipservice_pattern_aliases", EXPOSE_GAUGE,
                  "Patterns that are known to belong to a family.");
    expose_plain(out, "lipservice_pattern_aliases", families.aliases);
    expose_family(out, "lipservice_pattern_learning_put_off_total", EXPOSE_COUNTER,
                  "How often a pattern was not learned, because too many were new in that second.");
    expose_plain(out, "lipservice_pattern_learning_put_off_total", (double)families.put_off);
}

static void write_shadow(struct buf *out, const struct sidecar *sc)
{
    const struct shadow *s = pipeline_shadow(sc->pipeline);
    expose_family(out, "lipservice_observing", EXPOSE_GAUGE,
                  "1 while mode is observe: everything is forwarded.");
    expose_plain(out, "lipservice_observing", sc->cfg->observe);
    if (s == NULL)
        return;
    expose_family(
        out, "lipservice_shadow_records_total", EXPOSE_COUNTER,
        "What would have become of records, by lane (enforced: what observing holds back; "
        "shadow: a second policy) and verdict.");
    for (int lane = 0; lane < SHADOW_LANE_COUNT; lane++) {
        const struct shadow_counts *c = shadow_total(s, (enum shadow_lane)lane);
        const uint64_t counts[] = {c->kept, c->sampled_out, c->dropped_by_rule};
        for (int v = 0; v < VERDICT_REJECTED; v++) {
            const struct expose_label labels[] = {
                {"lane", span_str(shadow_lane_name((enum shadow_lane)lane))},
                {"verdict", span_str(verdict_name((enum verdict)v))},
            };
            expose_sample(out, "lipservice_shadow_records_total", labels, ARRAY_LEN(labels),
                          (double)counts[v]);
        }
    }
    expose_family(out, "lipservice_shadow_kept_bytes_total", EXPOSE_COUNTER,
                  "Bytes that would have been kept, by lane.");
    for (int lane = 0; lane < SHADOW_LANE_COUNT; lane++)
        expose_one(out, "lipservice_shadow_kept_bytes_total", "lane",
                   shadow_lane_name((enum shadow_lane)lane),
                   (double)shadow_total(s, (enum shadow_lane)lane)->kept_bytes);
}

static void write_reloads(struct buf *out, const struct sidecar *sc)
{
    static const char total[] = "lipservice_config_reloads_total";
    expose_family(out, total, EXPOSE_COUNTER, "Reloads (SIGHUP) by outcome.");
    expose_one(out, total, "outcome", "accepted", (double)sc->reloads.accepted.value);
    expose_one(out, total, "outcome", "refused", (double)sc->reloads.refused.value);
    expose_family(out, "lipservice_config_last_reload_failed", EXPOSE_GAUGE,
                  "1: the configuration on disk was refused, and an older one is in force.");
    expose_plain(out, "lipservice_config_last_reload_failed", sc->reloads.failed_last);
}

static void write_events(struct buf *out, const struct sidecar *sc)
{
    const struct anomaly *a = pipeline_anomaly(sc->pipeline);
    const struct events *v = pipeline_events(sc->pipeline);
    if (a != NULL) {
        struct anomaly_stats s = anomaly_stats(a);
        expose_family(out, "lipservice_anomalous_patterns", EXPOSE_GAUGE,
                      "Patterns that are new, surge or have fallen silent.");
        expose_plain(out, "lipservice_anomalous_patterns", s.patterns);
        expose_family(
            out, "lipservice_anomalous_services", EXPOSE_GAUGE,
            "Services whose volume or share of errors surges, or that have fallen silent.");
        expose_plain(out, "lipservice_anomalous_services", s.services);
    }
    if (v == NULL)
        return;
    const struct events_stats *s = events_stats(v);
    expose_family(
        out, "lipservice_events_total", EXPOSE_COUNTER,
        "Events told as records of our own, which count as kept ones of the service lipservice.");
    for (int e = 0; e < EVENT_COUNT; e++)
        expose_one(out, "lipservice_events_total", "event", event_name((enum event)e),
                   (double)s->told[e]);
    expose_family(
        out, "lipservice_events_dropped_total", EXPOSE_COUNTER,
        "Events that were not told: beyond events.max_per_minute, or no room in the queue.");
    expose_plain(out, "lipservice_events_dropped_total", (double)s->dropped);
}

static void write_budget(struct buf *out, const struct sidecar *sc)
{
    const struct governor_stats s = pipeline_governor(sc->pipeline);
    const struct governor_target t = config_target(sc->cfg);
    const char *unit = t.unit == GOVERNOR_RECORDS ? "records" : "bytes";
    expose_family(out, "lipservice_pressure", EXPOSE_GAUGE,
                  "How hard the queue presses: 0 sheds nothing, 1 nearly everything but errors.");
    expose_plain(out, "lipservice_pressure", s.pressure);
    if (t.unit == GOVERNOR_NONE)
        return;
    expose_family(out, "lipservice_budget_rate", EXPOSE_GAUGE,
                  "What may be kept a second, by unit: bytes or records.");
    expose_one(out, "lipservice_budget_rate", "unit", unit, s.rate);
    expose_family(out, "lipservice_budget_allowed_total", EXPOSE_COUNTER,
                  "What the budget has come to since the start, in its unit.");
    expose_one(out, "lipservice_budget_allowed_total", "unit", unit, s.allowed);
    expose_family(out, "lipservice_budget_used_total", EXPOSE_COUNTER,
                  "What was kept of it, in its unit.");
    expose_one(out, "lipservice_budget_used_total", "unit", unit, s.used);
}

static void write_taps(struct buf *out, const struct sidecar *sc)
{
    static const char tap_lines[] = "lipservice_tap_lines_total";
    struct live_stats s = live_stats(sc->live);
    expose_family(out, "lipservice_taps", EXPOSE_GAUGE, "Taps that are open.");
    expose_plain(out, "lipservice_taps", s.taps);
    expose_family(out, tap_lines, EXPOSE_COUNTER,
                  "Decisions that taps wanted, by what became of them.");
    expose_one(out, tap_lines, "outcome", "shown", (double)s.shown);
    expose_one(out, tap_lines, "outcome", "over_rate", (double)s.over_rate);
    expose_one(out, tap_lines, "outcome", "slow", (double)s.slow);
}

static void write_receiver(struct buf *out, const struct sidecar *sc)
{
    static const char *const versions[] = {"1.0", "1.1", "2"};
    static const char *const faults[] = {
#define X(name, text) [HTTP_FAULT_##name] = text,
        HTTP_FAULTS(X)
#undef X
    };
    const struct receiver_stats *s = receiver_stats(sc->receiver);

    expose_family(out, "lipservice_receiver_requests_total", EXPOSE_COUNTER,
                  "Requests accepted, by signal and protocol.");
    for (int g = 0; g < SIGNAL_COUNT; g++) {
        for (int p = 0; p < RECEIVED_COUNT; p++) {
            struct expose_label labels[] = {
                {"signal", span_str(signal_name((enum signal)g))},
                {"protocol", span_str(receiver_protocol_name((enum receiver_protocol)p))},
            };
            expose_sample(out, "lipservice_receiver_requests_total", labels, ARRAY_LEN(labels),
                          (double)s->accepted[g][p].value);
        }
    }
    expose_family(out, "lipservice_receiver_refused_requests_total", EXPOSE_COUNTER,
                  "Requests refused, by reason; nothing of them entered.");
    for (int r = 0; r < REFUSAL_COUNT; r++)
        expose_one(out, "lipservice_receiver_refused_requests_total", "reason",
                   refusal_name((enum refusal)r), (double)s->refused[r].value);
    expose_family(out, "lipservice_receiver_not_otlp_requests_total", EXPOSE_COUNTER,
                  "Requests of JSON without OTLP in it: accepted, and of no records.");
    expose_plain(out, "lipservice_receiver_not_otlp_requests_total", (double)s->not_otlp.value);
    expose_family(out, "lipservice_receiver_bytes_total", EXPOSE_COUNTER,
                  "Bodies of accepted log requests: as sent, and decoded.");
    expose_one(out, "lipservice_receiver_bytes_total", "form", "sent",
               (double)s->received_bytes.value);
    expose_one(out, "lipservice_receiver_bytes_total", "form", "decoded",
               (double)s->decoded_bytes.value);
    expose_family(out, "lipservice_http_requests_total", EXPOSE_COUNTER,
                  "Requests on the OTLP ports by version of HTTP, refused ones included.");
    for (size_t v = 0; v < ARRAY_LEN(versions); v++)
        expose_one(out, "lipservice_http_requests_total", "version", versions[v],
                   (double)sc->service.requests[v].value);
    expose_family(out, "lipservice_http_faults_total", EXPOSE_COUNTER,
                  "Requests and connections on the OTLP ports that were ended, by reason.");
    for (int f = 0; f < HTTP_FAULT_COUNT; f++)
        expose_one(out, "lipservice_http_faults_total", "reason", faults[f],
                   (double)sc->service.faults[f].value);
    expose_family(out, "lipservice_http_connections", EXPOSE_GAUGE,
                  "Connections open on the OTLP ports.");
    expose_plain(out, "lipservice_http_connections",
                 listener_connections(&sc->grpc) + listener_connections(&sc->http));
}

static void write_relays(struct buf *out, const struct exporter_stats *s)
{
    static const struct {
        const char *outcome;
        size_t offset;
    } outcomes[] = {
        {"received", offsetof(struct exporter_stats, relay[0].received)},
        {"delivered", offsetof(struct exporter_stats, relay[0].delivered)},
        {"lost", offsetof(struct exporter_stats, relay[0].lost)},
        {"discarded", offsetof(struct exporter_stats, relay[0].discarded)},
    };
    expose_family(out, "lipservice_relay_requests_total", EXPOSE_COUNTER,
                  "Requests of traces and metrics to be relayed, by what became of them.");
    for (int g = SIGNAL_TRACES; g < SIGNAL_COUNT; g++) {
        for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
            const char *at = (const char *)s + outcomes[i].offset + (size_t)g * sizeof s->relay[0];
            struct expose_label labels[] = {
                {"signal", span_str(signal_name((enum signal)g))},
                {"outcome", span_str(outcomes[i].outcome)},
            };
            expose_sample(out, "lipservice_relay_requests_total", labels, ARRAY_LEN(labels),
                          (double)((const struct metric *)at)->value);
        }
    }
    expose_family(out, "lipservice_relay_bytes_total", EXPOSE_COUNTER,
                  "Bodies of traces and metrics requests, as received.");
    for (int g = SIGNAL_TRACES; g < SIGNAL_COUNT; g++)
        expose_one(out, "lipservice_relay_bytes_total", "signal", signal_name((enum signal)g),
                   (double)s->relay[g].received_bytes.value);
}

static void write_circuit(struct buf *out, const struct exporter_stats *s)
{
    expose_family(out, "lipservice_exporter_circuit_state", EXPOSE_GAUGE,
                  "1 for the state that holds: closed, open (all wait), half_open (one tries).");
    for (int c = 0; c < CIRCUIT_STATE_COUNT; c++)
        expose_one(out, "lipservice_exporter_circuit_state", "state",
                   circuit_state_name((enum circuit_state)c), s->circuit == (enum circuit_state)c);
    expose_family(out, "lipservice_exporter_next_retry_seconds", EXPOSE_GAUGE,
                  "Time until somebody tries again, while the circuit is open.");
    expose_plain(out, "lipservice_exporter_next_retry_seconds", (double)s->retry_in_ms / 1000);
    expose_family(out, "lipservice_exporter_outage_seconds", EXPOSE_GAUGE,
                  "How long the upstream has taken nothing, while the circuit is not closed.");
    expose_plain(out, "lipservice_exporter_outage_seconds", (double)s->outage_ms / 1000);
    expose_family(out, "lipservice_refused_file_records_total", EXPOSE_COUNTER,
                  "Refused records: written to exporters.refused_file, and left out of it.");
    expose_one(out, "lipservice_refused_file_records_total", "outcome", "written",
               (double)s->refused_file.written.value);
    expose_one(out, "lipservice_refused_file_records_total", "outcome", "left_out",
               (double)s->refused_file.left_out.value);
    expose_family(out, "lipservice_refused_file_bytes", EXPOSE_GAUGE,
                  "Size of exporters.refused_file.");
    expose_plain(out, "lipservice_refused_file_bytes", (double)s->refused_file.bytes);
}

static void write_exporter(struct buf *out, const struct sidecar *sc)
{
    static const char *const answers[] = {
        [ANSWER_ACCEPT] = "accepted",      [ANSWER_SPLIT] = "split",
        [ANSWER_RETRY] = "retry",          [ANSWER_SPLIT_LATER] = "server_error",
        [ANSWER_RECODE] = "recode",        [ANSWER_HOLD] = "unauthorized",
        [ANSWER_ISOLATE] = "isolate",      [ANSWER_DROP] = "refused",
        [ANSWER_ASTRAY] = "wrong_address",
    };
    struct exporter_stats s;
    exporter_stats(sc->exporter, &s);

    expose_family(out, "lipservice_exporter_requests_total", EXPOSE_COUNTER,
                  "Answers of the upstream, by what they asked for.");
    for (int a = 0; a < ANSWER_COUNT; a++)
        expose_one(out, "lipservice_exporter_requests_total", "answer", answers[a],
                   (double)s.answers[a].value);
    expose_family(out, "lipservice_exporter_failures_total", EXPOSE_COUNTER,
                  "Requests that got no answer: connection, TLS, timeout.");
    expose_plain(out, "lipservice_exporter_failures_total", (double)s.failures.value);
    expose_family(out, "lipservice_exporter_memory_failures_total", EXPOSE_COUNTER,
                  "How often there was no memory to take a record or to seal a batch: requests are "
                  "refused until there is.");
    expose_plain(out, "lipservice_exporter_memory_failures_total", (double)s.memory_failures.value);
    expose_family(out, "lipservice_exporter_sent_bytes_total", EXPOSE_COUNTER,
                  "Bodies of accepted requests: on the wire, and decoded as PostHog meters them.");
    expose_one(out, "lipservice_exporter_sent_bytes_total", "form", "wire",
               (double)s.sent_wire_bytes.value);
    expose_one(out, "lipservice_exporter_sent_bytes_total", "form", "decoded",
               (double)s.sent_decoded_bytes.value);
    expose_family(out, "lipservice_exporter_queue_size_bytes", EXPOSE_GAUGE,
                  "Memory of requests that wait or are under way.");
    expose_plain(out, "lipservice_exporter_queue_size_bytes", (double)s.queue_bytes);
    expose_family(out, "lipservice_exporter_queue_capacity_bytes", EXPOSE_GAUGE,
                  "What may wait (queue.max_bytes).");
    expose_plain(out, "lipservice_exporter_queue_capacity_bytes", (double)sc->cfg->queue.max_bytes);
    expose_family(out, "lipservice_exporter_queued_requests", EXPOSE_GAUGE,
                  "Requests that wait for a sender.");
    expose_plain(out, "lipservice_exporter_queued_requests", s.queued_parcels);
    expose_family(out, "lipservice_exporter_slow_requests", EXPOSE_GAUGE,
                  "Of them: had no answer in time, and are sent one by one, halved.");
    expose_plain(out, "lipservice_exporter_slow_requests", s.slow_parcels);
    expose_family(out, "lipservice_exporter_in_flight_requests", EXPOSE_GAUGE,
                  "Requests sent and not answered yet.");
    expose_plain(out, "lipservice_exporter_in_flight_requests", s.in_flight);
    expose_family(out, "lipservice_exporter_waiting_to_retry", EXPOSE_GAUGE,
                  "Requests that wait for their next try.");
    expose_plain(out, "lipservice_exporter_waiting_to_retry", s.waiting_to_retry);
    expose_family(out, "lipservice_exporter_oldest_seconds", EXPOSE_GAUGE,
                  "Age of the oldest record that is not delivered yet.");
    expose_plain(out, "lipservice_exporter_oldest_seconds", (double)s.oldest_ms / 1000);
    expose_family(
        out, "lipservice_exporter_key_refused", EXPOSE_GAUGE,
        "1 while the upstream refuses the key (401, 403), or a proxy its credentials (407).");
    expose_plain(out, "lipservice_exporter_key_refused", s.holds_for_key);
    expose_family(out, "lipservice_exporter_address_refused", EXPOSE_GAUGE,
                  "1 while the address of the upstream takes no logs (3xx, 404, 405).");
    expose_plain(out, "lipservice_exporter_address_refused", s.holds_for_address);
    expose_family(out, "lipservice_exporter_page_answers_total", EXPOSE_COUNTER,
                  "Answers 2xx with a web page: counted as delivered, likely not stored.");
    expose_plain(out, "lipservice_exporter_page_answers_total", (double)s.page_answers.value);
    write_circuit(out, &s);
    write_relays(out, &s);
}

/* What a crash, or with a journal a power loss, would take now. */
static void write_unsynced(struct buf *out, const struct sidecar *sc)
{
    uint64_t records = ledger_total(pipeline_ledger(sc->pipeline))->queued;
    struct journal_stats s;
    if (sc->journal != NULL) {
        journal_stats(sc->journal, &s);
        records = s.unsynced_records;
    }
    expose_family(
        out, "lipservice_records_unsynced", EXPOSE_GAUGE,
        "Kept records that a crash of the machine now would lose: in memory, all that wait; "
        "on disk, what is not synced.");
    expose_plain(out, "lipservice_records_unsynced", (double)records);
}

static void write_one(struct buf *out, const char *name, enum expose_type type, double value,
                      const char *help)
{
    expose_family(out, name, type, help);
    expose_plain(out, name, value);
}

static void write_spool(struct buf *out, const struct sidecar *sc)
{
    struct journal_stats s;
    write_unsynced(out, sc);
    if (sc->journal == NULL)
        return;
    journal_stats(sc->journal, &s);
    const struct spool_stats *d = &s.spool;
    uint64_t now = clock_unix_ns(sc->clock);
    double oldest = d->oldest_unix_ns == 0 || d->oldest_unix_ns > now
                        ? 0
                        : (double)(now - d->oldest_unix_ns) / 1e9;
    /* clang-format off */
    write_one(out, "lipservice_spool_size_bytes", EXPOSE_GAUGE, (double)d->bytes, "On disk, room reserved included.");
    write_one(out, "lipservice_spool_capacity_bytes", EXPOSE_GAUGE, (double)sc->cfg->spool.max_bytes, "spool.max_bytes.");
    write_one(out, "lipservice_spool_segments", EXPOSE_GAUGE, (double)d->segments, "Segment files.");
    write_one(out, "lipservice_spool_frames", EXPOSE_GAUGE, (double)d->frames, "Commits stored and not delivered.");
    write_one(out, "lipservice_spool_records", EXPOSE_GAUGE, (double)d->records, "Records of them.");
    write_one(out, "lipservice_spool_oldest_seconds", EXPOSE_GAUGE, oldest, "Age of the oldest of them.");
    write_one(out, "lipservice_spool_held_bytes", EXPOSE_GAUGE, (double)s.held_bytes, "Memory of what waits to be stored.");
    write_one(out, "lipservice_spool_broken", EXPOSE_GAUGE, d->broken != 0, "1 while nothing can be stored: the disk is full or fails.");
    write_one(out, "lipservice_spool_unreadable", EXPOSE_GAUGE, d->unreadable != 0, "1 while stored records cannot be read; they stay, and it is tried again.");
    write_one(out, "lipservice_spool_full", EXPOSE_GAUGE, s.is_full, "1 while spool.max_bytes is reached and clients are refused.");
    write_one(out, "lipservice_spool_commits_total", EXPOSE_COUNTER, (double)s.commits, "Commits stored.");
    write_one(out, "lipservice_spool_commit_records_total", EXPOSE_COUNTER, (double)s.commit_records, "Records of them.");
    write_one(out, "lipservice_spool_commit_bytes_total", EXPOSE_COUNTER, (double)s.commit_bytes, "Bytes of them.");
    write_one(out, "lipservice_spool_failed_commits_total", EXPOSE_COUNTER, (double)s.failed_commits, "Commits that could not be stored; their clients were told to send again.");
    write_one(out, "lipservice_spool_fsyncs_total", EXPOSE_COUNTER, (double)s.syncs, "Times the data was synced.");
    write_one(out, "lipservice_spool_fsync_seconds_total", EXPOSE_COUNTER, (double)s.sync_ns / 1e9, "Time that it took.");
    write_one(out, "lipservice_spool_fsync_max_seconds", EXPOSE_GAUGE, (double)s.sync_max_ns / 1e9, "The longest of them.");
    write_one(out, "lipservice_spool_recovered_records_total", EXPOSE_COUNTER, (double)s.found_records, "Records of earlier processes that were read; they count as received and kept.");
    write_one(out, "lipservice_spool_damaged_bytes_total", EXPOSE_COUNTER, (double)d->damaged_bytes, "Bytes that are not what was written.");
    write_one(out, "lipservice_spool_torn_bytes_total", EXPOSE_COUNTER, (double)d->torn_bytes, "Bytes of unfinished frames, cut off at the start.");
    write_one(out, "lipservice_spool_unsound_frames_total", EXPOSE_COUNTER, (double)s.unsound_frames, "Frames of earlier processes that held no logs.");
    /* clang-format on */
    expose_family(out, "lipservice_spool_errors_total", EXPOSE_COUNTER,
                  "Calls to the disk that failed, by what they were for.");
    expose_one(out, "lipservice_spool_errors_total", "operation", "write", (double)d->write_errors);
    expose_one(out, "lipservice_spool_errors_total", "operation", "read", (double)d->read_errors);
    expose_one(out, "lipservice_spool_errors_total", "operation", "position",
               (double)d->position_errors);
    expose_family(
        out, "lipservice_spool_lost_records_total", EXPOSE_COUNTER,
        "Stored records that will not be delivered, by reason; of earlier processes, too.");
    for (int w = 0; w < SPOOL_LOSS_COUNT; w++)
        expose_one(out, "lipservice_spool_lost_records_total", "reason",
                   spool_loss_name((enum spool_loss)w), (double)d->lost_records[w]);
    expose_family(out, "lipservice_spool_lost_frames_total", EXPOSE_COUNTER,
                  "Stored commits that will not be delivered, by reason.");
    for (int w = 0; w < SPOOL_LOSS_COUNT; w++)
        expose_one(out, "lipservice_spool_lost_frames_total", "reason",
                   spool_loss_name((enum spool_loss)w), (double)d->lost_frames[w]);
}

static double age_seconds(const struct sidecar *sc, uint64_t since_ms)
{
    return since_ms == 0 ? -1 : (double)(clock_now_ms(sc->clock) - since_ms) / 1000;
}

static void write_policy_file(struct buf *out, const struct sidecar *sc)
{
    if (sc->policy_file == NULL)
        return;
    const struct policy_file_stats *s = policy_file_stats(sc->policy_file);

    expose_family(out, "lipservice_policy_file_version", EXPOSE_GAUGE,
                  "Version of the policy file in force.");
    expose_plain(out, "lipservice_policy_file_version", (double)s->version);
    expose_family(out, "lipservice_policy_file_age_seconds", EXPOSE_GAUGE,
                  "Time since the policy file was put in force.");
    expose_plain(out, "lipservice_policy_file_age_seconds", age_seconds(sc, s->installed_ms));
    expose_family(out, "lipservice_policy_file_loads_total", EXPOSE_COUNTER,
                  "Times the policy file was read and had changed, by outcome.");
    expose_one(out, "lipservice_policy_file_loads_total", "outcome", "installed",
               (double)s->installed.value);
    expose_one(out, "lipservice_policy_file_loads_total", "outcome", "invalid",
               (double)s->invalid.value);
    expose_one(out, "lipservice_policy_file_loads_total", "outcome", "unreadable",
               (double)s->unreadable.value);
}

static void write_policy(struct buf *out, const struct sidecar *sc)
{
    if (sc->remote == NULL || sc->report == NULL)
        return; /* what is not tracked is left out, not reported as 0 */
    const struct remote_stats *f = remote_stats(sc->remote);
    const struct report_stats *r = report_stats(sc->report);

    expose_family(out, "lipservice_policy_fetches_total", EXPOSE_COUNTER,
                  "Policies asked of the policy server, by outcome.");
    expose_one(out, "lipservice_policy_fetches_total", "outcome", "installed",
               (double)f->installed.value);
    expose_one(out, "lipservice_policy_fetches_total", "outcome", "unknown_service",
               (double)f->unknown.value);
    expose_one(out, "lipservice_policy_fetches_total", "outcome", "invalid",
               (double)f->invalid.value);
    expose_one(out, "lipservice_policy_fetches_total", "outcome", "failed",
               (double)f->failed.value);
    expose_family(out, "lipservice_policy_services", EXPOSE_GAUGE,
                  "Services with a fetched policy in force.");
    expose_plain(out, "lipservice_policy_services", f->services);
    expose_family(out, "lipservice_policy_age_seconds", EXPOSE_GAUGE,
                  "Time since the last policy was fetched; -1: never.");
    expose_plain(out, "lipservice_policy_age_seconds", age_seconds(sc, f->last_success_ms));
    expose_family(out, "lipservice_policy_reports_total", EXPOSE_COUNTER,
                  "Reports of pattern counts to the policy server, by outcome.");
    expose_one(out, "lipservice_policy_reports_total", "outcome", "accepted",
               (double)r->accepted.value);
    expose_one(out, "lipservice_policy_reports_total", "outcome", "failed",
               (double)r->failed.value);
    expose_family(out, "lipservice_policy_report_age_seconds", EXPOSE_GAUGE,
                  "Time since the last report was accepted; -1: never.");
    expose_plain(out, "lipservice_policy_report_age_seconds", age_seconds(sc, r->last_success_ms));
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

static void write_process(struct buf *out, const struct sidecar *sc)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    double cpu = (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                 (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;

    expose_family(out, "lipservice_memory_limit_bytes", EXPOSE_GAUGE, "memory.limit.");
    expose_plain(out, "lipservice_memory_limit_bytes", (double)sc->budget.limit);
    expose_family(out, "lipservice_memory_used_bytes", EXPOSE_GAUGE,
                  "What bodies, inflation, queue and tables hold of it now.");
    expose_plain(out, "lipservice_memory_used_bytes", (double)sc->budget.used);
    expose_family(out, "lipservice_memory_peak_bytes", EXPOSE_GAUGE, "The most they ever held.");
    expose_plain(out, "lipservice_memory_peak_bytes", (double)sc->budget.peak);
    expose_family(out, "lipservice_memory_refused_total", EXPOSE_COUNTER,
                  "How often the account had no room.");
    expose_plain(out, "lipservice_memory_refused_total", (double)sc->budget.refused);
    expose_family(out, "lipservice_process_cpu_seconds_total", EXPOSE_COUNTER,
                  "CPU time of the process.");
    expose_plain(out, "lipservice_process_cpu_seconds_total", cpu);
    expose_family(out, "lipservice_process_resident_memory_bytes", EXPOSE_GAUGE,
                  "Resident memory of the process.");
    expose_plain(out, "lipservice_process_resident_memory_bytes", resident_bytes());
    expose_family(out, "lipservice_process_uptime_seconds", EXPOSE_GAUGE, "Time since the start.");
    expose_plain(out, "lipservice_process_uptime_seconds",
                 (double)(clock_now_ms(sc->clock) - sc->started_ms) / 1000);
    expose_family(out, "lipservice_build_info", EXPOSE_GAUGE, "1; the version is a label.");
    expose_one(out, "lipservice_build_info", "version", LIPSERVICE_VERSION, 1);
}

static int write_metrics(void *ctx, struct span query, struct buf *out)
{
    const struct sidecar *sc = ctx;
    (void)query;
    if (sc->phase == SIDECAR_STARTING || sc->receiver == NULL || sc->exporter == NULL)
        return 503;
    write_records(out, sc);
    write_budget(out, sc);
    write_reloads(out, sc);
    write_shadow(out, sc);
    write_taps(out, sc);
    write_events(out, sc);
    write_receiver(out, sc);
    write_exporter(out, sc);
    write_spool(out, sc);
    write_policy_file(out, sc);
    write_policy(out, sc);
    write_process(out, sc);
    return 200;
}

const struct page sidecar_metrics_pages[] = {
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", write_metrics},
};
const size_t sidecar_metrics_page_count = ARRAY_LEN(sidecar_metrics_pages);
