/*
 * tls_keeper: keeps the certificate of a port current.
 *
 * Its files are watched (net/watch). When one of them changes, all are read again, a moment later,
 * because certificate and key are two files that change one after the other. What is wrong with
 * them is logged, and the last good ones stay. Connections keep what they began with.
 *
 * Units      milliseconds.
 * Blocking   tls_keeper_open() reads the files; after that they are read on libuv's thread pool.
 * Ownership  the texts of the options outlive the keeper.
 */
#pragma once

#include <uv.h>

#include "net/tls_context.h"
#include "util/metric.h"

struct tls_keeper;

struct tls_keeper_opts {
    struct tls_files files;
    const char *prefix; /* of the settings, "receivers.otlp.protocols.grpc.tls" */
    uint32_t poll_ms;   /* the files are looked at in any case; 0: WATCH_POLL_MS */
    bool is_required;
};

/* ERR_CONFIG: as tls_context_load(). */
MUST_CHECK int tls_keeper_open(struct tls_keeper **out, uv_loop_t *loop,
                               const struct tls_keeper_opts *opts, struct error *err);

/* Handles, and a job under way, end with the loop; the port is not to be used any more. Accepts
 * NULL. */
void tls_keeper_close(struct tls_keeper *k);

/* Read the files now. */
void tls_keeper_again(struct tls_keeper *k);

const struct tls_port *tls_keeper_port(const struct tls_keeper *k);

struct tls_keeper_stats {
    struct metric installed, refused; /* readings of the files */
};
struct tls_keeper_stats tls_keeper_stats(const struct tls_keeper *k);
