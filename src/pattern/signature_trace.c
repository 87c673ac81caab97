/*
 * signature_trace: what counts of a stack trace. Types, the types of causes and
 * the functions of the top frames; no messages, files, lines or addresses.
 */
#include "pattern/signature_identity.h"

#define MAX_HEADS 4
#define MAX_FRAMES 3 /* after each head */

/* A part is begun by its first bytes, so that an empty one leaves nothing. */
static void add(struct identity *id, bool *begun, struct span s)
{
    if (s.len == 0)
        return;
    if (!*begun) {
        identity_begin_part(id);
        identity_add_byte(id, PART_TRACE);
        *begun = true;
    }
    identity_add(id, s);
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct span strip(struct span s)
{
    while (s.len > 0 && is_blank(s.base[0]))
        s = span_skip(s, 1);
    while (s.len > 0 && is_blank(s.base[s.len - 1]))
        s.len--;
    return s;
}

static struct span trim_byte(struct span s, uint8_t left, uint8_t right)
{
    while (s.len > 0 && s.base[0] == left)
        s = span_skip(s, 1);
    while (s.len > 0 && s.base[s.len - 1] == right)
        s.len--;
    return s;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* A piece of a frame that names no function: a file, a line, an address, #3. */
static bool is_place(struct span piece)
{
    struct span bare = trim_byte(piece, '#', ':');
    bool digit = false, only_digits = bare.len > 0, named = false, lone_colon = false;

    for (size_t i = 0; i < piece.len; i++) {
        uint8_t c = piece.base[i];
        if (c == '/' || c == '\\')
            return true;
        named = named || c == '.' || c == '_' || c == '$';
        if (c == ':') {
            size_t run = 1;
            while (i + 1 < piece.len && piece.base[i + 1] == ':') {
                run++;
                i++;
            }
            lone_colon = lone_colon || run % 2 == 1;
        }
    }
    for (size_t i = 0; i < bare.len; i++) {
        digit = digit || is_digit(bare.base[i]);
        only_digits = only_digits && is_digit(bare.base[i]);
    }
    return lone_colon || (digit && !named) || only_digits || span_starts(piece, SPAN("0x"));
}

/* Where needle starts last in s; NULL: nowhere. */
static const uint8_t *find_last(struct span s, struct span needle)
{
    for (size_t i = s.len; i >= needle.len; i--)
        if (memcmp(s.base + i - needle.len, needle.base, needle.len) == 0)
            return s.base + i - needle.len;
    return NULL;
}

/* The function of a stack frame: what stands between brackets, but for places. */
static void sign_frame(struct identity *id, struct span line)
{
    bool begun = false, more = true;
    line = strip(line);
    if (span_starts(line, SPAN("File "))) { /* Python */
        const uint8_t *mark = find_last(line, SPAN(", in "));
        if (mark != NULL) {
            add(id, &begun, SPAN("at "));
            add(id, &begun, span_skip(line, (size_t)(mark - line.base) + 5));
            return;
        }
    }
    for (bool first = true; more;) {
        const uint8_t *paren = line.len > 0 ? memchr(line.base, '(', line.len) : NULL;
        struct span piece = line;
        more = paren != NULL;
        if (more) {
            piece.len = (size_t)(paren - line.base);
            line = span_skip(line, piece.len + 1);
        }
        if (is_place(piece))
            continue;
        if (!first)
            add(id, &begun, SPAN(" "));
        add(id, &begun, piece);
        first = false;
    }
}

/* Up to the first colon; that of a cause up to the second. */
static void sign_head(struct identity *id, struct span line)
{
    bool begun = false;
    const uint8_t *end = line.base + line.len;
    const uint8_t *colon = memchr(line.base, ':', line.len);
    size_t first = colon != NULL ? (size_t)(colon - line.base) : line.len;
    struct span name = span_of(line.base, first);

    if (span_eq(name, SPAN("Caused by")) || span_eq(name, SPAN("Suppressed"))) {
        if (colon == NULL)
            return;
        colon = memchr(colon + 1, ':', (size_t)(end - colon - 1));
        name.len = colon != NULL ? (size_t)(colon - line.base) : line.len;
    }
    add(id, &begun, strip(name));
}

void trace_sign(struct identity *id, struct span lines)
{
    uint32_t heads = 0, frames = 0;
    while (lines.len > 0) {
        const uint8_t *newline = memchr(lines.base, '\n', lines.len);
        size_t len = newline != NULL ? (size_t)(newline - lines.base) : lines.len;
        struct span line = span_of(lines.base, len);
        lines = span_skip(lines, newline != NULL ? len + 1 : len);

        if (strip(line).len == 0)
            continue;
        if (line.base[0] == ' ' || line.base[0] == '\t') {
            if (++frames <= MAX_FRAMES)
                sign_frame(id, line);
        } else if (heads < MAX_HEADS) {
            heads++;
            frames = 0;
            sign_head(id, line);
        }
    }
}
