/* state_file: a head of 24 bytes, checked before anything of the body is believed. */
#include "sidecar/state_file.h"

#include <errno.h>
#include <string.h>

#include "util/crc32c.h"
#include "util/le.h"

#define HEAD_BYTES 24 /* magic 8, version 4, CRC of the body 4, its length 8 */
static const uint8_t magic[8] = "LPSTATE";

static void put_aside(const struct disk *d)
{
    if (d->ops->rename(d->self, STATE_NAME, STATE_ASIDE) == 0)
        d->ops->sync_dir(d->self);
}

/* NULL: the head is good, and *length is that of the body. */
static const char *check_head(const uint8_t head[HEAD_BYTES], int64_t size, uint64_t *length)
{
    if (size < HEAD_BYTES || memcmp(head, magic, sizeof magic) != 0)
        return "it is no state file";
    if (le32_get(head + 8) != STATE_VERSION)
        return "it is of another version";
    *length = le64_get(head + 16);
    if (*length != (uint64_t)size - HEAD_BYTES)
        return "it is torn";
    return NULL;
}

static int read_open(const struct disk *d, int file, struct buf *out, const char **why)
{
    uint8_t head[HEAD_BYTES] = {0};
    uint64_t length = 0;
    int64_t size = d->ops->size(d->self, file);
    if (size > STATE_BYTES + HEAD_BYTES)
        size = -1, *why = "it is too long";
    if (size < 0)
        return *why != NULL ? ERR_MALFORMED : (int)size;
    int64_t n = disk_read(d, file, head, sizeof head, 0);
    if (n < 0)
        return (int)n;
    *why = check_head(head, size, &length);
    if (*why != NULL)
        return ERR_MALFORMED;
    int rc = buf_reserve_exact(out, (size_t)length);
    if (rc < 0)
        return rc;
    n = disk_read(d, file, out->base, (size_t)length, HEAD_BYTES);
    if (n < 0)
        return (int)n;
    out->len = (size_t)n;
    if ((uint64_t)n != length || crc32c(0, buf_span(out)) != le32_get(head + 12))
        *why = "it is damaged";
    return *why != NULL ? ERR_MALFORMED : 0;
}

int state_file_read(const struct disk *d, struct buf *out, const char **why)
{
    int file = d->ops->open(d->self, STATE_NAME, DISK_READ);
    *why = NULL;
    if (file == -ENOENT)
        return ERR_EMPTY;
    if (file < 0)
        return file;
    int rc = read_open(d, file, out, why);
    d->ops->close(d->self, file);
    if (rc < 0)
        buf_done(out);
    if (rc == ERR_MALFORMED)
        put_aside(d);
    return rc;
}

static int write_open(const struct disk *d, int file, struct span body)
{
    uint8_t head[HEAD_BYTES];
    memcpy(head, magic, sizeof magic);
    le32_put(head + 8, STATE_VERSION);
    le32_put(head + 12, crc32c(0, body));
    le64_put(head + 16, body.len);
    const struct span spans[] = {span_of(head, sizeof head), body};
    int rc = disk_write(d, file, spans, ARRAY_LEN(spans), 0);
    return rc < 0 ? rc : d->ops->fdatasync(d->self, file);
}

int state_file_write(const struct disk *d, struct span body)
{
    if (body.len > STATE_BYTES)
        return ERR_TOO_BIG;
    int rc = d->ops->unlink(d->self, STATE_NEW); /* of a process that was killed */
    if (rc < 0 && rc != -ENOENT)
        return rc;
    int file = d->ops->open(d->self, STATE_NEW, DISK_CREATE);
    if (file < 0)
        return file;
    rc = write_open(d, file, body);
    d->ops->close(d->self, file);
    if (rc >= 0)
        rc = d->ops->rename(d->self, STATE_NEW, STATE_NAME);
    if (rc >= 0)
        return d->ops->sync_dir(d->self);
    d->ops->unlink(d->self, STATE_NEW);
    return rc;
}
