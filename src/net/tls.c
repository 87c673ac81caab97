/* tls: records in, records out; between them OpenSSL and an inner session. */
#include "net/tls.h"

#include <assert.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "net/sniff.h"
#include "net/tls_context.h"
#include "util/diag.h"

#define RECORD_HEAD_BYTES 5
#define RECORD_MAX_BYTES (16384 + 2048) /* of its payload (RFC 5246 6.2.3; 1.3 has less) */
#define PLAIN_BYTES 16384               /* of a record at most, in both directions */

#define MESSAGE_HEAD_BYTES 4

enum { RECORD_CHANGE_CIPHER = 20, RECORD_HANDSHAKE = 22 };

struct tls {
    struct http_service *service;
    struct http_output output; /* records go there */
    struct tls_context *context;
    SSL *ssl;
    const struct http_session_ops *ops; /* of `inner` */
    void *inner;                        /* NULL until it is known which */
    struct sniff sniff;
    struct tls_wire wire;
    struct buf partial; /* the beginning of the next one */
    struct buf plain;   /* read, and not used by `inner` yet */
    struct buf out;     /* `inner` writes here */
    size_t charged;     /* for OpenSSL's memory, to the account of handshakes, then to `overhead` */
    size_t message_left; /* of the handshake's message in hand */
    uint64_t since_ms;   /* when the handshake began or ended */
    uint32_t records;    /* in a row that brought nothing; of the handshake all */
    bool is_shaken;      /* the handshake is over */
    bool changed_cipher; /* the peer's records may be encrypted */
    bool has_closed;     /* the peer sends no more: its close_notify, or the end of the stream */
    bool is_over;
};

static uint64_t now_ms(const struct tls *t)
{
    return clock_now_ms(t->service->clock);
}

static void fault(struct tls *t, enum http_fault f)
{
    metric_inc(&t->service->faults[f]);
}

/* ---- the end ---- */

static void fail(struct tls *t)
{
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    if (!t->is_shaken) {
        fault(t, HTTP_FAULT_HANDSHAKE);
        diag(DIAG_WARN, "tls_handshake_failed", "a client and this port did not agree on TLS",
             "reason=\"%s\"", why != NULL ? why : "no memory");
    } else {
        fault(t, HTTP_FAULT_BAD_REQUEST);
    }
    ERR_clear_error();
    t->is_over = true; /* what OpenSSL has to say of it is in the output */
}

/* Say close_notify: the inner session has had its last word. */
static void end(struct tls *t)
{
    ERR_clear_error();
    SSL_shutdown(t->ssl);
    ERR_clear_error();
    t->is_over = true;
}

static void flood(struct tls *t)
{
    fault(t, HTTP_FAULT_FLOOD);
    t->is_over = true;
}

/* ---- plain bytes out ---- */

static void write_records(struct tls *t)
{
    while (!t->is_over && t->out.len > 0 && t->output.out->len < HTTP_OUT_HIGH_BYTES) {
        size_t n = t->out.len < PLAIN_BYTES ? t->out.len : PLAIN_BYTES, written;
        ERR_clear_error();
        if (SSL_write_ex(t->ssl, t->out.base, n, &written) != 1) {
            fail(t);
            return;
        }
        buf_consume(&t->out, written);
    }
    if (t->out.err != 0)
        t->is_over = true; /* out of memory inside an answer: it cannot be mended */
    if (t->out.len > 0)
        return;
    buf_done(&t->out);
    if (!t->is_over && t->inner != NULL && t->ops->is_over(t->inner))
        end(t);
}

/* Offer what waits; as long as there was no room for answers, and is now. */
static void run_inner(struct tls *t)
{
    bool was_full = true;
    write_records(t); /* an open answer may have left more than the mark */
    while (was_full && !t->is_over && t->inner != NULL && t->out.len < HTTP_OUT_HIGH_BYTES) {
        buf_consume(&t->plain, t->ops->feed(t->inner, buf_span(&t->plain)));
        was_full = t->out.len >= HTTP_OUT_HIGH_BYTES;
        write_records(t);
    }
    if (t->plain.len == 0)
        buf_done(&t->plain);
}

/* ---- plain bytes in ---- */

static void on_wake(void *ctx)
{
    struct tls *t = ctx;
    t->output.wake(t->output.ctx);
}

static void open_inner(struct tls *t, enum sniff_kind kind)
{
    struct http_output output = {
        .out = &t->out,
        .ctx = t,
        .wake = on_wake,
        .is_encrypted = true,
        .peer = t->output.peer,
    };
    t->inner = sniff_open(kind, t->service, output, &t->ops);
    if (t->inner == NULL)
        t->is_over = true;
}

/* What was agreed on, or else what the first bytes say. */
static enum sniff_kind kind_of(struct tls *t, struct span in)
{
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(t->ssl, &name, &len);
    if (len > 0)
        return span_eq(span_of(name, len), SPAN("h2")) ? SNIFF_HTTP2 : SNIFF_HTTP1;
    enum sniff_kind kind = sniff_next(&t->sniff, in);
    return kind == SNIFF_TLS ? SNIFF_HTTP1 : kind; /* it will be refused there */
}

static void take_plain(struct tls *t, struct span in)
{
    size_t used = 0;
    if (t->inner == NULL) {
        enum sniff_kind kind = kind_of(t, in);
        buf_append(&t->plain, in);
        if (kind != SNIFF_MORE)
            open_inner(t, kind);
        run_inner(t);
    } else {
        if (t->plain.len == 0)
            used = t->ops->feed(t->inner, in);
        buf_append(&t->plain, span_skip(in, used));
        write_records(t);
    }
    if (t->plain.err != 0)
        t->is_over = true;
}

static void on_peer_closed(struct tls *t)
{
    if (t->has_closed)
        return;
    t->has_closed = true;
    if (t->inner == NULL)
        end(t);
    else
        t->ops->eof(t->inner);
    write_records(t);
}

/* All that the record in hand holds. */
static void read_plain(struct tls *t)
{
    uint8_t scratch[PLAIN_BYTES];
    while (!t->is_over) {
        size_t len = sizeof scratch, n;
        uint8_t *at = NULL;
        if (t->inner != NULL && t->plain.len == 0 && t->ops->lend != NULL)
            at = t->ops->lend(t->inner, &len);
        if (at == NULL) {
            at = scratch;
            len = sizeof scratch;
        }
        ERR_clear_error();
        if (SSL_read_ex(t->ssl, at, len, &n) != 1) {
            int why = SSL_get_error(t->ssl, 0);
            if (why == SSL_ERROR_ZERO_RETURN)
                on_peer_closed(t);
            else if (why != SSL_ERROR_WANT_READ)
                fail(t);
            break;
        }
        t->records = 0;
        take_plain(t, span_of(at, n));
    }
}

/* ---- records in ---- */

/* How long the record is that begins here; 0: that cannot be said yet. A head that announces more
 * than may be goes to OpenSSL alone, which knows what to answer. */
static size_t record_bytes(struct span in)
{
    if (in.len < RECORD_HEAD_BYTES)
        return 0;
    size_t payload = (size_t)in.base[3] << 8 | in.base[4];
    return RECORD_HEAD_BYTES + (payload <= RECORD_MAX_BYTES ? payload : 0);
}

/* Messages of a handshake in clear, only for how long they say they are. */
static bool messages_are_short(struct tls *t, struct span record)
{
    if (record.base[0] == RECORD_CHANGE_CIPHER)
        t->changed_cipher = true;
    bool is_clear = !t->changed_cipher || SSL_version(t->ssl) == TLS1_3_VERSION;
    if (t->is_shaken || !is_clear || record.base[0] != RECORD_HANDSHAKE)
        return true;
    struct span in = span_skip(record, RECORD_HEAD_BYTES);
    while (in.len > 0) {
        if (t->message_left == 0) {
            if (in.len < MESSAGE_HEAD_BYTES)
                return false;
            t->message_left = MESSAGE_HEAD_BYTES +
                              ((size_t)in.base[1] << 16 | (size_t)in.base[2] << 8 | in.base[3]);
            if (t->message_left > TLS_MESSAGE_BYTES)
                return false;
        }
        size_t n = t->message_left < in.len ? t->message_left : in.len;
        t->message_left -= n;
        in = span_skip(in, n);
    }
    return true;
}

/* A client's certificates stay with the connection. */
static size_t session_bytes(const struct tls *t)
{
    size_t bytes = TLS_SESSION_BYTES;
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(t->ssl);
    X509 *own = SSL_get0_peer_certificate(t->ssl); /* not in the chain, on a server */
    if (own != NULL)
        bytes += TLS_CERTIFICATE_BYTES + TLS_CERTIFICATE_FACTOR * (size_t)i2d_X509(own, NULL);
    for (int i = 0; i < sk_X509_num(chain); i++)
        bytes += TLS_CERTIFICATE_BYTES +
                 TLS_CERTIFICATE_FACTOR * (size_t)i2d_X509(sk_X509_value(chain, i), NULL);
    return bytes;
}

static struct budget *handshake_memory(const struct http_service *service)
{
    return service->handshake_memory != NULL ? service->handshake_memory : service->overhead;
}

static void settle_charge(struct tls *t)
{
    size_t bytes = session_bytes(t);
    budget_give(handshake_memory(t->service), t->charged);
    t->charged = 0;
    if (budget_take(t->service->overhead, bytes) == 0)
        t->charged = bytes;
    else
        t->is_over = true;
}

static void shake(struct tls *t)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(t->ssl);
    if (rc != 1) {
        if (SSL_get_error(t->ssl, rc) != SSL_ERROR_WANT_READ)
            fail(t);
        return;
    }
    t->is_shaken = true;
    t->records = 0;
    t->since_ms = now_ms(t);
    settle_charge(t);
    metric_inc(&t->service->handshakes);
}

static void use_record(struct tls *t, struct span record)
{
    if (++t->records > (t->is_shaken ? TLS_EMPTY_RECORDS : TLS_HANDSHAKE_RECORDS) ||
        !messages_are_short(t, record)) {
        flood(t);
        return;
    }
    t->wire.in = record;
    if (!t->is_shaken)
        shake(t);
    else
        read_plain(t);
    if (t->wire.in.len > 0 && !t->is_over)
        fail(t); /* a whole record is read at once; this one was announced too long */
    t->wire.in = (struct span){0};
}

/* Move from `in` what is missing of the record that has begun. */
static size_t complete(struct tls *t, struct span in)
{
    size_t used = 0;
    while (used < in.len) {
        size_t whole = record_bytes(buf_span(&t->partial));
        size_t want = whole > 0 ? whole : RECORD_HEAD_BYTES;
        size_t missing = want - t->partial.len, left = in.len - used;
        size_t n = missing < left ? missing : left;
        buf_append(&t->partial, span_of(in.base + used, n));
        used += n;
        if (t->partial.err != 0) {
            t->is_over = true;
            break;
        }
        if (t->partial.len == record_bytes(buf_span(&t->partial))) {
            use_record(t, buf_span(&t->partial));
            buf_done(&t->partial);
            break;
        }
    }
    return used;
}

/* Use one record, or keep what there is of it. Returns what was used of `in`. */
static size_t next_record(struct tls *t, struct span in)
{
    size_t whole = record_bytes(in);
    if (t->partial.len > 0 || whole == 0 || whole > in.len)
        return complete(t, in);
    use_record(t, span_of(in.base, whole));
    return whole;
}

static bool may_read(const struct tls *t)
{
    return !t->is_over && !t->has_closed && (t->inner == NULL || t->plain.len == 0) &&
           t->output.out->len < HTTP_OUT_HIGH_BYTES;
}

static size_t tls_feed(void *session, struct span in)
{
    struct tls *t = session;
    size_t used = 0;
    run_inner(t);
    while (used < in.len && may_read(t))
        used += next_record(t, span_skip(in, used));
    return t->is_over || t->has_closed ? in.len : used;
}

static void tls_eof(void *session)
{
    struct tls *t = session;
    if (t->partial.len > 0 || !t->is_shaken)
        fault(t, HTTP_FAULT_ABORTED);
    on_peer_closed(t);
}

/* ---- the rest of a session ---- */

static void tls_tick(void *session)
{
    struct tls *t = session;
    const struct http_service *service = t->service;
    uint64_t waited_ms = now_ms(t) - t->since_ms;
    if (t->inner != NULL) {
        t->ops->tick(t->inner);
        write_records(t);
    } else if (!t->is_shaken && waited_ms > service->head_timeout_ms) {
        fault(t, HTTP_FAULT_TIMEOUT);
        t->is_over = true;
    } else if (t->is_shaken && (service->draining || waited_ms > service->silent_timeout_ms)) {
        end(t);
    }
}

static void tls_free(void *session)
{
    struct tls *t = session;
    if (t->inner != NULL)
        t->ops->free(t->inner);
    SSL_free(t->ssl);
    tls_context_unref(t->context);
    buf_done(&t->partial);
    buf_done(&t->plain);
    buf_done(&t->out);
    budget_give(t->is_shaken ? t->service->overhead : handshake_memory(t->service), t->charged);
    budget_give(t->service->overhead, sizeof *t);
    free(t);
}

static bool tls_slowest(const void *session, uint64_t now, struct http_slow *out)
{
    const struct tls *t = session;
    return t->inner != NULL && t->ops->slowest(t->inner, now, out);
}

static void tls_evict(void *session, struct http_exchange *x)
{
    struct tls *t = session;
    t->ops->evict(t->inner, x);
}

static uint64_t tls_held_kib_ms(const void *session, uint64_t now)
{
    const struct tls *t = session;
    return t->inner != NULL ? t->ops->held_kib_ms(t->inner, now) : 0;
}

static bool tls_is_waiting(const void *session)
{
    const struct tls *t = session;
    return t->inner != NULL && t->ops->is_waiting(t->inner);
}

static bool tls_is_idle(const void *session)
{
    const struct tls *t = session;
    return t->inner == NULL || (t->out.len == 0 && t->ops->is_idle(t->inner));
}

static bool tls_is_over(const void *session)
{
    return ((const struct tls *)session)->is_over;
}

bool tls_is_shaking(const struct tls *t)
{
    return !t->is_shaken && !t->is_over;
}

const struct http_session_ops tls_ops = {
    .feed = tls_feed,
    .lend = NULL, /* records are decrypted to where the inner session wants them */
    .eof = tls_eof,
    .tick = tls_tick,
    .free = tls_free,
    .slowest = tls_slowest,
    .evict = tls_evict,
    .held_kib_ms = tls_held_kib_ms,
    .is_waiting = tls_is_waiting,
    .is_idle = tls_is_idle,
    .is_over = tls_is_over,
};

struct tls *tls_new(struct http_service *service, struct http_output output)
{
    if (budget_take(service->overhead, sizeof(struct tls)) < 0)
        return NULL;
    struct tls *t = calloc(1, sizeof *t);
    if (t == NULL) {
        budget_give(service->overhead, sizeof *t);
        return NULL;
    }
    t->service = service;
    t->output = output;
    t->wire.out = output.out;
    t->since_ms = now_ms(t);
    t->partial.budget = t->plain.budget = t->out.budget = service->overhead;
    if (budget_take(handshake_memory(service), TLS_HANDSHAKE_BYTES) == 0) {
        t->charged = TLS_HANDSHAKE_BYTES;
        t->context = tls_context_ref(service->tls->context);
        t->ssl = tls_context_open(t->context, &t->wire);
    }
    if (t->ssl == NULL) {
        tls_free(t);
        return NULL;
    }
    return t;
}
