/*
 * api: the server's HTTP: a table of routes, and what each request goes through.
 *
 *     head      route (404, 405), key (401), role (403), rate (429), media type (415)
 *     request   body to JSON (422), then its handler: on the loop, or on the worker's thread
 *     answer    JSON; errors as {"detail": "..."}
 *
 * A handler returns the status and has written the answer to call->out. On the worker's thread it
 * sees the database, the call, and what of the server never changes (settings); what has to change
 * on the loop it leaves in call->change for call->after.
 *
 * Limits     API_LINE_PER_KEY requests of one key wait for the database at once; answers are of
 *            API_ANSWER_BYTES at most.
 */
#pragma once

#include "otlp/json_doc.h"
#include "server/report_body.h"
#include "server/server_state.h"
#include "util/json.h"

#define API_LINE_PER_KEY 8
#define API_ANSWER_BYTES ((size_t)1 << 20)
#define API_PARAMS 2
#define API_PARAM_BYTES 256
#define API_PAGE_MOST 1000 /* rows of one answer */

struct call;
struct analysis;

typedef int api_handler(struct call *c);

struct route {
    enum http_method method;
    const char *path;     /* "/api/v1/policies/{service_name}/history" */
    unsigned roles;       /* bits; 0: no key is asked for */
    api_handler *on_loop; /* either of the two; 0: it answers later */
    int (*on_store)(struct call *c, struct store *s);
    const char *content_type; /* NULL: JSON */
    bool has_body;
    bool is_sync; /* a message of policy sync, as JSON or protobuf, and so is the answer */
};

/* Its end has path NULL. */
extern const struct route api_routes[];

/* A request for a policy that waits: server/poll.h. */
struct waiter {
    struct list link; /* of its service, or of those whose service is not known */
    struct list all;  /* of all that wait, or of those that are woken */
    uint64_t until_ms;
    bool is_waiting;
};

struct call {
    struct work work;
    struct server *server;
    struct http_exchange *x; /* NULL: its client has left */
    const struct route *route;
    struct key *key;                         /* NULL: a route without */
    char param[API_PARAMS][API_PARAM_BYTES]; /* of the path, decoded */
    char *query;                             /* a copy, because x may go */
    char *match;                             /* of is_sync: If-None-Match, likewise; may be NULL */
    bool is_protobuf;                        /* the body was, and the answer is to be */
    struct buf body;
    struct json_doc *doc;
    struct json_node root; /* of the body */
    int64_t now_ms;
    struct buf out;
    int status;
    char etag[48];            /* "": none */
    const char *content_type; /* NULL: the route's */
    bool is_wait_known;       /* Preference-Applied: wait */
    uint32_t retry_s;         /* Retry-After; 0: none */
    struct {
        int64_t id, version, ends_ms;
        struct key key;
        struct buf text;
    } change;                      /* for after() */
    struct analysis *analysis;     /* server/analyst.h; NULL: no model is asked */
    void (*next)(struct call *c);  /* on the loop, where a handler on the worker's thread returns 0:
                                    * it is not done, and runs again after api_resume() */
    void (*after)(struct call *c); /* on the loop, where the status is below 300 */
    bool is_charged;               /* API_ANSWER_BYTES */
    struct waiter waiter;
    struct receipt receipt;
    struct sender *sender;
    struct service *service;
    struct report_body report;
};

/* ---- for handlers ---- */

/* {"detail": "..."}; returns the status. */
int api_detail(struct call *c, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The status of a failure of the database. */
int api_store_failed(struct call *c, int rc);

/* The rows of a question as a list, each as `write` puts it: 200, or api_store_failed(). */
int api_list(struct call *c, struct store *s, const char *sql, const struct store_value *v,
             unsigned n, store_row_fn *write);

/* Whole numbers of the query; absent: `otherwise`. False: *status is the answer. */
bool api_query_number(struct call *c, const char *name, int64_t least, int64_t most,
                      int64_t otherwise, int64_t *out, int *status);
bool api_query_flag(struct call *c, const char *name);

/* The parameter of the path is a whole number from 1; else 422. */
bool api_param_number(struct call *c, unsigned at, int64_t *out, int *status);

/* The service that the path names, of the key's team. 0: found; else the answer's status. */
MUST_CHECK int api_find_service(struct call *c, struct store *s, int64_t *id);

/* A row of the audit log, in the transaction of what it is about. */
MUST_CHECK int api_audit(struct call *c, struct store *s, const char *action, struct span subject,
                         struct span detail);

/* "2026-11-30T21:00:00.000Z" as a member. */
void api_time(struct json *j, const char *key, int64_t unix_ms);

/* ---- for what answers later ---- */

/* Run the call's handler once more on the worker's thread. */
void api_resume(struct call *c);

/* Send c->out with c->status, and end the call. */
void api_answer(struct call *c);

/* ---- the page for people ---- */

/* A file of the page, or with "Accept: text/html" the page itself. Returns the status of the answer
 * that was sent; 0: it is none of these. */
int api_page_serve(struct server *s, struct http_exchange *x);
bool api_page_wants_fields(struct span target); /* for http_service.passes_on */

/* ---- handlers ---- */

api_handler page_root, page_health, page_ready, page_metrics, page_openapi;
api_handler intake_report;
api_handler poll_policy;
api_handler api_me;
int api_totals(struct call *c, struct store *s);
int services_list(struct call *c, struct store *s);
int services_create(struct call *c, struct store *s);
int services_get(struct call *c, struct store *s);
int api_policy_put(struct call *c, struct store *s);
int api_policy_history(struct call *c, struct store *s);
int api_policy_version(struct call *c, struct store *s);
int api_policy_diff(struct call *c, struct store *s);
int api_policy_rollback(struct call *c, struct store *s);
int api_policy_activate(struct call *c, struct store *s);
int patterns_list(struct call *c, struct store *s);
int patterns_of_service(struct call *c, struct store *s);
int patterns_sampling(struct call *c, struct store *s);
int savings_of_service(struct call *c, struct store *s);
int savings_of_team(struct call *c, struct store *s);
int analysis_analyze(struct call *c, struct store *s);
int analysis_generate(struct call *c, struct store *s);
int analysis_anomalies(struct call *c, struct store *s);
int teams_list(struct call *c, struct store *s);
int teams_create(struct call *c, struct store *s);
int keys_list(struct call *c, struct store *s);
int keys_create(struct call *c, struct store *s);
int keys_rotate(struct call *c, struct store *s);
int keys_end(struct call *c, struct store *s);
int audit_list(struct call *c, struct store *s);
int webhooks_list(struct call *c, struct store *s);
int webhooks_create(struct call *c, struct store *s);
int webhooks_delete(struct call *c, struct store *s);
int api_tero_get(struct call *c, struct store *s);
int api_tero_put(struct call *c, struct store *s);
int api_tero_statuses(struct call *c, struct store *s);
int api_tero_sync(struct call *c, struct store *s);
int alerts_list(struct call *c, struct store *s);
int alerts_acknowledge(struct call *c, struct store *s);
int alerts_resolve(struct call *c, struct store *s);
