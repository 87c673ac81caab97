/* http1_framing: two small automata. */
#include "net/http1_framing.h"

#define SIZE_DIGITS_MAX 32 /* of a chunk size; leading zeros are legal (RFC 9112 7.1) */

static bool is_token(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* ---- the request line -------------------------------------------------- */

enum line_part { LINE_BEFORE, LINE_METHOD, LINE_TARGET, LINE_VERSION, LINE_OVER };

static void line_go(struct request_line *l, enum line_part to)
{
    l->part = (uint8_t)to;
    l->at = 0;
}

static int line_version(struct request_line *l, uint8_t c)
{
    static const char form[] = "HTTP/d.d\r\n";
    char want = form[l->at++];
    if (want == 'd' ? !is_digit(c) : c != (uint8_t)want)
        return 400;
    if (l->at == 6)
        l->major = (uint8_t)(c - '0');
    if (l->at == 8 && (l->major != 1 || c > '1'))
        return l->major == 0 ? 400 : 505;
    if (form[l->at] == '\0')
        line_go(l, LINE_OVER);
    return 0;
}

int request_line_check(struct request_line *l, struct span in)
{
    for (size_t i = 0; i < in.len && l->part != LINE_OVER; i++) {
        uint8_t c = in.base[i];
        bool is_empty = l->at == 0;
        int status = 0;
        switch ((enum line_part)l->part) {
        case LINE_BEFORE: /* an empty line may come first (2.2) */
            if (c == '\r' || c == '\n')
                break;
            line_go(l, LINE_METHOD);
            is_empty = true;
            /* fall through */
        case LINE_METHOD:
        case LINE_TARGET:
            if (c == '\r' || c == '\n' || (c == ' ' && is_empty) ||
                (c == '#' && l->part == LINE_TARGET))
                return 400;
            l->at = 1;
            if (c == ' ')
                line_go(l, l->part == LINE_METHOD ? LINE_TARGET : LINE_VERSION);
            break;
        case LINE_VERSION:
            status = line_version(l, c);
            break;
        case LINE_OVER:
            break;
        }
        if (status != 0)
            return status;
    }
    return 0;
}

/* ---- chunks ------------------------------------------------------------ */

enum chunk_part {
    CHUNK_SIZE,
    CHUNK_SIZE_CR, /* behind an extension */
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    TRAILER_BEGIN,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    CHUNK_LAST_LF,
    CHUNK_OVER,
    /* chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) */
    EXT_BEGIN, /* a blank was there: another one, or ';' */
    EXT_SEMICOLON,
    EXT_NAME,
    EXT_NAME_OVER,
    EXT_EQUALS,
    EXT_TOKEN,
    EXT_QUOTED,
    EXT_ESCAPE,
    EXT_QUOTED_OVER,
};

/* The part behind c in an extension; negative: c may not stand there. */
static int extension_next(enum chunk_part part, uint8_t c)
{
    bool may_end = part == EXT_NAME || part == EXT_TOKEN || part == EXT_QUOTED_OVER;
    bool is_text = c == '\t' || (c >= ' ' && c != 0x7f);
    if (part == EXT_QUOTED)
        return !is_text ? -1 : c == '"' ? EXT_QUOTED_OVER : c == '\\' ? EXT_ESCAPE : EXT_QUOTED;
    if (part == EXT_ESCAPE)
        return is_text ? EXT_QUOTED : -1;
    if (c == '\r')
        return may_end ? CHUNK_SIZE_CR : -1;
    if (c == ';')
        return may_end || part == EXT_BEGIN || part == EXT_NAME_OVER ? EXT_SEMICOLON : -1;
    if (is_blank(c))
        return part == EXT_NAME                               ? EXT_NAME_OVER
               : part == EXT_TOKEN || part == EXT_QUOTED_OVER ? EXT_BEGIN
                                                              : (int)part;
    if (c == '=')
        return part == EXT_NAME || part == EXT_NAME_OVER ? EXT_EQUALS : -1;
    if (c == '"')
        return part == EXT_EQUALS ? EXT_QUOTED : -1;
    if (!is_token(c))
        return -1;
    return part == EXT_SEMICOLON || part == EXT_NAME ? EXT_NAME
           : part == EXT_EQUALS || part == EXT_TOKEN ? EXT_TOKEN
                                                     : -1;
}

/* The size is known when its digits end. Beyond 63 bits it is no size; below, it may be too big. */
static int size_next(struct chunked *c, uint8_t byte, uint64_t left)
{
    int digit = span_hex_digit(byte);
    if (digit >= 0) {
        if (c->size > UINT64_MAX >> 5 || ++c->digits > SIZE_DIGITS_MAX)
            return ERR_MALFORMED;
        c->size = c->size << 4 | (unsigned)digit;
        return CHUNK_SIZE;
    }
    if (c->digits == 0 || (byte != '\r' && byte != ';' && !is_blank(byte)))
        return ERR_MALFORMED;
    if (c->size > left)
        return ERR_TOO_BIG;
    return byte == '\r' ? CHUNK_SIZE_LF : EXT_BEGIN;
}

static int trailer_next(struct chunked *c, uint8_t byte)
{
    if (++c->extra > CHUNKED_EXTRA_BYTES)
        return ERR_MALFORMED;
    switch ((enum chunk_part)c->part) {
    case TRAILER_BEGIN:
        if (byte == '\r')
            return CHUNK_LAST_LF;
        return is_token(byte) && ++c->trailers <= CHUNKED_TRAILERS_MAX ? TRAILER_NAME
                                                                       : ERR_MALFORMED;
    case TRAILER_NAME:
        return byte == ':' ? TRAILER_VALUE : is_token(byte) ? TRAILER_NAME : ERR_MALFORMED;
    case TRAILER_VALUE:
        if (byte == '\r')
            return TRAILER_LF;
        return byte == '\t' || (byte >= ' ' && byte != 0x7f) ? TRAILER_VALUE : ERR_MALFORMED;
    default:
        return byte == '\n' ? TRAILER_BEGIN : ERR_MALFORMED;
    }
}

/* The part behind one byte that is no data, or an error. */
static int next(struct chunked *c, uint8_t byte, uint64_t left)
{
    switch ((enum chunk_part)c->part) {
    case CHUNK_SIZE:
        return size_next(c, byte, left);
    case CHUNK_SIZE_CR:
        return byte == '\r' ? CHUNK_SIZE_LF : ERR_MALFORMED;
    case CHUNK_SIZE_LF:
        c->announced = c->size;
        c->digits = 0;
        return byte != '\n' ? ERR_MALFORMED : c->size > 0 ? CHUNK_DATA : TRAILER_BEGIN;
    case CHUNK_DATA_CR:
        return byte == '\r' ? CHUNK_DATA_LF : ERR_MALFORMED;
    case CHUNK_DATA_LF:
        return byte == '\n' ? CHUNK_SIZE : ERR_MALFORMED;
    case CHUNK_LAST_LF:
        return byte == '\n' ? CHUNK_OVER : ERR_MALFORMED;
    default:
        return trailer_next(c, byte);
    }
}

static size_t take_data(struct chunked *c, size_t len)
{
    size_t n = c->size < len ? (size_t)c->size : len;
    c->size -= n;
    if (c->size == 0)
        c->part = CHUNK_DATA_CR;
    return n;
}

int chunked_scan(struct chunked *c, struct span in, uint64_t left, size_t *feed, size_t *skip)
{
    size_t i = 0;
    bool is_size_read = false;
    while (i < in.len && c->part < CHUNK_OVER && !is_size_read) {
        if (c->part == CHUNK_DATA) {
            size_t n = take_data(c, in.len - i);
            left -= n < left ? n : left;
            i += n;
            continue;
        }
        int part = next(c, in.base[i], left);
        if (part < 0)
            return part;
        is_size_read = c->part == CHUNK_SIZE_LF;
        c->part = (uint8_t)part;
        if (part < EXT_BEGIN) /* what begins an extension is not the parser's */
            i++;
    }
    size_t begin = i;
    while (i < in.len && c->part >= EXT_BEGIN) {
        int part = extension_next((enum chunk_part)c->part, in.base[i]);
        if (part < 0 || ++c->extra > CHUNKED_EXTRA_BYTES)
            return ERR_MALFORMED;
        c->part = (uint8_t)part;
        if (part >= EXT_BEGIN)
            i++;
    }
    *feed = begin;
    *skip = i - begin;
    return 0;
}
