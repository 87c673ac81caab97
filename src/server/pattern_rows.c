/* pattern_rows: one query for all who ask. */
#include "server/pattern_rows.h"

#include "pattern/signature.h"

struct reading {
    pattern_row_fn *fn;
    void *ctx;
};

static int read_row(void *ctx, const struct store_value *v)
{
    struct reading *r = ctx;
    struct pattern_row row = {
        .id = v[0].number,
        .service = v[1].text,
        .signature = v[2].text,
        .template_text = v[3].text,
        .family = v[4].text,
        .received = v[5].number,
        .kept = v[6].number,
        .bytes = v[7].number,
        .kept_bytes = v[8].number,
        .recent = v[9].number,
        .first_ms = v[10].number,
        .last_ms = v[11].number,
    };
    for (int l = 0; l < LEVEL_COUNT; l++)
        row.level[l] = v[12 + l].number;
    return r->fn(r->ctx, &row);
}

int pattern_rows_each(struct store *s, const struct pattern_want *want, pattern_row_fn *fn,
                      void *ctx)
{
    struct reading r = {fn, ctx};
    const struct store_value v[] = {
        store_int(want->team),    store_int(want->service),  store_int(want->grain_s),
        store_int(want->since_s), store_int(want->until_s),  store_int(want->limit),
        store_int(want->offset),  store_int(want->recent_s),
    };
    return store_run(
        s,
        "SELECT p.id, s.name, p.signature, p.template, p.family, "
        "CAST(SUM(c.received) AS BIGINT), CAST(SUM(c.kept) AS BIGINT), "
        "CAST(SUM(c.bytes) AS BIGINT), CAST(SUM(c.kept_bytes) AS BIGINT), "
        "CAST(SUM(CASE WHEN c.start_s >= $8 THEN c.received ELSE 0 END) AS BIGINT), "
        "p.first_seen_ms, p.last_seen_ms, "
        "p.traces, p.debugs, p.infos, p.warns, p.errors, p.fatals "
        "FROM patterns p JOIN services s ON s.id = p.service_id "
        "JOIN counts c ON c.pattern_id = p.id AND c.grain_s = $3 AND c.start_s >= $4 AND "
        "c.start_s < $5 WHERE s.team_id = $1 AND (s.id = $2 OR $2 = 0) "
        "GROUP BY p.id, s.name ORDER BY 6 DESC, p.id LIMIT $6 OFFSET $7",
        v, ARRAY_LEN(v), read_row, &r);
}

static int64_t levels_of(const struct pattern_row *row)
{
    int64_t sum = 0;
    for (int l = 0; l < LEVEL_COUNT; l++)
        sum += row->level[l];
    return sum;
}

static double rate_of(const struct rules *rules, uint64_t signature, uint64_t family, int level)
{
    enum rules_source source;
    return rules_rate_of(rules_threshold(rules, signature, family, (enum level)level, &source));
}

double pattern_row_share(const struct pattern_row *row, const struct rules *rules)
{
    uint64_t signature = 0, family = 0;
    int64_t all = levels_of(row);
    double share = 0;
    if (signature_parse(row->signature, &signature) < 0)
        signature = 0;
    if (row->family.len == 0 || signature_parse(row->family, &family) < 0)
        family = signature;
    if (all == 0)
        return rate_of(rules, signature, family, LEVEL_INFO);
    for (int l = 0; l < LEVEL_COUNT; l++)
        share += (l >= LEVEL_ERROR ? 1 : rate_of(rules, signature, family, l)) *
                 (double)row->level[l] / (double)all;
    return share;
}

enum level pattern_row_level(const struct pattern_row *row)
{
    int most = LEVEL_INFO;
    for (int l = 0; l < LEVEL_COUNT; l++)
        if (row->level[l] > row->level[most])
            most = l;
    return (enum level)most;
}
