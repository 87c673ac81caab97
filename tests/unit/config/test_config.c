#include "unit/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "config/config.h"
#include "pipeline/stamp.h"

/* Load from a text instead of a file. NULL members: none. */
static int load(struct config *cfg, const char *yaml, char **env, const char *const *sets,
                struct error *err)
{
    char path[] = "/tmp/lipservice_config_XXXXXX";
    int fd = mkstemp(path);
    size_t len = yaml == NULL ? 0 : strlen(yaml);
    assert_int_equal(write(fd, yaml == NULL ? "" : yaml, len), (ssize_t)len);
    close(fd);
    struct config_input in = {.file = path, .sets = sets, .env = env};
    while (sets != NULL && sets[in.set_count] != NULL)
        in.set_count++;
    *err = (struct error){{0}};
    int rc = config_load(cfg, &in, err);
    unlink(path);
    return rc;
}

static uint64_t threshold(const struct config *cfg, uint64_t signature, enum level level)
{
    enum rules_source source;
    return rules_threshold(cfg->sampling.rules, signature, signature, level, &source);
}

static void the_defaults_are_a_configuration(void **state)
{
    (void)state;
    struct config cfg;
    struct error err;
    assert_int_equal(load(&cfg, NULL, NULL, NULL, &err), 0);
    assert_string_equal(cfg.receiver.grpc_endpoint, "localhost:4317");
    assert_int_equal(cfg.receiver.max_request_bytes, 20 << 20);
    assert_int_equal(cfg.batch.max_age_ms, 1000);
    assert_int_equal(cfg.queue.max_age_ms, 0);
    assert_int_equal(cfg.posthog.compression, CODING_ZSTD);
    assert_int_equal(threshold(&cfg, 1, LEVEL_INFO), rules_threshold_of(0.2));
    assert_int_equal(threshold(&cfg, 1, LEVEL_ERROR), 0);
    assert_int_equal(rules_first(cfg.sampling.rules), 5);
    assert_string_equal(rules_origin(cfg.sampling.rules), "config");
    config_done(&cfg);

    struct buf text = {0};
    config_reference(&text);
    buf_append_byte(&text, 0);
    assert_non_null(strstr((char *)text.base, "batch.max_age  "));
    buf_done(&text);
}

/* A value of a setting, and what print-config makes of it; NULL: refused. */
static void values(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *printed;
    } rows[] = {
        {"batch.max_bytes", "4096", "4KiB"},
        {"batch.max_bytes", "1000000B", "1000000B"},
        {"batch.max_bytes", "2MiB", "2MiB"},
        {"queue.max_bytes", "1GiB", "1GiB"},
        {"batch.max_bytes", "2MB", NULL},
        {"batch.max_bytes", "-1", NULL},
        {"batch.max_bytes", "1.5MiB", NULL},
        {"batch.max_bytes", " 4096", NULL},
        {"batch.max_bytes", "4096 ", NULL},
        {"batch.max_bytes", "", NULL},
        {"queue.max_bytes", "9223372036854775808", NULL},
        {"queue.max_bytes", "99999999999999999999", NULL},
        {"queue.max_bytes", "9000000000GiB", NULL},
        {"batch.max_age", "250ms", "250ms"},
        {"batch.max_age", "90s", "90s"},
        {"batch.max_age", "120s", "2m"},
        {"batch.max_age", "2h", "2h"},
        {"queue.max_age", "0", "0ms"},
        {"batch.max_age", "5", NULL},
        {"batch.max_age", "5 s", NULL},
        {"batch.max_age", "1d", NULL},
        {"batch.max_age", "1200h", NULL},
        {"policy.team_id", "2147483647", "2147483647"},
        {"policy.team_id", "2147483648", NULL},
        {"policy.team_id", "1KiB", NULL},
        {"sampling.global_rate", "0", "0"},
        {"sampling.global_rate", "1", "1"},
        {"sampling.global_rate", "0.123456789", "0.123456789"},
        {"sampling.global_rate", "1e-9", "1e-09"},
        {"sampling.global_rate", "1.01", NULL},
        {"sampling.global_rate", "-0.1", NULL},
        {"sampling.global_rate", "nan", NULL},
        {"sampling.global_rate", "-nan", NULL},
        {"sampling.global_rate", "inf", NULL},
        {"sampling.global_rate", "0x1", NULL},
        {"sampling.global_rate", " 0.5", NULL},
        {"sampling.global_rate", "0,5", NULL},
        {"sampling.global_rate", "50%", NULL},
        {"exporters.posthog.compression", "gzip", "gzip"},
        {"exporters.posthog.compression", "none", "none"},
        {"exporters.posthog.compression", "br", NULL},
        {"passthrough.traces", "refuse", "refuse"},
        {"passthrough.traces", "Refuse", NULL},
        {"telemetry.log.level", "debug", "debug"},
        {"telemetry.log.level", "trace", NULL},
        {"telemetry.log.format", "json", "json"},
        {"telemetry.log.format", "yaml", NULL},
        {"exporters.file.path", "-", "\"-\""},
        {"exporters.file.path", "a\"b\\c", "\"a\\\"b\\\\c\""},
        {"exporters.file.path", "a\nb\x01", "\"a\\nb\\x01\""},
        {"exporters.file.path", "\xc3\xa9\xc2\x85\xe2\x80\xa8", "\"\xc3\xa9\\u0085\\u2028\""},
        {"exporters.file.path", "$HOME $$", "\"$$HOME $$$$\""},
        {"policy.api_key", "secret", "\"[redacted]\""},
        {"policy.api_key", "", "\"\""},
        {"sampling.budget.bytes_per_month", "100GiB", "100GiB"},
        {"sampling.budget.bytes_per_month", "1MiB", "1MiB"},
        {"sampling.budget.bytes_per_month", "1023KiB", NULL},
        {"sampling.budget.bytes_per_month", "-1GiB", NULL},
        {"sampling.budget.bytes_per_month", "nan", NULL},
        {"sampling.budget.records_per_second", "500", "500"},
        {"sampling.budget.records_per_second", "-500", NULL},
        {"sampling.budget.records_per_second", "1e999", NULL},
        {"sampling.budget.target_reduction", "0.9", "0.9"},
        {"sampling.budget.target_reduction", "1", NULL},
        {"sampling.budget.target_reduction", "nan", NULL},
        {"sampling.budget.target_reduction", "-0.1", NULL},
        {"sampling.budget.exponent", "0", "0"},
        {"sampling.budget.exponent", "1.5", NULL},
        {"sampling.budget.exponent", "nan", NULL},
        {"sampling.stamps", "[]", "[]"},
        {"sampling.stamps", "[ reason , template ]", "[template, reason]"},
        {"sampling.stamps", "threshold,randomness,pattern,adjusted_count",
         "[adjusted_count, pattern, threshold, randomness]"},
        {"sampling.stamps", "pattern", "[pattern]"},
        {"sampling.stamps", "", NULL},
        {"sampling.stamps", "pattern,", NULL},
        {"sampling.stamps", "[pattern", NULL},
        {"sampling.stamps", "[patterns]", NULL},
        {"no.such.setting", "1", NULL},
    };
    struct config cfg;
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(load(&cfg, NULL, NULL, NULL, &err), 0);
        int rc = config_set(&cfg, rows[i].key, rows[i].value, &err);
        assert_row((rc == 0) == (rows[i].printed != NULL), "%s '%s': %s", rows[i].key,
                   rows[i].value, err.text);
        if (rc < 0) {
            assert_row(strstr(err.text, rows[i].key) != NULL, "%s", err.text);
        } else {
            struct buf text = {0};
            char line[256];
            const char *dot = strrchr(rows[i].key, '.');
            snprintf(line, sizeof line, "%s: %s\n", dot + 1, rows[i].printed);
            assert_int_equal(config_print(&cfg, &text), 0);
            buf_append_byte(&text, 0);
            assert_row(strstr((char *)text.base, line) != NULL, "%s", line);
            buf_done(&text);
        }
        config_done(&cfg);
    }
    assert_int_equal(load(&cfg, NULL, NULL, NULL, &err), 0);
    char longer[CONFIG_TEXT_BYTES + 1];
    memset(longer, 'x', CONFIG_TEXT_BYTES);
    longer[CONFIG_TEXT_BYTES] = '\0';
    assert_int_equal(config_set(&cfg, "policy.server", longer, &err), ERR_CONFIG);
    assert_int_equal(config_set(&cfg, "policy.api_key", longer, &err), ERR_CONFIG);
    assert_null(strstr(err.text, "xxx")); /* a secret is not shown even then */
    config_done(&cfg);
}

static void what_is_refused_and_where(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *at, *says; /* at: ":line:column:" */
    } rows[] = {
        {"batch:\n  max_agee: 1s\n", ":2:3:", "batch.max_agee: no such setting"},
        {"batches: 1\n", ":1:1:", "no such setting"},
        {"batch:\n  max_age: 1s\n  max_age: 2s\n", ":3:3:", "twice"},
        {"batch: {max_age: 1s}\nbatch: {max_bytes: 1MiB}\n", ":2:1:", "twice"},
        {"batch:\n  max_age: never\n", ":2:12:", "'never' is not a time"},
        {"batch: 5\n", ":1:8:", "settings are wanted"},
        {"batch: [1]\n", ":1:8:", "a list is not wanted"},
        {"- 1\n", ":1:1:", "a list is not wanted"},
        {"just text\n", ":1:1:", "settings are wanted"},
        {"batch:\n  max_age: {a: 1}\n", ":2:12:", "a single value"},
        {"? [a]\n: 1\n", ":1:3:", "a key must be"},
        {"batch: {max_age: 1s\n", ":2:1:", ""},
        {"\"batch\\0x\": {max_age: 1s}\n", ":1:1:", "no such setting"},
        {"batch:\n  max_age: \"1s\\0\"\n", ":2:12:", "NUL"},
        {"batch:\n  max_age: ${env:NOT_SET}\n", ":2:12:", "NOT_SET is not set"},
        {"batch:\n  max_age: ${env:NOT_SET\n", ":2:12:", "without }"},
        {"sampling:\n  budget:\n    records_per_second: 5\n    target_reduction: 0.5\n",
         ":4:23:", "a second budget"},
        {"sampling:\n  budget:\n    target_reduction: 1\n", ":3:23:", "must be below 1"},
        {"sampling:\n  budget:\n    bytes_per_month: 5\n", ":3:22:", "at least 1MiB"},
        {"sampling:\n  budget:\n    bytes_per_month: .nan\n", ":3:22:", "a size such as"},
        {"sampling:\n  budget:\n    exponent: -1\n", ":3:15:", "a rate from 0 to 1"},
        {"sampling:\n  anomaly_boost: 0.5\n", ":2:18:", "'0.5' is not a factor from 1 to 1000"},
        {"sampling:\n  anomaly_boost: .nan\n", ":2:18:", "a factor from 1"},
        {"events:\n  enabled: yes\n", ":2:12:", "'yes' is not one of true, false"},
        {"sampling:\n  severity_rates: {WARN: 2}\n", ":2:26:", "a rate from 0 to 1"},
        {"sampling:\n  severity_rates: {LOUD: 1}\n", ":2:26:", "LOUD"},
        {"sampling:\n  severity_rates: {ERROR: 0.9}\n", ":2:27:", "errors are always kept"},
        {"sampling:\n  severity_rates: {CRITICAL: 0}\n", ":2:30:", "errors are always kept"},
        {"sampling:\n  severity_rates: {INFO: [1]}\n", ":2:26:", "a single value"},
        {"sampling:\n  pattern_rates: {192e2189dedd759b686b29a872987cc1: 1}\n",
         ":2:", "pattern id"},
        {"sampling:\n  pattern_rates: {\"lps1:0123456789abcdef\": 1.1}\n",
         ":2:", "rate from 0 to 1"},
        {"sampling:\n  keep: 5\n", ":2:9:", "a list of rules"},
        {"sampling:\n  keep:\n    - 5\n", ":3:7:", "at least one condition"},
        {"sampling:\n  keep:\n    - {}\n", ":3:7:", "at least one condition"},
        {"sampling:\n  drop:\n    - {bodi: x}\n", ":3:8:", "a rule has severity"},
        {"sampling:\n  drop:\n    - {severity: LOUD}\n", ":3:18:", "severity: one of"},
        {"sampling:\n  drop:\n    - {severity: [INFO, [WARN]]}\n", ":3:25:", "a name or a list"},
        {"sampling:\n  drop:\n    - {severity: \"${env:NOT_SET}\"}\n",
         ":3:18:", "NOT_SET is not set"},
        {"sampling:\n  drop:\n    - {pattern: abc}\n", ":3:17:", "an id such as"},
        {"sampling:\n  drop:\n    - {attributes: x}\n", ":3:20:", "a map of names"},
        {"sampling:\n  drop:\n    - {attributes: {a: [1]}}\n", ":3:24:", "a text is wanted"},
        {"exporters:\n  otlphttp:\n    headers: {\"a b\": c}\n", ":3:", "not a header"},
        {"exporters:\n  otlphttp:\n    headers: {a: \"s3cret\\nx: y\"}\n", ":3:", "not a header"},
        {"exporters:\n  posthog:\n    api_key: ${file:/nowhere/key}\n",
         ":3:14:", "cannot read '/nowhere/key'"},
        {"exporters:\n  posthog:\n    api_key: ${file:/nowhere/key\n",
         ":3:14:", "${file: without }"},
        {"exporters:\n  posthog:\n    api_key: ${POSTHOG_API_KEY}\n",
         ":3:14:", "written ${env:POSTHOG_API_KEY}"},
        {"exporters:\n  posthog:\n    api_key: $POSTHOG_API_KEY\n",
         ":3:14:", "written ${env:POSTHOG_API_KEY}"},
        {"exporters:\n  otlphttp:\n    headers: {A: \"Bearer $(X)\"}\n",
         ":3:18:", "written ${env:X}"},
        {"batch:\n  max_age: ${env.AGE:-1s}\n", ":2:12:", "written ${env:AGE}"},
        {"batch:\n  max_age: ${AGE\n", ":2:12:", "written ${env:AGE}"},
        {"batch:\n  max_age: ${}\n", ":2:12:", "written ${env:NAME}"},
        {"exporters:\n  file: {path: ${s3cret}}\n", ":2:", ""},
        {"exporters:\n  file: {path: \"x${s3cret}\"}\n", ":2:16:", "written ${env:NAME}"},
        {"sampling:\n  stamps: [\"$(X)\"]\n", ":2:12:", "written ${env:X}"},
        {"sampling:\n  drop:\n    - {severity: \"${SEV}\"}\n", ":3:18:", "written ${env:SEV}"},
        {"exporters:\n  posthog:\n    api_key: \"{{ .Values.key }}\"\n",
         "exporters.posthog.api_key", "${env:NAME}"},
        {"exporters:\n  posthog:\n    api_key: phc_$$X\n", "exporters.posthog.api_key",
         "${env:NAME}"},
        {"exporters: {otlphttp: {endpoint: \"https://eu.posthog.com\"}}\n",
         "exporters.otlphttp.endpoint", "https://eu.i.posthog.com/i"},
        {"mode: watch\n", ":1:7:", "'watch' is not one of enforce, observe"},
        {"cost: {per_gb: -1}\n", ":1:16:", "'-1' is not a number, 0 or more"},
        {"sampling: {error_context: {trigger: LOUD}}\n", ":1:37:", "'LOUD' is not one of TRACE"},
        {"sampling:\n  stamps: [pattern, patterns]\n",
         ":2:21:", "'patterns' is not one or more of adjusted_count"},
        {"sampling:\n  stamps:\n    - pattern\n    - [reason]\n", ":4:7:", "a word is wanted"},
        {"sampling:\n  stamps: everything\n", ":2:11:", "'everything' is not"},
        {"sampling:\n  peer_weights: [a, b, c, d, e, f, g, h, i]\n",
         ":2:17:", "a list of up to 8 names"},
        {"sampling:\n  stamps: {pattern: true}\n", ":2:11:", "a single value"},
        {"sampling:\n  stamps: [\"${env:NOT_SET}\"]\n", ":2:12:", "NOT_SET is not set"},
        {"exporters:\n  posthog:\n    tls:\n      insecure_skip_verify: yes\n",
         ":4:29:", "'yes' is not one of true, false"},
        {"exporters:\n  refused_file_max_bytes: many\n", ":2:27:", "'many' is not"},
        {"policy:\n  tls: {ca: x}\n", ":2:9:", "ca"},
        {"exporters:\n  posthog:\n    api_key: [s3cret]\n", ":3:", "a list is not wanted"},
        {"durability: tape\n", ":1:13:", "'tape' is not one of memory, disk"},
        {"spool:\n  fsync: often\n", ":2:10:", "'often' is not one of always, interval, never"},
        {"spool:\n  when_full: shout\n", ":2:14:", "'shout' is not one of reject, drop_oldest"},
        {"spool:\n  max_bytes: lots\n", ":2:14:", "'lots' is not a size"},
        {"spool:\n  max_age: 24h\n", "spool.max_age", "less than 24h"},
        {"spool:\n  max_bytes: 1KiB\n", "spool.max_bytes", "at least 1MiB"},
        {"spool:\n  commit_delay: 2s\n", "spool.commit_delay", "from 0 to 1s"},
        {"spool:\n  commit_bytes: 1\n", "spool.commit_bytes", "from 4KiB"},
        {"spool:\n  fsync_interval: 1ms\n", "spool.fsync_interval", "from 10ms"},
        {"durability: disk\n", "spool.directory", "must be set with durability: disk"},
        {"durability: disk\nspool: {directory: /tmp, max_bytes: 4MiB}\nqueue: {errors_first: "
         "true}\n",
         "spool.max_bytes", "at least 8MiB with queue.errors_first"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config cfg;
        struct error err;
        int rc = load(&cfg, rows[i].yaml, NULL, NULL, &err);
        assert_row(rc == ERR_CONFIG, "%s: %d", rows[i].yaml, rc);
        assert_row(strstr(err.text, rows[i].at) != NULL, "%s-> %s", rows[i].yaml, err.text);
        assert_row(strstr(err.text, rows[i].says) != NULL, "%s-> %s", rows[i].yaml, err.text);
        assert_row(strstr(err.text, "s3cret") == NULL, "%s", err.text);
    }
}

static void references_to_the_environment(void **state)
{
    (void)state;
    char *env[] = {"X=one", "EMPTY=", "YAML={a: b}", "XY=two", NULL};
    static const struct {
        const char *text, *value;
    } rows[] = {
        {"${env:X}", "one"},
        {"a${env:X}b${env:XY}", "aonebtwo"},
        {"${env:NO:-d}", "d"},
        {"${env:EMPTY:-d}", "d"},
        {"${env:X:-d}", "one"},
        {"${env:NO:-}", ""},
        {"a${env:EMPTY}b", "ab"},
        {"$${env:X}", "${env:X}"},
        {"$$$$", "$$"},
        {"$X $${X}", "$X ${X}"},
        {"$$X", "$X"},
        {"$x", "$x"},
        {"$1", "$1"},
        {"a$X", "a$X"},
        {"${env:YAML}", "{a: b}"},
        {"${env:NO:-a:-b}", "a:-b"},
        {"100$", "100$"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config cfg;
        struct error err;
        char yaml[128];
        snprintf(yaml, sizeof yaml, "exporters: {file: {path: \"%s\"}}\n", rows[i].text);
        assert_row(load(&cfg, yaml, env, NULL, &err) == 0, "%s: %s", rows[i].text, err.text);
        assert_row(strcmp(cfg.file.path, rows[i].value) == 0, "%s: %s", rows[i].text,
                   cfg.file.path);
        config_done(&cfg);
    }
}

static void the_later_wins(void **state)
{
    (void)state;
    char *env[] = {"LIPSERVICE_BATCH_MAX_AGE=3s",
                   "LIPSERVICE_BATCH_MAX_RECORDS=30",
                   "LIPSERVICE_EXPORTERS_OTLPHTTP_LOGS_ENDPOINT=http://a/b",
                   "LIPSERVICE_TELEMETRY_LOG_LEVEL=",
                   "LIPSERVICE_SERVICE_PORT=tcp://1.2.3.4",
                   "OTEL_EXPORTER_OTLP_ENDPOINT=http://nowhere",
                   NULL};
    static const char *const sets[] = {
        "batch.max_age=4s", "sampling.severity_rates={WARNING: 0.25}",
        "sampling.first={count: 9, window: 2m}", "sampling.stamps=[reason]", NULL};
    struct config cfg;
    struct error err;
    assert_int_equal(load(&cfg,
                          "batch: {max_age: 2s, max_records: 20, max_bytes: 2MiB}\n"
                          "telemetry: {log: {level: warn}}\n",
                          env, sets, &err),
                     0);
    assert_int_equal(cfg.batch.max_age_ms, 4000);         /* --set over environment over file */
    assert_int_equal(cfg.batch.max_records, 30);          /* environment over file */
    assert_int_equal(cfg.batch.max_bytes, 2 << 20);       /* file over default */
    assert_int_equal(cfg.telemetry.log_level, DIAG_WARN); /* empty is absent */
    assert_string_equal(cfg.otlphttp.logs_endpoint, "http://a/b");
    assert_string_equal(cfg.otlphttp.endpoint, "");
    assert_int_equal(threshold(&cfg, 1, LEVEL_WARN), rules_threshold_of(0.25));
    assert_int_equal(rules_first(cfg.sampling.rules), 9);
    assert_int_equal(cfg.sampling.stamps, 1u << STAMP_REASON); /* a list replaces the list */
    config_done(&cfg);

    char *known[] = {"POSTHOG_PROJECT_TOKEN=phc_token", "POSTHOG_API_KEY=phc_key",
                     "POSTHOG_HOST=eu.posthog.com", NULL};
    assert_int_equal(load(&cfg, NULL, known, NULL, &err), 0);
    assert_string_equal(cfg.posthog.api_key, "phc_key");
    assert_string_equal(cfg.posthog.host, "eu.posthog.com");
    config_done(&cfg);

    char *bad[] = {"LIPSERVICE_BATCH_MAX_AGE=soon", NULL};
    assert_int_equal(load(&cfg, NULL, bad, NULL, &err), ERR_CONFIG);
    assert_non_null(strstr(err.text, "LIPSERVICE_BATCH_MAX_AGE"));
    char *low[] = {"LIPSERVICE_SAMPLING_SEVERITY_RATES_ERROR=0.5", NULL};
    assert_int_equal(load(&cfg, NULL, low, NULL, &err), ERR_CONFIG);
    assert_non_null(strstr(err.text, "errors are always kept"));
}

static void sets_that_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "batch.max_age",     "=1s",
        "batch.max_age=",    "nonsense=1",
        "nonsense=",         "sampling.stamps=[a]",
        "sampling.stamps=",  "sampling.stamps=all",
        "batch=5",           "sampling.keep=[{}]",
        "batch.max_age=[1]",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *const sets[] = {bad[i], NULL};
        struct config cfg;
        struct error err;
        assert_row(load(&cfg, NULL, NULL, sets, &err) == ERR_CONFIG, "%s", bad[i]);
        assert_row(err.text[0] != '\0', "%s", bad[i]);
    }
}

static void ranges_and_exporters(void **state)
{
    (void)state;
    static const struct {
        const char *set[3];
        bool good;
    } rows[] = {
        {{"batch.max_bytes=1023"}, false},
        {{"batch.max_bytes=1KiB"}, true},
        {{"batch.max_bytes=11MiB"}, false},
        {{"batch.max_records=0"}, false},
        {{"memory.limit=7MiB"}, false},
        {{"memory.limit=8MiB"}, true},
        {{"memory.limit=8MiB", "batch.max_bytes=4MiB"}, false}, /* could never seal a batch */
        {{"sampling.max_services=1"}, false},
        {{"sampling.first.window=0"}, false},
        {{"sampling.first.window=25h"}, false},
        {{"exporters.posthog.concurrency=33"}, false},
        {{"policy.refresh_interval=99ms"}, false},
        {{"events.interval=99ms"}, false},
        {{"events.interval=100ms", "events.summary_interval=100ms", "events.learning=1ms"}, true},
        {{"events.summary_interval=99ms"}, false},
        {{"events.learning=0"}, false},
        {{"events.max_per_minute=0"}, false},
        {{"events.max_per_minute=100001"}, false},
        {{"exporters.posthog.api_key=phc_x", "exporters.file.path=-"}, false},
        {{"exporters.posthog.api_key=phc_x", "exporters.otlphttp.endpoint=http://x"}, false},
        {{"exporters.otlphttp.logs_endpoint=http://x", "exporters.file.path=-"}, false},
        {{"exporters.posthog.api_key=phx_x"}, false},
        {{"exporters.posthog.api_key=phc_x", "exporters.posthog.host=ftp://x"}, false},
        /* A loop: what we send comes in again. */
        {{"exporters.otlphttp.endpoint=http://localhost:4318"}, false},
        {{"exporters.otlphttp.endpoint=http://LOCALHOST:4317/"}, false},
        {{"exporters.otlphttp.endpoint=http://127.0.0.1:4318/x"}, false},
        {{"exporters.otlphttp.endpoint=http://[::1]:4317"}, false},
        {{"exporters.otlphttp.endpoint=http://0.0.0.0:4317"}, false},
        {{"exporters.otlphttp.endpoint=http://user@localhost:4318"}, false},
        {{"exporters.otlphttp.endpoint=http://localhost:14318"}, true},
        {{"exporters.otlphttp.endpoint=http://localhost:431"}, true},
        {{"exporters.otlphttp.endpoint=http://localhost"}, true},
        {{"exporters.otlphttp.endpoint=http://collector:4318"}, true},
        {{"exporters.otlphttp.endpoint=http://127.0.0.1.example.com:4318"}, true},
        {{"exporters.otlphttp.logs_endpoint=http://localhost:4318/v1/logs"}, false},
        {{"exporters.otlphttp.endpoint=http://x",
          "exporters.otlphttp.traces_endpoint=http://localhost:4318/v1/traces"},
         false},
        {{"exporters.otlphttp.endpoint=http://localhost:4318",
          "receivers.otlp.protocols.http.endpoint=:5318"},
         true},
        {{"exporters.otlphttp.endpoint=http://localhost:5318",
          "receivers.otlp.protocols.http.endpoint=:5318"},
         false},
        {{"exporters.otlphttp.endpoint=http://localhost",
          "receivers.otlp.protocols.http.endpoint=:80"},
         false},
        {{"exporters.posthog.api_key=phc_x", "exporters.posthog.host=http://localhost:4318"},
         false},
        {{"exporters.posthog.api_key=phc_x", "exporters.posthog.host=localhost",
          "receivers.otlp.protocols.grpc.endpoint=:443"},
         false},
        {{"exporters.posthog.api_key=phc_x", "exporters.posthog.host=http://localhost:8000"}, true},
        {{"exporters.posthog.host=http://localhost:4318"}, true}, /* without a key it is not used */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config cfg;
        struct error err;
        const char *const sets[] = {rows[i].set[0], rows[i].set[1], rows[i].set[2], NULL};
        int rc = load(&cfg, NULL, NULL, sets, &err);
        assert_row((rc == 0) == rows[i].good, "%s %s: %s", rows[i].set[0],
                   rows[i].set[1] ? rows[i].set[1] : "", err.text);
        assert_row(rc == 0 || (rc == ERR_CONFIG && err.text[0] != '\0'), "%s", rows[i].set[0]);
        if (rc == 0)
            config_done(&cfg);
    }
}

#define FULL \
    "sampling:\n" \
    "  stamps: [threshold, \"adjusted_count\"]\n" \
    "  severity_rates: {warning: 0.123456789, NOTICE: 0.3, Critical: 1}\n" \
    "  pattern_rates:\n" \
    "    \"lps1:0123456789ABCDEF\": 0.1234567891\n" \
    "    \"lps1:00000000000000ff\": 0\n" \
    "  keep:\n" \
    "    - severity: [INFO, WARN]\n" \
    "      service: \"a\\\"b\\\\c*\"\n" \
    "    - body: \"two\\nlines $$ {x}\"\n" \
    "      attributes: {\"http.route\": \"/a \\\"q\\\"\", b: \"2\"}\n" \
    "  drop:\n" \
    "    - pattern: \"lps1:0123456789abcdef\"\n" \
    "    - {attributes: {k: v}}\n" \
    "exporters:\n" \
    "  otlphttp:\n" \
    "    endpoint: https://example.com\n" \
    "    headers: {Authorization: s3cret, X-A: b}\n" \
    "policy: {api_key: s3cret, server: \"http://p/\"}\n"

static void what_is_printed_is_the_same_again(void **state)
{
    (void)state;
    static const char *const sets[] = {
        "sampling.pattern_rates={\"lps1:0123456789abcdef\": 0.75}",
        "exporters.otlphttp.headers={x-a: other}",
        NULL,
    };
    struct config cfg, again;
    struct error err;
    struct buf first = {0}, second = {0};
    int rc = load(&cfg, FULL, NULL, sets, &err);
    assert_row(rc == 0, "%s", err.text);
    assert_int_equal(cfg.otlphttp.header_count, 2); /* the later replaced the first */
    assert_string_equal(cfg.otlphttp.headers[1], "x-a: other");
    assert_int_equal(config_print(&cfg, &first), 0);
    buf_append_byte(&first, 0);
    assert_null(strstr((char *)first.base, "s3cret"));
    rc = load(&again, (char *)first.base, NULL, NULL, &err);
    assert_row(rc == 0, "%s\n%s", err.text, (char *)first.base);
    assert_int_equal(config_print(&again, &second), 0);
    buf_append_byte(&second, 0);
    assert_string_equal((char *)first.base, (char *)second.base);

    assert_int_equal(threshold(&again, 0x0123456789abcdef, LEVEL_INFO), rules_threshold_of(0.75));
    assert_int_equal(threshold(&again, 0xff, LEVEL_INFO), RULES_REJECT_ALL);
    assert_int_equal(threshold(&again, 1, LEVEL_WARN), rules_threshold_of(0.123456789));
    assert_int_equal(threshold(&again, 1, LEVEL_INFO), rules_threshold_of(0.3));
    assert_int_equal(again.sampling.stamps, 1u << STAMP_THRESHOLD | 1u << STAMP_ADJUSTED_COUNT);
    unsigned count;
    const struct rules_matcher *m = rules_matchers(again.sampling.rules, true, &count);
    assert_int_equal(count, 2);
    assert_int_equal(m[0].levels, 1u << LEVEL_INFO | 1u << LEVEL_WARN);
    assert_true(span_eq(m[0].service, SPAN("a\"b\\c*")));
    assert_true(span_eq(m[1].body, SPAN("two\nlines $ {x}")));
    assert_int_equal(m[1].attributes, 2);
    assert_true(span_eq(m[1].attribute[0].value, SPAN("/a \"q\"")));
    m = rules_matchers(again.sampling.rules, false, &count);
    assert_int_equal(count, 2);
    assert_true(m[0].has_pattern && m[0].pattern == 0x0123456789abcdef);
    buf_done(&first);
    buf_done(&second);
    config_done(&cfg);
    config_done(&again);
}

static void empty_sections_are_the_defaults(void **state)
{
    (void)state;
    struct config cfg;
    struct error err;
    assert_int_equal(load(&cfg,
                          "receivers:\n  otlp:\n    protocols:\n      http:\nbatch: ~\n"
                          "sampling:\n  keep:\n  pattern_rates:\nexporters: null\n",
                          NULL, NULL, &err),
                     0);
    assert_string_equal(cfg.receiver.http_endpoint, "localhost:4318");
    config_done(&cfg);
    assert_int_equal(
        load(&cfg, "receivers: {otlp: {protocols: {http: {endpoint: }}}}\n", NULL, NULL, &err), 0);
    assert_string_equal(cfg.receiver.http_endpoint, ""); /* said to be nothing: not at all */
    config_done(&cfg);
    struct config_input in = {.file = "/nonexistent"};
    assert_int_equal(config_load(&cfg, &in, &err), ERR_CONFIG);
    assert_non_null(strstr(err.text, "/nonexistent"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_are_a_configuration),
        cmocka_unit_test(values),
        cmocka_unit_test(what_is_refused_and_where),
        cmocka_unit_test(references_to_the_environment),
        cmocka_unit_test(the_later_wins),
        cmocka_unit_test(sets_that_are_refused),
        cmocka_unit_test(ranges_and_exporters),
        cmocka_unit_test(what_is_printed_is_the_same_again),
        cmocka_unit_test(empty_sections_are_the_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
