/* novelty: two questions of a service, asked once for all of its new patterns. */
#include "server/novelty.h"

#include <math.h>
#include <stdio.h>

#include "util/hash.h"

#define HOUR_MS 3600000
#define REPORTS_MS (10 * 60000) /* who reports less often is not known to be there */
#define BEFORE_HOURS 24

/* ---- rows --------------------------------------------------------------- */

int novelty_write(struct store *s, int64_t service, const struct rollup_version *v)
{
    const struct store_value row[] = {store_int(service), store_text(v->text),
                                      store_int(v->first_ms)};
    int rc = store_run(s,
                       "INSERT INTO service_versions (service_id, version, first_ms) "
                       "VALUES ($1, $2, $3) ON CONFLICT (service_id, version) DO UPDATE SET "
                       "first_ms = excluded.first_ms "
                       "WHERE excluded.first_ms < service_versions.first_ms",
                       row, ARRAY_LEN(row), NULL, NULL);
    const struct store_value most[] = {store_int(service), store_int(NOVELTY_VERSIONS)};
    return rc < 0 ? rc
                  : store_run(s,
                              "DELETE FROM service_versions WHERE service_id = $1 AND version IN "
                              "(SELECT version FROM service_versions WHERE service_id = $1 "
                              "ORDER BY first_ms DESC, version LIMIT 1000 OFFSET $2)",
                              most, ARRAY_LEN(most), NULL, NULL);
}

/* Columns: name, first report. */
static int take_instance(void *ctx, const struct store_value *row)
{
    struct novelty *n = ctx;
    n->instances[n->instance_count].hash = hash64(row[0].text);
    n->instances[n->instance_count].first_ms = row[1].number;
    return ++n->instance_count == NOVELTY_INSTANCES;
}

/* Columns: name, first seen, how many are older. */
static int take_version(void *ctx, const struct store_value *row)
{
    struct novelty *n = ctx;
    if (row[2].number == 0)
        return 1;
    snprintf(n->version, sizeof n->version, "%.*s", (int)row[0].text.len,
             (const char *)row[0].text.base);
    n->version_ms = row[1].number;
    return 1;
}

struct sums {
    int64_t before, since;
};

static int take_sums(void *ctx, const struct store_value *row)
{
    struct sums *sums = ctx;
    *sums = (struct sums){row[0].number, row[1].number};
    return 1;
}

/* Half a pattern more than were counted: none in some hours is no proof that none would come. */
static int read_arrivals(struct novelty *n, struct store *s, int64_t service, int64_t service_ms)
{
    double hours = (double)(n->version_ms - service_ms) / HOUR_MS - 1; /* all is new in the first */
    hours = fmin(hours, BEFORE_HOURS);
    if (hours < 1) {
        n->version[0] = '\0';
        return 0;
    }
    struct sums sums = {0};
    const struct store_value v[] = {store_int(service), store_int(n->version_ms),
                                    store_int(n->version_ms - (int64_t)(hours * HOUR_MS)),
                                    store_int(n->version_ms + HOUR_MS)};
    int rc = store_run(s,
                       "SELECT CAST(COALESCE(SUM(CASE WHEN first_seen_ms < $2 THEN 1 ELSE 0 END), "
                       "0) AS BIGINT), CAST(COALESCE(SUM(CASE WHEN first_seen_ms >= $2 THEN 1 ELSE "
                       "0 END), 0) AS BIGINT) FROM patterns WHERE service_id = $1 AND "
                       "first_seen_ms >= $3 AND first_seen_ms <= $4 AND signature <> ''",
                       v, ARRAY_LEN(v), take_sums, &sums);
    n->before_per_hour = ((double)sums.before + 0.5) / hours;
    n->since = (double)sums.since;
    return rc;
}

int novelty_read(struct novelty *out, struct store *s, int64_t service, int64_t service_ms,
                 int64_t now_ms)
{
    const struct store_value v[] = {store_int(service), store_int(now_ms - REPORTS_MS),
                                    store_int(NOVELTY_INSTANCES)};
    out->instance_count = 0;
    out->version[0] = '\0';
    int rc = store_run(s,
                       "SELECT instance, MIN(first_ms) FROM senders WHERE service_id = $1 "
                       "GROUP BY instance HAVING MAX(seen_ms) >= $2 ORDER BY MIN(first_ms), "
                       "instance LIMIT $3",
                       v, ARRAY_LEN(v), take_instance, out);
    if (rc >= 0)
        rc = store_run(s,
                       "SELECT v.version, v.first_ms, (SELECT COUNT(*) FROM service_versions o "
                       "WHERE o.service_id = v.service_id AND o.first_ms < v.first_ms) "
                       "FROM service_versions v WHERE v.service_id = $1 "
                       "ORDER BY v.first_ms DESC, v.version LIMIT 1",
                       v, 1, take_version, out);
    if (rc >= 0 && out->version[0] != '\0')
        rc = read_arrivals(out, s, service, service_ms);
    return rc < 0 ? rc : 0;
}

/* ---- judgement ---------------------------------------------------------- */

bool novelty_is_on_one(const struct novelty *n, struct span instance, int64_t first_ms,
                       uint32_t minutes, uint32_t *others)
{
    uint64_t own = hash64(instance);
    *others = 0;
    if (instance.len == 0)
        return false; /* several have it, or those that do not say who they are */
    for (uint32_t i = 0; i < n->instance_count; i++)
        *others += n->instances[i].hash != own && n->instances[i].first_ms <= first_ms;
    if (*others < NOVELTY_OTHERS || minutes < NOVELTY_MINUTES)
        return false;
    return pow(1.0 + *others, minutes - 1.0) >= NOVELTY_ODDS;
}

bool novelty_is_of_version(const struct novelty *n, int64_t first_ms)
{
    if (n->version[0] == '\0' || first_ms < n->version_ms || first_ms > n->version_ms + HOUR_MS)
        return false;
    /* The pattern's own minute counts in full: versions and patterns come with one report. */
    double hours = (double)(first_ms - n->version_ms + 60000) / HOUR_MS;
    return n->before_per_hour * hours <= NOVELTY_FALSE * n->since;
}
