/* api_store: what handlers share that read and write the database. */
#include "server/api.h"

int api_store_failed(struct call *c, int rc)
{
    return rc == ERR_EMPTY
               ? api_detail(c, 409, "it was changed by another request at the same time")
               : api_detail(c, 503, "the database is not available: %s", err_text(rc));
}

int api_list(struct call *c, struct store *s, const char *sql, const struct store_value *v,
             unsigned n, store_row_fn *write)
{
    struct json j = json_on(&c->out);
    json_begin_list(&j, NULL);
    int rc = store_run(s, sql, v, n, write, &j);
    json_end_list(&j);
    return rc < 0 ? api_store_failed(c, rc) : 200;
}

int api_find_service(struct call *c, struct store *s, int64_t *id)
{
    const struct store_value v[] = {store_int(c->key->team->id), store_str(c->param[0])};
    int rc = store_number(s, "SELECT id FROM services WHERE team_id = $1 AND name = $2", v, 2, id);
    return rc == ERR_EMPTY ? api_detail(c, 404, "Service not found")
           : rc < 0        ? api_store_failed(c, rc)
                           : 0;
}

int api_audit(struct call *c, struct store *s, const char *action, struct span subject,
              struct span detail)
{
    const struct store_value v[] = {store_int(c->now_ms),  store_int(c->key->team->id),
                                    store_int(c->key->id), store_str(action),
                                    store_text(subject),   store_text(detail)};
    return store_run(s,
                     "INSERT INTO audit (at_ms, team_id, key_id, action, subject, detail) "
                     "VALUES ($1, $2, $3, $4, $5, $6)",
                     v, ARRAY_LEN(v), NULL, NULL);
}
