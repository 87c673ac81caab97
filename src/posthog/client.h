/*
 * client: requests to PostHog's app API, which is another host than the one that takes logs, and
 * asks for another key.
 *
 * The personal API key goes to that host alone: redirects are not followed, and where an answer
 * repeats the key it is overwritten. No more than APP_PER_MINUTE requests a minute and APP_AT_ONCE
 * at once leave; others wait their turn. A 429 holds all back for as long as its Retry-After says,
 * and is asked again where that is no longer than the patience. Nothing else is repeated.
 *
 * Whatever comes back is one of the faults below with one sentence and one remedy, or APP_FINE.
 *
 * Units      milliseconds, bytes.
 * Ownership  a request is copied; an answer is borrowed for the time of done().
 * Blocking   never. Works on any loop: the sidecar's, or one that a command runs itself.
 */
#pragma once

#include <stdint.h>
#include <uv.h>

#include "net/route.h"
#include "otlp/json_doc.h"
#include "util/budget.h"
#include "util/clock.h"
#include "util/err.h"

#define APP_PER_MINUTE 480       /* PostHog's own limit for a key */
#define APP_AT_ONCE 3            /* of queries; so that one process is one modest guest, of all */
#define APP_ANSWER_BYTES 262144  /* of an answer, unless the request says otherwise */
#define APP_TIMEOUT_MS 60000     /* a query may wait 30 s for its turn there, and run 10 s */
#define APP_WAITING_MAX 256      /* requests that wait their turn */
#define APP_PAUSE_MAX_MS 3600000 /* whatever a Retry-After says */
#define APP_BASE_BYTES 1024      /* a URL */
#define APP_ID_NONE 0

/* clang-format off */
#define APP_FAULTS(X) \
    /* name        word in JSON and metrics */ \
    X(FINE,        "fine") \
    X(UNREACHABLE, "unreachable")  /* no connection */ \
    X(SILENT,      "no_answer")    /* a connection, and no answer in time, or it broke off */ \
    X(UNTRUSTED,   "untrusted")    /* TLS */ \
    X(ELSEWHERE,   "redirected")   /* 3xx */ \
    X(BAD_KEY,     "unknown_key")  /* 401 */ \
    X(NO_SCOPE,    "missing_scope") \
    X(FORBIDDEN,   "forbidden")    /* 403 for another reason */ \
    X(NOT_FOUND,   "not_found") \
    X(THROTTLED,   "throttled")    /* 429, for longer than the patience */ \
    X(REFUSED,     "refused")      /* any other 4xx */ \
    X(BROKEN,      "server_error") /* 5xx */ \
    X(NOT_JSON,    "not_json")     /* a page for people, for example */ \
    X(TOO_LONG,    "too_long") \
    X(NO_ROOM,     "no_memory")    /* here */
/* clang-format on */

#define X(name, word) APP_##name,
enum app_fault { APP_FAULTS(X) APP_FAULT_COUNT };
#undef X

const char *app_fault_word(enum app_fault fault);

struct app;
struct app_call;

struct app_opts {
    const char *host;     /* "https://us.posthog.com", as posthog_app_url() gives it; copied */
    const char *key;      /* personal API key; copied */
    uint32_t project_id;  /* APP_ID_NONE: app_set_project() says later */
    uint32_t patience_ms; /* of one request, for all of the waits that a 429 asks for */
    struct route route;   /* copied */
    const struct clock *clock;
    struct budget *budget; /* of answers and bodies; may be NULL */
};

struct app_answer {
    enum app_fault fault;
    int status;            /* 0: none came */
    struct json_node root; /* of a JSON answer of any status; nothing where there is no body */
    struct json_doc **doc; /* what root stands in; who sets it to NULL has to free it */
    uint64_t retry_after_ms;
    const char *scope;  /* APP_NO_SCOPE: "logs:read"; else "" */
    const char *text;   /* one sentence without a full stop; "" when all is fine */
    const char *remedy; /* likewise */
};

struct app_request {
    const char *method;
    /* Begins with a slash: below the host; else below /api/projects/ID/. With its query. */
    const char *path;
    struct span body;        /* JSON; empty: none */
    size_t max_answer_bytes; /* 0: APP_ANSWER_BYTES */
    uint32_t timeout_ms;     /* 0: APP_TIMEOUT_MS */
    void *ctx;
    void (*done)(void *ctx, const struct app_answer *answer);
};

MUST_CHECK int app_open(struct app **out, uv_loop_t *loop, const struct app_opts *opts);

/* Cancel all (without calling done) and free; handles close with the following turns of the
 * loop. Not from inside a done(). Accepts NULL. */
void app_close(struct app *app);

/* done() is called once, never from inside. ERR_FULL: too many wait. */
MUST_CHECK int app_send(struct app *app, const struct app_request *r, struct app_call **out);

/* Forget it: done() will not be called. Not from inside a done(). */
void app_cancel(struct app_call *call);

void app_set_project(struct app *app, uint32_t id);
uint32_t app_project(const struct app *app);

/* "https://us.posthog.com" */
const char *app_host(const struct app *app);

/* Requests that were made, by what became of them. */
const uint64_t *app_counts(const struct app *app); /* [APP_FAULT_COUNT] */
