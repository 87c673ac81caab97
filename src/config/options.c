/* options: the table of settings, and functions on one row. */
#include "config/options.h"

#include <assert.h>
#include <string.h>

#include "config/check.h"
#include "config/maps.h"
#include "pattern/families.h"
#include "pipeline/follow.h"
#include "pipeline/recorder.h"

enum { RESTART = false, RELOAD = true };

/* Bounds, written as in a configuration. In a message the value "must be" the text. */
#define BOUNDS(low, high, text) .least = low, .most = high, .wanted = text
#define FROM(low, high) BOUNDS(low, high, "from " low " to " high)
#define AT_LEAST(low) BOUNDS(low, NULL, "at least " low)
#define MORE_THAN_0 BOUNDS("1ms", NULL, "more than 0")
#define ZERO_OR_FROM(low, high) .or_zero = true, BOUNDS(low, high, "0, or from " low " to " high)
#define ZERO_OR_AT_LEAST(low) .or_zero = true, BOUNDS(low, NULL, "0, or at least " low)
#define BUDGET .check = config_check_budget
#define READS .file = CONFIG_FILE_READ
#define APPENDS .file = CONFIG_FILE_APPEND

/* clang-format off */
/* A field that is not of the kind's type does not compile. */
#define FIELD(f) ((struct config *)0)->f
#define OPT(name, type, f, value, reload, text, ...) \
    {.key = name, .kind = &value_##type, .offset = offsetof(struct config, f), \
     .size = sizeof FIELD(f) + 0 * sizeof((type##_field *)0 == &FIELD(f)), \
     .fallback = value, .is_live = reload, .help = text, __VA_ARGS__}

/* Of each server: TLS and proxy, a struct config_route. */
#define ROUTE_ROWS(prefix, f, server) \
    OPT(prefix ".tls.ca_file", text, f.ca_file, "", \
        RELOAD, "PEM file of CAs that are trusted instead of the system's", READS), \
    OPT(prefix ".tls.cert_file", text, f.cert_file, "", \
        RELOAD, "PEM file of a client certificate", READS), \
    OPT(prefix ".tls.key_file", text, f.key_file, "", \
        RELOAD, "PEM file of its key", READS), \
    OPT(prefix ".tls.insecure_skip_verify", flag, f.insecure_skip_verify, "false", \
        RELOAD, "true: take any certificate, and whoever shows it"), \
    OPT(prefix ".proxy_url", secret, f.proxy_url, "", \
        RELOAD, "proxy to " server "; empty: HTTP_PROXY, HTTPS_PROXY and NO_PROXY say")

/* Of each port, or of those of a kind: a struct config_tls. */
#define TLS_ROWS(prefix, f, port) \
    OPT(prefix ".cert_file", text, f.cert_file, "", \
        RESTART, "PEM file of the certificate, and what clients need of its chain, with which " \
        port " TLS too; it and the others are reloaded when they change; empty: clear text only", \
        READS), \
    OPT(prefix ".key_file", text, f.key_file, "", \
        RESTART, "PEM file of its key, without a pass phrase", READS), \
    OPT(prefix ".client_ca_file", text, f.client_ca_file, "", \
        RESTART, "PEM file of CAs, of one of which each client has to show a certificate; then " \
        "clear text is refused", READS), \
    OPT(prefix ".client_sans", words, f.client_sans, "[]", \
        RESTART, "and one of these names in it (subjectAltName: DNS, URI, e-mail or IP), where * " \
        "is any characters; []: any name"), \
    OPT(prefix ".crl_file", text, f.crl_file, "", \
        RESTART, "PEM file of what those CAs have revoked, one list of each; a certificate in it " \
        "is refused, and so are all when the list of their CA is missing or has expired", READS), \
    OPT(prefix ".required", flag, f.required, "false", \
        RESTART, "true: clear text is refused; false: the first bytes say which it is"), \
    OPT(prefix ".min_version", tls_version, f.min_version, "1.2", \
        RESTART, "1.2 or 1.3"), \
    OPT(prefix ".reload_interval", millis, f.reload_interval_ms, "5s", \
        RESTART, "how often the files are looked at where the system does not say that they " \
        "change", AT_LEAST("100ms"))

/* A map whose members are rows of their own: it has no default and is not shown. */
#define MEMBERS(name, type, f) OPT(name, type, f, NULL, RELOAD, NULL)

const struct option config_options[] = {
    OPT("receivers.otlp.protocols.grpc.endpoint", text, receiver.grpc_endpoint, "localhost:4317",
        RESTART, "where OTLP is received; localhost is both loopbacks; empty: not at all"),
    TLS_ROWS("receivers.otlp.protocols.grpc.tls", receiver.grpc_tls, "this port speaks"),
    OPT("receivers.otlp.protocols.http.endpoint", text, receiver.http_endpoint, "localhost:4318",
        RESTART, "the same; every protocol is spoken on both ports"),
    TLS_ROWS("receivers.otlp.protocols.http.tls", receiver.http_tls, "this port speaks"),
    OPT("receivers.otlp.protocols.http.cors.allowed_origins", words, receiver.cors_origins, "[]",
        RESTART, "web pages whose scripts may send, as https://app.example.com or "
        "https://*.example.com; [\"*\"]: all; []: none"),
    OPT("receivers.otlp.protocols.http.cors.allowed_headers", words, receiver.cors_headers, "[]",
        RESTART, "headers that they may set beside the usual ones (content-type and the like); "
        "[\"*\"]: any"),
    OPT("receivers.otlp.protocols.http.cors.max_age", count, receiver.cors_max_age_s, "0",
        RESTART, "seconds for which a browser remembers that it may; 0: as long as it likes",
        FROM("0", "86400")),
    OPT("receivers.otlp.auth.keys_file", text, receiver.keys_file, "",
        RESTART, "YAML file of keys, one of which each request has to show (x-api-key, or "
        "Authorization: Bearer); reloaded when it changes; empty: none is asked for", READS),
    OPT("receivers.otlp.allowed_hosts", words, receiver.allowed_hosts, "[]",
        RESTART, "names by which the ports may be asked on loopback, beside addresses and "
        "localhost"),
    OPT("receivers.otlp.max_request_size", bytes, receiver.max_request_bytes, "20MiB",
        RESTART, "largest request, decoded", FROM("1KiB", "1GiB")),
    OPT("receivers.otlp.max_connections", count, receiver.max_connections, "1024",
        RESTART, "connections at once, per port; fewer where the limit on open files is low",
        FROM("1", "100000")),
    OPT("receivers.otlp.strict", flag, receiver.strict, "false",
        RESTART, "true: one bad record refuses its whole request; false: it alone is repaired or "
        "refused"),
    OPT("auth.upstream_key", upstream_key, upstream_key, "configured",
        RESTART, "whose key the upstream is shown: the one configured; client: the one each client "
        "brings (Authorization: Bearer, or ?token=); client_or_configured"),
    OPT("multiline", multiline, multiline_join, "off",
        RESTART, "join: lines of a stack trace that stand side by side in a request become one "
        "record, with all else of the first"),
    OPT("mode", mode, observe, "enforce",
        RELOAD, "observe: forward everything as it came, and count what enforcing would do"),
    OPT("shadow.policy_file", text, shadow.policy_file, "",
        RELOAD, "a second policy that is only counted, beside what is done; reloaded like "
        "sampling.policy_file", READS),
    OPT("cost.per_gb", amount, cost.per_gb, "0.25",
        RELOAD, "assumed price of 10^9 metered bytes, beyond the free part; the bill's where the "
        "personal API key may read it"),
    OPT("cost.free_gb", amount, cost.free_gb, "10",
        RELOAD, "assumed free part of a month"),
    OPT("cost.kept_months", amount, cost.kept_months, "0",
        RELOAD, "months for which logs are kept beyond what is included"),
    OPT("cost.kept_per_gb", amount, cost.kept_per_gb, "0.05",
        RELOAD, "assumed price of each of these months, for 10^9 bytes"),
    OPT("cost.currency", text, cost.currency, "USD",
        RELOAD, "of these prices, as it is shown"),
    MEMBERS("sampling.severity_rates", severity_rates, sampling.severity_rate),
    OPT("sampling.severity_rates.TRACE", ratio, sampling.severity_rate[LEVEL_TRACE], "0.05",
        RELOAD, "share of TRACE records that is kept"),
    OPT("sampling.severity_rates.DEBUG", ratio, sampling.severity_rate[LEVEL_DEBUG], "0.05",
        RELOAD, "of DEBUG"),
    OPT("sampling.severity_rates.INFO", ratio, sampling.severity_rate[LEVEL_INFO], "0.2",
        RELOAD, "of INFO, and of records without a severity"),
    OPT("sampling.severity_rates.WARN", ratio, sampling.severity_rate[LEVEL_WARN], "0.5",
        RELOAD, "of WARN"),
    OPT("sampling.severity_rates.ERROR", ratio, sampling.severity_rate[LEVEL_ERROR], "1",
        RELOAD, "of ERROR: always 1"),
    OPT("sampling.severity_rates.FATAL", ratio, sampling.severity_rate[LEVEL_FATAL], "1",
        RELOAD, "of FATAL: always 1"),
    OPT("sampling.global_rate", ratio, sampling.global_rate, "1",
        RELOAD, "of levels that a policy does not name, if it has no global_rate of its own"),
    OPT("sampling.first.count", count, sampling.first_count, "5",
        RELOAD, "records of a pattern that are kept in each window, whatever its rate"),
    OPT("sampling.first.window", millis, sampling.first_window_ms, "1m",
        RELOAD, "the length of that window"),
    OPT("sampling.floor.max_per_second", count, sampling.floor_per_second, "0",
        RESTART, "of errors, all together; what is beyond is dropped and counted; 0: every error "
        "is kept"),
    OPT("sampling.error_context.bytes", bytes, sampling.context_bytes, "4MiB",
        RESTART, "memory for what was sampled out last, within memory.limit and at most an eighth "
        "of it; 0: errors have no context", ZERO_OR_AT_LEAST("64KiB")),
    OPT("sampling.error_context.trigger", severity, sampling.context_trigger, "ERROR",
        RESTART, "a kept record of this severity, or of a higher one, releases its context"),
    OPT("sampling.error_context.window", millis, sampling.context_window_ms, "5s",
        RESTART, "how old context may be"),
    OPT("sampling.error_context.max_records", count, sampling.context_records, "50",
        RESTART, "released for one trigger: the last ones", FROM("1", "256")),
    OPT("sampling.error_context.max_per_second", count, sampling.context_per_second, "100",
        RESTART, "released in all: a storm of errors must not undo the sampling", AT_LEAST("1")),
    OPT("sampling.error_context.trace_lines", count, sampling.context_trace_lines, "256",
        RESTART, "lines of a stack trace that follow one error as records of their own, sent with "
        "it; 0: none", FROM("0", "1024")),
    OPT("sampling.error_context.max_share", ratio, sampling.context_share, "0.1",
        RESTART, "of the bytes that are kept, the most that context may add"),
    OPT("sampling.budget.bytes_per_month", bytes, sampling.budget.bytes_per_month, "0",
        RELOAD, "what may be kept, metered as PostHog does; 0: no such budget", BUDGET),
    OPT("sampling.budget.records_per_second", count, sampling.budget.records_per_second, "0",
        RELOAD, "the same in records, instead", BUDGET),
    OPT("sampling.budget.target_reduction", ratio, sampling.budget.target_reduction, "0",
        RELOAD, "the same as the share of all bytes that is not kept, instead", BUDGET),
    OPT("sampling.budget.exponent", ratio, sampling.budget.exponent, "0.75",
        RELOAD, "0: equal parts for all patterns; 1: one rate for all"),
    OPT("sampling.budget.source", budget_source, sampling.budget.of_posthog, "configured",
        RELOAD, "posthog: what PostHog's quota leaves for the rest of the period, less what others "
        "send, while it can be asked; then the budget above, where there is one"),
    OPT("sampling.budget.period_day", count, sampling.budget.period_day, "1",
        RELOAD, "day of the month on which PostHog's period begins, where its bill may not be read",
        FROM("1", "31")),
    OPT("sampling.budget.share", ratio, sampling.budget.share, "1",
        RELOAD, "part of what the quota leaves that is this instance's: 0.1 for one of ten alike"),
    OPT("sampling.anomaly_boost", factor, sampling.anomaly_boost, "1",
        RELOAD, "factor on the rate while a pattern or its service is anomalous; 1: none"),
    OPT("sampling.policy_file", text, sampling.policy_file, "",
        RELOAD, "rates from a file of their own, reloaded when it changes; empty: none", READS),
    OPT("sampling.max_patterns", count, sampling.max_patterns, "16384",
        RESTART, "patterns that are counted apart", FROM("1", "1048576")),
    OPT("sampling.max_patterns_per_service", count, sampling.max_patterns_per_service, "2048",
        RESTART, "beyond it new patterns of a service are counted as lps1:overflow:<first two "
        "words>; 0: no limit", FROM("0", "1048576")),
    OPT("sampling.family_weight", count, sampling.family_weight, "6",
        RESTART, "weight of words seen in one place that makes it a variable; 0: never",
        ZERO_OR_FROM("2", "32")),
    OPT("sampling.max_services", count, sampling.max_services, "1024",
        RESTART, "services that are counted apart", FROM("2", "65536")),
    OPT("sampling.pattern_rates", pattern_rates, sampling.pattern_rates, "{}",
        RELOAD, "map of id, of a pattern or a family, to rate"),
    OPT("sampling.keep", keep, sampling.keep, "[]",
        RELOAD, "list of rules: what is kept"),
    OPT("sampling.drop", drop, sampling.drop, "[]",
        RELOAD, "list of rules: what is dropped, unless it is kept"),
    OPT("sampling.severity_from", severity_from, sampling.severity_from_text, "[fields,text]",
        RESTART, "the severity of a record: its fields, else the level that its text names; "
        "[fields]: these alone"),
    OPT("sampling.peer_weights", names, sampling.peer_weights, "[]",
        RESTART, "attributes by which other programs say how many records one stands for, or which "
        "share they kept, such as sample_rate, SampleRate, log_count; the first that a record has"),
    OPT("sampling.key", text, sampling.key, "",
        RESTART, "attribute of records whose values stay together, such as sessionId: all with the "
        "same value are kept or none, at equal rates; empty: traces stay together"),
    OPT("sampling.stamps", stamps, sampling.stamps, "[adjusted_count]",
        RESTART, "attributes of survivors of p < 1: these, pattern, family, threshold, randomness, "
        "template, reason; weight_always: the adjusted count of all that is sent, also where it is 1"),
    OPT("events.enabled", flag, events.enabled, "false",
        RESTART, "report new, surging and silent patterns and what was dropped, as records of our "
        "own"),
    OPT("events.summary_interval", millis, events.summary_ms, "5m",
        RESTART, "between summaries of what was dropped", AT_LEAST("100ms")),
    OPT("events.usage_interval", millis, events.usage_ms, "0",
        RESTART, "one record for each service with its exact counts and bytes, at full hours for "
        "1h, for charts in PostHog; with events.enabled or without; 0: none",
        ZERO_OR_FROM("1s", "24h")),
    OPT("events.learning", millis, events.learning_ms, "10m",
        RESTART, "after the start, and of a service: what is first seen in it is not new",
        MORE_THAN_0),
    OPT("events.interval", millis, events.interval_ms, "10s",
        RESTART, "over which rates are judged, for anomaly_boost as well", AT_LEAST("100ms")),
    OPT("events.max_per_minute", count, events.max_per_minute, "60",
        RESTART, "of new, surge and silent; what is beyond is counted; and of patterns in a "
        "summary", FROM("1", "100000")),
    OPT("redaction.mode", redact_mode, redaction.mode, "detect",
        RESTART, "off; detect: count secrets and personal data in what is kept, and change "
        "nothing; enforce: redact them wherever text leaves or rests"),
    OPT("redaction.detectors", detectors, redaction.detectors, "[usual]",
        RESTART, "list of kinds; usual: all but phone and ip, which are right in form far more "
        "often than in fact; all"),
    OPT("redaction.patterns", redact_patterns, redaction.patterns, "{}",
        RESTART, "name: regular expression of your own; a hit of a kind with this name; with a group "
        "(?<secret>...) only that part"),
    OPT("redaction.attributes", keys, redaction.attributes, "[]",
        RESTART, "names of attributes whose values are secret, beside those that end in password, "
        "secret, token, authorization, cookie, credential, api_key, private_key"),
    OPT("redaction.exempt", keys, redaction.exempt,
        "[posthogDistinctId, posthogDistinctID, distinct_id, distinct.id, distinctId, distinctID, "
        "sessionId, sessionID, session_id, session.id, trace_id, traceId, span_id, spanId, "
        "pattern.id, pattern.family, otel.logs.*]",
        RESTART, "names of attributes that are never touched; * at the end is any ending"),
    OPT("redaction.action", redact_action, redaction.action, "mask",
        RESTART, "mask; partial: cards and IBANs keep their last four; hash: a keyed digest; "
        "drop_attribute; drop_record, errors too"),
    OPT("redaction.mask", text, redaction.mask, "redacted-{kind}-0",
        RESTART, "what stands in the place of a value; with a digit and without brackets patterns "
        "keep their ids"),
    OPT("redaction.key", secret, redaction.key, "",
        RESTART, "of action: hash, at least 16 bytes; ${env:NAME} takes it from the environment"),
    OPT("exporters.posthog.host", text, posthog.host, "https://us.i.posthog.com",
        RELOAD, "PostHog's ingestion host (POSTHOG_HOST)"),
    OPT("exporters.posthog.api_key", secret, posthog.api_key, "",
        RELOAD, "project API key, phc_... (POSTHOG_API_KEY)"),
    OPT("exporters.posthog.compression", coding, posthog.compression, "zstd",
        RESTART, "zstd, gzip or none; zstd falls back to gzip where it is refused"),
    OPT("exporters.posthog.timeout", millis, posthog.timeout_ms, "30s",
        RELOAD, "of one request; PostHog itself may take 20 s", MORE_THAN_0),
    OPT("exporters.posthog.concurrency", count, posthog.concurrency, "4",
        RESTART, "requests in flight at once", FROM("1", "32")),
    ROUTE_ROWS("exporters.posthog", posthog.route, "PostHog"),
    OPT("exporters.otlphttp.endpoint", text, otlphttp.endpoint, "",
        RELOAD, "base URL of any OTLP/HTTP server; /v1/logs is appended"),
    OPT("exporters.otlphttp.logs_endpoint", text, otlphttp.logs_endpoint, "",
        RELOAD, "whole URL for logs, instead"),
    OPT("exporters.otlphttp.traces_endpoint", text, otlphttp.traces_endpoint, "",
        RELOAD, "whole URL for traces, instead"),
    OPT("exporters.otlphttp.metrics_endpoint", text, otlphttp.metrics_endpoint, "",
        RELOAD, "whole URL for metrics, instead"),
    OPT("exporters.otlphttp.compression", coding, otlphttp.compression, "gzip",
        RESTART, "zstd, gzip or none"),
    OPT("exporters.otlphttp.timeout", millis, otlphttp.timeout_ms, "30s",
        RELOAD, "of one request", MORE_THAN_0),
    OPT("exporters.otlphttp.concurrency", count, otlphttp.concurrency, "4",
        RESTART, "requests in flight at once", FROM("1", "32")),
    ROUTE_ROWS("exporters.otlphttp", otlphttp.route, "that server"),
    OPT("exporters.otlphttp.headers", headers, otlphttp.headers, "{}",
        RELOAD, "map of header to value; never printed"),
    OPT("exporters.file.path", text, file.path, "",
        RESTART, "write OTLP JSON lines here; - is standard output; opened again on SIGHUP, for "
        "log rotation", APPENDS),
    OPT("exporters.refused_file", text, refused_file.path, "",
        RESTART, "records that the upstream refuses for good are put aside here, as OTLP JSON "
        "lines; empty: only counted", APPENDS),
    OPT("exporters.refused_file_max_bytes", bytes, refused_file.max_bytes, "16MiB",
        RESTART, "how large that file may become; what is beyond is only counted",
        AT_LEAST("4KiB")),
    OPT("posthog.personal_api_key", secret, app.personal_api_key, "",
        RESTART, "personal API key, phx_... (POSTHOG_PERSONAL_API_KEY), with which PostHog's own "
        "pages are asked; TLS and proxy as of exporters.posthog; empty: they are not",
        .check = config_check_personal_key),
    OPT("posthog.app_host", text, app.host, "",
        RESTART, "where these pages are; empty: us.posthog.com for us.i.posthog.com, and so on"),
    OPT("posthog.project_id", count, app.project_id, "0",
        RESTART, "number of the project in them; 0: the one that exporters.posthog.api_key "
        "belongs to"),
    OPT("posthog.check_interval", millis, app.check_interval_ms, "10m",
        RESTART, "between looks at project, quota and rules", AT_LEAST("1s")),
    OPT("posthog.visible_after", millis, app.visible_after_ms, "2m",
        RELOAD, "how long PostHog may take to show what it has stored, before it counts as missing",
        FROM("1s", "1h")),
    OPT("posthog.role", role, app.leads, "member",
        RESTART, "leader: the one of a fleet that does what one must do, from time to time"),
    OPT("guard.alerts", guard, guard.alerts, "keep",
        RELOAD, "what alerts, metrics, views and insights of PostHog select, where "
        "posthog.personal_api_key is set: keep all of it; scale: count it, and say what their "
        "thresholds should be; off: do not ask"),
    OPT("guard.refresh_interval", millis, guard.refresh_interval_ms, "10m",
        RELOAD, "how often they are read again", FROM("1s", "24h")),
    OPT("batch.max_bytes", bytes, batch.max_bytes, "1MiB",
        RESTART, "decoded size of a request upstream",
        BOUNDS("1KiB", "10MiB", "from 1KiB to 10MiB, which is the most that PostHog takes")),
    OPT("batch.max_records", count, batch.max_records, "10000",
        RESTART, "records of a request upstream", FROM("1", "1000000")),
    OPT("batch.max_age", millis, batch.max_age_ms, "1s",
        RESTART, "how long a record waits for others"),
    OPT("queue.max_bytes", bytes, queue.max_bytes, "32MiB",
        RESTART, "memory for what waits to be sent, within memory.limit", AT_LEAST("64KiB")),
    OPT("queue.max_age", millis, queue.max_age_ms, "0",
        RESTART, "give up what waited longer; 0: never"),
    OPT("queue.errors_first", flag, queue.errors_first, "false",
        RESTART, "errors and their context are sent before all that waits; on disk they lie in "
        "spool.directory/errors"),
    OPT("durability", durability, durable, "memory",
        RESTART, "disk: answer when the kept records are stored in spool.directory"),
    OPT("spool.directory", text, spool.directory, "",
        RESTART, "of this process alone; made where it is missing", .file = CONFIG_FILE_SPOOL),
    OPT("spool.max_bytes", bytes, spool.max_bytes, "1GiB",
        RESTART, "on disk, room reserved included", AT_LEAST("1MiB")),
    OPT("spool.max_age", millis, spool.max_age_ms, "23h",
        RESTART, "give up what waited longer; PostHog takes no times older than a day",
        BOUNDS("1s", "86399999ms", "from 1s to less than 24h: PostHog moves older records to the "
               "time of their arrival")),
    OPT("spool.when_full", when_full, spool.drops_oldest, "reject",
        RESTART, "reject: clients send again later; drop_oldest: the oldest segment is lost"),
    OPT("spool.fsync", fsync, spool.fsync, "always",
        RESTART, "always: before each answer; interval, never: a power loss may take answered "
        "records"),
    OPT("spool.fsync_interval", millis, spool.fsync_interval_ms, "1s",
        RESTART, "with fsync: interval", FROM("10ms", "1h")),
    OPT("spool.commit_delay", millis, spool.commit_delay_ms, "2ms",
        RESTART, "how long the first record of a commit waits for others", FROM("0", "1s")),
    OPT("spool.commit_bytes", bytes, spool.commit_bytes, "256KiB",
        RESTART, "a commit of that size waits no longer", FROM("4KiB", "4MiB")),
    OPT("policy.server", text, policy.server, "",
        RELOAD, "base URL of a policy server; empty: none"),
    OPT("policy.api_key", secret, policy.api_key, "",
        RELOAD, "bearer key for it"),
    OPT("policy.team_id", count, policy.team_id, "0",
        RELOAD, "the PostHog team that its policies belong to"),
    OPT("policy.refresh_interval", millis, policy.refresh_interval_ms, "5m",
        RELOAD, "between fetches of a service's policy, jittered", AT_LEAST("100ms")),
    OPT("policy.report_interval", millis, policy.report_interval_ms, "1m",
        RELOAD, "between reports of pattern counts", AT_LEAST("100ms")),
    OPT("policy.timeout", millis, policy.timeout_ms, "10s",
        RELOAD, "of one request to it", MORE_THAN_0),
    OPT("policy.apply", policy_apply, policy.applies, "propose",
        RELOAD, "propose: what is proposed waits for a person (lipservice policy apply); auto: it is "
        "put in force, but for what would lower something protected, which is only counted first"),
    OPT("policy.propose_interval", millis, policy.propose_interval_ms, "1h",
        RELOAD, "how often rates are proposed from what was counted; 0: only when asked",
        ZERO_OR_FROM("1s", "24h")),
    OPT("policy.max_drop_change", ratio, policy.max_drop_change, "0.25",
        RELOAD, "so much more of all bytes may be dropped by one proposal; 0.25: a quarter"),
    OPT("policy.sync.server", text, policy.sync.server, "",
        RELOAD, "base URL of a provider of Tero's policies (POST /v1/policy/sync); empty: none"),
    OPT("policy.sync.api_key", secret, policy.sync.api_key, "",
        RELOAD, "bearer key for it"),
    OPT("policy.sync.interval", millis, policy.sync.interval_ms, "1m",
        RELOAD, "between requests to it, jittered, until it recommends another", AT_LEAST("1s")),
    OPT("policy.sync.protobuf", flag, policy.sync.as_protobuf, "false",
        RELOAD, "true: speak protobuf to it, which carries less than JSON"),
    ROUTE_ROWS("policy", policy.route, "the policy server and policy.sync.server"),
    OPT("passthrough.traces", passthrough, passthrough.traces, "relay",
        RESTART, "relay, discard or refuse what arrives on /v1/traces"),
    OPT("passthrough.metrics", passthrough, passthrough.metrics, "relay",
        RESTART, "the same for /v1/metrics"),
    OPT("passthrough.posthog", relayed, passthrough.posthog, "relay",
        RESTART, "relay or refuse: what is not OTLP (events, flags, recordings) goes on to "
        "exporters.posthog.host as it came, where there is an api_key"),
    OPT("server.endpoint", text, server.endpoint, "localhost:8000",
        RESTART, "where `lipservice server` listens; localhost is both loopbacks"),
    TLS_ROWS("server.tls", server.tls, "this port speaks"),
    OPT("server.directory", text, server.directory, "",
        RESTART, "of the policy server alone: its database and its journal; made where it is "
        "missing; empty: $STATE_DIRECTORY, /var/lib/lipservice/server for root, else "
        "~/.local/state/lipservice/server", .file = CONFIG_FILE_SERVER),
    OPT("server.database", secret, server.database, "",
        RESTART, "postgresql://... for several servers; empty: SQLite in server.directory"),
    OPT("server.first_key", secret, server.first_key, "",
        RESTART, "the key of the first admin, for a database without one; empty: one is made and "
        "printed on standard output", .check = config_check_first_key),
    OPT("server.max_request_size", bytes, server.max_request_bytes, "1MiB",
        RESTART, "largest body of a request; reading one takes 16 times its size of memory.limit",
        FROM("1KiB", "16MiB")),
    OPT("server.max_connections", count, server.max_connections, "16384",
        RESTART, "at once; each sidecar that waits for policies keeps one a service; fewer where "
        "the limit on open files is low", FROM("1", "1000000")),
    OPT("server.requests_per_second", count, server.requests_per_second, "200",
        RESTART, "of one key, and as many at once; beyond it 429", FROM("1", "1000000")),
    OPT("server.max_services", count, server.max_services, "1000",
        RESTART, "of one team; beyond it 429", FROM("1", "1000000")),
    OPT("server.max_patterns", count, server.max_patterns, "4096",
        RESTART, "of one service that are counted apart; the rest is one sum",
        FROM("1", "1048576")),
    OPT("server.max_drop_change", ratio, server.max_drop_change, "0.25",
        RESTART,
        "a policy that would drop so much more of the last hour than was dropped is kept as a "
        "draft; 1: none is"),
    OPT("server.max_wait", millis, server.max_wait_ms, "5m",
        RESTART, "how long a request for a policy may wait for a change", FROM("1s", "1h")),
    OPT("server.sync_interval", millis, server.sync_interval_ms, "1m",
        RESTART, "what is recommended to those who sync Tero's policies", FROM("1s", "1h")),
    OPT("server.flush_interval", millis, server.flush_interval_ms, "10s",
        RESTART, "between writes of counts to the database", FROM("100ms", "10m")),
    OPT("server.journal_max_bytes", bytes, server.journal_bytes, "256MiB",
        RESTART, "on disk, of reports that the database has not taken; beyond it 503",
        AT_LEAST("1MiB")),
    OPT("server.alerts.interval", millis, server.alerts_interval_ms, "1m",
        RESTART, "between looks for what stands out", FROM("1s", "1h")),
    OPT("server.alerts.cooldown", millis, server.alerts_cooldown_ms, "1h",
        RESTART, "until an alert that goes on is sent again", FROM("1s", "1000h")),
    OPT("server.webhooks.allow_private", flag, server.webhooks_private, "false",
        RESTART, "true: webhooks may be at addresses that are not of the public internet"),
    OPT("server.model.endpoint", text, server.model.endpoint, "",
        RESTART, "base URL of a language model that may choose among proposed rates, up to "
        "/chat/completions or /v1/messages; empty: none"),
    OPT("server.model.format", model_format, server.model.as_anthropic, "openai",
        RESTART, "openai (and all who follow it) or anthropic"),
    OPT("server.model.name", text, server.model.name, "",
        RESTART, "of the model, as the endpoint calls it"),
    OPT("server.model.api_key", secret, server.model.api_key, "",
        RESTART, "for the endpoint; empty: none is sent"),
    OPT("server.model.timeout", millis, server.model.timeout_ms, "30s",
        RESTART, "of one try, of which there are two", FROM("1s", "5m")),
    OPT("server.retention.minutes", millis, server.keep_minutes_ms, "6h",
        RESTART, "how long counts are kept by the minute", FROM("1h", "1000h")),
    OPT("server.retention.hours", millis, server.keep_hours_ms, "720h",
        RESTART, "by the hour", FROM("24h", "1000h")),
    OPT("server.retention.days", count, server.keep_days, "400",
        RESTART, "days for which counts are kept by the day, and patterns that were not seen",
        FROM("32", "10000")),
    OPT("memory.limit", bytes, memory_limit_bytes, "64MiB",
        RESTART, "one account for bodies, inflation, queue and tables", AT_LEAST("8MiB")),
    OPT("history.memory", bytes, history_bytes, "2MiB",
        RESTART, "within memory.limit, at most a sixteenth of it: what was counted in the last hour "
        "and day, a few lines of each pattern, and its records a minute, which above 15 are rounded "
        "by up to a ninth; 0: nothing is remembered", ZERO_OR_AT_LEAST("256KiB")),
    OPT("state.directory", text, state.directory, "",
        RESTART, "of this process alone, made where it is missing: patterns, families, history, "
        "versions of the policy, what PostHog counts and the last policy of each service from "
        "policy.server survive a restart in it; empty: they do not",
        .file = CONFIG_FILE_STATE),
    OPT("state.interval", millis, state.interval_ms, "1m",
        RESTART, "how often that is written; at the end it is written once more", FROM("1s", "1h")),
    OPT("telemetry.health.endpoint", text, telemetry.health_endpoint, "localhost:13133",
        RESTART, "/livez, /readyz, /status; empty: not at all"),
    OPT("telemetry.metrics.endpoint", text, telemetry.metrics_endpoint, "localhost:8888",
        RESTART, "Prometheus /metrics; empty: not at all"),
    OPT("telemetry.allowed_hosts", words, telemetry.allowed_hosts, "[]",
        RESTART, "names by which pages may be asked, beside addresses, localhost and, off "
        "loopback, names without a dot"),
    OPT("telemetry.admin.endpoint", text, telemetry.admin_endpoint, "localhost:55679",
        RESTART, "/api/..., which top, tap, shadow and explain --live ask; empty: not at all"),
    OPT("telemetry.admin.api_key", secret, telemetry.admin_api_key, "",
        RESTART, "key that /api/... asks for (x-api-key, or Authorization: Bearer), and that "
        "top, tap and others show; needed off loopback", .check = config_check_admin_key),
    TLS_ROWS("telemetry.tls", telemetry.tls, "the ports of metrics and admin pages speak"),
    OPT("telemetry.log.level", level, telemetry.log_level, "info",
        RELOAD, "error, warn, info or debug"),
    OPT("telemetry.log.format", log_format, telemetry.log_json, "text",
        RELOAD, "text (key=value) or json, on standard error"),
    OPT("allow_insecure", flag, allow_insecure, "false",
        RESTART, "true: no warning of ports that others reach without TLS and keys, and no key "
        "needed for the admin page there"),
    OPT("sandbox", sandbox, sandbox, "on",
        RESTART, "on: after the start no privileges, no files but those that are configured, no "
        "system calls but those that are needed (deploy/README.md); off: as started"),
    OPT("shutdown.timeout", millis, shutdown_timeout_ms, "8s",
        RELOAD, "how long SIGTERM may take to deliver what is held; the process ends a second "
        "later at most"),
    {.key = NULL},
};
/* clang-format on */

/* Bounds in the table that are constants of other modules. */
_Static_assert(FOLLOW_LINES_MAX == 1024, "sampling.error_context.trace_lines");
_Static_assert(RECORDER_RECORDS_MAX == 256, "sampling.error_context.max_records");
_Static_assert(RECORDER_BYTES_MIN == 64 << 10, "sampling.error_context.bytes");
_Static_assert(FAMILY_WEIGHT_MIN == 2 && FAMILY_WEIGHT_MAX == 32, "sampling.family_weight");

const struct option *option_find(const char *key)
{
    for (const struct option *o = config_options; o->key != NULL; o++)
        if (strcmp(o->key, key) == 0)
            return o;
    return NULL;
}

void config_visit_files(const struct config *cfg, config_file_fn *fn, void *ctx)
{
    if (cfg->source[0] != '\0')
        fn(ctx, "--config", cfg->source, CONFIG_FILE_READ);
    for (const struct option *o = config_options; o->key != NULL; o++) {
        const char *path = (const char *)cfg + o->offset;
        if (o->file != CONFIG_FILE_NONE && path[0] != '\0')
            fn(ctx, o->key, path, o->file);
    }
    for (const struct config_note *n = cfg->references; n != NULL; n = n->next)
        fn(ctx, "${file:", n->text, CONFIG_FILE_READ);
}

bool option_is_section(const char *key)
{
    size_t n = strlen(key);
    for (const struct option *o = config_options; o->key != NULL; o++)
        if (strncmp(o->key, key, n) == 0 &&
            (o->key[n] == '.' || (o->key[n] == '\0' && o->kind->set_entry != NULL)))
            return true;
    return false;
}

int config_set(struct config *cfg, const char *key, const char *value, struct error *err)
{
    const struct option *o = option_find(key);
    if (o == NULL || o->kind->parse == NULL)
        return err_set(err, ERR_CONFIG, "%s: no such setting", key);
    const char *wanted = o->kind->parse((char *)cfg + o->offset, o->size, value);
    if (wanted == NULL)
        return o->check == NULL ? 0 : o->check(cfg, key, err);
    if (o->kind == &value_secret)
        value = "[redacted]";
    return err_set(err, ERR_CONFIG, "%s: '%.100s' is not %s", key, value, wanted);
}

/* ---- bounds ------------------------------------------------------------ */

static uint64_t number_at(const void *at, size_t size)
{
    return size == sizeof(uint64_t) ? *(const uint64_t *)at : *(const uint32_t *)at;
}

/* The number that `text` means for this setting; `otherwise` where there is no text. */
static uint64_t number_of(const struct option *o, const char *text, uint64_t otherwise)
{
    uint64_t number = 0;
    if (text == NULL)
        return otherwise;
    const char *wanted = o->kind->parse(&number, o->size, text);
    assert(wanted == NULL); /* a bound in the table */
    return number_at(&number, o->size);
}

int option_check_bounds(const struct config *cfg, struct error *err)
{
    for (const struct option *o = config_options; o->key != NULL; o++) {
        if (o->wanted == NULL)
            continue;
        uint64_t value = number_at((const char *)cfg + o->offset, o->size);
        if (value == 0 && o->or_zero)
            continue;
        if (value < number_of(o, o->least, 0) || value > number_of(o, o->most, UINT64_MAX))
            return err_set(err, ERR_CONFIG, "%s: must be %s", o->key, o->wanted);
    }
    return 0;
}
