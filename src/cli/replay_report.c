/* replay_report: one run, as a table for people or as JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cli/replay.h"
#include "pattern/signature.h"
#include "util/json.h"

#define GB 1e9 /* as prices count */
#define SHOWN_PATTERNS 20

static double cost(const struct replay *r, uint64_t bytes)
{
    return (double)bytes / GB * r->cost_per_gb;
}

static const struct ledger_row *totals(const struct lane *lane)
{
    return ledger_total(pipeline_ledger(lane->pipeline));
}

/* A total order, or equal sizes would make two outputs of one input. */
static int by_bytes(const void *a, const void *b)
{
    const struct pattern *const *left = a, *const *right = b;
    const struct pattern *x = *left, *y = *right;
    if (x->counts.received_bytes != y->counts.received_bytes)
        return x->counts.received_bytes < y->counts.received_bytes ? 1 : -1;
    return x->key.signature != y->key.signature ? (x->key.signature < y->key.signature ? -1 : 1)
           : x->key.service != y->key.service   ? (x->key.service < y->key.service ? -1 : 1)
           : x->key.level != y->key.level       ? x->key.level - y->key.level
                                                : x->key.status_class - y->key.status_class;
}

struct listing {
    const struct pattern **of[LANES_MAX]; /* of[0] sorted; of[1] in the same order */
    uint32_t count;
};

static int list_patterns(const struct replay *r, struct listing *l)
{
    struct patterns *p = pipeline_patterns(r->lanes[0].pipeline);
    uint32_t slots = patterns_slots(p);
    *l = (struct listing){0};
    l->of[0] = calloc(slots + 1, sizeof(struct pattern *));
    l->of[1] = calloc(slots + 1, sizeof(struct pattern *));
    if (l->of[0] == NULL || l->of[1] == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < slots; i++)
        if (patterns_at(p, i)->in_use)
            l->of[0][l->count++] = patterns_at(p, i);
    qsort(l->of[0], l->count, sizeof(struct pattern *), by_bytes);
    for (size_t lane = 1; lane < r->lane_count; lane++) {
        for (uint32_t i = 0; i < l->count; i++) {
            bool is_new;
            l->of[lane][i] = patterns_get(pipeline_patterns(r->lanes[lane].pipeline),
                                          &l->of[0][i]->key, &is_new);
        }
    }
    return 0;
}

static void add_json_string(struct buf *out, const char *text)
{
    json_write_string(out, span_str(text));
}

static const char *budget_unit(const struct replay *r)
{
    return config_target(&r->cfg).unit == GOVERNOR_RECORDS ? "records" : "bytes";
}

static bool has_budget(const struct replay *r)
{
    return config_target(&r->cfg).unit != GOVERNOR_NONE;
}

static void lane_json(struct buf *out, const struct replay *r, const struct lane *lane)
{
    const struct ledger_row *t = totals(lane);
    const struct pipeline_reasons *why = pipeline_reasons(lane->pipeline);
    const char *comma = "";
    buf_append_str(out, "{\"name\":");
    add_json_string(out, lane->name);
    buf_printf(out, ",\"origin\":\"%s\",\"version\":%lld", rules_origin(lane->rules),
               (long long)rules_version(lane->rules));
    for (int v = 0; v < VERDICT_REJECTED; v++)
        buf_printf(out, ",\"%s\":%llu", verdict_name((enum verdict)v),
                   (unsigned long long)t->verdict[v]);
    buf_printf(out, ",\"metered_bytes\":%llu,\"cost\":%.9g,\"kept_by_reason\":{",
               (unsigned long long)lane->meter.bytes, cost(r, lane->meter.bytes));
    for (int i = 0; i < REASON_COUNT; i++)
        buf_printf(out, "%s\"%s\":%llu", i == 0 ? "" : ",", reason_name((enum reason)i),
                   (unsigned long long)why->kept[i]);
    buf_append_str(out, "},");
    if (has_budget(r)) {
        struct governor_stats s = pipeline_governor(lane->pipeline);
        buf_printf(
            out,
            "\"budget\":{\"unit\":\"%s\",\"allowed\":%.15g,\"used\":%.15g,\"lost_records\":%llu},",
            budget_unit(r), s.allowed, s.used, (unsigned long long)t->fate[FATE_LOST_BUDGET]);
    }
    buf_append_str(out, "\"severities\":{");
    for (int l = 0; l < LEVEL_COUNT; l++) {
        buf_printf(out, "%s\"%s\":{\"received\":%llu,\"kept\":%llu}", comma,
                   level_name((enum level)l), (unsigned long long)r->received[l],
                   (unsigned long long)lane->kept[l]);
        comma = ",";
    }
    buf_append_str(out, "}}");
}

static void pattern_json(struct buf *out, const struct replay *r, const struct listing *l,
                         uint32_t i)
{
    const struct pattern *p = l->of[0][i];
    char id[SIGNATURE_TEXT_BYTES];
    buf_printf(out, "%s{\"pattern\":\"%s\",\"service\":", i == 0 ? "" : ",",
               signature_format(id, p->key.signature));
    json_write_string(out,
                      ledger_service_name(pipeline_ledger(r->lanes[0].pipeline), p->key.service));
    buf_printf(out, ",\"severity\":\"%s\",\"status_class\":%u,\"template\":",
               level_name((enum level)p->key.level), p->key.status_class);
    json_write_string(out, span_of(p->template_text, p->template_len));
    buf_printf(out, ",\"received\":%llu,\"received_bytes\":%llu,\"policies\":[",
               (unsigned long long)p->counts.received,
               (unsigned long long)p->counts.received_bytes);
    for (size_t lane = 0; lane < r->lane_count; lane++) {
        const struct pattern_counts *c = &l->of[lane][i]->counts;
        buf_printf(
            out,
            "%s{\"kept\":%llu,\"sampled_out\":%llu,\"dropped_by_rule\":%llu,\"kept_bytes\":%llu}",
            lane == 0 ? "" : ",", (unsigned long long)c->kept, (unsigned long long)c->sampled_out,
            (unsigned long long)c->dropped_by_rule, (unsigned long long)c->kept_bytes);
    }
    buf_append_str(out, "]}");
}

static void report_json(struct buf *out, const struct replay *r, const struct listing *l)
{
    buf_printf(out,
               "{\"files\":%llu,\"requests\":%llu,\"refused\":%llu,\"records\":%llu,"
               "\"from_unix_ns\":\"%llu\",\"to_unix_ns\":\"%llu\",\"metered_bytes\":%llu,"
               "\"cost_per_gb\":%.9g,\"cost\":%.9g,\"policies\":[",
               (unsigned long long)r->files, (unsigned long long)r->requests,
               (unsigned long long)r->refused, (unsigned long long)r->records,
               (unsigned long long)r->first_ns, (unsigned long long)r->last_ns,
               (unsigned long long)r->all.bytes, r->cost_per_gb, cost(r, r->all.bytes));
    for (size_t i = 0; i < r->lane_count; i++) {
        buf_append_str(out, i == 0 ? "" : ",");
        lane_json(out, r, &r->lanes[i]);
    }
    buf_append_str(out, "],\"patterns\":[");
    for (uint32_t i = 0; i < l->count; i++)
        pattern_json(out, r, l, i);
    buf_append_str(out, "]}\n");
}

static void add_share(struct buf *out, uint64_t part, uint64_t whole)
{
    buf_printf(out, " %14llu %5.1f%%", (unsigned long long)part,
               whole == 0 ? 0.0 : (double)part * 100 / (double)whole);
}

static void row_by_level(struct buf *out, const struct replay *r, const char *name, int level)
{
    buf_printf(out, "%-16s %14llu", name,
               (unsigned long long)(level < 0 ? r->records : r->received[level]));
    for (size_t i = 0; i < r->lane_count; i++)
        add_share(out,
                  level < 0 ? totals(&r->lanes[i])->verdict[VERDICT_KEPT] : r->lanes[i].kept[level],
                  level < 0 ? r->records : r->received[level]);
    buf_append_byte(out, '\n');
}

static void add_time(struct buf *out, uint64_t ns)
{
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm tm;
    char text[32] = "?";
    if (gmtime_r(&seconds, &tm) != NULL)
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    buf_append_str(out, text);
}

static void report_words(struct buf *out, const struct replay *r, const struct listing *l)
{
    buf_printf(out, "files %llu, requests %llu (refused %llu), records %llu",
               (unsigned long long)r->files, (unsigned long long)r->requests,
               (unsigned long long)r->refused, (unsigned long long)r->records);
    if (r->first_ns != 0) {
        buf_append_str(out, ", ");
        add_time(out, r->first_ns);
        buf_append_str(out, " to ");
        add_time(out, r->last_ns);
    }
    buf_append_str(out, "\n\n");
    for (size_t i = 0; i < r->lane_count; i++)
        buf_printf(out, "[%zu] %s (%s, version %lld)\n", i + 1, r->lanes[i].name,
                   rules_origin(r->lanes[i].rules), (long long)rules_version(r->lanes[i].rules));
    buf_printf(out, "\n%-16s %14s", "", "received");
    for (size_t i = 0; i < r->lane_count; i++)
        buf_printf(out, " %10s [%zu] %6s", "kept", i + 1, "");
    buf_append_byte(out, '\n');
    row_by_level(out, r, "records", -1);
    for (int level = 0; level < LEVEL_COUNT; level++)
        if (r->received[level] > 0)
            row_by_level(out, r, level_name((enum level)level), level);
    buf_printf(out, "%-16s %14llu", "metered bytes", (unsigned long long)r->all.bytes);
    for (size_t i = 0; i < r->lane_count; i++)
        add_share(out, r->lanes[i].meter.bytes, r->all.bytes);
    buf_printf(out, "\ncost at %-8.4g %14.6f", r->cost_per_gb, cost(r, r->all.bytes));
    for (size_t i = 0; i < r->lane_count; i++)
        buf_printf(out, " %14.6f %6s", cost(r, r->lanes[i].meter.bytes), "");
    for (size_t i = 0; i < r->lane_count && has_budget(r); i++) {
        struct governor_stats s = pipeline_governor(r->lanes[i].pipeline);
        buf_printf(out, "\nbudget of [%zu]: %.0f %s allowed, %.0f used", i + 1, s.allowed,
                   budget_unit(r), s.used);
        if (s.allowed > 0)
            buf_printf(out, " (%.1f%%)", 100 * s.used / s.allowed);
        else
            buf_append_str(out, ": the records tell no time, and without it there is no budget");
        buf_printf(out, ", %llu records lost to it",
                   (unsigned long long)totals(&r->lanes[i])->fate[FATE_LOST_BUDGET]);
    }

    uint32_t shown = l->count < SHOWN_PATTERNS ? l->count : SHOWN_PATTERNS;
    buf_printf(out, "\n\npatterns, most bytes first (%u of %u)\n", shown, l->count);
    for (uint32_t i = 0; i < shown; i++) {
        const struct pattern *p = l->of[0][i];
        char id[SIGNATURE_TEXT_BYTES];
        buf_printf(out, "%s %-5s %10llu", signature_format(id, p->key.signature),
                   level_name((enum level)p->key.level), (unsigned long long)p->counts.received);
        for (size_t lane = 0; lane < r->lane_count; lane++)
            add_share(out, l->of[lane][i]->counts.kept, p->counts.received);
        buf_append_str(out, "  ");
        json_write_string(
            out, ledger_service_name(pipeline_ledger(r->lanes[0].pipeline), p->key.service));
        buf_append_byte(out, ' ');
        json_write_string(out, span_of(p->template_text, p->template_len));
        buf_append_byte(out, '\n');
    }
}

int replay_report(const struct replay *r)
{
    struct listing l;
    struct buf out = {0};
    int rc = list_patterns(r, &l);
    if (rc == 0)
        (r->json ? report_json : report_words)(&out, r, &l);
    if (rc == 0)
        rc = out.err;
    if (rc == 0 && (fwrite(out.base, 1, out.len, stdout) != out.len || fflush(stdout) != 0))
        rc = ERR_IO;
    buf_done(&out);
    for (size_t i = 0; i < LANES_MAX; i++)
        free(l.of[i]);
    return rc;
}
