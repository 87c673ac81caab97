/* flush: four statements a pattern. */
#include "server/flush.h"

#include <stdlib.h>

#include "server/claims.h"
#include "server/novelty.h"
#include "server/registry.h"
#include "server/senders.h"
#include "server/troubles.h"

#define MINUTE_S 60
#define HOUR_S 3600
#define DAY_S 86400
#define FORGET_ROWS 5000 /* at once: some 50 ms */

/* ---- services ----------------------------------------------------------- */

static int store_service(struct flush *f, struct store *s, struct service *service)
{
    const struct store_value v[] = {store_int(service->team->id),
                                    store_text(span_of(service->name, service->name_len)),
                                    store_int(f->now_ms)};
    service->storing.patterns = -1;
    return store_number(s,
                        "INSERT INTO services (team_id, name, created_ms, seen_ms) "
                        "VALUES ($1, $2, $3, $3) ON CONFLICT (team_id, name) "
                        "DO UPDATE SET seen_ms = excluded.seen_ms RETURNING id",
                        v, ARRAY_LEN(v), &service->storing.id);
}

/* Services of a batch, each once. */
struct listing {
    uint64_t attempt;
    struct buf all; /* of struct service * */
};

static void list_service(struct listing *l, struct service *service)
{
    if (service->storing.attempt == l->attempt)
        return;
    service->storing.attempt = l->attempt;
    buf_append(&l->all, span_of(&service, sizeof(struct service *)));
}

static int list_entry(void *ctx, const struct rollup_entry *e)
{
    list_service(ctx, e->service);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct service *x = *(struct service *const *)a, *y = *(struct service *const *)b;
    int c = (x->team->id > y->team->id) - (x->team->id < y->team->id);
    if (c == 0)
        c = (x->name_len > y->name_len) - (x->name_len < y->name_len);
    return c != 0 ? c : memcmp(x->name, y->name, x->name_len);
}

/* In one order for all servers, so that no two wait for each other. From here to the end of the
 * transaction no other server writes counts of these services. */
static int store_services(struct flush *f, struct store *s)
{
    struct listing l = {.attempt = f->attempt};
    ignore_code(rollup_each(&f->batch, list_entry, &l)); /* it never fails */
    for (const struct rollup_sender *one = f->batch.senders; one != NULL; one = one->next)
        list_service(&l, one->service);
    for (const struct rollup_trouble *one = f->batch.troubles; one != NULL; one = one->next)
        list_service(&l, one->service);
    for (const struct rollup_version *one = f->batch.versions; one != NULL; one = one->next)
        list_service(&l, one->service);
    int rc = l.all.err;
    struct service **all = (struct service **)(void *)l.all.base;
    size_t count = l.all.len / sizeof *all;
    if (rc == 0 && count > 0)
        qsort(all, count, sizeof *all, by_name);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = store_service(f, s, all[i]);
    buf_done(&l.all);
    return rc;
}

/* ---- patterns ----------------------------------------------------------- */

/* The counts of a line, in the order of the columns of `patterns`. */
#define COUNTS(c) \
    store_int((int64_t)(c)->received), store_int((int64_t)(c)->kept), \
        store_int((int64_t)(c)->bytes), store_int((int64_t)(c)->kept_bytes), \
        store_int((int64_t)(c)->level[LEVEL_TRACE]), store_int((int64_t)(c)->level[LEVEL_DEBUG]), \
        store_int((int64_t)(c)->level[LEVEL_INFO]), store_int((int64_t)(c)->level[LEVEL_WARN]), \
        store_int((int64_t)(c)->level[LEVEL_ERROR]), store_int((int64_t)(c)->level[LEVEL_FATAL])

static int update_pattern(struct store *s, int64_t service, struct span signature,
                          const struct rollup_line *line, struct span instance, int64_t *id)
{
    const struct rollup_counts *c = &line->counts;
    const struct store_value v[] = {
        store_int(service),
        store_text(signature),
        store_text(line->template_text),
        store_text(line->family),
        COUNTS(c),
        store_int(c->last_ms),
        store_text(instance),
    };
    return store_number(
        s,
        "UPDATE patterns SET template = CASE WHEN $3 = '' THEN template ELSE $3 END, family = $4, "
        "received = received + $5, kept = kept + $6, bytes = bytes + $7, "
        "kept_bytes = kept_bytes + $8, traces = traces + $9, debugs = debugs + $10, "
        "infos = infos + $11, warns = warns + $12, errors = errors + $13, fatals = fatals + $14, "
        "last_seen_ms = CASE WHEN last_seen_ms > $15 THEN last_seen_ms ELSE $15 END, "
        "instance = CASE WHEN instance = $16 THEN instance ELSE '' END "
        "WHERE service_id = $1 AND signature = $2 RETURNING id",
        v, ARRAY_LEN(v), id);
}

static int insert_pattern(struct store *s, int64_t service, struct span signature,
                          const struct rollup_line *line, struct span instance, int64_t *id)
{
    const struct rollup_counts *c = &line->counts;
    const struct store_value v[] = {
        store_int(service),
        store_text(signature),
        store_text(signature.len > 0 ? line->template_text : SPAN("")),
        store_text(signature.len > 0 ? line->family : SPAN("")),
        COUNTS(c),
        store_int(c->first_ms),
        store_int(c->last_ms),
        store_text(instance),
    };
    return store_number(
        s,
        "INSERT INTO patterns (service_id, signature, template, family, received, "
        "kept, bytes, kept_bytes, traces, debugs, infos, warns, errors, fatals, "
        "first_seen_ms, last_seen_ms, instance) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, "
        "$10, $11, $12, $13, $14, $15, $16, $17) RETURNING id",
        v, ARRAY_LEN(v), id);
}

static int may_add(struct flush *f, struct store *s, struct service *service, bool *out)
{
    const struct store_value v = store_int(service->storing.id);
    int rc = 0;
    if (service->storing.patterns < 0)
        rc = store_number(s, "SELECT COUNT(*) FROM patterns WHERE service_id = $1", &v, 1,
                          &service->storing.patterns);
    *out = service->storing.patterns < (int64_t)f->max_patterns;
    return rc;
}

/* The row that a line's counts go to. */
static int store_pattern(struct flush *f, struct store *s, struct service *service,
                         const struct rollup_line *line, struct span instance, int64_t *id)
{
    struct span signature = line->signature;
    bool may = signature.len == 0;
    int rc = update_pattern(s, service->storing.id, signature, line, instance, id);
    if (rc == ERR_EMPTY && !may) {
        rc = may_add(f, s, service, &may);
        if (rc == 0 && !may) {
            signature = SPAN("");
            struct rollup_line rest = *line;
            rest.template_text = rest.family = SPAN("");
            rc = update_pattern(s, service->storing.id, signature, &rest, instance, id);
        } else if (rc == 0) {
            rc = ERR_EMPTY;
        }
    }
    if (rc != ERR_EMPTY)
        return rc;
    service->storing.patterns += signature.len > 0;
    return insert_pattern(s, service->storing.id, signature, line, instance, id);
}

static int store_counts(struct store *s, int64_t pattern, uint64_t minute,
                        const struct rollup_counts *c)
{
    /* One statement for all three would need a journal of its own in SQLite. */
    static const int64_t grains[] = {MINUTE_S, HOUR_S, DAY_S};
    int64_t at_s = (int64_t)minute * MINUTE_S;
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(grains) && rc == 0; i++) {
        const struct store_value v[] = {
            store_int(grains[i]),
            store_int(pattern),
            store_int(at_s - at_s % grains[i]),
            store_int((int64_t)c->received),
            store_int((int64_t)c->kept),
            store_int((int64_t)c->bytes),
            store_int((int64_t)c->kept_bytes),
        };
        rc = store_run(s,
                       "INSERT INTO counts (grain_s, pattern_id, start_s, received, kept, bytes, "
                       "kept_bytes) VALUES ($1, $2, $3, $4, $5, $6, $7) "
                       "ON CONFLICT (grain_s, pattern_id, start_s) DO UPDATE SET "
                       "received = counts.received + excluded.received, "
                       "kept = counts.kept + excluded.kept, bytes = counts.bytes + excluded.bytes, "
                       "kept_bytes = counts.kept_bytes + excluded.kept_bytes",
                       v, ARRAY_LEN(v), NULL, NULL);
    }
    return rc;
}

#define HEARD_MAX 8 /* minutes of teams that are remembered; a flush is of few */

struct writing {
    struct flush *flush;
    struct store *store;
    struct {
        int64_t team;
        uint64_t minute;
    } heard[HEARD_MAX];
    unsigned next_heard;
};

/* Minutes in which a team had records: what silence is measured by. */
static int note_heard(struct writing *w, int64_t team, uint64_t minute)
{
    const struct store_value v[] = {store_int(team), store_int((int64_t)minute * MINUTE_S)};
    for (unsigned i = 0; i < HEARD_MAX; i++)
        if (w->heard[i].team == team && w->heard[i].minute == minute)
            return 0;
    w->heard[w->next_heard].team = team;
    w->heard[w->next_heard].minute = minute;
    w->next_heard = (w->next_heard + 1) % HEARD_MAX;
    return store_run(w->store,
                     "INSERT INTO heard (team_id, start_s) VALUES ($1, $2) "
                     "ON CONFLICT (team_id, start_s) DO NOTHING",
                     v, ARRAY_LEN(v), NULL, NULL);
}

static int write_entry(void *ctx, const struct rollup_entry *e)
{
    struct writing *w = ctx;
    int64_t pattern;
    if (e->lines == 0)
        return 0; /* all that it had was counted already */
    int rc = store_pattern(w->flush, w->store, e->service, &e->line, e->instance, &pattern);
    if (rc == 0)
        rc = store_counts(w->store, pattern, e->minute, &e->line.counts);
    if (rc < 0 || e->line.counts.received == 0)
        return rc;
    return note_heard(w, e->service->team->id, e->minute);
}

/* ---- place ----------------------------------------------------- */

static int write_place(struct flush *f, struct store *s)
{
    const struct store_value v[] = {store_str(f->name), store_int((int64_t)f->place)};
    return store_run(s,
                     "INSERT INTO meta (name, value) VALUES ($1, $2) "
                     "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                     v, ARRAY_LEN(v), NULL, NULL);
}

/* Was it written by an attempt whose end was not heard? 1: yes. */
static int is_written(const struct flush *f, struct store *s)
{
    const struct store_value name = store_str(f->name);
    int64_t place = 0;
    int rc = store_number(s, "SELECT value FROM meta WHERE name = $1", &name, 1, &place);
    return rc == ERR_EMPTY ? 0 : rc < 0 ? rc : (uint64_t)place >= f->place;
}

static int write_all(struct flush *f, struct store *s)
{
    struct writing w = {.flush = f, .store = s};
    int rc = is_written(f, s);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = store_services(f, s);
    if (rc == 0)
        rc = claims_make(f, s);
    if (rc == 0)
        rc = rollup_each(&f->batch, write_entry, &w);
    for (const struct rollup_trouble *t = f->batch.troubles; t != NULL && rc == 0; t = t->next)
        rc = troubles_write(s, t->service->storing.id, t);
    for (const struct rollup_version *v = f->batch.versions; v != NULL && rc == 0; v = v->next)
        rc = novelty_write(s, v->service->storing.id, v);
    return rc < 0 ? rc : write_place(f, s);
}

int flush_write(struct flush *f, struct store *s)
{
    int rc = store_begin(s);
    return rc < 0 ? rc : store_end(s, write_all(f, s));
}

static int settle_entry(void *ctx, const struct rollup_entry *e)
{
    (void)ctx;
    e->service->id = e->service->storing.id;
    return 0;
}

void flush_settle(struct flush *f)
{
    ignore_code(rollup_each(&f->batch, settle_entry, NULL)); /* it never fails */
    for (const struct rollup_sender *one = f->batch.senders; one != NULL; one = one->next)
        one->service->id = one->service->storing.id;
    for (const struct rollup_trouble *one = f->batch.troubles; one != NULL; one = one->next)
        one->service->id = one->service->storing.id;
    for (const struct rollup_version *one = f->batch.versions; one != NULL; one = one->next)
        one->service->id = one->service->storing.id;
}

/* ---- retention ---------------------------------------------------------- */

static int forget_counts(struct store *s, int64_t grain_s, int64_t before_s, int64_t *rows)
{
    const struct store_value v[] = {store_int(grain_s), store_int(before_s),
                                    store_int(FORGET_ROWS)};
    int rc = store_run(s,
                       "DELETE FROM counts WHERE (grain_s, pattern_id, start_s) IN "
                       "(SELECT grain_s, pattern_id, start_s FROM counts "
                       "WHERE grain_s = $1 AND start_s < $2 LIMIT $3)",
                       v, ARRAY_LEN(v), NULL, NULL);
    if (rc == 0 && s->changed > *rows)
        *rows = s->changed;
    return rc;
}

static int forget_patterns(struct store *s, int64_t before_ms, int64_t *rows)
{
    const struct store_value v[] = {store_int(before_ms), store_int(FORGET_ROWS / 10)};
    int rc = store_run(s,
                       "DELETE FROM patterns WHERE id IN "
                       "(SELECT id FROM patterns WHERE last_seen_ms < $1 LIMIT $2)",
                       v, ARRAY_LEN(v), NULL, NULL);
    if (rc == 0 && s->changed * 10 > *rows)
        *rows = s->changed * 10;
    return rc;
}

static int forget_senders(struct store *s, int64_t before_ms)
{
    const struct store_value v = store_int(before_ms);
    return store_run(s, "DELETE FROM senders WHERE seen_ms < $1", &v, 1, NULL, NULL);
}

static int forget_heard(struct store *s, int64_t before_s)
{
    const struct store_value v = store_int(before_s);
    return store_run(s, "DELETE FROM heard WHERE start_s < $1", &v, 1, NULL, NULL);
}

#define DELIVERIES_KEEP_MS (2 * 86400000ll) /* they are tried for a day */

static int forget_alerts(struct store *s, int64_t now_ms, int64_t before_ms)
{
    const struct store_value v[] = {store_int(now_ms - DELIVERIES_KEEP_MS), store_int(before_ms)};
    int rc = store_run(s, "DELETE FROM deliveries WHERE created_ms < $1", v, 1, NULL, NULL);
    return rc < 0 ? rc
                  : store_run(s, "DELETE FROM alerts WHERE state = 'resolved' AND last_ms < $1",
                              v + 1, 1, NULL, NULL);
}

int flush_forget(const struct flush_retention *r, struct store *s, bool *is_done)
{
    const struct {
        int64_t grain_s, kept_ms;
    } rows[] = {{MINUTE_S, r->minutes_ms}, {HOUR_S, r->hours_ms}, {DAY_S, r->days_ms}};
    int64_t most = 0;
    int rc = store_begin(s);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < ARRAY_LEN(rows) && rc == 0; i++)
        rc = forget_counts(s, rows[i].grain_s, (r->now_ms - rows[i].kept_ms) / 1000, &most);
    if (rc == 0)
        rc = forget_patterns(s, r->now_ms - r->days_ms, &most);
    if (rc == 0)
        rc = forget_senders(s, r->now_ms - SENDERS_KEEP_MS);
    if (rc == 0)
        rc = forget_heard(s, (r->now_ms - r->minutes_ms) / 1000);
    if (rc == 0)
        rc = troubles_forget(s, (r->now_ms - r->minutes_ms) / 1000);
    if (rc == 0)
        rc = forget_alerts(s, r->now_ms, r->now_ms - r->days_ms);
    rc = store_end(s, rc);
    *is_done = rc < 0 || most < FORGET_ROWS;
    return rc;
}
