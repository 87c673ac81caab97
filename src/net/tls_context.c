/* tls_context: an SSL_CTX of PEM texts, and whom it lets in. */
#include "net/tls_context.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/route.h"
#include "net/watch.h"
#include "util/diag.h"
#include "util/glob.h"
#include "util/secret.h"
#include "util/words.h"

#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20" /* of TLS 1.2; those of 1.3 are OpenSSL's three */
#define GROUPS "X25519:P-256:P-384"

#define SAN_BYTES 256 /* of a name; longer ones match nothing */

struct tls_context {
    atomic_uint refs; /* the first is taken by a thread of the pool, the last may be given there */
    SSL_CTX *ssl;
    BIO_METHOD *wire;
    char *client_sans; /* in lower case; NULL: any client of the CA */
    int64_t expires_s;
    bool key_is_readable;
};

/* ---- struct tls_wire as a BIO ---- */

static int on_wire_read(BIO *bio, char *to, int len)
{
    struct tls_wire *wire = BIO_get_data(bio);
    size_t n = (size_t)len < wire->in.len ? (size_t)len : wire->in.len;
    BIO_clear_retry_flags(bio);
    if (n == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(to, wire->in.base, n);
    wire->in = span_skip(wire->in, n);
    return (int)n;
}

static int on_wire_write(BIO *bio, const char *from, int len)
{
    struct tls_wire *wire = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    buf_append(wire->out, span_of(from, (size_t)len));
    return wire->out->err == 0 ? len : -1;
}

static long on_wire_ctrl(BIO *bio, int what, long number, void *at)
{
    (void)bio;
    (void)number;
    (void)at;
    return what == BIO_CTRL_FLUSH;
}

static bool open_wire(struct tls_context *c)
{
    c->wire = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "lipservice");
    return c->wire != NULL && BIO_meth_set_read(c->wire, on_wire_read) == 1 &&
           BIO_meth_set_write(c->wire, on_wire_write) == 1 &&
           BIO_meth_set_ctrl(c->wire, on_wire_ctrl) == 1;
}

/* ---- which version of HTTP ---- */

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    unsigned char *chosen = NULL;
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol (RFC 7301 3.2) */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* ---- clients ---- */

static void lower(char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            text[i] |= 0x20;
}

/* A name as text, in lower case. Empty: of a kind that has no text. */
static struct span san_text(const GENERAL_NAME *name, char out[SAN_BYTES])
{
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(name, &type);
    if (type != GEN_DNS && type != GEN_URI && type != GEN_EMAIL && type != GEN_IPADD)
        return (struct span){0};
    size_t n = (size_t)ASN1_STRING_length(value);
    const unsigned char *bytes = ASN1_STRING_get0_data(value);
    if (type == GEN_IPADD) {
        int family = n == 4 ? AF_INET : AF_INET6;
        if ((n != 4 && n != 16) || inet_ntop(family, bytes, out, SAN_BYTES) == NULL)
            return (struct span){0};
        return span_str(out);
    }
    if (n >= SAN_BYTES)
        return (struct span){0};
    memcpy(out, bytes, n); /* a NUL in it is a byte like others, and matches none of ours */
    lower(out, n);
    return span_of(out, n);
}

static bool is_listed(const struct tls_context *c, struct span name)
{
    struct span rest = span_str(c->client_sans), pattern;
    while (name.len > 0 && words_next(&rest, &pattern))
        if (glob_matches(pattern, name))
            return true;
    return false;
}

static bool has_listed_name(const struct tls_context *c, X509 *certificate)
{
    bool found = false;
    char text[SAN_BYTES], quoted[DIAG_QUOTE_BYTES];
    struct span name = {0};
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
        name = san_text(sk_GENERAL_NAME_value(names, i), text);
        found = is_listed(c, name);
    }
    GENERAL_NAMES_free(names);
    if (!found)
        diag(DIAG_WARN, "tls_client_refused",
             "a client's certificate is sound, and none of its names is in client_sans",
             "last_san=%s", diag_quote(quoted, name));
    return found;
}

/* For each certificate of a client's chain; at depth 0 it is its own. */
static int on_verify(int is_sound, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    const struct tls_context *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    if (!is_sound || X509_STORE_CTX_get_error_depth(store) > 0 || c->client_sans == NULL)
        return is_sound;
    if (has_listed_name(c, X509_STORE_CTX_get_current_cert(store)))
        return 1;
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

/* ---- files ---- */

struct pem {
    struct buf text;
    unsigned mode;
    BIO *bio; /* reads the text */
};

static void pem_done(struct pem *p)
{
    BIO_free(p->bio);
    if (p->text.base != NULL)
        secret_wipe(p->text.base, p->text.cap);
    buf_done(&p->text);
}

static int pem_read(struct pem *p, const char *path, const char *setting, const char *prefix,
                    struct error *err)
{
    struct error inner = {{0}};
    *p = (struct pem){.bio = NULL};
    int rc = watch_read(path, TLS_FILE_BYTES, &p->text, &p->mode, &inner);
    if (rc < 0)
        return err_set(err, rc, "%s.%s: %.400s", prefix, setting, inner.text);
    p->bio = BIO_new_mem_buf(p->text.base, (int)p->text.len);
    return p->bio == NULL ? ERR_NOMEM : 0;
}

static X509 *next_certificate(struct pem *p)
{
    X509 *x = PEM_read_bio_X509(p->bio, NULL, route_no_pass_phrase, NULL);
    ERR_clear_error();
    return x;
}

static int refuse_file(struct error *err, const char *prefix, const char *setting, const char *path,
                       const char *what)
{
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    int rc = err_set(err, ERR_CONFIG, "%s.%s: '%.200s' %s%s%s", prefix, setting, path, what,
                     why != NULL ? ": " : "", why != NULL ? why : "");
    ERR_clear_error();
    return rc;
}

static int64_t expiry_of(const X509 *x)
{
    struct tm tm = {0};
    return ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static int use_certificate(struct tls_context *c, const struct tls_files *f, const char *prefix,
                           struct error *err)
{
    struct pem p;
    int rc = pem_read(&p, f->cert_file, "cert_file", prefix, err);
    X509 *x = rc == 0 ? next_certificate(&p) : NULL;
    if (rc == 0 && x == NULL)
        rc = refuse_file(err, prefix, "cert_file", f->cert_file, "holds no PEM certificate");
    if (rc == 0 && SSL_CTX_use_certificate(c->ssl, x) != 1)
        rc = refuse_file(err, prefix, "cert_file", f->cert_file, "cannot be used");
    if (rc == 0)
        c->expires_s = expiry_of(x);
    X509_free(x);
    while (rc == 0 && (x = next_certificate(&p)) != NULL)
        if (SSL_CTX_add0_chain_cert(c->ssl, x) != 1) {
            X509_free(x);
            rc = refuse_file(err, prefix, "cert_file", f->cert_file, "cannot be used");
        }
    pem_done(&p);
    return rc;
}

static int use_key(struct tls_context *c, const struct tls_files *f, const char *prefix,
                   struct error *err)
{
    struct pem p;
    int rc = pem_read(&p, f->key_file, "key_file", prefix, err);
    EVP_PKEY *key =
        rc == 0 ? PEM_read_bio_PrivateKey(p.bio, NULL, route_no_pass_phrase, NULL) : NULL;
    ERR_clear_error();
    if (rc == 0 && key == NULL)
        rc = refuse_file(err, prefix, "key_file", f->key_file,
                         "holds no PEM key without a pass phrase");
    if (rc == 0 && SSL_CTX_use_PrivateKey(c->ssl, key) != 1) {
        ERR_clear_error();
        rc = refuse_file(err, prefix, "key_file", f->key_file, "is not the key of the certificate");
    }
    c->key_is_readable = (p.mode & 077) != 0;
    EVP_PKEY_free(key);
    pem_done(&p);
    return rc;
}

static int use_client_ca(struct tls_context *c, const struct tls_files *f, const char *prefix,
                         struct error *err)
{
    struct pem p;
    unsigned count = 0;
    X509 *x;
    int rc = pem_read(&p, f->client_ca_file, "client_ca_file", prefix, err);
    X509_STORE *store = SSL_CTX_get_cert_store(c->ssl);
    while (rc == 0 && (x = next_certificate(&p)) != NULL) {
        if (X509_STORE_add_cert(store, x) != 1 || SSL_CTX_add_client_CA(c->ssl, x) != 1)
            rc = ERR_NOMEM;
        X509_free(x);
        count++;
    }
    if (rc == 0 && count == 0)
        rc = refuse_file(err, prefix, "client_ca_file", f->client_ca_file,
                         "holds no PEM certificate");
    pem_done(&p);
    SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verify);
    if (rc < 0 || f->client_sans[0] == '\0')
        return rc;
    c->client_sans = strdup(f->client_sans);
    if (c->client_sans == NULL)
        return ERR_NOMEM;
    lower(c->client_sans, strlen(c->client_sans));
    return 0;
}

/* One list of each CA in a client's chain, and none that has expired: else no client is let in, as
 * it would be unknown who is revoked. */
static int use_crl(struct tls_context *c, const struct tls_files *f, const char *prefix,
                   struct error *err)
{
    struct pem p;
    unsigned count = 0;
    X509_CRL *crl;
    int rc = pem_read(&p, f->crl_file, "crl_file", prefix, err);
    X509_STORE *store = SSL_CTX_get_cert_store(c->ssl);
    while (rc == 0 && (crl = PEM_read_bio_X509_CRL(p.bio, NULL, route_no_pass_phrase, NULL))) {
        if (X509_STORE_add_crl(store, crl) != 1)
            rc = ERR_NOMEM;
        X509_CRL_free(crl);
        count++;
    }
    ERR_clear_error();
    if (rc == 0 && count == 0)
        rc = refuse_file(err, prefix, "crl_file", f->crl_file, "holds no PEM list of revocations");
    pem_done(&p);
    if (rc == 0 &&
        X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) != 1)
        rc = ERR_NOMEM;
    return rc;
}

/* ---- life ---- */

static int set_up(struct tls_context *c, enum tls_version least)
{
    static const unsigned char name[] = "lipservice";
    c->ssl = SSL_CTX_new(TLS_server_method());
    if (c->ssl == NULL)
        return ERR_NOMEM;
    SSL_CTX_set_app_data(c->ssl, c);
    SSL_CTX_set_options(c->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                    SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(c->ssl, TLS_CLIENT_CHAIN_BYTES);
    SSL_CTX_set_alpn_select_cb(c->ssl, on_alpn, NULL);
    SSL_CTX_set_security_level(c->ssl, 2);
    bool ok = open_wire(c) && SSL_CTX_set_num_tickets(c->ssl, 0) == 1 &&
              SSL_CTX_set_max_early_data(c->ssl, 0) == 1 &&
              SSL_CTX_set_session_id_context(c->ssl, name, sizeof name - 1) == 1 &&
              SSL_CTX_set_min_proto_version(
                  c->ssl, least == TLS_AT_LEAST_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
              SSL_CTX_set_max_proto_version(c->ssl, 0) == 1 &&
              SSL_CTX_set_cipher_list(c->ssl, CIPHERS) == 1 &&
              SSL_CTX_set1_groups_list(c->ssl, GROUPS) == 1;
    return ok ? 0 : ERR_NOMEM;
}

int tls_context_load(struct tls_context **out, const struct tls_files *f, const char *prefix,
                     struct error *err)
{
    if (f->key_file[0] == '\0' || f->cert_file[0] == '\0')
        return err_set(err, ERR_CONFIG,
                       "%s.%s: must be set as well: certificate and key go together", prefix,
                       f->key_file[0] == '\0' ? "key_file" : "cert_file");
    struct tls_context *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->refs = 1;
    int rc = set_up(c, f->min_version);
    if (rc == 0)
        rc = use_certificate(c, f, prefix, err);
    if (rc == 0)
        rc = use_key(c, f, prefix, err);
    if (rc == 0 && f->client_ca_file[0] != '\0')
        rc = use_client_ca(c, f, prefix, err);
    if (rc == 0 && f->crl_file != NULL && f->crl_file[0] != '\0')
        rc = use_crl(c, f, prefix, err);
    ERR_clear_error();
    if (rc < 0) {
        tls_context_unref(c);
        return rc;
    }
    *out = c;
    return 0;
}

struct tls_context *tls_context_ref(struct tls_context *c)
{
    c->refs++;
    return c;
}

void tls_context_unref(struct tls_context *c)
{
    if (c == NULL || --c->refs > 0)
        return;
    SSL_CTX_free(c->ssl);
    BIO_meth_free(c->wire);
    free(c->client_sans);
    free(c);
}

int64_t tls_context_expires_s(const struct tls_context *c)
{
    return c->expires_s;
}

bool tls_context_key_is_readable(const struct tls_context *c)
{
    return c->key_is_readable;
}

SSL *tls_context_open(const struct tls_context *c, struct tls_wire *wire)
{
    SSL *ssl = SSL_new(c->ssl);
    BIO *bio = BIO_new(c->wire);
    if (ssl == NULL || bio == NULL) {
        SSL_free(ssl);
        BIO_free(bio);
        return NULL;
    }
    BIO_set_data(bio, wire);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_accept_state(ssl);
    return ssl;
}
