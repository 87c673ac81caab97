/*
 * http2_flood: how many frames of each kind a peer may send, or make us send, per
 * second in the long run and at once. gRPC measures bandwidth by PING, up to 100 a
 * second; a client that gives up resets every stream it has open.
 *
 * Debian 12's nghttp2 has no such limits of its own.
 *
 * Units: frames, monotonic milliseconds. Blocking: never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/clock.h"
#include "util/span.h"

/* clang-format off */
#define FLOODS(X) \
    /* kind          per s  burst */ \
    X(RESET,           100,   500) /* theirs and ours: CVE-2023-44487, CVE-2025-8671 */ \
    X(PING,            100,   200) /* CVE-2019-9512 */ \
    X(SETTINGS,         10,    50) /* CVE-2019-9515 */ \
    X(EMPTY_DATA,      100,  1000) /* without END_STREAM: CVE-2019-9518 */ \
    X(TINY_DATA,      1000,  4000) /* fewer than FLOOD_TINY_BYTES, without END_STREAM */ \
    X(STRAY_DATA,     1000,  4000) /* of streams that are gone: what was on its way after an answer */ \
    X(PRIORITY,        100,  1000) /* CVE-2019-9513 */ \
    X(WINDOW_UPDATE,  1000,  5000) /* CVE-2019-9511 by windows of one byte */ \
    X(CONTINUATION,    100,   500) /* CVE-2024-27316 */ \
    X(OTHER,           100,  1000) /* unknown types must be ignored, but not for ever */
/* clang-format on */

#define FLOOD_TINY_BYTES 16

#define X(name, per_s, burst) FLOOD_##name,
enum flood_kind { FLOODS(X) FLOOD_COUNT };
#undef X

struct flood {
    const struct clock *clock;
    uint64_t refilled_ms;
    uint32_t spent[FLOOD_COUNT];
};

static inline void flood_init(struct flood *f, const struct clock *clock)
{
    *f = (struct flood){.clock = clock, .refilled_ms = clock_now_ms(clock)};
}

/* One more frame. False: it was one too many. */
bool flood_spend(struct flood *f, enum flood_kind kind);

/* A DATA frame of ours of at least so much is worth its WINDOW_UPDATEs, of stream and connection: a
 * long answer needs more of them than the rate allows. Windows of one byte make smaller frames. */
#define FLOOD_WORTHY_BYTES 1024
#define FLOOD_WINDOW_UPDATES 2

/* So many frames were called for by what we sent. */
void flood_earn(struct flood *f, enum flood_kind kind, uint32_t frames);

/* ---- the heads of frames, from the raw bytes (RFC 9113 4.1) ---- */

#define FRAME_HEAD_BYTES 9

struct frame_walk {
    uint8_t head[FRAME_HEAD_BYTES], head_len;
    uint32_t left; /* of the payload, or of the preface */
};

void frame_walk_init(struct frame_walk *w);

/* Cut off *in what comes before the next head, and that. False: there is none in it yet. */
bool frame_walk_next(struct frame_walk *w, struct span *in, uint8_t *type, int32_t *id);
