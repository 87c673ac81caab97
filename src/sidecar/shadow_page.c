/* sidecar_shadow: what is done and what would be, side by side, in records, bytes and money. */
#include <inttypes.h>
#include <stdlib.h>

#include "pattern/signature.h"
#include "pipeline/shadow.h"
#include "sidecar/sidecar_state.h"
#include "util/json.h"

#define GB 1e9 /* metered bytes are sold by powers of ten */

static double cost_of(const struct sidecar *sc, uint64_t bytes)
{
    return (double)bytes / GB * sc->cfg->cost_per_gb;
}

static void write_counts(struct buf *out, const struct sidecar *sc, const struct shadow_counts *c)
{
    buf_printf(out,
               "\"kept\":%" PRIu64 ",\"sampled_out\":%" PRIu64 ",\"dropped_by_rule\":%" PRIu64
               ",\"kept_bytes\":%" PRIu64 ",\"cost\":%.9g}",
               c->kept, c->sampled_out, c->dropped_by_rule, c->kept_bytes,
               cost_of(sc, c->kept_bytes));
}

/* The rules of a lane; NULL: there are none. */
static const struct rules *rules_of(const struct sidecar *sc, enum shadow_lane lane)
{
    if (lane == SHADOW_POLICY)
        return pipeline_shadow_rules(sc->pipeline);
    return sc->cfg->observe ? pipeline_rules(sc->pipeline, LEDGER_OTHER) : NULL;
}

/* ---- lanes ------------------------------------------------------------- */

#define LANES_MAX (2 + SHADOW_LANE_COUNT)

struct lane {
    const char *name;
    const struct rules *rules; /* NULL: no policy is behind it */
    struct shadow_counts total;
    int shadow; /* enum shadow_lane; negative: what is done */
};

/* What everything would be, what is done, and what is only counted. Returns how many. */
static size_t list_lanes(const struct sidecar *sc, struct lane lanes[LANES_MAX])
{
    const struct ledger_row *t = ledger_total(pipeline_ledger(sc->pipeline));
    size_t n = 0;
    lanes[n++] = (struct lane){
        .name = "everything",
        .total = {.kept = t->received - t->verdict[VERDICT_REJECTED],
                  .kept_bytes = t->received_bytes},
        .shadow = -1,
    };
    lanes[n++] = (struct lane){
        .name = "done",
        .total = {t->verdict[VERDICT_KEPT], t->verdict[VERDICT_SAMPLED_OUT],
                  t->verdict[VERDICT_DROPPED_BY_RULE], t->kept_bytes},
        .shadow = -1,
    };
    for (int lane = 0; lane < SHADOW_LANE_COUNT; lane++) {
        const struct rules *rules = rules_of(sc, (enum shadow_lane)lane);
        if (rules != NULL)
            lanes[n++] = (struct lane){
                shadow_lane_name((enum shadow_lane)lane), rules,
                *shadow_total(pipeline_shadow(sc->pipeline), (enum shadow_lane)lane), lane};
    }
    return n;
}

static struct shadow_counts counts_in(const struct sidecar *sc, const struct lane *l,
                                      const struct pattern *p)
{
    if (l->shadow < 0)
        return (struct shadow_counts){p->counts.kept, p->counts.sampled_out,
                                      p->counts.dropped_by_rule, p->counts.kept_bytes};
    return shadow_of(pipeline_shadow(sc->pipeline), (enum shadow_lane)l->shadow, p->number);
}

/* ---- as JSON ----------------------------------------------------------- */

static void write_lanes(struct buf *out, const struct sidecar *sc, const struct lane *lanes,
                        size_t n)
{
    buf_printf(out, "{\"mode\":\"%s\",\"cost_per_gb\":%.9g,\"lanes\":[",
               sc->cfg->observe ? "observe" : "enforce", sc->cfg->cost_per_gb);
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "%s{\"lane\":\"%s\",", i > 0 ? "," : "", lanes[i].name);
        if (lanes[i].rules != NULL)
            buf_printf(out, "\"origin\":\"%s\",\"version\":%" PRId64 ",",
                       rules_origin(lanes[i].rules), rules_version(lanes[i].rules));
        write_counts(out, sc, &lanes[i].total);
    }
    buf_append_str(out, "],\"patterns\":[");
}

static void write_row(struct buf *out, const struct sidecar *sc, const struct lane *lanes, size_t n,
                      const struct pattern *p)
{
    sidecar_write_pattern_name(out, sc, p);
    buf_printf(out, ",\"received\":%" PRIu64 ",\"received_bytes\":%" PRIu64, p->counts.received,
               p->counts.received_bytes);
    for (size_t i = 1; i < n; i++) {
        const struct shadow_counts c = counts_in(sc, &lanes[i], p);
        buf_printf(out, ",\"%s\":{", lanes[i].name);
        write_counts(out, sc, &c);
    }
    buf_append_byte(out, '}');
}

/* ---- as words ---------------------------------------------------------- */

static double percent(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (double)part * 100 / (double)whole;
}

static void say_lanes(struct buf *out, const struct sidecar *sc, const struct lane *lanes, size_t n)
{
    buf_printf(out, "%s; money at %.6g for 10^9 bytes\n\n%-12s %16s %7s %18s %7s %14s  %s\n",
               sc->cfg->observe ? "observing: everything is forwarded" : "enforcing",
               sc->cfg->cost_per_gb, "", "kept", "", "bytes", "", "money", "policy");
    for (size_t i = 0; i < n; i++) {
        const struct shadow_counts *c = &lanes[i].total, *all = &lanes[0].total;
        buf_printf(out, "%-12s %16" PRIu64 " %6.1f%% %18" PRIu64 " %6.1f%% %14.6f  ", lanes[i].name,
                   c->kept, percent(c->kept, all->kept), c->kept_bytes,
                   percent(c->kept_bytes, all->kept_bytes), cost_of(sc, c->kept_bytes));
        if (lanes[i].rules != NULL)
            buf_printf(out, "%s, version %" PRId64, rules_origin(lanes[i].rules),
                       rules_version(lanes[i].rules));
        buf_append_byte(out, '\n');
    }
    buf_printf(out, "\nkept of each pattern, most bytes first\n%-21s %-5s %12s", "", "",
               "received");
    for (size_t i = 1; i < n; i++)
        buf_printf(out, " %10s", lanes[i].name);
    buf_append_byte(out, '\n');
}

static void say_row(struct buf *out, const struct sidecar *sc, const struct lane *lanes, size_t n,
                    const struct pattern *p)
{
    char id[SIGNATURE_TEXT_BYTES];
    buf_printf(out, "%s %-5s %12" PRIu64, signature_format(id, p->key.signature),
               level_name((enum level)p->key.level), p->counts.received);
    for (size_t i = 1; i < n; i++)
        buf_printf(out, " %9.1f%%", percent(counts_in(sc, &lanes[i], p).kept, p->counts.received));
    buf_append_str(out, "  ");
    json_write_string(out, ledger_service_name(pipeline_ledger(sc->pipeline), p->key.service));
    buf_append_byte(out, ' ');
    json_write_string(out, span_of(p->template_text, p->template_len));
    buf_append_byte(out, '\n');
}

/* ---- the page ---------------------------------------------------------- */

static int by_bytes(const void *a, const void *b)
{
    const struct pattern *x = *(struct pattern *const *)a, *y = *(struct pattern *const *)b;
    if (x->counts.received_bytes != y->counts.received_bytes)
        return x->counts.received_bytes < y->counts.received_bytes ? 1 : -1;
    return x->number < y->number ? -1 : x->number > y->number;
}

int sidecar_write_shadow(void *ctx, struct span query, struct buf *out)
{
    const struct sidecar *sc = ctx;
    uint32_t n, limit = sidecar_read_limit(query);
    bool words = span_eq(page_query(query, "as"), SPAN("words"));
    if (pipeline_shadow(sc->pipeline) == NULL) {
        buf_append_str(out,
                       "{\"error\":\"neither mode: observe nor shadow.policy_file is set\"}\n");
        return 404;
    }
    struct buf room = {.budget = out->budget};
    struct pattern **list = sidecar_list_patterns(sc, by_bytes, &room, out, &n);
    if (list == NULL)
        return 503;

    struct lane lanes[LANES_MAX];
    size_t lane_count = list_lanes(sc, lanes);
    (words ? say_lanes : write_lanes)(out, sc, lanes, lane_count);
    for (uint32_t i = 0; i < n && i < limit; i++) {
        if (i > 0 && !words)
            buf_append_byte(out, ',');
        (words ? say_row : write_row)(out, sc, lanes, lane_count, list[i]);
    }
    if (!words)
        buf_append_str(out, "]}\n");
    buf_done(&room);
    return 200;
}
