/* policy_hold: one walk over the patterns of a service. */
#include "server/policy_hold.h"

#include <math.h>
#include <stdio.h>

#include "server/pattern_rows.h"
#include "server/policy_text.h"

#define HOUR_S 3600
#define REASON_BYTES 256

struct sums {
    const struct rules *rules;
    double received, kept, then, bytes, kept_bytes, then_bytes;
};

static int add_row(void *ctx, const struct pattern_row *row)
{
    struct sums *m = ctx;
    double share = pattern_row_share(row, m->rules);
    m->received += (double)row->received;
    m->kept += (double)row->kept;
    m->then += (double)row->received * share;
    m->bytes += (double)row->bytes;
    m->kept_bytes += (double)row->kept_bytes;
    m->then_bytes += (double)row->bytes * share;
    return 0;
}

int policy_hold_look(struct policy_hold *out, struct call *c, struct store *s, int64_t service,
                     const struct rules *rules)
{
    struct sums m = {.rules = rules};
    int64_t now_s = c->now_ms / 1000;
    const struct pattern_want want = {.team = c->key->team->id,
                                      .service = service,
                                      .grain_s = PATTERN_GRAIN_MINUTE,
                                      .since_s = now_s - HOUR_S,
                                      .until_s = now_s + HOUR_S,
                                      .limit = INT64_MAX};
    *out = (struct policy_hold){0};
    if (api_query_flag(c, "force"))
        return 0;
    int rc = pattern_rows_each(s, &want, add_row, &m);
    if (rc < 0)
        return rc;
    *out = (struct policy_hold){.records = m.received, .kept_now = m.kept, .kept_then = m.then};
    if (m.bytes > 0)
        out->share = (m.kept_bytes - m.then_bytes) / m.bytes;
    else if (m.received > 0)
        out->share = (m.kept - m.then) / m.received;
    out->is_held = m.received > POLICY_HOLD_LEAST &&
                   out->share > c->server->cfg->server.max_drop_change + 1e-9;
    return 0;
}

int policy_hold_look_text(struct policy_hold *out, struct call *c, struct store *s, int64_t service,
                          struct span document)
{
    struct rules *rules;
    struct error err = {{0}};
    int rc = policy_text_read(&rules, document, &err);
    if (rc < 0)
        return rc;
    rc = policy_hold_look(out, c, s, service, rules);
    rules_unref(rules);
    return rc;
}

void policy_hold_write(struct json *j, const struct policy_hold *h, const struct call *c)
{
    char reason[REASON_BYTES];
    double limit = c->server->cfg->server.max_drop_change;
    if (!h->is_held)
        return;
    snprintf(reason, sizeof reason,
             "of the last hour's counts it would drop %.0f%% more than was dropped, and "
             "server.max_drop_change is %.0f%%: it is kept as a draft, and force=true puts it in "
             "force",
             100 * h->share, 100 * limit);
    json_begin(j, "held");
    json_str(j, "reason", reason);
    json_printf(j, "drop_change", "%.6g", h->share);
    json_printf(j, "max_drop_change", "%.6g", limit);
    json_printf(j, "received", "%.0f", h->records);
    json_printf(j, "kept_now", "%.0f", h->kept_now);
    json_printf(j, "kept_then", "%.0f", h->kept_then);
    json_end(j);
}
