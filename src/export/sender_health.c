/* sender_health: what an answer means to all senders, and the log lines about it. */
#include <stdio.h>
#include <string.h>

#include "export/posthog.h"
#include "export/sender_state.h"
#include "util/diag.h"

#define HOLD_MS 30000 /* between tries with a key that was refused, or at a wrong address */

bool senders_is_expired(const struct senders *x, const struct parcel *p)
{
    return x->opts.max_age_ms > 0 && senders_now_ms(x) - p->born_ms > x->opts.max_age_ms;
}

/* Age is looked at when a parcel is sent; while the circuit is open, here. */
static void give_up_expired(struct senders *x)
{
    for (uint32_t i = 0; i < x->count; i++)
        if (x->list[i].state == SENDER_PARKED && senders_is_expired(x, x->list[i].parcel))
            sender_settle(&x->list[i], FATE_LOST_EXPIRED);
    for (struct queue *q = x->queues; q < x->queues + QUEUE_COUNT; q++)
        while (q->count > 0 && senders_is_expired(x, queue_first(q)))
            senders_settle(x, queue_pop(q), FATE_LOST_EXPIRED);
}

static void on_circuit_time(uv_timer_t *timer);

void senders_arm_circuit(struct senders *x)
{
    uint64_t now = senders_now_ms(x);
    if (x->circuit.state != CIRCUIT_OPEN)
        uv_timer_stop(&x->circuit_timer);
    else
        uv_timer_start(&x->circuit_timer, on_circuit_time,
                       x->circuit.retry_at_ms > now ? x->circuit.retry_at_ms - now : 1, 0);
}

static void on_circuit_time(uv_timer_t *timer)
{
    struct senders *x = container_of(timer, struct senders, circuit_timer);
    circuit_half_open(&x->circuit, senders_now_ms(x));
    give_up_expired(x);
    senders_arm_circuit(x);
    senders_dispatch(x);
}

static const char *what_is_down(const struct senders *x, const struct sink_answer *a)
{
    if (x->hold == ANSWER_ASTRAY)
        return "this address takes no logs; records wait until it is right";
    if (x->hold == ANSWER_HOLD)
        return a->status == 407
                   ? "the proxy refuses its credentials; records wait until they are right"
                   : "the upstream refuses the key; records wait until it is right";
    if (a->err == ERR_UNTRUSTED)
        return "the upstream cannot be trusted; nothing is sent, records wait";
    return "the upstream does not take records; they wait";
}

void senders_note_address(struct senders *x, const struct sink_answer *a)
{
    struct span host = url_authority(x->sink.address == NULL ? "" : x->sink.address);
    snprintf(x->host, sizeof x->host, "%.*s", (int)host.len, (const char *)host.base);
    x->right_host[0] = '\0';
    if (x->sink.address != NULL)
        posthog_right_host(x->right_host, sizeof x->right_host, x->sink.address, a->location);
}

static void log_address(const struct senders *x, const struct sink_answer *a)
{
    char host[DIAG_QUOTE_BYTES], right[DIAG_QUOTE_BYTES], location[DIAG_QUOTE_BYTES];
    diag(DIAG_ERROR, "wrong_address",
         x->right_host[0] != '\0' ? "logs are likely taken by right_host"
                                  : "is the host right, and the path?",
         "status=%d host=%s right_host=%s location=%s", a->status,
         diag_quote(host, span_str(x->host)), diag_quote(right, span_str(x->right_host)),
         diag_quote(location, a->location));
}

/* One line when it opens, and one when there is another reason, not one a try. */
static void log_down(struct senders *x, const struct sink_answer *a, bool opened)
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
    uint64_t now = senders_now_ms(x), at = x->circuit.retry_at_ms;
    uint32_t waiting = senders_queued(x);
    for (uint32_t i = 0; i < x->count; i++)
        waiting += x->list[i].parcel != NULL;
    diag(x->hold != ANSWER_ACCEPT ? DIAG_ERROR : DIAG_WARN, "upstream_down", what_is_down(x, a),
         "status=%d error=%s retry_in_ms=%llu waiting_requests=%u", status,
         diag_quote(quoted, a->err != 0 ? span_str(said) : a->body),
         (unsigned long long)(at > now ? at - now : 0), waiting);
    if (x->hold == ANSWER_ASTRAY)
        log_address(x, a);
}

/* What is asked for, as it came; how long that is held is capped. */
static void log_long_wait(const struct sink_answer *a)
{
    char quoted[DIAG_QUOTE_BYTES];
    diag(DIAG_WARN, "retry_after_long",
         "the upstream asks for a long wait; it is tried again when the longest is over",
         "status=%d retry_after=%s longest_ms=%d", a->status, diag_quote(quoted, a->retry_after),
         RETRY_AFTER_CAP_MS);
}

bool senders_is_failure(const struct sink_answer *a, enum answer answer)
{
    return a->err != 0 || answer == ANSWER_RETRY || answer == ANSWER_SPLIT_LATER ||
           answer == ANSWER_HOLD || answer == ANSWER_ASTRAY;
}

void senders_note_health(struct senders *x, const struct sink_answer *a, enum answer answer,
                         bool was_probe, const struct parcel *p)
{
    uint64_t now = senders_now_ms(x);
    bool holds = a->err == 0 && (answer == ANSWER_HOLD || answer == ANSWER_ASTRAY);
    x->hold = holds ? answer : ANSWER_ACCEPT;
    if (x->hold == ANSWER_ASTRAY)
        senders_note_address(x, a);
    if (senders_is_failure(a, answer)) {
        struct circuit_failure f = {
            .was_probe = was_probe,
            .for_all = holds || a->err == ERR_UNAVAILABLE || a->err == ERR_UNTRUSTED,
        };
        uint64_t asked = a->err == 0 && !holds
                             ? retry_after_ms(a->retry_after, clock_unix_ns(x->opts.clock))
                             : 0;
        if (holds)
            f.wait_ms = HOLD_MS / 2 + rng_upto(&x->rng, HOLD_MS / 2);
        /* It may be this batch's alone: the next one in turn does not wait for all its tries. */
        bool is_its_own =
            a->err == 0 ? answer == ANSWER_SPLIT_LATER : a->err == UV_ETIMEDOUT && p->is_slow;
        if (is_its_own && was_probe)
            f.wait_ms = 1 + backoff_ms(&x->rng, p->attempts + 1);
        if (asked > 0) {
            /* Not before the time asked for, and not every client in the same instant. */
            f.wait_ms = asked + rng_upto(&x->rng, BACKOFF_BASE_MS);
            f.for_all = f.is_asked = true;
            if (asked == RETRY_AFTER_CAP_MS)
                log_long_wait(a);
        }
        bool opened = circuit_fail(&x->circuit, &f, now, &x->rng);
        if (x->circuit.state != CIRCUIT_CLOSED)
            log_down(x, a, opened);
    } else {
        uint64_t since = x->circuit.opened_ms;
        uint32_t failures = x->circuit.failures;
        if (circuit_pass(&x->circuit, now))
            diag(DIAG_INFO, "upstream_up", "the upstream answers again",
                 "outage_ms=%llu failures=%u", (unsigned long long)(now - since), failures);
    }
    senders_arm_circuit(x);
}
