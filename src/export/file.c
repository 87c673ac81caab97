/*
 * file: one write in flight.
 *
 * A file that was opened anew (log rotation) takes over when the line in hand is whole or given up,
 * so no line is in two files.
 */
#include "export/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "otlp/json_write.h"

struct file {
    uv_loop_t *loop;
    int fd;
    char *name;
    struct buf text; /* of the parcel in hand */
    size_t written;
    uv_fs_t write;
    bool busy, cancelled, closing;
    bool torn;         /* the last write broke off inside a line */
    struct file *next; /* owned: takes over when the write is done; NULL: none */
    sink_done_fn *done;
    void *ctx;
};

static void file_free(struct file *f)
{
    if (f->next != NULL)
        file_free(f->next);
    if (f->fd > STDERR_FILENO)
        close(f->fd);
    buf_done(&f->text);
    free(f->name);
    free(f);
}

static bool is_same_file(int a, int b)
{
    struct stat x, y;
    return a == b ||
           (fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

/* Become the file that waits; a torn line stays behind with the old one. */
static void take_over(struct file *f)
{
    struct file *next = f->next;
    f->next = NULL;
    if (next == NULL)
        return;
    if (!is_same_file(f->fd, next->fd))
        f->torn = next->torn;
    int fd = f->fd;
    f->fd = next->fd;
    next->fd = fd;
    char *name = f->name;
    f->name = next->name;
    next->name = name;
    file_free(next);
}

static void on_written(uv_fs_t *req);

static int write_more(struct file *f)
{
    uv_buf_t rest =
        uv_buf_init((char *)f->text.base + f->written, (unsigned)(f->text.len - f->written));
    return uv_fs_write(f->loop, &f->write, f->fd, &rest, 1, -1, on_written);
}

static void on_written(uv_fs_t *req)
{
    struct file *f = container_of(req, struct file, write);
    ssize_t n = req->result;
    uv_fs_req_cleanup(req);
    if (n > 0)
        f->written += (size_t)n;
    if (n > 0 && f->written < f->text.len && !f->closing) {
        n = write_more(f);
        if (n == 0)
            return;
    }
    bool whole = f->written == f->text.len;
    f->torn = !whole && (f->torn || f->written > 0);
    f->busy = false;
    buf_done(&f->text);
    if (f->closing) {
        file_free(f);
        return;
    }
    take_over(f);
    if (f->cancelled)
        return;
    struct sink_answer a = {.status = 200};
    if (!whole)
        a = (struct sink_answer){.err = ERR_IO,
                                 .text = n < 0 ? uv_strerror((int)n) : "nothing was written"};
    f->done(f->ctx, &a);
}

static int file_send(void *self, const struct parcel *p, sink_done_fn *done, void *ctx, void **call)
{
    struct file *f = self;
    if (f->busy)
        return ERR_FULL; /* a cancelled write is still on its way */
    f->done = done;
    f->ctx = ctx;
    f->cancelled = false;
    f->written = 0;
    buf_clear(&f->text);
    if (f->torn)
        buf_append_byte(&f->text, '\n'); /* what comes now is a line of its own */
    int rc = json_write_logs(&f->text, buf_span(&p->body));
    buf_append_byte(&f->text, '\n');
    if (rc == 0)
        rc = f->text.err;
    if (rc == 0)
        rc = write_more(f);
    if (rc < 0) {
        buf_done(&f->text);
        return rc;
    }
    f->busy = true;
    *call = f;
    return 0;
}

static void file_cancel(void *self, void *call)
{
    struct file *f = self;
    (void)call;
    f->cancelled = true;
}

static void file_close(void *self)
{
    struct file *f = self;
    if (f == NULL)
        return;
    f->closing = true;
    if (!f->busy)
        file_free(f);
}

/* Of two that wait the later one counts. */
static void file_renew(void *self, void *with)
{
    struct file *f = self;
    if (f->next != NULL)
        file_free(f->next);
    f->next = with;
    if (!f->busy)
        take_over(f);
}

/* A process that was killed may have left half a line, which the next must not be glued to. */
static bool is_torn(const char *path)
{
    char last = '\n';
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false; /* not ours to read */
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
        pread(fd, &last, 1, st.st_size - 1) != 1)
        last = '\n';
    close(fd);
    return last != '\n';
}

/* 0, or what is wrong with it. */
static int open_path(struct file *f, const char *path)
{
    if (strcmp(path, "-") == 0) { /* it may be closed: /dev/null stands there then, to be read */
        int flags = fcntl(STDOUT_FILENO, F_GETFL);
        f->fd = flags >= 0 && (flags & O_ACCMODE) != O_RDONLY ? STDOUT_FILENO : -1;
        return f->fd < 0 ? EBADF : 0;
    }
    /* Opening a FIFO must not wait for its reader, on the loop; writing may, on the pool. */
    f->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0600);
    if (f->fd < 0 || fcntl(f->fd, F_SETFL, O_APPEND) < 0)
        return errno;
    f->torn = is_torn(path);
    return 0;
}

int file_open(struct sink *out, uv_loop_t *loop, const struct file_opts *opts, struct error *err)
{
    static const struct sink_ops ops = {file_send, file_cancel, file_close, file_renew};
    struct file *f = calloc(1, sizeof *f);
    if (f == NULL)
        return ERR_NOMEM;
    f->loop = loop;
    f->text.budget = opts->budget;
    f->fd = -1;
    bool is_stdout = strcmp(opts->path, "-") == 0;
    f->name = strdup(is_stdout ? "standard output" : opts->path);
    if (f->name == NULL) {
        file_free(f);
        return ERR_NOMEM;
    }
    int why = open_path(f, opts->path);
    if (why != 0) {
        int rc = err_set(err, ERR_CONFIG, "exporters.file.path: cannot write to '%s': %s", f->name,
                         strerror(why));
        file_free(f);
        return rc;
    }
    *out = (struct sink){
        .ops = &ops,
        .self = f,
        .takes = {[SIGNAL_LOGS] = true},
        .concurrency = 1,
        .name = f->name,
    };
    return 0;
}
