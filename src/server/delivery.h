/*
 * delivery: requests to webhooks, taken from the database until they are answered.
 *
 *     POST {url}
 *     Webhook-Id: lipservice-17                       the same for each try
 *     Lipservice-Signature: t=1761318924,v1=<hex>     HMAC-SHA256 of "t.body" with the webhook's
 *                                                     secret
 *
 * 2xx is taken, 410 switches the webhook off, 408, 425, 429, 5xx and no answer are tried again with
 * twice the wait each time, for a day; all else is given up. Only addresses of the public internet
 * are asked, unless server.webhooks.allow_private says otherwise.
 *
 * Limits     DELIVERY_AT_ONCE requests under way; DELIVERY_TIMEOUT_MS each.
 * Blocking   never: the database is asked on the worker's thread.
 */
#pragma once

#include "server/server_state.h"

#define DELIVERY_AT_ONCE 8
#define DELIVERY_TIMEOUT_MS 10000
#define DELIVERY_FIRST_MS 5000
#define DELIVERY_MOST_MS 3600000
#define DELIVERY_DAY_MS 86400000

MUST_CHECK int delivery_start(struct server *s, struct error *err);
void delivery_stop(struct server *s);
void delivery_release(struct server *s);
