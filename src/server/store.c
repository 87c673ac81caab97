/* store: transactions and migrations, whatever the database. */
#include "server/store.h"

#include <stdlib.h>

#include "server/assets.h"

int store_begin(struct store *s)
{
    return store_run(s, s->ops->begin, NULL, 0, NULL, NULL);
}

int store_end(struct store *s, int rc)
{
    if (rc == 0)
        rc = store_run(s, "COMMIT", NULL, 0, NULL, NULL);
    if (rc < 0)
        ignore_code(store_run(s, "ROLLBACK", NULL, 0, NULL, NULL)); /* rc says what went wrong */
    return rc;
}

static int take_number(void *ctx, const struct store_value *row)
{
    *(int64_t *)ctx = row[0].number;
    return 1;
}

int store_number(struct store *s, const char *sql, const struct store_value *values, unsigned count,
                 int64_t *out)
{
    int rc = store_run(s, sql, values, count, take_number, out);
    return rc < 0 ? rc : rc == 0 ? ERR_EMPTY : 0;
}

static int apply(struct store *s, const struct asset *a, int64_t number, int64_t now_ms)
{
    const struct store_value row[] = {store_int(number), store_int(now_ms)};
    int rc = store_begin(s);
    if (rc < 0)
        return rc;
    rc = s->ops->script(s, a->text);
    if (rc == 0)
        rc = store_run(s, "INSERT INTO migrations (number, applied_ms) VALUES ($1, $2)", row, 2,
                       NULL, NULL);
    return store_end(s, rc);
}

static int migrate(struct store *s, int64_t now_ms, int64_t *have, int64_t *latest)
{
    int rc = s->ops->script(s, SPAN("CREATE TABLE IF NOT EXISTS migrations (number BIGINT PRIMARY "
                                    "KEY, applied_ms BIGINT NOT NULL)"));
    if (rc == 0)
        rc = store_number(s, "SELECT COALESCE(MAX(number), 0) FROM migrations", NULL, 0, have);
    for (const struct asset *a = server_assets; rc == 0 && a->name != NULL; a++) {
        size_t n = strlen(s->ops->name);
        if (strncmp(a->name, s->ops->name, n) != 0 || a->name[n] != '/')
            continue;
        *latest = atoll(a->name + n + 1); /* "sqlite/0001.sql" */
        if (*latest > *have)
            rc = apply(s, a, *latest, now_ms);
    }
    return rc;
}

static int run_plain(struct store *s, const char *sql)
{
    return sql == NULL ? 0 : store_run(s, sql, NULL, 0, NULL, NULL);
}

int store_migrate(struct store *s, int64_t now_ms, struct error *err)
{
    int64_t have = 0, latest = 0;
    int rc = run_plain(s, s->ops->lock);
    if (rc == 0)
        rc = migrate(s, now_ms, &have, &latest);
    ignore_code(run_plain(s, s->ops->unlock)); /* else the end of the connection does it */
    if (rc < 0)
        return err_set(err, rc, "the tables of the database could not be made: %s", err_text(rc));
    if (have > latest)
        return err_set(err, ERR_CONFIG,
                       "the database is of a later version of lipservice (%lld, here %lld)",
                       (long long)have, (long long)latest);
    return 0;
}

void store_close(struct store *s)
{
    if (s != NULL)
        s->ops->close(s);
}
