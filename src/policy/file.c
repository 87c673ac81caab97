/*
 * file: a watch on the directory, a slow poll, and one job on the thread pool.
 *
 *     event, poll, SIGHUP -> (settle) -> job: read, compare, parse -> install
 *
 * The content decides whether anything changed, not its time or inode: a file
 * that is written twice in one tick of the file system's clock has changed.
 */
#include "policy/file.h"

#include <stdlib.h>
#include <string.h>

#include "net/watch.h"
#include "util/buf.h"
#include "util/diag.h"
#include "util/hash.h"

#define SETTLE_MS 100 /* a file that is being written in place is read when that is over */
#define HASH_SEED 0x706f6c696379 /* "policy" */

enum handle { WATCH, SETTLE, POLL, HANDLE_COUNT };

struct policy_file {
    struct policy_file_opts opts;
    char *path, *dir;
    struct rules *base, *next_base; /* next: from the next job on; NULL: the same */
    uv_fs_event_t watch;
    uv_timer_t settle, poll;
    uv_work_t job;
    unsigned open_handles;
    bool busy, again, force, closing;
    struct policy_file_stats stats;

    /* The job's, while it is busy. */
    bool job_force, job_changed, job_read;
    uint64_t seen; /* hash of what was read last, good or bad; 0: it could not be read */
    int rc;
    struct rules *rules;
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

/* On the pool: nothing of the loop's is touched; base is immutable. */
static void on_job(uv_work_t *job)
{
    struct policy_file *f = container_of(job, struct policy_file, job);
    struct buf text = {0};
    f->err = (struct error){{0}};
    f->rules = NULL;
    f->rc = watch_read(f->path, POLICY_FILE_BYTES, &text, NULL, &f->err);
    f->job_read = f->rc == 0;
    uint64_t hash = f->job_read ? hash64_seeded(buf_span(&text), HASH_SEED) | 1 : 0;
    f->job_changed = f->job_force || hash != f->seen;
    f->seen = hash;
    if (f->job_read && f->job_changed)
        f->rc = policy_document_read_file(&f->rules, f->opts.visit, f->path, buf_span(&text),
                                          f->base, &f->notes, &f->err);
    buf_done(&text);
}

static void install(struct policy_file *f, struct rules *rules)
{
    char path[DIAG_QUOTE_BYTES];
    metric_inc(&f->stats.installed);
    f->stats.version = rules_version(rules);
    f->stats.installed_ms = clock_now_ms(f->opts.clock);
    f->opts.install(f->opts.ctx, rules);
    diag(DIAG_INFO, "policy_file", "the policy file is in force",
         "file=%s version=%lld foreign_keys=%u", diag_quote(path, span_str(f->path)),
         (long long)f->stats.version, f->notes.foreign_keys);
}

static void free_when_closed(struct policy_file *f)
{
    if (f->open_handles > 0 || f->busy)
        return;
    rules_unref(f->base);
    rules_unref(f->next_base);
    free(f->path);
    free(f->dir);
    free(f);
}

static void start(struct policy_file *f);

static void on_job_done(uv_work_t *job, int status)
{
    struct policy_file *f = container_of(job, struct policy_file, job);
    char why[DIAG_QUOTE_BYTES];
    f->busy = false;
    if (status == 0 && !f->closing && f->job_changed) {
        if (f->rc == 0)
            install(f, f->rules);
        else
            metric_inc(f->job_read ? &f->stats.invalid : &f->stats.unreadable);
        if (f->rc < 0)
            diag(DIAG_WARN, "policy_file_refused", "the last good policy stays", "reason=%s",
                 diag_quote(why, span_str(f->err.text[0] != '\0' ? f->err.text : err_text(f->rc))));
    }
    rules_unref(f->rules);
    f->rules = NULL;
    if (f->closing)
        free_when_closed(f);
    else if (f->again)
        start(f);
}

static void start(struct policy_file *f)
{
    f->again = f->busy;
    if (f->busy)
        return;
    f->job_force = f->force;
    f->force = false;
    if (f->next_base != NULL) {
        rules_unref(f->base);
        f->base = f->next_base;
        f->next_base = NULL;
    }
    f->busy = uv_queue_work(f->watch.loop, &f->job, on_job, on_job_done) == 0;
}

static void on_settled(uv_timer_t *timer)
{
    start(container_of(timer, struct policy_file, settle));
}

static void watch(struct policy_file *f);

static void on_poll(uv_timer_t *timer)
{
    struct policy_file *f = container_of(timer, struct policy_file, poll);
    watch(f); /* the directory itself may be another one by now */
    start(f);
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct policy_file *f = container_of(handle, struct policy_file, watch);
    (void)name; /* a swap of links comes with the link's name, not the file's */
    (void)events;
    if (status == 0)
        uv_timer_start(&f->settle, on_settled, SETTLE_MS, 0);
}

/* Where it cannot be watched, the poll is enough. */
static void watch(struct policy_file *f)
{
    uv_fs_event_stop(&f->watch);
    uv_fs_event_start(&f->watch, on_event, f->dir, 0);
}

static void on_closed(uv_handle_t *handle)
{
    struct policy_file *f = handle->data;
    f->open_handles--;
    free_when_closed(f);
}

void policy_file_close(struct policy_file *f)
{
    if (f == NULL)
        return;
    uv_handle_t *handles[HANDLE_COUNT] = {
        [WATCH] = (uv_handle_t *)&f->watch,
        [SETTLE] = (uv_handle_t *)&f->settle,
        [POLL] = (uv_handle_t *)&f->poll,
    };
    f->closing = true;
    for (size_t i = 0; i < HANDLE_COUNT; i++) {
        handles[i]->data = f;
        uv_close(handles[i], on_closed);
    }
}

int policy_file_open(struct policy_file **out, uv_loop_t *loop, const struct policy_file_opts *opts,
                     struct error *err)
{
    struct policy_file *f = calloc(1, sizeof *f);
    const char *slash = strrchr(opts->path, '/');
    if (f == NULL)
        return ERR_NOMEM;
    f->opts = *opts;
    f->path = strdup(opts->path);
    f->dir = slash == NULL
                 ? strdup(".")
                 : strndup(opts->path, slash == opts->path ? 1 : (size_t)(slash - opts->path));
    f->base = rules_ref(opts->base);
    f->job_force = true;
    if (f->path == NULL || f->dir == NULL)
        f->rc = ERR_NOMEM;
    else
        on_job(&f->job);
    if (f->rc < 0) {
        int rc = f->rc == ERR_NOMEM
                     ? f->rc
                     : err_set(err, ERR_CONFIG, "sampling.policy_file: %s", f->err.text);
        free_when_closed(f);
        return rc;
    }
    install(f, f->rules);
    rules_unref(f->rules);
    f->rules = NULL;

    uv_fs_event_init(loop, &f->watch);
    uv_timer_init(loop, &f->settle);
    uv_timer_init(loop, &f->poll);
    f->open_handles = HANDLE_COUNT;
    watch(f);
    uint32_t poll = opts->poll_ms > 0 ? opts->poll_ms : POLICY_FILE_POLL_MS;
    uv_timer_start(&f->poll, on_poll, poll, poll);
    *out = f;
    return 0;
}

void policy_file_reload(struct policy_file *f, const struct rules *base)
{
    if (base != NULL) {
        rules_unref(f->next_base);
        f->next_base = rules_ref(base);
    }
    f->force = true;
    start(f);
}

const struct policy_file_stats *policy_file_stats(const struct policy_file *f)
{
    return &f->stats;
}
