/*
 * report_sums: the numbers of one report, into a rollup and out of it again.
 *
 * What is taken out is what was added: the same body, at the same time.
 */
#pragma once

#include "server/report_body.h"

/* All of it, and who sent it. ERR_FULL, ERR_NOMEM: nothing was added. *records: of its patterns and
 * of none. */
MUST_CHECK int report_sums_add(struct rollup *r, struct service *service,
                               const struct report_body *report, int64_t now_ms,
                               struct receipt_place place, uint64_t *records);

/* All but who sent it. */
void report_sums_take_out(struct rollup *r, struct service *service,
                          const struct report_body *report, int64_t now_ms);
