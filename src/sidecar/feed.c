/* feed: a timer that runs while there are readers. */
#include "sidecar/feed.h"

#include <stdlib.h>

#include "sidecar/sidecar_state.h"
#include "sidecar/summary.h"

#define EVENT_MS 1000 /* between two snapshots: as often as a person reads them */
/* What an open answer may hold: waiting, and given to the socket. */
#define READER_MEMORY_BYTES (2 * HTTP_STREAM_BYTES)

struct feed {
    struct sidecar *sidecar;
    struct http_exchange *readers[FEED_READERS_MAX]; /* NULL: this place is free */
    uint32_t open;
    bool is_stopping;
    struct buf event; /* scratch */
    uv_timer_t timer;
};

/* ---- life -------------------------------------------------------------- */

int feed_open(struct sidecar *sc)
{
    struct feed *feed = calloc(1, sizeof *feed);
    if (feed == NULL)
        return ERR_NOMEM;
    *feed = (struct feed){.sidecar = sc, .event = {.budget = &sc->page_memory}};
    uv_timer_init(&sc->loop, &feed->timer);
    sc->feed = feed;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(container_of((uv_timer_t *)handle, struct feed, timer));
}

void feed_close(struct feed *feed)
{
    if (feed == NULL)
        return;
    feed_stop(feed);
    buf_done(&feed->event);
    uv_close((uv_handle_t *)&feed->timer, on_closed);
}

uint32_t feed_readers(const struct feed *feed)
{
    return feed->open;
}

/* ---- events ------------------------------------------------------------ */

/* ERR_*: there is none now. */
static int write_event(struct feed *feed)
{
    buf_clear(&feed->event);
    buf_append_str(&feed->event, "event: summary\ndata: ");
    int rc = summary_append(feed->sidecar, &feed->event);
    buf_append_str(&feed->event, "\n\n");
    return rc < 0 ? rc : feed->event.err;
}

static void on_time(uv_timer_t *timer)
{
    struct feed *feed = container_of(timer, struct feed, timer);
    if (write_event(feed) < 0)
        return; /* no memory: readers see that nothing comes, and the next one may do */
    for (size_t i = 0; i < FEED_READERS_MAX; i++)
        if (feed->readers[i] != NULL) /* one that does not keep up has all in the next snapshot */
            ignore_code(http_stream_write(feed->readers[i], buf_span(&feed->event)));
}

static void forget(struct feed *feed, size_t i)
{
    feed->readers[i] = NULL;
    budget_give(&feed->sidecar->page_memory, READER_MEMORY_BYTES);
    if (--feed->open > 0)
        return;
    uv_timer_stop(&feed->timer);
    buf_done(&feed->event);
}

void feed_stop(struct feed *feed)
{
    if (feed == NULL)
        return;
    feed->is_stopping = true;
    for (size_t i = 0; i < FEED_READERS_MAX; i++) {
        if (feed->readers[i] == NULL)
            continue;
        http_stream_end(feed->readers[i]);
        forget(feed, i);
    }
}

/* ---- readers ----------------------------------------------------------- */

static size_t free_place(const struct feed *feed)
{
    size_t i = 0;
    while (i < FEED_READERS_MAX && feed->readers[i] != NULL)
        i++;
    return i;
}

int feed_stream(void *ctx, struct span query, struct http_exchange *x, struct buf *out)
{
    static const struct http_header headers[] = {
        {SPAN("content-type"), SPAN("text/event-stream")},
        {SPAN("cache-control"), SPAN("no-store")},
        {SPAN("x-content-type-options"), SPAN("nosniff")},
    };
    struct sidecar *sc = ctx;
    struct feed *feed = sc->feed;
    size_t i = free_place(feed);
    (void)query;
    if (feed->is_stopping || i == FEED_READERS_MAX)
        return sidecar_refuse(
            out, 503, feed->is_stopping ? "stopping" : "as many readers as there may be are there");
    if (budget_take(&sc->page_memory, READER_MEMORY_BYTES) < 0)
        return sidecar_refuse(out, 503, "no memory for a reader now");
    int rc = write_event(feed);
    const struct http_response head = {.status = 200,
                                       .headers = headers,
                                       .header_count = ARRAY_LEN(headers),
                                       .body = buf_span(&feed->event),
                                       .close = true};
    if (rc < 0 || http_stream(x, &head) < 0) {
        budget_give(&sc->page_memory, READER_MEMORY_BYTES);
        if (feed->open == 0)
            buf_done(&feed->event);
        return rc < 0 ? sidecar_refuse(out, 503, "no memory for this page now")
                      : sidecar_refuse(out, 501, "a stream needs GET");
    }
    feed->readers[i] = x;
    if (feed->open++ == 0)
        uv_timer_start(&feed->timer, on_time, EVENT_MS, EVENT_MS);
    return 0;
}

void feed_gone(void *ctx, struct http_exchange *x)
{
    struct feed *feed = ((struct sidecar *)ctx)->feed;
    for (size_t i = 0; i < FEED_READERS_MAX; i++)
        if (feed->readers[i] == x)
            forget(feed, i);
}
