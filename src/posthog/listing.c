/* listing: limit and offset, as PostHog's pages have it. */
#include "posthog/listing.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PAGE_ITEMS 100

const char *listing_id(struct json_node item, const char *key, char room[LISTING_ID_BYTES])
{
    uint64_t number;
    struct json_node id = json_get(item, key);
    struct span text = json_string(id);
    room[0] = '\0';
    if (text.base != NULL)
        snprintf(room, LISTING_ID_BYTES, "%.*s", (int)text.len, (const char *)text.base);
    else if (json_whole(id, &number))
        snprintf(room, LISTING_ID_BYTES, "%" PRIu64, number);
    return room;
}

static void end(struct listing *l, enum app_fault fault, const char *text)
{
    l->verdict.fault = fault;
    if (text != NULL)
        snprintf(l->verdict.text, sizeof l->verdict.text, "%s %s", l->path, text);
    l->done(l->ctx, &l->verdict);
}

static int ask(struct listing *l);

static bool begins_as_before(struct listing *l, struct json_node results)
{
    char id[LISTING_ID_BYTES];
    struct json_each each = json_each(results);
    if (!json_next(&each))
        return false;
    listing_id(each.value, "id", id);
    bool same = id[0] != '\0' && strcmp(id, l->first) == 0;
    snprintf(l->first, sizeof l->first, "%s", id);
    return same;
}

static void on_page(void *ctx, const struct app_answer *a)
{
    struct listing *l = ctx;
    l->call = NULL;
    if (a->fault != APP_FINE) {
        snprintf(l->verdict.text, sizeof l->verdict.text, "%s", a->text);
        snprintf(l->verdict.remedy, sizeof l->verdict.remedy, "%s", a->remedy);
        snprintf(l->verdict.scope, sizeof l->verdict.scope, "%s", a->scope);
        end(l, a->fault, NULL);
        return;
    }
    struct json_node results = json_get(a->root, "results");
    if (json_kind(results) != JSON_ARRAY) {
        end(l, APP_NOT_JSON, "was answered with something that is no list");
        return;
    }
    if (begins_as_before(l, results)) {
        end(l, APP_BROKEN, "was answered with the same page twice: the list cannot be read");
        return;
    }
    uint32_t before = l->seen;
    struct json_each each = json_each(results);
    while (json_next(&each) && l->seen < LISTING_ITEMS_MAX) {
        l->seen++;
        l->item(l->ctx, each.value);
    }
    bool has_more = json_string(json_get(a->root, "next")).len > 0;
    if (!has_more)
        end(l, APP_FINE, NULL);
    else if (l->seen == before || l->seen == LISTING_ITEMS_MAX)
        end(l, APP_BROKEN, "has no end: the list cannot be read");
    else if (ask(l) < 0)
        end(l, APP_NO_ROOM, "could not be asked: too many requests wait");
}

static int ask(struct listing *l)
{
    char path[LISTING_PATH_BYTES + 48];
    snprintf(path, sizeof path, "%s?limit=%d&offset=%" PRIu32, l->path, PAGE_ITEMS, l->seen);
    const struct app_request r = {
        .method = "GET",
        .path = path,
        .max_answer_bytes = LISTING_ANSWER_BYTES,
        .ctx = l,
        .done = on_page,
    };
    return app_send(l->app, &r, &l->call);
}

int listing_begin(struct listing *l, struct app *app, const char *path,
                  void (*item)(void *ctx, struct json_node item),
                  void (*done)(void *ctx, const struct app_verdict *v), void *ctx)
{
    *l = (struct listing){.app = app, .path = path, .ctx = ctx, .item = item, .done = done};
    return ask(l);
}

void listing_stop(struct listing *l)
{
    if (l->call != NULL)
        app_cancel(l->call);
    l->call = NULL;
}
