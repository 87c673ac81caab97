/* trace_line: by the first bytes, which turn nearly all lines away. */
#include "pattern/trace_line.h"

#include <string.h>

/* Lines of traces that are not indented. */
/* clang-format off */
static const char *const openings[] = {
    "Caused by: ", "Suppressed: ", "Wrapped by: ",               /* Java */
    "Traceback (most recent call last)", "During handling of the above exception",
    "The above exception was the direct cause",                  /* Python */
    "goroutine ", "created by ", "panic: ", "[recovered]", "exit status ", "[signal ", /* Go */
    "stack backtrace:", "note: run with `RUST_BACKTRACE",        /* Rust */
    "Stack trace:", "Stacktrace:", "Call Stack", "Backtrace:", "Call trace:",
    "--- End of ", "---> ",                                      /* .NET */
};
/* What a type that is thrown ends in. */
static const char *const endings[] = {"Exception", "Error", "Throwable", "Warning", "Exit"};
/* clang-format on */

static bool is_name(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '$' || c == '\\'; /* PHP */
}

static bool ends_in(struct span s, struct span end)
{
    return s.len >= end.len && memcmp(s.base + s.len - end.len, end.base, end.len) == 0;
}

/* java.lang.IllegalStateException: boom; ValueError */
static bool is_thrown(struct span line)
{
    size_t n = 0;
    while (n < line.len && is_name(line.base[n]))
        n++;
    if (n == 0 || (n < line.len && line.base[n] != ':'))
        return false;
    struct span name = span_of(line.base, n);
    for (size_t i = 0; i < ARRAY_LEN(endings); i++)
        if (ends_in(name, span_str(endings[i])))
            return true;
    return false;
}

/* main.(*Server).handle(0xc000123456, {0x1, 0x2}); #3 /app/a.php(12): f() */
static bool is_frame(struct span line)
{
    if (line.len > 3 && line.base[0] == '#' && line.base[1] >= '0' && line.base[1] <= '9')
        return true;
    if (line.base[line.len - 1] != ')')
        return false;
    bool has_dot = false;
    for (size_t i = 0; i < line.len; i++) {
        uint8_t c = line.base[i];
        if (c == '(' && (i == 0 || line.base[i - 1] != '.'))
            return has_dot && i > 0;
        has_dot |= c == '.';
        if (!is_name(c) && c != '/' && c != '-' && c != '(' && c != ')' && c != '*' && c != '[' &&
            c != ']')
            return false;
    }
    return false;
}

bool trace_line_continues(struct span line)
{
    while (line.len > 0 && (line.base[line.len - 1] == '\n' || line.base[line.len - 1] == '\r'))
        line.len--;
    if (line.len == 0)
        return false;
    if (line.base[0] == '\t')
        return line.len > 1;
    if (line.base[0] == ' ')
        return line.len > 2 && line.base[1] == ' ';
    for (size_t i = 0; i < ARRAY_LEN(openings); i++)
        if (line.base[0] == (uint8_t)openings[i][0] && span_starts(line, span_str(openings[i])))
            return true;
    return is_thrown(line) || is_frame(line);
}
