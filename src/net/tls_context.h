/*
 * tls_context: what a port shows and asks for when it speaks TLS: certificate, key, the CA of
 * clients and their names. It is made of files, whole or not at all, and never changes; another
 * one takes its place (net/tls_keeper).
 *
 * TLS 1.2 (ECDHE with AEAD only) and 1.3, ALPN h2 and http/1.1. No renegotiation, no compression,
 * no early data. No resumption, and so no keys of tickets: exporters keep their connections, such
 * a key would open what was said under it, and who is let in by his certificate is looked at each
 * time.
 *
 * Blocking: tls_context_load() reads the files.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/buf.h"
#include "util/err.h"
#include "util/span.h"

enum tls_version { TLS_AT_LEAST_1_2, TLS_AT_LEAST_1_3 };

/* Texts are borrowed; "": not set. */
struct tls_files {
    const char *cert_file;      /* PEM: the certificate, then what a client needs of its chain */
    const char *key_file;       /* PEM: its key, not encrypted */
    const char *client_ca_file; /* PEM: clients must show a certificate of one of these CAs */
    const char *client_sans;    /* and one of these names, commas between; '*' is any characters */
    enum tls_version min_version;
    const char *crl_file; /* PEM: what those CAs have revoked; NULL is "" */
};

#define TLS_FILE_BYTES ((size_t)256 * 1024)

/* Of a client: four certificates of RSA-4096 are 8 KiB. All of them are in memory at once. */
#define TLS_CLIENT_CHAIN_BYTES 16384

struct tls_context;

/* `prefix` is the key of the settings, "receivers.otlp.protocols.grpc.tls", for the message.
 * ERR_CONFIG: a file cannot be read or holds no such thing, or they are not a pair. */
MUST_CHECK int tls_context_load(struct tls_context **out, const struct tls_files *files,
                                const char *prefix, struct error *err);

struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c); /* accepts NULL */

/* When the certificate ends: seconds since 1970. */
int64_t tls_context_expires_s(const struct tls_context *c);

/* Others than the owner may read the file of the key. */
bool tls_context_key_is_readable(const struct tls_context *c);

/* A connection as OpenSSL sees it: bytes that it may read now, and where it writes. */
struct tls_wire {
    struct span in;
    struct buf *out;
};

/* OpenSSL's SSL, as a server, on this wire, which outlives it. NULL: no memory. */
struct ssl_st *tls_context_open(const struct tls_context *c, struct tls_wire *wire);

/* What a service knows of TLS. */
struct tls_port {
    struct tls_context *context; /* in force for the next connection */
    bool is_required;            /* clear text is refused */
};
