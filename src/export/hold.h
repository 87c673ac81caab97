/*
 * hold: where a kept record is held until it is delivered: in memory, or on disk first.
 *
 *     memory   the exporter's batch and queue; a request is answered as soon as it is taken
 *     disk     the journal; it is answered when its records are stored, and the exporter gets
 *              them from there
 *
 * Errors may have a lane of their own, to be sent before all that waits: a batch and a queue of
 * the exporter, and on disk a journal. Where that journal has no room they go with the others.
 *
 * The choice is made once, by hold_init(). What takes records (the pipeline, and the receiver
 * around a request) calls through the table.
 *
 * Ownership  borrows its parts.
 * Blocking   never.
 */
#pragma once

#include "export/exporter.h"
#include "export/journal.h"

struct hold;

typedef int hold_add_fn(void *hold, const struct logs_group *g, struct span record,
                        struct span stamp, uint32_t service);

/* A request that must not be answered before its records are stored; in the caller's memory. */
struct hold_waiter {
    struct journal_waiter in[LANE_COUNT];
    int pending, rc;
    /* 0: all of it is stored. ERR_*: part of it is not; send all of it again. */
    void (*done)(struct hold_waiter *w, int rc);
};

struct hold_ops {
    /* The four of a record; `hold` is a struct hold. As exporter_admit(), exporter_fullness()
     * and exporter_add() have it. add_error NULL: errors go with the others. */
    int (*admit)(void *hold, size_t bytes, size_t largest);
    double (*fullness)(void *hold);
    hold_add_fn *add, *add_error;
    /* Around the records of one request; as journal_begin() and journal_wait() have it. In
     * memory there is nothing to wait for. */
    void (*begin)(struct hold *h);
    int (*wait)(struct hold *h, struct hold_waiter *w);
};

struct hold {
    struct hold_ops ops;
    struct exporter *exporter;
    struct journal *journals[LANE_COUNT]; /* NULL in memory; that of errors may be NULL */
    bool is_on_disk;
};

void hold_init(struct hold *h, struct exporter *exporter,
               struct journal *const journals[LANE_COUNT], bool errors_first);

/* done() will not be called. */
void hold_forget(struct hold_waiter *w);
