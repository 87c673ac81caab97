/* api_alerts: alerts, and the webhooks that hear of them. */
#include <inttypes.h>
#include <strings.h>

#include "server/api.h"
#include "server/key_text.h"
#include "util/secret.h"

#define NAME_BYTES 100
#define URL_BYTES 1000
#define WEBHOOKS_MAX 20 /* of one team */

/* ---- alerts ------------------------------------------------------------- */

static int write_alert(void *ctx, const struct store_value *row)
{
    struct json *j = ctx;
    json_begin(j, NULL);
    json_i64(j, "id", row[0].number);
    json_text(j, "type", row[1].text);
    json_text(j, "service_name", row[2].text);
    json_text(j, "pattern_signature", row[3].text);
    json_text(j, "severity", row[4].text);
    json_text(j, "message", row[5].text);
    json_text(j, "state", row[6].text);
    json_i64(j, "seen", row[7].number);
    api_time(j, "first_seen", row[8].number);
    api_time(j, "last_seen", row[9].number);
    json_end(j);
    return 0;
}

#define ALERT "id, type, service, signature, severity, message, state, seen, first_ms, last_ms"

/* The latest first; without `all` those that are not resolved. */
int alerts_list(struct call *c, struct store *s)
{
    int64_t limit, before;
    int status = 0;
    if (!api_query_number(c, "limit", 1, API_PAGE_MOST, 100, &limit, &status) ||
        !api_query_number(c, "before", 1, INT64_MAX, INT64_MAX, &before, &status))
        return status;
    const struct store_value v[] = {store_int(c->key->team->id), store_int(before),
                                    store_int(limit), store_int(api_query_flag(c, "all"))};
    return api_list(c, s,
                    "SELECT " ALERT " FROM alerts WHERE team_id = $1 AND id < $2 AND "
                    "($4 = 1 OR state <> 'resolved') ORDER BY id DESC LIMIT $3",
                    v, ARRAY_LEN(v), write_alert);
}

static int change_alert(struct call *c, struct store *s, const char *state, const char *action)
{
    int64_t id;
    int status = 0;
    if (!api_param_number(c, 0, &id, &status))
        return status;
    const struct store_value v[] = {store_int(id), store_int(c->key->team->id), store_str(state)};
    struct json j = json_on(&c->out);
    int rc = store_begin(s);
    if (rc == 0) {
        rc = store_run(s,
                       "UPDATE alerts SET state = $3 WHERE id = $1 AND team_id = $2 AND "
                       "state <> 'resolved' RETURNING " ALERT,
                       v, ARRAY_LEN(v), write_alert, &j);
        if (rc == 0 && c->out.len > 0)
            rc = api_audit(c, s, action, span_str(c->param[0]), SPAN(""));
        rc = store_end(s, rc);
    }
    if (rc < 0)
        return api_store_failed(c, rc);
    return c->out.len > 0 ? 200 : api_detail(c, 404, "there is no such alert that goes on");
}

int alerts_acknowledge(struct call *c, struct store *s)
{
    return change_alert(c, s, "acknowledged", "alert.acknowledge");
}

int alerts_resolve(struct call *c, struct store *s)
{
    return change_alert(c, s, "resolved", "alert.resolve");
}

/* ---- webhooks ----------------------------------------------------------- */

static int write_webhook(void *ctx, const struct store_value *row)
{
    struct json *j = ctx;
    json_begin(j, NULL);
    json_i64(j, "id", row[0].number);
    json_text(j, "name", row[1].text);
    json_text(j, "url", row[2].text);
    json_text(j, "form", row[3].text);
    json_bool(j, "is_active", row[4].number != 0);
    api_time(j, "created_at", row[5].number);
    json_i64(j, "pending", row[6].number);
    json_end(j);
    return 0;
}

int webhooks_list(struct call *c, struct store *s)
{
    const struct store_value v = store_int(c->key->team->id);
    return api_list(c, s,
                    "SELECT w.id, w.name, w.url, w.form, w.is_active, w.created_ms, "
                    "(SELECT COUNT(*) FROM deliveries d WHERE d.webhook_id = w.id AND "
                    "d.state = 'pending') FROM webhooks w WHERE w.team_id = $1 ORDER BY w.id",
                    &v, 1, write_webhook);
}

static bool is_name(struct span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.base[i] < ' ' || name.base[i] == 0x7f)
            return false;
    return name.len > 0 && name.len <= NAME_BYTES;
}

static bool is_url(struct span url)
{
    size_t scheme = span_starts(url, SPAN("https://"))  ? 8
                    : span_starts(url, SPAN("http://")) ? 7
                                                        : 0;
    for (size_t i = 0; i < url.len; i++)
        if (url.base[i] <= ' ' || url.base[i] > '~' || url.base[i] == '@')
            return false; /* a user and a password are not for a list */
    return scheme > 0 && url.len > scheme && url.len <= URL_BYTES && url.base[scheme] != '/';
}

static int insert_webhook(struct call *c, struct store *s, const struct store_value v[6])
{
    int64_t count = 0;
    int rc = store_number(s, "SELECT COUNT(*) FROM webhooks WHERE team_id = $1", v, 1, &count);
    if (rc == 0 && count >= WEBHOOKS_MAX)
        rc = ERR_FULL;
    if (rc == 0)
        rc = store_number(s,
                          "INSERT INTO webhooks (team_id, name, url, form, secret, is_active, "
                          "created_ms) VALUES ($1, $2, $3, $4, $5, 1, $6) RETURNING id",
                          v, 6, &c->change.id);
    return rc < 0 ? rc : api_audit(c, s, "webhook.create", v[1].text, v[2].text);
}

/* The secret by which its receiver knows us is shown once. */
int webhooks_create(struct call *c, struct store *s)
{
    struct span name = json_string(json_get(c->root, "name")),
                url = json_string(json_get(c->root, "url")),
                form = json_string(json_get(c->root, "form"));
    char secret[KEY_TEXT_BYTES];
    if (form.len == 0)
        form = SPAN("json");
    if (!is_name(name))
        return api_detail(c, 422, "name: must be a text of 1 to %d bytes", NAME_BYTES);
    if (!is_url(url))
        return api_detail(c, 422, "url: must be http:// or https://, without a user");
    if (!span_eq(form, SPAN("json")) && !span_eq(form, SPAN("slack")))
        return api_detail(c, 422, "form: must be one of json, slack");
    int rc = key_text_make(secret);
    if (rc == 0)
        rc = store_begin(s);
    if (rc == 0) {
        memcpy(secret, "lsw", 3); /* not a key */
        const struct store_value v[] = {
            store_int(c->key->team->id), store_text(name),    store_text(url), store_text(form),
            store_str(secret),           store_int(c->now_ms)};
        rc = store_end(s, insert_webhook(c, s, v));
    }
    if (rc == ERR_FULL)
        return api_detail(c, 429, "this team has %d webhooks", WEBHOOKS_MAX);
    if (rc < 0)
        return api_store_failed(c, rc);
    struct json j = json_on(&c->out);
    json_begin(&j, NULL);
    json_i64(&j, "id", c->change.id);
    json_text(&j, "name", name);
    json_text(&j, "url", url);
    json_text(&j, "form", form);
    json_str(&j, "secret", secret);
    json_end(&j);
    secret_wipe(secret, sizeof secret);
    return 201;
}

int webhooks_delete(struct call *c, struct store *s)
{
    int64_t id;
    int status = 0;
    if (!api_param_number(c, 0, &id, &status))
        return status;
    const struct store_value v[] = {store_int(id), store_int(c->key->team->id)};
    int64_t gone = 0;
    int rc = store_begin(s);
    if (rc == 0) {
        rc = store_number(s, "DELETE FROM webhooks WHERE id = $1 AND team_id = $2 RETURNING id", v,
                          2, &gone);
        if (rc == 0)
            rc = api_audit(c, s, "webhook.delete", span_str(c->param[0]), SPAN(""));
        rc = store_end(s, rc);
    }
    if (rc == ERR_EMPTY)
        return api_detail(c, 404, "there is no such webhook");
    if (rc < 0)
        return api_store_failed(c, rc);
    struct json j = json_on(&c->out);
    json_begin(&j, NULL);
    json_i64(&j, "id", gone);
    json_end(&j);
    return 200;
}
