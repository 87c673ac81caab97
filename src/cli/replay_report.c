/* replay_report: one run, as a table to read, or as JSON. */
#include <stdio.h>
#include <time.h>

#include "cli/replay.h"
#include "pattern/signature.h"
#include "pipeline/census.h"
#include "util/json.h"

#define SHOWN_PATTERNS 20

/* The records' own time is the sample of a month; where they tell none there is no money. */
static struct money_month month_of(const struct replay *r, uint64_t bytes)
{
    double seconds = r->first_ns != 0 ? (double)(r->last_ns - r->first_ns) / 1e9 : 0;
    return money_month(&r->terms, 0, seconds, (double)r->all.bytes, (double)bytes);
}

/* A total order, or equal sizes would make two outputs of one input. */
static int by_bytes(const void *a, const void *b)
{
    const struct census_pattern *x = a, *y = b;
    if (x->counts.received_bytes != y->counts.received_bytes)
        return x->counts.received_bytes < y->counts.received_bytes ? 1 : -1;
    return x->key.signature != y->key.signature ? (x->key.signature < y->key.signature ? -1 : 1)
           : x->key.service != y->key.service   ? (x->key.service < y->key.service ? -1 : 1)
           : x->key.level != y->key.level       ? x->key.level - y->key.level
                                                : x->key.status_class - y->key.status_class;
}

/* What the lanes have counted: of the first, patterns by bytes; of the second, by key. Both have
 * seen the same services in the same order. */
struct findings {
    const struct replay *r;
    struct census of[LANES_MAX];
};

static int find(struct findings *f)
{
    int rc = 0;
    for (size_t lane = 0; lane < f->r->lane_count && rc == 0; lane++) {
        const struct census_want want = {
            .services = true,
            .patterns = true,
            .templates = lane == 0,
            .order = lane == 0 ? by_bytes : NULL,
        };
        rc = census_take(f->r->lanes[lane].pipeline, &want, &f->of[lane]);
        if (rc == 0 && lane > 0)
            census_sort(&f->of[lane]);
    }
    return rc;
}

/* Of the i-th pattern of the first lane, in any. */
static struct pattern_counts counts_in(const struct findings *f, size_t lane, uint32_t i)
{
    const struct census_pattern *p = &f->of[0].patterns[i];
    if (lane > 0)
        p = census_find(&f->of[lane], &p->key);
    return p == NULL ? (struct pattern_counts){0} : p->counts;
}

static struct span service_of(const struct findings *f, const struct census_pattern *p)
{
    return f->of[0].services[p->key.service].name;
}

static const char *budget_unit(const struct replay *r)
{
    return config_target(&r->cfg).unit == GOVERNOR_RECORDS ? "records" : "bytes";
}

static bool has_budget(const struct replay *r)
{
    return config_target(&r->cfg).unit != GOVERNOR_NONE;
}

static void lane_json(struct json *j, const struct findings *f, size_t i)
{
    const struct replay *r = f->r;
    const struct lane *lane = &r->lanes[i];
    const struct census *c = &f->of[i];
    json_begin(j, NULL);
    json_str(j, "name", lane->name);
    json_str(j, "origin", rules_origin(lane->rules));
    json_i64(j, "version", rules_version(lane->rules));
    for (int v = 0; v < VERDICT_REJECTED; v++)
        json_u64(j, verdict_name((enum verdict)v), c->total.verdict[v]);
    json_u64(j, "released", c->total.released);
    json_u64(j, "metered_bytes", lane->meter.bytes);
    const struct money_month month = month_of(r, lane->meter.bytes);
    json_printf(j, "price_a_month", "%.9g", month.with);
    json_printf(j, "saving_a_month", "%.9g", month.saving);
    json_begin(j, "kept_by_reason");
    for (int why = 0; why < REASON_COUNT; why++)
        json_u64(j, reason_name((enum reason)why), c->reasons.kept[why]);
    json_end(j);
    if (has_budget(r)) {
        json_begin(j, "budget");
        json_str(j, "unit", budget_unit(r));
        json_printf(j, "allowed", "%.15g", c->governor.allowed);
        json_printf(j, "used", "%.15g", c->governor.used);
        json_u64(j, "lost_records", c->total.fate[FATE_LOST_BUDGET]);
        json_end(j);
    }
    json_begin(j, "severities");
    for (int l = 0; l < LEVEL_COUNT; l++) {
        json_begin(j, level_name((enum level)l));
        json_u64(j, "received", r->received[l]);
        json_u64(j, "kept", lane->kept[l]);
        json_end(j);
    }
    json_end(j);
    json_end(j);
}

static void pattern_json(struct json *j, const struct findings *f, uint32_t i)
{
    const struct census_pattern *p = &f->of[0].patterns[i];
    char id[SIGNATURE_TEXT_BYTES];
    json_begin(j, NULL);
    json_str(j, "pattern", signature_format(id, p->key.signature));
    json_text(j, "service", service_of(f, p));
    json_str(j, "severity", level_name((enum level)p->key.level));
    json_u64(j, "status_class", p->key.status_class);
    json_text(j, "template", census_template(p));
    json_u64(j, "received", p->counts.received);
    json_u64(j, "received_bytes", p->counts.received_bytes);
    json_begin_list(j, "policies");
    for (size_t lane = 0; lane < f->r->lane_count; lane++) {
        const struct pattern_counts n = counts_in(f, lane, i);
        json_begin(j, NULL);
        json_u64(j, "kept", n.kept);
        json_u64(j, "sampled_out", n.sampled_out);
        json_u64(j, "dropped_by_rule", n.dropped_by_rule);
        json_u64(j, "kept_bytes", n.kept_bytes);
        json_end(j);
    }
    json_end_list(j);
    json_end(j);
}

static void report_json(struct buf *out, const struct findings *f)
{
    const struct replay *r = f->r;
    struct json j = json_on(out);
    json_begin(&j, NULL);
    json_u64(&j, "files", r->files);
    json_u64(&j, "requests", r->requests);
    json_u64(&j, "refused", r->refused);
    json_u64(&j, "records", r->records);
    json_printf(&j, "from_unix_ns", "\"%llu\"", (unsigned long long)r->first_ns);
    json_printf(&j, "to_unix_ns", "\"%llu\"", (unsigned long long)r->last_ns);
    json_u64(&j, "metered_bytes", r->all.bytes);
    const struct money_month month = month_of(r, r->all.bytes);
    json_printf(&j, "metered_bytes_a_month", "%.9g", month.without_bytes);
    json_str(&j, "currency", r->cfg.cost.currency);
    json_bool(&j, "is_assumed", r->terms.is_assumed);
    json_printf(&j, "price_a_month", "%.9g", month.without);
    json_begin_list(&j, "policies");
    for (size_t i = 0; i < r->lane_count; i++)
        lane_json(&j, f, i);
    json_end_list(&j);
    json_begin_list(&j, "patterns");
    for (uint32_t i = 0; i < f->of[0].pattern_count; i++)
        pattern_json(&j, f, i);
    json_end_list(&j);
    json_end(&j);
    json_line(&j);
}

static void add_share(struct buf *out, uint64_t part, uint64_t whole)
{
    buf_printf(out, " %14llu %5.1f%%", (unsigned long long)part,
               whole == 0 ? 0.0 : (double)part * 100 / (double)whole);
}

/* Events are records of our own. */
static uint64_t kept_of_input(const struct census *c)
{
    return c->total.verdict[VERDICT_KEPT] - c->reasons.kept[REASON_EVENT];
}

/* What is sent besides what is kept. */
static void rows_besides(struct buf *out, const struct findings *f)
{
    bool has_context = false, has_events = false;
    for (size_t i = 0; i < f->r->lane_count; i++) {
        has_context |= f->of[i].total.released > 0;
        has_events |= f->of[i].reasons.kept[REASON_EVENT] > 0;
    }
    if (has_context)
        buf_printf(out, "%-16s %14s", "error context", "");
    for (size_t i = 0; i < f->r->lane_count && has_context; i++)
        add_share(out, f->of[i].total.released, f->r->records);
    if (has_events)
        buf_printf(out, "%s%-16s %14s", has_context ? "\n" : "", "events", "");
    for (size_t i = 0; i < f->r->lane_count && has_events; i++)
        add_share(out, f->of[i].reasons.kept[REASON_EVENT], f->r->records);
    if (has_context || has_events)
        buf_append_byte(out, '\n');
}

static void row_by_level(struct buf *out, const struct findings *f, const char *name, int level)
{
    const struct replay *r = f->r;
    uint64_t received = level < 0 ? r->records : r->received[level];
    buf_printf(out, "%-16s %14llu", name, (unsigned long long)received);
    for (size_t i = 0; i < r->lane_count; i++)
        add_share(out, level < 0 ? kept_of_input(&f->of[i]) : r->lanes[i].kept[level], received);
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

static void words_head(struct buf *out, const struct replay *r)
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
}

static void words_budget(struct buf *out, const struct findings *f, size_t i)
{
    const struct governor_stats *s = &f->of[i].governor;
    buf_printf(out, "\nbudget of [%zu]: %.0f %s allowed, %.0f used", i + 1, s->allowed,
               budget_unit(f->r), s->used);
    if (s->allowed > 0)
        buf_printf(out, " (%.1f%%)", 100 * s->used / s->allowed);
    else
        buf_append_str(out, ": the records tell no time, and without it there is no budget");
    buf_printf(out, ", %llu records lost to it",
               (unsigned long long)f->of[i].total.fate[FATE_LOST_BUDGET]);
}

static void words_pattern(struct buf *out, const struct findings *f, uint32_t i)
{
    const struct census_pattern *p = &f->of[0].patterns[i];
    char id[SIGNATURE_TEXT_BYTES];
    buf_printf(out, "%s %-5s %10llu", signature_format(id, p->key.signature),
               level_name((enum level)p->key.level), (unsigned long long)p->counts.received);
    for (size_t lane = 0; lane < f->r->lane_count; lane++)
        add_share(out, counts_in(f, lane, i).kept, p->counts.received);
    buf_append_str(out, "  ");
    json_write_string(out, service_of(f, p));
    buf_append_byte(out, ' ');
    json_write_string(out, census_template(p));
    buf_append_byte(out, '\n');
}

static void words_money(struct buf *out, const struct replay *r)
{
    const struct money_month all = month_of(r, r->all.bytes);
    char text[MONEY_TEXT_BYTES];
    buf_printf(out, "\n%-16.16s %14.2f", "price a month", all.without);
    for (size_t i = 0; i < r->lane_count; i++)
        buf_printf(out, " %14.2f %6s", month_of(r, r->lanes[i].meter.bytes).with, "");
    for (size_t i = 0; i < r->lane_count; i++) {
        const struct money_month month = month_of(r, r->lanes[i].meter.bytes);
        buf_printf(out, "\n[%zu] %s", i + 1,
                   all.without_bytes > 0
                       ? money_say(text, &r->terms, &month, r->cfg.cost.currency)
                       : "the records tell no time, and without it there is no month to price");
    }
}

static void report_words(struct buf *out, const struct findings *f)
{
    const struct replay *r = f->r;
    words_head(out, r);
    row_by_level(out, f, "records", -1);
    for (int level = 0; level < LEVEL_COUNT; level++)
        if (r->received[level] > 0)
            row_by_level(out, f, level_name((enum level)level), level);
    rows_besides(out, f);
    buf_printf(out, "%-16s %14llu", "metered bytes", (unsigned long long)r->all.bytes);
    for (size_t i = 0; i < r->lane_count; i++)
        add_share(out, r->lanes[i].meter.bytes, r->all.bytes);
    words_money(out, r);
    for (size_t i = 0; i < r->lane_count && has_budget(r); i++)
        words_budget(out, f, i);
    uint32_t all = f->of[0].pattern_count, shown = all < SHOWN_PATTERNS ? all : SHOWN_PATTERNS;
    buf_printf(out, "\n\npatterns, most bytes first (%u of %u)\n", shown, all);
    if (f->of[0].patterns_evicted > 0)
        buf_printf(out, "%llu more had no room in the table (sampling.max_patterns)\n",
                   (unsigned long long)f->of[0].patterns_evicted);
    for (uint32_t i = 0; i < shown; i++)
        words_pattern(out, f, i);
}

int replay_report(const struct replay *r)
{
    struct findings f = {.r = r};
    struct buf out = {0};
    int rc = find(&f);
    if (rc == 0)
        (r->json ? report_json : report_words)(&out, &f);
    if (rc == 0)
        rc = out.err;
    if (rc == 0 && (fwrite(out.base, 1, out.len, stdout) != out.len || fflush(stdout) != 0))
        rc = ERR_IO;
    buf_done(&out);
    for (size_t i = 0; i < LANES_MAX; i++)
        census_done(&f.of[i]);
    return rc;
}
