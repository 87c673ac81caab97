/* segment: heads, CRCs, and the way past damage. */
#include "export/segment.h"

#include <stdio.h>
#include <string.h>

#include "util/crc32c.h"
#include "util/le.h"

#define COPY_AT 512
#define HEADER_CRC_AT (SEGMENT_HEADER_BYTES - 4)
#define HEAD_CRC_AT (FRAME_HEAD_BYTES - 4)
#define END_CRC_AT (SEGMENT_END_BYTES - 4)
#define CHUNK_BYTES (32u << 10) /* of a file, on the stack */

static const uint8_t header_magic[8] = {'L', 'I', 'P', 'S', 'P', 'O', 'O', 'L'};
static const uint8_t frame_magic[4] = {'L', 'S', 'P', 'F'};
static const uint8_t end_magic[4] = {'L', 'S', 'P', 'E'};

void segment_header_encode(uint8_t out[SEGMENT_DATA_AT], const struct segment_header *h)
{
    memset(out, 0, SEGMENT_DATA_AT);
    memcpy(out, header_magic, sizeof header_magic);
    le32_put(out + 8, SEGMENT_VERSION);
    le32_put(out + 12, h->salt);
    le64_put(out + 16, h->first_id);
    le64_put(out + 24, h->void_from);
    le64_put(out + 32, h->created_unix_ns);
    le64_put(out + 40, h->boot);
    le32_put(out + HEADER_CRC_AT, crc32c(0, span_of(out, HEADER_CRC_AT)));
    memcpy(out + COPY_AT, out, SEGMENT_HEADER_BYTES);
}

static int header_decode_one(struct segment_header *out, const uint8_t *in)
{
    if (memcmp(in, header_magic, sizeof header_magic) != 0 ||
        le32_get(in + HEADER_CRC_AT) != crc32c(0, span_of(in, HEADER_CRC_AT)))
        return ERR_MALFORMED;
    if (le32_get(in + 8) != SEGMENT_VERSION)
        return ERR_UNSUPPORTED;
    *out = (struct segment_header){
        .salt = le32_get(in + 12),
        .first_id = le64_get(in + 16),
        .void_from = le64_get(in + 24),
        .created_unix_ns = le64_get(in + 32),
        .boot = le64_get(in + 40),
    };
    return 0;
}

static bool is_zero(const uint8_t *at, size_t n)
{
    return n == 0 || (at[0] == 0 && memcmp(at, at + 1, n - 1) == 0);
}

int segment_header_decode(struct segment_header *out, const uint8_t *in, size_t n)
{
    int rc = ERR_MALFORMED;
    for (size_t at = 0; at <= COPY_AT && rc == ERR_MALFORMED; at += COPY_AT)
        if (n >= at + SEGMENT_HEADER_BYTES)
            rc = header_decode_one(out, in + at);
    return rc == ERR_MALFORMED && is_zero(in, n) ? ERR_EMPTY : rc;
}

void frame_head_encode(uint8_t out[FRAME_HEAD_BYTES], const struct frame_head *h, uint32_t salt)
{
    memcpy(out, frame_magic, sizeof frame_magic);
    le32_put(out + 4, h->bytes);
    le64_put(out + 8, h->id);
    le64_put(out + 16, h->accepted_unix_ns);
    le32_put(out + 24, h->records);
    le32_put(out + 28, h->accepted_ds);
    le32_put(out + 32, h->payload_crc);
    le32_put(out + HEAD_CRC_AT, crc32c(salt, span_of(out, HEAD_CRC_AT)));
}

static bool frame_head_decode(struct frame_head *out, const uint8_t in[FRAME_HEAD_BYTES],
                              uint32_t salt)
{
    if (memcmp(in, frame_magic, sizeof frame_magic) != 0 ||
        le32_get(in + HEAD_CRC_AT) != crc32c(salt, span_of(in, HEAD_CRC_AT)))
        return false;
    *out = (struct frame_head){
        .bytes = le32_get(in + 4),
        .id = le64_get(in + 8),
        .accepted_unix_ns = le64_get(in + 16),
        .records = le32_get(in + 24),
        .accepted_ds = le32_get(in + 28),
        .payload_crc = le32_get(in + 32),
    };
    return out->bytes <= FRAME_MAX_BYTES && out->id > 0 && out->id < UINT64_MAX;
}

void segment_end_encode(uint8_t out[SEGMENT_END_BYTES], const struct segment_end *e, uint32_t salt)
{
    memset(out, 0, SEGMENT_END_BYTES);
    memcpy(out, end_magic, sizeof end_magic);
    le64_put(out + 8, e->end_id);
    le64_put(out + 16, e->frames);
    le64_put(out + 24, e->records);
    le64_put(out + 32, e->first_accepted_ns);
    le32_put(out + END_CRC_AT, crc32c(salt, span_of(out, END_CRC_AT)));
}

bool segment_end_decode(struct segment_end *out, const uint8_t in[SEGMENT_END_BYTES], uint32_t salt)
{
    if (memcmp(in, end_magic, sizeof end_magic) != 0 ||
        le32_get(in + END_CRC_AT) != crc32c(salt, span_of(in, END_CRC_AT)))
        return false;
    *out = (struct segment_end){le64_get(in + 8), le64_get(in + 16), le64_get(in + 24),
                                le64_get(in + 32)};
    return true;
}

void segment_name(char out[SEGMENT_NAME_BYTES], uint64_t id)
{
    snprintf(out, SEGMENT_NAME_BYTES, "%016llx.seg", (unsigned long long)id);
}

bool segment_name_read(uint64_t *id, const char *name)
{
    uint64_t value = 0;
    for (int i = 0; i < 16; i++) {
        const char *digits = "0123456789abcdef";
        const char *digit = name[i] == '\0' ? NULL : strchr(digits, name[i]);
        if (digit == NULL)
            return false;
        value = value << 4 | (uint64_t)(digit - digits);
    }
    if (strcmp(name + 16, ".seg") != 0)
        return false;
    *id = value;
    return true;
}

/* ---- from frame to frame ------------------------------------------------ */

static int segment_check_payload(const struct segment_walk *w, const struct frame_head *head,
                                 uint64_t payload_at)
{
    uint8_t chunk[CHUNK_BYTES];
    uint32_t crc = 0;
    for (size_t done = 0; done < head->bytes;) {
        size_t want = head->bytes - done < sizeof chunk ? head->bytes - done : sizeof chunk;
        int64_t got = disk_read(w->disk, w->file, chunk, want, payload_at + done);
        if (got < 0)
            return (int)got;
        if ((size_t)got < want)
            return 0;
        crc = crc32c(crc, span_of(chunk, want));
        done += want;
    }
    return crc == head->payload_crc;
}

/* Does a frame start at `at`? 1, 0 or -errno. `proves`: its payload must be sound. */
static int frame_at(const struct segment_walk *w, uint64_t at, bool proves, struct frame_head *head)
{
    uint8_t bytes[FRAME_HEAD_BYTES];
    if (at > w->end || w->end - at < FRAME_HEAD_BYTES)
        return 0;
    int64_t got = disk_read(w->disk, w->file, bytes, sizeof bytes, at);
    if (got < 0)
        return (int)got;
    if (got < FRAME_HEAD_BYTES || !frame_head_decode(head, bytes, w->salt) ||
        head->bytes > w->end - at - FRAME_HEAD_BYTES)
        return 0;
    return proves ? segment_check_payload(w, head, at + FRAME_HEAD_BYTES) : 1;
}

/* Look for the next sound frame behind w->at. *found: where; 0 or -errno when there is none,
 * and then *last_set is behind the last byte that is not zero. */
static int resync(struct segment_walk *w, struct frame_head *head, uint64_t *found,
                  uint64_t *last_set)
{
    uint8_t chunk[CHUNK_BYTES];
    uint64_t at = w->at; /* of chunk[0]; chunks overlap by what a magic may straddle */
    *last_set = w->at;
    while (at < w->end) {
        size_t want = w->end - at < sizeof chunk ? (size_t)(w->end - at) : sizeof chunk;
        int64_t got = disk_read(w->disk, w->file, chunk, want, at);
        if (got < 0)
            return (int)got;
        size_t n = (size_t)got;
        const uint8_t *from = chunk, *hit;
        while ((hit = memmem(from, n - (size_t)(from - chunk), frame_magic, 4)) != NULL) {
            uint64_t where = at + (uint64_t)(hit - chunk);
            int rc = where > w->at ? frame_at(w, where, true, head) : 0;
            if (rc < 0)
                return rc;
            if (rc == 1) {
                *found = where;
                return 1;
            }
            from = hit + 1;
        }
        size_t set = n;
        if (is_zero(chunk, n))
            set = 0;
        while (set > 0 && chunk[set - 1] == 0)
            set--;
        if (set > 0)
            *last_set = at + set;
        if (n < sizeof chunk)
            break; /* the end of the file or of what may be read */
        at += n - (sizeof frame_magic - 1);
    }
    return 0;
}

int segment_next(struct segment_walk *w, struct frame_head *head, uint64_t *payload_at)
{
    uint64_t found = w->at, last_set;
    int rc = frame_at(w, w->at, w->checks_payload, head);
    if (rc == 0)
        rc = resync(w, head, &found, &last_set);
    if (rc < 0)
        return rc;
    if (rc == 0) {
        uint8_t mark[SEGMENT_END_BYTES];
        struct segment_end ignored;
        bool is_end = last_set > w->at &&
                      disk_read(w->disk, w->file, mark, sizeof mark, w->at) == sizeof mark &&
                      segment_end_decode(&ignored, mark, w->salt);
        w->tail_bytes = is_end ? 0 : last_set - w->at;
        return 0;
    }
    w->damaged_bytes += found - w->at;
    *payload_at = found + FRAME_HEAD_BYTES;
    w->at = *payload_at + head->bytes;
    return 1;
}
