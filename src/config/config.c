/*
 * config: every scalar setting is one row. The row is the parser, the default, the line
 * of `lipservice settings`, print-config and the environment variable; nothing else lists
 * settings.
 */
#include "config/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "config/loop.h"
#include "config/value.h"
#include "export/posthog.h"
#include "pattern/families.h"
#include "pattern/signature.h"
#include "pipeline/recorder.h"

#define BUDGET_BYTES_MIN (1u << 20) /* a month; 0.4 bytes a second */
#define VARIABLE_PREFIX "LIPSERVICE_"
#define KEY_BYTES 256              /* a dotted key, longer than any setting */
#define BATCHES_IN_MEMORY 4        /* the one that fills, and three while it is sealed and packed */
#define ARENA_BYTES (4u << 20)     /* notes and headers: a few times the largest file */

struct option {
    const char *key; /* "batch.max_age"; LIPSERVICE_BATCH_MAX_AGE in the environment */
    const struct value_kind *kind;
    size_t offset, size;  /* of the field in struct config */
    const char *fallback; /* parsed like any other value */
    const char *help;
};

/* clang-format off */
#define FIELD(f) ((struct config *)0)->f
#define OPT(key, kind, f, fallback, help) \
    {key, &value_##kind, offsetof(struct config, f), \
     sizeof FIELD(f) + 0 * sizeof((kind##_field *)0 == &FIELD(f)), fallback, help}

/* tests/lint checks that README.md explains every key. */
static const struct option options[] = {
    OPT("receivers.otlp.protocols.grpc.endpoint", text,  receiver.grpc_endpoint, "localhost:4317", "where OTLP is received; localhost is both loopbacks; empty: not at all"),
    OPT("receivers.otlp.protocols.http.endpoint", text,  receiver.http_endpoint, "localhost:4318", "the same; every protocol is spoken on both ports"),
    OPT("receivers.otlp.max_request_size", bytes,  receiver.max_request_bytes, "20MiB", "largest request, decoded"),
    OPT("receivers.otlp.max_connections",  count,  receiver.max_connections,   "1024",  "connections at once, per port"),
    OPT("mode",                            mode,   observe,                   "enforce", "observe: forward everything as it came, and count what enforcing would do"),
    OPT("shadow.policy_file",              text,   shadow.policy_file,        "",       "a second policy that is only counted, beside what is done; reloaded like sampling.policy_file"),
    OPT("cost.per_gb",                     amount, cost_per_gb,               "0.25",   "money for 10^9 metered bytes, for what is saved"),
    OPT("sampling.severity_rates.TRACE",   ratio,  sampling.severity_rate[LEVEL_TRACE], "0.05", "share of TRACE records that is kept"),
    OPT("sampling.severity_rates.DEBUG",   ratio,  sampling.severity_rate[LEVEL_DEBUG], "0.05", "of DEBUG"),
    OPT("sampling.severity_rates.INFO",    ratio,  sampling.severity_rate[LEVEL_INFO],  "0.2",  "of INFO, and of records without a severity"),
    OPT("sampling.severity_rates.WARN",    ratio,  sampling.severity_rate[LEVEL_WARN],  "0.5",  "of WARN"),
    OPT("sampling.severity_rates.ERROR",   ratio,  sampling.severity_rate[LEVEL_ERROR], "1",    "of ERROR: always 1"),
    OPT("sampling.severity_rates.FATAL",   ratio,  sampling.severity_rate[LEVEL_FATAL], "1",    "of FATAL: always 1"),
    OPT("sampling.global_rate",            ratio,  sampling.global_rate,      "1",      "of levels that a policy does not name, if it has no global_rate of its own"),
    OPT("sampling.first.count",            count,  sampling.first_count,      "5",      "records of a pattern that are kept in each window, whatever its rate"),
    OPT("sampling.first.window",           millis, sampling.first_window_ms,  "1m",     "the length of that window"),
    OPT("sampling.floor.max_per_second",   count,  sampling.floor_per_second,  "0",      "of errors, all together; what is beyond is dropped and counted; 0: every error is kept"),
    OPT("sampling.error_context.bytes",    bytes,  sampling.context_bytes,     "4MiB",   "memory for what was sampled out last, within memory.limit; 0: errors have no context"),
    OPT("sampling.error_context.trigger",  severity, sampling.context_trigger, "ERROR",  "a kept record of this severity, or of a higher one, releases its context"),
    OPT("sampling.error_context.window",   millis, sampling.context_window_ms, "5s",     "how old context may be"),
    OPT("sampling.error_context.max_records",    count, sampling.context_records,    "50",  "released for one trigger: the last ones"),
    OPT("sampling.error_context.max_per_second", count, sampling.context_per_second, "100", "released in all: a storm of errors must not undo the sampling"),
    OPT("sampling.budget.bytes_per_month",    bytes, sampling.budget.bytes_per_month,    "0",   "what may be kept, metered as PostHog does; 0: no such budget"),
    OPT("sampling.budget.records_per_second", count, sampling.budget.records_per_second, "0",   "the same in records, instead"),
    OPT("sampling.budget.target_reduction",   ratio, sampling.budget.target_reduction,   "0",   "the same as the share of all bytes that is not kept, instead"),
    OPT("sampling.budget.exponent",           ratio, sampling.budget.exponent,           "0.3", "0: equal parts for all patterns; 1: one rate for all"),
    OPT("sampling.anomaly_boost",          factor, sampling.anomaly_boost,    "1",      "factor on the rate while a pattern or its service is anomalous; 1: none"),
    OPT("sampling.policy_file",            text,   sampling.policy_file,      "",       "rates from a file of their own, reloaded when it changes; empty: none"),
    OPT("sampling.max_patterns",           count,  sampling.max_patterns,     "16384",  "patterns that are counted apart"),
    OPT("sampling.max_patterns_per_service", count, sampling.max_patterns_per_service, "2048", "beyond it new patterns of a service are counted as lps1:overflow:<first two words>; 0: no limit"),
    OPT("sampling.family_weight",          count,  sampling.family_weight,    "6",      "weight of words seen in one place that makes it a variable; 0: never"),
    OPT("sampling.max_services",           count,  sampling.max_services,     "1024",   "services that are counted apart"),
    OPT("sampling.severity_from",          severity_from, sampling.severity_from_text, "[fields,text]", "the severity of a record: its fields, else the level that its text names; [fields]: these alone"),
    OPT("sampling.stamps",                 stamps, sampling.stamps,           "[adjusted_count,pattern,family]", "attributes of survivors of p < 1: these, threshold, randomness, template, reason"),
    OPT("events.enabled",                  flag,   events.enabled,            "false",  "tell of new, surging and silent patterns and of what was dropped, as records of our own"),
    OPT("events.summary_interval",         millis, events.summary_ms,         "5m",     "between summaries of what was dropped"),
    OPT("events.learning",                 millis, events.learning_ms,        "10m",    "after the start, and of a service: what is first seen in it is not new"),
    OPT("events.interval",                 millis, events.interval_ms,        "10s",    "over which rates are judged, for anomaly_boost as well"),
    OPT("events.max_per_minute",           count,  events.max_per_minute,     "60",     "of new, surge and silent; what is beyond is counted; and of patterns in a summary"),
    OPT("exporters.posthog.host",          text,   posthog.host,              "https://us.i.posthog.com", "PostHog's ingestion host (POSTHOG_HOST)"),
    OPT("exporters.posthog.api_key",       secret, posthog.api_key,           "",       "project API key, phc_... (POSTHOG_API_KEY)"),
    OPT("exporters.posthog.compression",   coding, posthog.compression,       "zstd",   "zstd, gzip or none; zstd falls back to gzip where it is refused"),
    OPT("exporters.posthog.timeout",       millis, posthog.timeout_ms,        "30s",    "of one request; PostHog itself may take 20 s"),
    OPT("exporters.posthog.concurrency",   count,  posthog.concurrency,       "4",      "requests in flight at once"),
    OPT("exporters.posthog.tls.ca_file",              text,   posthog.route.ca_file,   "",  "PEM file of CAs that are trusted instead of the system's"),
    OPT("exporters.posthog.tls.cert_file",            text,   posthog.route.cert_file, "",  "PEM file of a client certificate"),
    OPT("exporters.posthog.tls.key_file",             text,   posthog.route.key_file,  "",  "PEM file of its key"),
    OPT("exporters.posthog.tls.insecure_skip_verify", flag,   posthog.route.insecure_skip_verify, "false", "true: take any certificate, and whoever shows it"),
    OPT("exporters.posthog.proxy_url",                secret, posthog.route.proxy_url, "",  "proxy to PostHog; empty: HTTP_PROXY, HTTPS_PROXY and NO_PROXY say"),
    OPT("exporters.otlphttp.endpoint",     text,   otlphttp.endpoint,         "",       "base URL of any OTLP/HTTP server; /v1/logs is appended"),
    OPT("exporters.otlphttp.logs_endpoint",    text, otlphttp.logs_endpoint,    "",     "whole URL for logs, instead"),
    OPT("exporters.otlphttp.traces_endpoint",  text, otlphttp.traces_endpoint,  "",     "whole URL for traces, instead"),
    OPT("exporters.otlphttp.metrics_endpoint", text, otlphttp.metrics_endpoint, "",     "whole URL for metrics, instead"),
    OPT("exporters.otlphttp.compression",  coding, otlphttp.compression,      "gzip",   "zstd, gzip or none"),
    OPT("exporters.otlphttp.timeout",      millis, otlphttp.timeout_ms,       "30s",    "of one request"),
    OPT("exporters.otlphttp.concurrency",  count,  otlphttp.concurrency,      "4",      "requests in flight at once"),
    OPT("exporters.otlphttp.tls.ca_file",              text,   otlphttp.route.ca_file,   "",  "PEM file of CAs that are trusted instead of the system's"),
    OPT("exporters.otlphttp.tls.cert_file",            text,   otlphttp.route.cert_file, "",  "PEM file of a client certificate"),
    OPT("exporters.otlphttp.tls.key_file",             text,   otlphttp.route.key_file,  "",  "PEM file of its key"),
    OPT("exporters.otlphttp.tls.insecure_skip_verify", flag,   otlphttp.route.insecure_skip_verify, "false", "true: take any certificate, and whoever shows it"),
    OPT("exporters.otlphttp.proxy_url",                secret, otlphttp.route.proxy_url, "",  "proxy to that server; empty: HTTP_PROXY, HTTPS_PROXY and NO_PROXY say"),
    OPT("exporters.file.path",             text,   file.path,                 "",       "write OTLP JSON lines here; - is standard output"),
    OPT("exporters.refused_file",          text,   refused_file.path,         "",       "records that the upstream refuses for good are put aside here, as OTLP JSON lines; empty: only counted"),
    OPT("exporters.refused_file_max_bytes", bytes, refused_file.max_bytes,    "16MiB",  "how large that file may become; what is beyond is only counted"),
    OPT("batch.max_bytes",                 bytes,  batch.max_bytes,           "1MiB",   "decoded size of a request upstream"),
    OPT("batch.max_records",               count,  batch.max_records,         "10000",  "records of a request upstream"),
    OPT("batch.max_age",                   millis, batch.max_age_ms,          "1s",     "how long a record waits for others"),
    OPT("queue.max_bytes",                 bytes,  queue.max_bytes,           "32MiB",  "memory for what waits to be sent, within memory.limit"),
    OPT("queue.max_age",                   millis, queue.max_age_ms,          "0",      "give up what waited longer; 0: never"),
    OPT("durability",                      durability, durable,               "memory", "disk: answer when the kept records are stored in spool.directory"),
    OPT("spool.directory",                 text,   spool.directory,           "",       "of this process alone; made where it is missing"),
    OPT("spool.max_bytes",                 bytes,  spool.max_bytes,           "1GiB",   "on disk, room reserved included"),
    OPT("spool.max_age",                   millis, spool.max_age_ms,          "23h",    "give up what waited longer; PostHog takes no times older than a day"),
    OPT("spool.when_full",                 when_full, spool.drops_oldest,     "reject", "reject: clients send again later; drop_oldest: the oldest segment is lost"),
    OPT("spool.fsync",                     fsync,  spool.fsync,               "always", "always: before each answer; interval, never: a power loss may take answered records"),
    OPT("spool.fsync_interval",            millis, spool.fsync_interval_ms,   "1s",     "with fsync: interval"),
    OPT("spool.commit_delay",              millis, spool.commit_delay_ms,     "2ms",    "how long the first record of a commit waits for others"),
    OPT("spool.commit_bytes",              bytes,  spool.commit_bytes,        "256KiB", "a commit of that size waits no longer"),
    OPT("policy.server",                   text,   policy.server,             "",       "base URL of a policy server; empty: none"),
    OPT("policy.api_key",                  secret, policy.api_key,            "",       "bearer key for it"),
    OPT("policy.team_id",                  count,  policy.team_id,            "0",      "the PostHog team that its policies belong to"),
    OPT("policy.refresh_interval",         millis, policy.refresh_interval_ms, "5m",    "between fetches of a service's policy, jittered"),
    OPT("policy.report_interval",          millis, policy.report_interval_ms, "1m",     "between reports of pattern counts"),
    OPT("policy.timeout",                  millis, policy.timeout_ms,         "10s",    "of one request to it"),
    OPT("policy.tls.ca_file",              text,   policy.route.ca_file,   "",  "PEM file of CAs that are trusted instead of the system's"),
    OPT("policy.tls.cert_file",            text,   policy.route.cert_file, "",  "PEM file of a client certificate"),
    OPT("policy.tls.key_file",             text,   policy.route.key_file,  "",  "PEM file of its key"),
    OPT("policy.tls.insecure_skip_verify", flag,   policy.route.insecure_skip_verify, "false", "true: take any certificate, and whoever shows it"),
    OPT("policy.proxy_url",                secret, policy.route.proxy_url, "",  "proxy to the policy server; empty: HTTP_PROXY, HTTPS_PROXY and NO_PROXY say"),
    OPT("passthrough.traces",              passthrough, passthrough.traces,   "relay",  "relay, discard or refuse what arrives on /v1/traces"),
    OPT("passthrough.metrics",             passthrough, passthrough.metrics,  "relay",  "the same for /v1/metrics"),
    OPT("memory.limit",                    bytes,  memory_limit_bytes,        "64MiB",  "one account for bodies, inflation, queue and tables"),
    OPT("telemetry.health.endpoint",       text,   telemetry.health_endpoint,  "localhost:13133", "/livez, /readyz, /status; empty: not at all"),
    OPT("telemetry.metrics.endpoint",      text,   telemetry.metrics_endpoint, "localhost:8888",  "Prometheus /metrics; empty: not at all"),
    OPT("telemetry.admin.endpoint",        text,   telemetry.admin_endpoint,   "localhost:55679", "/api/..., which top, tap, shadow and explain --live ask; empty: not at all"),
    OPT("telemetry.log.level",             level,  telemetry.log_level,       "info",   "error, warn, info or debug"),
    OPT("telemetry.log.format",            log_format, telemetry.log_json,    "text",   "text (key=value) or json, on standard error"),
    OPT("shutdown.timeout",                millis, shutdown_timeout_ms,       "8s",     "how long SIGTERM may take to deliver what is held"),
};
/* clang-format on */

#define DAY_MS 86400000u
#define FAMILY_WEIGHTS "0, or from 2 to 32"

/* Limits that make no sense beyond these bounds. */
static const struct {
    const char *key;
    size_t offset;
    bool wide; /* uint64_t, else uint32_t */
    uint64_t least, most;
    const char *wanted;
} ranges[] = {
    /* clang-format off */
    {"receivers.otlp.max_request_size", offsetof(struct config, receiver.max_request_bytes), true, 1024, 1u << 30, "from 1KiB to 1GiB"},
    {"receivers.otlp.max_connections",  offsetof(struct config, receiver.max_connections), false, 1, 100000, "from 1 to 100000"},
    {"sampling.max_patterns",           offsetof(struct config, sampling.max_patterns), false, 1, 1u << 20, "from 1 to 1048576"},
    {"sampling.max_patterns_per_service", offsetof(struct config, sampling.max_patterns_per_service), false, 0, 1u << 20, "from 0 to 1048576"},
    {"sampling.error_context.max_records", offsetof(struct config, sampling.context_records), false, 1, RECORDER_RECORDS_MAX, "from 1 to 256"},
    {"sampling.error_context.max_per_second", offsetof(struct config, sampling.context_per_second), false, 1, UINT32_MAX, "at least 1"},
    {"sampling.family_weight",          offsetof(struct config, sampling.family_weight), false, 0, FAMILY_WEIGHT_MAX, FAMILY_WEIGHTS},
    {"sampling.max_services",           offsetof(struct config, sampling.max_services), false, 2, 1u << 16, "from 2 to 65536"},
    {"events.summary_interval",         offsetof(struct config, events.summary_ms), false, 100, UINT32_MAX, "at least 100ms"},
    {"events.learning",                 offsetof(struct config, events.learning_ms), false, 1, UINT32_MAX, "more than 0"},
    {"events.interval",                 offsetof(struct config, events.interval_ms), false, 100, UINT32_MAX, "at least 100ms"},
    {"events.max_per_minute",           offsetof(struct config, events.max_per_minute), false, 1, 100000, "from 1 to 100000"},
    {"exporters.posthog.concurrency",   offsetof(struct config, posthog.concurrency), false, 1, 32, "from 1 to 32"},
    {"exporters.otlphttp.concurrency",  offsetof(struct config, otlphttp.concurrency), false, 1, 32, "from 1 to 32"},
    {"exporters.posthog.timeout",       offsetof(struct config, posthog.timeout_ms), false, 1, UINT32_MAX, "more than 0"},
    {"exporters.otlphttp.timeout",      offsetof(struct config, otlphttp.timeout_ms), false, 1, UINT32_MAX, "more than 0"},
    {"exporters.refused_file_max_bytes", offsetof(struct config, refused_file.max_bytes), true, 4096, UINT64_MAX, "at least 4KiB"},
    {"batch.max_bytes",                 offsetof(struct config, batch.max_bytes), true, 1024, 10u << 20, "from 1KiB to 10MiB, which is the most that PostHog takes"},
    {"batch.max_records",               offsetof(struct config, batch.max_records), false, 1, 1000000, "from 1 to 1000000"},
    {"queue.max_bytes",                 offsetof(struct config, queue.max_bytes), true, 65536, UINT64_MAX, "at least 64KiB"},
    {"spool.max_bytes",                 offsetof(struct config, spool.max_bytes), true, 1u << 20, UINT64_MAX, "at least 1MiB"},
    {"spool.max_age",                   offsetof(struct config, spool.max_age_ms), false, 1000, DAY_MS - 1, "from 1s to less than 24h: PostHog moves older records to the time of their arrival"},
    {"spool.fsync_interval",            offsetof(struct config, spool.fsync_interval_ms), false, 10, 3600000, "from 10ms to 1h"},
    {"spool.commit_delay",              offsetof(struct config, spool.commit_delay_ms), false, 0, 1000, "from 0 to 1s"},
    {"spool.commit_bytes",              offsetof(struct config, spool.commit_bytes), true, 4096, 4u << 20, "from 4KiB to 4MiB"},
    {"memory.limit",                    offsetof(struct config, memory_limit_bytes), true, 8u << 20, UINT64_MAX, "at least 8MiB"},
    {"policy.refresh_interval",         offsetof(struct config, policy.refresh_interval_ms), false, 100, UINT32_MAX, "at least 100ms"},
    {"policy.report_interval",          offsetof(struct config, policy.report_interval_ms), false, 100, UINT32_MAX, "at least 100ms"},
    {"policy.timeout",                  offsetof(struct config, policy.timeout_ms), false, 1, UINT32_MAX, "more than 0"},
    /* clang-format on */
};

static const struct option *find_option(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (strcmp(options[i].key, key) == 0)
            return &options[i];
    return NULL;
}

bool config_is_setting(const char *key)
{
    return find_option(key) != NULL;
}

bool config_is_list(const char *key)
{
    const struct option *o = find_option(key);
    return o != NULL && (o->kind == &value_stamps || o->kind == &value_severity_from);
}

bool config_is_section(const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (strncmp(options[i].key, key, n) == 0 && options[i].key[n] == '.')
            return true;
    return config_map_of(key) != CONFIG_NO_MAP;
}

/* Called with each setting, so that it is the second budget whose place is told. */
static int check_budget(const struct config *cfg, const char *key, struct error *err)
{
    if (strncmp(key, "sampling.budget.", 16) != 0)
        return 0;
    uint64_t bytes = cfg->sampling.budget.bytes_per_month;
    double reduction = cfg->sampling.budget.target_reduction;
    if (bytes > 0 && bytes < BUDGET_BYTES_MIN)
        return err_set(err, ERR_CONFIG, "%s: must be at least 1MiB, or 0 for none", key);
    if (reduction >= 1)
        return err_set(err, ERR_CONFIG, "%s: must be below 1: 0.9 keeps a tenth", key);
    if ((bytes > 0) + (cfg->sampling.budget.records_per_second > 0) + (reduction > 0) > 1)
        return err_set(err, ERR_CONFIG,
                       "%s: a second budget; only one of bytes_per_month, records_per_second and "
                       "target_reduction can be set", key);
    return 0;
}

struct governor_target config_target(const struct config *cfg)
{
    struct governor_target t = {.exponent = cfg->sampling.budget.exponent};
    if (cfg->sampling.budget.bytes_per_month > 0) {
        t.unit = GOVERNOR_BYTES;
        t.amount = (double)cfg->sampling.budget.bytes_per_month / GOVERNOR_MONTH_S;
    } else if (cfg->sampling.budget.records_per_second > 0) {
        t.unit = GOVERNOR_RECORDS;
        t.amount = cfg->sampling.budget.records_per_second;
    } else if (cfg->sampling.budget.target_reduction > 0) {
        t.unit = GOVERNOR_REDUCTION;
        t.amount = 1 - cfg->sampling.budget.target_reduction;
    }
    return t;
}

int config_set(struct config *cfg, const char *key, const char *value, struct error *err)
{
    const struct option *o = find_option(key);
    if (o == NULL)
        return err_set(err, ERR_CONFIG, "%s: no such setting", key);
    const char *wanted = o->kind->parse((char *)cfg + o->offset, o->size, value);
    if (wanted == NULL)
        return check_budget(cfg, key, err);
    if (o->kind == &value_secret)
        value = "[redacted]";
    return err_set(err, ERR_CONFIG, "%s: '%.100s' is not %s", key, value, wanted);
}

/* ---- maps and lists ---------------------------------------------------- */

enum config_map config_map_of(const char *key)
{
    static const struct {
        const char *key;
        enum config_map map;
    } maps[] = {
        {"sampling.pattern_rates", CONFIG_PATTERN_RATES},
        {"sampling.severity_rates", CONFIG_SEVERITY_RATES},
        {"exporters.otlphttp.headers", CONFIG_HEADERS},
    };
    for (size_t i = 0; i < ARRAY_LEN(maps); i++)
        if (strcmp(maps[i].key, key) == 0)
            return maps[i].map;
    return CONFIG_NO_MAP;
}

static const char *keep_text(struct config *cfg, const char *text)
{
    struct span copy = arena_copy(&cfg->arena, span_of(text, strlen(text) + 1));
    return (const char *)copy.base;
}

/* `same_bytes`: a note that begins with the same so many bytes is replaced; 0: none is. */
static int add_note(struct config *cfg, struct config_note **list, const char *text,
                    size_t same_bytes)
{
    const char *kept = keep_text(cfg, text);
    if (kept == NULL)
        return ERR_TOO_BIG;
    for (; *list != NULL; list = &(*list)->next) {
        if (same_bytes > 0 && strncmp((*list)->text, text, same_bytes) == 0) {
            (*list)->text = kept;
            return 0;
        }
    }
    struct config_note *n = arena_alloc(&cfg->arena, sizeof *n);
    if (n == NULL)
        return ERR_TOO_BIG;
    n->text = kept;
    *list = n;
    return 0;
}

static int set_severity_rate(struct config *cfg, const char *key, const char *value,
                             struct error *err)
{
    int level = level_parse(span_str(key));
    char path[KEY_BYTES];
    if (level < 0)
        return err_set(err, ERR_CONFIG,
                       "sampling.severity_rates: '%.50s' is not one of TRACE, DEBUG, INFO, WARN, "
                       "ERROR, FATAL",
                       key);
    snprintf(path, sizeof path, "sampling.severity_rates.%s", level_name((enum level)level));
    int rc = config_set(cfg, path, value, err);
    if (rc == 0 && level >= LEVEL_ERROR && cfg->sampling.severity_rate[level] < 1.0)
        rc = err_set(err, ERR_CONFIG, "%s: errors are always kept: the rate can only be 1", path);
    return rc;
}

static int set_pattern_rate(struct config *cfg, const char *key, const char *value,
                            struct error *err)
{
    uint64_t signature;
    double rate;
    char id[SIGNATURE_TEXT_BYTES];
    struct buf line = {0};
    if (signature_parse(span_str(key), &signature) < 0)
        return err_set(err, ERR_CONFIG,
                       "sampling.pattern_rates: '%.50s' is not a pattern id such as "
                       "lps1:0123456789abcdef",
                       key);
    const char *wanted = value_ratio.parse(&rate, sizeof rate, value);
    if (wanted != NULL)
        return err_set(err, ERR_CONFIG, "sampling.pattern_rates: %s: '%.50s' is not %s", key, value,
                       wanted);
    buf_printf(&line, "\"%s\": ", signature_format(id, signature));
    value_ratio.print(&rate, &line);
    buf_append_byte(&line, '\0');
    int rc = line.err;
    if (rc == 0) /* one line an id: the later setting wins */
        rc = add_note(cfg, &cfg->sampling.pattern_rates, (char *)line.base, SIGNATURE_TEXT_BYTES);
    buf_done(&line);
    return rc < 0 ? rc : rules_set_pattern(cfg->sampling.rules, signature, rate, err);
}

static int set_header(struct config *cfg, const char *key, const char *value, struct error *err)
{
    char line[CONFIG_TEXT_BYTES];
    unsigned at = 0; /* where this name is, or the end */
    size_t n = strlen(key);
    while (at < cfg->otlphttp.header_count &&
           (strncasecmp(cfg->otlphttp.headers[at], key, n) != 0 || cfg->otlphttp.headers[at][n] != ':'))
        at++;
    if (at == CONFIG_HEADERS_MAX)
        return err_set(err, ERR_CONFIG, "exporters.otlphttp.headers: more than %d",
                       CONFIG_HEADERS_MAX);
    if (strpbrk(key, " :\r\n\t") != NULL || *key == '\0' || strpbrk(value, "\r\n") != NULL)
        return err_set(err, ERR_CONFIG, "exporters.otlphttp.headers: '%.50s' is not a header", key);
    if (snprintf(line, sizeof line, "%s: %s", key, value) >= (int)sizeof line)
        return err_set(err, ERR_CONFIG, "exporters.otlphttp.headers: %s is too long", key);
    const char *text = keep_text(cfg, line);
    if (text == NULL)
        return ERR_NOMEM;
    cfg->otlphttp.headers[at] = text;
    cfg->otlphttp.header_count += at == cfg->otlphttp.header_count;
    return 0;
}

int config_set_entry(struct config *cfg, enum config_map map, const char *key, const char *value,
                     struct error *err)
{
    static int (*const set[])(struct config *, const char *, const char *, struct error *) = {
        [CONFIG_PATTERN_RATES] = set_pattern_rate,
        [CONFIG_SEVERITY_RATES] = set_severity_rate,
        [CONFIG_HEADERS] = set_header,
    };
    return set[map](cfg, key, value, err);
}

int config_add_rule(struct config *cfg, bool keep, const struct rules_matcher *m, const char *yaml,
                    struct error *err)
{
    int rc = rules_add_matcher(cfg->sampling.rules, keep, m, err);
    return rc < 0 ? rc : add_note(cfg, keep ? &cfg->sampling.keep : &cfg->sampling.drop, yaml, 0);
}

/* ---- sources ----------------------------------------------------------- */

static int set_defaults(struct config *cfg, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        int rc = config_set(cfg, options[i].key, options[i].fallback, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_file(const char *path, struct buf *out, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_CONFIG, "cannot read '%s': %s", path, strerror(errno));
    int rc = 0;
    ssize_t n = 0;
    do {
        rc = buf_reserve(out, 4096);
        if (rc < 0)
            break;
        n = read(fd, out->base + out->len, out->cap - out->len);
        if (n > 0)
            out->len += (size_t)n;
    } while (n > 0);
    if (rc < 0)
        rc = err_set(err, ERR_CONFIG, "'%s' is larger than %u bytes", path, CONFIG_FILE_BYTES);
    else if (n < 0)
        rc = err_set(err, ERR_CONFIG, "cannot read '%s': %s", path, strerror(errno));
    close(fd);
    return rc;
}

static int load_file(struct config *cfg, const struct config_input *in, struct error *err)
{
    const char *path = in->file;
    if (path == NULL && access(CONFIG_DEFAULT_FILE, R_OK) == 0)
        path = CONFIG_DEFAULT_FILE;
    if (path == NULL)
        return 0;
    snprintf(cfg->source, sizeof cfg->source, "%s", path);
    struct buf text = {.max_bytes = CONFIG_FILE_BYTES};
    int rc = read_file(path, &text, err);
    if (rc == 0)
        rc = config_read_yaml(cfg, path, buf_span(&text), "", in->env, err);
    buf_done(&text);
    return rc;
}

/* The value of NAME in env, or NULL. Empty counts as absent: that is what a
 * compose file or a manifest makes of a variable that nobody set. */
static const char *env_get(char **env, const char *name)
{
    size_t n = strlen(name);
    for (; env != NULL && *env != NULL; env++)
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=' && (*env)[n + 1] != '\0')
            return *env + n + 1;
    return NULL;
}

/* batch.max_age: LIPSERVICE_BATCH_MAX_AGE. Returns out. */
static const char *variable_of(char out[KEY_BYTES], const char *key)
{
    size_t at = sizeof VARIABLE_PREFIX - 1;
    memcpy(out, VARIABLE_PREFIX, at);
    for (; *key != '\0'; key++)
        out[at++] = *key == '.' ? '_' : (char)toupper((unsigned char)*key);
    out[at] = '\0';
    return out;
}

/* What Kubernetes tells every pod of a service that is called lipservice. */
static bool is_service_link(const char *variable)
{
    return strncmp(variable, "LIPSERVICE_SERVICE_", 19) == 0 || strncmp(variable, "LIPSERVICE_PORT", 15) == 0;
}

const char *config_unknown_variable(char **env, size_t *at)
{
    while (env != NULL && env[*at] != NULL) {
        const char *variable = env[(*at)++];
        char name[KEY_BYTES];
        size_t i = 0, n = strcspn(variable, "=");
        if (strncmp(variable, VARIABLE_PREFIX, sizeof VARIABLE_PREFIX - 1) != 0 || is_service_link(variable))
            continue;
        while (i < ARRAY_LEN(options) && (strlen(variable_of(name, options[i].key)) != n ||
                                          memcmp(variable, name, n) != 0))
            i++;
        if (i == ARRAY_LEN(options))
            return variable;
    }
    return NULL;
}

static int load_environment(struct config *cfg, char **env, struct error *err)
{
    static const struct {
        const char *name, *key;
    } known[] = {
        {"POSTHOG_HOST", "exporters.posthog.host"},
        {"POSTHOG_PROJECT_TOKEN", "exporters.posthog.api_key"},
        {"POSTHOG_API_KEY", "exporters.posthog.api_key"},
    };
    struct error inner = {{0}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        const char *value = env_get(env, known[i].name);
        if (value != NULL && config_set(cfg, known[i].key, value, &inner) < 0)
            return err_set(err, ERR_CONFIG, "environment: %s: %.400s", known[i].name, inner.text);
    }
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        char name[KEY_BYTES];
        const char *value = env_get(env, variable_of(name, options[i].key));
        if (value != NULL && config_set(cfg, options[i].key, value, &inner) < 0)
            return err_set(err, ERR_CONFIG, "environment: %s: %.400s", name, inner.text);
    }
    return 0;
}

static int load_sets(struct config *cfg, const struct config_input *in, struct error *err)
{
    for (unsigned i = 0; i < in->set_count; i++) {
        const char *set = in->sets[i], *equals = strchr(set, '=');
        char key[KEY_BYTES];
        size_t n = equals == NULL ? 0 : (size_t)(equals - set);
        if (n == 0 || n >= sizeof key)
            return err_set(err, ERR_CONFIG, "--set %.100s: not of the form key.path=value", set);
        memcpy(key, set, n);
        key[n] = '\0';
        const struct option *o = find_option(key);
        bool is_rules = strcmp(key, "sampling.keep") == 0 || strcmp(key, "sampling.drop") == 0;
        if (o == NULL && !is_rules && !config_is_section(key))
            return err_set(err, ERR_CONFIG, "--set %.100s: no such setting", key);
        bool is_yaml = config_is_list(key) && equals[1] == '[';
        int rc = o != NULL && !is_yaml && config_map_of(key) == CONFIG_NO_MAP
                     ? config_set(cfg, key, equals + 1, err) /* a scalar as it stands, not as YAML */
                     : config_read_yaml(cfg, "--set", span_str(equals + 1), key, in->env, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- the whole --------------------------------------------------------- */

static int check_ranges(const struct config *cfg, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        const char *at = (const char *)cfg + ranges[i].offset;
        uint64_t value = ranges[i].wide ? *(const uint64_t *)at : *(const uint32_t *)at;
        if (value < ranges[i].least || value > ranges[i].most)
            return err_set(err, ERR_CONFIG, "%s: must be %s", ranges[i].key, ranges[i].wanted);
    }
    /* The exporter keeps room to seal and pack one; without it nothing would ever enter. */
    if (cfg->batch.max_bytes > cfg->memory_limit_bytes / BATCHES_IN_MEMORY)
        return err_set(err, ERR_CONFIG, "memory.limit: must be at least %d times batch.max_bytes",
                       BATCHES_IN_MEMORY);
    if (cfg->durable && cfg->spool.directory[0] == '\0')
        return err_set(err, ERR_CONFIG, "spool.directory: must be set with durability: disk");
    if (cfg->sampling.context_bytes > 0 && cfg->sampling.context_bytes < RECORDER_BYTES_MIN)
        return err_set(err, ERR_CONFIG, "sampling.error_context.bytes: must be 0, or at least 64KiB");
    if (cfg->sampling.family_weight > 0 && cfg->sampling.family_weight < FAMILY_WEIGHT_MIN)
        return err_set(err, ERR_CONFIG, "sampling.family_weight: must be " FAMILY_WEIGHTS);
    return 0;
}

static int check_url(const char *key, const char *url, struct error *err)
{
    size_t scheme = strncasecmp(url, "https://", 8) == 0 ? 8 : strncasecmp(url, "http://", 7) == 0 ? 7 : 0;
    if (url[0] != '\0' && (scheme == 0 || strchr("/?#", url[scheme]) != NULL || strchr(url, ' ') != NULL))
        return err_set(err, ERR_CONFIG, "%s: '%.200s' is not a URL such as https://collector.example.com:4318",
                       key, url);
    return 0;
}

/* Sending to ourselves would multiply every record until memory is full. */
static int check_way(const struct config *cfg, const char *key, const char *url, struct error *err)
{
    const char *listeners[] = {cfg->receiver.grpc_endpoint, cfg->receiver.http_endpoint};
    char whole[KEY_BYTES];
    snprintf(whole, sizeof whole, "exporters.%s", key);
    if (check_url(whole, url, err) < 0)
        return ERR_CONFIG;
    if (*url != '\0' && loop_is_ours(url, listeners, ARRAY_LEN(listeners)))
        return err_set(err, ERR_CONFIG,
                       "exporters.%s: '%.200s' is where this program listens: a loop", key, url);
    return 0;
}

static int check_exporters(const struct config *cfg, struct error *err)
{
    bool posthog = cfg->posthog.api_key[0] != '\0';
    bool otlphttp = cfg->otlphttp.endpoint[0] != '\0' || cfg->otlphttp.logs_endpoint[0] != '\0';
    bool file = cfg->file.path[0] != '\0';
    struct error inner = {{0}};
    char url[UPSTREAM_URL_BYTES];
    if (posthog + otlphttp + file > 1)
        return err_set(err, ERR_CONFIG,
                       "exporters: one of posthog.api_key (POSTHOG_API_KEY), otlphttp.endpoint and "
                       "file.path can be set, not several");
    if (posthog && posthog_check_key(cfg->posthog.api_key, &inner) < 0)
        return err_set(err, ERR_CONFIG, "exporters.posthog.api_key: %.400s", inner.text);
    if (posthog && posthog_url(url, cfg->posthog.host, SIGNAL_LOGS, &inner) < 0)
        return err_set(err, ERR_CONFIG, "exporters.posthog.host: %.400s", inner.text);

    const struct {
        const char *key, *url;
    } ways[] = {
        {"posthog.host", posthog ? url : ""},
        {"otlphttp.endpoint", cfg->otlphttp.endpoint},
        {"otlphttp.logs_endpoint", cfg->otlphttp.logs_endpoint},
        {"otlphttp.traces_endpoint", cfg->otlphttp.traces_endpoint},
        {"otlphttp.metrics_endpoint", cfg->otlphttp.metrics_endpoint},
    };
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(ways) && rc == 0; i++)
        rc = check_way(cfg, ways[i].key, ways[i].url, err);
    return rc == 0 ? check_url("policy.server", cfg->policy.server, err) : rc;
}

static int build_rules(struct config *cfg, struct error *err)
{
    struct rules *r = cfg->sampling.rules;
    struct error inner = {{0}};
    int rc = rules_set_global(r, cfg->sampling.global_rate, err);
    for (int l = 0; l < LEVEL_COUNT && rc == 0; l++) {
        rc = rules_set_level(r, (enum level)l, cfg->sampling.severity_rate[l], &inner);
        if (rc < 0)
            err_set(err, rc, "sampling.severity_rates.%.400s", inner.text);
    }
    if (rc == 0)
        rc = rules_set_first(r, cfg->sampling.first_count, cfg->sampling.first_window_ms, err);
    if (rc == 0)
        rc = rules_set_boost(r, cfg->sampling.anomaly_boost, err);
    rules_set_origin(r, "config", 0);
    return rc;
}

int config_load(struct config *cfg, const struct config_input *in, struct error *err)
{
    *cfg = (struct config){0};
    arena_init(&cfg->arena, ARENA_BYTES, NULL);
    int rc = rules_new(&cfg->sampling.rules);
    if (rc == 0)
        rc = set_defaults(cfg, err);
    if (rc == 0)
        rc = load_file(cfg, in, err);
    if (rc == 0)
        rc = load_environment(cfg, in->env, err);
    if (rc == 0)
        rc = load_sets(cfg, in, err);
    if (rc == 0)
        rc = check_ranges(cfg, err);
    if (rc == 0)
        rc = check_exporters(cfg, err);
    if (rc == 0)
        rc = build_rules(cfg, err);
    if (rc < 0)
        config_done(cfg);
    return rc;
}

/* What a reload changes; all else needs a restart. */
static bool is_live(const char *key)
{
    static const char *const beginnings[] = {
        "mode", "cost.", "shadow.", "sampling.severity_rates.", "sampling.global_rate",
        "sampling.first.", "sampling.anomaly_boost", "sampling.policy_file", "sampling.budget.", "policy.",
        "shutdown.timeout", "telemetry.log.", "exporters.posthog.", "exporters.otlphttp.",
    };
    static const char *const fixed[] = {".compression", ".concurrency"};
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        if (strlen(key) > strlen(fixed[i]) && strcmp(key + strlen(key) - strlen(fixed[i]), fixed[i]) == 0)
            return false;
    for (size_t i = 0; i < ARRAY_LEN(beginnings); i++)
        if (strncmp(key, beginnings[i], strlen(beginnings[i])) == 0)
            return true;
    return false;
}

void config_adopt(struct config *next, const struct config *now, struct buf *stale)
{
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const struct option *o = &options[i];
        char *to = (char *)next + o->offset;
        const char *from = (const char *)now + o->offset;
        bool is_text = o->kind == &value_text || o->kind == &value_secret; /* bytes behind the NUL do not count */
        if (is_live(o->key) || (is_text ? strcmp(to, from) : memcmp(to, from, o->size)) == 0)
            continue;
        buf_printf(stale, "%s%s", stale->len > 0 ? ", " : "", o->key);
        memcpy(to, from, o->size);
    }
}

void config_done(struct config *cfg)
{
    rules_unref(cfg->sampling.rules);
    cfg->sampling.rules = NULL;
    arena_done(&cfg->arena);
}

/* ---- showing ----------------------------------------------------------- */

/* Sections open as the keys go by: "a.b.c" after "a.b.d" shares two levels. */
static const char *open_sections(struct buf *out, const char *last, const char *key, int *depth)
{
    size_t shared = 0;
    *depth = 0;
    for (size_t i = 0; last[i] != '\0' && last[i] == key[i]; i++) {
        if (key[i] == '.') {
            shared = i + 1;
            ++*depth;
        }
    }
    const char *rest = key + shared, *dot;
    while ((dot = strchr(rest, '.')) != NULL) {
        buf_printf(out, "%*s%.*s:\n", *depth * 2, "", (int)(dot - rest), rest);
        ++*depth;
        rest = dot + 1;
    }
    return rest;
}

static void print_notes(struct buf *out, const struct config_note *n, const char *name,
                        const char *bullet)
{
    if (n == NULL)
        return;
    buf_printf(out, "  %s:\n", name);
    for (; n != NULL; n = n->next)
        buf_printf(out, "    %s%s\n", bullet, n->text);
}

int config_print(const struct config *cfg, struct buf *out)
{
    const char *last = "";
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const struct option *o = &options[i];
        int depth;
        const char *name = open_sections(out, last, o->key, &depth);
        buf_printf(out, "%*s%s: ", depth * 2, "", name);
        o->kind->print((const char *)cfg + o->offset, out);
        buf_append_byte(out, '\n');
        last = o->key;
        if (strcmp(o->key, "sampling.max_services") == 0) {
            print_notes(out, cfg->sampling.pattern_rates, "pattern_rates", "");
            print_notes(out, cfg->sampling.keep, "keep", "- ");
            print_notes(out, cfg->sampling.drop, "drop", "- ");
        }
        if (strcmp(o->key, "exporters.otlphttp.proxy_url") == 0 && cfg->otlphttp.header_count > 0) {
            buf_append_str(out, "    headers:\n");
            for (unsigned h = 0; h < cfg->otlphttp.header_count; h++)
                buf_printf(out, "      \"%.*s\": \"[redacted]\"\n",
                           (int)strcspn(cfg->otlphttp.headers[h], ":"), cfg->otlphttp.headers[h]);
        }
    }
    return out->err;
}

void config_reference(struct buf *out)
{
    static const struct {
        const char *key, *fallback, *help;
    } others[] = {
        {"sampling.pattern_rates", "{}", "map of id, of a pattern or a family, to rate (file and --set only)"},
        {"sampling.keep", "[]", "list of rules: what is kept (file and --set only)"},
        {"sampling.drop", "[]", "list of rules: what is dropped, unless it is kept (file and --set only)"},
        {"exporters.otlphttp.headers", "{}", "map of header to value; never printed (file and --set only)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        buf_printf(out, "%-42s %-26s %s\n", options[i].key,
                   options[i].fallback[0] == '\0' ? "\"\"" : options[i].fallback, options[i].help);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        buf_printf(out, "%-42s %-26s %s\n", others[i].key, others[i].fallback, others[i].help);
}
