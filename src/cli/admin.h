/*
 * admin: how a verb asks the running sidecar, over its admin page.
 *
 * The address is --admin URL, else telemetry.admin.endpoint of the configuration that
 * the verb sees; so is the key that is shown. Over TLS (https://, or where telemetry.tls requires
 * it) the certificate of telemetry.tls is trusted, or else the system's CAs, and it is shown where
 * clients need one. No proxy is used.
 *
 * Errors     exit codes, the cause printed on standard error: EXIT_UNAVAILABLE when
 *            nothing answers, EXIT_USAGE when what was asked is refused, EXIT_CONFIG when
 *            the configuration is.
 * Blocking   admin_ask() until the answer is there; the others never.
 */
#pragma once

#include <stdio.h>
#include <uv.h>

#include "config/config.h"
#include "net/client.h"
#include "util/buf.h"

#define ADMIN_TIMEOUT_MS 5000

struct admin {
    uv_loop_t loop;
    struct client *client;
    char base[CONFIG_TEXT_BYTES];     /* "http://localhost:55679" */
    char key[CONFIG_TEXT_BYTES + 16]; /* the header with telemetry.admin.api_key, or "" */
    const char *headers[2];
    struct route route; /* borrows from the configuration */
};

/* Where a listener of that address is reached from here, without any proxy. */
void admin_reach(char out[CONFIG_TEXT_BYTES], const char *endpoint, const char *path);

/* `url`: of --admin, or NULL. 0, or the exit code. */
int admin_open(struct admin *a, const struct config *cfg, const char *url);

/* Cancels what is under way and runs the loop out; accepts a zeroed one. */
void admin_close(struct admin *a);

/* Begin a GET of `target`. max_bytes 0: the answer comes in pieces and has no deadline. */
int admin_send(struct admin *a, const struct buf *target, size_t max_bytes,
               const struct client_request *how, struct client_call **out);

/* Tell why there is no good answer. The exit code. */
int admin_explain_failure(const struct admin *a, const struct client_result *r);

/* POST `body`, or GET when its base is NULL; write the answer to `out`. The exit code. */
int admin_ask(const struct config *cfg, const char *url, const struct buf *target, struct span body,
              FILE *out);

/* Append "&name=value", percent-encoded, unless the value is NULL or "". */
void admin_add_query(struct buf *target, const char *name, const char *value);
