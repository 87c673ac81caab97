/* receiver_logs: a whole request of logs, until it is in the pipeline. */
#include <string.h>

#include "otlp/logs_service.h"
#include "pipeline/join.h"
#include "receiver/receiver_state.h"
#include "util/diag.h"

#define PART_RECORDS \
    4096                /* of a request that was decoded elsewhere: two milliseconds, as a rule \
                         */
#define ARENA_FACTOR 17 /* of the request's size: two bytes can be a ResourceLogs to pad */

/* Taken as OTLP asks, since what is unknown is no fault; but of nothing in it came a record. */
static void warn_not_otlp(struct receiver *r, const struct http_exchange *x)
{
    struct call *call = x->user;
    char agent[DIAG_QUOTE_BYTES], path[DIAG_QUOTE_BYTES];
    call->warning = "no log records in this body: OTLP/JSON has them in "
                    "resourceLogs[].scopeLogs[].logRecords[]";
    metric_inc(&r->stats.not_otlp);
    diag(DIAG_WARN, "request_not_otlp", call->warning, "path=%s agent=%s",
         diag_quote(path, receiver_plain_path(x->head.path)),
         diag_quote(agent, x->head.user_agent));
}

/* Some of its records could not be taken: who sent them, and what was wrong. */
static void warn_rejected(struct http_exchange *x, const struct logs_mended *mended,
                          const struct logs_count *count)
{
    struct call *call = x->user;
    char agent[DIAG_QUOTE_BYTES], path[DIAG_QUOTE_BYTES];
    struct error text;
    err_set(&text, 0, "%llu of %llu log records refused; the first: %s",
            (unsigned long long)mended->rejected,
            (unsigned long long)mended->rejected + count->records, mended->first.text);
    size_t bytes = strlen(text.text) + 1;
    char *kept = arena_alloc(&x->arena, bytes);
    if (kept != NULL)
        memcpy(kept, text.text, bytes);
    call->warning = kept != NULL ? kept : "log records refused";
    call->rejected = mended->rejected;
    diag(DIAG_WARN, "records_refused", text.text, "path=%s agent=%s",
         diag_quote(path, receiver_plain_path(x->head.path)),
         diag_quote(agent, x->head.user_agent));
}

/* Where that is asked for: lines of a trace that stand side by side become one record. Without
 * memory for it they stay what they are. */
static void join(struct receiver *r, struct span *request, struct logs_count *count,
                 struct logs_mended *joined)
{
    int rc = r->opts.joins ? logs_join(*request, &r->joined, count, joined) : 0;
    if (rc > 0)
        *request = buf_span(&r->joined);
    if (rc < 0)
        logs_mended_done(joined);
}

/* The records are of the service that the client's key names. */
static int set_owner(struct receiver *r, struct span *request, struct span service)
{
    if (service.len == 0)
        return 0;
    int rc = logs_set_service(*request, service, &r->owned);
    *request = buf_span(&r->owned);
    return rc;
}

/* Before its records enter: what its client is to know, and what is to change in it. */
static int prepare(struct receiver *r, struct http_exchange *x, struct decode_logs *logs,
                   struct logs_mended *joined)
{
    const struct call *call = x->user;
    int rc = set_owner(r, &logs->request, call->pass.service);
    if (rc < 0)
        return rc;
    if (logs->has_nothing)
        warn_not_otlp(r, x);
    if (logs->mended.rejected > 0)
        warn_rejected(x, &logs->mended, &logs->count);
    join(r, &logs->request, &logs->count, joined);
    return 0;
}

/* 1: there is more. */
static int push(struct receiver *r, struct http_exchange *x, struct decode_logs *logs,
                struct pipeline_part *part)
{
    const struct call *call = x->user;
    r->arena.max_bytes = ARENA_FACTOR * logs->request.len + ARENA_EXTRA_BYTES;
    int rc = pipeline_push_part(r->opts.pipeline, logs->request, call->pass.upstream_key, &r->arena,
                                &logs->count, part);
    arena_reset(&r->arena);
    return rc;
}

/* Behind the records. Lines that were joined to a record that is not taken are not taken. */
static void settle(struct receiver *r, struct decode_logs *logs, struct logs_mended *joined, int rc)
{
    pipeline_set_aside(r->opts.pipeline, logs->request, joined,
                       rc < 0 ? VERDICT_REJECTED : VERDICT_JOINED);
    pipeline_set_aside(r->opts.pipeline, logs->request, &logs->mended, VERDICT_REJECTED);
    for (int i = 0; i < REPAIR_COUNT; i++)
        metric_add(&r->stats.repairs[i], logs->mended.repairs[i]);
}

/* Sound records into the pipeline, all in this turn. */
static int enter(struct receiver *r, struct http_exchange *x, struct decode_logs *logs)
{
    struct logs_mended joined = {.budget = r->opts.budget};
    struct pipeline_part whole = {.most = UINT32_MAX};
    int rc = prepare(r, x, logs, &joined);
    if (rc < 0)
        return rc;
    r->opts.hold->ops.begin(r->opts.hold);
    rc = push(r, x, logs, &whole);
    settle(r, logs, &joined, rc);
    logs_mended_done(&joined);
    decoder_clear(&r->joined);
    decoder_clear(&r->owned);
    return rc;
}

/* ---- decoding: here when that is quick, else on the thread pool ---- */

/* May the records enter in several turns? Not when the request is in a scratch buffer that others
 * use too, and not where it has to be known in which commits of the journal they are: those of the
 * turn are. */
static bool may_be_parted(const struct receiver *r, const struct call *call)
{
    return call->pass.service.len == 0 && !r->opts.joins && !r->opts.hold->is_on_disk;
}

static bool on_part(struct decode_task *t, struct decode_logs *logs)
{
    struct call *call = container_of(t, struct call, task);
    struct receiver *r = call->receiver;
    struct logs_mended none = {.budget = r->opts.budget};
    if (r->has_ended || !may_be_parted(r, call))
        return false;
    call->is_parted = true;
    if (call->part.most == 0) {
        call->part.most = PART_RECORDS;
        call->entered = prepare(r, call->exchange, logs, &none);
    }
    if (call->entered >= 0)
        call->entered = push(r, call->exchange, logs, &call->part);
    if (call->entered == 1)
        return true;
    settle(r, logs, &none, call->entered);
    return false;
}

static void on_decoded(struct decode_task *t, int rc, struct decode_logs *logs,
                       size_t inflated_bytes, const struct error *err)
{
    struct call *call = container_of(t, struct call, task);
    struct receiver *r = call->receiver;
    if (r->has_ended) {
        receiver_refuse(r, call->exchange, REFUSED_ENDED, NULL);
        return;
    }
    metric_add(&r->stats.decoded_bytes, inflated_bytes);
    if (rc == 0 && call->is_parted)
        rc = call->entered;
    else if (rc == 0)
        rc = enter(r, call->exchange, logs);
    if (rc == 0 && !call->is_parted)
        rc = receiver_wait_for_hold(r, call->exchange);
    receiver_answer(r, call->exchange, rc, err);
}

/* 1: on_decoded() goes on with it. */
static int decode_elsewhere(struct receiver *r, const struct decode_request *q, struct call *call)
{
    call->task = (struct decode_task){.request = *q,
                                      .is_json = call->form == REPLY_JSON,
                                      .looks = call->looks,
                                      .may_mend = !r->opts.is_strict,
                                      .part = on_part,
                                      .done = on_decoded};
    list_init(&call->task.node);
    int rc = decode_pool_add(r->pool, &call->task);
    return rc < 0 ? rc : 1;
}

/* What was decoded in this turn of the loop, whose clock stands still meanwhile. */
static bool turn_is_over(struct receiver *r)
{
    uint64_t now_ms = uv_now(r->opts.loop);
    if (now_ms != r->turn_ms)
        r->turn_bytes = 0;
    r->turn_ms = now_ms;
    return r->turn_bytes >= DECODE_TURN_BYTES;
}

/* `logs` has the request, as it is inflated. */
static int decode_here(struct receiver *r, struct http_exchange *x, struct decode_logs *logs,
                       struct error *err)
{
    metric_add(&r->stats.decoded_bytes, logs->request.len);
    r->turn_bytes += logs->request.len;
    int rc = decoder_logs(r->decoder, logs, err);
    return rc == 0 ? enter(r, x, logs) : rc;
}

static int inflate_here(struct receiver *r, struct http_exchange *x,
                        const struct decode_request *whole, struct error *err)
{
    struct call *call = x->user;
    struct decode_logs logs = {.is_json = call->form == REPLY_JSON,
                               .looks = call->looks,
                               .may_mend = !r->opts.is_strict,
                               .mended = {.budget = r->opts.budget}};
    struct decode_request q = *whole;
    if (q.coding != CODING_IDENTITY && q.max_bytes > DECODE_HERE_BYTES)
        q.max_bytes = DECODE_HERE_BYTES;
    int rc = decoder_inflate(r->decoder, &q, &logs.request, &logs.source, err);
    if (rc == ERR_TOO_BIG && q.max_bytes < whole->max_bytes) {
        r->turn_bytes += q.max_bytes;
        *err = (struct error){{0}};
        rc = decode_elsewhere(r, whole, call);
    } else if (rc == 0) {
        rc = decode_here(r, x, &logs, err);
    }
    logs_mended_done(&logs.mended);
    decoder_release(r->decoder);
    return rc;
}

int receiver_take_logs(struct receiver *r, struct http_exchange *x, struct span payload,
                       enum coding coding, struct error *err)
{
    struct call *call = x->user;
    struct decode_request q = {&x->body, payload, coding, r->opts.max_request_bytes};
    bool is_long = coding == CODING_IDENTITY && payload.len > DECODE_HERE_BYTES;
    int rc =
        is_long || turn_is_over(r) ? decode_elsewhere(r, &q, call) : inflate_here(r, x, &q, err);
    return rc == 0 ? receiver_wait_for_hold(r, x) : rc;
}
