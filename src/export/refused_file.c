/* refused_file: one write a line, taken back when it is not whole. */
#include "export/refused_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "otlp/json_write.h"
#include "util/buf.h"
#include "util/diag.h"

struct refused_file {
    int fd;
    uint64_t max_bytes;
    struct budget *budget;
    struct refused_file_stats stats;
    bool told_full, told_error;
};

/* Records may hold secrets: for the owner's eyes. No waiting for a FIFO's reader. */
static int open_file(const char *path, struct stat *st, struct error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd >= 0 && fstat(fd, st) == 0 && S_ISREG(st->st_mode))
        return fd;
    int rc = err_set(err, ERR_CONFIG, "exporters.refused_file: cannot write to '%.200s': %s", path,
                     fd < 0 ? strerror(errno) : "not a regular file");
    if (fd >= 0)
        close(fd);
    return rc;
}

int refused_file_open(struct refused_file **out, const struct refused_file_opts *opts,
                      struct error *err)
{
    struct refused_file *a = calloc(1, sizeof *a);
    if (a == NULL)
        return ERR_NOMEM;
    a->fd = -1;
    a->max_bytes = opts->max_bytes;
    a->budget = opts->budget;
    int rc = refused_file_reopen(a, opts->path, err);
    if (rc < 0)
        refused_file_close(a);
    else
        *out = a;
    return rc;
}

int refused_file_reopen(struct refused_file *a, const char *path, struct error *err)
{
    struct stat st;
    int fd = open_file(path, &st, err);
    if (fd < 0)
        return fd;
    if (a->fd >= 0)
        close(a->fd);
    a->fd = fd;
    a->stats.bytes = (uint64_t)st.st_size;
    a->told_full = a->told_error = false;
    return 0;
}

void refused_file_close(struct refused_file *a)
{
    if (a == NULL)
        return;
    if (a->fd >= 0)
        close(a->fd);
    free(a);
}

/* All of it, or nothing. */
static int append(struct refused_file *a, struct span line)
{
    for (size_t done = 0; done < line.len;) {
        ssize_t n = write(a->fd, line.base + done, line.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int why = n < 0 ? errno : EIO;
            if (done > 0 && ftruncate(a->fd, (off_t)a->stats.bytes) < 0)
                a->stats.bytes += done; /* half a line stays: a reader refuses that one only */
            if (!a->told_error)
                diag(DIAG_WARN, "refused_file",
                     "refused records cannot be written; they are only counted", "error=\"%s\"",
                     strerror(why));
            a->told_error = true;
            return ERR_IO;
        }
        done += (size_t)n;
    }
    a->stats.bytes += line.len;
    a->told_error = false; /* the next failure is another one */
    return 0;
}

int refused_file_put(struct refused_file *a, struct span request, uint32_t records)
{
    struct buf line = {.budget = a->budget};
    bool is_full = a->stats.bytes >= a->max_bytes;
    int rc = is_full ? ERR_FULL : json_write_logs(&line, request);
    buf_append_byte(&line, '\n');
    if (rc == 0)
        rc = line.err; /* no memory for it now */
    if (rc == 0 && line.len > a->max_bytes - a->stats.bytes) {
        is_full = true;
        rc = ERR_FULL;
    }
    if (is_full && !a->told_full) {
        diag(DIAG_WARN, "refused_file",
             "the file of refused records is full; they are only counted",
             "bytes=%llu max_bytes=%llu", (unsigned long long)a->stats.bytes,
             (unsigned long long)a->max_bytes);
        a->told_full = true;
    }
    if (rc == 0)
        rc = append(a, buf_span(&line));
    metric_add(rc == 0 ? &a->stats.written : &a->stats.left_out, records);
    buf_done(&line);
    return rc;
}

void refused_file_leave_out(struct refused_file *a, uint32_t records)
{
    metric_add(&a->stats.left_out, records);
}

struct refused_file_stats refused_file_stats(const struct refused_file *a)
{
    return a->stats;
}
