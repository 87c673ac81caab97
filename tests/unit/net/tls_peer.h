/*
 * tls_peer: a client of TLS in memory, face to face with a session of net/tls.
 */
#pragma once

#include <assert.h>
#include <openssl/ssl.h>

#include "net/tls.h"
#include "net/tls_context.h"
#include "unit/net/certificates.h"
#include "unit/net/probe.h"

struct tls_peer {
    struct probe probe;
    struct tls_port port;
    struct tls *session;
    struct buf out; /* of the server, not read by the client yet */
    SSL_CTX *ctx;
    SSL *ssl;
    int wakes;
};

struct tls_peer_opts {
    int version;      /* TLS1_2_VERSION, TLS1_3_VERSION */
    const char *alpn; /* as on the wire, "\x02h2"; NULL: none */
    const struct certificate *certificate;
    int chain_length; /* more certificates that are shown with it */
    size_t memory;    /* 0: as probe_init() */
};

static inline void tls_peer_on_wake(void *ctx)
{
    ((struct tls_peer *)ctx)->wakes++;
}

static inline void tls_peer_open(struct tls_peer *p, const struct tls_files *files,
                                 const struct tls_peer_opts *o)
{
    struct error err = {{0}};
    *p = (struct tls_peer){.wakes = 0};
    probe_init(&p->probe);
    if (o->memory > 0)
        budget_init(&p->probe.budget, o->memory);
    p->probe.service.overhead = &p->probe.budget;
    p->probe.service.tls = &p->port;
    int rc = tls_context_load(&p->port.context, files, "tls", &err);
    if (rc < 0)
        fprintf(stderr, "%s\n", err.text);
    assert(rc == 0);
    p->session = tls_new(&p->probe.service,
                         (struct http_output){.out = &p->out, .ctx = p, .wake = tls_peer_on_wake});
    p->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(p->ctx, 0);
    SSL_CTX_set_min_proto_version(p->ctx, o->version);
    SSL_CTX_set_max_proto_version(p->ctx, o->version);
    if (o->certificate != NULL) {
        SSL_CTX_use_certificate(p->ctx, o->certificate->x);
        SSL_CTX_use_PrivateKey(p->ctx, o->certificate->key);
        for (int i = 0; i < o->chain_length; i++)
            SSL_CTX_add1_chain_cert(p->ctx, o->certificate->x);
    }
    p->ssl = SSL_new(p->ctx);
    if (o->alpn != NULL)
        SSL_set_alpn_protos(p->ssl, (const unsigned char *)o->alpn, (unsigned)strlen(o->alpn));
    SSL_set_bio(p->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(p->ssl);
}

/* Give the server what the client has written, `step` bytes at a time (0: all at once), and the
 * client what the server has. What the server does not use stays with the client. False: the
 * session is over. */
static inline bool tls_peer_move(struct tls_peer *p, size_t step)
{
    char *at;
    long n = BIO_get_mem_data(SSL_get_wbio(p->ssl), &at);
    size_t done = 0, all = (size_t)n;
    if (all == 0)
        at = (char *)"";
    while (done < all && !tls_ops.is_over(p->session)) {
        size_t piece = step > 0 && step < all - done ? step : all - done;
        size_t used = tls_ops.feed(p->session, span_of(at + done, piece));
        assert(used <= piece);
        done += used;
        if (used < piece)
            break;
    }
    struct buf rest = {0};
    buf_append(&rest, span_of(at + done, all - done));
    BIO_reset(SSL_get_wbio(p->ssl));
    if (rest.len > 0)
        BIO_write(SSL_get_wbio(p->ssl), rest.base, (int)rest.len);
    buf_done(&rest);
    if (p->out.len > 0)
        BIO_write(SSL_get_rbio(p->ssl), p->out.base, (int)p->out.len);
    buf_clear(&p->out);
    return !tls_ops.is_over(p->session);
}

/* False: it failed, on either side. */
static inline bool tls_peer_shake(struct tls_peer *p, size_t step)
{
    for (int i = 0; i < 10 && !SSL_is_init_finished(p->ssl); i++) {
        int rc = SSL_do_handshake(p->ssl);
        if (rc != 1 && SSL_get_error(p->ssl, rc) != SSL_ERROR_WANT_READ)
            return false;
        tls_peer_move(p, step);
    }
    return SSL_is_init_finished(p->ssl) && !tls_is_shaking(p->session) &&
           !tls_ops.is_over(p->session);
}

/* Append what the client can read now. 0, or SSL_get_error(). */
static inline int tls_peer_read(struct tls_peer *p, struct buf *to)
{
    char piece[4096];
    int n;
    while ((n = SSL_read(p->ssl, piece, sizeof piece)) > 0)
        buf_append(to, span_of(piece, (size_t)n));
    int why = SSL_get_error(p->ssl, n);
    return why == SSL_ERROR_WANT_READ ? 0 : why;
}

static inline void tls_peer_close(struct tls_peer *p)
{
    if (p->session != NULL)
        tls_ops.free(p->session);
    buf_done(&p->out);
    SSL_free(p->ssl);
    SSL_CTX_free(p->ctx);
    tls_context_unref(p->port.context);
    assert(p->probe.budget.used == 0);
}
