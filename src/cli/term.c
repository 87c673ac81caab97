/* term: a short table of how wide characters are. */
#include "cli/term.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "util/unicode.h"

/* Columns of what is not 1; from Unicode's EastAsianWidth (W, F) and general category (Mn, Me,
 * Cf), by blocks. The first row that holds a character counts. */
static const struct {
    uint32_t from, to;
    int columns; /* -1: shown as '?' */
} widths[] = {
    /* clang-format off */
    {0x0000, 0x001f, -1}, {0x007f, 0x009f, -1},
    {0x0300, 0x036f, 0},  {0x061c, 0x061c, -1}, {0x1100, 0x115f, 2},
    {0x1ab0, 0x1aff, 0},  {0x1dc0, 0x1dff, 0},  {0x200b, 0x200c, -1},
    {0x200d, 0x200d, 0},  {0x200e, 0x200f, -1}, {0x2028, 0x202e, -1},
    {0x2060, 0x206f, -1}, {0x20d0, 0x20ff, 0},  {0x231a, 0x231b, 2},
    {0x23e9, 0x23ec, 2},  {0x2e80, 0x303e, 2},  {0x3041, 0x4dbf, 2},
    {0x4e00, 0xa4cf, 2},  {0xa960, 0xa97f, 2},  {0xac00, 0xd7a3, 2},
    {0xd800, 0xdfff, -1}, {0xf900, 0xfaff, 2},  {0xfe00, 0xfe0f, 0},
    {0xfe30, 0xfe6f, 2},  {0xfeff, 0xfeff, -1}, {0xff00, 0xff60, 2},
    {0xffe0, 0xffe6, 2},  {0xfff9, 0xfffb, -1}, {0x1f300, 0x1f64f, 2},
    {0x1f680, 0x1f6ff, 2}, {0x1f900, 0x1faff, 2}, {0x20000, 0x3fffd, 2},
    {0xe0000, 0xe0fff, -1},
    /* clang-format on */
};

static int columns_of(uint32_t cp)
{
    if (cp >= ' ' && cp < 0x7f)
        return 1;
    for (size_t i = 0; i < ARRAY_LEN(widths) && cp >= widths[i].from; i++)
        if (cp <= widths[i].to)
            return widths[i].columns;
    return 1;
}

/* Columns of the whole text, counted no further than `enough`. */
static unsigned measure(struct span text, unsigned enough)
{
    const uint8_t *at = text.base, *end = text.base + text.len;
    unsigned used = 0;
    while (at < end && used <= enough) {
        uint32_t cp;
        at += utf8_read(at, end, &cp);
        int w = columns_of(cp);
        used += w < 0 ? 1 : (unsigned)w;
    }
    return used;
}

unsigned term_add(struct buf *out, struct span text, unsigned columns)
{
    const uint8_t *at = text.base, *end = text.base + text.len;
    bool fits = text.len <= columns || measure(text, columns) <= columns;
    unsigned room = fits || columns == 0 ? columns : columns - 1, used = 0;
    while (at < end) {
        uint32_t cp;
        size_t n = utf8_read(at, end, &cp);
        int w = columns_of(cp);
        if (used + (w < 0 ? 1 : (unsigned)w) > room)
            break;
        if (w < 0)
            buf_append_byte(out, '?');
        else
            buf_append(out, span_of(at, n));
        used += w < 0 ? 1 : (unsigned)w;
        at += n;
    }
    if (!fits && columns > 0) {
        buf_append_str(out, "…");
        used++;
    }
    return used;
}

void term_add_padded(struct buf *out, struct span text, unsigned columns)
{
    for (unsigned used = term_add(out, text, columns); used < columns; used++)
        buf_append_byte(out, ' ');
}

unsigned term_width(int fd)
{
    struct winsize size;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

bool term_has_colour(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fd) && (no == NULL || no[0] == '\0') &&
           (term == NULL || strcmp(term, "dumb") != 0);
}
