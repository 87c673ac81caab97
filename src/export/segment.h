/*
 * segment: the file format of the spool. Integers are little-endian, CRCs are CRC32C.
 *
 *     0     header (64 bytes): magic "LIPSPOOL", u32 version, u32 salt, u64 first_id,
 *           u64 void_from, u64 created_unix_ns, u64 boot, zeros, u32 CRC of the 60 bytes before
 *     512   the header once more, in another sector
 *     1024  frames, one behind the other; then zeros (room reserved) or the end
 *
 *     frame head (40 bytes): magic "LSPF", u32 payload bytes, u64 id,
 *           u64 accepted_unix_ns, u32 records, u32 accepted_ds, u32 CRC of the payload,
 *           u32 CRC of the 36 bytes before, begun from the salt
 *     payload
 *
 *     end mark (48 bytes), behind the last frame of a segment that was filled: magic
 *           "LSPE", u32 zero, u64 end_id, u64 frames, u64 records, u64 accepted_unix_ns of
 *           the first, u32 zero, u32 CRC of the 44 bytes before, begun from the salt. A
 *           hint that saves a start the walk from head to head; damage is then found when
 *           the segment is read.
 *
 * The head's CRC covers the payload's, so a start reads heads alone and is still
 * sure of them; the payload is proved when it is read to be sent. The salt (random,
 * one a segment) keeps a payload that contains a frame, written there on purpose, from being
 * taken for one when damage makes the reader look for the next.
 *
 * accepted_ds counts tenths of a second of the monotonic clock. It is comparable while the
 * machine has not been started again, which `boot` (a hash of the kernel's boot id; 0: not
 * known) says: then the age of a frame does not depend on a wall clock that steps.
 *
 * Ids rise by one. Those from void_from up to first_id were never acknowledged (a
 * write failed): should they still be found in an older segment, they do not count.
 */
#pragma once

#include "export/disk.h"
#include "util/err.h"

#define SEGMENT_VERSION 1
#define SEGMENT_HEADER_BYTES 64
#define SEGMENT_DATA_AT 1024
#define FRAME_HEAD_BYTES 40
#define SEGMENT_END_BYTES 48
#define FRAME_MAX_BYTES (64u << 20) /* of a payload: thrice the largest request */

#define SEGMENT_NAME_BYTES 40 /* 16 hex digits, ".seg" or ".seg.corrupt", NUL */

struct segment_header {
    uint64_t first_id, void_from, created_unix_ns, boot;
    uint32_t salt;
};

struct frame_head {
    uint64_t id, accepted_unix_ns;
    uint32_t records, bytes, accepted_ds, payload_crc;
};

/* All SEGMENT_DATA_AT bytes of it. */
void segment_header_encode(uint8_t out[SEGMENT_DATA_AT], const struct segment_header *h);

/* From the first n bytes of a file. ERR_UNSUPPORTED: sound, of a newer version;
 * ERR_EMPTY: zeros only, never written; ERR_MALFORMED: neither copy is sound. */
MUST_CHECK int segment_header_decode(struct segment_header *out, const uint8_t *in, size_t n);

void frame_head_encode(uint8_t out[FRAME_HEAD_BYTES], const struct frame_head *h, uint32_t salt);

struct segment_end {
    uint64_t end_id, frames, records, first_accepted_ns;
};

void segment_end_encode(uint8_t out[SEGMENT_END_BYTES], const struct segment_end *e, uint32_t salt);
bool segment_end_decode(struct segment_end *out, const uint8_t in[SEGMENT_END_BYTES],
                        uint32_t salt);

/* "00000000000000ff.seg". */
void segment_name(char out[SEGMENT_NAME_BYTES], uint64_t id);
/* False when it is no segment's name. */
bool segment_name_read(uint64_t *id, const char *name);

/* ---- from frame to frame ------------------------------------------------ */

struct segment_walk {
    const struct disk *disk;
    int file;
    uint32_t salt;
    bool checks_payload;    /* a frame with a damaged payload is no frame */
    uint64_t at;            /* the next frame starts here, or damage does */
    uint64_t end;           /* nothing is read from here on */
    uint64_t damaged_bytes; /* passed over before frames that were good */
    uint64_t tail_bytes;    /* at the end: what stands behind `at` and is not zero */
};

/* 1: *head and where its payload is; w->at is behind it. 0: no frame is left, w->at
 * is behind the last one. -errno: could not be read; w->at is where it was. */
MUST_CHECK int segment_next(struct segment_walk *w, struct frame_head *head, uint64_t *payload_at);
