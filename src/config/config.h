/*
 * config: every setting, from defaults, file, environment and command line, in
 * that order; the later wins.
 *
 *     file         YAML in the Collector's shape; unknown keys are errors with
 *                  line and column; ${env:NAME} and ${env:NAME:-default} are
 *                  expanded in scalars after parsing, $$ is a dollar
 *     environment  POSTHOG_API_KEY, POSTHOG_PROJECT_TOKEN, POSTHOG_HOST,
 *                  POSTHOG_PERSONAL_API_KEY, and
 *                  LIPSERVICE_<KEY> for every scalar setting, dots as underscores.
 *                  OTEL_EXPORTER_OTLP_* is the application's and is never read.
 *     --set        key.path=value, the value being YAML
 *
 * Units are in the field names. An error's text names the setting and, from a file, the place.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "export/journal.h"
#include "net/coding.h"
#include "net/tls_context.h"
#include "otlp/json_object.h"
#include "pipeline/governor.h"
#include "pipeline/peer_weights.h"
#include "pipeline/redact.h"
#include "pipeline/rules.h"
#include "util/arena.h"
#include "util/diag.h"
#include "util/err.h"

#define CONFIG_TEXT_BYTES 1024 /* a URL, a path, an address */
#define CONFIG_HEADERS_MAX 32  /* exporters.otlphttp.headers */
#define CONFIG_FILE_BYTES (1u << 20)
#define CONFIG_DEFAULT_FILE "/etc/lipservice/config.yaml"

typedef char config_text[CONFIG_TEXT_BYTES];

/* How to reach a server (struct route). */
struct config_route {
    config_text ca_file, cert_file, key_file, proxy_url;
    bool insecure_skip_verify;
};

/* TLS on a port of ours. */
struct config_tls {
    config_text cert_file, key_file, client_ca_file, crl_file;
    config_text client_sans; /* between commas */
    enum tls_version min_version;
    uint32_t reload_interval_ms;
    bool required;
};

enum passthrough { PASS_RELAY, PASS_DISCARD, PASS_REFUSE };

enum guard_mode { GUARD_KEEP, GUARD_SCALE, GUARD_OFF };
enum key_policy { KEY_CONFIGURED, KEY_CLIENT, KEY_CLIENT_OR_CONFIGURED };

/* What is done with a file that a setting names. */
enum config_file {
    CONFIG_FILE_NONE, /* it names none */
    CONFIG_FILE_READ,
    CONFIG_FILE_APPEND, /* made where it is missing */
    CONFIG_FILE_SPOOL,  /* a directory; its files come and go */
    CONFIG_FILE_SERVER, /* the same, of the policy server */
    CONFIG_FILE_STATE,  /* the same, of what a sidecar remembers */
};

/* key: value pairs and lists of maps, as they were written, for print-config. */
struct config_note {
    struct config_note *next;
    const char *text; /* one line of YAML */
};

struct config {
    struct {
        config_text grpc_endpoint, http_endpoint;
        uint64_t max_request_bytes;
        uint32_t max_connections;
        bool strict;
        config_text cors_origins, cors_headers, allowed_hosts; /* between commas */
        uint32_t cors_max_age_s;
        config_text keys_file;
        struct config_tls grpc_tls, http_tls;
    } receiver;
    bool multiline_join;
    enum key_policy upstream_key;
    struct {
        struct {
            uint64_t bytes_per_month; /* at most one of the three is set: not 0 */
            uint32_t records_per_second;
            double target_reduction, exponent;
            bool of_posthog; /* source */
            uint32_t period_day;
            double share;
        } budget;
        double severity_rate[LEVEL_COUNT], global_rate;
        uint32_t first_count, first_window_ms;
        uint32_t max_patterns, max_patterns_per_service, max_services, family_weight;
        bool severity_from_text; /* of records that have none */
        struct peer_weights peer_weights;
        unsigned stamps; /* bit per enum stamp */
        uint32_t floor_per_second;
        uint64_t context_bytes;
        enum level context_trigger;
        uint32_t context_window_ms, context_records, context_per_second, context_trace_lines;
        double context_share;
        config_text key;
        config_text policy_file;
        double anomaly_boost;
        struct rules *rules; /* made of all of `sampling` */
        struct config_note *pattern_rates, *keep, *drop;
    } sampling;
    struct {
        bool enabled;
        uint32_t interval_ms, learning_ms, summary_ms, max_per_minute, usage_ms;
    } events;
    bool observe;
    struct {
        enum redact_mode mode;
        enum redact_action action;
        uint64_t detectors; /* bit per enum redact_kind */
        config_text mask, key;
        config_text attributes, exempt;                          /* names, commas between */
        struct redact_pattern patterns[REDACT_PATTERNS_MAX + 1]; /* an empty name at the end */
        unsigned pattern_count;
    } redaction;
    struct {
        config_text policy_file;
    } shadow;
    struct {
        double per_gb, free_gb, kept_months, kept_per_gb;
        config_text currency;
    } cost;
    struct {
        config_text host, api_key;
        struct config_route route;
        uint32_t timeout_ms, concurrency;
        enum coding compression;
    } posthog;
    struct {
        config_text personal_api_key, host;
        uint32_t project_id, check_interval_ms, visible_after_ms;
        bool leads;
    } app; /* PostHog's app API: `posthog.` */
    struct {
        enum guard_mode alerts;
        uint32_t refresh_interval_ms;
    } guard;
    struct {
        config_text endpoint, logs_endpoint, traces_endpoint, metrics_endpoint;
        const char *headers[CONFIG_HEADERS_MAX + 1]; /* "Name: value", NULL at the end */
        unsigned header_count;
        struct config_route route;
        uint32_t timeout_ms, concurrency;
        enum coding compression;
    } otlphttp;
    struct {
        config_text path;
    } file;
    struct {
        config_text path;
        uint64_t max_bytes;
    } refused_file;
    struct {
        uint64_t max_bytes;
        uint32_t max_records, max_age_ms;
    } batch;
    struct {
        uint64_t max_bytes;
        uint32_t max_age_ms;
        bool errors_first;
    } queue;
    bool durable; /* durability: disk */
    struct {
        config_text directory;
        uint64_t max_bytes, commit_bytes;
        uint32_t max_age_ms, fsync_interval_ms, commit_delay_ms;
        bool drops_oldest;
        enum journal_fsync fsync;
    } spool;
    struct {
        config_text server, api_key;
        struct config_route route;
        uint32_t team_id, refresh_interval_ms, report_interval_ms, timeout_ms;
        bool applies; /* proposals, by itself */
        uint32_t propose_interval_ms;
        double max_drop_change;
        struct {
            config_text server, api_key;
            uint32_t interval_ms;
            bool as_protobuf;
        } sync;
    } policy;
    struct {
        enum passthrough traces, metrics;
        bool posthog; /* all that is not OTLP goes on to it */
    } passthrough;
    struct {
        config_text metrics_endpoint, health_endpoint, admin_endpoint;
        config_text admin_api_key, allowed_hosts;
        struct config_tls tls;
        enum diag_level log_level;
        bool log_json;
    } telemetry;
    struct {
        config_text endpoint, directory, database, first_key;
        struct config_tls tls;
        uint64_t max_request_bytes, journal_bytes;
        uint32_t max_connections, requests_per_second, max_services, max_patterns;
        double max_drop_change;
        uint32_t flush_interval_ms, max_wait_ms, sync_interval_ms;
        uint32_t alerts_interval_ms, alerts_cooldown_ms;
        bool webhooks_private;
        struct {
            config_text endpoint, name, api_key;
            bool as_anthropic;
            uint32_t timeout_ms;
        } model;
        uint32_t keep_minutes_ms, keep_hours_ms, keep_days;
    } server;
    bool allow_insecure;
    struct {
        config_text directory;
        uint32_t interval_ms;
    } state;
    uint64_t memory_limit_bytes, history_bytes;
    uint32_t shutdown_timeout_ms;
    bool sandbox;

    config_text source;             /* the file that was read, or "" */
    struct config_note *references; /* the paths of ${file:PATH} */
    struct arena arena;             /* of notes and headers */
};

struct config_input {
    const char *file;        /* --config; NULL: CONFIG_DEFAULT_FILE where it exists */
    const char *const *sets; /* "key.path=value" */
    unsigned set_count;
    char **env; /* NULL: read none (tests) */
};

/* Load and check everything. On failure *err says where and what, and cfg holds
 * nothing that needs config_done(). */
MUST_CHECK int config_load(struct config *cfg, const struct config_input *in, struct error *err);
void config_done(struct config *cfg);

/* The text of the nth keep or drop rule, "" past the last. `cfg` is a struct config, void so that
 * it can be passed as a function to lower floors. */
const char *config_rule_text(const void *cfg, bool keep, unsigned place);

/* Call fn with each file that the configuration names: itself, settings, ${file:} references.
 * `key` is the setting. */
typedef void config_file_fn(void *ctx, const char *key, const char *path, enum config_file use);
void config_visit_files(const struct config *cfg, config_file_fn *fn, void *ctx);

/* The next variable "LIPSERVICE_...=..." from env[*at] on that sets nothing, because no setting has
 * its name; NULL: there are no more. *at moves past it. */
const char *config_unknown_variable(char **env, size_t *at);

/* sampling.budget, as the pipeline takes it. */
struct governor_target config_target(const struct config *cfg);

/* redaction, as the pipeline takes it. ERR_CONFIG: something is wrong with it. *opts borrows from
 * cfg. */
MUST_CHECK int config_redaction(const struct config *cfg, struct redact_opts *opts,
                                struct error *err);

/* Why the mask that is configured would change patterns; NULL: it does not. */
const char *config_mask_warning(const struct config *cfg);

/* For a reload: settings of `next` that need a restart get the values of `now`; the keys of those
 * that differed are appended to *stale, ", " between. */
void config_adopt(struct config *next, const struct config *now, struct buf *stale);

/* Set one setting that is not a map or a list of rules, by its dotted key. */
MUST_CHECK int config_set(struct config *cfg, const char *key, const char *value,
                          struct error *err);

/* The effective configuration as YAML, secrets as [redacted]. */
MUST_CHECK int config_print(const struct config *cfg, struct buf *out);

/* The settings with their defaults and meaning, a line each, for `lipservice settings`. */
void config_reference(struct buf *out);

/* The same and what a reload applies, as Markdown: src/config/README.md without its introduction,
 * which stands between the two comments at the top. */
void config_reference_markdown(struct buf *out);

/* Read a YAML document and set what it holds; `name` is for messages. `base` is the dotted key
 * that the document's root stands for, "" for a file. */
MUST_CHECK int config_read_yaml(struct config *cfg, const char *name, struct span text,
                                const char *base, char **env, struct error *err);

/* Call fn with the members of a YAML or JSON map with one level of nesting, as
 * json_object_visit_nested() does (a policy_visit_fn). No environment references. On failure *err
 * is "name:line:column: " and the text of fn. */
MUST_CHECK int config_visit_yaml(const char *name, struct span text,
                                 int (*fn)(void *arg, const struct json_member *m,
                                           struct error *err),
                                 void *arg, struct error *err);
