/* sidecar_limit_table: what anybody may make the program hold or do, and what happens beyond. */
#include "config/options.h"
#include "net/client.h"
#include "net/coding.h"
#include "net/head.h"
#include "net/http1_framing.h"
#include "net/http2_flood.h"
#include "net/tls.h"
#include "otlp/logs.h"
#include "otlp/mend.h"
#include "policy/document.h"
#include "receiver/auth.h"
#include "receiver/decode_pool.h"
#include "receiver/health.h"
#include "sidecar/sidecar_state.h"
#include "sidecar/state_file.h"

enum unit { BYTES, MS, COUNT, PER_S };
static const char *const units[] = {"bytes", "ms", "", "per s"};

/* A limit is a constant, a default of struct http_service, or a setting. */
struct limit {
    const char *name; /* tests/e2e/limits.test.mjs tries those that it knows by it */
    const char *setting;
    uint64_t value;
    enum unit unit;
    const char *beyond, *counted; /* what happens, and as what */
};

#define FAULT(reason) "http_faults: " reason
#define REFUSED(reason) "receiver_refused_requests: " reason

/* clang-format off */
#define CONSTANT(name, value, unit, beyond, counted) {name, NULL, value, unit, beyond, counted}
#define SETTING(name, key, beyond, counted) {name, key, 0, COUNT, beyond, counted}

static void write_rows(struct buf *out, void (*row)(struct buf *out, const struct limit *l))
{
    struct http_service s;
    http_service_init(&s);
    const struct limit limits[] = {
        SETTING("memory", "memory.limit", "the slowest body, or the connection that waits longest, gives way; else 503 or UNAVAILABLE", "memory_refused"),
        SETTING("connections of an OTLP port", "receivers.otlp.max_connections", "the one that is idle for longest is closed, or the new one", FAULT("too_many_connections")),
        CONSTANT("connections of a page port", PAGE_CONNECTIONS, COUNT, "the same", ""),
        CONSTANT("streams of a connection", s.max_streams, COUNT, "REFUSED_STREAM", ""),
        CONSTANT("request target", HTTP_TARGET_BYTES, BYTES, "414, closed", FAULT("head_too_large")),
        CONSTANT("head", s.max_head_bytes, BYTES, "431; a list of HTTP/2 of eight times that: GOAWAY", FAULT("head_too_large")),
        CONSTANT("header fields", HEAD_FIELDS_MAX, COUNT, "431", FAULT("head_too_large")),
        SETTING("body", "receivers.otlp.max_request_size", "413 or RESOURCE_EXHAUSTED, from the head where that says so", REFUSED("too_large")),
        SETTING("body, inflated", "receivers.otlp.max_request_size", "the same, as soon as so much has come out", REFUSED("too_large")),
        CONSTANT("body of a question to a page", PAGE_BODY_BYTES, BYTES, "413", ""),
        CONSTANT("chunk extensions and trailers, with line ends", CHUNKED_EXTRA_BYTES, BYTES, "400, closed", FAULT("bad_request")),
        CONSTANT("trailer fields", CHUNKED_TRAILERS_MAX, COUNT, "400, closed", FAULT("bad_request")),
        CONSTANT("bytes of a request to PostHog that wait", HTTP_PIPE_BYTES, BYTES, "no more is read until PostHog takes some", ""),
        CONSTANT("calls to PostHog at once", PROXY_CALLS_MAX, COUNT, "503, to come again", ""),
        CONSTANT("silence of an answer of PostHog's that has begun", PROXY_SILENT_MS, MS, "cut: the connection is closed, or the stream is reset", ""),
        CONSTANT("framing of a chunked body, times its length", HTTP_FRAMING_RATIO, COUNT, "400, closed", FAULT("bad_request")),
        CONSTANT("rest of a body after an early answer", HTTP_SKIP_BYTES, BYTES, "closed", ""),
        CONSTANT("answers that wait", HTTP_OUT_HIGH_BYTES, BYTES, "nothing more is read, or made", ""),
        CONSTANT("readers of /api/events", FEED_READERS_MAX, COUNT, "503; the page asks from time to time instead", ""),
        CONSTANT("pieces of a stream that wait", HTTP_STREAM_BYTES, BYTES, "pieces of a tap are left out, and counted in it; of an answer of PostHog's no more is read", ""),
        CONSTANT("first byte of a connection", s.silent_timeout_ms, MS, "closed", ""),
        CONSTANT("head, from its first byte", s.head_timeout_ms, MS, "408, closed", FAULT("timeout")),
        CONSTANT("handshake of TLS", s.head_timeout_ms, MS, "closed", FAULT("timeout")),
        CONSTANT("window in which a body makes progress", s.body_timeout_ms, MS, "408 or DEADLINE_EXCEEDED", REFUSED("timeout")),
        CONSTANT("progress of a body", HTTP_BODY_MIN_BYTES_PER_S, PER_S, "the same", REFUSED("timeout")),
        CONSTANT("connection without a request", s.idle_timeout_ms, MS, "closed, GOAWAY", ""),
        CONSTANT("answer that is not read", s.write_timeout_ms, MS, "closed, or the stream is reset", FAULT("timeout")),
        CONSTANT("closed connection that goes on sending", STREAM_LINGER_MS, MS, "reset", ""),
        CONSTANT("message of a TLS handshake", TLS_MESSAGE_BYTES, BYTES, "closed", FAULT("flood")),
        CONSTANT("records of a TLS handshake", TLS_HANDSHAKE_RECORDS, COUNT, "closed", FAULT("flood")),
        CONSTANT("TLS records in a row that carry nothing", TLS_EMPTY_RECORDS, COUNT, "closed", FAULT("flood")),
        CONSTANT("certificates of a TLS client", TLS_CLIENT_CHAIN_BYTES, BYTES, "an alert", FAULT("tls_handshake")),
#define X(name, per_s, burst) CONSTANT("HTTP/2 frames at once: " #name, burst, COUNT, "GOAWAY, ENHANCE_YOUR_CALM; " #per_s " more each second", FAULT("flood")),
        FLOODS(X)
#undef X
        CONSTANT("members of a gzip body", CODING_GZIP_MEMBERS, COUNT, "400", REFUSED("malformed")),
        CONSTANT("messages and values inside each other", LOGS_MAX_DEPTH, COUNT, "the record is left out, or 400", REFUSED("malformed")),
        CONSTANT("growth of a request by U+FFFD", MEND_GROWTH_BYTES, BYTES, "400", REFUSED("malformed")),
        CONSTANT("body that is decoded on the loop", DECODE_HERE_BYTES, BYTES, "it is decoded on the thread pool", ""),
        CONSTANT("bodies decoded in one turn of the loop", DECODE_TURN_BYTES, BYTES, "others wait for the thread pool", ""),
        CONSTANT("bodies that wait for the thread pool", DECODE_WAITING_MAX, COUNT, "503 or UNAVAILABLE", REFUSED("full")),
        CONSTANT("calls of grpc.health.v1.Health/Watch", HEALTH_WATCHERS_MAX, COUNT, "UNAVAILABLE", ""),
        SETTING("services counted apart", "sampling.max_services", "they are counted together, as others", "services"),
        SETTING("patterns counted apart", "sampling.max_patterns", "the ones seen longest ago give way; no count is lost", "patterns"),
        SETTING("patterns of a service", "sampling.max_patterns_per_service", "new ones are counted as lps1:overflow", ""),
        SETTING("error context", "sampling.error_context.bytes", "the oldest records go", ""),
        SETTING("history", "history.memory", "sparks of the quietest patterns go, then what is new is left out", ""),
        CONSTANT("services in the history", HISTORY_SERVICES, COUNT, "the quieter ones are counted together", ""),
        CONSTANT("lines of a pattern that are held, of each kind", SAMPLES_EACH, COUNT, "the oldest one goes", ""),
        CONSTANT("such a line", SAMPLE_BYTES, BYTES, "cut", ""),
        CONSTANT("versions of the policy", VERSIONS_MAX, COUNT, "the oldest that is not in force goes", "policy_versions"),
        CONSTANT("their documents", VERSIONS_BYTES, BYTES, "the same", ""),
        CONSTANT("state file", STATE_BYTES, BYTES, "it is not written, or put aside", "state_writes"),
        SETTING("queue", "queue.max_bytes", "sampled harder, then 503 or UNAVAILABLE", REFUSED("full")),
        SETTING("spool", "spool.max_bytes", "503 or UNAVAILABLE, or the oldest records go (spool.when_full)", REFUSED("full")),
        CONSTANT("answer of the upstream", CLIENT_ANSWER_BYTES, BYTES, "the rest is not read", ""),
        CONSTANT("head of that answer", CLIENT_HEAD_BYTES, BYTES, "no answer: sent again", "exporter_failures"),
        CONSTANT("policy document", POLICY_DOCUMENT_BYTES, BYTES, "refused, the last good one stays", "policy_fetches"),
        CONSTANT("configuration file", CONFIG_FILE_BYTES, BYTES, "no start; the last good one stays", "config_reloads"),
        CONSTANT("file of keys", AUTH_FILE_BYTES, BYTES, "no start; the last good one stays", "receiver_keys_file_loads"),
        CONSTANT("keys in it", AUTH_KEYS_MAX, COUNT, "the same", "receiver_keys_file_loads"),
        CONSTANT("file of a certificate", TLS_FILE_BYTES, BYTES, "no start; the last good one stays", "tls_certificate_loads"),
    };
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        row(out, &limits[i]);
}
/* clang-format on */

static void write_value(struct buf *out, const struct limit *l)
{
    if (l->setting != NULL)
        buf_append_str(out, option_find(l->setting)->fallback);
    else
        buf_printf(out, "%llu", (unsigned long long)l->value);
}

static void write_cells(struct buf *out, const struct limit *l)
{
    buf_printf(out, "| %s |", l->name);
    if (l->setting != NULL)
        buf_printf(out, " `%s`,", l->setting);
    buf_append_byte(out, ' ');
    write_value(out, l);
    if (l->setting == NULL && units[l->unit][0] != '\0')
        buf_printf(out, " %s", units[l->unit]);
    buf_printf(out, " | %s | %s |\n", l->beyond, l->counted[0] != '\0' ? l->counted : "–");
}

void sidecar_write_limits_markdown(struct buf *out)
{
    buf_append_str(out, "| limit | default | beyond it | counted as |\n|---|---|---|---|\n");
    write_rows(out, write_cells);
}

static void write_line(struct buf *out, const struct limit *l)
{
    buf_printf(out, "%s\t", l->name);
    write_value(out, l);
    buf_printf(out, "\t%s\t%s\t%s\n", l->setting != NULL ? l->setting : units[l->unit], l->beyond,
               l->counted);
}

void sidecar_write_limits(struct buf *out)
{
    write_rows(out, write_line);
}
