/*
 * posthog: what is particular about PostHog as an upstream: its hosts, its
 * path, its key.
 */
#pragma once

#include "export/upstream.h"
#include "util/err.h"

#define POSTHOG_MAY_TAKE_MS 20000 /* to answer one request; a timeout should be longer */

/* Parts of the well-known URL of PostHog: host may lack the scheme; the app's
 * hosts (us.posthog.com) become the ingestion hosts. Writes e.g.
 * "https://us.i.posthog.com/i/v1/logs". */
MUST_CHECK int posthog_url(char out[UPSTREAM_URL_BYTES], const char *host, enum signal signal,
                           struct error *err);

/* Its ingestion host without a path: "https://us.i.posthog.com". */
MUST_CHECK int posthog_ingestion_url(char out[UPSTREAM_URL_BYTES], const char *host,
                                     struct error *err);

/* Where its application is, without a slash at the end: `app_host`, else the counterpart of the
 * ingestion host, which of a PostHog that is none of its clouds is the same. Either may lack the
 * scheme. */
MUST_CHECK int posthog_app_url(char out[UPSTREAM_URL_BYTES], const char *app_host,
                               const char *ingestion_host, struct error *err);

/* "us.i.posthog.com" where the host is PostHog's application, which takes no logs; else NULL.
 * Static. */
const char *posthog_ingestion_host(struct span authority);

/* The host, or the URL, that is likely meant by a URL that takes no logs; "" when there is
 * none. `location` is where its redirect leads, may be empty. */
void posthog_right_host(char *out, size_t size, const char *url, struct span location);

/* ERR_CONFIG with the reason when PostHog would refuse this key; a key that looks
 * right may still belong to no project, which PostHog does not tell. */
MUST_CHECK int posthog_check_key(const char *key, struct error *err);
