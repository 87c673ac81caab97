/* start: the database is opened, and what it knows is read, before the loop runs. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "export/disk.h"
#include "server/key_text.h"
#include "server/server_state.h"
#include "util/diag.h"
#include "util/secret.h"

#define PATH_BYTES (CONFIG_TEXT_BYTES + 32)
#define FIRST_TEAM "default"

/* ---- rows --------------------------------------------------------------- */

static int load_team(void *ctx, const struct store_value *row)
{
    struct server *s = ctx;
    return registry_add_team(&s->registry, row[0].number, row[1].text, row[2].number != 0);
}

static int load_key(void *ctx, const struct store_value *row)
{
    struct server *s = ctx;
    struct key key = {.id = row[0].number,
                      .team = registry_team(&s->registry, row[1].number),
                      .ends_ms = row[4].kind == STORE_NULL ? INT64_MAX : row[4].number};
    if (key.team == NULL || !role_parse(row[2].text, &key.role) ||
        key_text_from_hex(row[3].text, key.sha256) < 0)
        return 0; /* of a later version: it opens nothing here */
    return registry_add_key(&s->registry, &key);
}

static int load_service(void *ctx, const struct store_value *row)
{
    struct server *s = ctx;
    struct service *service;
    struct team *team = registry_team(&s->registry, row[1].number);
    if (team == NULL)
        return 0;
    int rc = registry_add_service(&s->registry, team, row[2].text, row[0].number, &service);
    return rc < 0 || row[3].kind == STORE_NULL
               ? rc
               : registry_set_policy(&s->registry, service, row[3].number, row[4].text);
}

static int load_sender(void *ctx, const struct store_value *row)
{
    struct server *s = ctx;
    const struct team *team = registry_team(&s->registry, row[0].number);
    const struct service *service =
        team == NULL ? NULL : registry_find_service(&s->registry, team, row[1].text);
    return service == NULL ? 0
                           : senders_restore(&s->senders, service, row[2].text, row[3].text,
                                             (uint64_t)row[4].number, row[5].number);
}

static int load(struct server *s, struct error *err)
{
    const struct store_value now = store_int(server_unix_ms(s));
    const struct {
        const char *sql;
        store_row_fn *fn;
        unsigned values;
    } tables[] = {
        {"SELECT id, name, is_operator FROM teams ORDER BY id", load_team, 0},
        {"SELECT id, team_id, role, sha256, ends_ms FROM keys "
         "WHERE ends_ms IS NULL OR ends_ms > $1",
         load_key, 1},
        {"SELECT s.id, s.team_id, s.name, p.version, p.document FROM services s "
         "LEFT JOIN policies p ON p.service_id = s.id AND p.is_active = 1",
         load_service, 0},
        {"SELECT s.team_id, s.name, r.instance, r.boot, r.sequence, r.seen_ms FROM senders r "
         "JOIN services s ON s.id = r.service_id",
         load_sender, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        int rc = store_run(s->store, tables[i].sql, &now, tables[i].values, tables[i].fn, s);
        if (rc == ERR_FULL)
            return err_set(err, ERR_CONFIG,
                           "memory.limit or server.max_services: too low for what is in the "
                           "database");
        if (rc < 0)
            return err_set(err, rc, "the database cannot be read: %s (%s)", err_text(rc),
                           s->store->failure);
    }
    return 0;
}

/* ---- the first key ------------------------------------------------------- */

static int insert_first(struct server *s, const char *hex)
{
    const struct store_value v[] = {store_str(FIRST_TEAM), store_int(server_unix_ms(s)),
                                    store_str(hex)};
    int rc = store_begin(s->store);
    if (rc < 0)
        return rc;
    rc = store_run(s->store,
                   "INSERT INTO teams (id, name, is_operator, created_ms) VALUES (1, $1, 1, $2)", v,
                   2, NULL, NULL);
    if (rc == 0)
        rc = store_run(s->store,
                       "INSERT INTO keys (team_id, role, name, sha256, created_ms) "
                       "VALUES (1, 'admin', 'first', $2, $1)",
                       v + 1, 2, NULL, NULL);
    if (rc == 0)
        rc = store_run(s->store,
                       "INSERT INTO audit (at_ms, team_id, key_id, action, subject, detail) "
                       "VALUES ($1, 1, 0, 'key.create', 'first', 'admin')",
                       v + 1, 1, NULL, NULL);
    return store_end(s->store, rc);
}

/* A database without a team gets one, and the key of its first admin. It is printed on standard
 * output, once, where it was not given. */
static int make_first_key(struct server *s, struct error *err)
{
    int64_t teams = 0;
    char text[KEY_TEXT_BYTES], hex[KEY_HEX_BYTES];
    uint8_t sha256[DIGEST_SHA256_BYTES];
    const char *given = s->cfg->server.first_key;
    int rc = store_number(s->store, "SELECT COUNT(*) FROM teams", NULL, 0, &teams);
    if (rc < 0 || teams > 0)
        return rc;
    if (given[0] == '\0')
        rc = key_text_make(text);
    if (rc == 0)
        rc = key_text_digest(given[0] != '\0' ? given : text, sha256, hex);
    if (rc == 0)
        rc = insert_first(s, hex);
    if (rc == 0 && given[0] == '\0') {
        printf("The key of the first admin, of team 1. It is shown once:\n\n    %s\n\n", text);
        fflush(stdout);
    }
    secret_wipe(text, sizeof text);
    return rc < 0 ? err_set(err, rc, "the first key could not be made: %s", err_text(rc)) : 0;
}

/* ---- who this is among servers of one database --------------------------- */

/* A random name that stays with the directory, as its journal does. */
static int name_replica(struct server *s, const char *directory, struct error *err)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/replica", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ssize_t n = fd < 0 ? -1 : read(fd, s->replica, sizeof s->replica - 1);
    if (n == 0) {
        snprintf(s->replica, sizeof s->replica, "%016llx", (unsigned long long)rng_next(&s->rng));
        n = (ssize_t)strlen(s->replica);
        if (write(fd, s->replica, (size_t)n) != n || fsync(fd) < 0)
            n = -1;
    }
    if (fd >= 0)
        close(fd);
    return n > 0 ? 0 : err_set(err, ERR_UNAVAILABLE, "%.300s: %s", path, strerror(errno));
}

/* ---- parts -------------------------------------------------------------- */

int start_store(struct server *s, struct error *err)
{
    char path[PATH_BYTES];
    const char *directory = s->cfg->server.directory;
    struct registry *r = &s->registry;
    registry_init(r, &s->budget);
    r->max_services = s->cfg->server.max_services;
    r->requests_per_second = s->cfg->server.requests_per_second;
    senders_init(&s->senders, &s->budget);
    int rc = disk_make_directory(directory);
    if (rc < 0)
        return err_set(err, ERR_UNAVAILABLE, "server.directory: '%.300s' cannot be made: %s",
                       directory, err_text(rc));
    rc = name_replica(s, directory, err);
    if (rc < 0)
        return rc;
    snprintf(path, sizeof path, "%s/lipservice.db", directory);
    rc = s->cfg->server.database[0] != '\0'
             ? store_open_postgres(&s->store, s->cfg->server.database, err)
             : store_open_sqlite(&s->store, path, err);
    if (rc == 0)
        rc = store_migrate(s->store, server_unix_ms(s), err);
    if (rc == 0)
        rc = make_first_key(s, err);
    return rc < 0 ? rc : load(s, err);
}

void start_release(struct server *s)
{
    store_close(s->store);
    s->store = NULL;
    senders_done(&s->senders);
    registry_done(&s->registry);
}

/* What a file held is written before the next is read: memory holds one at a time. */
static int on_file_over(void *ctx, uint64_t next)
{
    struct server *s = ctx;
    struct flush f = {.attempt = ++s->flushing.attempts,
                      .name = s->replica,
                      .place = next,
                      .now_ms = server_unix_ms(s),
                      .max_patterns = s->cfg->server.max_patterns,
                      .receipts = s->receipts};
    rollup_init(&f.batch, &s->budget);
    rollup_take(&f.batch, &s->rollup);
    int rc = flush_write(&f, s->store);
    if (rc == 0) {
        flush_settle(&f);
        intake_note_elsewhere(s, &f);
    }
    rollup_done(&f.batch);
    return rc;
}

int start_replay(struct server *s, struct error *err)
{
    const struct store_value name = store_str(s->replica);
    int64_t place = 0;
    int rc = store_number(s->store, "SELECT value FROM meta WHERE name = $1", &name, 1, &place);
    if (rc == ERR_EMPTY)
        rc = 0;
    if (rc == 0)
        rc = receipts_replay(s->receipts, (uint64_t)place, intake_replay, on_file_over, s);
    if (rc < 0)
        return err_set(err, rc, "reports of before could not be read: %s", err_text(rc));
    int64_t next = place;
    rc = store_number(s->store, "SELECT value FROM meta WHERE name = $1", &name, 1, &next);
    if (rc == 0)
        receipts_forget(s->receipts, (uint64_t)next);
    return rc == ERR_EMPTY ? 0 : rc;
}
