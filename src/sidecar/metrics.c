/*
 * sidecar_metrics: the Prometheus page, and the reference of it, from one table.
 *
 * Each metric is a row: name, type, where it is there, which of the figures, labels, help. The
 * reference (README.md beside this file) is what `lipservice metrics --markdown` prints.
 *
 * Names: own prefix, the Collector's stems, base units, _total on counters.
 */
#include <assert.h>

#include "sidecar/figures.h"
#include "sidecar/reference.h"
#include "util/expose.h"

/* ---- which figure ------------------------------------------------------ */

enum kind { KIND_U64, KIND_I64, KIND_U32, KIND_BOOL, KIND_DOUBLE };

#define FIGURE(field) (((const struct figures *)0)->field)
#define KIND_OF(field) \
    _Generic(FIGURE(field), uint64_t \
             : KIND_U64, struct metric \
             : KIND_U64, int64_t \
             : KIND_I64, uint32_t \
             : KIND_U32, bool \
             : KIND_BOOL, double \
             : KIND_DOUBLE)
#define AT(field) offsetof(struct figures, field), KIND_OF(field)
#define IN_PARTS 0, KIND_U64 /* an axis says which figures, and of which kind */

static double read_figure(const struct figures *f, size_t offset, enum kind kind)
{
    const void *at = (const char *)f + offset;
    switch (kind) {
    case KIND_U64:
        return (double)*(const uint64_t *)at;
    case KIND_I64:
        return (double)*(const int64_t *)at;
    case KIND_U32:
        return *(const uint32_t *)at;
    case KIND_BOOL:
        return *(const bool *)at;
    default:
        return *(const double *)at;
    }
}

/* ---- labels ------------------------------------------------------------ */

/* One label, and a sample for each of its values: elements of an array, or figures by name. */
struct axis {
    const char *label;
    int from, to; /* values from <= i < to */
    /* An array: where the next element is, and what it is called. */
    size_t stride;
    const char *(*name)(const struct figures *f, int i);
    /* Or figures here and there. */
    const struct part {
        const char *name;
        size_t offset;
        enum kind kind;
    } * parts;
};

#define NAMED(what, type) \
    static const char *name_##what(const struct figures *f, int i) \
    { \
        (void)f; \
        return what##_name((enum type)i); \
    }
NAMED(verdict, verdict)
NAMED(reason, reason)
NAMED(fate, fate)
NAMED(shadow_lane, shadow_lane)
NAMED(event, event)
NAMED(signal, signal)
NAMED(receiver_protocol, receiver_protocol)
NAMED(refusal, refusal)
NAMED(repair, repair)
NAMED(circuit_state, circuit_state)
NAMED(spool_loss, spool_loss)
NAMED(redact_where, redact_where)

static const char *name_unit(const struct figures *f, int i)
{
    (void)i;
    return f->budget_unit;
}

static const char *name_redact_kind(const struct figures *f, int i)
{
    return redact_stats_kind(&f->census.redaction, (unsigned)i);
}

static const char *name_redact_action(const struct figures *f, int i)
{
    (void)i;
    return redact_done_name(&f->census.redaction);
}

static const char *name_build(const struct figures *f, int i)
{
    (void)f;
    (void)i;
    return LIPSERVICE_VERSION;
}

static const char *name_app_fault(const struct figures *f, int i)
{
    (void)f;
    return app_fault_word((enum app_fault)i);
}

static const char *name_cause(const struct figures *f, int i)
{
    (void)f;
    return cause_word((enum cause)i);
}

static const char *name_finding(const struct figures *f, int i)
{
    (void)f;
    return finding_word((enum finding_what)i);
}

static const char *name_http_version(const struct figures *f, int i)
{
    static const char *const names[] = {"1.0", "1.1", "2"};
    (void)f;
    return names[i];
}

static const char *name_http_fault(const struct figures *f, int i)
{
    static const char *const names[] = {
#define X(name, text) [HTTP_FAULT_##name] = text,
        HTTP_FAULTS(X)
#undef X
    };
    (void)f;
    return names[i];
}

static const char *name_answer(const struct figures *f, int i)
{
    static const char *const names[] = {
        [ANSWER_ACCEPT] = "accepted",      [ANSWER_SPLIT] = "split",
        [ANSWER_RETRY] = "retry",          [ANSWER_SPLIT_LATER] = "server_error",
        [ANSWER_RECODE] = "recode",        [ANSWER_HOLD] = "unauthorized",
        [ANSWER_ISOLATE] = "isolate",      [ANSWER_DROP] = "refused",
        [ANSWER_ASTRAY] = "wrong_address",
    };
    static_assert(ARRAY_LEN(names) == ANSWER_COUNT, "each answer has a name");
    (void)f;
    return names[i];
}

/* clang-format off */
#define STRIDE(field) sizeof FIGURE(field)

static const struct axis
    by_verdict = {"verdict", 0, VERDICT_COUNT, STRIDE(census.total.verdict[0]), name_verdict},
    by_reason = {"reason", 0, REASON_COUNT, STRIDE(census.reasons.kept[0]), name_reason},
    by_loss = {"reason", FATE_DELIVERED + 1, FATE_COUNT, STRIDE(census.total.fate[0]), name_fate},
    by_lane = {"lane", 0, SHADOW_LANE_COUNT, STRIDE(census.shadow[0]), name_shadow_lane},
    by_event = {"event", 0, EVENT_COUNT, STRIDE(census.events.sent[0]), name_event},
    by_signal = {"signal", 0, SIGNAL_COUNT, STRIDE(receiver.accepted[0]), name_signal},
    by_protocol = {"protocol", 0, RECEIVED_COUNT, STRIDE(receiver.accepted[0][0]), name_receiver_protocol},
    by_refusal = {"reason", 0, REFUSAL_COUNT, STRIDE(receiver.refused[0]), name_refusal},
    by_repair = {"what", 0, REPAIR_COUNT, STRIDE(receiver.repairs[0]), name_repair},
    by_version = {"version", 0, 3, STRIDE(http_requests[0]), name_http_version},
    by_fault = {"reason", 0, HTTP_FAULT_COUNT, STRIDE(http_faults[0]), name_http_fault},
    by_answer = {"answer", 0, ANSWER_COUNT, STRIDE(exporter.answers[0]), name_answer},
    by_circuit = {"state", 0, CIRCUIT_STATE_COUNT, STRIDE(circuit[0]), name_circuit_state},
    by_relayed = {"signal", SIGNAL_TRACES, SIGNAL_COUNT, STRIDE(exporter.relay[0]), name_signal},
    by_spool_loss = {"reason", 0, SPOOL_LOSS_COUNT, STRIDE(journal.spool.lost_records[0]), name_spool_loss},
    by_redact_kind = {"kind", 0, REDACT_KINDS_MAX, STRIDE(census.redaction.hits[0]), name_redact_kind},
    by_redact_action = {"action", 0, 1, 0, name_redact_action},
    by_redact_where = {"where", 0, REDACT_WHERE_COUNT, STRIDE(census.redaction.hits[0][0]), name_redact_where},
    by_app_fault = {"outcome", 0, APP_FAULT_COUNT, STRIDE(posthog.requests[0]), name_app_fault},
    by_finding = {"what", 0, FINDING_COUNT, STRIDE(posthog.found[0]), name_finding},
    by_cause = {"cause", 0, CAUSE_COUNT, STRIDE(posthog.by_cause[0]), name_cause},
    by_unit = {"unit", 0, 1, 0, name_unit},
    by_build = {"version", 0, 1, 0, name_build};

#define PART(name, field) {name, AT(field)}
#define PARTS(by, label, ...) \
    static const struct part by##_parts[] = {__VA_ARGS__}; \
    static const struct axis by = {label, 0, ARRAY_LEN(by##_parts), 0, NULL, by##_parts}

PARTS(stages, "stage",
    PART("received", census.total.received_bytes),
    PART("kept", census.total.kept_bytes),
    PART("released", census.total.released_bytes));
PARTS(prices, "of",
    PART("received", month.without),
    PART("sent", month.with),
    PART("saved", month.saving));
PARTS(causes, "cause",
    PART("zero", census.timestamps.filled),
    PART("out_of_range", census.timestamps.repaired));
PARTS(severity_sources, "source",
    PART("fields", census.severities[SEVERITY_OF_FIELDS]),
    PART("text", census.severities[SEVERITY_OF_TEXT]),
    PART("none", census.severities[SEVERITY_OF_NOTHING]));
PARTS(reloads, "outcome",
    PART("accepted", reloads_accepted),
    PART("refused", reloads_refused));
PARTS(tls_loads, "outcome",
    PART("installed", tls_installed),
    PART("refused", tls_refused));
PARTS(keys_loads, "outcome",
    PART("installed", keys_installed),
    PART("refused", keys_refused));
PARTS(preflights, "outcome",
    PART("allowed", receiver.preflights[0]),
    PART("refused", receiver.preflights[1]));
PARTS(shadow_verdicts, "verdict",
    PART("kept", census.shadow[0].kept),
    PART("sampled_out", census.shadow[0].sampled_out),
    PART("dropped_by_rule", census.shadow[0].dropped_by_rule));
PARTS(tap_lines, "outcome",
    PART("shown", live.shown),
    PART("over_rate", live.over_rate),
    PART("slow", live.slow));
PARTS(received_forms, "form",
    PART("sent", receiver.received_bytes),
    PART("decoded", receiver.decoded_bytes));
PARTS(sent_forms, "form",
    PART("wire", exporter.sent_wire_bytes),
    PART("decoded", exporter.sent_decoded_bytes));
PARTS(refused_records, "outcome",
    PART("written", exporter.refused_file.written),
    PART("left_out", exporter.refused_file.left_out));
PARTS(proxy_outcomes, "outcome",
    PART("answered", proxy.answered),
    PART("failed", proxy.failed),
    PART("refused", proxy.refused),
    PART("cut", proxy.cut));
PARTS(relay_outcomes, "outcome",
    PART("received", exporter.relay[0].received),
    PART("delivered", exporter.relay[0].delivered),
    PART("lost", exporter.relay[0].lost),
    PART("discarded", exporter.relay[0].discarded));
PARTS(disk_calls, "operation",
    PART("write", journal.spool.write_errors),
    PART("read", journal.spool.read_errors),
    PART("position", journal.spool.position_errors));
PARTS(state_writes, "outcome",
    PART("written", state.written),
    PART("failed", state.failed));
PARTS(file_loads, "outcome",
    PART("installed", policy_file.installed),
    PART("invalid", policy_file.invalid),
    PART("unreadable", policy_file.unreadable));
PARTS(fetches, "outcome",
    PART("installed", remote.installed),
    PART("unchanged", remote.unchanged),
    PART("unknown_service", remote.unknown),
    PART("invalid", remote.invalid),
    PART("failed", remote.failed));
PARTS(syncs, "outcome",
    PART("installed", provider.installed),
    PART("unchanged", provider.unchanged),
    PART("invalid", provider.invalid),
    PART("failed", provider.failed));
PARTS(reports, "outcome",
    PART("accepted", report.accepted),
    PART("failed", report.failed));

/* ---- the metrics ------------------------------------------------------- */

#define COUNTER EXPOSE_COUNTER
#define GAUGE EXPOSE_GAUGE
#define AXES_MAX 3

static const struct row {
    const char *name;
    enum expose_type type;
    enum figure_part part;
    size_t offset;
    enum kind kind;
    const struct axis *axes[AXES_MAX];
    double per; /* the figure is divided by it: milliseconds a second, say */
    const char *help;
} rows[] = {
    {"lipservice_receiver_accepted_log_records_total", COUNTER, FIGURES_ALWAYS, AT(accepted_records), {NULL}, 1,
     "Log records of requests that were answered with success, and events of our own."},
    {"lipservice_receiver_refused_log_records_total", COUNTER, FIGURES_ALWAYS, AT(census.total.verdict[VERDICT_REJECTED]), {NULL}, 1,
     "Log records that were put off or refused for want of room, or refused alone for a fault of their own."},
    {"lipservice_records_decided_total", COUNTER, FIGURES_ALWAYS, AT(census.total.verdict[0]), {&by_verdict}, 1,
     "Records by verdict; the verdicts add up to the records received."},
    {"lipservice_records_kept_total", COUNTER, FIGURES_ALWAYS, AT(census.reasons.kept[0]), {&by_reason}, 1,
     "Kept records by the reason of the decision."},
    {"lipservice_records_dropped_total", COUNTER, FIGURES_ALWAYS, AT(census.reasons.dropped[0]), {&by_reason}, 1,
     "Records sampled out or dropped by rule, by the reason of the decision."},
    {"lipservice_record_bytes_total", COUNTER, FIGURES_ALWAYS, IN_PARTS, {&stages}, 1,
     "Bytes as PostHog meters them: received (had all been sent as it came), kept, and released as context, with stamps and the share of resources."},
    {"lipservice_price_per_month", GAUGE, FIGURES_ALWAYS, IN_PARTS, {&prices}, 1,
     "What a month at the rate since the start costs: had all been sent, as it is, and the difference, which is 0 within the free part."},
    {"lipservice_price_is_assumed", GAUGE, FIGURES_ALWAYS, AT(is_price_assumed), {NULL}, 1,
     "1: prices are those of the settings (cost), not of PostHog's bill."},
    {"lipservice_redactions_total", COUNTER, FIGURES_REDACTION, AT(census.redaction.hits[0][0]), {&by_redact_kind, &by_redact_action, &by_redact_where}, 1,
     "Secrets and personal data found in what is kept, by kind, by what is done with them, and by where; of Resources and scopes, in each distinct one."},
    {"lipservice_redaction_scanned_bytes_total", COUNTER, FIGURES_REDACTION, AT(census.redaction.scanned_bytes), {NULL}, 1,
     "Bytes of text that were looked through for them."},
    {"lipservice_redaction_changed_records_total", COUNTER, FIGURES_REDACTION, AT(census.redaction.changed_records), {NULL}, 1,
     "Records that were changed by redaction."},
    {"lipservice_redaction_given_up_total", COUNTER, FIGURES_REDACTION, AT(census.redaction.given_up), {NULL}, 1,
     "Texts that were taken for a hit to their end, because a pattern of redaction.patterns reached its limit of steps."},
    {"lipservice_records_released_total", COUNTER, FIGURES_ALWAYS, AT(census.total.released), {NULL}, 1,
     "Sampled-out records that were sent after all, as the context of an error."},
    {"lipservice_context_limited_total", COUNTER, FIGURES_ALWAYS, AT(census.context.limited), {NULL}, 1,
     "Errors whose context was cut short by sampling.error_context.max_per_second."},
    {"lipservice_context_span_seconds", GAUGE, FIGURES_ALWAYS, AT(census.context.span_ms), {NULL}, 1000,
     "How far back the memory for context goes."},
    {"lipservice_severity_records_total", COUNTER, FIGURES_ALWAYS, IN_PARTS, {&severity_sources}, 1,
     "Records by where their severity came from: their fields, their text, or none (they count as INFO)."},
    {"lipservice_timestamps_mended_total", COUNTER, FIGURES_ALWAYS, IN_PARTS, {&causes}, 1,
     "Records whose time was 0, or above 2^63-1, and became the observed time or now."},
    {"lipservice_exporter_sent_log_records_total", COUNTER, FIGURES_ALWAYS, AT(census.total.fate[FATE_DELIVERED]), {NULL}, 1,
     "Kept records that the upstream has accepted."},
    {"lipservice_records_lost_total", COUNTER, FIGURES_ALWAYS, AT(census.total.fate[0]), {&by_loss}, 1,
     "Kept records that could not be delivered, by reason."},
    {"lipservice_records_queued", GAUGE, FIGURES_ALWAYS, AT(queued_records), {NULL}, 1,
     "Kept records that wait, on disk too, or are under way."},
    {"lipservice_ledger_imbalance", GAUGE, FIGURES_ALWAYS, AT(census.imbalance), {NULL}, 1,
     "How far the record counts are from adding up; always 0."},
    {"lipservice_services", GAUGE, FIGURES_ALWAYS, AT(services), {NULL}, 1,
     "Services counted apart."},
    {"lipservice_patterns", GAUGE, FIGURES_ALWAYS, AT(census.patterns_held), {NULL}, 1,
     "Patterns counted apart."},
    {"lipservice_patterns_evicted_total", COUNTER, FIGURES_ALWAYS, AT(census.patterns_evicted), {NULL}, 1,
     "Patterns whose counts were folded into 'other' to make room."},
    {"lipservice_pattern_overflow_records_total", COUNTER, FIGURES_ALWAYS, AT(census.overflowed), {NULL}, 1,
     "Records counted as overflow, because their service has too many patterns."},
    {"lipservice_pattern_aliases", GAUGE, FIGURES_ALWAYS, AT(census.families.aliases), {NULL}, 1,
     "Patterns that are known to belong to a family."},
    {"lipservice_pattern_learning_put_off_total", COUNTER, FIGURES_ALWAYS, AT(census.families.put_off), {NULL}, 1,
     "How often a pattern was not learned, because too many were new in that second."},
    {"lipservice_pressure", GAUGE, FIGURES_ALWAYS, AT(census.governor.pressure), {NULL}, 1,
     "How hard the queue presses: 0 sheds nothing, 1 nearly everything but errors."},
    {"lipservice_budget_rate", GAUGE, FIGURES_BUDGET, AT(census.governor.rate), {&by_unit}, 1,
     "What may be kept a second, by unit: bytes or records."},
    {"lipservice_budget_allowed_total", COUNTER, FIGURES_BUDGET, AT(census.governor.allowed), {&by_unit}, 1,
     "What the budget has come to since the start, in its unit."},
    {"lipservice_budget_used_total", COUNTER, FIGURES_BUDGET, AT(census.governor.used), {&by_unit}, 1,
     "What was kept of it, in its unit."},
    {"lipservice_config_reloads_total", COUNTER, FIGURES_ALWAYS, IN_PARTS, {&reloads}, 1,
     "Reloads (SIGHUP) by outcome."},
    {"lipservice_config_last_reload_failed", GAUGE, FIGURES_ALWAYS, AT(has_reload_failed), {NULL}, 1,
     "1: the configuration on disk was refused, and an older one is in force."},
    {"lipservice_observing", GAUGE, FIGURES_ALWAYS, AT(is_observing), {NULL}, 1,
     "1 while mode is observe: everything is forwarded."},
    {"lipservice_shadow_records_total", COUNTER, FIGURES_SHADOW, IN_PARTS, {&by_lane, &shadow_verdicts}, 1,
     "What would have become of records, by lane (enforced: what observing holds back; shadow: a second policy) and verdict."},
    {"lipservice_shadow_kept_bytes_total", COUNTER, FIGURES_SHADOW, AT(census.shadow[0].kept_bytes), {&by_lane}, 1,
     "Bytes that would have been kept, by lane."},
    {"lipservice_taps", GAUGE, FIGURES_ALWAYS, AT(live.taps), {NULL}, 1,
     "Taps that are open."},
    {"lipservice_tap_lines_total", COUNTER, FIGURES_ALWAYS, IN_PARTS, {&tap_lines}, 1,
     "Decisions that taps wanted, by what became of them."},
    {"lipservice_page_readers", GAUGE, FIGURES_ALWAYS, AT(readers), {NULL}, 1,
     "Pages that are open: readers of /api/events."},
    {"lipservice_anomalous_patterns", GAUGE, FIGURES_ANOMALY, AT(census.anomalous.patterns), {NULL}, 1,
     "Patterns that are new, surge or have fallen silent."},
    {"lipservice_anomalous_services", GAUGE, FIGURES_ANOMALY, AT(census.anomalous.services), {NULL}, 1,
     "Services whose volume or share of errors surges, or that have fallen silent."},
    {"lipservice_events_total", COUNTER, FIGURES_EVENTS, AT(census.events.sent[0]), {&by_event}, 1,
     "Events sent as records of our own, which count as kept ones of the service lipservice."},
    {"lipservice_events_dropped_total", COUNTER, FIGURES_EVENTS, AT(census.events.dropped), {NULL}, 1,
     "Events that were not sent: beyond events.max_per_minute, or no room in the queue."},
    {"lipservice_receiver_requests_total", COUNTER, FIGURES_ALWAYS, AT(receiver.accepted[0][0]), {&by_signal, &by_protocol}, 1,
     "Requests accepted, by signal and protocol."},
    {"lipservice_receiver_refused_requests_total", COUNTER, FIGURES_ALWAYS, AT(receiver.refused[0]), {&by_refusal}, 1,
     "Requests refused, by reason; nothing of them entered."},
    {"lipservice_receiver_preflights_total", COUNTER, FIGURES_ALWAYS, IN_PARTS, {&preflights}, 1,
     "Questions of browsers whether a web page may send (receivers.otlp.protocols.http.cors)."},
    {"lipservice_receiver_keys_file_loads_total", COUNTER, FIGURES_KEYS, IN_PARTS, {&keys_loads}, 1,
     "How often receivers.otlp.auth.keys_file was read and put in force, or was refused."},
    {"lipservice_admin_refused_keys_total", COUNTER, FIGURES_ADMIN_KEY, AT(admin_refused), {NULL}, 1,
     "Requests for admin pages without telemetry.admin.api_key, or with another key."},
    {"lipservice_receiver_not_otlp_requests_total", COUNTER, FIGURES_ALWAYS, AT(receiver.not_otlp), {NULL}, 1,
     "Requests of JSON without OTLP in it: accepted, and of no records."},
    {"lipservice_receiver_repairs_total", COUNTER, FIGURES_ALWAYS, AT(receiver.repairs[0]), {&by_repair}, 1,
     "Faults of accepted requests that were repaired: U+FFFD put in (utf8), numbers and times out of range."},
    {"lipservice_receiver_bytes_total", COUNTER, FIGURES_ALWAYS, IN_PARTS, {&received_forms}, 1,
     "Bodies of accepted log requests: as sent, and decoded."},
    {"lipservice_http_requests_total", COUNTER, FIGURES_ALWAYS, AT(http_requests[0]), {&by_version}, 1,
     "Requests on the OTLP ports by version of HTTP, refused ones included."},
    {"lipservice_http_faults_total", COUNTER, FIGURES_ALWAYS, AT(http_faults[0]), {&by_fault}, 1,
     "Requests and connections on the OTLP ports that were ended, by reason."},
    {"lipservice_tls_handshakes_total", COUNTER, FIGURES_TLS, AT(tls_handshakes), {NULL}, 1,
     "Handshakes of TLS on our ports that succeeded; those that failed are tls_handshake of lipservice_http_faults_total."},
    {"lipservice_tls_certificate_loads_total", COUNTER, FIGURES_TLS, IN_PARTS, {&tls_loads}, 1,
     "How often the files of a certificate were read and put in force, or were refused."},
    {"lipservice_tls_certificate_expires_seconds", GAUGE, FIGURES_TLS, AT(tls_expires_s), {NULL}, 1,
     "When the certificate expires that does so first, in seconds since 1970."},
    {"lipservice_http_connections", GAUGE, FIGURES_ALWAYS, AT(connections), {NULL}, 1,
     "Connections open on the OTLP ports."},
    {"lipservice_exporter_requests_total", COUNTER, FIGURES_ALWAYS, AT(exporter.answers[0]), {&by_answer}, 1,
     "Answers of the upstream, by what they asked for."},
    {"lipservice_exporter_failures_total", COUNTER, FIGURES_ALWAYS, AT(exporter.failures), {NULL}, 1,
     "Requests that got no answer: connection, TLS, timeout."},
    {"lipservice_exporter_memory_failures_total", COUNTER, FIGURES_ALWAYS, AT(exporter.memory_failures), {NULL}, 1,
     "How often there was no memory to take a record or to seal a batch: requests are refused until there is."},
    {"lipservice_exporter_sent_bytes_total", COUNTER, FIGURES_ALWAYS, IN_PARTS, {&sent_forms}, 1,
     "Bodies of accepted requests: on the wire, and decoded as PostHog meters them."},
    {"lipservice_exporter_queue_size_bytes", GAUGE, FIGURES_ALWAYS, AT(exporter.queue_bytes), {NULL}, 1,
     "Memory of requests that wait or are under way."},
    {"lipservice_exporter_queue_capacity_bytes", GAUGE, FIGURES_ALWAYS, AT(queue_capacity), {NULL}, 1,
     "What may wait (queue.max_bytes)."},
    {"lipservice_exporter_queued_requests", GAUGE, FIGURES_ALWAYS, AT(exporter.queued_parcels), {NULL}, 1,
     "Requests that wait for a sender."},
    {"lipservice_exporter_slow_requests", GAUGE, FIGURES_ALWAYS, AT(exporter.slow_parcels), {NULL}, 1,
     "Of them: had no answer in time, and are sent one by one, halved."},
    {"lipservice_exporter_in_flight_requests", GAUGE, FIGURES_ALWAYS, AT(exporter.in_flight), {NULL}, 1,
     "Requests sent and not answered yet."},
    {"lipservice_exporter_waiting_to_retry", GAUGE, FIGURES_ALWAYS, AT(exporter.waiting_to_retry), {NULL}, 1,
     "Requests that wait for their next try."},
    {"lipservice_exporter_oldest_seconds", GAUGE, FIGURES_ALWAYS, AT(exporter.oldest_ms), {NULL}, 1000,
     "Age of the oldest record that is not delivered yet."},
    {"lipservice_exporter_key_refused", GAUGE, FIGURES_ALWAYS, AT(exporter.holds_for_key), {NULL}, 1,
     "1 while the upstream refuses the key (401, 403), or a proxy its credentials (407)."},
    {"lipservice_exporter_address_refused", GAUGE, FIGURES_ALWAYS, AT(exporter.holds_for_address), {NULL}, 1,
     "1 while the address of the upstream takes no logs (3xx, 404, 405)."},
    {"lipservice_exporter_page_answers_total", COUNTER, FIGURES_ALWAYS, AT(exporter.page_answers), {NULL}, 1,
     "Answers 2xx with a web page: counted as delivered, likely not stored."},
    {"lipservice_exporter_circuit_state", GAUGE, FIGURES_ALWAYS, AT(circuit[0]), {&by_circuit}, 1,
     "1 for the state that holds: closed, open (all wait), half_open (one tries)."},
    {"lipservice_exporter_next_retry_seconds", GAUGE, FIGURES_ALWAYS, AT(exporter.retry_in_ms), {NULL}, 1000,
     "Time until the next try, while the circuit is open."},
    {"lipservice_exporter_outage_seconds", GAUGE, FIGURES_ALWAYS, AT(exporter.outage_ms), {NULL}, 1000,
     "How long the upstream has taken nothing, while the circuit is not closed."},
    {"lipservice_refused_file_records_total", COUNTER, FIGURES_ALWAYS, IN_PARTS, {&refused_records}, 1,
     "Refused records: written to exporters.refused_file, and left out of it."},
    {"lipservice_refused_file_bytes", GAUGE, FIGURES_ALWAYS, AT(exporter.refused_file.bytes), {NULL}, 1,
     "Size of exporters.refused_file."},
    {"lipservice_proxy_requests_total", COUNTER, FIGURES_PROXY, IN_PARTS, {&proxy_outcomes}, 1,
     "Requests that are not OTLP and were passed on to PostHog, by what became of them: answered by it, failed (502, 504), refused for want of room; cut: of those answered, the answer broke off."},
    {"lipservice_relay_requests_total", COUNTER, FIGURES_ALWAYS, IN_PARTS, {&by_relayed, &relay_outcomes}, 1,
     "Requests of traces and metrics to be relayed, by what became of them."},
    {"lipservice_relay_bytes_total", COUNTER, FIGURES_ALWAYS, AT(exporter.relay[0].received_bytes), {&by_relayed}, 1,
     "Bodies of traces and metrics requests, as received."},
    {"lipservice_records_unsynced", GAUGE, FIGURES_ALWAYS, AT(unsynced_records), {NULL}, 1,
     "Kept records that a crash of the machine now would lose: in memory, all that wait; on disk, what is not synced."},
    {"lipservice_spool_size_bytes", GAUGE, FIGURES_SPOOL, AT(journal.spool.bytes), {NULL}, 1,
     "On disk, room reserved included."},
    {"lipservice_spool_capacity_bytes", GAUGE, FIGURES_SPOOL, AT(spool_capacity), {NULL}, 1,
     "spool.max_bytes."},
    {"lipservice_spool_segments", GAUGE, FIGURES_SPOOL, AT(journal.spool.segments), {NULL}, 1,
     "Segment files."},
    {"lipservice_spool_frames", GAUGE, FIGURES_SPOOL, AT(journal.spool.frames), {NULL}, 1,
     "Commits stored and not delivered."},
    {"lipservice_spool_records", GAUGE, FIGURES_SPOOL, AT(journal.spool.records), {NULL}, 1,
     "Records of them."},
    {"lipservice_spool_oldest_seconds", GAUGE, FIGURES_SPOOL, AT(spool_oldest_s), {NULL}, 1,
     "Age of the oldest of them."},
    {"lipservice_spool_held_bytes", GAUGE, FIGURES_SPOOL, AT(journal.held_bytes), {NULL}, 1,
     "Memory of what waits to be stored."},
    {"lipservice_spool_broken", GAUGE, FIGURES_SPOOL, AT(is_spool_broken), {NULL}, 1,
     "1 while nothing can be stored: the disk is full or fails."},
    {"lipservice_spool_unreadable", GAUGE, FIGURES_SPOOL, AT(is_spool_unreadable), {NULL}, 1,
     "1 while stored records cannot be read; they stay, and it is tried again."},
    {"lipservice_spool_full", GAUGE, FIGURES_SPOOL, AT(journal.is_full), {NULL}, 1,
     "1 while spool.max_bytes is reached and clients are refused."},
    {"lipservice_spool_commits_total", COUNTER, FIGURES_SPOOL, AT(journal.commits), {NULL}, 1,
     "Commits stored."},
    {"lipservice_spool_commit_records_total", COUNTER, FIGURES_SPOOL, AT(journal.commit_records), {NULL}, 1,
     "Records of them."},
    {"lipservice_spool_commit_bytes_total", COUNTER, FIGURES_SPOOL, AT(journal.commit_bytes), {NULL}, 1,
     "Bytes of them."},
    {"lipservice_spool_failed_commits_total", COUNTER, FIGURES_SPOOL, AT(journal.failed_commits), {NULL}, 1,
     "Commits that could not be stored; their clients were answered to send again."},
    {"lipservice_spool_fsyncs_total", COUNTER, FIGURES_SPOOL, AT(journal.syncs), {NULL}, 1,
     "Times the data was synced."},
    {"lipservice_spool_fsync_seconds_total", COUNTER, FIGURES_SPOOL, AT(journal.sync_ns), {NULL}, 1e9,
     "Time that it took."},
    {"lipservice_spool_fsync_max_seconds", GAUGE, FIGURES_SPOOL, AT(journal.sync_max_ns), {NULL}, 1e9,
     "The longest of them."},
    {"lipservice_spool_recovered_records_total", COUNTER, FIGURES_SPOOL, AT(journal.found_records), {NULL}, 1,
     "Records of earlier processes that were read; they count as received and kept."},
    {"lipservice_spool_damaged_bytes_total", COUNTER, FIGURES_SPOOL, AT(journal.spool.damaged_bytes), {NULL}, 1,
     "Bytes that are not what was written."},
    {"lipservice_spool_torn_bytes_total", COUNTER, FIGURES_SPOOL, AT(journal.spool.torn_bytes), {NULL}, 1,
     "Bytes of unfinished frames, cut off at the start."},
    {"lipservice_spool_unsound_frames_total", COUNTER, FIGURES_SPOOL, AT(journal.unsound_frames), {NULL}, 1,
     "Frames of earlier processes that held no logs."},
    {"lipservice_spool_errors_total", COUNTER, FIGURES_SPOOL, IN_PARTS, {&disk_calls}, 1,
     "Calls to the disk that failed, by what they were for."},
    {"lipservice_spool_lost_records_total", COUNTER, FIGURES_SPOOL, AT(journal.spool.lost_records[0]), {&by_spool_loss}, 1,
     "Stored records that will not be delivered, by reason; of earlier processes, too."},
    {"lipservice_spool_lost_frames_total", COUNTER, FIGURES_SPOOL, AT(journal.spool.lost_frames[0]), {&by_spool_loss}, 1,
     "Stored commits that will not be delivered, by reason."},
    {"lipservice_policy_file_version", GAUGE, FIGURES_POLICY_FILE, AT(policy_file.version), {NULL}, 1,
     "Version of the policy file in force."},
    {"lipservice_policy_file_age_seconds", GAUGE, FIGURES_POLICY_FILE, AT(policy_file_age_s), {NULL}, 1,
     "Time since the policy file was put in force."},
    {"lipservice_policy_file_loads_total", COUNTER, FIGURES_POLICY_FILE, IN_PARTS, {&file_loads}, 1,
     "Times the policy file was read and had changed, by outcome."},
    {"lipservice_policy_version", GAUGE, FIGURES_ALWAYS, AT(active_version), {NULL}, 1,
     "Version of the policy in force for services without one from a policy server (`lipservice policy list`)."},
    {"lipservice_policy_versions", GAUGE, FIGURES_ALWAYS, AT(versions), {NULL}, 1,
     "Versions of it that are held."},
    {"lipservice_history_bytes", GAUGE, FIGURES_HISTORY, AT(history_bytes), {NULL}, 1,
     "What of history.memory is used."},
    {"lipservice_history_left_out_total", COUNTER, FIGURES_HISTORY, AT(history_left_out), {NULL}, 1,
     "Steps of the history that found no room in it."},
    {"lipservice_state_writes_total", COUNTER, FIGURES_STATE, IN_PARTS, {&state_writes}, 1,
     "How often the state file was written, or could not be."},
    {"lipservice_state_age_seconds", GAUGE, FIGURES_STATE, AT(state_age_s), {NULL}, 1,
     "Since it was written; -1: not by this process."},
    {"lipservice_policy_fetches_total", COUNTER, FIGURES_SERVER, IN_PARTS, {&fetches}, 1,
     "Policies asked of the policy server, by outcome."},
    {"lipservice_policy_from_disk_total", COUNTER, FIGURES_SERVER, AT(remote.from_disk), {NULL}, 1,
     "Policies of state.directory that were put in force when their service was first seen."},
    {"lipservice_policy_waiting", GAUGE, FIGURES_SERVER, AT(remote.waiting), {NULL}, 1,
     "Requests that the policy server holds until a policy changes."},
    {"lipservice_policy_services", GAUGE, FIGURES_SERVER, AT(remote.services), {NULL}, 1,
     "Services with a fetched policy in force."},
    {"lipservice_policy_age_seconds", GAUGE, FIGURES_SERVER, AT(policy_age_s), {NULL}, 1,
     "Time since the policy server last said which policy is in force; -1: never."},
    {"lipservice_policy_reports_total", COUNTER, FIGURES_SERVER, IN_PARTS, {&reports}, 1,
     "Reports of pattern counts to the policy server, by outcome."},
    {"lipservice_policy_report_age_seconds", GAUGE, FIGURES_SERVER, AT(report_age_s), {NULL}, 1,
     "Time since the last report was accepted; -1: never."},
    {"lipservice_policy_syncs_total", COUNTER, FIGURES_PROVIDER, IN_PARTS, {&syncs}, 1,
     "Requests to the provider of Tero's policies, by outcome."},
    {"lipservice_policy_sync_age_seconds", GAUGE, FIGURES_PROVIDER, AT(sync_age_s), {NULL}, 1,
     "Time since the provider last said which policies are in force; -1: never."},
    {"lipservice_policy_sync_policies", GAUGE, FIGURES_PROVIDER, AT(provider.policies), {NULL}, 1,
     "Tero's policies of the set in force, invalid ones included."},
    {"lipservice_policy_sync_invalid", GAUGE, FIGURES_PROVIDER, AT(provider.invalid_policies), {NULL}, 1,
     "Those that are invalid, and without effect."},
    {"lipservice_memory_limit_bytes", GAUGE, FIGURES_ALWAYS, AT(memory.limit), {NULL}, 1,
     "memory.limit."},
    {"lipservice_memory_used_bytes", GAUGE, FIGURES_ALWAYS, AT(memory.used), {NULL}, 1,
     "What bodies, inflation, queue and tables hold of it now."},
    {"lipservice_memory_peak_bytes", GAUGE, FIGURES_ALWAYS, AT(memory.peak), {NULL}, 1,
     "The most they ever held."},
    {"lipservice_memory_refused_total", COUNTER, FIGURES_ALWAYS, AT(memory.refused), {NULL}, 1,
     "How often the account had no room."},
    {"lipservice_posthog_requests_total", COUNTER, FIGURES_POSTHOG, AT(posthog.requests[0]), {&by_app_fault}, 1,
     "Requests to PostHog's app API, by outcome."},
    {"lipservice_posthog_findings", GAUGE, FIGURES_POSTHOG, AT(posthog.found[0]), {&by_finding}, 1,
     "1: the last check found it (`lipservice posthog check` says what to do)."},
    {"lipservice_posthog_check_age_seconds", GAUGE, FIGURES_POSTHOG, AT(posthog_age_s), {NULL}, 1,
     "Since the last check; -1: there was none."},
    {"lipservice_posthog_quota_limited", GAUGE, FIGURES_POSTHOG, AT(posthog.is_limited), {NULL}, 1,
     "1: PostHog throws the organization's logs away, though it answers 200."},
    {"lipservice_posthog_quota_used_bytes", GAUGE, FIGURES_POSTHOG, AT(posthog.quota_used_bytes), {NULL}, 1,
     "Of all senders of the organization in this billing period; -1: unknown."},
    {"lipservice_posthog_quota_limit_bytes", GAUGE, FIGURES_POSTHOG, AT(posthog.quota_limit_bytes), {NULL}, 1,
     "What they may send in it; -1: unknown, or no limit."},
    {"lipservice_posthog_verify_records", GAUGE, FIGURES_LEADER, AT(posthog.by_cause[0]), {&by_cause}, 1,
     "Records of the last hour of which more or fewer are stored than were sent, by cause; unexplained is to be 0."},
    {"lipservice_posthog_verify_age_seconds", GAUGE, FIGURES_LEADER, AT(verified_age_s), {NULL}, 1,
     "Since what is stored was last counted; -1: never."},
    {"lipservice_posthog_canaries_missing", GAUGE, FIGURES_LEADER, AT(posthog.canaries_missing), {NULL}, 1,
     "Canaries of the last looks that PostHog should show and does not."},
    {"lipservice_posthog_canary_late_seconds", GAUGE, FIGURES_LEADER, AT(posthog.canary_late_s), {NULL}, 1,
     "How long the newest canary that was found took to be stored; -1: none was."},
    {"lipservice_posthog_others_bytes_per_second", GAUGE, FIGURES_POSTHOG, AT(posthog.others_per_s), {NULL}, 1,
     "What the other senders of the organization send, from the growth of its use over a day at most."},
    {"lipservice_process_cpu_seconds_total", COUNTER, FIGURES_ALWAYS, AT(cpu_s), {NULL}, 1,
     "CPU time of the process."},
    {"lipservice_process_resident_memory_bytes", GAUGE, FIGURES_ALWAYS, AT(resident_bytes), {NULL}, 1,
     "Resident memory of the process."},
    {"lipservice_process_uptime_seconds", GAUGE, FIGURES_ALWAYS, AT(uptime_s), {NULL}, 1,
     "Time since the start."},
    {"lipservice_build_info", GAUGE, FIGURES_ALWAYS, AT(one), {&by_build}, 1,
     "1; the version is a label."},
};
/* clang-format on */

/* ---- the page ---------------------------------------------------------- */

/* The samples of a row from axis `at` on, with the labels before it. */
static void write_samples(struct buf *out, const struct figures *f, const struct row *row,
                          size_t at, struct expose_label labels[AXES_MAX], size_t offset,
                          enum kind kind)
{
    const struct axis *axis = at < AXES_MAX ? row->axes[at] : NULL;
    if (axis == NULL) {
        double value = read_figure(f, offset, kind);
        if (value == 0 && at == AXES_MAX)
            return; /* of so many nearly all are never seen */
        expose_sample(out, row->name, labels, at, value / row->per);
        return;
    }
    for (int i = axis->from; i < axis->to; i++) {
        const struct part *part = axis->parts == NULL ? NULL : &axis->parts[i];
        labels[at].name = axis->label;
        labels[at].value = span_str(part != NULL ? part->name : axis->name(f, i));
        write_samples(out, f, row, at + 1, labels,
                      offset + (part != NULL ? part->offset : (size_t)i * axis->stride),
                      part != NULL ? part->kind : kind);
    }
}

static int write_metrics(void *ctx, struct span query, struct buf *out)
{
    const struct sidecar *sc = ctx;
    struct figures f;
    (void)query;
    if (sc->phase == SIDECAR_STARTING || sc->receiver == NULL || sc->exporter == NULL)
        return 503;
    figures_take(&f, sc);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct expose_label labels[AXES_MAX];
        if (!f.has[rows[i].part])
            continue;
        expose_family(out, rows[i].name, rows[i].type, rows[i].help);
        write_samples(out, &f, &rows[i], 0, labels, rows[i].offset, rows[i].kind);
    }
    return 200;
}

const struct page sidecar_metrics_pages[] = {
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", write_metrics},
};
const size_t sidecar_metrics_page_count = ARRAY_LEN(sidecar_metrics_pages);

/* ---- the reference ----------------------------------------------------- */

void reference_metrics(struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        buf_printf(out, "%-54s  %-7s  %s\n", rows[i].name, expose_type_name(rows[i].type),
                   rows[i].help);
}

void sidecar_write_metrics_markdown(struct buf *out)
{
    static const char *const parts[] = {
#define X(name, text) [FIGURES_##name] = text,
        FIGURE_PARTS(X)
#undef X
    };
    buf_append_str(out, "| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        buf_printf(out, "| `%s` | %s |", row->name, expose_type_name(row->type));
        for (size_t a = 0; a < AXES_MAX && row->axes[a] != NULL; a++)
            buf_printf(out, "%s `%s`", a > 0 ? "," : "", row->axes[a]->label);
        buf_printf(out, " | %s%s%s%s |\n", row->help, row->part != FIGURES_ALWAYS ? " (" : "",
                   parts[row->part], row->part != FIGURES_ALWAYS ? ")" : "");
    }
}
