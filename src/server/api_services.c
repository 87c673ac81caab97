/* api_services: what reports and people have named. */
#include "server/api.h"
#include "server/poll.h"

static int write_service(void *ctx, const struct store_value *row)
{
    struct json *j = ctx;
    json_begin(j, NULL);
    json_i64(j, "id", row[0].number);
    json_i64(j, "team_id", row[1].number);
    json_text(j, "name", row[2].text);
    json_bool(j, "is_active", row[3].number != 0);
    api_time(j, "created_at", row[4].number);
    api_time(j, "seen_at", row[5].number);
    json_end(j);
    return 0;
}

#define COLUMNS "id, team_id, name, is_active, created_ms, seen_ms"

/* Pages follow each other by `after`, the last id of the one before. */
int services_list(struct call *c, struct store *s)
{
    int64_t limit, after;
    int status = 0;
    if (!api_query_number(c, "limit", 1, API_PAGE_MOST, 100, &limit, &status) ||
        !api_query_number(c, "after", 0, INT64_MAX, 0, &after, &status))
        return status;
    const struct store_value v[] = {store_int(c->key->team->id), store_int(after),
                                    store_int(limit)};
    return api_list(c, s,
                    "SELECT " COLUMNS " FROM services WHERE team_id = $1 AND id > $2 "
                    "ORDER BY id LIMIT $3",
                    v, ARRAY_LEN(v), write_service);
}

static int write_one(struct call *c, struct store *s, int64_t id)
{
    const struct store_value v[] = {store_int(id), store_int(c->key->team->id)};
    struct json j = json_on(&c->out);
    int rc = store_run(s, "SELECT " COLUMNS " FROM services WHERE id = $1 AND team_id = $2", v,
                       ARRAY_LEN(v), write_service, &j);
    if (rc < 0)
        return api_store_failed(c, rc);
    return c->out.len > 0 ? 200 : api_detail(c, 404, "Service not found");
}

int services_get(struct call *c, struct store *s)
{
    int64_t id;
    int status = 0;
    return api_param_number(c, 0, &id, &status) ? write_one(c, s, id) : status;
}

static void know_service(struct call *c)
{
    struct registry *r = &c->server->registry;
    struct span name = json_string(json_get(c->root, "name"));
    struct service *service = registry_find_service(r, c->key->team, name);
    if (service == NULL &&
        registry_add_service(r, c->key->team, name, c->change.id, &service) < 0) {
        c->status = api_detail(c, 429, "this team has too many services");
        return;
    }
    service->id = c->change.id;
    service->is_fresh = c->server->has_fresh = true;
    poll_welcome(c->server, service);
}

static bool is_name(struct span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.base[i] < ' ' || name.base[i] == 0x7f)
            return false;
    return name.len > 0 && name.len <= REPORT_NAME_BYTES;
}

/* 0 and its id: there is room for it, or it is there. Else the status. */
static int insert(struct call *c, struct store *s, struct span name)
{
    const struct store_value v[] = {store_int(c->key->team->id), store_text(name),
                                    store_int(c->now_ms)};
    int64_t count = 0;
    int rc = store_number(s, "SELECT id FROM services WHERE team_id = $1 AND name = $2", v, 2,
                          &c->change.id);
    if (rc != ERR_EMPTY)
        return rc < 0 ? api_store_failed(c, rc) : 0;
    rc = store_number(s, "SELECT COUNT(*) FROM services WHERE team_id = $1", v, 1, &count);
    if (rc == 0 && count >= c->server->cfg->server.max_services)
        return api_detail(c, 429, "this team has too many services");
    if (rc == 0)
        rc = store_begin(s);
    if (rc < 0)
        return api_store_failed(c, rc);
    rc = store_number(s,
                      "INSERT INTO services (team_id, name, created_ms, seen_ms) "
                      "VALUES ($1, $2, $3, $3) RETURNING id",
                      v, ARRAY_LEN(v), &c->change.id);
    if (rc == 0)
        rc = api_audit(c, s, "service.create", name, SPAN(""));
    rc = store_end(s, rc);
    return rc < 0 ? api_store_failed(c, rc) : 0;
}

/* The same request again is the same service. */
int services_create(struct call *c, struct store *s)
{
    struct span name = json_string(json_get(c->root, "name"));
    struct json_node team = json_get(c->root, "team_id");
    uint64_t team_id = 0;
    if (!is_name(name))
        return api_detail(c, 422,
                          "name: must be a text of 1 to %d bytes without control characters",
                          REPORT_NAME_BYTES);
    if (json_kind(team) != JSON_NULL && !json_whole(team, &team_id))
        return api_detail(c, 422, "team_id: must be a whole number from 0");
    if (team_id != 0 && (int64_t)team_id != c->key->team->id)
        return api_detail(c, 403, "this key is of another team");
    int status = insert(c, s, name);
    if (status == 0)
        status = write_one(c, s, c->change.id);
    c->after = know_service;
    return status == 200 ? 201 : status;
}
