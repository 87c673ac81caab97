/*
 * hold: where a kept record is held until it is delivered: in memory, or on disk first.
 *
 *     memory   the exporter's batch and queue; a request is answered as soon as it is taken
 *     disk     the journal; it is answered when its records are stored, and the exporter gets
 *              them from there
 *
 * The choice is made once, by hold_init(). What takes records (the pipeline, and the receiver
 * around a request) calls through the table.
 *
 * Ownership  borrows both parts.
 * Blocking   never.
 */
#pragma once

#include "export/exporter.h"
#include "export/journal.h"

struct hold;

struct hold_ops {
    /* The three of a record; `hold` is a struct hold. As exporter_admit(), exporter_fullness()
     * and exporter_add() have it. */
    int (*admit)(void *hold, size_t bytes, size_t largest);
    double (*fullness)(void *hold);
    int (*add)(void *hold, const struct logs_group *g, struct span record, struct span stamp,
               uint32_t service);
    /* Around the records of one request; as journal_begin() and journal_wait() have it. In
     * memory there is nothing to wait for. */
    void (*begin)(struct hold *h);
    int (*wait)(struct hold *h, struct journal_waiter *w);
};

struct hold {
    const struct hold_ops *ops;
    struct exporter *exporter;
    struct journal *journal; /* NULL in memory */
};

void hold_init(struct hold *h, struct exporter *exporter, struct journal *journal);
