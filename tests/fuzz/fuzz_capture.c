/* Any bytes as a file of requests, as replay reads it: protobuf, one JSON document, or lines. Each
 * request that comes out is sound, and they lie one behind the other. */
#include <assert.h>
#include <stdlib.h>

#include "otlp/capture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct walk {
    size_t last, size, requests, refusals;
};

static int on_request(void *ctx, struct span request, const struct logs_count *count, size_t end)
{
    struct walk *w = ctx;
    struct logs_count again;
    assert(logs_check(request, &again) == 0 && again.records == count->records);
    assert(end >= w->last && end <= w->size);
    w->last = end;
    return ++w->requests == 1000; /* enough */
}

static void on_refused(void *ctx, size_t line, const char *why)
{
    struct walk *w = ctx;
    assert(why[0] != '\0' && line <= w->size + 1);
    w->refusals++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct capture c;
    struct walk w = {.size = size};
    const struct capture_sink sink = {&w, on_request, on_refused};
    if (capture_init(&c, size % 2 == 0) < 0)
        abort();
    int rc = capture_read(&c, span_of(data, size), &sink);
    assert(rc <= 1 && (rc != 1 || w.requests == 1000));
    capture_done(&c);
    return 0;
}
