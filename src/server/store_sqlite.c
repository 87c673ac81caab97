/*
 * store_sqlite: the embedded database: one file, one connection.
 *
 * WAL, so that a look from outside (sqlite3, a backup) and we do not wait for each other;
 * synchronous=FULL, because what is committed takes the place of the journal of reports.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/store.h"

#define STATEMENTS_MAX 96 /* all that the server has; a later one is prepared each time */
#define BUSY_MS 2000      /* another process has the file open, to look at it */
#define COLUMNS_MAX 32
#define CACHE_KIB 4096 /* pages in memory */
#define PATH_BYTES 4096

struct sqlite_store {
    struct store store;
    sqlite3 *db;
    struct {
        const char *sql;
        sqlite3_stmt *statement;
    } kept[STATEMENTS_MAX];
    unsigned kept_count;
};

static const struct store_ops sqlite_ops;

static int code_of(int sqlite)
{
    switch (sqlite & 0xff) {
    case SQLITE_OK:
    case SQLITE_DONE:
    case SQLITE_ROW:
        return 0;
    case SQLITE_NOMEM:
        return ERR_NOMEM;
    case SQLITE_FULL:
        return ERR_DISK_FULL;
    case SQLITE_CONSTRAINT:
        return ERR_EMPTY;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_READONLY:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return ERR_UNAVAILABLE;
    default:
        return ERR_IO;
    }
}

static int fail(struct sqlite_store *s, int sqlite)
{
    int rc = code_of(sqlite);
    if (rc < 0)
        snprintf(s->store.failure, STORE_FAILURE_BYTES, "%d: %s", sqlite, sqlite3_errmsg(s->db));
    return rc;
}

/* *is_kept: it is not the caller's to finalize. */
static int prepare(struct sqlite_store *s, const char *sql, sqlite3_stmt **out, bool *is_kept)
{
    for (unsigned i = 0; i < s->kept_count; i++) {
        if (s->kept[i].sql != sql)
            continue;
        *out = s->kept[i].statement;
        *is_kept = true;
        return 0;
    }
    int sqlite = sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    if (sqlite != SQLITE_OK)
        return fail(s, sqlite);
    *is_kept = s->kept_count < STATEMENTS_MAX;
    if (*is_kept) {
        s->kept[s->kept_count].sql = sql;
        s->kept[s->kept_count++].statement = *out;
    }
    return 0;
}

static int bind(sqlite3_stmt *statement, int at, const struct store_value *v)
{
    switch (v->kind) {
    case STORE_INT:
        return sqlite3_bind_int64(statement, at, v->number);
    case STORE_REAL:
        return sqlite3_bind_double(statement, at, v->real);
    case STORE_TEXT: /* an empty text is not NULL */
        return sqlite3_bind_text(statement, at, v->text.len > 0 ? (const char *)v->text.base : "",
                                 (int)v->text.len, SQLITE_STATIC);
    case STORE_NULL:
        break;
    }
    return sqlite3_bind_null(statement, at);
}

static int bind_all(struct sqlite_store *s, sqlite3_stmt *statement,
                    const struct store_value *values, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "$%u", i + 1);
        int at = sqlite3_bind_parameter_index(statement, name);
        int sqlite = at == 0 ? SQLITE_MISUSE : bind(statement, at, &values[i]);
        if (sqlite != SQLITE_OK)
            return fail(s, sqlite);
    }
    return 0;
}

static unsigned read_row(sqlite3_stmt *statement, struct store_value row[COLUMNS_MAX])
{
    unsigned count = (unsigned)sqlite3_column_count(statement);
    for (unsigned i = 0; i < count && i < COLUMNS_MAX; i++) {
        int c = (int)i, type = sqlite3_column_type(statement, c);
        if (type == SQLITE_INTEGER)
            row[i] = store_int(sqlite3_column_int64(statement, c));
        else if (type == SQLITE_FLOAT)
            row[i] = store_real(sqlite3_column_double(statement, c));
        else if (type == SQLITE_NULL)
            row[i] = (struct store_value){0};
        else
            row[i] = store_text(span_of(sqlite3_column_text(statement, c),
                                        (size_t)sqlite3_column_bytes(statement, c)));
    }
    return count;
}

static int step_all(struct sqlite_store *s, sqlite3_stmt *statement, store_row_fn *fn, void *ctx)
{
    struct store_value row[COLUMNS_MAX];
    for (;;) {
        int sqlite = sqlite3_step(statement);
        if (sqlite != SQLITE_ROW)
            return fail(s, sqlite);
        read_row(statement, row);
        int rc = fn == NULL ? 0 : fn(ctx, row);
        if (rc != 0)
            return rc;
    }
}

static int sqlite_run(struct store *store, const char *sql, const struct store_value *values,
                      unsigned count, store_row_fn *fn, void *ctx)
{
    struct sqlite_store *s = container_of(store, struct sqlite_store, store);
    sqlite3_stmt *statement;
    bool is_kept = false;
    int rc = prepare(s, sql, &statement, &is_kept);
    if (rc < 0)
        return rc;
    rc = bind_all(s, statement, values, count);
    if (rc == 0)
        rc = step_all(s, statement, fn, ctx);
    store->changed = sqlite3_changes64(s->db);
    sqlite3_reset(statement); /* step_all() has said what was wrong */
    sqlite3_clear_bindings(statement);
    if (!is_kept)
        sqlite3_finalize(statement);
    return rc;
}

static int sqlite_script(struct store *store, struct span sql)
{
    struct sqlite_store *s = container_of(store, struct sqlite_store, store);
    char *text = strndup((const char *)sql.base, sql.len);
    int rc = text == NULL ? ERR_NOMEM : fail(s, sqlite3_exec(s->db, text, NULL, NULL, NULL));
    free(text);
    return rc;
}

static void sqlite_close(struct store *store)
{
    struct sqlite_store *s = container_of(store, struct sqlite_store, store);
    for (unsigned i = 0; i < s->kept_count; i++)
        sqlite3_finalize(s->kept[i].statement);
    sqlite3_close_v2(s->db);
    free(s);
}

static const struct store_ops sqlite_ops = {
    .run = sqlite_run,
    .script = sqlite_script,
    .close = sqlite_close,
    .begin = "BEGIN IMMEDIATE",
    .name = "sqlite",
};

/* Large sorts go to files, which are removed when they are open: beside the database, because the
 * sandbox leaves no other place. A path without a directory has the current one. */
static void sort_beside(const char *path)
{
    char directory[PATH_BYTES];
    const char *slash = strrchr(path, '/');
    if (slash == NULL || (size_t)(slash - path) >= sizeof directory)
        return;
    snprintf(directory, sizeof directory, "%.*s", (int)(slash - path), path);
    setenv("SQLITE_TMPDIR", directory, 1); /* without memory: as it was */
}

int store_open_sqlite(struct store **out, const char *path, struct error *err)
{
    struct sqlite_store *s = calloc(1, sizeof *s);
    char pragmas[256];
    if (s == NULL)
        return ERR_NOMEM;
    s->store.ops = &sqlite_ops;
    sort_beside(path);
    snprintf(pragmas, sizeof pragmas,
             "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
             "PRAGMA trusted_schema=OFF; PRAGMA cache_size=-%d;",
             CACHE_KIB);
    int rc = sqlite3_open_v2(
        path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(s->db, BUSY_MS);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(s->db, pragmas, NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_extended_result_codes(s->db, 1);
        *out = &s->store;
        return 0;
    }
    rc = err_set(err, ERR_UNAVAILABLE, "%.300s: %.150s", path,
                 s->db != NULL ? sqlite3_errmsg(s->db) : "no memory");
    sqlite_close(&s->store);
    return rc;
}
