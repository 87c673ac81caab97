/*
 * flush: a rollup becomes rows of the database, in one transaction with the place in the journal
 * up to which it goes and with the last report of each sender. So after a crash a report is either
 * in the rows or read again from the journal, and never both.
 *
 * Services without a row get one; of a service with too many patterns the rest is one row.
 *
 * Blocking   flush_write() and flush_forget(): the database.
 */
#pragma once

#include "server/receipts.h"
#include "server/rollup.h"
#include "server/store.h"

struct flush {
    struct rollup batch;
    uint64_t attempt; /* of all flushes of this process, retries too: set by whoever starts it */
    const char *name; /* in `meta`, of the place: of this server's journal */
    uint64_t place;   /* the first file of it that is not in the rows */
    int64_t now_ms;
    uint32_t max_patterns;           /* of one service */
    const struct receipts *receipts; /* where the reports of the batch are */
    uint64_t
        elsewhere;   /* reports that were counted already; of these, not readable any more, and */
    uint64_t unread; /* so counted twice. Both are added to */
};

/* All of the batch, or nothing. */
MUST_CHECK int flush_write(struct flush *f, struct store *s);

/* After it was written, on the loop: services know their ids. */
void flush_settle(struct flush *f);

struct flush_retention {
    int64_t now_ms, minutes_ms, hours_ms, days_ms;
};

/* Remove some of what is older: a second of work at most. *is_done: there is no more. */
MUST_CHECK int flush_forget(const struct flush_retention *r, struct store *s, bool *is_done);
