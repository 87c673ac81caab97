/* report_sums: one walk over a report, with what is done to each of its lines. */
#include "server/report_sums.h"

#include "server/registry.h"
#include "server/troubles.h"
#include "util/hash.h"

/* Both directions. */
struct direction {
    void (*line)(struct rollup *r, struct service *service, int64_t now_ms,
                 const struct rollup_line *line, struct span instance);
    void (*trouble)(struct rollup *r, struct service *service, int64_t now_ms, const char *kind,
                    struct span reason, uint64_t records);
};

/* Which instance had it stays: it had it. */
static void take_out_line(struct rollup *r, struct service *service, int64_t now_ms,
                          const struct rollup_line *line, struct span instance)
{
    (void)instance;
    rollup_take_out(r, service, now_ms, line);
}

static const struct direction in = {rollup_add, rollup_add_trouble};
static const struct direction out = {take_out_line, rollup_take_out_trouble};

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
                          const struct report_body *report, int64_t now_ms, struct span instance)
{
    struct rollup_line line;
    uint64_t records = report->rest;
    struct json_each each = json_each(report->patterns);
    while (json_next(&each)) {
        report_body_line(&line, each.value, now_ms);
        to->line(r, service, now_ms, &line, instance);
        records += line.counts.received;
    }
    if (report->rest > 0) {
        line = (struct rollup_line){.counts = {.received = report->rest,
                                               .kept = report->rest,
                                               .first_ms = now_ms,
                                               .last_ms = now_ms}};
        to->line(r, service, now_ms, &line, instance);
    }
    return records;
}

/* Those that were not noted by this process lately; what is noted is written, or read again from
 * the journal. */
static void note_versions(struct rollup *r, struct service *service,
                          const struct report_body *report, int64_t now_ms)
{
    struct json_each each = json_each(report->versions);
    while (json_next(&each)) {
        struct span text;
        int64_t first_ms;
        report_body_version(&text, &first_ms, each.value, now_ms);
        if (registry_note_version(service, hash64(text)))
            rollup_add_version(r, service, text, first_ms);
    }
}

int report_sums_add(struct rollup *r, struct service *service, const struct report_body *report,
                    int64_t now_ms, struct receipt_place place, uint64_t *records)
{
    uint32_t lines = report->pattern_count + 1 + report->reason_count + report->is_quota_limited +
                     report->version_count;
    struct span instance = SPAN("");
    int rc = rollup_reserve(r, lines, report->text_bytes);
    if (rc < 0)
        return rc;
    if (report->sequence > 0)
        instance = rollup_note_sender(r, service, report->instance, report->boot, report->sequence,
                                      now_ms, place);
    *records = each_line(&in, r, service, report, now_ms, instance);
    each_trouble(&in, r, service, report, now_ms);
    note_versions(r, service, report, now_ms);
    return 0;
}

void report_sums_take_out(struct rollup *r, struct service *service,
                          const struct report_body *report, int64_t now_ms)
{
    each_line(&out, r, service, report, now_ms, SPAN(""));
    each_trouble(&out, r, service, report, now_ms);
}
