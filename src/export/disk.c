/* disk: the real one, and the loops around short reads and writes. */
#include "export/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#define SPANS_AT_ONCE 64 /* of one pwritev(); IOV_MAX is 1024 */

struct real {
    int dir;
    int lock;   /* -1: not locked */
    char *path; /* of the directory; owned */
};

static int os_open(void *self, const char *name, enum disk_mode mode)
{
    static const int flags[] = {
        [DISK_READ] = O_RDONLY,
        [DISK_WRITE] = O_RDWR,
        [DISK_CREATE] = O_RDWR | O_CREAT | O_EXCL,
    };
    struct real *r = self;
    struct stat st;
    /* O_NONBLOCK: opening a FIFO of that name must not wait for its other end. */
    int fd = openat(r->dir, name, flags[mode] | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    close(fd);
    return -EINVAL;
}

static void os_close(void *self, int file)
{
    (void)self;
    close(file);
}

static int64_t os_size(void *self, int file)
{
    (void)self;
    struct stat st;
    return fstat(file, &st) < 0 ? -errno : st.st_size;
}

static int64_t os_pread(void *self, int file, void *to, size_t n, uint64_t at)
{
    (void)self;
    ssize_t got = pread(file, to, n, (off_t)at);
    return got < 0 ? -errno : got;
}

static int64_t os_pwritev(void *self, int file, const struct span *spans, size_t n, uint64_t at)
{
    (void)self;
    struct iovec iov[SPANS_AT_ONCE];
    if (n > SPANS_AT_ONCE)
        n = SPANS_AT_ONCE;
    for (size_t i = 0; i < n; i++)
        iov[i] = (struct iovec){(void *)spans[i].base, spans[i].len};
    ssize_t put = pwritev(file, iov, (int)n, (off_t)at);
    return put < 0 ? -errno : put;
}

/* Not posix_fallocate(): where a file system cannot, glibc writes zeros block by block. */
static int os_allocate(void *self, int file, uint64_t bytes)
{
    (void)self;
    int rc;
    do
        rc = fallocate(file, 0, 0, (off_t)bytes);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

static int os_truncate(void *self, int file, uint64_t bytes)
{
    (void)self;
    return ftruncate(file, (off_t)bytes) < 0 ? -errno : 0;
}

static int os_fdatasync(void *self, int file)
{
    (void)self;
    return fdatasync(file) < 0 ? -errno : 0;
}

static int os_rename(void *self, const char *from, const char *to)
{
    struct real *r = self;
    return renameat(r->dir, from, r->dir, to) < 0 ? -errno : 0;
}

static int os_unlink(void *self, const char *name)
{
    struct real *r = self;
    return unlinkat(r->dir, name, 0) < 0 ? -errno : 0;
}

static int os_sync_dir(void *self)
{
    struct real *r = self;
    return fsync(r->dir) < 0 ? -errno : 0;
}

static int os_list(void *self, disk_name_fn *fn, void *ctx)
{
    struct real *r = self;
    int rc = 0;
    int fd = openat(r->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a place of its own */
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        rc = -errno;
        if (fd >= 0)
            close(fd);
        return rc;
    }
    while (rc == 0) {
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (e == NULL) {
            rc = -errno;
            break;
        }
        rc = fn(ctx, e->d_name);
    }
    closedir(dir);
    return rc;
}

static int os_lock(void *self, const char *name)
{
    struct real *r = self;
    int fd = openat(r->dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    r->lock = fd;
    return 0;
}

/* The entry of a new directory lives in its parent. */
int disk_make_directory(const char *dir)
{
    if (mkdir(dir, 0700) < 0)
        return errno == EEXIST ? 0 : -errno;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int parent = fd < 0 ? -1 : openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = parent < 0 || fsync(parent) < 0 ? -errno : 0;
    if (parent >= 0)
        close(parent);
    if (fd >= 0)
        close(fd);
    return rc;
}

static int os_attached(void *self, int file)
{
    const struct real *r = self;
    struct stat here, there;
    if (fstat(r->dir, &here) < 0 || stat(r->path, &there) < 0)
        return errno == ENOTDIR ? -ENOENT : -errno;
    if (here.st_dev != there.st_dev || here.st_ino != there.st_ino)
        return -ENOENT;
    if (file >= 0 && fstat(file, &here) < 0)
        return -errno;
    return file >= 0 && here.st_nlink == 0 ? -ENOENT : 0;
}

static int os_renew(void *self, const char *lock_name)
{
    struct real *r = self, next = {.lock = -1};
    int rc = disk_make_directory(r->path);
    if (rc < 0)
        return rc;
    next.dir = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (next.dir < 0)
        return -errno;
    rc = os_lock(&next, lock_name);
    if (rc < 0) {
        close(next.dir);
        return rc;
    }
    if (r->lock >= 0)
        close(r->lock);
    close(r->dir);
    r->dir = next.dir;
    r->lock = next.lock;
    return 0;
}

static int64_t os_free_bytes(void *self)
{
    const struct real *r = self;
    struct statvfs fs;
    return fstatvfs(r->dir, &fs) < 0 ? -errno : (int64_t)(fs.f_bavail * fs.f_frsize);
}

static void os_close_dir(void *self)
{
    struct real *r = self;
    if (r->lock >= 0)
        close(r->lock);
    close(r->dir);
    free(r->path);
    free(r);
}

static const struct disk_ops real_ops = {
    .open = os_open,
    .close = os_close,
    .size = os_size,
    .pread = os_pread,
    .pwritev = os_pwritev,
    .allocate = os_allocate,
    .truncate = os_truncate,
    .fdatasync = os_fdatasync,
    .rename = os_rename,
    .unlink = os_unlink,
    .sync_dir = os_sync_dir,
    .list = os_list,
    .lock = os_lock,
    .attached = os_attached,
    .renew = os_renew,
    .free_bytes = os_free_bytes,
    .close_dir = os_close_dir,
};

int disk_open(struct disk *out, const char *dir, bool create)
{
    int rc = create ? disk_make_directory(dir) : 0;
    if (rc < 0)
        return rc;
    struct real *r = malloc(sizeof *r);
    if (r == NULL)
        return -ENOMEM;
    *r = (struct real){
        .dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), .lock = -1, .path = strdup(dir)};
    if (r->dir < 0 || r->path == NULL) {
        rc = r->dir < 0 ? -errno : -ENOMEM;
        if (r->dir >= 0)
            close(r->dir);
        free(r->path);
        free(r);
        return rc;
    }
    *out = (struct disk){&real_ops, r};
    return 0;
}

void disk_close(struct disk *d)
{
    if (d->ops != NULL)
        d->ops->close_dir(d->self);
    *d = (struct disk){0};
}

int64_t disk_read(const struct disk *d, int file, void *to, size_t n, uint64_t at)
{
    size_t got = 0;
    while (got < n) {
        int64_t rc = d->ops->pread(d->self, file, (char *)to + got, n - got, at + got);
        if (rc == -EINTR)
            continue;
        if (rc < 0)
            return rc;
        if (rc == 0)
            break;
        got += (size_t)rc;
    }
    return (int64_t)got;
}

int disk_write(const struct disk *d, int file, const struct span *spans, size_t n, uint64_t at)
{
    size_t first = 0, done = 0; /* spans written, bytes of the next one written */
    for (;;) {
        struct span some[SPANS_AT_ONCE];
        size_t count = 0;
        for (size_t i = first; i < n && count < SPANS_AT_ONCE; i++) {
            some[count] = i == first ? span_skip(spans[i], done) : spans[i];
            count += some[count].len > 0;
        }
        if (count == 0)
            return 0;
        int64_t put = d->ops->pwritev(d->self, file, some, count, at);
        if (put == -EINTR)
            continue;
        if (put <= 0)
            return put == 0 ? -EIO : (int)put;
        at += (uint64_t)put;
        for (size_t left = (size_t)put; left > 0;) {
            size_t rest = spans[first].len - done;
            size_t step = left < rest ? left : rest;
            done += step;
            left -= step;
            if (done == spans[first].len) {
                first++;
                done = 0;
            }
        }
    }
}

int disk_err(int rc)
{
    if (rc >= 0)
        return 0;
    return rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG ? ERR_DISK_FULL : ERR_IO;
}
