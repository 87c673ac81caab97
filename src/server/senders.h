/*
 * senders: which reports have been taken, by who sent them.
 *
 * A sidecar numbers the reports of each service from 1, anew with each start (its boot), and sends
 * one again until it is answered. The server takes each number once.
 *
 *     NEW        take it; senders_commit() when it is stored, or senders_cancel()
 *     REPEATED   it was taken: answer so again
 *     BUSY       it is being stored: its sender asks again
 *
 * Memory     drawn from the budget. A sender that was not seen for SENDERS_KEEP_MS is forgotten.
 * Blocking   never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/budget.h"
#include "util/err.h"
#include "util/span.h"

struct service;
struct sender;

#define SENDERS_KEEP_MS (7 * 86400000ll) /* longer than anybody waits to send a report again */

enum sender_verdict { SENDER_NEW, SENDER_REPEATED, SENDER_BUSY };

struct senders {
    struct budget *budget;
    struct sender **slots; /* chains */
    uint32_t slot_count, count;
    uint64_t gaps, repeats; /* reports that never came; that came again */
};

void senders_init(struct senders *s, struct budget *budget);
void senders_done(struct senders *s);

/* May this report be taken? 0 and *verdict, with *out for a new one; ERR_FULL: no memory. */
MUST_CHECK int senders_begin(struct senders *s, const struct service *service, struct span instance,
                             struct span boot, uint64_t sequence, int64_t now_ms,
                             enum sender_verdict *verdict, struct sender **out);
void senders_commit(struct senders *s, struct sender *sender);
void senders_cancel(struct senders *s, struct sender *sender);

/* At the start: what the database knows. */
MUST_CHECK int senders_restore(struct senders *s, const struct service *service,
                               struct span instance, struct span boot, uint64_t sequence,
                               int64_t seen_ms);

/* Forget who was not seen for long. */
void senders_forget(struct senders *s, int64_t now_ms);
