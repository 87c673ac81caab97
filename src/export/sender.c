/* sender: the queue, and a few state machines that empty it. */
#include "export/sender.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "export/sender_state.h"

void sender_go(struct sender *s, enum sender_state to)
{
#define TO(name) (1u << SENDER_##name)
#define X(name, next) [SENDER_##name] = next,
    static const uint8_t allowed[] = {SENDER_STATES(X)};
#undef X
#undef TO
    assert(allowed[s->state] & 1u << to);
    s->state = to;
    uv_timer_stop(&s->timer);
}

/* ---- settling ---------------------------------------------------------- */

/* Refused records go to the refused file, as far as it has room. */
static void keep_refused(struct senders *x, struct parcel *p)
{
    struct buf plain;
    if (parcel_unpack(p, &plain, &x->opts.packing) < 0) {
        refused_file_leave_out(x->opts.refused_file, p->records);
        return;
    }
    /* It counts and logs. */
    ignore_code(refused_file_put(x->opts.refused_file, buf_span(&plain), p->records));
    buf_done(&plain);
}

void senders_settle(struct senders *x, struct parcel *p, enum fate fate)
{
    bool is_refused =
        fate == FATE_LOST_REFUSED || fate == FATE_LOST_TOO_BIG || fate == FATE_LOST_POISON;
    if (p->signal != SIGNAL_LOGS) {
        bool delivered = fate == FATE_DELIVERED;
        metric_add(&x->stats->relay[p->signal].delivered, delivered);
        metric_add(&x->stats->relay[p->signal].lost, !delivered);
    } else if (is_refused && x->opts.refused_file != NULL) {
        keep_refused(x, p);
    }
    parcel_settle(p, fate, &x->opts.fates);
}

struct parcel *sender_release(struct sender *s)
{
    struct parcel *p = s->parcel;
    s->parcel = NULL;
    sender_go(s, SENDER_IDLE);
    return p;
}

void sender_settle(struct sender *s, enum fate fate)
{
    senders_settle(s->senders, sender_release(s), fate);
}

/* ---- waiting for another try ------------------------------------------- */

static void on_backoff_over(uv_timer_t *timer)
{
    struct sender *s = container_of(timer, struct sender, timer);
    sender_go(s, SENDER_PARKED); /* until senders_dispatch(), which may be now */
    senders_dispatch(s->senders);
}

static void sender_wait(struct sender *s, uint64_t ms)
{
    sender_go(s, SENDER_BACKOFF);
    uv_timer_start(&s->timer, on_backoff_over, ms, 0);
}

void sender_retry(struct sender *s)
{
    struct senders *x = s->senders;
    struct parcel *p = s->parcel;
    p->attempts++;
    if (p->failed_ms == 0)
        p->failed_ms = senders_now_ms(x);
    if (x->circuit.state == CIRCUIT_CLOSED)
        sender_wait(s, backoff_ms(&x->rng, p->attempts));
    else
        sender_go(s, SENDER_PARKED);
}

/* ---- sending ----------------------------------------------------------- */

/* Send the parcel in hand, now that the circuit allows it. */
static void sender_start(struct sender *s)
{
    struct senders *x = s->senders;
    if (senders_is_expired(x, s->parcel)) {
        sender_settle(s, FATE_LOST_EXPIRED);
        return;
    }
    /* Packed before the upstream refused that coding; where that fails it is refused once more. */
    if (s->parcel->signal == SIGNAL_LOGS && s->parcel->coding == CODING_ZSTD &&
        x->opts.packing.coding == CODING_GZIP)
        ignore_code(parcel_recode(s->parcel, &x->opts.packing));
    if (x->sink.ops->send(x->sink.self, s->parcel, sender_on_answer, s, &s->call) < 0) {
        s->parcel->attempts++; /* our own want of memory, or a write that was cancelled */
        sender_wait(s, backoff_ms(&x->rng, s->parcel->attempts));
        return;
    }
    sender_go(s, SENDER_SENDING);
    s->is_probe = circuit_sent(&x->circuit);
    if (s->is_probe)
        x->turn = (uint32_t)(s - x->list) + 1;
}

void sender_put_slow(struct sender *s)
{
    struct senders *x = s->senders;
    struct parcel *p = sender_release(s);
    p->attempts++;
    if (p->failed_ms == 0)
        p->failed_ms = senders_now_ms(x);
    p->is_slow = true;
    queue_push(senders_queue_of(x, p), p);
}

struct queue *senders_queue_of(struct senders *x, const struct parcel *p)
{
    return &x->queues[p->is_slow ? QUEUE_SLOW : p->is_urgent ? QUEUE_URGENT : QUEUE_PLAIN];
}

uint32_t senders_queued(const struct senders *x)
{
    uint32_t n = 0;
    for (int q = 0; q < QUEUE_COUNT; q++)
        n += x->queues[q].count;
    return n;
}

static bool slow_is_in_hand(const struct senders *x)
{
    for (uint32_t i = 0; i < x->count; i++)
        if (x->list[i].parcel != NULL && x->list[i].parcel->is_slow)
            return true;
    return false;
}

/* The slow ones have one sender, in turn with the others, who are first when the upstream is
 * not well: each may take all the time that a request may take. */
static struct parcel *next_parcel(struct senders *x)
{
    struct queue *slow = &x->queues[QUEUE_SLOW];
    bool may_be_slow = slow->count > 0 && !slow_is_in_hand(x);
    struct parcel *p = queue_pop(&x->queues[QUEUE_URGENT]);
    if (p == NULL && may_be_slow && !x->slow_was_last && x->circuit.state == CIRCUIT_CLOSED)
        p = queue_pop(slow);
    if (p == NULL)
        p = queue_pop(&x->queues[QUEUE_PLAIN]);
    if (p == NULL && may_be_slow)
        p = queue_pop(slow);
    if (p != NULL)
        x->slow_was_last = p->is_slow;
    return p;
}

void senders_dispatch(struct senders *x)
{
    for (uint32_t i = 0; i < x->count && !x->closing; i++) {
        struct sender *s = &x->list[(x->turn + i) % x->count];
        while (circuit_allows(&x->circuit)) {
            if (s->state == SENDER_IDLE)
                s->parcel = next_parcel(x);
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
    x->sink.address = sink->address;
    memcpy(x->sink.takes, sink->takes, sizeof x->sink.takes);
    *sink = (struct sink){0};
    x->circuit.hold_until_ms = 0;
    x->hold = ANSWER_ACCEPT;
    circuit_renew(&x->circuit, senders_now_ms(x));
    senders_arm_circuit(x);
    for (uint32_t i = 0; i < x->count; i++)
        if (x->list[i].state == SENDER_BACKOFF)
            uv_timer_start(&x->list[i].timer, on_backoff_over, 0, 0);
    senders_dispatch(x);
    return 0;
}

/* ---- looking ----------------------------------------------------------- */

void senders_take(struct senders *x, struct parcel **parcel)
{
    queue_push(senders_queue_of(x, *parcel), *parcel);
    *parcel = NULL;
    senders_dispatch(x);
}

bool senders_are_idle(const struct senders *x)
{
    for (uint32_t i = 0; i < x->count; i++)
        if (x->list[i].state != SENDER_IDLE)
            return false;
    return senders_queued(x) == 0;
}

bool senders_are_waiting(const struct senders *x)
{
    for (uint32_t i = 0; i < x->count; i++)
        if (x->list[i].state == SENDER_BACKOFF || x->list[i].state == SENDER_PARKED)
            return true;
    return x->circuit.state != CIRCUIT_CLOSED;
}

uint32_t senders_queued_logs(const struct senders *x, bool urgent)
{
    return x->queues[urgent ? QUEUE_URGENT : QUEUE_PLAIN].logs;
}

size_t senders_bytes(const struct senders *x)
{
    size_t bytes = 0;
    for (int q = 0; q < QUEUE_COUNT; q++)
        bytes += x->queues[q].bytes;
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
    uint64_t now = senders_now_ms(x);
    out->queue_bytes = senders_bytes(x);
    out->queued_parcels = senders_queued(x);
    out->slow_parcels = x->queues[QUEUE_SLOW].count;
    out->last_status = x->last_status;
    out->coding = x->opts.packing.coding;
    out->holds_for_key = x->hold == ANSWER_HOLD;
    out->holds_for_address = x->hold == ANSWER_ASTRAY;
    out->host = x->host;
    out->right_host = x->right_host;
    out->circuit = x->circuit.state;
    if (x->circuit.state == CIRCUIT_OPEN && x->circuit.retry_at_ms > now)
        out->retry_in_ms = x->circuit.retry_at_ms - now;
    if (x->circuit.state != CIRCUIT_CLOSED)
        out->outage_ms = now - x->circuit.opened_ms;
    if (x->opts.refused_file != NULL)
        out->refused_file = refused_file_stats(x->opts.refused_file);
    for (int q = 0; q < QUEUE_COUNT; q++)
        if (x->queues[q].count > 0)
            note_age(&out->oldest_ms, now, queue_first(&x->queues[q])->born_ms);
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
    for (int q = 0; q < QUEUE_COUNT; q++)
        queue_init(&x->queues[q]);
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
    enum fate fate = x->hold == ANSWER_HOLD ? FATE_LOST_AUTH : FATE_LOST_SHUTDOWN;
    for (uint32_t i = 0; i < x->count; i++) {
        struct sender *s = &x->list[i];
        if (s->state == SENDER_SENDING)
            x->sink.ops->cancel(x->sink.self, s->call);
        if (s->parcel != NULL)
            sender_settle(s, fate);
        uv_close((uv_handle_t *)&s->timer, on_timer_closed);
    }
    struct parcel *p;
    for (int q = 0; q < QUEUE_COUNT; q++)
        while ((p = queue_pop(&x->queues[q])) != NULL)
            senders_settle(x, p, fate);
    uv_close((uv_handle_t *)&x->circuit_timer, on_timer_closed);
    x->sink.ops->close(x->sink.self);
}
