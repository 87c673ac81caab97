/* tls_keeper: four watches, a moment of patience, and one job on the thread pool. */
#include "net/tls_keeper.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/watch.h"
#include "util/diag.h"
#include "util/secret.h"

#define SETTLE_MS 200 /* from the change of one file to the reading of all */
#define WARN_DAYS 14  /* before the certificate ends */
#define DAY_S INT64_C(86400)

enum { FILES = 4 };

struct tls_keeper {
    struct tls_keeper_opts opts;
    struct tls_port port;
    struct watch *watches[FILES];
    struct tls_keeper_stats stats;
    uv_timer_t settle;
    uv_work_t job;
    bool is_busy, again, is_timer_open, is_closing;

    /* The job's, while it is busy. */
    struct tls_context *next;
    int rc;
    struct error err;
};

static void log_state(const struct tls_keeper *k)
{
    const struct tls_context *c = k->port.context;
    int64_t left_s = tls_context_expires_s(c) - (int64_t)time(NULL);
    char file[DIAG_QUOTE_BYTES];
    diag_quote(file, span_str(k->opts.files.cert_file));
    diag(DIAG_INFO, "tls_certificate", "the certificate is in force",
         "setting=%s file=%s days_left=%lld", k->opts.prefix, file, (long long)(left_s / DAY_S));
    if (left_s < (int64_t)WARN_DAYS * DAY_S)
        diag(DIAG_WARN, "tls_certificate_ends",
             left_s <= 0 ? "the certificate has expired: clients will refuse it"
                         : "the certificate expires soon",
             "setting=%s file=%s days_left=%lld", k->opts.prefix, file,
             (long long)(left_s / DAY_S));
    if (tls_context_key_is_readable(c))
        diag(DIAG_WARN, "tls_key_readable", "other users may read the file of the key: chmod 600",
             "setting=%s.key_file", k->opts.prefix);
}

static void put_in_force(struct tls_keeper *k, struct tls_context *c)
{
    tls_context_unref(k->port.context);
    k->port.context = c;
    metric_inc(&k->stats.installed);
    log_state(k);
}

static void free_when_closed(struct tls_keeper *k)
{
    if (k->is_timer_open || k->is_busy)
        return;
    tls_context_unref(k->port.context);
    free(k);
}

/* ---- reading again ---- */

/* On the pool: nothing of the loop's is touched. */
static void on_job(uv_work_t *job)
{
    struct tls_keeper *k = container_of(job, struct tls_keeper, job);
    k->next = NULL;
    k->err = (struct error){{0}};
    k->rc = tls_context_load(&k->next, &k->opts.files, k->opts.prefix, &k->err);
}

static void start(struct tls_keeper *k);

static void on_job_done(uv_work_t *job, int status)
{
    struct tls_keeper *k = container_of(job, struct tls_keeper, job);
    char quoted[DIAG_QUOTE_BYTES];
    k->is_busy = false;
    if (status < 0 || k->is_closing) {
        if (status == 0 && k->rc == 0)
            tls_context_unref(k->next);
        free_when_closed(k);
        return;
    }
    if (k->rc == 0) {
        put_in_force(k, k->next);
    } else {
        metric_inc(&k->stats.refused);
        diag(DIAG_ERROR, "tls_certificate_refused", "the last good certificate stays", "reason=%s",
             diag_quote(quoted, span_str(k->err.text[0] != '\0' ? k->err.text : err_text(k->rc))));
    }
    if (k->again)
        start(k);
}

static void start(struct tls_keeper *k)
{
    k->again = k->is_busy;
    if (!k->is_busy)
        k->is_busy = uv_queue_work(k->settle.loop, &k->job, on_job, on_job_done) == 0;
}

static void on_settled(uv_timer_t *timer)
{
    start(container_of(timer, struct tls_keeper, settle));
}

/* What is wrong with a file is found, and said, when all are read. */
static void on_changed(void *ctx, int rc, struct span text, const struct error *err)
{
    struct tls_keeper *k = ctx;
    (void)rc;
    (void)text;
    (void)err;
    uv_timer_start(&k->settle, on_settled, SETTLE_MS, 0);
}

void tls_keeper_again(struct tls_keeper *k)
{
    start(k);
}

/* ---- life ---- */

static void on_closed(uv_handle_t *handle)
{
    struct tls_keeper *k = container_of((uv_timer_t *)handle, struct tls_keeper, settle);
    k->is_timer_open = false;
    free_when_closed(k);
}

void tls_keeper_close(struct tls_keeper *k)
{
    if (k == NULL)
        return;
    k->is_closing = true;
    for (size_t i = 0; i < FILES; i++)
        watch_close(k->watches[i]);
    uv_close((uv_handle_t *)&k->settle, on_closed);
}

/* The text that it has now is read before it is used: what changes after that is noticed. */
static int watch_file(struct tls_keeper *k, struct watch **out, const char *path)
{
    const struct watch_opts opts = {
        .path = path,
        .max_bytes = TLS_FILE_BYTES,
        .poll_ms = k->opts.poll_ms,
        .ctx = k,
        .changed = on_changed,
    };
    struct error err = {{0}};
    struct buf text = {0};
    if (path == NULL || path[0] == '\0')
        return 0;
    int rc = watch_read(path, TLS_FILE_BYTES, &text, NULL, &err);
    if (rc == 0 || rc == ERR_CONFIG)
        rc = watch_open(out, k->settle.loop, &opts, buf_span(&text));
    if (text.base != NULL)
        secret_wipe(text.base, text.cap);
    buf_done(&text);
    return rc;
}

int tls_keeper_open(struct tls_keeper **out, uv_loop_t *loop, const struct tls_keeper_opts *opts,
                    struct error *err)
{
    const char *paths[FILES] = {opts->files.cert_file, opts->files.key_file,
                                opts->files.client_ca_file, opts->files.crl_file};
    struct tls_keeper *k = calloc(1, sizeof *k);
    struct tls_context *c;
    if (k == NULL)
        return ERR_NOMEM;
    k->opts = *opts;
    k->port.is_required = opts->is_required;
    uv_timer_init(loop, &k->settle);
    k->is_timer_open = true;
    int rc = 0;
    for (size_t i = 0; i < FILES && rc == 0; i++)
        rc = watch_file(k, &k->watches[i], paths[i]);
    if (rc == 0)
        rc = tls_context_load(&c, &opts->files, opts->prefix, err);
    if (rc < 0) {
        tls_keeper_close(k);
        return rc;
    }
    put_in_force(k, c);
    *out = k;
    return 0;
}

const struct tls_port *tls_keeper_port(const struct tls_keeper *k)
{
    return &k->port;
}

struct tls_keeper_stats tls_keeper_stats(const struct tls_keeper *k)
{
    return k->stats;
}
