/* panels: a table of tiles with their SQL, and one of alerts. */
#include "posthog/panels.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "posthog/ours.h"
#include "util/hash.h"
#include "util/json.h"

/* ---- SQL --------------------------------------------------------------- */

/* A missing key of a map is '', and toFloat of it NULL, which sums leave out. */
#define COUNT_OF(key) "sum(toFloat(nullif(attributes['lipservice." key "'], '')))"
#define WEIGHT "toFloat(coalesce(nullif(attributes['otel.logs.adjusted_count'], ''), '1'))"
#define USAGE "attributes['lipservice.event'] = 'usage'"
#define NOT_OURS "attributes['lipservice.event'] = ''"
#define WEEK "timestamp > now() - INTERVAL 7 DAY"
#define IS_ERROR "severity_text IN ('error', 'fatal')"
/* A record of usage stands at the end of its hour. */
#define HOUR_BEFORE "toStartOfHour(timestamp - INTERVAL 1 MINUTE)"

static const struct tile {
    const char *name, *text, *sql, *display, *x, *y[3];
    uint8_t at[4]; /* x, y, w, h; the grid is 12 wide */
    bool is_money; /* the SQL is made, with the terms of the bill */
} tiles[] =
    {
        {"Money saved this month",
         "What the same logs would have cost, less what they cost.",
         NULL,
         "BoldNumber",
         "saved",
         {"saved"},
         {0, 0, 3, 3},
         true},
        {"GB not sent this month",
         "As PostHog meters them.",
         "SELECT round((" COUNT_OF("received_bytes") " - " COUNT_OF(
             "sent_bytes") ") / 1000000000, 3) AS gb "
                           "FROM logs WHERE " USAGE " AND timestamp >= toStartOfMonth(now())",
         "BoldNumber",
         "gb",
         {"gb"},
         {3, 0, 3, 3},
         false},
        {"Records lost this week",
         "Received, and neither stored nor meant to be left out.",
         "SELECT coalesce(" COUNT_OF("lost") ", 0) AS lost FROM logs WHERE " USAGE " AND " WEEK,
         "BoldNumber",
         "lost",
         {"lost"},
         {6, 0, 3, 3},
         false},
        {"Kept and dropped by hour",
         "Exact counts of all that was received.",
         "SELECT " HOUR_BEFORE " AS hour, " COUNT_OF("kept") " AS kept, " COUNT_OF(
             "received") " - " COUNT_OF("kept") " AS dropped FROM logs WHERE " USAGE " AND " WEEK
                                                " GROUP BY hour ORDER BY hour LIMIT 1000",
         "ActionsStackedBar",
         "hour",
         {"kept", "dropped"},
         {0, 3, 6, 5},
         false},
        {"GB received and sent by day",
         "As PostHog meters them.",
         "SELECT toStartOfDay(timestamp - INTERVAL 1 MINUTE) AS day, round(" COUNT_OF(
             "received_bytes") " / 1000000000, 6) AS received, round(" COUNT_OF("sent_bytes") " / "
                                                                                              "1000"
                                                                                              "0000"
                                                                                              "00, "
                                                                                              "6) "
                                                                                              "AS "
                                                                                              "sent"
                                                                                              " "
                                                                                              "FROM"
                                                                                              " log"
                                                                                              "s "
                                                                                              "WHER"
                                                                                              "E"
                                                                                              " " USAGE
                                                                                              " AND"
                                                                                              " tim"
                                                                                              "esta"
                                                                                              "mp "
                                                                                              "> "
                                                                                              "now("
                                                                                              ") - "
                                                                                              "INTE"
                                                                                              "RVAL"
                                                                                              " 30 "
                                                                                              "DAY "
                                                                                              "GROU"
                                                                                              "P "
                                                                                              "BY "
                                                                                              "day "
                                                                                              "ORDE"
                                                                                              "R "
                                                                                              "BY "
                                                                                              "day "
                                                                                              "LIMI"
                                                                                              "T "
                                                                                              "100",
         "ActionsLineGraph",
         "day",
         {"received", "sent"},
         {6, 3, 6, 5},
         false},
        {"By service this week",
         "Exact counts; kept is what is stored.",
         "SELECT service_name AS service, " COUNT_OF("received") " AS received, " COUNT_OF("kept") " AS kept, " COUNT_OF(
             "sampled_out") " AS sampled_out, " COUNT_OF("dropped_by_rule") " AS "
                                                                            "dropped_by_rule,"
                                                                            " " COUNT_OF(
                                                                                "lost") " "
                                                                                        "A"
                                                                                        "S"
                                                                                        " "
                                                                                        "l"
                                                                                        "o"
                                                                                        "s"
                                                                                        "t"
                                                                                        " "
                                                                                        "F"
                                                                                        "R"
                                                                                        "O"
                                                                                        "M"
                                                                                        " "
                                                                                        "l"
                                                                                        "o"
                                                                                        "g"
                                                                                        "s"
                                                                                        " "
                                                                                        "W"
                                                                                        "H"
                                                                                        "E"
                                                                                        "R"
                                                                                        "E"
                                                                                        " " USAGE
                                                                                        " "
                                                                                        "A"
                                                                                        "N"
                                                                                        "D"
                                                                                        " " WEEK " "
                                                                                        "G"
                                                                                        "R"
                                                                                        "O"
                                                                                        "U"
                                                                                        "P"
                                                                                        " "
                                                                                        "B"
                                                                                        "Y"
                                                                                        " "
                                                                                        "s"
                                                                                        "e"
                                                                                        "r"
                                                                                        "v"
                                                                                        "i"
                                                                                        "c"
                                                                                        "e"
                                                                                        " "
                                                                                        "O"
                                                                                        "R"
                                                                                        "D"
                                                                                        "E"
                                                                                        "R"
                                                                                        " "
                                                                                        "B"
                                                                                        "Y"
                                                                                        " "
                                                                                        "r"
                                                                                        "e"
                                                                                        "c"
                                                                                        "e"
                                                                                        "i"
                                                                                        "v"
                                                                                        "e"
                                                                                        "d"
                                                                                        " "
                                                                                        "D"
                                                                                        "E"
                                                                                        "S"
                                                                                        "C"
                                                                                        " "
                                                                                        "L"
                                                                                        "I"
                                                                                        "M"
                                                                                        "I"
                                                                                        "T"
                                                                                        " "
                                                                                        "1"
                                                                                        "0"
                                                                                        "0",
         "ActionsTable",
         "service",
         {"received", "kept"},
         {0, 8, 6, 5},
         false},
        {"Top 20 patterns by true count",
         "Of what is sampled: true is the sum of weights.",
         "SELECT service_name AS service, attributes['pattern.id'] AS pattern, any(body) AS "
         "example, "
         "count() AS stored, round(sum(" WEIGHT ")) AS true_count FROM logs WHERE "
         "attributes['pattern.id'] != '' AND " NOT_OURS " AND " WEEK
         " GROUP BY service, pattern ORDER BY true_count DESC LIMIT 20",
         "ActionsTable",
         "pattern",
         {"stored", "true_count"},
         {6, 8, 6, 5},
         false},
        {"Share of errors by hour",
         "True, and as it looks when rows are counted.",
         "SELECT toStartOfHour(timestamp) AS hour, sumIf(" WEIGHT ", " IS_ERROR ") / sum(" WEIGHT
         ") AS true_share, countIf(" IS_ERROR
         ") / count() AS stored_share FROM logs WHERE " NOT_OURS " AND " WEEK
         " GROUP BY hour HAVING sum(" WEIGHT ") > 0 ORDER BY hour LIMIT 1000",
         "ActionsLineGraph",
         "hour",
         {"true_share", "stored_share"},
         {0, 13, 6, 5},
         false},
        {"True records by hour",
         "The sum of weights, beside the rows.",
         "SELECT toStartOfHour(timestamp) AS hour, sum(" WEIGHT
         ") AS true_count, count() AS stored "
         "FROM logs WHERE " NOT_OURS " AND " WEEK " GROUP BY hour ORDER BY hour LIMIT 1000",
         "ActionsLineGraph",
         "hour",
         {"true_count", "stored"},
         {6, 13, 6, 5},
         false},
        {"Surges and silences",
         "What was noticed, newest first.",
         "SELECT timestamp, service_name AS service, attributes['lipservice.event'] AS event, body "
         "FROM logs "
         "WHERE attributes['lipservice.event'] IN ('pattern.surge', 'pattern.silent', "
         "'service.surge', "
         "'service.silent', 'service.errors', 'errors_suppressed') AND " WEEK
         " ORDER BY timestamp DESC LIMIT 50",
         "ActionsTable",
         "timestamp",
         {"event"},
         {0, 18, 12, 5},
         false},
};

static const char how_to_read[] =
    "### How to read this\n\n"
    "lipservice left out some of the records before they came here, so a row may stand for "
    "several. "
    "`otel.logs.adjusted_count` says for how many; a row without it stands for one, and 0 means "
    "that "
    "others stand for it already. True counts are sums over it:\n\n"
    "```sql\nsum(" WEIGHT ")\n```\n\n"
    "Errors, and what alerts select, are never left out. Exact counts of what was received, kept "
    "and "
    "dropped come once an hour for each service (`events.usage_interval: 1h`); what was noticed "
    "needs "
    "`events.enabled: true`, and patterns `sampling.stamps: [adjusted_count, pattern]`.\n\n";

/* The price of so many MB as an expression: tier by tier, discount, limit. */
static void price_sql(struct buf *out, const struct money_terms *t, const char *mb)
{
    double low = 0;
    buf_printf(out, "%s(%.9g * (0", isfinite(t->limit) ? "least" : "", 1 - t->discount);
    for (uint32_t i = 0; i < t->tier_count; i++) {
        const struct money_tier *tier = &t->tiers[i];
        bool is_last = !isfinite(tier->up_to_mb);
        if (tier->per_mb > 0 && is_last)
            buf_printf(out, " + greatest(0, %s - %.15g) * %.9g", mb, low, tier->per_mb);
        else if (tier->per_mb > 0)
            buf_printf(out, " + greatest(0, least(%s, %.15g) - %.15g) * %.9g", mb, tier->up_to_mb,
                       low, tier->per_mb);
        if (tier->flat > 0)
            buf_printf(out, " + if(%s > %.15g, %.9g, 0)", mb, low, tier->flat);
        low = tier->up_to_mb;
    }
    if (t->kept_months > 0)
        buf_printf(out, " + %s * %.9g", mb, t->kept_months * t->kept_per_mb);
    buf_append_str(out, ")");
    if (isfinite(t->limit))
        buf_printf(out, ", %.15g", t->limit);
    buf_append_str(out, ")");
}

static void money_sql(struct buf *out, const struct money_terms *t)
{
    buf_append_str(out, "SELECT round(");
    price_sql(out, t, "received");
    buf_append_str(out, " - ");
    price_sql(out, t, "sent");
    buf_append_str(out, ", 2) AS saved FROM (SELECT coalesce(" COUNT_OF(
                            "received_bytes") ", 0) / 1000000 AS "
                                              "received, "
                                              "coalesce(" COUNT_OF("sent_bytes") ", 0) "
                                                                                 "/ "
                                                                                 "100000"
                                                                                 "0 AS "
                                                                                 "sent "
                                                                                 "FROM "
                                                                                 "logs "
                                                                                 "WHERE"
                                                                                 " " USAGE " AND "
                                                                                 "timest"
                                                                                 "amp "
                                                                                 ">= "
                                                                                 "toStar"
                                                                                 "tOfMon"
                                                                                 "th("
                                                                                 "now())"
                                                                                 ") AS "
                                                                                 "mont"
                                                                                 "h");
}

/* ---- the dashboard ------------------------------------------------------ */

static void layout(struct json *j, const uint8_t at[4])
{
    static const char *const names[] = {"x", "y", "w", "h"};
    json_begin(j, "layouts");
    json_begin(j, "sm");
    for (int i = 0; i < 4; i++)
        json_u64(j, names[i], at[i]);
    json_end(j);
    json_end(j);
}

static void column(struct json *j, const char *key, const char *name)
{
    json_begin(j, key);
    json_str(j, "column", name);
    json_end(j);
}

static void query(struct json *j, const struct tile *t, const struct panels_opts *opts)
{
    struct buf sql = {0};
    if (t->is_money)
        money_sql(&sql, &opts->terms);
    else
        buf_append_str(&sql, t->sql);
    json_begin(j, "query");
    json_str(j, "kind", "DataVisualizationNode");
    json_begin(j, "source");
    json_str(j, "kind", "HogQLQuery");
    json_text(j, "query", buf_span(&sql));
    json_end(j);
    json_str(j, "display", t->display);
    json_begin(j, "chartSettings");
    column(j, "xAxis", t->x);
    json_begin_list(j, "yAxis");
    for (size_t i = 0; i < ARRAY_LEN(t->y) && t->y[i] != NULL; i++)
        column(j, NULL, t->y[i]);
    json_end_list(j);
    json_bool(j, "showLegend", true);
    json_end(j);
    json_end(j);
    if (sql.err != 0)
        j->out->err = sql.err;
    buf_done(&sql);
}

static void text_tile(struct json *j, const struct panels_opts *opts)
{
    static const uint8_t at[] = {9, 0, 3, 3};
    const struct money_terms *t = &opts->terms;
    struct buf text = {0};
    buf_append_str(&text, how_to_read);
    buf_printf(&text, "Money is in %s, %s: the first %.4g GB of a month are free.", opts->currency,
               t->is_assumed ? "**assumed** from the configuration" : "as on the bill",
               money_free_bytes(t) / 1e9);
    if (!opts->has_patterns)
        buf_append_str(&text, " Patterns are not stamped now.");
    json_begin(j, NULL);
    json_str(j, "type", "TEXT");
    json_text(j, "body", buf_span(&text));
    layout(j, at);
    json_end(j);
    if (text.err != 0)
        j->out->err = text.err;
    buf_done(&text);
}

static void write_tiles(struct json *j, const struct panels_opts *opts)
{
    json_begin_list(j, "tiles");
    for (size_t i = 0; i < ARRAY_LEN(tiles); i++) {
        json_begin(j, NULL);
        json_str(j, "type", "INSIGHT");
        json_str(j, "name", tiles[i].name);
        json_str(j, "description", tiles[i].text);
        query(j, &tiles[i], opts);
        layout(j, tiles[i].at);
        json_end(j);
    }
    text_tile(j, opts);
    json_end_list(j);
}

const char *panels_digest(const struct panels_opts *opts, char room[PANELS_DIGEST_BYTES])
{
    struct buf text = {0};
    struct json j = json_on(&text);
    json_begin(&j, NULL);
    write_tiles(&j, opts);
    json_end(&j);
    snprintf(room, PANELS_DIGEST_BYTES, "%016" PRIx64, hash64(buf_span(&text)));
    buf_done(&text);
    return room;
}

void panels_template(struct buf *out, const struct panels_opts *opts)
{
    struct json j = json_on(out);
    char digest[PANELS_DIGEST_BYTES], text[128];
    snprintf(text, sizeof text, "What lipservice keeps, drops and saves. Made by lipservice, %s",
             panels_digest(opts, digest));
    json_begin(&j, NULL);
    json_begin(&j, "template");
    json_str(&j, "template_name", "lipservice");
    json_str(&j, "dashboard_description", text);
    json_begin(&j, "dashboard_filters");
    json_end(&j);
    json_begin_list(&j, "tags");
    json_str(&j, NULL, POSTHOG_TAG);
    json_end_list(&j);
    json_begin_list(&j, "variables");
    json_end_list(&j);
    write_tiles(&j, opts);
    json_end(&j);
    json_end(&j);
}

bool panels_is_tile(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(tiles); i++)
        if (span_eq(name, span_str(tiles[i].name)))
            return true;
    return false;
}

/* ---- alerts ------------------------------------------------------------- */

struct condition {
    const char *key, *operator, * values[3];
};

static const struct alert {
    const char *name;
    struct condition conditions[2];
    bool is_below;
    uint32_t threshold, window_minutes;
} alerts[] = {
    {"records are lost",
     {{"lipservice.event", "exact", {"usage"}}, {"lipservice.lost", "gt", {"0"}}},
     false,
     0,
     60},
    {"the canary is missing", {{"lipservice.event", "exact", {"canary"}}}, true, 1, 60},
    {"errors are suppressed", {{"lipservice.event", "exact", {"errors_suppressed"}}}, false, 0, 5},
    {"something surges",
     {{"lipservice.event", "exact", {"pattern.surge", "service.surge", "service.errors"}}},
     false,
     2,
     15},
};

static void write_condition(struct json *j, const struct condition *c)
{
    json_begin(j, NULL);
    json_str(j, "key", c->key);
    json_str(j, "type", "log_attribute");
    json_str(j, "operator", c->operator);
    if (strcmp(c->operator, "exact") != 0) {
        json_str(j, "value", c->values[0]);
    } else {
        json_begin_list(j, "value");
        for (size_t i = 0; i < ARRAY_LEN(c->values) && c->values[i] != NULL; i++)
            json_str(j, NULL, c->values[i]);
        json_end_list(j);
    }
    json_end(j);
}

static void write_filters(struct json *j, const struct alert *a)
{
    json_begin(j, "filters");
    json_begin(j, "filterGroup");
    json_str(j, "type", "AND");
    json_begin_list(j, "values");
    json_begin(j, NULL);
    json_str(j, "type", "AND");
    json_begin_list(j, "values");
    for (size_t i = 0; i < ARRAY_LEN(a->conditions) && a->conditions[i].key != NULL; i++)
        write_condition(j, &a->conditions[i]);
    json_end_list(j);
    json_end(j);
    json_end_list(j);
    json_end(j);
    json_end(j);
}

/* The thresholds of one that is there are its owner's. */
static void write_alert(struct buf *out, const struct alert *a, const char *name)
{
    struct json j = json_on(out);
    json_begin(&j, NULL);
    write_filters(&j, a);
    if (name != NULL) {
        json_str(&j, "name", name);
        json_bool(&j, "enabled", false);
        json_u64(&j, "threshold_count", a->threshold);
        json_str(&j, "threshold_operator", a->is_below ? "below" : "above");
        json_u64(&j, "window_minutes", a->window_minutes);
        json_u64(&j, "evaluation_periods", 1);
        json_u64(&j, "datapoints_to_alarm", 1);
        json_u64(&j, "cooldown_minutes", 30);
    }
    json_end(&j);
}

int panels_want_alerts(struct sync *plan)
{
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(alerts) && rc == 0; i++) {
        char name[SYNC_NAME_BYTES];
        struct buf body = {0}, change = {0};
        snprintf(name, sizeof name, POSTHOG_PREFIX "%s", alerts[i].name);
        write_alert(&body, &alerts[i], name);
        write_alert(&change, &alerts[i], NULL);
        rc = sync_want(plan, name, &body, &change);
    }
    return rc;
}
