/*
 * route: how to get to a server: whom to trust, who we are, by which proxy. Its files
 * are checked before the first connection, so that a wrong path or a key of another
 * certificate ends the start and not the night.
 *
 * Blocking: route_check() reads the files; for the start of the program only.
 */
#pragma once

#include <stdbool.h>

#include "util/err.h"

/* Texts are borrowed; NULL or "": not set. */
struct route {
    const char *ca_file;   /* PEM: trusted instead of the system's */
    const char *cert_file; /* PEM: the client's certificate, and what it needs of its chain */
    const char *key_file;  /* PEM: its key, not encrypted */
    const char *proxy_url; /* instead of what HTTP_PROXY, HTTPS_PROXY and NO_PROXY say */
    bool insecure_skip_verify;
};

/* `prefix` is the key of the settings, "exporters.posthog", for the message.
 * ERR_CONFIG: a file cannot be read or holds no such thing, certificate and key are
 * not a pair, or the proxy's URL is none. */
MUST_CHECK int route_check(const struct route *route, const char *prefix, struct error *err);

/* A pem_password_cb of OpenSSL: an encrypted key is refused, because a service cannot ask for the
 * pass phrase. */
int route_no_pass_phrase(char *out, int size, int writing, void *user);

/* Do both name the same files, the same proxy and the same trust? The files' contents are not
 * compared. */
bool route_same(const struct route *a, const struct route *b);

/* A copy that owns its texts. ERR_NOMEM leaves nothing. */
MUST_CHECK int route_copy(struct route *out, const struct route *from);
/* Of a copy; accepts a zeroed one. */
void route_done(struct route *r);
