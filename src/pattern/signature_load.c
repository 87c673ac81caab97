/* signature_load: a line's copy, without the codes that colour it. */
#include "pattern/signature_line.h"

#define CODE_MAX_BYTES 24 /* of numbers between [ and the letter */

/* How a code begins: as it is, or written as text by what escaped it. */
static const struct span marks[] = {
    {(const uint8_t *)"\x1b[", 2},    {(const uint8_t *)"\\x1b[", 5},
    {(const uint8_t *)"\\x1B[", 5},   {(const uint8_t *)"\\u001b[", 7},
    {(const uint8_t *)"\\u001B[", 7}, {(const uint8_t *)"\\033[", 5},
    {(const uint8_t *)"\\e[", 3},     {(const uint8_t *)"^[[", 3},
    {(const uint8_t *)"#033[", 5},
};

/* Bytes of the code that s begins with; 0: it begins with none. */
static size_t code_bytes(struct span s)
{
    size_t m = 0;
    while (m < ARRAY_LEN(marks) && (marks[m].base[0] != s.base[0] || !span_starts(s, marks[m])))
        m++;
    if (m == ARRAY_LEN(marks))
        return 0;
    size_t from = marks[m].len, at = from;
    while (at < s.len && at - from < CODE_MAX_BYTES &&
           ((s.base[at] >= '0' && s.base[at] <= '9') || s.base[at] == ';' || s.base[at] == '?'))
        at++;
    uint8_t low = at < s.len ? s.base[at] | 0x20 : 0;
    return low >= 'a' && low <= 'z' ? at + 1 : 0;
}

/* In place. Returns the bytes that are left. */
static size_t drop_codes(uint8_t *s, size_t n)
{
    size_t out = 0, done = 0; /* s[0..out) is what is left of s[0..done) */
    for (size_t at = 0; at < n; at++) {
        bool may = s[at] == 0x1b || s[at] == '\\' || s[at] == '^' || s[at] == '#';
        size_t code = may ? code_bytes(span_of(s + at, n - at)) : 0;
        if (code == 0)
            continue;
        memmove(s + out, s + done, at - done);
        out += at - done;
        done = at + code;
        at = done - 1;
    }
    memmove(s + out, s + done, n - done);
    return out + n - done;
}

bool line_load(struct line *l, struct span text)
{
    uint8_t *s = l->bytes + LINE_TEXT_AT;
    size_t n = text.len < LINE_MAX_BYTES ? text.len : LINE_MAX_BYTES, left = n;

    classes_copy(s, text.base, n, &l->classes);
    if (l->classes.may_escape)
        left = drop_codes(s, n);
    if (left < n)
        classes_copy(s, s, left, &l->classes);
    l->text = span_of(s, left);
    return left < n;
}
