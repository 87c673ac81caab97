/* refusal: why requests are refused, and what their clients are told. */
#pragma once

#include "util/span.h"

/* clang-format off */
/* Why a request was refused. */
#define REFUSALS(X) \
    X(PATH,        "unknown_path") \
    X(METHOD,      "method") \
    X(TYPE,        "content_type") \
    X(CODING,      "content_encoding") \
    X(DISABLED,    "signal_refused") \
    X(MALFORMED,   "malformed") \
    X(UTF8,        "not_utf8") \
    X(DEPTH,       "too_deep") \
    X(FRAMING,     "grpc_framing") \
    X(TOO_BIG,     "too_large") \
    X(FULL,        "full") \
    X(DISK,        "not_stored") \
    X(ENDED,       "ended") \
    X(TIMEOUT,     "timeout") \
    X(KEY,         "key") \
    X(HOST,        "host") \
    X(NO_AUTH,     "auth_missing") \
    X(WRONG_AUTH,  "auth_wrong") \
    X(SUBTYPE,     "grpc_subtype") \
    X(BAD_TIMEOUT, "grpc_timeout") \
    X(HEALTH_NAME, "health_service")
/* clang-format on */

#define X(name, text) REFUSED_##name,
enum refusal { REFUSALS(X) REFUSAL_COUNT };
#undef X

const char *refusal_name(enum refusal r);

struct refusal_text {
    int http_status, code; /* enum grpc_status */
    const char *message;
};

const struct refusal_text *refusal_text(enum refusal r);

/* Of an error code. */
enum refusal refusal_of(int err);

/* Paths of PostHog that its SDKs ask for; whoever sends them here has set the SDK's host to this
 * port. What is behind the name may follow: /array/KEY/config.js. NULL: another path. */
const char *refusal_hint(struct span path);
