/*
 * exporter: the batch under way, the queue, and the senders that empty it.
 *
 * A sender holds at most one parcel:
 *
 *     IDLE -> SENDING -> IDLE              the good day
 *                |  \--> BACKOFF -> SENDING
 *
 * A parcel in a sender's hands stays there until it is settled, split or the
 * exporter is closed, so that a retry does not wait behind the queue.
 */
#include "export/exporter.h"

#include <assert.h>
#include <stdlib.h>

#include "export/queue.h"
#include "util/diag.h"
#include "util/rng.h"

#define SENDERS_MAX 32
#define SPLIT_LATER_ATTEMPTS 4 /* tries of a batch answered 500 before it is halved */
#define SPLIT_QUEUE_MAX 512    /* an outage that answers 500 must not turn batches into dust */
#define HOLD_MS 30000          /* between tries with a key that was refused */
#define SEAL_HEADROOM 3        /* batches of room that sealing and packing may need at once */
#define RETRY_SHORT_S 1        /* JavaScript's exporters give up when asked to wait for long */
#define RETRY_LONG_S 5

enum sender_state { SENDER_IDLE, SENDER_SENDING, SENDER_BACKOFF };

struct sender {
    uv_timer_t timer; /* in BACKOFF */
    enum sender_state state;
    struct exporter *exporter;
    struct parcel *parcel; /* owned; NULL in IDLE */
    void *call;            /* the sink's, in SENDING */
    bool holds;            /* the last answer was HOLD */
};

struct exporter {
    struct sink sink;
    struct exporter_opts opts;
    struct parcel_packing packing;
    struct coder *coder;
    struct batch_builder *builder;
    uint64_t batch_began_ms;
    uv_timer_t age_timer;
    struct queue queue;
    struct sender senders[SENDERS_MAX];
    uint32_t sender_count;
    struct rng rng;
    uint64_t hold_until_ms;   /* the upstream asked everybody to wait (Retry-After) */
    uint64_t last_success_ms;
    int last_status;
    struct exporter_stats stats; /* the counters of it */
    bool closing;
    uint32_t open_handles;
};

static void dispatch(struct exporter *x);
static void sender_start(struct sender *s);

static uint64_t now_ms(const struct exporter *x)
{
    return clock_now_ms(x->opts.clock);
}

/* ---- settling ---------------------------------------------------------- */

static void settle(struct exporter *x, struct parcel *p, enum fate fate)
{
    if (p->signal != SIGNAL_LOGS) {
        bool delivered = fate == FATE_DELIVERED;
        metric_add(&x->stats.relay[p->signal].delivered, delivered);
        metric_add(&x->stats.relay[p->signal].lost, !delivered);
    }
    parcel_settle(p, fate, &x->opts.fates);
}

struct settlement {
    const struct fate_sink *fates;
    enum fate fate;
};

/* Records that are in no parcel. */
static void settle_service(void *ctx, uint32_t service, uint32_t records)
{
    const struct settlement *s = ctx;
    s->fates->settle(s->fates->ctx, service, s->fate, records);
}

static void sender_release(struct sender *s)
{
    s->parcel = NULL;
    s->holds = false;
    s->state = SENDER_IDLE;
}

static void sender_settle(struct sender *s, enum fate fate)
{
    struct parcel *p = s->parcel;
    sender_release(s);
    settle(s->exporter, p, fate);
}

/* ---- what an answer does ----------------------------------------------- */

static void on_backoff_over(uv_timer_t *timer)
{
    struct sender *s = container_of(timer, struct sender, timer);
    sender_start(s);
    dispatch(s->exporter);
}

static void sender_wait(struct sender *s, uint64_t ms)
{
    s->state = SENDER_BACKOFF;
    uv_timer_start(&s->timer, on_backoff_over, ms, 0);
}

static void sender_retry(struct sender *s, struct span retry_after)
{
    struct exporter *x = s->exporter;
    struct parcel *p = s->parcel;
    uint64_t now = now_ms(x);
    p->attempts++;
    if (p->failed_ms == 0)
        p->failed_ms = now;
    uint64_t wait = backoff_ms(&x->rng, p->attempts);
    uint64_t asked = retry_after_ms(retry_after, clock_unix_ns(x->opts.clock));
    if (asked > 0) {
        if (now + asked > x->hold_until_ms)
            x->hold_until_ms = now + asked;
        /* Nobody before the time asked for, and not all in the same instant after it. */
        wait = asked + rng_upto(&x->rng, BACKOFF_BASE_MS);
    }
    sender_wait(s, wait);
}

/* Halve; the first half is tried at once, the second waits at the head of the queue.
 * ERR_EMPTY: there is nothing to halve; other errors: not now. */
static int sender_split(struct sender *s)
{
    struct exporter *x = s->exporter;
    struct parcel *a, *b;
    int rc = parcel_split(&s->parcel, &a, &b, &x->packing);
    if (rc < 0)
        return rc;
    queue_push_front(&x->queue, b);
    queue_push_front(&x->queue, a);
    sender_release(s);
    return 0;
}

static void answer_accept(struct sender *s, const struct sink_answer *a)
{
    struct exporter *x = s->exporter;
    (void)a;
    x->last_success_ms = now_ms(x);
    metric_add(&x->stats.sent_wire_bytes, s->parcel->body.len);
    metric_add(&x->stats.sent_decoded_bytes, s->parcel->decoded_bytes);
    sender_settle(s, FATE_DELIVERED);
}

static void answer_split(struct sender *s, const struct sink_answer *a)
{
    int rc = sender_split(s);
    if (rc == ERR_EMPTY)
        sender_settle(s, FATE_LOST_TOO_BIG);
    else if (rc < 0) /* no memory to halve it now is no reason to lose all of it */
        sender_retry(s, a->retry_after);
}

static void answer_retry(struct sender *s, const struct sink_answer *a)
{
    sender_retry(s, a->retry_after);
}

/* 500 is ambiguous: the upstream is ill, or this batch is too large for it. Halve
 * after a few tries; a single record is given up only when others got through. */
static void answer_split_later(struct sender *s, const struct sink_answer *a)
{
    struct exporter *x = s->exporter;
    struct parcel *p = s->parcel;
    if (p->attempts + 1 < SPLIT_LATER_ATTEMPTS || x->queue.count > SPLIT_QUEUE_MAX ||
        sender_split(s) < 0) {
        bool others_passed = p->failed_ms > 0 && x->last_success_ms > p->failed_ms;
        if (p->attempts + 1 >= SPLIT_LATER_ATTEMPTS && p->records <= 1 && others_passed)
            sender_settle(s, FATE_LOST_POISON);
        else
            sender_retry(s, a->retry_after);
    }
}

static void answer_recode(struct sender *s, const struct sink_answer *a)
{
    struct exporter *x = s->exporter;
    struct parcel *p = s->parcel;
    if (p->signal == SIGNAL_LOGS && p->coding == CODING_ZSTD && x->packing.coding == CODING_ZSTD) {
        x->packing.coding = CODING_GZIP;
        diag(DIAG_WARN, "compression_fallback", "the upstream does not take zstd: gzip from now on",
             "status=415");
    }
    if (p->signal != SIGNAL_LOGS || p->coding == x->packing.coding ||
        p->coding == CODING_IDENTITY)
        sender_settle(s, FATE_LOST_REFUSED);
    else if (parcel_recode(p, &x->packing) < 0) /* no memory for it now */
        sender_retry(s, a->retry_after);
    else
        sender_start(s);
}

static void answer_hold(struct sender *s, const struct sink_answer *a)
{
    struct exporter *x = s->exporter;
    struct parcel *p = s->parcel;
    (void)a;
    p->attempts++;
    s->holds = true;
    sender_wait(s, HOLD_MS / 2 + rng_upto(&x->rng, HOLD_MS / 2));
}

static void answer_drop(struct sender *s, const struct sink_answer *a)
{
    (void)a;
    sender_settle(s, FATE_LOST_REFUSED);
}

static void on_answer(void *ctx, const struct sink_answer *a)
{
    static void (*const acts[])(struct sender *, const struct sink_answer *) = {
        [ANSWER_ACCEPT] = answer_accept,   [ANSWER_SPLIT] = answer_split,
        [ANSWER_RETRY] = answer_retry,     [ANSWER_SPLIT_LATER] = answer_split_later,
        [ANSWER_RECODE] = answer_recode,   [ANSWER_HOLD] = answer_hold,
        [ANSWER_DROP] = answer_drop,
    };
    struct sender *s = ctx;
    struct exporter *x = s->exporter;
    char quoted[DIAG_QUOTE_BYTES];

    s->call = NULL;
    s->holds = false;
    x->last_status = a->err == 0 ? a->status : 0;
    if (a->err != 0) {
        metric_inc(&x->stats.failures);
        diag(DIAG_WARN, "upstream_unreachable", "the upstream did not answer; the batch is kept",
             "signal=%s attempts=%u error=%s", signal_name(s->parcel->signal),
             s->parcel->attempts + 1, diag_quote(quoted, span_str(a->text ? a->text : err_text(a->err))));
        sender_retry(s, (struct span){0});
    } else {
        enum answer answer = answer_of_status(a->status);
        metric_inc(&x->stats.answers[answer]);
        if (answer != ANSWER_ACCEPT)
            diag(answer == ANSWER_HOLD || answer == ANSWER_DROP ? DIAG_ERROR : DIAG_WARN,
                 "upstream_refused", answer_text(answer),
                 "status=%d signal=%s records=%u bytes=%zu answer=%s", a->status,
                 signal_name(s->parcel->signal), s->parcel->records, s->parcel->decoded_bytes,
                 diag_quote(quoted, a->body));
        acts[answer](s, a);
    }
    dispatch(x);
}

/* ---- sending ----------------------------------------------------------- */

static bool is_expired(const struct exporter *x, const struct parcel *p)
{
    return x->opts.max_age_ms > 0 && now_ms(x) - p->born_ms > x->opts.max_age_ms;
}

/* Send the parcel in hand, now or when the upstream wants to be asked again. */
static void sender_start(struct sender *s)
{
    struct exporter *x = s->exporter;
    uint64_t now = now_ms(x);
    if (is_expired(x, s->parcel)) {
        sender_settle(s, FATE_LOST_EXPIRED);
        return;
    }
    if (x->hold_until_ms > now) {
        sender_wait(s, x->hold_until_ms - now);
        return;
    }
    /* Packed before the upstream refused that coding. */
    if (s->parcel->signal == SIGNAL_LOGS && s->parcel->coding == CODING_ZSTD &&
        x->packing.coding == CODING_GZIP)
        (void)parcel_recode(s->parcel, &x->packing); /* else it is refused once more, and recoded */
    if (x->sink.ops->send(x->sink.self, s->parcel, on_answer, s, &s->call) < 0) {
        sender_retry(s, (struct span){0});
        return;
    }
    s->state = SENDER_SENDING;
}

/* Give idle senders something to do. */
static void dispatch(struct exporter *x)
{
    for (uint32_t i = 0; i < x->sender_count && !x->closing; i++) {
        struct sender *s = &x->senders[i];
        while (s->state == SENDER_IDLE && (s->parcel = queue_pop(&x->queue)) != NULL)
            sender_start(s);
    }
}

/* ---- collecting -------------------------------------------------------- */

static void queue_parcel(struct exporter *x, struct parcel *p)
{
    queue_push(&x->queue, p);
    dispatch(x);
}

static void on_batch_age(uv_timer_t *timer)
{
    exporter_flush(container_of(timer, struct exporter, age_timer));
}

void exporter_flush(struct exporter *x)
{
    struct batch *batch;
    struct parcel *p;
    int rc = batch_seal(x->builder, &batch);
    if (rc < 0 && rc != ERR_EMPTY) { /* no memory now */
        uv_timer_start(&x->age_timer, on_batch_age, x->opts.batch_age_ms, 0);
        return;
    }
    uv_timer_stop(&x->age_timer);
    if (rc < 0)
        return;
    batch->first_added_ms = x->batch_began_ms;
    if (parcel_of_batch(&p, &batch, &x->packing) < 0) {
        struct settlement lost = {&x->opts.fates, FATE_LOST_MEMORY};
        batch_each_service(batch, settle_service, &lost);
        batch_free(batch);
        return;
    }
    queue_parcel(x, p);
}

int exporter_admit(const struct exporter *x, size_t bytes)
{
    const struct budget *b = x->opts.budget;
    size_t held = x->queue.bytes + batch_builder_bytes(x->builder);
    for (uint32_t i = 0; i < x->sender_count; i++)
        if (x->senders[i].parcel != NULL)
            held += parcel_bytes(x->senders[i].parcel);
    if (held + bytes > x->opts.queue_bytes)
        return ERR_FULL;
    /* Growing by doubling, and sealing and packing what is full. */
    if (2 * bytes + SEAL_HEADROOM * x->opts.batch_bytes > b->limit - b->used)
        return ERR_FULL;
    return 0;
}

int exporter_add(struct exporter *x, const struct logs_group *g, struct span record,
                 struct span stamp, uint32_t service)
{
    int rc = batch_add(x->builder, g, record, stamp, service);
    if (rc == ERR_TOO_BIG) {
        exporter_flush(x);
        rc = batch_add(x->builder, g, record, stamp, service);
    }
    if (rc == 0 && batch_builder_records(x->builder) == 1) {
        x->batch_began_ms = now_ms(x);
        uv_timer_start(&x->age_timer, on_batch_age, x->opts.batch_age_ms, 0);
    }
    return rc;
}

int exporter_relay(struct exporter *x, enum signal signal, struct span body, enum coding coding,
                   struct span content_type)
{
    struct parcel *p;
    metric_inc(&x->stats.relay[signal].received);
    metric_add(&x->stats.relay[signal].received_bytes, body.len);
    if (!x->sink.takes[signal]) {
        metric_inc(&x->stats.relay[signal].discarded);
        return 0;
    }
    int rc = exporter_admit(x, body.len);
    if (rc == 0)
        rc = parcel_of_relay(&p, signal, body, coding, content_type, x->opts.budget);
    if (rc < 0) {
        metric_inc(&x->stats.relay[signal].lost);
        return rc;
    }
    p->born_ms = now_ms(x);
    queue_parcel(x, p);
    return 0;
}

/* ---- looking ----------------------------------------------------------- */

bool exporter_is_idle(const struct exporter *x)
{
    for (uint32_t i = 0; i < x->sender_count; i++)
        if (x->senders[i].state != SENDER_IDLE)
            return false;
    return x->queue.count == 0 && batch_builder_records(x->builder) == 0;
}

uint32_t exporter_retry_after_s(const struct exporter *x)
{
    for (uint32_t i = 0; i < x->sender_count; i++)
        if (x->senders[i].state == SENDER_BACKOFF)
            return RETRY_LONG_S;
    return RETRY_SHORT_S;
}

static void note_age(uint64_t *oldest, uint64_t now, uint64_t born)
{
    if (now - born > *oldest)
        *oldest = now - born;
}

void exporter_stats(const struct exporter *x, struct exporter_stats *out)
{
    uint64_t now = now_ms(x);
    *out = x->stats;
    out->queue_bytes = x->queue.bytes;
    out->queued_parcels = x->queue.count;
    out->batch_bytes = batch_builder_bytes(x->builder);
    out->last_status = x->last_status;
    out->coding = x->packing.coding;
    if (batch_builder_records(x->builder) > 0)
        note_age(&out->oldest_ms, now, x->batch_began_ms);
    if (x->queue.count > 0)
        note_age(&out->oldest_ms, now,
                 container_of(x->queue.parcels.next, struct parcel, link)->born_ms);
    for (uint32_t i = 0; i < x->sender_count; i++) {
        const struct sender *s = &x->senders[i];
        out->in_flight += s->state == SENDER_SENDING;
        out->waiting_to_retry += s->state == SENDER_BACKOFF;
        out->holds_for_key |= s->holds;
        if (s->parcel != NULL) {
            out->queue_bytes += parcel_bytes(s->parcel);
            note_age(&out->oldest_ms, now, s->parcel->born_ms);
        }
    }
}

const char *exporter_sink_name(const struct exporter *x)
{
    return x->sink.name;
}

bool exporter_takes(const struct exporter *x, enum signal signal)
{
    return x->sink.takes[signal];
}

/* ---- life -------------------------------------------------------------- */

static void exporter_free(struct exporter *x)
{
    batch_builder_free(x->builder);
    coder_free(x->coder);
    free(x);
}

int exporter_open(struct exporter **out, uv_loop_t *loop, struct sink *sink,
                  const struct exporter_opts *opts)
{
    assert(sink->concurrency >= 1 && sink->concurrency <= SENDERS_MAX);
    struct exporter *x = calloc(1, sizeof *x);
    if (x == NULL)
        return ERR_NOMEM;
    x->opts = *opts;
    queue_init(&x->queue);
    rng_init(&x->rng);
    struct batch_opts batch = {opts->batch_bytes, opts->batch_records, opts->budget};
    x->builder = batch_builder_new(&batch);
    x->coder = coder_new();
    if (x->builder == NULL || x->coder == NULL) {
        exporter_free(x);
        return ERR_NOMEM;
    }
    x->packing = (struct parcel_packing){
        .coder = x->coder,
        .coding = sink->compresses ? opts->compression : CODING_IDENTITY,
        .budget = opts->budget,
        .max_bytes = SIZE_MAX, /* our own bytes: bounded when they were packed */
    };
    x->sink = *sink;
    *sink = (struct sink){0};
    uv_timer_init(loop, &x->age_timer);
    x->open_handles = 1;
    for (; x->sender_count < x->sink.concurrency; x->sender_count++) {
        struct sender *s = &x->senders[x->sender_count];
        s->exporter = x;
        uv_timer_init(loop, &s->timer);
        x->open_handles++;
    }
    *out = x;
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct exporter *x = handle->data;
    if (--x->open_handles == 0)
        exporter_free(x);
}

static void close_timer(struct exporter *x, uv_timer_t *timer)
{
    timer->data = x;
    uv_close((uv_handle_t *)timer, on_handle_closed);
}

void exporter_close(struct exporter *x)
{
    if (x == NULL)
        return;
    x->closing = true;
    /* Not sealed first: there may be no memory for that. */
    struct settlement lost = {&x->opts.fates, FATE_LOST_SHUTDOWN};
    batch_builder_each_service(x->builder, settle_service, &lost);
    batch_builder_clear(x->builder);
    bool holds = false; /* then what is queued waits for the key, too */
    for (uint32_t i = 0; i < x->sender_count; i++) {
        struct sender *s = &x->senders[i];
        if (s->state == SENDER_SENDING)
            x->sink.ops->cancel(x->sink.self, s->call);
        holds |= s->holds;
        if (s->parcel != NULL)
            sender_settle(s, s->holds ? FATE_LOST_AUTH : FATE_LOST_SHUTDOWN);
        close_timer(x, &s->timer);
    }
    struct parcel *p;
    while ((p = queue_pop(&x->queue)) != NULL)
        settle(x, p, holds ? FATE_LOST_AUTH : FATE_LOST_SHUTDOWN);
    x->sink.ops->close(x->sink.self);
    close_timer(x, &x->age_timer);
}
