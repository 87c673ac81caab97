/* api_policies: policies are proposed, put in force, compared and taken back. */
#include "server/policy_hold.h"
#include "server/policy_rows.h"
#include "server/policy_text.h"

#include <inttypes.h>

/* The version that the body names. */
static bool wanted_version(struct call *c, int64_t *version, int *status)
{
    uint64_t n = 0;
    if (json_whole(json_get(c->root, "version"), &n) && n > 0 && n <= INT64_MAX) {
        *version = (int64_t)n;
        return true;
    }
    *status = api_detail(c, 422, "version: must be a whole number from 1");
    return false;
}

static int no_version(struct call *c, int rc, int64_t version)
{
    return rc == ERR_EMPTY ? api_detail(c, 404, "there is no version %" PRId64, version)
                           : api_store_failed(c, rc);
}

/* What was added or activated. 202: it is held back. */
static int write_change(struct call *c, bool is_active, const struct policy_hold *hold)
{
    const struct policy_row row = {.id = c->change.id,
                                   .version = c->change.version,
                                   .is_active = is_active,
                                   .created_ms = c->now_ms};
    struct json j = json_on(&c->out);
    json_begin(&j, NULL);
    policy_row_write(&j, &row);
    buf_append(json_value(&j, "policy"), buf_span(&c->change.text));
    policy_hold_write(&j, hold, c);
    json_end(&j);
    return hold->is_held ? 202 : 200;
}

/* A new version: in force, a draft, or held back. */
static int add_version(struct call *c, struct store *s, int64_t service, struct json_node root,
                       bool is_draft, const struct policy_hold *hold, const char *action)
{
    bool is_active = !is_draft && !hold->is_held;
    int rc = policy_row_add(c, s, service, root, POLICY_BY_PERSON, is_active,
                            hold->is_held ? "policy.held" : action);
    return rc < 0 ? api_store_failed(c, rc) : write_change(c, is_active, hold);
}

/* ---- put ---------------------------------------------------------------- */

static int dry_run(struct call *c, struct store *s, int64_t service, const struct rules *rules)
{
    struct json j = json_on(&c->out);
    json_begin(&j, NULL);
    json_bool(&j, "is_valid", true);
    int rc = policy_rows_estimate(&j, c, s, service, rules);
    json_end(&j);
    return rc < 0 ? api_store_failed(c, rc) : 200;
}

/* Whoever names the version that was looked at is not to undo what came after it. */
static int check_base(struct call *c, struct store *s, int64_t service)
{
    int64_t base, active = 0;
    int status = 0;
    const struct store_value v = store_int(service);
    if (!api_query_number(c, "base_version", 0, INT64_MAX, -1, &base, &status))
        return status;
    if (base < 0)
        return 0;
    int rc = store_number(s,
                          "SELECT COALESCE(MAX(version), 0) FROM policies "
                          "WHERE service_id = $1 AND is_active = 1",
                          &v, 1, &active);
    return rc < 0 ? api_store_failed(c, rc)
           : active == base
               ? 0
               : api_detail(c, 409, "version %" PRId64 " is in force, not %" PRId64, active, base);
}

static int put(struct call *c, struct store *s, const struct rules *rules)
{
    int64_t service;
    bool is_draft = api_query_flag(c, "draft");
    int status = api_find_service(c, s, &service);
    if (status != 0)
        return status;
    if (api_query_flag(c, "dry_run"))
        return dry_run(c, s, service, rules);
    status = check_base(c, s, service);
    if (status != 0)
        return status;
    struct policy_hold hold = {0};
    int rc = is_draft ? 0 : policy_hold_look(&hold, c, s, service, rules);
    return rc < 0 ? api_store_failed(c, rc)
                  : add_version(c, s, service, c->root, is_draft, &hold, "policy.put");
}

int api_policy_put(struct call *c, struct store *s)
{
    struct rules *rules;
    struct error err = {{0}};
    int rc = policy_text_read(&rules, buf_span(&c->body), &err);
    if (rc == ERR_MALFORMED)
        return api_detail(c, 422, "%s", err.text);
    if (rc < 0)
        return api_detail(c, 503, "no memory for this policy now");
    int status = put(c, s, rules);
    rules_unref(rules);
    return status;
}

/* ---- looks -------------------------------------------------------------- */

static int write_history(void *ctx, const struct store_value *row)
{
    struct json *j = ctx;
    struct json_doc *doc = NULL;
    struct json_node root;
    double global = 1;
    int rc = json_doc_new(&doc, row[5].text, NULL, &root);
    if (rc < 0)
        return rc;
    json_begin(j, NULL);
    json_i64(j, "id", row[0].number);
    json_i64(j, "version", row[1].number);
    if (!json_number(json_get(root, "global_rate"), &global))
        global = 1;
    json_printf(j, "global_rate", "%.10g", global);
    json_begin(j, "severity_rates");
    struct json_each each = json_each(json_get(root, "severity_rates"));
    for (double rate; json_next(&each);)
        if (json_number(each.value, &rate)) {
            json_key(j, each.key);
            json_printf(j, NULL, "%.10g", rate);
        }
    json_end(j);
    json_text(j, "generated_by", row[3].text);
    json_bool(j, "is_active", row[2].number != 0);
    api_time(j, "created_at", row[4].number);
    json_text(j, "author", row[6].text);
    json_text(j, "reasoning", json_string(json_get(root, "reasoning")));
    json_end(j);
    json_doc_free(doc);
    return 0;
}

int api_policy_history(struct call *c, struct store *s)
{
    int64_t limit, service;
    int status = 0;
    if (!api_query_number(c, "limit", 1, API_PAGE_MOST, 10, &limit, &status) ||
        (status = api_find_service(c, s, &service)) != 0)
        return status;
    const struct store_value v[] = {store_int(service), store_int(limit)};
    return api_list(c, s,
                    "SELECT p.id, p.version, p.is_active, p.generated_by, p.created_ms, "
                    "p.document, k.name FROM policies p JOIN keys k ON k.id = p.key_id "
                    "WHERE p.service_id = $1 ORDER BY p.version DESC LIMIT $2",
                    v, ARRAY_LEN(v), write_history);
}

int api_policy_version(struct call *c, struct store *s)
{
    struct policy_row row;
    int64_t service, version;
    int status = 0;
    if (!api_param_number(c, 1, &version, &status) ||
        (status = api_find_service(c, s, &service)) != 0)
        return status;
    int rc = policy_row_read(&row, s, service, version);
    if (rc < 0)
        return no_version(c, rc, version);
    struct json j = json_on(&c->out);
    json_begin(&j, NULL);
    policy_row_write(&j, &row);
    buf_append(json_value(&j, "policy"), buf_span(&row.document));
    json_end(&j);
    policy_row_done(&row);
    return 200;
}

int api_policy_diff(struct call *c, struct store *s)
{
    struct policy_row from = {0}, to = {0};
    int64_t service, a, b;
    int status = 0;
    if (!api_query_number(c, "from", 1, INT64_MAX, 0, &a, &status) ||
        !api_query_number(c, "to", 1, INT64_MAX, 0, &b, &status))
        return status;
    if (a == 0 || b == 0)
        return api_detail(c, 422, "query: from and to: two versions are wanted");
    if ((status = api_find_service(c, s, &service)) != 0)
        return status;
    int rc = policy_row_read(&from, s, service, a);
    if (rc < 0)
        return no_version(c, rc, a);
    rc = policy_row_read(&to, s, service, b);
    if (rc == 0) {
        struct json j = json_on(&c->out);
        json_begin(&j, NULL);
        json_i64(&j, "from", a);
        json_i64(&j, "to", b);
        policy_text_diff(json_value(&j, "changes"), from.root, to.root);
        json_end(&j);
    }
    policy_row_done(&from);
    policy_row_done(&to);
    return rc < 0 ? no_version(c, rc, b) : 200;
}

/* ---- back and forth ------------------------------------------------------ */

/* Versions only rise: what was comes back under a new number. */
int api_policy_rollback(struct call *c, struct store *s)
{
    struct policy_row row;
    int64_t service, version;
    int status = 0;
    if (!wanted_version(c, &version, &status) || (status = api_find_service(c, s, &service)) != 0)
        return status;
    int rc = policy_row_read(&row, s, service, version);
    if (rc < 0)
        return no_version(c, rc, version);
    struct policy_hold hold;
    rc = policy_hold_look_text(&hold, c, s, service, buf_span(&row.document));
    status = rc < 0 ? api_store_failed(c, rc)
                    : add_version(c, s, service, row.root, false, &hold, "policy.rollback");
    policy_row_done(&row);
    return status;
}

static int activate(struct call *c, struct store *s, int64_t service, const struct policy_row *row)
{
    struct policy_hold hold;
    int rc = policy_hold_look_text(&hold, c, s, service, buf_span(&row->document));
    if (rc == 0 && hold.is_held) { /* it stays what it is */
        c->change.id = row->id;
        c->change.version = row->version;
        buf_append(&c->change.text, buf_span(&row->document));
        rc = c->change.text.err;
    } else if (rc == 0) {
        rc = policy_row_activate(c, s, service, row);
    }
    return rc < 0 ? api_store_failed(c, rc) : write_change(c, !hold.is_held, &hold);
}

int api_policy_activate(struct call *c, struct store *s)
{
    struct policy_row row, active;
    int64_t service, version, now = 0;
    int status = 0;
    if (!wanted_version(c, &version, &status) || (status = api_find_service(c, s, &service)) != 0)
        return status;
    int rc = policy_row_read(&active, s, service, 0);
    if (rc < 0 && rc != ERR_EMPTY)
        return api_store_failed(c, rc);
    if (rc == 0)
        now = active.version;
    policy_row_done(&active);
    rc = policy_row_read(&row, s, service, version);
    if (rc < 0)
        return no_version(c, rc, version);
    if (row.version <= now)
        status = api_detail(c, 409,
                            "version %" PRId64 " is in force; an older one comes back by a "
                            "rollback",
                            now);
    else
        status = activate(c, s, service, &row);
    policy_row_done(&row);
    return status;
}
