/*
 * watch: a watch on the directory, a slow poll, and one job on the thread pool.
 *
 *     event, poll, again -> (settle) -> job: read, compare, prepare() -> changed()
 */
#include "net/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/hash.h"
#include "util/secret.h"

#define SETTLE_MS 100          /* a file that is being written in place is read when that is over */
#define HASH_SEED 0x7761746368 /* "watch" */

enum handle { EVENT, SETTLE, POLL, HANDLE_COUNT };

struct watch {
    struct watch_opts opts;
    char *path, *dir;
    uv_fs_event_t event;
    uv_timer_t settle, poll;
    uv_work_t job;
    unsigned open_handles;
    bool busy, again, force, closing;

    /* The job's, while it is busy. */
    bool job_force, job_changed;
    uint64_t seen; /* hash of what was read last; 0: it could not be read */
    int rc;
    struct buf text;
    struct error err;
};

static void wipe(struct buf *text)
{
    if (text->base != NULL)
        secret_wipe(text->base, text->cap);
    buf_done(text);
}

/* A buffer that grows leaves what it held behind, so its room is made first. */
static int read_all(int fd, size_t max_bytes, struct buf *out)
{
    ssize_t n;
    int rc = buf_reserve_exact(out, max_bytes + 1);
    if (rc < 0)
        return rc;
    do {
        n = read(fd, out->base + out->len, out->cap - out->len);
        if (n > 0)
            out->len += (size_t)n;
    } while ((n > 0 && out->len < out->cap) || (n < 0 && errno == EINTR));
    return n < 0 ? uv_translate_sys_error(errno) : out->len > max_bytes ? ERR_TOO_BIG : 0;
}

int watch_read(const char *path, size_t max_bytes, struct buf *out, unsigned *mode,
               struct error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang us */
    if (fd < 0)
        return err_set(err, ERR_CONFIG, "cannot read '%.200s': %s", path, strerror(errno));
    int rc = fstat(fd, &st) < 0 ? uv_translate_sys_error(errno) : read_all(fd, max_bytes, out);
    close(fd);
    if (rc == 0 && mode != NULL)
        *mode = (unsigned)st.st_mode & 07777;
    if (rc == 0)
        return 0;
    wipe(out);
    if (rc == ERR_TOO_BIG)
        return err_set(err, ERR_CONFIG, "'%.200s' is larger than %zu bytes", path, max_bytes);
    return err_set(err, ERR_CONFIG, "cannot read '%.200s': %s", path,
                   rc == ERR_NOMEM ? err_text(rc) : uv_strerror(rc));
}

static uint64_t hash_of(struct span text)
{
    return hash64_seeded(text, HASH_SEED) | 1;
}

/* On the pool: nothing of the loop's is touched. */
static void on_job(uv_work_t *job)
{
    struct watch *w = container_of(job, struct watch, job);
    w->err = (struct error){{0}};
    w->text = (struct buf){0};
    w->rc = watch_read(w->path, w->opts.max_bytes, &w->text, NULL, &w->err);
    uint64_t hash = w->rc == 0 ? hash_of(buf_span(&w->text)) : 0;
    w->job_changed = w->job_force || hash != w->seen;
    w->seen = hash;
    if (w->job_changed && w->rc == 0 && w->opts.prepare != NULL)
        w->opts.prepare(w->opts.ctx, buf_span(&w->text));
}

static void free_when_closed(struct watch *w)
{
    if (w->open_handles > 0 || w->busy)
        return;
    if (w->closing && w->opts.closed != NULL)
        w->opts.closed(w->opts.ctx);
    free(w->path);
    free(w->dir);
    free(w);
}

static void start(struct watch *w);

static void on_job_done(uv_work_t *job, int status)
{
    struct watch *w = container_of(job, struct watch, job);
    w->busy = false;
    if (status == 0 && !w->closing && w->job_changed)
        w->opts.changed(w->opts.ctx, w->rc, buf_span(&w->text), &w->err);
    wipe(&w->text);
    if (w->closing)
        free_when_closed(w);
    else if (w->again)
        start(w);
}

static void start(struct watch *w)
{
    w->again = w->busy;
    if (w->busy)
        return;
    w->job_force = w->force;
    w->force = false;
    if (w->opts.begin != NULL)
        w->opts.begin(w->opts.ctx);
    w->busy = uv_queue_work(w->event.loop, &w->job, on_job, on_job_done) == 0;
}

static void on_settled(uv_timer_t *timer)
{
    start(container_of(timer, struct watch, settle));
}

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct watch *w = container_of(handle, struct watch, event);
    (void)name; /* a swap of links comes with the link's name, not the file's */
    (void)events;
    if (status == 0)
        uv_timer_start(&w->settle, on_settled, SETTLE_MS, 0);
}

/* Where it cannot be watched, the poll is enough. */
static void look(struct watch *w)
{
    uv_fs_event_stop(&w->event);
    uv_fs_event_start(&w->event, on_event, w->dir, 0);
}

static void on_poll(uv_timer_t *timer)
{
    struct watch *w = container_of(timer, struct watch, poll);
    look(w); /* the directory itself may be another one by now */
    start(w);
}

int watch_open(struct watch **out, uv_loop_t *loop, const struct watch_opts *opts, struct span text)
{
    struct watch *w = calloc(1, sizeof *w);
    const char *slash = strrchr(opts->path, '/');
    if (w == NULL)
        return ERR_NOMEM;
    w->opts = *opts;
    w->path = strdup(opts->path);
    w->dir = slash == NULL
                 ? strdup(".")
                 : strndup(opts->path, slash == opts->path ? 1 : (size_t)(slash - opts->path));
    if (w->path == NULL || w->dir == NULL) {
        free_when_closed(w);
        return ERR_NOMEM;
    }
    w->opts.path = w->path;
    w->seen = hash_of(text);
    uv_fs_event_init(loop, &w->event);
    uv_timer_init(loop, &w->settle);
    uv_timer_init(loop, &w->poll);
    w->open_handles = HANDLE_COUNT;
    look(w);
    uint32_t poll = opts->poll_ms > 0 ? opts->poll_ms : WATCH_POLL_MS;
    uv_timer_start(&w->poll, on_poll, poll, poll);
    *out = w;
    return 0;
}

void watch_again(struct watch *w)
{
    w->force = true;
    start(w);
}

static void on_closed(uv_handle_t *handle)
{
    struct watch *w = handle->data;
    w->open_handles--;
    free_when_closed(w);
}

void watch_close(struct watch *w)
{
    if (w == NULL)
        return;
    uv_handle_t *handles[HANDLE_COUNT] = {
        [EVENT] = (uv_handle_t *)&w->event,
        [SETTLE] = (uv_handle_t *)&w->settle,
        [POLL] = (uv_handle_t *)&w->poll,
    };
    w->closing = true;
    for (size_t i = 0; i < HANDLE_COUNT; i++) {
        handles[i]->data = w;
        uv_close(handles[i], on_closed);
    }
}
