/* alerting: one transaction a team. */
#include "server/alerting.h"

#include <stdio.h>
#include <stdlib.h>

#include "server/anomalies.h"
#include "server/round.h"
#include "server/silence.h"
#include "server/troubles.h"
#include "util/buf.h"
#include "util/json.h"

#define LEASE "alerting" /* in `meta`: when a server last looked */
#define SEEN "alerting.audit"
#define TEAMS_MAX 1000
#define MESSAGE_BYTES 512
#define BODY_BYTES (256u << 10)

/* What one look finds of one team, as it is being written: the same twice, for both forms. */
struct group {
    const struct alerting_opts *opts;
    struct store *store;
    int64_t team, service; /* service: that is looked at */
    struct buf json_text, slack_text;
    struct json json;
    unsigned items, left_out;
    int rc;
};

/* ---- items -------------------------------------------------------------- */

/* Slack's mrkdwn: three characters are its own. */
static void append_slack(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.base[i];
        if (c == '&')
            buf_append_str(out, "&amp;");
        else if (c == '<')
            buf_append_str(out, "&lt;");
        else if (c == '>')
            buf_append_str(out, "&gt;");
        else
            buf_append_byte(out, c);
    }
}

struct item {
    const char *event; /* "alert", "repeated", "resolved", "policy" */
    int64_t id;
    const char *type, *severity;
    struct span service, signature, message;
};

static void add_item(struct group *g, const struct item *i)
{
    struct json *j = &g->json;
    if (g->items == ALERTING_GROUP) {
        g->left_out++;
        return;
    }
    g->items++;
    json_begin(j, NULL);
    json_str(j, "event", i->event);
    json_i64(j, "id", i->id);
    json_str(j, "type", i->type);
    json_str(j, "severity", i->severity);
    json_text(j, "service_name", i->service);
    json_text(j, "pattern_signature", i->signature);
    json_text(j, "message", i->message);
    json_end(j);
    buf_printf(&g->slack_text, "*%s* %s (%s): ", i->event, i->type, i->severity);
    append_slack(&g->slack_text, i->service);
    buf_append_str(&g->slack_text, ": ");
    append_slack(&g->slack_text, i->message);
    buf_append_byte(&g->slack_text, '\n');
}

static void copy(char *to, size_t size, struct span from)
{
    snprintf(to, size, "%.*s", (int)from.len, from.base == NULL ? "" : (const char *)from.base);
}

/* ---- findings ------------------------------------------------------------ */

/* What stands out, as an alert says it. */
struct finding {
    char type[32], severity[16], service[260], signature[260], message[MESSAGE_BYTES];
};

struct known {
    int64_t id, notified_ms;
    bool is_acknowledged;
};

static int take_known(void *ctx, const struct store_value *row)
{
    struct known *k = ctx;
    *k = (struct known){row[0].number, row[1].number, span_eq(row[2].text, SPAN("acknowledged"))};
    return 1;
}

static int insert_alert(struct group *g, const struct finding *f, int64_t *id)
{
    const struct store_value v[] = {store_int(g->team),        store_str(f->type),
                                    store_str(f->service),     store_str(f->signature),
                                    store_str(f->severity),    store_str(f->message),
                                    store_int(g->opts->now_ms)};
    return store_number(g->store,
                        "INSERT INTO alerts (team_id, type, service, signature, severity, message, "
                        "state, seen, first_ms, last_ms, notified_ms) "
                        "VALUES ($1, $2, $3, $4, $5, $6, 'open', 1, $7, $7, $7) RETURNING id",
                        v, ARRAY_LEN(v), id);
}

static int see_again(struct group *g, const struct known *k, const char *message, bool is_sent)
{
    const struct store_value v[] = {store_int(k->id), store_int(g->opts->now_ms),
                                    store_str(message), store_int(is_sent)};
    return store_run(g->store,
                     "UPDATE alerts SET seen = seen + 1, last_ms = $2, message = $3, "
                     "notified_ms = CASE WHEN $4 = 1 THEN $2 ELSE notified_ms END WHERE id = $1",
                     v, ARRAY_LEN(v), NULL, NULL);
}

static int on_finding(struct group *g, const struct finding *f)
{
    struct known k;
    const struct store_value v[] = {store_int(g->team), store_str(f->type), store_str(f->service),
                                    store_str(f->signature)};
    struct item item = {.event = "alert",
                        .type = f->type,
                        .severity = f->severity,
                        .service = span_str(f->service),
                        .signature = span_str(f->signature),
                        .message = span_str(f->message)};
    int rc = store_run(g->store,
                       "SELECT id, notified_ms, state FROM alerts WHERE team_id = $1 AND type = $2 "
                       "AND service = $3 AND signature = $4 AND state <> 'resolved'",
                       v, ARRAY_LEN(v), take_known, &k);
    if (rc == 0) {
        rc = insert_alert(g, f, &item.id);
        if (rc == 0)
            add_item(g, &item);
        return rc;
    }
    if (rc < 0)
        return rc;
    bool is_sent = !k.is_acknowledged && g->opts->now_ms - k.notified_ms >= g->opts->cooldown_ms;
    rc = see_again(g, &k, f->message, is_sent);
    item.event = "repeated";
    item.id = k.id;
    if (rc == 0 && is_sent)
        add_item(g, &item);
    return rc;
}

/* They are copied first: a statement may not be run inside of another's rows. */
struct found {
    struct finding list[ALERTING_GROUP * 2];
    unsigned count;
};

/* NULL: full; the rest comes with the next look. */
static struct finding *add_finding(struct found *f, const char *type, const char *severity,
                                   struct span service)
{
    if (f->count == ARRAY_LEN(f->list))
        return NULL;
    struct finding *one = &f->list[f->count++];
    copy(one->type, sizeof one->type, span_str(type));
    copy(one->severity, sizeof one->severity, span_str(severity));
    copy(one->service, sizeof one->service, service);
    return one;
}

static int take_anomaly(void *ctx, const struct anomaly *a)
{
    struct finding *one = add_finding(ctx, a->type, a->severity, a->service);
    if (one == NULL)
        return 1;
    copy(one->signature, sizeof one->signature, a->signature);
    anomaly_word(one->message, sizeof one->message, a);
    return 0;
}

static int take_trouble(void *ctx, const struct trouble *t)
{
    struct finding *one = add_finding(ctx, t->kind, t->severity, t->service);
    if (one == NULL)
        return 1;
    copy(one->message, sizeof one->message, t->message);
    return 0;
}

/* No report falls between two looks. */
static int64_t trouble_minutes(const struct alerting_opts *opts)
{
    int64_t two_looks = 2 * opts->interval_ms / 60000;
    return two_looks > TROUBLES_MINUTES ? two_looks : TROUBLES_MINUTES;
}

static int each_anomaly(struct group *g, struct found *f)
{
    return anomalies_each(g->store, g->team, g->service, g->opts->now_ms, take_anomaly, f);
}

static int each_silence(struct group *g, struct found *f)
{
    return silence_each(g->store, g->team, g->service, g->opts->now_ms, take_anomaly, f);
}

static int each_trouble(struct group *g, struct found *f)
{
    return troubles_each(g->store, g->team, g->opts->now_ms, trouble_minutes(g->opts), take_trouble,
                         f);
}

static int look_for(struct group *g, int (*each)(struct group *g, struct found *f))
{
    struct found *f = calloc(1, sizeof *f);
    if (f == NULL)
        return ERR_NOMEM;
    int rc = each(g, f);
    rc = rc < 0 ? rc : 0;
    for (unsigned i = 0; i < f->count && rc == 0; i++)
        rc = on_finding(g, &f->list[i]);
    free(f);
    return rc;
}

/* ---- one service after the other ----------------------------------------- */

#define SERVICES_AT_ONCE 64

struct services {
    int64_t id[SERVICES_AT_ONCE];
    unsigned count;
};

static int take_service(void *ctx, const struct store_value *row)
{
    struct services *list = ctx;
    list->id[list->count++] = row[0].number;
    return list->count == SERVICES_AT_ONCE;
}

/* Those from the place of the round on that have reported within the time of any anomaly. */
static int list_services(struct services *list, struct group *g, const struct round *r)
{
    const struct store_value v[] = {store_int(g->team), store_int(r->service),
                                    store_int(g->opts->now_ms - SILENCE_WINDOW_MS)};
    list->count = 0;
    int rc = store_run(g->store,
                       "SELECT id FROM services WHERE team_id = $1 AND id >= $2 AND "
                       "seen_ms >= $3 ORDER BY id",
                       v, ARRAY_LEN(v), take_service, list);
    return rc < 0 ? rc : 0;
}

/* At least one, and then until the time is over. */
static int look_at_services(struct group *g, struct round *r, uint64_t until_ms)
{
    struct services list;
    int rc = 0;
    if (r->is_cut || g->team < r->team)
        return 0;
    if (g->team > r->team)
        r->service = 0;
    r->team = g->team;
    do {
        rc = list_services(&list, g, r);
        for (unsigned i = 0; i < list.count && rc == 0 && !r->is_cut; i++) {
            g->service = list.id[i];
            rc = look_for(g, each_anomaly);
            if (rc == 0)
                rc = look_for(g, each_silence);
            r->service = g->service + 1;
            r->is_cut = clock_now_ms(g->opts->clock) >= until_ms;
        }
    } while (rc == 0 && !r->is_cut && list.count == SERVICES_AT_ONCE);
    return rc;
}

/* ---- what is over, and what was changed ---------------------------------- */

static int on_resolved(void *ctx, const struct store_value *row)
{
    struct group *g = ctx;
    char type[64], severity[32];
    copy(type, sizeof type, row[1].text);
    copy(severity, sizeof severity, row[2].text);
    const struct item item = {.event = "resolved",
                              .id = row[0].number,
                              .type = type,
                              .severity = severity,
                              .service = row[3].text,
                              .signature = row[4].text,
                              .message = row[5].text};
    add_item(g, &item);
    return 0;
}

/* Where a round takes long, what was not looked at since is not over. */
static int resolve_quiet(struct group *g, const struct round *r)
{
    int64_t quiet_ms = 2 * round_longest_ms(r, g->opts->now_ms);
    if (quiet_ms < ALERTING_QUIET_MS)
        quiet_ms = ALERTING_QUIET_MS;
    const struct store_value v[] = {store_int(g->team), store_int(g->opts->now_ms - quiet_ms)};
    return store_run(
        g->store,
        "UPDATE alerts SET state = 'resolved' WHERE team_id = $1 AND last_ms < $2 AND "
        "state <> 'resolved' RETURNING id, type, severity, service, signature, message",
        v, ARRAY_LEN(v), on_resolved, g);
}

static int on_change(void *ctx, const struct store_value *row)
{
    struct group *g = ctx;
    char type[64];
    copy(type, sizeof type, row[1].text);
    const struct item item = {.event = "policy",
                              .id = row[0].number,
                              .type = type,
                              .severity = "low",
                              .service = row[2].text,
                              .signature = SPAN(""),
                              .message = row[3].text};
    add_item(g, &item);
    return 0;
}

static int look_for_changes(struct group *g, int64_t from, int64_t to)
{
    const struct store_value v[] = {store_int(g->team), store_int(from), store_int(to)};
    return store_run(g->store,
                     "SELECT id, action, subject, detail FROM audit WHERE team_id = $1 AND id > $2 "
                     "AND id <= $3 AND action LIKE 'policy.%' ORDER BY id",
                     v, ARRAY_LEN(v), on_change, g);
}

/* ---- requests ----------------------------------------------------------- */

/* {"team_id", "at", "items": [...], "left_out"}, and Slack's {"text": "..."}. */
static int insert_deliveries(struct group *g, const char *form, struct buf *body, unsigned *made)
{
    const struct store_value v[] = {store_int(g->team), store_str(form), store_text(buf_span(body)),
                                    store_int(g->opts->now_ms)};
    if (body->err != 0)
        return body->err;
    int rc = store_run(g->store,
                       "INSERT INTO deliveries (webhook_id, body, attempts, next_ms, created_ms, "
                       "state) SELECT id, CAST($3 AS TEXT), 0, CAST($4 AS BIGINT), "
                       "CAST($4 AS BIGINT), 'pending' FROM webhooks "
                       "WHERE team_id = $1 AND form = $2 AND is_active = 1",
                       v, ARRAY_LEN(v), NULL, NULL);
    if (rc == 0)
        *made += (unsigned)g->store->changed;
    return rc;
}

static int send_group(struct group *g, unsigned *made)
{
    struct buf body = {.max_bytes = BODY_BYTES};
    struct json j = json_on(&body);
    json_begin(&j, NULL);
    json_i64(&j, "team_id", g->team);
    json_i64(&j, "at_ms", g->opts->now_ms);
    buf_append(json_value(&j, "items"), buf_span(&g->json_text));
    json_u64(&j, "left_out", g->left_out);
    json_end(&j);
    int rc = insert_deliveries(g, "json", &body, made);
    buf_clear(&body);
    j = json_on(&body);
    struct span text = buf_span(&g->slack_text);
    json_begin(&j, NULL);
    json_text(&j, "text", text.len > 2900 ? span_of(text.base, 2900) : text); /* 3000 a section */
    json_end(&j);
    if (rc == 0)
        rc = insert_deliveries(g, "slack", &body, made);
    buf_done(&body);
    return rc;
}

static int look_at_team(struct group *g, struct round *r, uint64_t until_ms, int64_t from,
                        int64_t to, unsigned *made)
{
    g->json_text.max_bytes = g->slack_text.max_bytes = BODY_BYTES;
    g->json = json_on(&g->json_text);
    json_begin_list(&g->json, NULL);
    int rc = look_for(g, each_trouble);
    if (rc == 0)
        rc = look_at_services(g, r, until_ms);
    if (rc == 0)
        rc = resolve_quiet(g, r);
    if (rc == 0)
        rc = look_for_changes(g, from, to);
    json_end_list(&g->json);
    if (rc == 0 && g->items > 0)
        rc = send_group(g, made);
    buf_done(&g->json_text);
    buf_done(&g->slack_text);
    return rc;
}

/* ---- all teams ----------------------------------------------------------- */

static int write_lease(struct store *s, int64_t at_ms)
{
    const struct store_value v[] = {store_str(LEASE), store_int(at_ms)};
    return store_run(s, "UPDATE meta SET value = $2 WHERE name = $1", v, ARRAY_LEN(v), NULL, NULL);
}

/* One server of a database looks in an interval. 1: this one. */
static int take_lease(const struct alerting_opts *opts, struct store *s)
{
    const struct store_value v[] = {store_str(LEASE), store_int(opts->now_ms),
                                    store_int(opts->now_ms - opts->interval_ms * 9 / 10)};
    int rc = store_run(s,
                       "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) "
                       "DO UPDATE SET value = excluded.value WHERE meta.value <= $3",
                       v, ARRAY_LEN(v), NULL, NULL);
    return rc < 0 ? rc : s->changed > 0;
}

struct teams {
    int64_t id[TEAMS_MAX];
    unsigned count;
};

static int take_team(void *ctx, const struct store_value *row)
{
    struct teams *t = ctx;
    t->id[t->count++] = row[0].number;
    return t->count == TEAMS_MAX;
}

/* From the first look on: what was changed before is no news. */
static int read_audit(struct store *s, int64_t *from, int64_t *to)
{
    const struct store_value name = store_str(SEEN);
    int rc = store_number(s, "SELECT COALESCE(MAX(id), 0) FROM audit", NULL, 0, to);
    *from = *to;
    if (rc == 0)
        rc = store_number(s, "SELECT value FROM meta WHERE name = $1", &name, 1, from);
    return rc == ERR_EMPTY ? 0 : rc;
}

static int write_audit(struct store *s, int64_t to)
{
    const struct store_value v[] = {store_str(SEEN), store_int(to)};
    return store_run(s,
                     "INSERT INTO meta (name, value) VALUES ($1, $2) "
                     "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                     v, 2, NULL, NULL);
}

static int look_at_all(const struct alerting_opts *opts, struct store *s, struct alerting_look *out)
{
    struct teams teams = {.count = 0};
    int64_t from = 0, to = 0;
    uint64_t until_ms = clock_now_ms(opts->clock) + ROUND_MS;
    struct round round = {0};
    int rc = read_audit(s, &from, &to);
    if (rc == 0)
        rc = round_read(&round, s, opts->now_ms);
    if (rc == 0)
        rc = store_run(s, "SELECT id FROM teams ORDER BY id", NULL, 0, take_team, &teams);
    rc = rc < 0 ? rc : 0;
    for (unsigned i = 0; i < teams.count && rc == 0; i++) {
        struct group g = {.opts = opts, .store = s, .team = teams.id[i]};
        rc = look_at_team(&g, &round, until_ms, from, to, &out->made);
    }
    out->is_cut = round.is_cut;
    if (rc == 0)
        rc = round_write(&round, s, opts->now_ms);
    if (rc == 0 && round.is_cut) /* whichever server is first goes on */
        rc = write_lease(s, opts->now_ms - opts->interval_ms * 9 / 10 + ROUND_PAUSE_MS);
    return rc < 0 ? rc : write_audit(s, to);
}

int alerting_look(const struct alerting_opts *opts, struct store *s, struct alerting_look *out)
{
    *out = (struct alerting_look){0};
    int rc = store_begin(s);
    if (rc < 0)
        return rc;
    rc = take_lease(opts, s);
    if (rc > 0)
        rc = look_at_all(opts, s, out);
    return store_end(s, rc);
}
