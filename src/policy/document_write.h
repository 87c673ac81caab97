/*
 * document_write: rules as the policy file that users know, and what differs between two of them.
 *
 * What is written is read by policy_document_read_file() as the same rates: each number has as many
 * digits as it takes. keep, drop and first are the configuration's and not in it. The order is
 * always the same, so that two documents can be held side by side.
 *
 * Pure. Memory: 16 bytes a rate of a pattern while it writes.
 */
#pragma once

#include <stdint.h>

#include "pipeline/rules.h"
#include "util/buf.h"
#include "util/err.h"

/* `note`: a line of comment above it; "" for none. Failures are the buf's, and ERR_NOMEM. */
MUST_CHECK int policy_document_write(struct buf *out, const struct rules *rules, int64_t version,
                                     const char *note);

/* Lines "- key: rate" and "+ key: rate" of what is in one alone or has another rate; nothing
 * where they are the same. */
MUST_CHECK int policy_document_diff(struct buf *out, const struct rules *from,
                                    const struct rules *to);
