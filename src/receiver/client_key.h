/*
 * client_key: the project key that a client brings, as PostHog takes it: "Authorization: Bearer",
 * else `?token=`.
 *
 * Ownership: borrowed from the head. Blocking: never. A key is never logged.
 */
#pragma once

#include <stdbool.h>

#include "net/http.h"

/* Whose key the upstream is shown for what a client sends. */
enum upstream_key {
    UPSTREAM_KEY_CONFIGURED,
    UPSTREAM_KEY_CLIENT,
    UPSTREAM_KEY_CLIENT_OR_CONFIGURED,
};

/* Empty: it brings none. */
struct span client_key(const struct http_head *head);

/* It can be a header of a request: as long as PostHog allows, without blanks or anything that is
 * not printable ASCII. */
bool client_key_is_sound(struct span key);
