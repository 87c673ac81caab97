/* sidecar_shadow: what is done and what would be, side by side, in records, bytes and money. */
#include <inttypes.h>

#include "pattern/signature.h"
#include "sidecar/posthog.h"
#include "sidecar/sidecar_state.h"
#include "util/json.h"

static void write_counts(struct json *j, const struct shadow_counts *c)
{
    json_u64(j, "kept", c->kept);
    json_u64(j, "sampled_out", c->sampled_out);
    json_u64(j, "dropped_by_rule", c->dropped_by_rule);
    json_u64(j, "released", c->released);
    json_u64(j, "kept_bytes", c->kept_bytes);
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
static size_t list_lanes(const struct sidecar *sc, const struct census *c,
                         struct lane lanes[LANES_MAX])
{
    const struct ledger_row *t = &c->total;
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
                  t->verdict[VERDICT_DROPPED_BY_RULE], t->kept_bytes + t->released_bytes,
                  t->released},
        .shadow = -1,
    };
    for (int lane = 0; lane < SHADOW_LANE_COUNT; lane++) {
        const struct rules *rules = rules_of(sc, (enum shadow_lane)lane);
        if (rules != NULL)
            lanes[n++] = (struct lane){shadow_lane_name((enum shadow_lane)lane), rules,
                                       c->shadow[lane], lane};
    }
    return n;
}

static struct shadow_counts counts_in(const struct lane *l, const struct census_pattern *p)
{
    if (l->shadow < 0)
        return (struct shadow_counts){p->counts.kept, p->counts.sampled_out,
                                      p->counts.dropped_by_rule, p->counts.kept_bytes, 0};
    return p->shadow[l->shadow];
}

/* A month at the rate since the start. */
static struct money_month month_of(const struct sidecar *sc, const struct lane *all,
                                   const struct lane *l)
{
    return sidecar_month(sc, (double)all->total.kept_bytes, (double)l->total.kept_bytes);
}

/* ---- as JSON ----------------------------------------------------------- */

static void write_lanes(struct json *j, const struct sidecar *sc, const struct lane *lanes,
                        size_t n)
{
    json_str(j, "mode", sc->cfg->observe ? "observe" : "enforce");
    json_str(j, "currency", sc->cfg->cost.currency);
    json_bool(j, "is_assumed", posthog_terms(sc).is_assumed);
    json_begin_list(j, "lanes");
    for (size_t i = 0; i < n; i++) {
        json_begin(j, NULL);
        json_str(j, "lane", lanes[i].name);
        if (lanes[i].rules != NULL) {
            json_str(j, "origin", rules_origin(lanes[i].rules));
            json_i64(j, "version", rules_version(lanes[i].rules));
        }
        const struct money_month month = month_of(sc, &lanes[0], &lanes[i]);
        write_counts(j, &lanes[i].total);
        json_printf(j, "price_a_month", "%.9g", month.with);
        json_printf(j, "saving_a_month", "%.9g", month.saving);
        json_end(j);
    }
    json_end_list(j);
}

static void write_row(struct json *j, const struct census *c, const struct lane *lanes, size_t n,
                      const struct census_pattern *p)
{
    json_begin(j, NULL);
    sidecar_write_pattern_name(j, c, p);
    json_u64(j, "received", p->counts.received);
    json_u64(j, "received_bytes", p->counts.received_bytes);
    for (size_t i = 1; i < n; i++) {
        const struct shadow_counts counts = counts_in(&lanes[i], p);
        json_begin(j, lanes[i].name);
        write_counts(j, &counts);
        json_end(j);
    }
    json_end(j);
}

static void write_all(struct buf *out, const struct sidecar *sc, const struct census *c,
                      const struct lane *lanes, size_t n)
{
    struct json j = json_on(out);
    json_begin(&j, NULL);
    write_lanes(&j, sc, lanes, n);
    json_begin_list(&j, "patterns");
    for (uint32_t i = 0; i < c->pattern_count; i++)
        write_row(&j, c, lanes, n, &c->patterns[i]);
    json_end_list(&j);
    json_end(&j);
    json_line(&j);
}

/* ---- as words ---------------------------------------------------------- */

static double percent(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (double)part * 100 / (double)whole;
}

static void say_lanes(struct buf *out, const struct sidecar *sc, const struct lane *lanes, size_t n)
{
    buf_printf(out, "%s; money is %s a month at the rate since the start%s\n\n",
               sc->cfg->observe ? "observing: everything is forwarded" : "enforcing",
               sc->cfg->cost.currency, posthog_terms(sc).is_assumed ? ", prices are assumed" : "");
    buf_printf(out, "%-12s %16s %7s %18s %7s %10s/month %14s  %s\n", "", "kept", "", "bytes", "",
               sc->cfg->cost.currency, "saved", "policy");
    for (size_t i = 0; i < n; i++) {
        const struct shadow_counts *c = &lanes[i].total, *all = &lanes[0].total;
        const struct money_month month = month_of(sc, &lanes[0], &lanes[i]);
        buf_printf(out, "%-12s %16" PRIu64 " %6.1f%% %18" PRIu64 " %6.1f%% %14.2f %14.2f  ",
                   lanes[i].name, c->kept, percent(c->kept, all->kept), c->kept_bytes,
                   percent(c->kept_bytes, all->kept_bytes), month.with, month.saving);
        if (lanes[i].rules != NULL)
            buf_printf(out, "%s, version %" PRId64, rules_origin(lanes[i].rules),
                       rules_version(lanes[i].rules));
        buf_append_byte(out, '\n');
    }
    if (n > 0 && month_of(sc, &lanes[0], &lanes[0]).is_free)
        buf_append_str(out, "a month would be within the free part: nothing is saved in money\n");
    buf_printf(out, "\nkept of each pattern, most bytes first\n%-21s %-5s %12s", "", "",
               "received");
    for (size_t i = 1; i < n; i++)
        buf_printf(out, " %10s", lanes[i].name);
    buf_append_byte(out, '\n');
}

static void say_row(struct buf *out, const struct census *c, const struct lane *lanes, size_t n,
                    const struct census_pattern *p)
{
    char id[SIGNATURE_TEXT_BYTES];
    buf_printf(out, "%s %-5s %12" PRIu64, signature_format(id, p->key.signature),
               level_name((enum level)p->key.level), p->counts.received);
    for (size_t i = 1; i < n; i++)
        buf_printf(out, " %9.1f%%", percent(counts_in(&lanes[i], p).kept, p->counts.received));
    buf_append_str(out, "  ");
    struct span name = c->services[p->key.service].name;
    if (p->key.service != LEDGER_OTHER && name.len == 0)
        buf_append_str(out, "(unnamed)"); /* as top and tap have it */
    else
        json_write_string(out, name);
    buf_append_byte(out, ' ');
    json_write_string(out, census_template(p));
    buf_append_byte(out, '\n');
}

static void say_all(struct buf *out, const struct sidecar *sc, const struct census *c,
                    const struct lane *lanes, size_t n)
{
    say_lanes(out, sc, lanes, n);
    for (uint32_t i = 0; i < c->pattern_count; i++)
        say_row(out, c, lanes, n, &c->patterns[i]);
}

/* ---- the page ---------------------------------------------------------- */

static int by_bytes(const void *a, const void *b)
{
    const struct census_pattern *x = a, *y = b;
    if (x->counts.received_bytes != y->counts.received_bytes)
        return x->counts.received_bytes < y->counts.received_bytes ? 1 : -1;
    return x->number < y->number ? -1 : x->number > y->number;
}

int sidecar_write_shadow(void *ctx, struct span query, struct buf *out)
{
    const struct sidecar *sc = ctx;
    struct census c;
    struct lane lanes[LANES_MAX];
    struct census_want want = sidecar_want_patterns(query);
    want.shadow = true;
    want.order = by_bytes;
    int refused = sidecar_take(sc, want, out, &c);
    if (refused != 0)
        return refused;
    if (!c.has_shadow) {
        census_done(&c);
        return sidecar_refuse(out, 404, "neither mode: observe nor shadow.policy_file is set");
    }
    size_t n = list_lanes(sc, &c, lanes);
    (span_eq(page_query(query, "as"), SPAN("words")) ? say_all : write_all)(out, sc, &c, lanes, n);
    census_done(&c);
    return 200;
}
