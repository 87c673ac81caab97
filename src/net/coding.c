/* coding: libdeflate for gzip and deflate, ISA-L for gzip's encoding where there is one,
 * libzstd for zstd; their only home. */
#include "net/coding.h"

#include <libdeflate.h>
#include <stdlib.h>
#include <zstd.h>
#ifdef HAVE_ISAL
#include <isa-l/igzip_lib.h>
#endif

/* deflate cannot expand further than this (258 bytes from 2 bits, zlib's FAQ). */
#define DEFLATE_MAX_RATIO 1032

/* First guess where the format does not tell: logs compress about 8 to 1. */
#define USUAL_RATIO 8
#define SMALLEST_GUESS 4096

#define GZIP_MIN_BYTES 18 /* header 10, data, CRC and length 8 */

/* 8 MiB: what every decoder should support (RFC 8878 3.1.1.1.2), and the bound of our
 * memory for it. */
#define ZSTD_WINDOW_LOG 23

/* Measured, MB/s (ratio), 1 MiB of synthetic OTLP logs in JSON; in protobuf:
 * ISA-L 1116 (6.51); 795 (3.79)   libdeflate 328 (6.56); 263 (3.86)   zstd 796 (7.52); 506 (3.76)
 */
#define GZIP_LEVEL 1
#define ZSTD_LEVEL 1

struct coder {
    struct libdeflate_decompressor *inflate;
    struct libdeflate_compressor *deflate;
    ZSTD_DCtx *unzstd;
    ZSTD_CCtx *zstd;
#ifdef HAVE_ISAL
    struct isal {
        struct isal_zstream stream;
        uint8_t level[ISAL_DEF_LVL1_DEFAULT];
    } * isal;
#endif
};

struct coder *coder_new(void)
{
    return calloc(1, sizeof(struct coder));
}

void coder_free(struct coder *c)
{
    if (c == NULL)
        return;
    libdeflate_free_decompressor(c->inflate);
    libdeflate_free_compressor(c->deflate);
    ZSTD_freeDCtx(c->unzstd);
    ZSTD_freeCCtx(c->zstd);
#ifdef HAVE_ISAL
    free(c->isal);
#endif
    free(c);
}

static const struct {
    const char *name;
    enum coding coding;
} codings[] = {
    /* clang-format off */
    {"identity", CODING_IDENTITY},
    {"gzip",     CODING_GZIP},
    {"deflate",  CODING_DEFLATE},
    {"zstd",     CODING_ZSTD},
    {"x-gzip",   CODING_GZIP}, /* RFC 9110 8.4.1.3 */
    /* clang-format on */
};

int coding_parse(struct span value, enum coding *out)
{
    value = span_trim(value);
    if (value.len == 0) {
        *out = CODING_IDENTITY;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
        if (span_ieq(value, span_str(codings[i].name))) {
            *out = codings[i].coding;
            return 0;
        }
    }
    return ERR_UNSUPPORTED;
}

const char *coding_name(enum coding coding)
{
    return codings[coding].name;
}

/* ---- decoding ---- */

/* Room for up to `want` more bytes of output, but no more than `left`; more than what is
 * there already. Returns the room, or a failure. */
static int64_t make_room(struct buf *out, size_t want, size_t left)
{
    if (want > left)
        want = left;
    int rc = buf_reserve_exact(out, want);
    if (rc < 0)
        return rc;
    size_t room = out->cap - out->len;
    return (int64_t)(room < left ? room : left);
}

typedef enum libdeflate_result inflate_fn(struct libdeflate_decompressor *, const void *, size_t,
                                          void *, size_t, size_t *, size_t *);

/* One member or stream from *in, into as much room as it takes. libdeflate decodes
 * whole streams only: when the room was too small it starts again with twice as much,
 * which costs at most as much again. */
static int inflate_one(struct coder *c, inflate_fn *decode, struct span *in, struct buf *out,
                       size_t guess, size_t left)
{
    size_t most = in->len < SIZE_MAX / DEFLATE_MAX_RATIO ? in->len * DEFLATE_MAX_RATIO : SIZE_MAX;
    size_t want = guess > most ? most : guess;

    for (;;) {
        int64_t room = make_room(out, want, left);
        if (room < 0)
            return (int)room;
        size_t used = 0, made = 0;
        uint8_t nowhere = 0; /* an empty stream needs no room, but a pointer */
        switch (decode(c->inflate, in->base, in->len, room > 0 ? out->base + out->len : &nowhere,
                       (size_t)room, &used, &made)) {
        case LIBDEFLATE_SUCCESS:
            out->len += made;
            *in = span_skip(*in, used);
            return 0;
        case LIBDEFLATE_INSUFFICIENT_SPACE:
            if ((size_t)room >= left)
                return ERR_TOO_BIG;
            if ((size_t)room >= most)
                return ERR_MALFORMED; /* no true stream could */
            want = (size_t)room * 2 + SMALLEST_GUESS;
            break;
        default:
            return ERR_MALFORMED;
        }
    }
}

static int need_inflate(struct coder *c)
{
    if (c->inflate == NULL)
        c->inflate = libdeflate_alloc_decompressor();
    return c->inflate != NULL ? 0 : ERR_NOMEM;
}

static size_t usual_guess(struct span in)
{
    return in.len < SIZE_MAX / USUAL_RATIO ? in.len * USUAL_RATIO + SMALLEST_GUESS : in.len;
}

static int decode_gzip(struct coder *c, struct span in, struct buf *out, size_t max_bytes)
{
    int rc = need_inflate(c);
    size_t start = out->len;
    for (int members = 0; rc == 0; members++) {
        if (members > 0 && in.len == 0)
            return 0;
        if (in.len < GZIP_MIN_BYTES || members == CODING_GZIP_MEMBERS)
            return ERR_MALFORMED;
        /* The last four bytes state the length of the last member, modulo 2^32; right for
         * the usual single one. It is the peer's word: only where it is likely. */
        const uint8_t *t = in.base + in.len - 4;
        size_t stated = (size_t)t[0] | (size_t)t[1] << 8 | (size_t)t[2] << 16 | (size_t)t[3] << 24;
        size_t guess = members == 0 && stated / 64 <= in.len ? stated : usual_guess(in);
        rc = inflate_one(c, libdeflate_gzip_decompress_ex, &in, out, guess,
                         max_bytes - (out->len - start));
    }
    return rc;
}

static int decode_deflate(struct coder *c, struct span in, struct buf *out, size_t max_bytes)
{
    int rc = need_inflate(c);
    if (rc < 0)
        return rc;
    if (in.len == 0)
        return ERR_MALFORMED;
    bool is_zlib =
        in.len >= 2 && (in.base[0] & 15) == 8 && (in.base[0] << 8 | in.base[1]) % 31 == 0;
    inflate_fn *decode = is_zlib ? libdeflate_zlib_decompress_ex : libdeflate_deflate_decompress_ex;
    struct span rest = in;
    rc = inflate_one(c, decode, &rest, out, usual_guess(in), max_bytes);
    return rc == 0 && rest.len > 0 ? ERR_MALFORMED : rc;
}

static int decode_zstd(struct coder *c, struct span in, struct buf *out, size_t max_bytes)
{
    if (c->unzstd == NULL) {
        c->unzstd = ZSTD_createDCtx();
        if (c->unzstd == NULL)
            return ERR_NOMEM;
        ZSTD_DCtx_setParameter(c->unzstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
    }
    ZSTD_DCtx_reset(c->unzstd, ZSTD_reset_session_only);
    if (in.len == 0)
        return ERR_MALFORMED;

    size_t start = out->len, want = usual_guess(in);
    unsigned long long stated = ZSTD_getFrameContentSize(in.base, in.len);
    if (stated != ZSTD_CONTENTSIZE_UNKNOWN && stated != ZSTD_CONTENTSIZE_ERROR &&
        stated / 64 <= in.len)
        want = (size_t)stated;

    ZSTD_inBuffer from = {in.base, in.len, 0};
    for (;;) {
        size_t left = max_bytes - (out->len - start);
        int64_t room = make_room(out, want, left);
        if (room < 0)
            return (int)room;
        uint8_t nowhere = 0;
        ZSTD_outBuffer to = {room > 0 ? out->base + out->len : &nowhere, (size_t)room, 0};
        size_t from_before = from.pos;
        size_t hint = ZSTD_decompressStream(c->unzstd, &to, &from);
        if (ZSTD_isError(hint))
            return ERR_MALFORMED;
        out->len += to.pos;
        if (hint == 0 && from.pos == from.size)
            return 0; /* a frame ended, and the input with it */
        if (to.pos == to.size && (size_t)room >= left)
            return ERR_TOO_BIG; /* there is more than may come out */
        if (from.pos == from.size && to.pos < to.size)
            return ERR_MALFORMED; /* it wants input that is not there */
        if (from.pos == from_before && to.pos == 0 && room > 0)
            return ERR_MALFORMED;
        if (to.pos == to.size)
            want = out->len - start + SMALLEST_GUESS; /* twice as much in all */
        else
            want = 1;
    }
}

static int copy(struct span in, struct buf *out, size_t max_bytes)
{
    if (in.len > max_bytes)
        return ERR_TOO_BIG;
    buf_append(out, in);
    return out->err;
}

int coding_decode(struct coder *c, enum coding coding, struct span in, struct buf *out,
                  size_t max_bytes)
{
    size_t len = out->len;
    int rc = out->err;
    if (out->max_bytes > 0 && max_bytes > out->max_bytes - len)
        max_bytes = out->max_bytes - len;
    if (rc == 0) {
        switch (coding) {
        case CODING_IDENTITY:
            rc = copy(in, out, max_bytes);
            break;
        case CODING_GZIP:
            rc = decode_gzip(c, in, out, max_bytes);
            break;
        case CODING_DEFLATE:
            rc = decode_deflate(c, in, out, max_bytes);
            break;
        case CODING_ZSTD:
            rc = decode_zstd(c, in, out, max_bytes);
            break;
        }
    }
    if (rc < 0)
        out->len = len;
    return rc;
}

/* ---- encoding ---- */

static int encode_deflate(struct coder *c, enum coding coding, struct span in, struct buf *out)
{
    if (c->deflate == NULL)
        c->deflate = libdeflate_alloc_compressor(GZIP_LEVEL);
    if (c->deflate == NULL)
        return ERR_NOMEM;
    bool gzip = coding == CODING_GZIP;
    size_t bound = gzip ? libdeflate_gzip_compress_bound(c->deflate, in.len)
                        : libdeflate_zlib_compress_bound(c->deflate, in.len);
    int rc = buf_reserve_exact(out, bound);
    if (rc < 0)
        return rc;
    uint8_t *to = out->base + out->len;
    out->len += gzip ? libdeflate_gzip_compress(c->deflate, in.base, in.len, to, bound)
                     : libdeflate_zlib_compress(c->deflate, in.base, in.len, to, bound);
    return 0;
}

#ifdef HAVE_ISAL
/* One gzip member. ERR_MORE, with nothing appended, when it has no use for this input. */
static int encode_gzip_fast(struct coder *c, struct span in, struct buf *out)
{
    size_t bound = in.len + in.len / 8 + 1024;
    if (bound > UINT32_MAX)
        return ERR_MORE;
    if (c->isal == NULL)
        c->isal = malloc(sizeof *c->isal);
    if (c->isal == NULL)
        return ERR_NOMEM;
    int rc = buf_reserve_exact(out, bound);
    if (rc < 0)
        return rc;

    struct isal_zstream *z = &c->isal->stream;
    isal_deflate_init(z);
    z->gzip_flag = IGZIP_GZIP;
    z->level = GZIP_LEVEL;
    z->level_buf = c->isal->level;
    z->level_buf_size = sizeof c->isal->level;
    z->end_of_stream = 1;
    z->flush = NO_FLUSH;
    z->next_in = (uint8_t *)(uintptr_t)in.base;
    z->avail_in = (uint32_t)in.len;
    z->next_out = out->base + out->len;
    z->avail_out = (uint32_t)bound;
    if (isal_deflate(z) != COMP_OK || z->internal_state.state != ZSTATE_END)
        return ERR_MORE;
    out->len += z->total_out;
    return 0;
}
#endif

static int encode_gzip(struct coder *c, struct span in, struct buf *out)
{
#ifdef HAVE_ISAL
    int rc = encode_gzip_fast(c, in, out);
    if (rc != ERR_MORE)
        return rc;
#endif
    return encode_deflate(c, CODING_GZIP, in, out);
}

static int encode_zstd(struct coder *c, struct span in, struct buf *out)
{
    if (c->zstd == NULL) {
        c->zstd = ZSTD_createCCtx();
        if (c->zstd == NULL)
            return ERR_NOMEM;
        ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
        ZSTD_CCtx_setParameter(c->zstd, ZSTD_c_checksumFlag, 1);
    }
    size_t bound = ZSTD_compressBound(in.len);
    int rc = buf_reserve_exact(out, bound);
    if (rc < 0)
        return rc;
    size_t n = ZSTD_compress2(c->zstd, out->base + out->len, bound, in.base, in.len);
    if (ZSTD_isError(n))
        return ERR_NOMEM; /* with the bound's room there is no other reason */
    out->len += n;
    return 0;
}

int coding_encode(struct coder *c, enum coding coding, struct span in, struct buf *out)
{
    if (out->err != 0)
        return out->err;
    switch (coding) {
    case CODING_GZIP:
        return encode_gzip(c, in, out);
    case CODING_DEFLATE:
        return encode_deflate(c, coding, in, out);
    case CODING_ZSTD:
        return encode_zstd(c, in, out);
    case CODING_IDENTITY:
        break;
    }
    return copy(in, out, SIZE_MAX);
}
