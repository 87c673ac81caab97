/* exporter: the batch under way. What is sealed goes to the senders. */
#include "export/exporter.h"

#include <stdlib.h>

#include "export/sender.h"
#include "util/diag.h"

#define BATCH_COPIES \
    4 /* of one batch at once: the builder's, grown by doubling, sealed, packed \
       */
#define READ_AHEAD \
    0.375 /* of queue and account: what is on disk can wait there, and must not press */
#define READ_AHEAD_URGENT 0.5 /* what is urgent has room where the others have taken theirs */
#define RETRY_SHORT_S 1       /* JavaScript's exporters give up when asked to wait for long */
#define RETRY_LONG_S 5
#define MEMORY_RETRY_MS 100 /* between two looks whether the allocator says yes again */
#define SAY_MS 10000        /* between two lines of the log about that */

struct collector {
    struct exporter *exporter;
    struct batch_builder *builder;
    uint64_t began_ms;
    struct batch_origin source;    /* of the records that come now */
    struct batch_origin collected; /* of those in the builder */
    uint64_t source_age_ms;
    bool lacks_memory; /* for a record or a batch: what is collected stays, nothing more enters */
    uv_timer_t age_timer;
};

struct exporter {
    struct exporter_opts opts;
    struct coder *coder;
    struct collector lanes[LANE_COUNT];
    int open_timers;
    struct senders *senders;
    uint64_t said_ms;            /* when want of memory was logged last; 0: never */
    struct exporter_stats stats; /* the counters of it */
};

/* ---- collecting -------------------------------------------------------- */

static int flush(struct collector *c);

static void on_batch_age(uv_timer_t *timer)
{
    (void)flush(container_of(timer, struct collector, age_timer));
}

/* The allocator said no. Nothing is lost by it: what is collected waits for the next try. */
static void note_no_memory(struct collector *c)
{
    struct exporter *x = c->exporter;
    uint64_t now_ms = clock_now_ms(x->opts.clock);
    metric_inc(&x->stats.memory_failures);
    if (!c->lacks_memory && (x->said_ms == 0 || now_ms - x->said_ms >= SAY_MS)) {
        x->said_ms = now_ms;
        diag(DIAG_WARN, "out_of_memory",
             "no memory for records: requests are refused until there is some",
             "collected_records=%u failures=%llu", batch_builder_records(c->builder),
             (unsigned long long)x->stats.memory_failures.value);
    }
    c->lacks_memory = true;
    uv_timer_start(&c->age_timer, on_batch_age, MEMORY_RETRY_MS, 0);
}

/* 0: nothing is collected any more. */
static int flush(struct collector *c)
{
    struct exporter *x = c->exporter;
    struct batch *batch;
    int rc = ERR_NOMEM;
    struct parcel *p = parcel_of_logs(); /* first: what was sealed without one could only be lost */
    if (p != NULL)
        rc = batch_seal(c->builder, &batch);
    if (rc < 0)
        parcel_free(p);
    if (rc < 0 && rc != ERR_EMPTY) {
        note_no_memory(c);
        return ERR_NOMEM;
    }
    c->lacks_memory = false;
    uv_timer_stop(&c->age_timer);
    if (rc == ERR_EMPTY)
        return 0;
    batch->first_added_ms = c->began_ms;
    batch->origin = c->collected;
    c->collected = (struct batch_origin){0};
    parcel_fill(p, &batch, senders_packing(x->senders));
    p->is_urgent = c == &x->lanes[LANE_URGENT];
    senders_take(x->senders, &p);
    return 0;
}

void exporter_flush(struct exporter *x)
{
    for (int lane = 0; lane < LANE_COUNT; lane++)
        (void)flush(&x->lanes[lane]);
}

static size_t collected_bytes(const struct exporter *x)
{
    size_t bytes = 0;
    for (int lane = 0; lane < LANE_COUNT; lane++)
        bytes += batch_builder_bytes(x->lanes[lane].builder);
    return bytes;
}

static size_t held_bytes(const struct exporter *x)
{
    return senders_bytes(x->senders) + collected_bytes(x);
}

int exporter_admit_memory(const struct exporter *x, size_t bytes, size_t largest)
{
    struct budget *b = x->opts.budget;
    size_t batch = largest > x->opts.batch_bytes ? largest : x->opts.batch_bytes;
    size_t need = bytes + BATCH_COPIES * batch;
    /* `bytes` again, because the request itself takes as much while it is decided. */
    if (bytes > x->opts.queue_bytes || need > b->limit - (bytes < b->limit ? bytes : b->limit))
        return ERR_TOO_BIG;
    return need > b->limit - b->used && !budget_make_room(b, need) ? ERR_FULL : 0;
}

int exporter_admit(const struct exporter *x, size_t bytes, size_t largest)
{
    int rc = exporter_admit_memory(x, bytes, largest);
    for (int lane = 0; lane < LANE_COUNT; lane++)
        if (rc == 0 && x->lanes[lane].lacks_memory)
            return ERR_FULL;
    return rc == 0 && held_bytes(x) + bytes > x->opts.queue_bytes ? ERR_FULL : rc;
}

double exporter_memory_fullness(const struct exporter *x)
{
    const struct budget *b = x->opts.budget;
    /* Fullness is queued bytes against free memory, so that tables that fill a small account do
     * not read as a queue that never drains. */
    double held = (double)held_bytes(x), left = (double)b->limit - (double)b->used;
    return held > 0 ? held / (held + (left > 0 ? left : 0)) : 0;
}

double exporter_fullness(const struct exporter *x)
{
    double queue = (double)held_bytes(x) / (double)x->opts.queue_bytes;
    double memory = exporter_memory_fullness(x);
    return queue > memory ? queue : memory;
}

void exporter_begin(struct exporter *x, enum exporter_lane lane, const struct batch_origin *origin,
                    uint64_t age_ms, size_t bytes)
{
    struct collector *c = &x->lanes[lane];
    c->source = *origin;
    c->source_age_ms = age_ms;
    if (batch_builder_bytes(c->builder) + bytes > x->opts.batch_bytes)
        (void)flush(c);
}

bool exporter_is_hungry(const struct exporter *x, enum exporter_lane lane)
{
    uint32_t queued = senders_queued_logs(x->senders, lane == LANE_URGENT);
    double most = lane == LANE_URGENT ? READ_AHEAD_URGENT : READ_AHEAD;
    if (exporter_is_idle(x))
        return true;
    /* One at least, or traces that fill the queue would keep the logs out of it. */
    return queued < senders_sink(x->senders)->concurrency && exporter_memory_fullness(x) < most &&
           (queued == 0 || exporter_fullness(x) < most);
}

/* A record of c->source is in the builder now. */
static void note_origin(struct collector *c)
{
    const struct batch_origin *o = &c->source;
    if (o->hold == NULL)
        return;
    if (c->collected.hold == NULL)
        c->collected = *o;
    else if (c->collected.last == o->first)
        return;
    c->collected.last = o->first;
    o->hold(o->ctx, o->first, o->first);
}

int exporter_add(struct exporter *x, enum exporter_lane lane, const struct logs_group *g,
                 struct span record, struct span stamp, uint32_t service)
{
    struct collector *c = &x->lanes[lane];
    size_t before = batch_builder_bytes(c->builder);
    int rc = batch_add(c->builder, g, record, stamp, service);
    if (rc == ERR_TOO_BIG) {
        if (flush(c) < 0)
            return ERR_NOMEM;
        before = 0;
        rc = batch_add(c->builder, g, record, stamp, service);
    }
    if (rc < 0) {
        note_no_memory(c);
        return ERR_NOMEM;
    }
    if (batch_builder_records(c->builder) == 1) {
        c->began_ms = clock_now_ms(x->opts.clock) - c->source_age_ms;
        uv_timer_start(&c->age_timer, on_batch_age, x->opts.batch_age_ms, 0);
    }
    note_origin(c);
    return (int)(batch_builder_bytes(c->builder) - before);
}

int exporter_relay(struct exporter *x, enum signal signal, struct span body, enum coding coding,
                   struct span content_type, struct span key)
{
    struct parcel *p;
    metric_inc(&x->stats.relay[signal].received);
    metric_add(&x->stats.relay[signal].received_bytes, body.len);
    if (!senders_sink(x->senders)->takes[signal]) {
        metric_inc(&x->stats.relay[signal].discarded);
        return 0;
    }
    int rc = exporter_admit(x, body.len, 0);
    if (rc == 0)
        rc = parcel_of_relay(&p, signal, body, coding, content_type, key, x->opts.budget);
    if (rc < 0) {
        metric_inc(&x->stats.relay[signal].lost);
        return rc;
    }
    p->born_ms = clock_now_ms(x->opts.clock);
    senders_take(x->senders, &p);
    return 0;
}

int exporter_renew(struct exporter *x, struct sink *sink)
{
    return senders_renew(x->senders, sink);
}

/* ---- looking ----------------------------------------------------------- */

bool exporter_is_idle(const struct exporter *x)
{
    for (int lane = 0; lane < LANE_COUNT; lane++)
        if (batch_builder_records(x->lanes[lane].builder) > 0)
            return false;
    return senders_are_idle(x->senders);
}

uint32_t exporter_retry_after_s(const struct exporter *x)
{
    return senders_are_waiting(x->senders) ? RETRY_LONG_S : RETRY_SHORT_S;
}

void exporter_stats(const struct exporter *x, struct exporter_stats *out)
{
    *out = x->stats;
    out->batch_bytes = collected_bytes(x);
    for (const struct collector *c = x->lanes; c < x->lanes + LANE_COUNT; c++) {
        uint64_t age_ms = clock_now_ms(x->opts.clock) - c->began_ms;
        if (batch_builder_records(c->builder) > 0 && age_ms > out->oldest_ms)
            out->oldest_ms = age_ms;
    }
    senders_gauges(x->senders, out);
}

const char *exporter_sink_name(const struct exporter *x)
{
    return senders_sink(x->senders)->name;
}

/* ---- life -------------------------------------------------------------- */

static void exporter_free(struct exporter *x)
{
    for (int lane = 0; lane < LANE_COUNT; lane++)
        batch_builder_free(x->lanes[lane].builder);
    coder_free(x->coder);
    free(x);
}

int exporter_open(struct exporter **out, uv_loop_t *loop, struct sink *sink,
                  const struct exporter_opts *opts)
{
    struct exporter *x = calloc(1, sizeof *x);
    if (x == NULL)
        return ERR_NOMEM;
    x->opts = *opts;
    struct batch_opts batch = {opts->batch_bytes, opts->batch_records, opts->budget};
    bool has_builders = true;
    for (struct collector *c = x->lanes; c < x->lanes + LANE_COUNT; c++) {
        c->exporter = x;
        c->builder = batch_builder_new(&batch);
        has_builders = has_builders && c->builder != NULL;
    }
    x->coder = coder_new();
    struct senders_opts senders = {
        .clock = opts->clock,
        .fates = opts->fates,
        .packing =
            {
                .coder = x->coder,
                .coding = sink->compresses ? opts->compression : CODING_IDENTITY,
                .budget = opts->budget,
                .max_bytes = SIZE_MAX, /* our own bytes: bounded when they were packed */
            },
        .max_age_ms = opts->max_age_ms,
        .refused_file = opts->refused_file,
    };
    if (!has_builders || x->coder == NULL ||
        senders_open(&x->senders, loop, sink, &senders, &x->stats) < 0) {
        exporter_free(x);
        return ERR_NOMEM;
    }
    for (; x->open_timers < LANE_COUNT; x->open_timers++)
        uv_timer_init(loop, &x->lanes[x->open_timers].age_timer);
    *out = x;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct exporter *x = container_of((uv_timer_t *)handle, struct collector, age_timer)->exporter;
    if (--x->open_timers == 0)
        exporter_free(x);
}

void exporter_close(struct exporter *x)
{
    if (x == NULL)
        return;
    /* Not sealed first: there may be no memory for that. */
    struct fate_settlement lost = {&x->opts.fates, FATE_LOST_SHUTDOWN};
    for (struct collector *c = x->lanes; c < x->lanes + LANE_COUNT; c++) {
        batch_builder_each_service(c->builder, fate_settle_part, &lost);
        batch_builder_clear(c->builder);
    }
    senders_close(x->senders);
    for (struct collector *c = x->lanes; c < x->lanes + LANE_COUNT; c++)
        uv_close((uv_handle_t *)&c->age_timer, on_timer_closed);
}
