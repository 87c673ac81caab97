/* file: one write in flight. */
#include "export/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
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
    bool torn; /* the last write broke off inside a line */
    sink_done_fn *done;
    void *ctx;
};

static void file_free(struct file *f)
{
    if (f->fd > STDERR_FILENO)
        close(f->fd);
    buf_done(&f->text);
    free(f->name);
    free(f);
}

static void on_written(uv_fs_t *req);

static int write_more(struct file *f)
{
    uv_buf_t rest = uv_buf_init((char *)f->text.base + f->written,
                                (unsigned)(f->text.len - f->written));
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
    if (f->cancelled)
        return;
    struct sink_answer a = {.status = 200};
    if (!whole)
        a = (struct sink_answer){.err = ERR_IO, .text = n < 0 ? uv_strerror((int)n) : "nothing was written"};
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

int file_open(struct sink *out, uv_loop_t *loop, const struct file_opts *opts, struct error *err)
{
    static const struct sink_ops ops = {file_send, file_cancel, file_close};
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
    f->fd = is_stdout ? STDOUT_FILENO
                      : open(opts->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (f->fd < 0) {
        int rc = err_set(err, ERR_CONFIG, "exporters.file.path: cannot open '%s': %s", opts->path,
                         strerror(errno));
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
