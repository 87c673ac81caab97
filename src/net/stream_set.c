/* stream_set: the connections of a listener: whose turn it is, and which of them has to go. */
#include <assert.h>

#include "net/stream_state.h"
#include "net/tls.h"

/* Answers that are not read for so long may have to go, and handshakes that have not ended. */
#define STALLED_MS 250

/* And so may a connection that does nothing for so long. */
#define RESTED_MS 2000

/* And one that holds as much for as long: a hundred streams after 10 ms, a single
 * request, of a slow client, after a second. */
#define HELD_KIB_MS 1000

static void move_line(struct stream_set *set)
{
    set->taken = 0;
    set->handshakes = 0;
    for (int n = 0; n < STREAM_TURN_RESUMED && stream_set_has_line(set); n++) {
        struct list *next = list_is_empty(&set->begun) ? set->line.next : set->begun.next;
        struct stream *s = container_of(next, struct stream, line);
        list_remove(&s->line);
        stream_resume(s);
    }
    for (int n = 0; n < STREAM_TURN_MORE && !list_is_empty(&set->more); n++) {
        struct stream *s = container_of(set->more.next, struct stream, line);
        list_remove(&s->line);
        stream_turn(s);
    }
    while (set->handshakes < STREAM_TURN_HANDSHAKES && !list_is_empty(&set->hellos)) {
        struct stream *s = container_of(set->hellos.next, struct stream, line);
        list_remove(&s->line);
        set->handshakes++; /* whatever comes of it */
        stream_resume(s);
    }
}

/* The sessions that wake() named: their answers were made outside of a read. */
static void on_turn(uv_idle_t *idle)
{
    struct stream_set *set = container_of(idle, struct stream_set, turn);
    /* Only those that are awake now: a stream that wakes again waits a turn. */
    struct list now;
    list_init(&now);
    while (!list_is_empty(&set->awake)) {
        struct list *node = set->awake.next;
        list_remove(node);
        list_append(&now, node);
    }
    while (!list_is_empty(&now)) {
        struct stream *s = container_of(now.next, struct stream, awake);
        list_remove(&s->awake);
        stream_turn(s);
    }
    move_line(set);
    if (list_is_empty(&set->awake) && list_is_empty(&set->more) && list_is_empty(&set->hellos) &&
        !stream_set_has_line(set)) {
        set->is_turning = false;
        uv_idle_stop(&set->turn);
    }
}

void stream_set_want_turn(struct stream_set *set)
{
    if (set->is_turning)
        return;
    set->is_turning = true;
    uv_idle_start(&set->turn, on_turn);
}

int stream_set_init(struct stream_set *set, uv_loop_t *loop, struct http_service *service)
{
    set->loop = loop;
    set->service = service;
    list_init(&set->all);
    list_init(&set->awake);
    list_init(&set->begun);
    list_init(&set->line);
    list_init(&set->more);
    list_init(&set->hellos);
    return uv_idle_init(loop, &set->turn);
}

void stream_set_done(struct stream_set *set, uv_close_cb closed)
{
    assert(set->count == 0);
    uv_close((uv_handle_t *)&set->turn, closed);
}

void stream_set_tick(struct stream_set *set)
{
    LIST_EACH (node, &set->all)
        stream_tick(container_of(node, struct stream, node));
}

static bool is_resting(const struct stream *s)
{
    return s->state == STREAM_SNIFF || s->state == STREAM_LINGER ||
           (s->state == STREAM_OPEN && s->ops->is_idle(s->session) && s->stash.len == 0);
}

bool stream_set_end_idle(struct stream_set *set)
{
    struct stream *oldest = NULL;
    LIST_EACH (node, &set->all) {
        struct stream *s = container_of(node, struct stream, node);
        if (!s->in_session && is_resting(s) && stream_unsent(s) == 0 &&
            (oldest == NULL || s->used_ms < oldest->used_ms))
            oldest = s;
    }
    if (oldest == NULL)
        return false;
    metric_inc(&set->service->faults[HTTP_FAULT_CONNECTIONS]);
    stream_close(oldest);
    return true;
}

void stream_set_slowest(struct stream_set *set, struct stream_victim *out)
{
    uint64_t now = clock_now_ms(set->service->clock);
    LIST_EACH (node, &set->all) {
        struct stream *s = container_of(node, struct stream, node);
        struct http_slow slow;
        if (s->state != STREAM_OPEN || s->in_session || !s->ops->slowest(s->session, now, &slow))
            continue;
        double worth = 1 / (1 + slow.bytes_per_s);
        if (worth > out->worth)
            *out = (struct stream_victim){s, slow.x, worth};
    }
}

void stream_set_held(struct stream_set *set, struct stream_victim *out)
{
    uint64_t now = clock_now_ms(set->service->clock);
    LIST_EACH (node, &set->all) {
        struct stream *s = container_of(node, struct stream, node);
        if (s->state != STREAM_OPEN || s->in_session)
            continue;
        uint64_t held = s->ops->held_kib_ms(s->session, now);
        if (held > HELD_KIB_MS && (double)held > out->worth)
            *out = (struct stream_victim){s, NULL, (double)held};
    }
}

void stream_set_stalled(struct stream_set *set, struct stream_victim *out)
{
    uint64_t now = clock_now_ms(set->service->clock);
    if (set->closing > 0)
        return; /* one after the other, or all would go before the first has given anything back */
    LIST_EACH (node, &set->all) {
        struct stream *s = container_of(node, struct stream, node);
        bool is_stalled = stream_unsent(s) > 0 && now - s->since_ms > STALLED_MS;
        /* A handshake is a matter of one round trip; bytes that dribble do not prolong it. */
        bool is_shaking = s->is_tls && s->session != NULL && tls_is_shaking(s->session);
        uint64_t waited_ms = now - (is_stalled || is_shaking ? s->since_ms : s->used_ms);
        bool is_waiting = s->session != NULL && s->ops->is_waiting(s->session);
        bool is_left = is_resting(s) && stream_unsent(s) == 0 &&
                       waited_ms > (is_shaking ? STALLED_MS : RESTED_MS);
        if (s->in_session || is_waiting || !(is_stalled || is_left))
            continue;
        /* Of equals those that hold answers: their peers do not read. */
        double worth = (double)waited_ms + (is_stalled ? (double)stream_unsent(s) : 0);
        if (worth > out->worth)
            *out = (struct stream_victim){s, NULL, worth};
    }
}

void stream_evict(const struct stream_victim *v)
{
    if (v->x != NULL)
        v->stream->ops->evict(v->stream->session, v->x);
    else
        stream_close(v->stream);
}

void stream_set_close(struct stream_set *set)
{
    LIST_EACH (node, &set->all)
        stream_close(container_of(node, struct stream, node));
}

bool stream_set_is_quiet(const struct stream_set *set)
{
    if (stream_set_has_line(set) || !list_is_empty(&set->more))
        return false;
    LIST_EACH (node, &set->all) {
        const struct stream *s = container_of(node, struct stream, node);
        if (stream_unsent(s) > 0 || s->stash.len > 0)
            return false;
        if (s->state == STREAM_OPEN && !s->ops->is_idle(s->session))
            return false;
    }
    return true;
}
