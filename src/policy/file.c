/*
 * file: a policy file that is watched (net/watch.h), parsed on the thread pool, and installed.
 */
#include "policy/file.h"

#include <stdlib.h>
#include <string.h>

#include "net/watch.h"
#include "util/buf.h"
#include "util/diag.h"

struct policy_file {
    struct policy_file_opts opts;
    char *path;
    struct watch *watch;
    struct rules *base, *next_base; /* next: from the next reading on; NULL: the same */
    struct policy_file_stats stats;

    /* The pool's, while the watch reads. */
    int rc;
    struct rules *rules; /* NULL: there are none to install */
    struct policy_notes notes;
    struct error err;
};

int policy_file_load(struct rules **out, const char *path, policy_visit_fn *visit,
                     const struct rules *base, struct policy_notes *notes, struct error *err)
{
    struct buf text = {0};
    int rc = watch_read(path, POLICY_FILE_BYTES, &text, NULL, err);
    if (rc == 0 &&
        policy_document_read_file(out, visit, path, buf_span(&text), base, notes, err) < 0)
        rc = ERR_CONFIG;
    buf_done(&text);
    return rc;
}

static void install(struct policy_file *f)
{
    char path[DIAG_QUOTE_BYTES];
    metric_inc(&f->stats.installed);
    f->stats.version = rules_version(f->rules);
    f->stats.installed_ms = clock_now_ms(f->opts.clock);
    f->opts.install(f->opts.ctx, f->rules);
    rules_unref(f->rules);
    f->rules = NULL;
    diag(DIAG_INFO, "policy_file", "the policy file is in force",
         "file=%s version=%lld foreign_keys=%u", diag_quote(path, span_str(f->path)),
         (long long)f->stats.version, f->notes.foreign_keys);
}

static void on_begin(void *ctx)
{
    struct policy_file *f = ctx;
    if (f->next_base == NULL)
        return;
    rules_unref(f->base);
    f->base = f->next_base;
    f->next_base = NULL;
}

/* On the pool: nothing of the loop's is touched; base is immutable. */
static void on_prepare(void *ctx, struct span text)
{
    struct policy_file *f = ctx;
    f->err = (struct error){{0}};
    f->rc = policy_document_read_file(&f->rules, f->opts.visit, f->path, text, f->base, &f->notes,
                                      &f->err);
}

static void on_changed(void *ctx, int rc, struct span text, const struct error *err)
{
    struct policy_file *f = ctx;
    char why[DIAG_QUOTE_BYTES];
    (void)text; /* it was parsed by on_prepare() */
    if (rc == 0 && f->rc == 0) {
        install(f);
        return;
    }
    metric_inc(rc < 0 ? &f->stats.unreadable : &f->stats.invalid);
    const char *reason = rc < 0 ? err->text : f->err.text;
    diag(DIAG_WARN, "policy_file_refused", "the last good policy stays", "reason=%s",
         diag_quote(why, span_str(reason[0] != '\0' ? reason : err_text(rc < 0 ? rc : f->rc))));
}

static void on_closed(void *ctx)
{
    struct policy_file *f = ctx;
    rules_unref(f->rules);
    rules_unref(f->base);
    rules_unref(f->next_base);
    free(f->path);
    free(f);
}

/* As the watch would, for the first time. */
static int read_first(struct policy_file *f, struct buf *text)
{
    int rc = watch_read(f->path, POLICY_FILE_BYTES, text, NULL, &f->err);
    if (rc == 0) {
        on_prepare(f, buf_span(text));
        rc = f->rc;
    }
    return rc;
}

int policy_file_open(struct policy_file **out, uv_loop_t *loop, const struct policy_file_opts *opts,
                     struct error *err)
{
    struct policy_file *f = calloc(1, sizeof *f);
    struct buf text = {0};
    if (f == NULL)
        return ERR_NOMEM;
    f->opts = *opts;
    f->base = rules_ref(opts->base);
    f->path = strdup(opts->path);
    const struct watch_opts watch = {
        .path = opts->path,
        .max_bytes = POLICY_FILE_BYTES,
        .poll_ms = opts->poll_ms,
        .ctx = f,
        .begin = on_begin,
        .prepare = on_prepare,
        .changed = on_changed,
        .closed = on_closed,
    };
    int rc = f->path == NULL ? ERR_NOMEM : read_first(f, &text);
    if (rc < 0 && rc != ERR_NOMEM)
        rc = err_set(err, ERR_CONFIG, "sampling.policy_file: %s", f->err.text);
    if (rc == 0)
        rc = watch_open(&f->watch, loop, &watch, buf_span(&text));
    buf_done(&text);
    if (rc < 0) {
        on_closed(f);
        return rc;
    }
    install(f);
    *out = f;
    return 0;
}

void policy_file_reload(struct policy_file *f, const struct rules *base)
{
    if (base != NULL) {
        rules_unref(f->next_base);
        f->next_base = rules_ref(base);
    }
    watch_again(f->watch);
}

void policy_file_close(struct policy_file *f)
{
    if (f != NULL)
        watch_close(f->watch);
}

const struct policy_file_stats *policy_file_stats(const struct policy_file *f)
{
    return &f->stats;
}
