/*
 * store_postgres: a PostgreSQL database, for several servers, as one connection.
 *
 * Statements are prepared under numbers when they are first used, and again after a reconnect. A
 * connection that is lost is made again by the next transaction or statement outside of one. News
 * come on a connection of their own.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/store.h"
#include "util/buf.h"

#define STATEMENTS_MAX 96
#define COLUMNS_MAX 32
#define VALUES_MAX 32
#define NUMBER_BYTES 32
#define NAME_BYTES 16

/* Types of pg_type.dat whose text is a number. */
enum {
    TYPE_BOOL = 16,
    TYPE_INT8 = 20,
    TYPE_INT2 = 21,
    TYPE_INT4 = 23,
    TYPE_FLOAT4 = 700,
    TYPE_FLOAT8 = 701,
    TYPE_NUMERIC = 1700
};

struct postgres_store {
    struct store store;
    PGconn *conn;
    char *url;
    const char *kept[STATEMENTS_MAX]; /* by number */
    unsigned kept_count;
    bool in_transaction;
};

/* ---- errors ------------------------------------------------------------- */

/* By SQLSTATE, or the class that it begins with. The first that fits. */
static const struct {
    const char *state;
    int rc;
} codes[] = {
    {"53100", ERR_DISK_FULL},   {"23", ERR_EMPTY},
    {"25006", ERR_UNAVAILABLE}, /* read-only: a standby */
    {"40", ERR_UNAVAILABLE},    /* a deadlock between servers */
    {"53", ERR_UNAVAILABLE},    {"55", ERR_UNAVAILABLE},
    {"57", ERR_UNAVAILABLE},    {"58", ERR_UNAVAILABLE},
    {"08", ERR_UNAVAILABLE},
};

static int fail(struct postgres_store *s, const PGresult *result)
{
    const char *state = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = result == NULL ? PQerrorMessage(s->conn) : PQresultErrorMessage(result);
    int rc = state == NULL || PQstatus(s->conn) != CONNECTION_OK ? ERR_UNAVAILABLE : ERR_IO;
    for (size_t i = 0; state != NULL && i < ARRAY_LEN(codes); i++) {
        if (strncmp(state, codes[i].state, strlen(codes[i].state)) != 0)
            continue;
        rc = codes[i].rc;
        break;
    }
    snprintf(s->store.failure, STORE_FAILURE_BYTES, "%s: %.*s", state == NULL ? "none" : state,
             (int)strcspn(text, "\n"), text);
    return rc;
}

static int check(struct postgres_store *s, PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    bool is_good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    int rc = is_good ? 0 : fail(s, result);
    return rc;
}

/* A connection that was lost inside of a transaction takes it along. */
static int connect_again(struct postgres_store *s)
{
    if (PQstatus(s->conn) == CONNECTION_OK)
        return 0;
    if (s->in_transaction)
        return ERR_UNAVAILABLE;
    PQreset(s->conn);
    s->kept_count = 0;
    return PQstatus(s->conn) == CONNECTION_OK ? 0 : fail(s, NULL);
}

/* ---- statements ---------------------------------------------------------- */

static int prepare(struct postgres_store *s, const char *sql, char name[NAME_BYTES])
{
    for (unsigned i = 0; i < s->kept_count; i++) {
        if (s->kept[i] != sql)
            continue;
        snprintf(name, NAME_BYTES, "s%u", i);
        return 0;
    }
    name[0] = '\0'; /* the statement without a name: until the next such */
    bool is_kept = s->kept_count < STATEMENTS_MAX;
    if (is_kept)
        snprintf(name, NAME_BYTES, "s%u", s->kept_count);
    PGresult *result = PQprepare(s->conn, name, sql, 0, NULL);
    int rc = check(s, result);
    PQclear(result);
    if (rc == 0 && is_kept)
        s->kept[s->kept_count++] = sql;
    return rc;
}

/* Values as text, one behind the other. A NUL cannot be in PostgreSQL's text. */
static int write_values(struct buf *out, const struct store_value *values, unsigned count,
                        size_t at[VALUES_MAX])
{
    for (unsigned i = 0; i < count; i++) {
        const struct store_value *v = &values[i];
        at[i] = out->len;
        if (v->kind == STORE_INT)
            buf_printf(out, "%lld", (long long)v->number);
        else if (v->kind == STORE_REAL)
            buf_printf(out, "%.17g", v->real);
        for (size_t k = 0; v->kind == STORE_TEXT && k < v->text.len; k++)
            buf_append_byte(out, v->text.base[k] == 0 ? ' ' : v->text.base[k]);
        buf_append_byte(out, '\0');
    }
    return out->err;
}

static PGresult *execute(struct postgres_store *s, const char *name,
                         const struct store_value *values, unsigned count)
{
    const char *texts[VALUES_MAX];
    size_t at[VALUES_MAX];
    struct buf all = {0};
    if (count > VALUES_MAX || write_values(&all, values, count, at) < 0) {
        buf_done(&all);
        return NULL;
    }
    for (unsigned i = 0; i < count; i++)
        texts[i] = values[i].kind == STORE_NULL ? NULL : (const char *)all.base + at[i];
    PGresult *result = PQexecPrepared(s->conn, name, (int)count, texts, NULL, NULL, 0);
    buf_done(&all);
    return result;
}

static struct store_value value_at(const PGresult *result, int row, int column)
{
    const char *text = PQgetvalue(result, row, column);
    if (PQgetisnull(result, row, column))
        return (struct store_value){0};
    switch (PQftype(result, column)) {
    case TYPE_INT8:
    case TYPE_INT4:
    case TYPE_INT2:
        return store_int(strtoll(text, NULL, 10));
    case TYPE_FLOAT8:
    case TYPE_FLOAT4:
    case TYPE_NUMERIC:
        return store_real(strtod(text, NULL));
    case TYPE_BOOL:
        return store_int(text[0] == 't');
    default:
        return store_text(span_of(text, (size_t)PQgetlength(result, row, column)));
    }
}

static int show_rows(const PGresult *result, store_row_fn *fn, void *ctx)
{
    struct store_value row[COLUMNS_MAX];
    int columns = PQnfields(result), rc = 0;
    for (int i = 0; fn != NULL && i < PQntuples(result) && rc == 0; i++) {
        for (int c = 0; c < columns && c < COLUMNS_MAX; c++)
            row[c] = value_at(result, i, c);
        rc = fn(ctx, row);
    }
    return rc;
}

/* BEGIN, COMMIT and ROLLBACK: what happens to the transaction. */
static void follow_transaction(struct postgres_store *s, const char *sql)
{
    if (sql == s->store.ops->begin)
        s->in_transaction = true;
    else if (strcmp(sql, "COMMIT") == 0 || strcmp(sql, "ROLLBACK") == 0)
        s->in_transaction = false;
}

static int postgres_run(struct store *store, const char *sql, const struct store_value *values,
                        unsigned count, store_row_fn *fn, void *ctx)
{
    struct postgres_store *s = container_of(store, struct postgres_store, store);
    char name[NAME_BYTES];
    int rc = connect_again(s);
    if (rc == 0)
        rc = prepare(s, sql, name);
    if (rc < 0) {
        if (strcmp(sql, "ROLLBACK") == 0)
            s->in_transaction = false; /* it went with its connection */
        return rc;
    }
    PGresult *result = execute(s, name, values, count);
    if (result == NULL)
        return ERR_NOMEM;
    rc = check(s, result);
    if (rc == 0 || strcmp(sql, "COMMIT") == 0)
        follow_transaction(s, sql);
    store->changed = atoll(PQcmdTuples(result));
    if (rc == 0)
        rc = show_rows(result, fn, ctx);
    PQclear(result);
    return rc;
}

static int postgres_script(struct store *store, struct span sql)
{
    struct postgres_store *s = container_of(store, struct postgres_store, store);
    char *text = strndup((const char *)sql.base, sql.len);
    if (text == NULL)
        return ERR_NOMEM;
    PGresult *result = PQexec(s->conn, text);
    int rc = result == NULL ? ERR_NOMEM : check(s, result);
    PQclear(result);
    free(text);
    return rc;
}

static void postgres_close(struct store *store)
{
    struct postgres_store *s = container_of(store, struct postgres_store, store);
    PQfinish(s->conn);
    free(s->url);
    free(s);
}

static void on_notice(void *ctx, const char *message)
{
    (void)ctx;
    (void)message; /* "relation already exists, skipping" and the like */
}

static const struct store_ops postgres_ops = {
    .run = postgres_run,
    .script = postgres_script,
    .close = postgres_close,
    .begin = "BEGIN",
    .name = "postgres",
    .lock = "SELECT 1 FROM (SELECT pg_advisory_lock(7806951403)) AS taken",
    .unlock = "SELECT 1 FROM (SELECT pg_advisory_unlock(7806951403)) AS given",
    .is_shared = true,
};

static PGconn *connect_to(const char *url)
{
    /* Keywords behind dbname win over what the URL does not say. */
    static const char *const names[] = {"dbname",          "application_name", "connect_timeout",
                                        "client_encoding", "keepalives_idle",  NULL};
    const char *values[] = {url, "lipservice", "5", "UTF8", "30", NULL};
    PGconn *conn = PQconnectdbParams(names, values, 1);
    if (conn != NULL)
        PQsetNoticeProcessor(conn, on_notice, NULL);
    return conn;
}

int store_open_postgres(struct store **out, const char *url, struct error *err)
{
    struct postgres_store *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->store.ops = &postgres_ops;
    s->url = strdup(url);
    s->conn = s->url == NULL ? NULL : connect_to(url);
    if (s->conn != NULL && PQstatus(s->conn) == CONNECTION_OK) {
        *out = &s->store;
        return 0;
    }
    const char *why = s->conn == NULL ? "no memory" : PQerrorMessage(s->conn);
    int rc = err_set(err, ERR_UNAVAILABLE, "server.database: %.*s", (int)strcspn(why, "\n"), why);
    postgres_close(&s->store);
    return rc;
}

/* ---- news --------------------------------------------------------------- */

struct store_news {
    PGconn *conn;
};

int store_news_open(struct store_news **out, struct store *store)
{
    struct postgres_store *s = container_of(store, struct postgres_store, store);
    struct store_news *n = calloc(1, sizeof *n);
    if (n == NULL)
        return ERR_NOMEM;
    n->conn = connect_to(s->url);
    PGresult *result = n->conn == NULL ? NULL : PQexec(n->conn, "LISTEN lipservice_audit");
    bool is_good = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    if (!is_good) {
        store_news_close(n);
        return ERR_UNAVAILABLE;
    }
    *out = n;
    return 0;
}

int store_news_fd(const struct store_news *n)
{
    return PQsocket(n->conn);
}

int store_news_read(struct store_news *n)
{
    int count = 0;
    bool is_there = PQconsumeInput(n->conn) != 0 && PQstatus(n->conn) == CONNECTION_OK;
    for (PGnotify *one; (one = PQnotifies(n->conn)) != NULL; count++)
        PQfreemem(one);
    return count > 0 ? 1 : is_there ? 0 : ERR_UNAVAILABLE;
}

void store_news_close(struct store_news *n)
{
    if (n == NULL)
        return;
    PQfinish(n->conn);
    free(n);
}
