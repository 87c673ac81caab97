/*
 * err: how failure is spelled in this tree.
 *
 * A function that can fail returns int: 0 or a positive count on success, a
 * negative code on failure. Codes from libuv (UV_E*) pass through unchanged;
 * ours sit in -20000..-20099, clear of libuv's. Codes of other libraries stop
 * in the file that calls the library.
 *
 * A function whose failure a person will read (startup, config, the policy
 * API) also takes `struct error *err` as its last argument. It is written
 * only on failure, by the function that knows most about the cause. When it is left
 * empty the code says it all: print err_text(code).
 */
#pragma once

/* clang-format off */
#define ERR_MAP(X) \
    X(ERR_NOMEM,       -20000, "out of memory") \
    X(ERR_MORE,        -20001, "input ends before the item does") \
    X(ERR_MALFORMED,   -20002, "input breaks the format") \
    X(ERR_TOO_BIG,     -20003, "over a configured limit") \
    X(ERR_FULL,        -20004, "no room left, try later") \
    X(ERR_EMPTY,       -20005, "nothing there") \
    X(ERR_CONFIG,      -20006, "bad configuration") \
    X(ERR_IO,          -20007, "the operating system said no") \
    X(ERR_UNSUPPORTED, -20008, "a form this program does not speak") \
    X(ERR_TOO_DEEP,    -20009, "nested too deep") \
    X(ERR_UTF8,        -20010, "a string is not UTF-8") \
    X(ERR_USAGE,       -20011, "bad command line") \
    X(ERR_UNAVAILABLE, -20012, "a port or a peer is not available") \
    X(ERR_DISK_FULL,   -20013, "the disk is full") \
    X(ERR_UNTRUSTED,   -20014, "TLS could not be agreed on, or the peer is not who it should be")
/* clang-format on */

#define X(name, code, text) name = code,
enum { ERR_MAP(X) };
#undef X

/* On every function that returns a code: a caller that does not look at it does not compile.
 * Where the failure changes nothing, ignore_code() says so, with the reason in a comment. */
#define MUST_CHECK __attribute__((warn_unused_result))

static inline void ignore_code(int code)
{
    (void)code;
}

struct error {
    char text[512]; /* one sentence, no newline, NUL-terminated */
};

/* Text for one of our codes or one of libuv's. Static, never NULL. */
const char *err_text(int code);

/* Write err->text (truncating) and return code, so a caller can `return` it.
 * err may be NULL. */
int err_set(struct error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
