/*
 * journal_log: log lines about the spool's state, when it changes.
 */
#pragma once

#include "export/journal.h"
#include "export/journal_job.h"

/* What was logged last. Zero: all is well. */
struct journal_log {
    int broken, unreadable;
    bool is_full;
};

/* Log the damage that a job met, and what has changed since the last call. */
void journal_log_state(struct journal_log *l, const struct journal_job *job,
                       const struct spool_stats *s, bool is_full, const struct journal_opts *opts);
