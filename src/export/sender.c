/* sender: the queue, and a few state machines that empty it. */
#include "export/sender.h"

#include <assert.h>
#include <stdlib.h>

#include "export/queue.h"
#include "util/diag.h"
#include "util/rng.h"

#define SPLIT_LATER_ATTEMPTS 4 /* tries of a batch answered 500 before it is halved */
#define SPLIT_QUEUE_MAX 512    /* an outage that answers 500 must not turn batches into dust */
#define HOLD_MS 30000          /* between tries with a key that was refused */

enum sender_state { SENDER_IDLE, SENDER_SENDING, SENDER_BACKOFF };

struct sender {
    uv_timer_t timer; /* in BACKOFF */
    enum sender_state state;
    struct senders *senders;
    struct parcel *parcel; /* owned; NULL in IDLE */
    void *call;            /* the sink's, in SENDING */
    bool holds;            /* the last answer was HOLD */
};

struct senders {
    struct sink sink;
    struct senders_opts opts;
    struct exporter_stats *stats; /* the caller's */
    struct queue queue;
    struct sender list[SENDERS_MAX];
    uint32_t count;
    struct rng rng;
    uint64_t hold_until_ms; /* the upstream asked everybody to wait (Retry-After) */
    uint64_t last_success_ms;
    int last_status;
    bool closing;
    uint32_t open_handles;
};

static void dispatch(struct senders *x);
static void sender_start(struct sender *s);

static uint64_t now_ms(const struct senders *x)
{
    return clock_now_ms(x->opts.clock);
}

/* ---- settling ---------------------------------------------------------- */

static void settle(struct senders *x, struct parcel *p, enum fate fate)
{
    if (p->signal != SIGNAL_LOGS) {
        bool delivered = fate == FATE_DELIVERED;
        metric_add(&x->stats->relay[p->signal].delivered, delivered);
        metric_add(&x->stats->relay[p->signal].lost, !delivered);
    }
    parcel_settle(p, fate, &x->opts.fates);
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
    settle(s->senders, p, fate);
}

/* ---- what an answer does ----------------------------------------------- */

static void on_backoff_over(uv_timer_t *timer)
{
    struct sender *s = container_of(timer, struct sender, timer);
    sender_start(s);
    dispatch(s->senders);
}

static void sender_wait(struct sender *s, uint64_t ms)
{
    s->state = SENDER_BACKOFF;
    uv_timer_start(&s->timer, on_backoff_over, ms, 0);
}

static void sender_retry(struct sender *s, struct span retry_after)
{
    struct senders *x = s->senders;
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
    struct senders *x = s->senders;
    struct parcel *a, *b;
    int rc = parcel_split(&s->parcel, &a, &b, &x->opts.packing);
    if (rc < 0)
        return rc;
    queue_push_front(&x->queue, b);
    queue_push_front(&x->queue, a);
    sender_release(s);
    return 0;
}

static void answer_accept(struct sender *s, const struct sink_answer *a)
{
    struct senders *x = s->senders;
    (void)a;
    x->last_success_ms = now_ms(x);
    metric_add(&x->stats->sent_wire_bytes, s->parcel->body.len);
    metric_add(&x->stats->sent_decoded_bytes, s->parcel->decoded_bytes);
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
    struct senders *x = s->senders;
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
    struct senders *x = s->senders;
    struct parcel *p = s->parcel;
    if (p->signal == SIGNAL_LOGS && p->coding == CODING_ZSTD && x->opts.packing.coding == CODING_ZSTD) {
        x->opts.packing.coding = CODING_GZIP;
        diag(DIAG_WARN, "compression_fallback", "the upstream does not take zstd: gzip from now on",
             "status=415");
    }
    if (p->signal != SIGNAL_LOGS || p->coding == x->opts.packing.coding ||
        p->coding == CODING_IDENTITY)
        sender_settle(s, FATE_LOST_REFUSED);
    else if (parcel_recode(p, &x->opts.packing) < 0) /* no memory for it now */
        sender_retry(s, a->retry_after);
    else
        sender_start(s);
}

static void answer_hold(struct sender *s, const struct sink_answer *a)
{
    struct senders *x = s->senders;
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
    struct senders *x = s->senders;
    char quoted[DIAG_QUOTE_BYTES];

    s->call = NULL;
    s->holds = false;
    x->last_status = a->err == 0 ? a->status : 0;
    if (a->err != 0) {
        metric_inc(&x->stats->failures);
        diag(DIAG_WARN, "upstream_unreachable", "the upstream did not answer; the batch is kept",
             "signal=%s attempts=%u error=%s", signal_name(s->parcel->signal),
             s->parcel->attempts + 1, diag_quote(quoted, span_str(a->text ? a->text : err_text(a->err))));
        sender_retry(s, (struct span){0});
    } else {
        enum answer answer = answer_of_status(a->status);
        metric_inc(&x->stats->answers[answer]);
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

static bool is_expired(const struct senders *x, const struct parcel *p)
{
    return x->opts.max_age_ms > 0 && now_ms(x) - p->born_ms > x->opts.max_age_ms;
}

/* Send the parcel in hand, now or when the upstream wants to be asked again. */
static void sender_start(struct sender *s)
{
    struct senders *x = s->senders;
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
        x->opts.packing.coding == CODING_GZIP)
        (void)parcel_recode(s->parcel, &x->opts.packing); /* else it is refused once more, and recoded */
    if (x->sink.ops->send(x->sink.self, s->parcel, on_answer, s, &s->call) < 0) {
        sender_retry(s, (struct span){0});
        return;
    }
    s->state = SENDER_SENDING;
}

/* Give idle senders something to do. */
static void dispatch(struct senders *x)
{
    for (uint32_t i = 0; i < x->count && !x->closing; i++) {
        struct sender *s = &x->list[i];
        while (s->state == SENDER_IDLE && (s->parcel = queue_pop(&x->queue)) != NULL)
            sender_start(s);
    }
}

/* ---- looking ----------------------------------------------------------- */

void senders_take(struct senders *x, struct parcel **parcel)
{
    queue_push(&x->queue, *parcel);
    *parcel = NULL;
    dispatch(x);
}

bool senders_are_idle(const struct senders *x)
{
    for (uint32_t i = 0; i < x->count; i++)
        if (x->list[i].state != SENDER_IDLE)
            return false;
    return x->queue.count == 0;
}

bool senders_are_waiting(const struct senders *x)
{
    for (uint32_t i = 0; i < x->count; i++)
        if (x->list[i].state == SENDER_BACKOFF)
            return true;
    return false;
}

uint32_t senders_queued_logs(const struct senders *x)
{
    return x->queue.logs;
}

size_t senders_bytes(const struct senders *x)
{
    size_t bytes = x->queue.bytes;
    for (uint32_t i = 0; i < x->count; i++)
        if (x->list[i].parcel != NULL)
            bytes += parcel_bytes(x->list[i].parcel);
    return bytes;
}

const struct sink *senders_sink(const struct senders *x)
{
    return &x->sink;
}

const struct parcel_packing *senders_packing(const struct senders *x)
{
    return &x->opts.packing;
}

static void note_age(uint64_t *oldest, uint64_t now, uint64_t born)
{
    if (now - born > *oldest)
        *oldest = now - born;
}

void senders_gauges(const struct senders *x, struct exporter_stats *out)
{
    uint64_t now = now_ms(x);
    out->queue_bytes = senders_bytes(x);
    out->queued_parcels = x->queue.count;
    out->last_status = x->last_status;
    out->coding = x->opts.packing.coding;
    if (x->queue.count > 0)
        note_age(&out->oldest_ms, now,
                 container_of(x->queue.parcels.next, struct parcel, link)->born_ms);
    for (uint32_t i = 0; i < x->count; i++) {
        const struct sender *s = &x->list[i];
        out->in_flight += s->state == SENDER_SENDING;
        out->waiting_to_retry += s->state == SENDER_BACKOFF;
        out->holds_for_key |= s->holds;
        if (s->parcel != NULL)
            note_age(&out->oldest_ms, now, s->parcel->born_ms);
    }
}

/* ---- life -------------------------------------------------------------- */

int senders_open(struct senders **out, uv_loop_t *loop, struct sink *sink,
                 const struct senders_opts *opts, struct exporter_stats *stats)
{
    assert(sink->concurrency >= 1 && sink->concurrency <= SENDERS_MAX);
    struct senders *x = calloc(1, sizeof *x);
    if (x == NULL)
        return ERR_NOMEM;
    x->opts = *opts;
    x->stats = stats;
    x->sink = *sink;
    *sink = (struct sink){0};
    queue_init(&x->queue);
    rng_init(&x->rng);
    for (; x->count < x->sink.concurrency; x->count++) {
        struct sender *s = &x->list[x->count];
        s->senders = x;
        uv_timer_init(loop, &s->timer);
        s->timer.data = x;
        x->open_handles++;
    }
    *out = x;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct senders *x = handle->data;
    if (--x->open_handles == 0)
        free(x);
}

void senders_close(struct senders *x)
{
    if (x == NULL)
        return;
    x->closing = true;
    bool holds = false; /* then what is queued waits for the key, too */
    for (uint32_t i = 0; i < x->count; i++) {
        struct sender *s = &x->list[i];
        if (s->state == SENDER_SENDING)
            x->sink.ops->cancel(x->sink.self, s->call);
        holds |= s->holds;
        if (s->parcel != NULL)
            sender_settle(s, s->holds ? FATE_LOST_AUTH : FATE_LOST_SHUTDOWN);
        uv_close((uv_handle_t *)&s->timer, on_timer_closed);
    }
    struct parcel *p;
    while ((p = queue_pop(&x->queue)) != NULL)
        settle(x, p, holds ? FATE_LOST_AUTH : FATE_LOST_SHUTDOWN);
    x->sink.ops->close(x->sink.self);
}
