/* position: two slots. */
#include "export/position.h"

#include <errno.h>
#include <string.h>

#include "util/crc32c.h"
#include "util/le.h"

#define SLOT_BYTES 128
#define SLOT_AT 4096u /* of the second: another block, whatever the disk's */
#define SLOT_CRC_AT (SLOT_BYTES - 4)

static const uint8_t magic[8] = {'L', 'I', 'P', 'S', 'P', 'O', 'S', 'N'};

static void slot_encode(uint8_t out[SLOT_BYTES], const struct position *p, uint64_t sequence)
{
    memset(out, 0, SLOT_BYTES);
    memcpy(out, magic, sizeof magic);
    le32_put(out + 8, POSITION_VERSION);
    le64_put(out + 16, sequence);
    le64_put(out + 24, p->settled);
    le64_put(out + 32, p->stored);
    for (size_t i = 0; i < ARRAY_LEN(p->done); i++)
        le64_put(out + 40 + 8 * i, p->done[i]);
    le32_put(out + SLOT_CRC_AT, crc32c(0, span_of(out, SLOT_CRC_AT)));
}

static int slot_decode(struct position *p, uint64_t *sequence, const uint8_t in[SLOT_BYTES])
{
    if (memcmp(in, magic, sizeof magic) != 0 ||
        le32_get(in + SLOT_CRC_AT) != crc32c(0, span_of(in, SLOT_CRC_AT)))
        return ERR_MALFORMED;
    if (le32_get(in + 8) != POSITION_VERSION)
        return ERR_UNSUPPORTED;
    *sequence = le64_get(in + 16);
    p->settled = le64_get(in + 24);
    p->stored = le64_get(in + 32);
    for (size_t i = 0; i < ARRAY_LEN(p->done); i++)
        p->done[i] = le64_get(in + 40 + 8 * i);
    return p->settled <= p->stored ? 0 : ERR_MALFORMED;
}

bool position_is_done(const struct position *p, uint64_t id)
{
    if (id < p->settled)
        return true;
    uint64_t bit = id - p->settled;
    return bit < POSITION_WINDOW && (p->done[bit / 64] >> bit % 64 & 1) != 0;
}

int position_read(struct position *out, const struct disk *disk, struct position_file *f)
{
    int file = disk->ops->open(disk->self, POSITION_NAME, f != NULL ? DISK_WRITE : DISK_READ);
    if (file < 0)
        return file == -ENOENT ? ERR_EMPTY : file;
    int best = ERR_MALFORMED;
    uint64_t newest = 0;
    unsigned best_slot = 0;
    for (unsigned i = 0; i < 2; i++) {
        uint8_t bytes[SLOT_BYTES] = {0};
        struct position p;
        uint64_t sequence;
        if (disk_read(disk, file, bytes, sizeof bytes, i * SLOT_AT) < SLOT_BYTES)
            continue; /* shorter, or not to be read: the other one may do */
        int rc = slot_decode(&p, &sequence, bytes);
        if (rc == ERR_UNSUPPORTED)
            best = rc; /* of both, the newer program's word would count */
        if (rc < 0 || best == ERR_UNSUPPORTED || (best == 0 && sequence < newest))
            continue;
        best = 0;
        best_slot = i;
        newest = sequence;
        *out = p;
    }
    if (best < 0 || f == NULL) {
        disk->ops->close(disk->self, file);
        return best;
    }
    /* What was read may be in memory only. Until it is durable, the other slot could be
     * the only one that is. */
    *f = (struct position_file){disk, file, best_slot, newest, .unsynced = true};
    ignore_code(position_sync(f)); /* it stays unsynced: the next checkpoint tries again */
    return 0;
}

int position_create(struct position_file *f, const struct disk *disk)
{
    int file = disk->ops->open(disk->self, POSITION_NAME, DISK_CREATE);
    if (file < 0)
        return file;
    disk->ops->allocate(disk->self, file, SLOT_AT + SLOT_BYTES); /* where it can */
    *f = (struct position_file){.disk = disk, .file = file};
    return 0;
}

int position_write(struct position_file *f, const struct position *p)
{
    uint8_t bytes[SLOT_BYTES];
    if (f->file < 0)
        return 0;
    slot_encode(bytes, p, f->sequence + 1);
    const struct span all = span_of(bytes, sizeof bytes);
    int rc = disk_write(f->disk, f->file, &all, 1, f->slot * SLOT_AT);
    f->unsynced = true;
    f->torn = rc < 0;
    f->sequence++;
    return rc;
}

int position_sync(struct position_file *f)
{
    if (f->file < 0 || !f->unsynced)
        return 0;
    if (f->torn)
        return -EIO; /* the other slot stays the good one until a write succeeds */
    int rc = f->disk->ops->fdatasync(f->disk->self, f->file);
    if (rc < 0)
        return rc;
    f->unsynced = false;
    f->slot ^= 1;
    return 0;
}

void position_close(struct position_file *f)
{
    if (f->file >= 0)
        f->disk->ops->close(f->disk->self, f->file);
    f->file = -1;
}
