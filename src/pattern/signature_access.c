/* signature_access: lines of access logs, and the routes of requests. */
#include "pattern/signature_identity.h"

#define QUOTE_WITHIN 256 /* bytes, in which the request begins */
#define FIELDS_BEFORE 12
#define MAX_SEGMENTS 4
#define MAX_SEGMENT_BYTES 32

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Where a byte is found first; s.len: nowhere. */
static size_t find_byte(struct span s, uint8_t byte)
{
    const uint8_t *at = s.len > 0 ? memchr(s.base, byte, s.len) : NULL;
    return at != NULL ? (size_t)(at - s.base) : s.len;
}

/* Where "://" begins; s.len: nowhere. */
static size_t find_scheme_end(struct span s)
{
    for (size_t i = find_byte(s, ':'); i + 2 < s.len;) {
        if (s.base[i + 1] == '/' && s.base[i + 2] == '/')
            return i;
        i += 1 + find_byte(span_skip(s, i + 1), ':');
    }
    return s.len;
}

/* ---- routes -------------------------------------------------------------- */

static bool is_variable(struct span segment)
{
    bool hex = segment.len >= 8;
    if (segment.len > MAX_SEGMENT_BYTES)
        return true;
    for (size_t i = 0; i < segment.len; i++) {
        uint8_t c = segment.base[i], low = c | 0x20;
        if (is_digit(c) || c >= 0x80 || (c != 0 && strchr("%=&,:@+", c) != NULL))
            return true;
        hex = hex && low >= 'a' && low <= 'f';
    }
    return hex;
}

/* The path of a target alone: without scheme and host, parameters and fragment. */
static struct span path_of(struct span target)
{
    size_t scheme = find_scheme_end(target);
    if (scheme > 0 && scheme < target.len) {
        target = span_skip(target, scheme + 3);
        size_t slash = find_byte(target, '/');
        target = slash < target.len ? span_skip(target, slash) : SPAN("/");
    }
    static const uint8_t ends[] = {'?', '#', ';'};
    for (size_t i = 0; i < sizeof ends; i++)
        target.len = find_byte(target, ends[i]);
    return target;
}

static void add_variable(struct identity *id, bool *last_is_variable)
{
    if (!*last_is_variable) {
        identity_add_part(id, SPAN("/"));
        identity_add_part(id, SPAN("\x01"));
    }
    *last_is_variable = true;
}

/* Of a segment that is no variable, so without digits and bytes from 0x80 up. */
static bool is_word(struct span segment)
{
    bool letter = false;
    for (size_t i = 0; i < segment.len; i++) {
        uint8_t low = segment.base[i] | 0x20;
        letter = letter || (low >= 'a' && low <= 'z');
    }
    return letter && segment.base[0] >= ' ';
}

enum route route_sign(struct identity *id, struct span target)
{
    struct span path = path_of(target);
    bool last_is_variable = false;
    enum route found = ROUTE_NONE;
    size_t at = find_byte(path, '/');
    for (int n = 1; at < path.len; n++) {
        path = span_skip(path, at + 1);
        at = find_byte(path, '/');
        struct span segment = span_of(path.base, at);
        found = found == ROUTE_NONE ? ROUTE_NO_WORD : found;
        if (n > MAX_SEGMENTS || is_variable(segment)) {
            add_variable(id, &last_is_variable);
            if (n > MAX_SEGMENTS)
                break;
            continue;
        }
        identity_add_part(id, SPAN("/"));
        if (segment.len > 0)
            identity_add_part(id, segment);
        last_is_variable = span_eq(segment, SPAN("\x01"));
        found = is_word(segment) ? ROUTE_WORD : found;
    }
    return found;
}

static inline bool is_around(uint8_t c)
{
    static const bool around[256] = {
        ['"'] = true, ['\''] = true, ['`'] = true, ['('] = true, [')'] = true, ['['] = true,
        [']'] = true, ['<'] = true,  ['>'] = true, [','] = true, [';'] = true,
    };
    return around[c];
}

struct span route_in(struct span line)
{
    const uint8_t *at = line.base, *end = line.base + line.len;
    if (find_byte(line, '/') == line.len)
        return (struct span){0};
    for (;;) {
        while (at < end && is_blank(*at))
            at++;
        if (at == end)
            return (struct span){0};
        const uint8_t *from = at;
        while (at < end && !is_blank(*at))
            at++;
        struct span w = span_of(from, (size_t)(at - from));
        while (w.len > 0 && is_around(w.base[0]))
            w = span_skip(w, 1);
        while (w.len > 0 && is_around(w.base[w.len - 1]))
            w.len--;
        size_t scheme = find_scheme_end(w);
        if (w.len > 1 && (w.base[0] == '/' || (scheme > 0 && scheme < w.len)))
            return w;
    }
}

/* ---- access logs --------------------------------------------------------- */

static size_t count_fields(struct span s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += !is_blank(s.base[i]) && (i == 0 || is_blank(s.base[i - 1]));
    return n;
}

struct request {
    struct span method, target; /* empty: not a valid request */
    uint8_t status;             /* its first digit */
};

static bool is_method(const struct words *w, struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.base[i] < 'A' || s.base[i] > 'Z')
            return false;
    return s.len > 0 && (words_find(w, s.base, s.len) & WORD_METHOD) != 0;
}

/* METHOD target [HTTP/...] between the quotes. */
static bool read_quoted(const struct words *w, struct request *r, struct span quoted)
{
    size_t space = find_byte(quoted, ' ');
    if (space == quoted.len || !is_method(w, span_of(quoted.base, space)))
        return false;
    struct span rest = span_skip(quoted, space + 1);
    size_t end = find_byte(rest, ' ');
    if (end < rest.len) {
        struct span version = span_skip(rest, end + 1);
        if (find_byte(version, ' ') < version.len || !span_starts(version, SPAN("HTTP/")))
            return false;
    }
    r->method = span_of(quoted.base, space);
    r->target = span_of(rest.base, end);
    return true;
}

static bool read_request(const struct words *w, struct request *r, struct span line)
{
    size_t q =
        find_byte(span_of(line.base, line.len < QUOTE_WITHIN ? line.len : QUOTE_WITHIN), '"');
    if (q >= QUOTE_WITHIN || q >= line.len)
        return false;
    struct span quoted = span_skip(line, q + 1);
    size_t e = find_byte(quoted, '"');
    const uint8_t *status = quoted.base + e + 2;
    size_t left = quoted.len - e;
    if (left < 5 || status[-1] != ' ' || status[0] < '1' || status[0] > '5' ||
        !is_digit(status[1]) || !is_digit(status[2]))
        return false;
    if (left > 5 && status[3] != ' ' && status[3] != ',' && status[3] != '\t')
        return false;
    if (count_fields(span_of(line.base, q)) > FIELDS_BEFORE)
        return false;
    r->status = status[0];
    quoted.len = e;
    return read_quoted(w, r, quoted) ||
           (q >= 2 && line.base[q - 2] == ']' && line.base[q - 1] == ' ');
}

bool access_is(const struct words *w, struct span line)
{
    struct request r = {0};
    return read_request(w, &r, line);
}

bool access_sign(const struct words *w, struct identity *id, struct span line)
{
    struct request r = {0};
    if (!read_request(w, &r, line))
        return false;
    uint8_t class[] = {r.status, 'x', 'x'};
    identity_add_part(id, SPAN("\""));
    if (r.method.len > 0) {
        identity_add_part(id, r.method);
        identity_add_part(id, SPAN(" "));
    }
    if (r.method.len == 0 || route_sign(id, r.target) == ROUTE_NONE)
        identity_add_part(id, SPAN("\x01"));
    identity_add_part(id, SPAN("\""));
    identity_add_part(id, SPAN(" "));
    identity_add_part(id, span_of(class, sizeof class));
    return true;
}
