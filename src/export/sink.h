/*
 * sink: where parcels go, behind three functions: an OTLP/HTTP upstream
 * (upstream.h) or a file (file.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "export/parcel.h"
#include "util/span.h"

struct sink_answer {
    int err;                 /* 0: see `status`; else the connection or the disk failed */
    int status;              /* of HTTP; a file says 200 */
    struct span retry_after; /* the header's value */
    struct span content_type;
    struct span location; /* of a redirect */
    struct span body;     /* borrowed for the call */
    bool was_repeated;    /* it was sent more than once before this answer came */
    const char *text;     /* a sentence, when err is not 0 */
};

typedef void sink_done_fn(void *ctx, const struct sink_answer *a);

struct sink_ops {
    /* Send; the parcel is borrowed until done() or cancel. done() is called once
     * and never from inside. ERR_*: nothing was started. *call names it for cancel. */
    int (*send)(void *sink, const struct parcel *p, sink_done_fn *done, void *ctx, void **call);
    /* done() will not be called. */
    void (*cancel)(void *sink, void *call);
    void (*close)(void *sink);
    /* Become what `with` is, of the same kind, which is freed; calls under way go on.
     * NULL: it cannot. */
    void (*renew)(void *sink, void *with);
};

struct sink {
    const struct sink_ops *ops;
    void *self;
    bool takes[SIGNAL_COUNT]; /* what cannot be written there is discarded, and counted */
    bool compresses;
    uint32_t concurrency; /* parcels in flight at once */
    const char *address;  /* the URL of logs; NULL: it has none */
    const char *name;     /* for the start line: "posthog https://us.i.posthog.com" */
};
