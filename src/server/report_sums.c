/* report_sums: one walk over a report, with what is done to each of its lines. */
#include "server/report_sums.h"

#include "server/troubles.h"

/* Both directions. */
struct direction {
    void (*line)(struct rollup *r, struct service *service, int64_t now_ms,
                 const struct rollup_line *line);
    void (*trouble)(struct rollup *r, struct service *service, int64_t now_ms, const char *kind,
                    struct span reason, uint64_t records);
};

static const struct direction in = {rollup_add, rollup_add_trouble};
static const struct direction out = {rollup_take_out, rollup_take_out_trouble};

static void each_trouble(const struct direction *to, struct rollup *r, struct service *service,
                         const struct report_body *report, int64_t now_ms)
{
    struct json_each each = json_each(report->lost);
    uint64_t records;
    while (json_next(&each))
        if (json_whole(each.value, &records) && records > 0)
            to->trouble(r, service, now_ms, TROUBLE_LOSSES, each.key, records);
    if (report->is_quota_limited)
        to->trouble(r, service, now_ms, TROUBLE_QUOTA, SPAN(""), 0);
}

/* Returns its records. */
static uint64_t each_line(const struct direction *to, struct rollup *r, struct service *service,
                          const struct report_body *report, int64_t now_ms)
{
    struct rollup_line line;
    uint64_t records = report->rest;
    struct json_each each = json_each(report->patterns);
    while (json_next(&each)) {
        report_body_line(&line, each.value, now_ms);
        to->line(r, service, now_ms, &line);
        records += line.counts.received;
    }
    if (report->rest > 0) {
        line = (struct rollup_line){.counts = {.received = report->rest,
                                               .kept = report->rest,
                                               .first_ms = now_ms,
                                               .last_ms = now_ms}};
        to->line(r, service, now_ms, &line);
    }
    return records;
}

int report_sums_add(struct rollup *r, struct service *service, const struct report_body *report,
                    int64_t now_ms, struct receipt_place place, uint64_t *records)
{
    uint32_t lines = report->pattern_count + 1 + report->reason_count + report->is_quota_limited;
    int rc = rollup_reserve(r, lines, report->text_bytes);
    if (rc < 0)
        return rc;
    *records = each_line(&in, r, service, report, now_ms);
    each_trouble(&in, r, service, report, now_ms);
    if (report->sequence > 0)
        rollup_note_sender(r, service, report->instance, report->boot, report->sequence, now_ms,
                           place);
    return 0;
}

void report_sums_take_out(struct rollup *r, struct service *service,
                          const struct report_body *report, int64_t now_ms)
{
    each_line(&out, r, service, report, now_ms);
    each_trouble(&out, r, service, report, now_ms);
}
