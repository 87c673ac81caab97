/* policy_rows: statements on one table, each with its row of the audit log. */
#include "server/policy_rows.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "config/money.h"
#include "pipeline/governor.h"
#include "server/pattern_rows.h"
#include "server/policy_text.h"
#include "server/poll.h"
#include "util/diag.h"

#define DAY_S 86400

void policy_row_done(struct policy_row *p)
{
    json_doc_free(p->doc);
    buf_done(&p->document);
    *p = (struct policy_row){0};
}

static int read_row(void *ctx, const struct store_value *row)
{
    struct policy_row *p = ctx;
    p->id = row[0].number;
    p->version = row[1].number;
    p->is_active = row[2].number != 0;
    p->created_ms = row[3].number;
    buf_append(&p->document, row[4].text);
    return p->document.err;
}

int policy_row_read(struct policy_row *out, struct store *s, int64_t service, int64_t version)
{
    const struct store_value v[] = {store_int(service), store_int(version)};
    *out = (struct policy_row){0};
    int rc = store_run(s,
                       "SELECT id, version, is_active, created_ms, document FROM policies "
                       "WHERE service_id = $1 AND (version = $2 OR ($2 = 0 AND is_active = 1))",
                       v, ARRAY_LEN(v), read_row, out);
    if (rc == 0 && out->document.len == 0)
        return ERR_EMPTY;
    if (rc == 0)
        rc = json_doc_new(&out->doc, buf_span(&out->document), NULL, &out->root);
    if (rc < 0)
        policy_row_done(out);
    return rc;
}

/* ---- changes ------------------------------------------------------------ */

/* On the loop: it is handed out from here on. */
static void hand_out(struct call *c)
{
    struct server *s = c->server;
    struct service *service =
        registry_find_service(&s->registry, c->key->team, span_str(c->param[0]));
    int rc = service == NULL ? ERR_EMPTY
                             : registry_set_policy(&s->registry, service, c->change.version,
                                                   buf_span(&c->change.text));
    if (rc == 0) {
        poll_wake(s, service);
        return;
    }
    diag(DIAG_ERROR, "policy_not_handed_out",
         "a policy is stored, and there is no memory to hand it out before the next start",
         "version=%" PRId64 " error=\"%s\"", c->change.version, err_text(rc));
    c->status = api_detail(c, 503, "stored, and not handed out before the next start: no memory");
}

static int note(struct call *c, struct store *s, const char *action)
{
    char detail[64];
    int n = snprintf(detail, sizeof detail, "version %" PRId64, c->change.version);
    return api_audit(c, s, action, span_str(c->param[0]), span_of(detail, (size_t)n));
}

static int stand_down(struct store *s, int64_t service)
{
    const struct store_value v = store_int(service);
    return store_run(s, "UPDATE policies SET is_active = 0 WHERE service_id = $1 AND is_active = 1",
                     &v, 1, NULL, NULL);
}

static int insert(struct call *c, struct store *s, int64_t service, struct span by, bool is_active)
{
    const struct store_value v[] = {
        store_int(service),   store_int(c->change.version), store_text(buf_span(&c->change.text)),
        store_text(by),       store_int(is_active),         store_int(c->now_ms),
        store_int(c->key->id)};
    return store_number(s,
                        "INSERT INTO policies (service_id, version, document, generated_by, "
                        "is_active, created_ms, key_id) VALUES ($1, $2, $3, $4, $5, $6, $7) "
                        "RETURNING id",
                        v, ARRAY_LEN(v), &c->change.id);
}

static int forget_old(struct store *s, int64_t service, int64_t version)
{
    const struct store_value v[] = {store_int(service), store_int(version - POLICY_VERSIONS_MAX)};
    return store_run(s,
                     "DELETE FROM policies WHERE service_id = $1 AND version <= $2 AND "
                     "is_active = 0",
                     v, ARRAY_LEN(v), NULL, NULL);
}

int policy_row_add(struct call *c, struct store *s, int64_t service, struct json_node root,
                   const char *by, bool is_active, const char *action)
{
    const struct store_value v = store_int(service);
    struct span maker = json_string(json_get(root, "generated_by"));
    int64_t last = 0;
    int rc = store_begin(s);
    if (rc < 0)
        return rc;
    rc = store_number(s, "SELECT COALESCE(MAX(version), 0) FROM policies WHERE service_id = $1", &v,
                      1, &last);
    c->change.version = last + 1;
    policy_text_write(&c->change.text, root, c->change.version, by);
    if (rc == 0)
        rc = c->change.text.err;
    if (rc == 0 && is_active)
        rc = stand_down(s, service);
    if (rc == 0)
        rc = insert(c, s, service, maker.len > 0 ? maker : span_str(by), is_active);
    if (rc == 0)
        rc = forget_old(s, service, c->change.version);
    if (rc == 0)
        rc = note(c, s, action);
    rc = store_end(s, rc);
    if (rc == 0 && is_active)
        c->after = hand_out;
    return rc;
}

int policy_row_activate(struct call *c, struct store *s, int64_t service,
                        const struct policy_row *draft)
{
    const struct store_value v = store_int(draft->id);
    int rc = store_begin(s);
    if (rc < 0)
        return rc;
    c->change.id = draft->id;
    c->change.version = draft->version;
    buf_append(&c->change.text, buf_span(&draft->document));
    rc = c->change.text.err;
    if (rc == 0)
        rc = stand_down(s, service);
    if (rc == 0)
        rc = store_run(s, "UPDATE policies SET is_active = 1 WHERE id = $1", &v, 1, NULL, NULL);
    if (rc == 0)
        rc = note(c, s, "policy.activate");
    rc = store_end(s, rc);
    if (rc == 0)
        c->after = hand_out;
    return rc;
}

void policy_row_write(struct json *j, const struct policy_row *p)
{
    json_i64(j, "id", p->id);
    json_i64(j, "version", p->version);
    json_bool(j, "is_active", p->is_active);
    api_time(j, "created_at", p->created_ms);
}

/* ---- what it would do ---------------------------------------------------- */

struct estimate_sums {
    const struct rules *rules;
    double received, kept, then, bytes, kept_bytes, then_bytes;
    int64_t first_ms;
};

static int add_row(void *ctx, const struct pattern_row *row)
{
    struct estimate_sums *e = ctx;
    double share = pattern_row_share(row, e->rules);
    e->received += (double)row->received;
    e->kept += (double)row->kept;
    e->then += (double)row->received * share;
    e->bytes += (double)row->bytes;
    e->kept_bytes += (double)row->kept_bytes;
    e->then_bytes += (double)row->bytes * share;
    if (e->first_ms == 0 || row->first_ms < e->first_ms)
        e->first_ms = row->first_ms;
    return 0;
}

/* Of a month like the last day, or like the time since the first record; as if no other service
 * sent anything. */
static void write_prices(struct json *j, struct call *c, const struct estimate_sums *e)
{
    const struct config *cfg = c->server->cfg;
    struct money_terms terms = config_money(cfg);
    double known_s = (double)(c->now_ms - e->first_ms) / 1000;
    double months = fmin(fmax(known_s, 3600), DAY_S) / GOVERNOR_MONTH_S;
    json_printf(j, "monthly_cost_now", "%.2f", money_price(&terms, e->kept_bytes / months));
    json_printf(j, "monthly_cost_then", "%.2f", money_price(&terms, e->then_bytes / months));
    json_str(j, "currency", cfg->cost.currency);
}

int policy_rows_estimate(struct json *j, struct call *c, struct store *s, int64_t service,
                         const struct rules *rules)
{
    struct estimate_sums e = {.rules = rules};
    int64_t now_s = c->now_ms / 1000;
    const struct pattern_want want = {.team = c->key->team->id,
                                      .service = service,
                                      .grain_s = PATTERN_GRAIN_HOUR,
                                      .since_s = now_s - DAY_S,
                                      .until_s = now_s + DAY_S,
                                      .limit = INT64_MAX};
    int rc = pattern_rows_each(s, &want, add_row, &e);
    if (rc < 0)
        return rc;
    json_begin(j, "estimate");
    json_printf(j, "received", "%.0f", e.received);
    json_printf(j, "kept_now", "%.0f", e.kept);
    json_printf(j, "kept_then", "%.0f", e.then);
    json_printf(j, "received_bytes", "%.0f", e.bytes);
    json_printf(j, "kept_bytes_now", "%.0f", e.kept_bytes);
    json_printf(j, "kept_bytes_then", "%.0f", e.then_bytes);
    write_prices(j, c, &e);
    json_end(j);
    return 0;
}
