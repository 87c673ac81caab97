/* refusal: tables. */
#include "receiver/refusal.h"

#include <string.h>
#include <uv.h>

#include "otlp/grpc.h"
#include "util/err.h"

/* clang-format off */
/* What each refusal says in HTTP and in gRPC. OTLP: only 429, 502, 503, 504 and
 * UNAVAILABLE are sent again by a client. */
static const struct refusal_text refusals[] = {
    [REFUSED_PATH]      = {404, GRPC_UNIMPLEMENTED,      "no such path; logs go to /v1/logs, traces to /v1/traces, metrics to /v1/metrics"},
    [REFUSED_METHOD]    = {405, GRPC_UNIMPLEMENTED,      "use POST"},
    [REFUSED_TYPE]      = {415, GRPC_INVALID_ARGUMENT,   "the content type must be application/x-protobuf or application/json, or application/grpc over HTTP/2"},
    [REFUSED_SUBTYPE]   = {415, GRPC_UNIMPLEMENTED,      "messages of gRPC are taken as protobuf: application/grpc or application/grpc+proto"},
    [REFUSED_CODING]    = {415, GRPC_UNIMPLEMENTED,      "the content encoding must be gzip, deflate, zstd or none"},
    [REFUSED_DISABLED]  = {404, GRPC_UNIMPLEMENTED,      "this signal is refused by the configuration (passthrough)"},
    [REFUSED_MALFORMED] = {400, GRPC_INVALID_ARGUMENT,   "the body is not a sound request"},
    [REFUSED_UTF8]      = {400, GRPC_INVALID_ARGUMENT,   "a string in the request is not UTF-8"},
    [REFUSED_DEPTH]     = {400, GRPC_INVALID_ARGUMENT,   "values are nested more than 100 deep"},
    [REFUSED_FRAMING]   = {400, GRPC_INTERNAL,           "the gRPC message is not framed as the protocol asks"},
    [REFUSED_TOO_BIG]   = {413, GRPC_RESOURCE_EXHAUSTED, "the request is larger than receivers.otlp.max_request_size, or than queue and memory could ever hold"},
    [REFUSED_FULL]      = {503, GRPC_UNAVAILABLE,        "no room for this request now; try again later"},
    [REFUSED_DISK]      = {503, GRPC_UNAVAILABLE,        "the request could not be stored on disk; try again later"},
    [REFUSED_ENDED]     = {503, GRPC_UNAVAILABLE,        "this process ends; try again later"},
    [REFUSED_HOST]      = {403, GRPC_PERMISSION_DENIED,  "this port is for local use: the Host is neither an address nor localhost, and not in receivers.otlp.allowed_hosts"},
    [REFUSED_NO_AUTH]   = {401, GRPC_UNAUTHENTICATED,    "a key is expected: as x-api-key, or as Authorization: Bearer (receivers.otlp.auth)"},
    [REFUSED_WRONG_AUTH] = {401, GRPC_UNAUTHENTICATED,   "this key is not one of those that may send (receivers.otlp.auth)"},
    [REFUSED_BAD_TIMEOUT] = {400, GRPC_INVALID_ARGUMENT, "grpc-timeout is not one to eight digits and a unit of H, M, S, m, u, n"},
    [REFUSED_HEALTH_NAME] = {404, GRPC_NOT_FOUND,        "no service of this name is served here"},
    [REFUSED_KEY]       = {401, GRPC_UNAUTHENTICATED,    "a project key is expected: as Authorization: Bearer, or as ?token=, of up to 64 printable characters"},
    [REFUSED_TIMEOUT]   = {408, GRPC_DEADLINE_EXCEEDED,  "the request did not arrive in time"},
};
/* clang-format on */

const struct refusal_text *refusal_text(enum refusal r)
{
    return &refusals[r];
}

const char *refusal_name(enum refusal r)
{
    static const char *const names[] = {
#define X(name, text) [REFUSED_##name] = text,
        REFUSALS(X)
#undef X
    };
    return names[r];
}

enum refusal refusal_of(int err)
{
    static const struct {
        int err;
        enum refusal refusal;
    } table[] = {
        {ERR_MALFORMED, REFUSED_MALFORMED},
        {ERR_MORE, REFUSED_MALFORMED},
        {ERR_UTF8, REFUSED_UTF8},
        {ERR_TOO_DEEP, REFUSED_DEPTH},
        {ERR_TOO_BIG, REFUSED_TOO_BIG},
        {ERR_FULL, REFUSED_FULL},
        {ERR_NOMEM, REFUSED_FULL},
        {ERR_UNSUPPORTED, REFUSED_CODING},
        {ERR_IO, REFUSED_DISK},
        {ERR_DISK_FULL, REFUSED_DISK},
        {UV_ETIMEDOUT, REFUSED_TIMEOUT},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].err == err)
            return table[i].refusal;
    return REFUSED_MALFORMED;
}

const char *refusal_hint(struct span path)
{
    static const char *const names[] = {"/batch",  "/flags",  "/e",     "/i/v0",
                                        "/array",  "/decide", "/s",     "/capture",
                                        "/engage", "/track",  "/static"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        size_t n = strlen(names[i]);
        if (span_starts(path, span_str(names[i])) && (path.len == n || path.base[n] == '/'))
            return "only OpenTelemetry is taken here; events, flags and recordings go to PostHog "
                   "itself: set the host of the PostHog SDK to https://us.i.posthog.com or "
                   "https://eu.i.posthog.com";
    }
    return NULL;
}
