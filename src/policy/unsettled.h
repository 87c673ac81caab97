/*
 * unsettled: reports of which it is not known whether the server took them.
 *
 * When no answer came, or one of a server in trouble, the report may be in its counts. So the same
 * bytes are sent again, with the same number, until there is an answer; only then are the marks
 * moved to where that report went. A server that knows numbers counts it once. What is counted
 * meanwhile goes with the next report of that service. One report a service waits.
 *
 * Memory     the body, and 64 bytes a pattern in it, drawn from the budget of the marks.
 * Blocking   never.
 */
#pragma once

#include "policy/report_marks.h"
#include "util/buf.h"
#include "util/list.h"

struct unsettled_mark {
    uint32_t number; /* of the entry */
    struct report_mark mark;
};

struct unsettled {
    struct list link;
    uint32_t service;
    uint64_t sequence, received, fate[FATE_COUNT];
    uint32_t refusals; /* answers of a server in trouble, to this one */
    struct buf body;   /* empty while it is being sent */
    uint32_t mark_count;
    struct unsettled_mark marks[];
};

/* Note where a report of that service goes: rows [first, end) of the census. ERR_FULL, ERR_NOMEM:
 * there is no room to note it. */
MUST_CHECK int unsettled_new(struct unsettled **out, struct report_marks *m, const struct census *c,
                             uint32_t service, uint32_t first, uint32_t end);

/* It was taken: the server knows of all that is in it. */
void unsettled_take(const struct unsettled *u, struct report_marks *m);

/* It may have been taken, and will not be sent again: its number is not used for another one. */
void unsettled_leave(const struct unsettled *u, struct report_marks *m);

/* Unlinks it. Accepts NULL. */
void unsettled_free(struct unsettled *u, struct budget *budget);

/* Of a service, in a list of them; NULL: none. */
struct unsettled *unsettled_find(struct list *all, uint32_t service);
