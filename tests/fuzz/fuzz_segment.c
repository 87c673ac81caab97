/* Any bytes as a segment and as a position: the spool starts, reads nothing that its CRCs do not
 * prove, and starts again with what the first start left. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "export/segment.h"
#include "export/spool.h"
#include "unit/export/sim_disk.h"
#include "util/crc32c.h"
#include "util/le.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Fuzzers do not guess CRCs. Where `fix` says so, heads that stand where frames follow each
 * other get the CRCs they would have. */
static void repair(uint8_t *bytes, size_t size)
{
    if (size < SEGMENT_DATA_AT)
        return;
    le32_put(bytes + 60, crc32c(0, span_of(bytes, 60)));
    uint32_t salt = le32_get(bytes + 12);
    for (size_t at = SEGMENT_DATA_AT; at + FRAME_HEAD_BYTES <= size;) {
        size_t n = le32_get(bytes + at + 4) % 512;
        le32_put(bytes + at + 4, (uint32_t)n);
        if (n > size - at - FRAME_HEAD_BYTES)
            break;
        le32_put(bytes + at + 32, crc32c(0, span_of(bytes + at + FRAME_HEAD_BYTES, n)));
        le32_put(bytes + at + 36, crc32c(salt, span_of(bytes + at, 36)));
        at += FRAME_HEAD_BYTES + n;
    }
}

static uint64_t read_all(struct sim *sim)
{
    struct clock_fake clock;
    clock_fake_init(&clock, 1, 1);
    const struct spool_opts opts = {.segment_bytes = 4096, .salt = 1, .clock = &clock.clock};
    struct disk disk = sim_disk(sim);
    struct spool *s = NULL;
    struct spool_frame f;
    struct buf payload = {0};
    struct error err = {{0}};
    uint64_t frames = 0, last = 0;
    int rc = spool_open(&s, &disk, &opts, &err);
    assert(rc == 0 || rc == ERR_UNSUPPORTED);
    while (rc == 0 && (rc = spool_next(s, &f, &payload)) == 0) {
        assert(f.id > last || frames == 0);
        assert(payload.len == f.bytes);
        last = f.id;
        frames++;
        if (frames % 2 == 0)
            spool_settle(s, f.id);
    }
    assert(rc == ERR_EMPTY || rc == ERR_UNSUPPORTED || rc == ERR_FULL);
    spool_close(s);
    buf_done(&payload);
    return frames;
}

static void on_lost(void *ctx, const struct spool_frame *frame, uint64_t frames, uint64_t records,
                    enum spool_loss why)
{
    uint64_t *lost = ctx;
    assert(frames >= 1 && (frame == NULL || (frames == 1 && records == frame->records)));
    lost[why] += frames;
}

/* How a day may go badly, bit by bit of the first byte; when, by the last. */
enum { AGES = 8, CANNOT_READ = 16, DROPS = 32, CANNOT_OPEN = 64, FAILS = 128 };

#define STEPS 200
#define LATER_MS 60000 /* by then a medium that fails is taken for one */

/* Whatever fails, the spool goes on: a frame is read once, or its loss is reported once. */
static void read_badly(struct sim *sim, uint8_t how, uint8_t when)
{
    struct clock_fake clock;
    uint64_t lost[SPOOL_LOSS_COUNT] = {0}, last = 0, id;
    struct disk disk = sim_disk(sim);
    struct spool *s = NULL;
    struct spool_frame f;
    struct buf payload = {0};
    struct error err = {{0}};
    const struct span one =
        SPAN("a frame of this run, which is long enough to fill a segment soon");
    clock_fake_init(&clock, 1, 1);
    const struct spool_opts opts = {.segment_bytes = 4096,
                                    .salt = 1,
                                    .clock = &clock.clock,
                                    .max_bytes = how & DROPS ? 16384 : 0,
                                    .drops_oldest = true,
                                    .max_age_ns = how & AGES ? 1000000000 : 0,
                                    .ctx = lost,
                                    .lost = on_lost};
    if (spool_open(&s, &disk, &opts, &err) < 0)
        return;
    sim->bad_file = how & CANNOT_READ ? sim_find(sim, "0000000000000001.seg") : NULL;
    sim->bad_from = SEGMENT_DATA_AT + when;
    sim->bad_to = sim->bad_from + 64;
    sim->open_code = how & CANNOT_OPEN ? (when % 2 == 0 ? -ENOENT : -EIO) : 0;
    sim->fail_at = how & FAILS ? sim->calls + 1 + when % 16 : 0;
    sim->fail_code = -EIO;
    for (int i = 0; i < STEPS; i++) {
        int rc = how & DROPS ? spool_append(s, &one, 1, 1, 1, &id) : 0;
        if (rc == 0 && i % 8 == 0)
            rc = spool_sync(s);
        rc = spool_next(s, &f, &payload);
        if (rc == 0) {
            assert(f.id > last);
            last = f.id;
            if (i % 3 != 0)
                spool_settle(s, f.id);
        }
        clock_fake_advance(&clock, LATER_MS);
        if (i % 16 == 15) {
            sim->open_code = 0;
            ignore_code(spool_checkpoint(s));
        }
    }
    struct spool_stats stats;
    spool_stats(s, &stats);
    for (int why = 0; why < SPOOL_LOSS_COUNT; why++)
        assert(lost[why] == stats.lost_frames[why] || why == SPOOL_LOST_DAMAGED);
    spool_close(s);
    buf_done(&payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sim sim;
    if (size < 1)
        return 0;
    uint8_t *bytes = malloc(size);
    memcpy(bytes, data + 1, size - 1);
    if (data[0] & 1)
        repair(bytes, size - 1);
    sim_init(&sim, 1);
    sim_put(&sim, "0000000000000001.seg", bytes, size - 1);
    if (data[0] & 2)
        sim_put(&sim, "0000000000000002.seg", bytes, (size - 1) / 2);
    if (data[0] & 4)
        sim_put(&sim, "position", bytes, size - 1);
    if ((data[0] & ~7) != 0) {
        struct sim bad;
        sim_clone(&bad, &sim);
        read_badly(&bad, data[0], data[size - 1]);
        sim_done(&bad);
    }
    uint64_t first = read_all(&sim), second = read_all(&sim);
    assert(second <= first);
    sim_done(&sim);
    free(bytes);
    return 0;
}
