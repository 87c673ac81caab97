/*
 * claims: which reports of a batch are counted already, by another server of the same database.
 *
 * A sidecar that gets no answer sends a report again, maybe to another server, while the first has
 * it in its journal. Each adds it up. Whoever writes first claims its number in `senders`, in the
 * transaction that writes the sums; the other finds the number there, reads the report from its
 * journal, and takes it out of its sums before it writes them. So sums of many senders are added up
 * in memory, and only what came twice is looked at by itself.
 *
 * Memory     one report at a time, outside of the account: no larger than any body that was taken.
 * Blocking   the database; the disk.
 */
#pragma once

#include "server/flush.h"

/* Inside of the flush's transaction, when it has its services: their rows keep other servers from
 * the same senders until its end. ERR_NOMEM, or a failure of the database. */
MUST_CHECK int claims_make(struct flush *f, struct store *s);
