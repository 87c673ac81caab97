/*
 * store: the policy server's database, as one connection that runs SQL.
 *
 * Its homes are SQLite (store_sqlite.c) and PostgreSQL (store_postgres.c). Statements are written
 * once, in what SQLite and PostgreSQL share: $1 for parameters, ON CONFLICT, RETURNING. What
 * differs is in the migrations, a folder for each.
 *
 *     store_begin(s);
 *     store_run(s, "UPDATE t SET n = $1 WHERE id = $2", values, 2, NULL, NULL);
 *     store_end(s, rc);                       commits where rc is 0, else rolls back
 *
 * Units      times are Unix milliseconds.
 * Errors     ERR_UNAVAILABLE: not now (locked, read-only, gone); ERR_DISK_FULL; ERR_EMPTY: a unique
 *            or foreign key forbids it; ERR_IO: the statement is wrong, or the database damaged.
 *            store.failure says more, for the log: not written here, because the log is the loop's.
 * Ownership  texts of parameters are borrowed for the call, those of a row for its function.
 * Blocking   every call. One thread at a time: server/worker.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/err.h"
#include "util/span.h"

enum store_kind { STORE_NULL, STORE_INT, STORE_REAL, STORE_TEXT };

struct store_value {
    enum store_kind kind;
    int64_t number;
    double real;
    struct span text;
};

/* A row; not 0 ends the statement, and is what store_run() returns. */
typedef int store_row_fn(void *ctx, const struct store_value *row);

#define STORE_FAILURE_BYTES 240

struct store;

struct store_ops {
    int (*run)(struct store *s, const char *sql, const struct store_value *values, unsigned count,
               store_row_fn *fn, void *ctx);
    int (*script)(struct store *s, struct span sql); /* several statements, without values */
    void (*close)(struct store *s);
    const char *begin; /* the statement that takes the right to write */
    const char *name;  /* of the folder of migrations */
    const char *lock,
        *unlock;    /* statements: one server at a time migrates; NULL: there is but one */
    bool is_shared; /* other servers change it too */
};

struct store {
    const struct store_ops *ops;
    int64_t changed;                   /* rows, by the last statement */
    char failure[STORE_FAILURE_BYTES]; /* of the last that failed; "": none since it was emptied */
};

/* A file, made where it is missing. ERR_UNAVAILABLE. */
MUST_CHECK int store_open_sqlite(struct store **out, const char *path, struct error *err);

/* By a URL or a connection string of libpq. ERR_UNAVAILABLE. */
MUST_CHECK int store_open_postgres(struct store **out, const char *url, struct error *err);

void store_close(struct store *s); /* accepts NULL */

/* A connection of its own on which a shared database says at once that the audit log has grown. */
struct store_news;

/* On the store's thread: it connects. ERR_UNAVAILABLE. */
MUST_CHECK int store_news_open(struct store_news **out, struct store *s);
int store_news_fd(const struct store_news *n); /* readable: there may be something */
/* Never blocks. 1: it has grown; 0: nothing; ERR_UNAVAILABLE: the connection is lost. */
MUST_CHECK int store_news_read(struct store_news *n);
void store_news_close(struct store_news *n); /* accepts NULL */

/* Bring the tables up to this version of the program. ERR_CONFIG: they are of a later one. */
MUST_CHECK int store_migrate(struct store *s, int64_t now_ms, struct error *err);

/* `sql` is a constant: the statement is kept, prepared, under its address. */
MUST_CHECK static inline int store_run(struct store *s, const char *sql,
                                       const struct store_value *values, unsigned count,
                                       store_row_fn *fn, void *ctx)
{
    return s->ops->run(s, sql, values, count, fn, ctx);
}

MUST_CHECK int store_begin(struct store *s);
MUST_CHECK int store_end(struct store *s, int rc);

/* The first column of the first row, a number. ERR_EMPTY: no row, *out unchanged. */
MUST_CHECK int store_number(struct store *s, const char *sql, const struct store_value *values,
                            unsigned count, int64_t *out);

static inline struct store_value store_int(int64_t n)
{
    return (struct store_value){.kind = STORE_INT, .number = n};
}

static inline struct store_value store_real(double r)
{
    return (struct store_value){.kind = STORE_REAL, .real = r};
}

static inline struct store_value store_text(struct span text)
{
    return (struct store_value){.kind = STORE_TEXT, .text = text};
}

static inline struct store_value store_str(const char *text)
{
    return store_text(span_str(text));
}

/* A whole number or a broken one, as a double. */
static inline double store_as_real(const struct store_value *v)
{
    return v->kind == STORE_REAL ? v->real : (double)v->number;
}
