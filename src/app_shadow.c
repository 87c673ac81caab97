/* app_shadow: what is done and what would be, side by side, in records, bytes and money. */
#include <inttypes.h>
#include <stdlib.h>

#include "app.h"
#include "pipeline/shadow.h"

#define GB 1e9 /* metered bytes are sold by powers of ten */

/* What was done and what would have been are of one kind here. */
static struct shadow_counts done_of(const struct pattern_counts *c)
{
    return (struct shadow_counts){c->kept, c->sampled_out, c->dropped_by_rule, c->kept_bytes};
}

static void write_counts(struct buf *out, const struct app *app, const struct shadow_counts *c)
{
    buf_printf(out,
               "\"kept\":%" PRIu64 ",\"sampled_out\":%" PRIu64 ",\"dropped_by_rule\":%" PRIu64
               ",\"kept_bytes\":%" PRIu64 ",\"cost\":%.9g}",
               c->kept, c->sampled_out, c->dropped_by_rule, c->kept_bytes,
               (double)c->kept_bytes / GB * app->cfg->cost_per_gb);
}

/* The rules of a lane; NULL: there are none. */
static const struct rules *rules_of(const struct app *app, enum shadow_lane lane)
{
    if (lane == SHADOW_POLICY)
        return pipeline_shadow_rules(app->pipeline);
    return app->cfg->observe ? pipeline_rules(app->pipeline, LEDGER_OTHER) : NULL;
}

static void write_lanes(struct buf *out, const struct app *app, const struct shadow *s)
{
    const struct ledger_row *t = ledger_total(pipeline_ledger(app->pipeline));
    const struct shadow_counts done = {t->verdict[VERDICT_KEPT], t->verdict[VERDICT_SAMPLED_OUT],
                                       t->verdict[VERDICT_DROPPED_BY_RULE], t->kept_bytes};
    const struct shadow_counts all = {.kept = t->received - t->verdict[VERDICT_REJECTED],
                                      .kept_bytes = t->received_bytes};
    buf_append_str(out, "\"lanes\":[{\"lane\":\"everything\",");
    write_counts(out, app, &all);
    buf_append_str(out, ",{\"lane\":\"done\",");
    write_counts(out, app, &done);
    for (int lane = 0; lane < SHADOW_LANE_COUNT; lane++) {
        const struct rules *rules = rules_of(app, (enum shadow_lane)lane);
        if (rules == NULL)
            continue;
        buf_printf(out, ",{\"lane\":\"%s\",\"origin\":\"%s\",\"version\":%" PRId64 ",",
                   shadow_lane_name((enum shadow_lane)lane), rules_origin(rules), rules_version(rules));
        write_counts(out, app, shadow_total(s, (enum shadow_lane)lane));
    }
    buf_append_byte(out, ']');
}

static void write_row(struct buf *out, const struct app *app, const struct shadow *s,
                      const struct pattern *p)
{
    const struct shadow_counts done = done_of(&p->counts);
    app_write_pattern_name(out, app, p);
    buf_printf(out, ",\"received\":%" PRIu64 ",\"received_bytes\":%" PRIu64 ",\"done\":{",
               p->counts.received, p->counts.received_bytes);
    write_counts(out, app, &done);
    for (int lane = 0; lane < SHADOW_LANE_COUNT; lane++) {
        if (rules_of(app, (enum shadow_lane)lane) == NULL)
            continue;
        const struct shadow_counts c = shadow_of(s, (enum shadow_lane)lane, p->number);
        buf_printf(out, ",\"%s\":{", shadow_lane_name((enum shadow_lane)lane));
        write_counts(out, app, &c);
    }
    buf_append_byte(out, '}');
}

static int by_bytes(const void *a, const void *b)
{
    const struct pattern *x = *(struct pattern *const *)a, *y = *(struct pattern *const *)b;
    if (x->counts.received_bytes != y->counts.received_bytes)
        return x->counts.received_bytes < y->counts.received_bytes ? 1 : -1;
    return x->number < y->number ? -1 : x->number > y->number;
}

int app_write_shadow(void *ctx, struct span query, struct buf *out)
{
    const struct app *app = ctx;
    const struct shadow *s = pipeline_shadow(app->pipeline);
    struct patterns *table = pipeline_patterns(app->pipeline);
    uint32_t slots = patterns_slots(table), n = 0, limit = app_read_limit(query);
    if (s == NULL) {
        buf_append_str(out, "{\"error\":\"neither mode: observe nor shadow.policy_file is set\"}\n");
        return 404;
    }
    struct buf room = {.budget = out->budget};
    if (buf_reserve_exact(&room, (slots + 1) * sizeof(struct pattern *)) < 0) {
        buf_append_str(out, "{\"error\":\"no memory for this page now\"}\n");
        return 503;
    }
    struct pattern **list = (struct pattern **)(void *)room.base;
    for (uint32_t i = 0; i < slots; i++)
        if (patterns_at(table, i)->in_use)
            list[n++] = patterns_at(table, i);
    qsort(list, n, sizeof *list, by_bytes);
    buf_printf(out, "{\"mode\":\"%s\",\"cost_per_gb\":%.9g,", app->cfg->observe ? "observe" : "enforce",
               app->cfg->cost_per_gb);
    write_lanes(out, app, s);
    buf_append_str(out, ",\"patterns\":[");
    for (uint32_t i = 0; i < n && i < limit; i++) {
        if (i > 0)
            buf_append_byte(out, ',');
        write_row(out, app, s, list[i]);
    }
    buf_append_str(out, "]}\n");
    buf_done(&room);
    return 200;
}
