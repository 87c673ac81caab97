/* sender_answer: what an answer does to the parcel in hand, by a table. */
#include <string.h>

#include "export/sender_state.h"
#include "otlp/response.h"
#include "util/diag.h"

#define SPLIT_LATER_ATTEMPTS 4 /* tries of a batch answered 500 before it is halved */
#define SPLIT_QUEUE_MAX 512    /* an outage that answers 500 must not turn batches into dust */

#define PAGE_LOG_MS 60000 /* between lines about pages */
#define ISOLATE_GAIN 2    /* see ISOLATE_CREDIT */

/* Halve; the first half is tried at once, the second waits at the head of the queue.
 * ERR_EMPTY: there is nothing to halve; other errors: not now. */
static int sender_split(struct sender *s)
{
    struct senders *x = s->senders;
    struct parcel *a, *b;
    int rc = parcel_split(&s->parcel, &a, &b, &x->opts.packing);
    if (rc < 0)
        return rc;
    struct queue *q = senders_queue_of(x, a);
    queue_push_front(q, b);
    queue_push_front(q, a);
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

static bool is_page(const struct sink_answer *a)
{
    struct span rest = a->body;
    if (a->content_type.len >= 9 && span_ieq(span_of(a->content_type.base, 9), SPAN("text/html")))
        return true;
    while (rest.len > 0 && strchr(" \t\r\n", rest.base[0]) != NULL && rest.base[0] != '\0')
        rest = span_skip(rest, 1);
    return (rest.len >= 9 && span_ieq(span_of(rest.base, 9), SPAN("<!doctype"))) ||
           (rest.len >= 5 && span_ieq(span_of(rest.base, 5), SPAN("<html")));
}

/* A page is no answer to OTLP. It counts as delivered: records that were stored are not sent
 * twice, and those that were not are reported here. */
static void warn_page(struct senders *x, const struct sink_answer *a)
{
    char host[DIAG_QUOTE_BYTES], right[DIAG_QUOTE_BYTES];
    uint64_t now = senders_now_ms(x);
    metric_inc(&x->stats->page_answers);
    if (x->page_logged_ms != 0 && now - x->page_logged_ms < PAGE_LOG_MS)
        return;
    x->page_logged_ms = now;
    senders_note_address(x, a);
    diag(DIAG_WARN, "upstream_page",
         "the upstream answers with a web page: records count as delivered, but are likely not "
         "stored; is the address right?",
         "status=%d host=%s right_host=%s", a->status, diag_quote(host, span_str(x->host)),
         diag_quote(right, span_str(x->right_host)));
}

static void answer_accept(struct sender *s, const struct sink_answer *a)
{
    struct senders *x = s->senders;
    if (is_page(a))
        warn_page(x, a);
    uint64_t rejected = read_rejected(s, a);
    x->last_success_ms = senders_now_ms(x);
    metric_add(&x->stats->sent_wire_bytes, s->parcel->body.len);
    metric_add(&x->stats->sent_decoded_bytes, s->parcel->decoded_bytes);
    if (s->parcel->signal == SIGNAL_LOGS) {
        metric_add(&x->stats->sent_logs_bytes, s->parcel->decoded_bytes);
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
    if (p->attempts + 1 < SPLIT_LATER_ATTEMPTS || senders_queued(x) > SPLIT_QUEUE_MAX ||
        sender_split(s) < 0) {
        bool others_passed = p->failed_ms > 0 && x->last_success_ms > p->failed_ms;
        if (p->attempts + 1 >= SPLIT_LATER_ATTEMPTS && p->records <= 1 && others_passed)
            sender_settle(s, FATE_LOST_POISON);
        else
            sender_retry(s);
    } else { /* there is something new to try */
        circuit_renew(&x->circuit, senders_now_ms(x));
        senders_arm_circuit(x);
    }
}

/* No answer in time: the upstream is ill, or this batch takes too long. What has had its
 * second chance is halved; one record is tried again and again, in its turn. */
static void answer_late(struct sender *s)
{
    struct senders *x = s->senders;
    bool halve = s->parcel->is_slow && senders_queued(x) <= SPLIT_QUEUE_MAX;
    uint32_t records = s->parcel->records;
    size_t bytes = s->parcel->decoded_bytes;
    if (!halve || sender_split(s) < 0)
        sender_put_slow(s);
    else
        diag(DIAG_WARN, "upstream_slow",
             "a request had no answer in time, twice; its halves are tried", "records=%u bytes=%zu",
             records, bytes);
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
        sender_go(s, SENDER_PARKED); /* for the dispatch that follows */
}

static void answer_hold(struct sender *s, const struct sink_answer *a)
{
    (void)a;
    s->parcel->attempts++;
    sender_go(s, SENDER_PARKED);
}

static void answer_drop(struct sender *s, const struct sink_answer *a)
{
    bool is_of_key = answer_of_status(a->status) == ANSWER_HOLD; /* its client's own */
    sender_settle(s, is_of_key ? FATE_LOST_AUTH : FATE_LOST_REFUSED);
}

/* No answer, or one that a gateway may have given in the place of PostHog's. */
static bool is_doubtful(const struct sink_answer *a)
{
    return a->err != 0 ? a->err != ERR_UNAVAILABLE
                       : a->status == 408 || (a->status >= 502 && a->status <= 504);
}

static void count_answer(struct senders *x, const struct parcel *p, const struct sink_answer *a,
                         enum answer answer)
{
    char quoted[DIAG_QUOTE_BYTES];
    x->last_status = a->err == 0 ? a->status : 0;
    metric_inc(a->err != 0 ? &x->stats->failures : &x->stats->answers[answer]);
    if (p->signal == SIGNAL_LOGS && (a->was_repeated || is_doubtful(a)))
        metric_add(&x->stats->doubtful_records, p->records);
    if (a->err != 0)
        diag(DIAG_DEBUG, "upstream_failed", "no answer", "signal=%s attempts=%u error=%s",
             signal_name(p->signal), p->attempts + 1,
             diag_quote(quoted, span_str(a->text != NULL ? a->text : err_text(a->err))));
    else if (answer != ANSWER_ACCEPT)
        diag(senders_is_failure(a, answer) ? DIAG_DEBUG
             : answer == ANSWER_DROP       ? DIAG_ERROR
                                           : DIAG_WARN,
             "upstream_refused", answer_text(answer),
             "status=%d signal=%s records=%u bytes=%zu answer=%s", a->status,
             signal_name(p->signal), p->records, p->decoded_bytes, diag_quote(quoted, a->body));
}

void sender_on_answer(void *ctx, const struct sink_answer *a)
{
    static void (*const acts[])(struct sender *, const struct sink_answer *) = {
        [ANSWER_ACCEPT] = answer_accept,   [ANSWER_SPLIT] = answer_split,
        [ANSWER_RETRY] = answer_retry,     [ANSWER_SPLIT_LATER] = answer_split_later,
        [ANSWER_RECODE] = answer_recode,   [ANSWER_HOLD] = answer_hold,
        [ANSWER_ISOLATE] = answer_isolate, [ANSWER_DROP] = answer_drop,
        [ANSWER_ASTRAY] = answer_hold,
    };
    struct sender *s = ctx;
    struct senders *x = s->senders;
    bool was_probe = s->is_probe;
    enum answer verdict = a->err != 0 ? ANSWER_RETRY : answer_of_status(a->status);
    /* Traces and metrics have paths of their own, which not every upstream has: that one of them
     * is missing is no reason to hold logs. */
    bool is_theirs = verdict == ANSWER_ASTRAY && s->parcel->signal != SIGNAL_LOGS;
    /* A client's own key that is refused is no reason to hold what others have sent. */
    is_theirs |= verdict == ANSWER_HOLD && s->parcel->key[0] != '\0';
    enum answer answer = is_theirs ? ANSWER_DROP : verdict;
    bool is_late = a->err == UV_ETIMEDOUT;

    s->call = NULL;
    s->is_probe = false;
    count_answer(x, s->parcel, a, answer);
    /* A slow one says nothing of the upstream while others are sent as well. */
    if (!is_late || was_probe || !s->parcel->is_slow)
        senders_note_health(x, a, x->hold == ANSWER_ASTRAY ? verdict : answer, was_probe,
                            s->parcel);
    if (is_late)
        answer_late(s);
    else
        acts[answer](s, a);
    senders_dispatch(x);
}
