/*
 * api_keys: teams, their keys, and what was done with them.
 *
 * A key is shown once, when it is made. Rotation makes a new one with the same role and lets the
 * old one work for a while, so that all who use it can be given the new one.
 */
#include "server/api.h"
#include "server/key_text.h"
#include "util/secret.h"

#define NAME_BYTES 100
#define OVERLAP_S 86400
#define OVERLAP_MOST_S (30 * 86400)

static bool is_name(struct span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.base[i] < ' ' || name.base[i] == 0x7f)
            return false;
    return name.len > 0 && name.len <= NAME_BYTES;
}

/* ---- keys --------------------------------------------------------------- */

static int write_key(void *ctx, const struct store_value *row)
{
    struct json *j = ctx;
    json_begin(j, NULL);
    json_i64(j, "id", row[0].number);
    json_text(j, "role", row[1].text);
    json_text(j, "name", row[2].text);
    api_time(j, "created_at", row[3].number);
    if (row[4].kind == STORE_NULL)
        json_null(j, "ends_at");
    else
        api_time(j, "ends_at", row[4].number);
    json_end(j);
    return 0;
}

int keys_list(struct call *c, struct store *s)
{
    const struct store_value v[] = {store_int(c->key->team->id), store_int(API_PAGE_MOST)};
    return api_list(c, s,
                    "SELECT id, role, name, created_ms, ends_ms FROM keys WHERE team_id = $1 "
                    "ORDER BY id DESC LIMIT $2",
                    v, ARRAY_LEN(v), write_key);
}

/* On the loop: it opens from here on. */
static void know_key(struct call *c)
{
    struct server *s = c->server;
    struct key *key = &c->change.key;
    key->team = registry_team(&s->registry, c->change.version);
    if (key->team == NULL || registry_add_key(&s->registry, key) < 0)
        c->status = api_detail(c, 429, "there are too many keys");
    if (c->change.ends_ms > 0)
        registry_end_key(&s->registry, c->change.id, c->change.ends_ms);
}

/* A key of `team`, in a transaction of the caller's; its text is appended to c->change.text. */
static int insert_key(struct call *c, struct store *s, int64_t team, enum role role,
                      struct span name)
{
    char text[KEY_TEXT_BYTES], hex[KEY_HEX_BYTES];
    struct key *key = &c->change.key;
    *key = (struct key){.role = role, .ends_ms = INT64_MAX};
    int rc = key_text_make(text);
    if (rc == 0)
        rc = key_text_digest(text, key->sha256, hex);
    if (rc < 0)
        return rc;
    const struct store_value v[] = {store_int(team), store_str(role_name(role)), store_text(name),
                                    store_str(hex), store_int(c->now_ms)};
    rc = store_number(s,
                      "INSERT INTO keys (team_id, role, name, sha256, created_ms) "
                      "VALUES ($1, $2, $3, $4, $5) RETURNING id",
                      v, ARRAY_LEN(v), &key->id);
    buf_append_str(&c->change.text, text);
    secret_wipe(text, sizeof text);
    c->change.version = team;
    c->after = know_key;
    return rc < 0 ? rc : api_audit(c, s, "key.create", name, span_str(role_name(role)));
}

static int write_new_key(struct call *c, int64_t team, enum role role, struct span name)
{
    struct json j = json_on(&c->out);
    json_begin(&j, NULL);
    json_i64(&j, "id", c->change.key.id);
    json_i64(&j, "team_id", team);
    json_str(&j, "role", role_name(role));
    json_text(&j, "name", name);
    json_text(&j, "key", buf_span(&c->change.text));
    json_end(&j);
    return 201;
}

int keys_create(struct call *c, struct store *s)
{
    enum role role;
    int64_t team = c->key->team->id;
    struct span name = json_string(json_get(c->root, "name"));
    if (!role_parse(json_string(json_get(c->root, "role")), &role))
        return api_detail(c, 422, "role: must be one of report, read, write, admin");
    if (!is_name(name))
        return api_detail(c, 422, "name: must be a text of 1 to %d bytes", NAME_BYTES);
    int rc = store_begin(s);
    if (rc == 0)
        rc = store_end(s, insert_key(c, s, team, role, name));
    return rc < 0 ? api_store_failed(c, rc) : write_new_key(c, team, role, name);
}

struct found_key {
    enum role role;
    int64_t ends_ms; /* INT64_MAX: it does not */
    char name[NAME_BYTES + 1];
};

static int take_key(void *ctx, const struct store_value *row)
{
    struct found_key *k = ctx;
    size_t n = row[1].text.len < NAME_BYTES ? row[1].text.len : NAME_BYTES;
    memcpy(k->name, row[1].text.base, n);
    k->name[n] = '\0';
    k->ends_ms = row[2].kind == STORE_NULL ? INT64_MAX : row[2].number;
    return role_parse(row[0].text, &k->role) ? 1 : ERR_IO;
}

/* The key that the path names, where it still opens. 0, or the status. */
static int find_key(struct call *c, struct store *s, int64_t *id, struct found_key *out)
{
    int status = 0;
    if (!api_param_number(c, 0, id, &status))
        return status;
    const struct store_value v[] = {store_int(*id), store_int(c->key->team->id)};
    int rc = store_run(s, "SELECT role, name, ends_ms FROM keys WHERE id = $1 AND team_id = $2", v,
                       ARRAY_LEN(v), take_key, out);
    if (rc < 0)
        return api_store_failed(c, rc);
    if (rc == 0)
        return api_detail(c, 404, "there is no such key");
    return out->ends_ms <= c->now_ms ? api_detail(c, 409, "the time of this key is over") : 0;
}

static int end_key(struct call *c, struct store *s, int64_t id, int64_t ends_ms, const char *action,
                   const char *name)
{
    const struct store_value v[] = {store_int(id), store_int(ends_ms)};
    c->change.id = id;
    c->change.ends_ms = ends_ms;
    int rc =
        store_run(s, "UPDATE keys SET ends_ms = $2 WHERE id = $1", v, ARRAY_LEN(v), NULL, NULL);
    return rc < 0 ? rc : api_audit(c, s, action, span_str(name), SPAN(""));
}

static int rotate(struct call *c, struct store *s, int64_t id, const struct found_key *old,
                  int64_t ends_ms)
{
    int rc = store_begin(s);
    if (rc < 0)
        return rc;
    rc = insert_key(c, s, c->key->team->id, old->role, span_str(old->name));
    if (rc == 0)
        rc = end_key(c, s, id, ends_ms < old->ends_ms ? ends_ms : old->ends_ms, "key.rotate",
                     old->name);
    return store_end(s, rc);
}

int keys_rotate(struct call *c, struct store *s)
{
    struct found_key old;
    int64_t id;
    uint64_t overlap_s = OVERLAP_S;
    struct json_node overlap = json_get(c->root, "overlap_s");
    if (json_kind(overlap) != JSON_NULL &&
        (!json_whole(overlap, &overlap_s) || overlap_s > OVERLAP_MOST_S))
        return api_detail(c, 422, "overlap_s: must be a whole number from 0 to %d", OVERLAP_MOST_S);
    int status = find_key(c, s, &id, &old);
    if (status != 0)
        return status;
    int rc = rotate(c, s, id, &old, c->now_ms + (int64_t)overlap_s * 1000);
    return rc < 0 ? api_store_failed(c, rc)
                  : write_new_key(c, c->key->team->id, old.role, span_str(old.name));
}

static void know_end(struct call *c)
{
    registry_end_key(&c->server->registry, c->change.id, c->change.ends_ms);
}

int keys_end(struct call *c, struct store *s)
{
    struct found_key old;
    int64_t id;
    int status = find_key(c, s, &id, &old);
    if (status != 0)
        return status;
    if (id == c->key->id)
        return api_detail(c, 409, "a key cannot end itself: rotate it, or use another");
    int rc = store_begin(s);
    if (rc == 0)
        rc = store_end(s, end_key(c, s, id, c->now_ms, "key.end", old.name));
    if (rc < 0)
        return api_store_failed(c, rc);
    c->after = know_end;
    struct json j = json_on(&c->out);
    json_begin(&j, NULL);
    json_i64(&j, "id", id);
    api_time(&j, "ends_at", c->now_ms);
    json_end(&j);
    return 200;
}

/* ---- teams -------------------------------------------------------------- */

static int write_team(void *ctx, const struct store_value *row)
{
    struct json *j = ctx;
    json_begin(j, NULL);
    json_i64(j, "id", row[0].number);
    json_text(j, "name", row[1].text);
    json_bool(j, "is_operator", row[2].number != 0);
    json_end(j);
    return 0;
}

/* The operator's admins see all teams, others their own. */
int teams_list(struct call *c, struct store *s)
{
    const struct store_value v[] = {store_int(c->key->team->id),
                                    store_int(c->key->team->is_operator)};
    return api_list(c, s,
                    "SELECT id, name, is_operator FROM teams WHERE id = $1 OR $2 = 1 "
                    "ORDER BY id",
                    v, ARRAY_LEN(v), write_team);
}

static void know_team(struct call *c)
{
    struct registry *r = &c->server->registry;
    struct span name = json_string(json_get(c->root, "name"));
    if (registry_add_team(r, c->change.version, name, false) < 0)
        c->status = api_detail(c, 429, "there are too many teams");
    else
        know_key(c);
}

static int insert_team(struct call *c, struct store *s, struct span name, uint64_t wanted)
{
    const struct store_value v[] = {store_text(name), store_int(c->now_ms),
                                    store_int((int64_t)wanted)};
    int64_t id = 0;
    int rc = wanted > 0
                 ? store_number(s,
                                "INSERT INTO teams (id, name, created_ms) VALUES ($3, $1, $2) "
                                "ON CONFLICT DO NOTHING RETURNING id",
                                v, 3, &id)
                 : store_number(s,
                                "INSERT INTO teams (id, name, created_ms) "
                                "SELECT COALESCE(MAX(id), 0) + 1, CAST($1 AS TEXT), "
                                "CAST($2 AS BIGINT) FROM teams WHERE true "
                                "ON CONFLICT DO NOTHING RETURNING id",
                                v, 2, &id);
    if (rc == 0)
        rc = api_audit(c, s, "team.create", name, SPAN(""));
    return rc < 0 ? rc : insert_key(c, s, id, ROLE_ADMIN, SPAN("first"));
}

/* With an id of its own (PostHog's, that SDKs send as team_id) or the next. The answer has the key
 * of its first admin. */
int teams_create(struct call *c, struct store *s)
{
    struct span name = json_string(json_get(c->root, "name"));
    struct json_node id = json_get(c->root, "id");
    uint64_t wanted = 0;
    int64_t teams = 0;
    if (!c->key->team->is_operator)
        return api_detail(c, 403, "only an admin of the operator's team makes teams");
    if (!is_name(name))
        return api_detail(c, 422, "name: must be a text of 1 to %d bytes", NAME_BYTES);
    if (json_kind(id) != JSON_NULL &&
        (!json_whole(id, &wanted) || wanted == 0 || wanted > INT32_MAX))
        return api_detail(c, 422, "id: must be a whole number from 1 to %d", INT32_MAX);
    int rc = store_number(s, "SELECT COUNT(*) FROM teams", NULL, 0, &teams);
    if (rc == 0 && teams >= REGISTRY_TEAMS_MAX)
        return api_detail(c, 429, "there are too many teams");
    if (rc == 0)
        rc = store_begin(s);
    if (rc == 0)
        rc = store_end(s, insert_team(c, s, name, wanted));
    if (rc == ERR_EMPTY)
        return api_detail(c, 409, "there is a team of this name, or with this id");
    if (rc < 0)
        return api_store_failed(c, rc);
    c->after = know_team;
    return write_new_key(c, c->change.version, ROLE_ADMIN, SPAN("first"));
}

/* ---- audit -------------------------------------------------------------- */

static int write_audit(void *ctx, const struct store_value *row)
{
    struct json *j = ctx;
    json_begin(j, NULL);
    json_i64(j, "id", row[0].number);
    api_time(j, "at", row[1].number);
    json_i64(j, "key_id", row[2].number);
    json_text(j, "action", row[3].text);
    json_text(j, "subject", row[4].text);
    json_text(j, "detail", row[5].text);
    json_end(j);
    return 0;
}

/* The latest first; pages follow each other by `before`, the last id of the one before. */
int audit_list(struct call *c, struct store *s)
{
    int64_t limit, before;
    int status = 0;
    if (!api_query_number(c, "limit", 1, API_PAGE_MOST, 100, &limit, &status) ||
        !api_query_number(c, "before", 1, INT64_MAX, INT64_MAX, &before, &status))
        return status;
    const struct store_value v[] = {store_int(c->key->team->id), store_int(before),
                                    store_int(limit)};
    return api_list(c, s,
                    "SELECT id, at_ms, key_id, action, subject, detail FROM audit "
                    "WHERE team_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
                    v, ARRAY_LEN(v), write_audit);
}
