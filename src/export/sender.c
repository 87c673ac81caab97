/* sender: the queue, and a few state machines that empty it. */
#include "export/sender.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/circuit.h"
#include "export/queue.h"
#include "otlp/response.h"
#include "util/diag.h"
#include "util/rng.h"

#define SPLIT_LATER_ATTEMPTS 4 /* tries of a batch answered 500 before it is halved */
#define SPLIT_QUEUE_MAX 512    /* an outage that answers 500 must not turn batches into dust */
#define HOLD_MS 30000          /* between tries with a key that was refused */
#define CAUSE_BYTES 128

/* What may be spent on finding refused records by halving: a refusal costs one, an
 * accepted request gives two back. One bad record among 2^20 takes 21; an upstream
 * that refuses everything gets at most 128 requests more (each halving makes two of
 * one), and whole batches from then on, until it accepts one. */
#define ISOLATE_CREDIT 64
#define ISOLATE_GAIN 2

enum sender_state { SENDER_IDLE, SENDER_SENDING, SENDER_BACKOFF, SENDER_PARKED };

struct sender {
    uv_timer_t timer; /* in BACKOFF */
    enum sender_state state;
    struct senders *senders;
    struct parcel *parcel; /* owned; NULL in IDLE */
    void *call;            /* the sink's, in SENDING */
    bool is_probe;         /* in SENDING: of the circuit */
};

struct senders {
    struct sink sink;
    struct senders_opts opts;
    struct exporter_stats *stats; /* the caller's */
    struct queue queue;
    struct sender list[SENDERS_MAX];
    uint32_t count;
    struct rng rng;
    struct circuit circuit;
    uv_timer_t circuit_timer; /* until its next try, while it is open */
    uint32_t turn;            /* who is asked first for the next probe */
    uint32_t isolate_credit;
    bool holds_for_key; /* the last answer was HOLD */
    struct {
        int err, status;
        char text[CAUSE_BYTES];
    } cause; /* why the circuit is open, as it was told last */
    uint64_t last_success_ms;
    int last_status;
    bool closing;
    uint32_t open_handles;
};

static void dispatch(struct senders *x);

static uint64_t now_ms(const struct senders *x)
{
    return clock_now_ms(x->opts.clock);
}

/* ---- settling ---------------------------------------------------------- */

/* Refused records are shown to whoever looks for them, as far as there is room. */
static void put_aside(struct senders *x, struct parcel *p)
{
    struct buf plain;
    if (parcel_unpack(p, &plain, &x->opts.packing) < 0) {
        refused_file_leave_out(x->opts.refused_file, p->records);
        return;
    }
    (void)refused_file_put(x->opts.refused_file, buf_span(&plain),
                           p->records); /* it counts, and tells */
    buf_done(&plain);
}

static void settle(struct senders *x, struct parcel *p, enum fate fate)
{
    bool is_refused =
        fate == FATE_LOST_REFUSED || fate == FATE_LOST_TOO_BIG || fate == FATE_LOST_POISON;
    if (p->signal != SIGNAL_LOGS) {
        bool delivered = fate == FATE_DELIVERED;
        metric_add(&x->stats->relay[p->signal].delivered, delivered);
        metric_add(&x->stats->relay[p->signal].lost, !delivered);
    } else if (is_refused && x->opts.refused_file != NULL) {
        put_aside(x, p);
    }
    parcel_settle(p, fate, &x->opts.fates);
}

static struct parcel *sender_release(struct sender *s)
{
    struct parcel *p = s->parcel;
    s->parcel = NULL;
    s->state = SENDER_IDLE;
    return p;
}

static void sender_settle(struct sender *s, enum fate fate)
{
    settle(s->senders, sender_release(s), fate);
}

/* ---- the circuit ------------------------------------------------------- */

static bool is_expired(const struct senders *x, const struct parcel *p)
{
    return x->opts.max_age_ms > 0 && now_ms(x) - p->born_ms > x->opts.max_age_ms;
}

/* While nobody sends, nobody would look at the age of what waits. */
static void give_up_expired(struct senders *x)
{
    for (uint32_t i = 0; i < x->count; i++)
        if (x->list[i].state == SENDER_PARKED && is_expired(x, x->list[i].parcel))
            sender_settle(&x->list[i], FATE_LOST_EXPIRED);
    while (x->queue.count > 0 &&
           is_expired(x, container_of(x->queue.parcels.next, struct parcel, link)))
        settle(x, queue_pop(&x->queue), FATE_LOST_EXPIRED);
}

static void on_circuit_time(uv_timer_t *timer);

static void arm_circuit(struct senders *x)
{
    uint64_t now = now_ms(x);
    if (x->circuit.state != CIRCUIT_OPEN)
        uv_timer_stop(&x->circuit_timer);
    else
        uv_timer_start(&x->circuit_timer, on_circuit_time,
                       x->circuit.retry_at_ms > now ? x->circuit.retry_at_ms - now : 1, 0);
}

static void on_circuit_time(uv_timer_t *timer)
{
    struct senders *x = container_of(timer, struct senders, circuit_timer);
    circuit_half_open(&x->circuit, now_ms(x));
    give_up_expired(x);
    arm_circuit(x);
    dispatch(x);
}

/* One line when it opens, and one when there is another reason, not one a try. */
static void tell_down(struct senders *x, const struct sink_answer *a, bool opened)
{
    char quoted[DIAG_QUOTE_BYTES], text[CAUSE_BYTES] = "";
    const char *said = a->text != NULL ? a->text : err_text(a->err);
    int status = a->err == 0 ? a->status : 0;
    if (a->err == ERR_UNTRUSTED) /* other texts hold times and ports that change */
        snprintf(text, sizeof text, "%s", said);
    if (!opened && x->cause.err == a->err && x->cause.status == status &&
        strcmp(x->cause.text, text) == 0)
        return;
    x->cause.err = a->err;
    x->cause.status = status;
    memcpy(x->cause.text, text, sizeof text);
    uint64_t now = now_ms(x), at = x->circuit.retry_at_ms;
    uint32_t waiting = x->queue.count;
    for (uint32_t i = 0; i < x->count; i++)
        waiting += x->list[i].parcel != NULL;
    diag(x->holds_for_key ? DIAG_ERROR : DIAG_WARN, "upstream_down",
         x->holds_for_key && a->status == 407
             ? "the proxy refuses its credentials; records wait until they are right"
         : x->holds_for_key        ? "the upstream refuses the key; records wait until it is right"
         : a->err == ERR_UNTRUSTED ? "the upstream cannot be trusted; nothing is sent, records wait"
                                   : "the upstream does not take records; they wait",
         "status=%d error=%s retry_in_ms=%llu waiting_requests=%u", status,
         diag_quote(quoted, a->err != 0 ? span_str(said) : a->body),
         (unsigned long long)(at > now ? at - now : 0), waiting);
}

/* What is asked for, as it came; how long that is held is capped. */
static void tell_long_wait(const struct sink_answer *a)
{
    char quoted[DIAG_QUOTE_BYTES];
    diag(DIAG_WARN, "retry_after_long",
         "the upstream asks for a long wait; it is tried again when the longest is over",
         "status=%d retry_after=%s longest_ms=%d", a->status, diag_quote(quoted, a->retry_after),
         RETRY_AFTER_CAP_MS);
}

static bool is_failure(const struct sink_answer *a, enum answer answer)
{
    return a->err != 0 || answer == ANSWER_RETRY || answer == ANSWER_SPLIT_LATER ||
           answer == ANSWER_HOLD;
}

/* What this answer means to all senders. */
static void note_health(struct senders *x, const struct sink_answer *a, enum answer answer,
                        bool was_probe, uint32_t attempts)
{
    uint64_t now = now_ms(x);
    x->holds_for_key = a->err == 0 && answer == ANSWER_HOLD;
    if (is_failure(a, answer)) {
        struct circuit_failure f = {
            .was_probe = was_probe,
            .for_all = x->holds_for_key || a->err == ERR_UNAVAILABLE || a->err == ERR_UNTRUSTED,
        };
        uint64_t asked = a->err == 0 && !x->holds_for_key
                             ? retry_after_ms(a->retry_after, clock_unix_ns(x->opts.clock))
                             : 0;
        if (x->holds_for_key)
            f.wait_ms = HOLD_MS / 2 + rng_upto(&x->rng, HOLD_MS / 2);
        /* It may be this batch's alone: the next one in turn does not wait for all its tries. */
        if (a->err == 0 && answer == ANSWER_SPLIT_LATER && was_probe)
            f.wait_ms = 1 + backoff_ms(&x->rng, attempts + 1);
        if (asked > 0) {
            /* Nobody before the time asked for, and not every client in the same instant. */
            f.wait_ms = asked + rng_upto(&x->rng, BACKOFF_BASE_MS);
            f.for_all = f.is_asked = true;
            if (asked == RETRY_AFTER_CAP_MS)
                tell_long_wait(a);
        }
        bool opened = circuit_fail(&x->circuit, &f, now, &x->rng);
        if (x->circuit.state != CIRCUIT_CLOSED)
            tell_down(x, a, opened);
    } else {
        uint64_t since = x->circuit.opened_ms;
        uint32_t failures = x->circuit.failures;
        if (circuit_pass(&x->circuit, now))
            diag(DIAG_INFO, "upstream_up", "the upstream answers again",
                 "outage_ms=%llu failures=%u", (unsigned long long)(now - since), failures);
    }
    arm_circuit(x);
}

/* ---- what an answer does ----------------------------------------------- */

static void on_backoff_over(uv_timer_t *timer)
{
    struct sender *s = container_of(timer, struct sender, timer);
    s->state = SENDER_PARKED; /* until dispatch() finds it, which may be now */
    dispatch(s->senders);
}

static void sender_wait(struct sender *s, uint64_t ms)
{
    s->state = SENDER_BACKOFF;
    uv_timer_start(&s->timer, on_backoff_over, ms, 0);
}

/* The parcel in hand is kept, for another try: after a time of its own, or when the
 * circuit lets somebody try. */
static void sender_retry(struct sender *s)
{
    struct senders *x = s->senders;
    struct parcel *p = s->parcel;
    p->attempts++;
    if (p->failed_ms == 0)
        p->failed_ms = now_ms(x);
    if (x->circuit.state == CIRCUIT_CLOSED)
        sender_wait(s, backoff_ms(&x->rng, p->attempts));
    else
        s->state = SENDER_PARKED;
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

/* A 2xx may say that some of the records were not taken after all. */
static uint64_t read_rejected(const struct sender *s, const struct sink_answer *a)
{
    struct response r;
    char quoted[DIAG_QUOTE_BYTES];
    if (s->parcel->signal != SIGNAL_LOGS || response_decode(&r, a->content_type, a->body) < 0)
        return 0; /* a success is one whatever its body */
    if (r.rejected > 0 || r.message_len > 0)
        diag(DIAG_WARN, "upstream_partial",
             r.rejected > 0 ? "the upstream took the batch, but not all of its records"
                            : "the upstream took the batch, and warns",
             "rejected=%llu records=%u message=%s", (unsigned long long)r.rejected,
             s->parcel->records, diag_quote(quoted, span_of(r.message, r.message_len)));
    return r.rejected;
}

static void answer_accept(struct sender *s, const struct sink_answer *a)
{
    struct senders *x = s->senders;
    uint64_t rejected = read_rejected(s, a);
    x->last_success_ms = now_ms(x);
    metric_add(&x->stats->sent_wire_bytes, s->parcel->body.len);
    metric_add(&x->stats->sent_decoded_bytes, s->parcel->decoded_bytes);
    if (s->parcel->signal == SIGNAL_LOGS) {
        x->isolate_credit += ISOLATE_GAIN;
        if (x->isolate_credit > ISOLATE_CREDIT)
            x->isolate_credit = ISOLATE_CREDIT;
    }
    if (rejected > 0)
        parcel_settle_partial(sender_release(s), rejected, &x->opts.fates);
    else
        sender_settle(s, FATE_DELIVERED);
}

static void answer_split(struct sender *s, const struct sink_answer *a)
{
    int rc = sender_split(s);
    (void)a;
    if (rc == ERR_EMPTY)
        sender_settle(s, FATE_LOST_TOO_BIG);
    else if (rc < 0) /* no memory to halve it now is no reason to lose all of it */
        sender_retry(s);
}

static void answer_retry(struct sender *s, const struct sink_answer *a)
{
    (void)a;
    sender_retry(s);
}

/* 500 is ambiguous: the upstream is ill, or this batch is too large for it. Halve
 * after a few tries; a single record is given up only when others got through. */
static void answer_split_later(struct sender *s, const struct sink_answer *a)
{
    struct senders *x = s->senders;
    struct parcel *p = s->parcel;
    (void)a;
    if (p->attempts + 1 < SPLIT_LATER_ATTEMPTS || x->queue.count > SPLIT_QUEUE_MAX ||
        sender_split(s) < 0) {
        bool others_passed = p->failed_ms > 0 && x->last_success_ms > p->failed_ms;
        if (p->attempts + 1 >= SPLIT_LATER_ATTEMPTS && p->records <= 1 && others_passed)
            sender_settle(s, FATE_LOST_POISON);
        else
            sender_retry(s);
    } else { /* there is something new to try */
        circuit_renew(&x->circuit, now_ms(x));
        arm_circuit(x);
    }
}

/* Something in this batch is refused for good: look for it, while that is not too dear. */
static void answer_isolate(struct sender *s, const struct sink_answer *a)
{
    struct senders *x = s->senders;
    int rc = ERR_EMPTY;
    (void)a;
    if (s->parcel->signal == SIGNAL_LOGS && x->isolate_credit > 0) {
        x->isolate_credit--;
        rc = sender_split(s);
    }
    if (rc == ERR_EMPTY)
        sender_settle(s, FATE_LOST_REFUSED);
    else if (rc < 0) /* no memory to halve it now */
        sender_retry(s);
}

static void answer_recode(struct sender *s, const struct sink_answer *a)
{
    struct senders *x = s->senders;
    struct parcel *p = s->parcel;
    (void)a;
    if (p->signal == SIGNAL_LOGS && p->coding == CODING_ZSTD &&
        x->opts.packing.coding == CODING_ZSTD) {
        x->opts.packing.coding = CODING_GZIP;
        diag(DIAG_WARN, "compression_fallback", "the upstream does not take zstd: gzip from now on",
             "status=415");
    }
    if (p->signal != SIGNAL_LOGS || p->coding == x->opts.packing.coding ||
        p->coding == CODING_IDENTITY)
        sender_settle(s, FATE_LOST_REFUSED);
    else if (parcel_recode(p, &x->opts.packing) < 0) /* no memory for it now */
        sender_retry(s);
    else
        s->state = SENDER_PARKED; /* for the dispatch that follows */
}

static void answer_hold(struct sender *s, const struct sink_answer *a)
{
    (void)a;
    s->parcel->attempts++;
    s->state = SENDER_PARKED;
}

static void answer_drop(struct sender *s, const struct sink_answer *a)
{
    (void)a;
    sender_settle(s, FATE_LOST_REFUSED);
}

static void count_answer(struct senders *x, const struct parcel *p, const struct sink_answer *a,
                         enum answer answer)
{
    char quoted[DIAG_QUOTE_BYTES];
    x->last_status = a->err == 0 ? a->status : 0;
    metric_inc(a->err != 0 ? &x->stats->failures : &x->stats->answers[answer]);
    if (a->err != 0)
        diag(DIAG_DEBUG, "upstream_failed", "no answer", "signal=%s attempts=%u error=%s",
             signal_name(p->signal), p->attempts + 1,
             diag_quote(quoted, span_str(a->text != NULL ? a->text : err_text(a->err))));
    else if (answer != ANSWER_ACCEPT)
        diag(is_failure(a, answer)   ? DIAG_DEBUG
             : answer == ANSWER_DROP ? DIAG_ERROR
                                     : DIAG_WARN,
             "upstream_refused", answer_text(answer),
             "status=%d signal=%s records=%u bytes=%zu answer=%s", a->status,
             signal_name(p->signal), p->records, p->decoded_bytes, diag_quote(quoted, a->body));
}

static void on_answer(void *ctx, const struct sink_answer *a)
{
    static void (*const acts[])(struct sender *, const struct sink_answer *) = {
        [ANSWER_ACCEPT] = answer_accept,   [ANSWER_SPLIT] = answer_split,
        [ANSWER_RETRY] = answer_retry,     [ANSWER_SPLIT_LATER] = answer_split_later,
        [ANSWER_RECODE] = answer_recode,   [ANSWER_HOLD] = answer_hold,
        [ANSWER_ISOLATE] = answer_isolate, [ANSWER_DROP] = answer_drop,
    };
    struct sender *s = ctx;
    struct senders *x = s->senders;
    bool was_probe = s->is_probe;
    enum answer answer = a->err != 0 ? ANSWER_RETRY : answer_of_status(a->status);

    s->call = NULL;
    s->is_probe = false;
    count_answer(x, s->parcel, a, answer);
    note_health(x, a, answer, was_probe, s->parcel->attempts);
    acts[answer](s, a);
    dispatch(x);
}

/* ---- sending ----------------------------------------------------------- */

/* Send the parcel in hand, now that the circuit allows it. */
static void sender_start(struct sender *s)
{
    struct senders *x = s->senders;
    if (is_expired(x, s->parcel)) {
        sender_settle(s, FATE_LOST_EXPIRED);
        return;
    }
    /* Packed before the upstream refused that coding. */
    if (s->parcel->signal == SIGNAL_LOGS && s->parcel->coding == CODING_ZSTD &&
        x->opts.packing.coding == CODING_GZIP)
        (void)parcel_recode(s->parcel,
                            &x->opts.packing); /* else it is refused once more, and recoded */
    if (x->sink.ops->send(x->sink.self, s->parcel, on_answer, s, &s->call) < 0) {
        s->parcel->attempts++; /* our own want of memory, or a write that was cancelled */
        sender_wait(s, backoff_ms(&x->rng, s->parcel->attempts));
        return;
    }
    s->state = SENDER_SENDING;
    s->is_probe = circuit_sent(&x->circuit);
    if (s->is_probe)
        x->turn = (uint32_t)(s - x->list) + 1;
}

/* Let everybody send who has something to send and may. */
static void dispatch(struct senders *x)
{
    for (uint32_t i = 0; i < x->count && !x->closing; i++) {
        struct sender *s = &x->list[(x->turn + i) % x->count];
        while (circuit_allows(&x->circuit)) {
            if (s->state == SENDER_IDLE)
                s->parcel = queue_pop(&x->queue);
            else if (s->state != SENDER_PARKED)
                break;
            if (s->parcel == NULL)
                break;
            sender_start(s);
        }
    }
}

int senders_renew(struct senders *x, struct sink *sink)
{
    if (sink->ops != x->sink.ops)
        return ERR_UNSUPPORTED;
    if (sink->ops->renew == NULL) /* nothing about it can have changed, or it is another */
        return strcmp(sink->name, x->sink.name) == 0 ? 0 : ERR_UNSUPPORTED;
    sink->ops->renew(x->sink.self, sink->self);
    x->sink.name = sink->name;
    memcpy(x->sink.takes, sink->takes, sizeof x->sink.takes);
    *sink = (struct sink){0};
    x->circuit.hold_until_ms = 0;
    x->holds_for_key = false;
    circuit_renew(&x->circuit, now_ms(x));
    arm_circuit(x);
    for (uint32_t i = 0; i < x->count; i++)
        if (x->list[i].state == SENDER_BACKOFF)
            uv_timer_start(&x->list[i].timer, on_backoff_over, 0, 0);
    dispatch(x);
    return 0;
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
        if (x->list[i].state == SENDER_BACKOFF || x->list[i].state == SENDER_PARKED)
            return true;
    return x->circuit.state != CIRCUIT_CLOSED;
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
    out->holds_for_key = x->holds_for_key;
    out->circuit = x->circuit.state;
    if (x->circuit.state == CIRCUIT_OPEN && x->circuit.retry_at_ms > now)
        out->retry_in_ms = x->circuit.retry_at_ms - now;
    if (x->circuit.state != CIRCUIT_CLOSED)
        out->outage_ms = now - x->circuit.opened_ms;
    if (x->opts.refused_file != NULL)
        out->refused_file = refused_file_stats(x->opts.refused_file);
    if (x->queue.count > 0)
        note_age(&out->oldest_ms, now,
                 container_of(x->queue.parcels.next, struct parcel, link)->born_ms);
    for (uint32_t i = 0; i < x->count; i++) {
        const struct sender *s = &x->list[i];
        out->in_flight += s->state == SENDER_SENDING;
        out->waiting_to_retry += s->state == SENDER_BACKOFF || s->state == SENDER_PARKED;
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
    x->isolate_credit = ISOLATE_CREDIT;
    uv_timer_init(loop, &x->circuit_timer);
    x->circuit_timer.data = x;
    x->open_handles++;
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
    enum fate fate = x->holds_for_key ? FATE_LOST_AUTH : FATE_LOST_SHUTDOWN;
    for (uint32_t i = 0; i < x->count; i++) {
        struct sender *s = &x->list[i];
        if (s->state == SENDER_SENDING)
            x->sink.ops->cancel(x->sink.self, s->call);
        if (s->parcel != NULL)
            sender_settle(s, fate);
        uv_close((uv_handle_t *)&s->timer, on_timer_closed);
    }
    struct parcel *p;
    while ((p = queue_pop(&x->queue)) != NULL)
        settle(x, p, fate);
    uv_close((uv_handle_t *)&x->circuit_timer, on_timer_closed);
    x->sink.ops->close(x->sink.self);
}
