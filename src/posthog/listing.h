/*
 * listing: all items of a list that PostHog gives by pages, one after the other.
 *
 * A page that begins as the one before it did is a fault: without this check one server that
 * repeats itself would be asked for ever. What was shown until a fault is a part of the list, and
 * nobody should act on a part.
 *
 * Blocking: never. One listing at a time for each struct listing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "posthog/client.h"
#include "posthog/fault.h"

#define LISTING_ITEMS_MAX 5000 /* of one list; beyond, it is not the list of one project */
#define LISTING_PATH_BYTES 96
#define LISTING_ID_BYTES 64
#define LISTING_ANSWER_BYTES (4u << 20) /* of a page of 100 dashboards */

struct listing {
    struct app *app;
    const char *path; /* "logs/alerts/", borrowed */
    void *ctx;
    void (*item)(void *ctx, struct json_node item);
    void (*done)(void *ctx, const struct app_verdict *v);

    struct app_call *call; /* under way, or NULL */
    uint32_t seen;
    char first[LISTING_ID_BYTES]; /* of the last page */
    struct app_verdict verdict;
};

/* Begin. done() is called once, not from inside, unless listing_stop() is. */
MUST_CHECK int listing_begin(struct listing *l, struct app *app, const char *path,
                             void (*item)(void *ctx, struct json_node item),
                             void (*done)(void *ctx, const struct app_verdict *v), void *ctx);
void listing_stop(struct listing *l);

/* The id of an item, number or text, as text. Empty: it has none. */
const char *listing_id(struct json_node item, const char *key, char room[LISTING_ID_BYTES]);
