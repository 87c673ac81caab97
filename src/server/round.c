/* round: four numbers. */
#include "server/round.h"

#include <stddef.h>

static const struct {
    const char *name;
    size_t offset;
} fields[] = {
    {"alerting.round.team", offsetof(struct round, team)},
    {"alerting.round.service", offsetof(struct round, service)},
    {"alerting.round.began", offsetof(struct round, began_ms)},
    {"alerting.round.whole", offsetof(struct round, whole_ms)},
};

static int64_t *field(struct round *r, size_t i)
{
    return (int64_t *)(void *)((char *)r + fields[i].offset);
}

static int take_field(void *ctx, const struct store_value *row)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (span_eq(row[0].text, span_str(fields[i].name)))
            *field(ctx, i) = row[1].number;
    return 0;
}

int round_read(struct round *r, struct store *s, int64_t now_ms)
{
    *r = (struct round){.began_ms = now_ms};
    int rc = store_run(s, "SELECT name, value FROM meta WHERE name LIKE 'alerting.round.%'", NULL,
                       0, take_field, r);
    if (rc == 0 && r->team == 0)
        r->began_ms = now_ms;
    return rc;
}

int round_write(struct round *r, struct store *s, int64_t now_ms)
{
    int rc = 0;
    if (!r->is_cut) {
        r->whole_ms = now_ms - r->began_ms;
        r->team = r->service = 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(fields) && rc == 0; i++) {
        const struct store_value v[] = {store_str(fields[i].name), store_int(*field(r, i))};
        rc = store_run(s,
                       "INSERT INTO meta (name, value) VALUES ($1, $2) "
                       "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                       v, ARRAY_LEN(v), NULL, NULL);
    }
    return rc;
}

int64_t round_longest_ms(const struct round *r, int64_t now_ms)
{
    int64_t this_ms = now_ms - r->began_ms;
    return this_ms > r->whole_ms ? this_ms : r->whole_ms;
}
