/* receipts: one file that grows, one job at a time. */
#include "server/receipts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/crc32c.h"
#include "util/diag.h"
#include "util/le.h"

#define NAME_FORMAT "receipts-%016" PRIx64
#define NAME_BYTES 32
#define HEAD_BYTES 8            /* length, CRC */
#define PLACE_BYTES 16          /* team, time: what the length counts before the body */
#define FRAME_MAX (64u << 20)   /* longer than any body that is taken: damage */
#define GROUP_BYTES (16u << 20) /* of one write */

/* What a job does: first the frames, then the files to remove. Only the job touches it while it is
 * under way. */
struct job {
    uv_work_t work;
    struct list group;
    struct buf frames;
    uint64_t number; /* of the file that is written */
    uint64_t at;     /* in it, where the frames begin */
    uint64_t forget; /* files below it are removed; 0: none */
    uint64_t freed_bytes;
    int rc;
};

struct receipts {
    struct receipts_opts opts;
    uv_loop_t *loop;
    char *directory;
    int dir_fd, fd;       /* fd: of open_number; -1: none */
    uint64_t open_number; /* of fd */
    uint64_t file_bytes;  /* good ones in it */
    uint64_t number;      /* what is added next goes to this file */
    uint64_t first;       /* the oldest that may be there */
    uint64_t forget;      /* asked for, and not yet begun */
    struct list waiting;
    bool is_working, wants_turn, in_turn;
    struct job job;
    struct receipts_stats stats;
};

/* ---- frames ------------------------------------------------------------- */

static void append_frame(struct buf *out, const struct receipt *r)
{
    uint8_t head[HEAD_BYTES + PLACE_BYTES];
    le64_put(head + HEAD_BYTES, r->team);
    le64_put(head + HEAD_BYTES + 8, r->unix_ms);
    uint32_t crc = crc32c(0, span_of(head + HEAD_BYTES, PLACE_BYTES));
    crc = crc32c(crc, buf_span(&r->body));
    le32_put(head, (uint32_t)(PLACE_BYTES + r->body.len));
    le32_put(head + 4, crc);
    buf_append(out, span_of(head, sizeof head));
    buf_append(out, buf_span(&r->body));
}

/* Cut a whole frame off *rest. False: what is left is none. */
static bool cut_frame(struct span *rest, uint64_t *team, uint64_t *unix_ms, struct span *body)
{
    if (rest->len < HEAD_BYTES)
        return false;
    uint32_t len = le32_get(rest->base);
    if (len < PLACE_BYTES || len > FRAME_MAX || len > rest->len - HEAD_BYTES)
        return false;
    struct span inner = span_of(rest->base + HEAD_BYTES, len);
    if (crc32c(0, inner) != le32_get(rest->base + 4))
        return false;
    *team = le64_get(inner.base);
    *unix_ms = le64_get(inner.base + 8);
    *body = span_skip(inner, PLACE_BYTES);
    *rest = span_skip(*rest, HEAD_BYTES + len);
    return true;
}

/* ---- on the thread ------------------------------------------------------ */

static int write_all(int fd, struct span bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.base, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return errno == ENOSPC || errno == EDQUOT ? ERR_DISK_FULL : ERR_IO;
        bytes = span_skip(bytes, (size_t)n);
    }
    return 0;
}

static void close_file(struct receipts *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
}

static int open_file(struct receipts *r, uint64_t number)
{
    char name[NAME_BYTES];
    if (r->fd >= 0 && r->open_number == number)
        return 0;
    close_file(r);
    snprintf(name, sizeof name, NAME_FORMAT, number);
    r->fd = openat(r->dir_fd, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (r->fd < 0 || fsync(r->dir_fd) < 0) {
        close_file(r);
        return ERR_IO;
    }
    struct stat st;
    r->open_number = number;
    r->file_bytes = fstat(r->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    return 0;
}

/* What was written of a group that failed is cut off: it is not acknowledged, and must not be found
 * before what comes after it. */
static int write_group(struct receipts *r, struct job *j)
{
    int rc = open_file(r, j->number);
    if (rc < 0)
        return rc;
    j->at = r->file_bytes;
    rc = write_all(r->fd, buf_span(&j->frames));
    if (rc == 0 && fdatasync(r->fd) < 0)
        rc = ERR_IO;
    if (rc == 0) {
        r->file_bytes += j->frames.len;
        return 0;
    }
    if (ftruncate(r->fd, (off_t)r->file_bytes) < 0)
        close_file(r);
    return rc;
}

static uint64_t remove_file(struct receipts *r, uint64_t number)
{
    char name[NAME_BYTES];
    struct stat st;
    snprintf(name, sizeof name, NAME_FORMAT, number);
    if (fstatat(r->dir_fd, name, &st, 0) < 0)
        return 0; /* numbers without a file: turns without a report */
    if (r->open_number == number)
        close_file(r);
    return unlinkat(r->dir_fd, name, 0) == 0 ? (uint64_t)st.st_size : 0;
}

static void on_job(uv_work_t *work)
{
    struct receipts *r = container_of(work, struct receipts, job.work);
    struct job *j = &r->job;
    j->rc = j->frames.len > 0 ? write_group(r, j) : 0;
    for (; r->first < j->forget; r->first++)
        j->freed_bytes += remove_file(r, r->first);
}

/* ---- on the loop -------------------------------------------------------- */

static void start(struct receipts *r);

static void settle_group(struct receipts *r, int rc)
{
    struct list group;
    list_init(&group);
    while (!list_is_empty(&r->job.group)) {
        struct list *first = r->job.group.next;
        list_remove(first);
        list_append(&group, first);
    }
    LIST_EACH (at, &group) {
        struct receipt *one = container_of(at, struct receipt, link);
        list_remove(at);
        one->place.at += r->job.at;
        r->stats.written += rc == 0;
        r->stats.failed += rc < 0;
        one->done(one, rc);
    }
}

static void take_turn(struct receipts *r)
{
    r->wants_turn = false;
    r->in_turn = true;
    r->opts.turn(r->opts.ctx);
    r->in_turn = false;
}

static void on_job_done(uv_work_t *work, int status)
{
    struct receipts *r = container_of(work, struct receipts, job.work);
    struct job *j = &r->job;
    char quoted[DIAG_QUOTE_BYTES];
    (void)status; /* a job is never cancelled */
    r->is_working = false;
    r->stats.bytes -= j->freed_bytes < r->stats.bytes ? j->freed_bytes : r->stats.bytes;
    if (j->frames.len > 0) {
        r->stats.syncs++;
        r->stats.bytes += j->rc == 0 ? j->frames.len : 0;
        if (j->rc < 0)
            diag(DIAG_ERROR, "journal_failed", "reports could not be stored, and are refused",
                 "directory=%s error=\"%s\"", diag_quote(quoted, span_str(r->directory)),
                 err_text(j->rc));
    }
    settle_group(r, j->rc);
    if (r->wants_turn)
        take_turn(r);
    start(r);
}

static void start(struct receipts *r)
{
    struct job *j = &r->job;
    if (r->is_working || (list_is_empty(&r->waiting) && r->forget == 0))
        return;
    buf_clear(&j->frames);
    while (!list_is_empty(&r->waiting) && j->frames.len < GROUP_BYTES) {
        struct list *first = r->waiting.next;
        struct receipt *one = container_of(first, struct receipt, link);
        one->place = (struct receipt_place){r->number, j->frames.len}; /* and j->at */
        append_frame(&j->frames, one);
        list_remove(first);
        list_append(&j->group, first);
    }
    int rc = j->frames.err;
    j->number = r->number;
    j->forget = r->forget;
    j->freed_bytes = 0;
    r->forget = 0;
    if (rc == 0)
        rc = uv_queue_work(r->loop, &j->work, on_job, on_job_done);
    r->is_working = rc == 0;
    if (rc < 0)
        settle_group(r, rc);
}

int receipts_add(struct receipts *r, struct receipt *receipt)
{
    if (r->stats.bytes + receipt->body.len > r->opts.max_bytes)
        return ERR_FULL;
    list_append(&r->waiting, &receipt->link);
    start(r);
    return 0;
}

void receipts_ask_turn(struct receipts *r)
{
    r->wants_turn = true;
    if (!r->is_working && !r->in_turn)
        take_turn(r);
}

uint64_t receipts_turn(struct receipts *r)
{
    return ++r->number;
}

void receipts_forget(struct receipts *r, uint64_t below)
{
    if (below > r->forget)
        r->forget = below;
    start(r);
}

bool receipts_is_idle(const struct receipts *r)
{
    return !r->is_working && list_is_empty(&r->waiting);
}

struct receipts_stats receipts_stats(const struct receipts *r)
{
    return r->stats;
}

/* ---- open, replay, close ------------------------------------------------ */

static int find_files(struct receipts *r)
{
    DIR *d = opendir(r->directory);
    if (d == NULL)
        return ERR_IO;
    r->first = UINT64_MAX;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        uint64_t number;
        struct stat st;
        char name[NAME_BYTES];
        if (sscanf(e->d_name, "receipts-%16" SCNx64, &number) != 1)
            continue;
        snprintf(name, sizeof name, NAME_FORMAT, number);
        if (strcmp(name, e->d_name) != 0 || fstatat(r->dir_fd, name, &st, 0) < 0)
            continue;
        r->stats.bytes += (uint64_t)st.st_size;
        if (number < r->first)
            r->first = number;
        if (number >= r->number)
            r->number = number + 1;
    }
    closedir(d);
    if (r->first > r->number)
        r->first = r->number;
    return 0;
}

int receipts_open(struct receipts **out, uv_loop_t *loop, const struct receipts_opts *opts,
                  struct error *err)
{
    struct receipts *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    *r = (struct receipts){.opts = *opts, .loop = loop, .fd = -1, .number = 1};
    list_init(&r->waiting);
    list_init(&r->job.group);
    r->job.frames.budget = opts->budget;
    r->directory = strdup(opts->directory);
    r->dir_fd = open(opts->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r->directory != NULL && r->dir_fd >= 0 && find_files(r) == 0) {
        *out = r;
        return 0;
    }
    int rc = r->directory == NULL
                 ? ERR_NOMEM
                 : err_set(err, ERR_UNAVAILABLE, "%.300s: %s", opts->directory, strerror(errno));
    receipts_close(r);
    return rc;
}

static int read_file(struct receipts *r, uint64_t number, struct buf *out)
{
    char name[NAME_BYTES];
    struct stat st;
    snprintf(name, sizeof name, NAME_FORMAT, number);
    int fd = openat(r->dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : ERR_IO;
    int rc = fstat(fd, &st) < 0 ? ERR_IO : buf_reserve_exact(out, (size_t)st.st_size);
    while (rc == 0 && out->len < out->cap) {
        ssize_t n = read(fd, out->base + out->len, out->cap - out->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        out->len += (size_t)n;
    }
    close(fd);
    return rc;
}

int receipts_replay(struct receipts *r, uint64_t from, receipts_fn *fn,
                    int (*file_over)(void *ctx, uint64_t next), void *ctx)
{
    struct buf file = {0};
    int rc = 0;
    if (r->number < from)
        r->number = from; /* all files were removed, and the database remembers them */
    for (uint64_t n = from > r->first ? from : r->first; n < r->number && rc >= 0; n++) {
        uint64_t team, unix_ms;
        struct span body;
        buf_clear(&file);
        rc = read_file(r, n, &file);
        struct span rest = buf_span(&file);
        struct receipt_place place = {n, 0};
        for (; rc >= 0 && cut_frame(&rest, &team, &unix_ms, &body); place.at = file.len - rest.len)
            rc = fn(ctx, team, unix_ms, body, place);
        if (rc >= 0 && rest.len > 0)
            diag(DIAG_WARN, "journal_cut", "the end of a file was not acknowledged, and is left",
                 "file=%llu bytes=%zu", (unsigned long long)n, rest.len);
        if (rc >= 0)
            rc = file_over(ctx, n + 1);
    }
    buf_done(&file);
    return rc < 0 ? rc : 0;
}

static int read_at(int fd, void *to, size_t bytes, uint64_t at)
{
    for (size_t n = 0; n < bytes;) {
        ssize_t got = pread(fd, (uint8_t *)to + n, bytes - n, (off_t)(at + n));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ERR_IO;
        n += (size_t)got;
    }
    return 0;
}

int receipts_read(const struct receipts *r, struct receipt_place place, struct buf *out)
{
    char name[NAME_BYTES];
    uint8_t head[HEAD_BYTES];
    struct buf frame = {0};
    uint64_t team, unix_ms;
    struct span body, rest;
    snprintf(name, sizeof name, NAME_FORMAT, place.file);
    int fd = openat(r->dir_fd, name, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? ERR_IO : read_at(fd, head, sizeof head, place.at);
    size_t len = rc < 0 ? 0 : le32_get(head);
    if (rc == 0)
        rc = len > FRAME_MAX ? ERR_IO : buf_reserve_exact(&frame, HEAD_BYTES + len);
    if (rc == 0)
        rc = read_at(fd, frame.base, HEAD_BYTES + len, place.at);
    if (rc == 0) {
        frame.len = HEAD_BYTES + len;
        rest = buf_span(&frame);
        rc = cut_frame(&rest, &team, &unix_ms, &body) ? 0 : ERR_IO;
    }
    if (rc == 0) {
        buf_append(out, body);
        rc = out->err;
    }
    if (fd >= 0)
        close(fd);
    buf_done(&frame);
    return rc;
}

void receipts_close(struct receipts *r)
{
    if (r == NULL)
        return;
    close_file(r);
    if (r->dir_fd >= 0)
        close(r->dir_fd);
    buf_done(&r->job.frames);
    free(r->directory);
    free(r);
}
