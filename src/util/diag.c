/* diag: rate-limited lines on standard error. */
#include "util/diag.h"

#include <ctype.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 8192 /* the longest fields, and what JSON puts around them */
#define KINDS 64        /* events that the limiter counts apart; the tree has fewer */
#define LINES_PER_SECOND 10
#define QUOTED_BYTES 256 /* of a peer's text in one value */

static struct {
    struct diag_opts opts;
    struct {
        const char *event;
        time_t second;
        unsigned lines, suppressed;
    } kind[KINDS];
    unsigned unread; /* lines for which standard error had no room */
    bool is_torn;    /* the last of them was begun */
} state = {.opts = {.level = DIAG_INFO}};

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void diag_setup(const struct diag_opts *opts)
{
    state.opts = *opts;
}

/* How many lines of this kind were held back, or -1: hold this one back too. */
static int admit(const char *event, time_t second)
{
    for (size_t i = 0; i < KINDS; i++) {
        if (state.kind[i].event == NULL)
            state.kind[i].event = event;
        if (strcmp(state.kind[i].event, event) != 0)
            continue;
        if (state.kind[i].second != second) {
            state.kind[i].second = second;
            state.kind[i].lines = 0;
        }
        if (state.kind[i].lines++ >= LINES_PER_SECOND) {
            state.kind[i].suppressed++;
            return -1;
        }
        int held = (int)state.kind[i].suppressed;
        state.kind[i].suppressed = 0;
        return held;
    }
    return 0;
}

const char *diag_quote(char out[DIAG_QUOTE_BYTES], struct span s)
{
    size_t at = 0;
    out[at++] = '"';
    for (size_t i = 0; i < s.len && i < QUOTED_BYTES; i++) {
        unsigned char c = s.base[i];
        if (c == '"' || c == '\\') {
            out[at++] = '\\';
            out[at++] = (char)c;
        } else if (c < 0x20 || c >= 0x7f) {
            at += (size_t)snprintf(out + at, DIAG_QUOTE_BYTES - at, "\\u%04x", c);
        } else {
            out[at++] = (char)c;
        }
    }
    out[at++] = '"';
    out[at] = '\0';
    return out;
}

/*
 * Never waits: lines to a pipe without a reader are lost, and counted in the next one that is
 * written; records go on. A pipe is ready when PIPE_BUF bytes fit, so more goes in pieces. Flags
 * are not touched: O_NONBLOCK would hold for every process that shares the descriptor.
 */
static bool write_ready(const char *text, size_t n)
{
    while (n > 0) {
        struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
        if (poll(&fd, 1, 0) != 1 || (fd.revents & POLLOUT) == 0)
            return false;
        ssize_t put = write(STDERR_FILENO, text, n < PIPE_BUF ? n : PIPE_BUF);
        if (put <= 0)
            return false;
        text += put;
        n -= (size_t)put;
        state.is_torn = n > 0;
    }
    return true;
}

struct line {
    char text[LINE_BYTES];
    size_t len;
};

static void put(struct line *l, const char *text, size_t n)
{
    if (n > sizeof l->text - 1 - l->len)
        n = sizeof l->text - 1 - l->len;
    memcpy(l->text + l->len, text, n);
    l->len += n;
}

static void put_str(struct line *l, const char *text)
{
    put(l, text, strlen(text));
}

static bool is_number(const char *s, size_t n)
{
    size_t i = n > 1 && s[0] == '-' ? 1 : 0;
    for (size_t digits = i; i < n; i++)
        if (!isdigit((unsigned char)s[i]) || (i == digits && s[i] == '0' && n - i > 1))
            return false;
    return n > 0 && n < 16;
}

/* Bytes of the quoted text at `s`, quotes included; 0 when it has no end. */
static size_t quoted_len(const char *s)
{
    for (size_t n = 1; s[n] != '\0'; n++) {
        if (s[n] == '"')
            return n + 1;
        if (s[n] == '\\' && s[n + 1] != '\0')
            n++;
    }
    return 0;
}

/* ["a=1 b=\"x y\""] as [,"a":1,"b":"x y"]. The input is ours, not a peer's; it may be
 * cut at the end, and then goes without its last field. */
static void put_json_fields(struct line *l, const char *at)
{
    while (*at == ' ')
        at++;
    while (*at != '\0') {
        size_t key = strcspn(at, "= "), n = 0;
        if (at[key] != '=' || (at[key + 1] == '"' && (n = quoted_len(at + key + 1)) == 0))
            return;
        put_str(l, ",\"");
        put(l, at, key);
        put_str(l, "\":");
        at += key + 1;
        if (*at == '"') {
            put(l, at, n);
        } else {
            n = strcspn(at, " ");
            const char *quote = is_number(at, n) ? "" : "\"";
            put_str(l, quote);
            put(l, at, n);
            put_str(l, quote);
        }
        at += n;
        while (*at == ' ')
            at++;
    }
}

void diag(enum diag_level level, const char *event, const char *msg, const char *fields, ...)
{
    if (level > state.opts.level)
        return;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int held = admit(event, now.tv_sec);
    if (held < 0)
        return;
    held += (int)state.unread;

    char text[LINE_BYTES / 2], stamp[40], quoted[DIAG_QUOTE_BYTES];
    va_list ap;
    va_start(ap, fields);
    vsnprintf(text, sizeof text, fields, ap);
    va_end(ap);

    struct tm utc;
    gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(stamp + n, sizeof stamp - n, ".%03dZ", (int)(now.tv_nsec / 1000000));

    struct line l = {.len = 0};
    char head[256];
    snprintf(head, sizeof head,
             state.opts.json ? "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\",\"msg\":"
                             : "time=%s level=%s event=%s msg=",
             stamp, level_names[level], event);
    put_str(&l, head);
    put_str(&l, diag_quote(quoted, span_str(msg)));
    if (state.opts.json) {
        put_json_fields(&l, text);
    } else if (text[0] != '\0') {
        put_str(&l, " ");
        put_str(&l, text);
    }
    if (held > 0) {
        snprintf(head, sizeof head, state.opts.json ? ",\"suppressed\":%d" : " suppressed=%d",
                 held);
        put_str(&l, head);
    }
    if (l.len > sizeof l.text - 3)
        l.len = sizeof l.text - 3;
    put_str(&l, state.opts.json ? "}\n" : "\n");
    if ((state.is_torn && !write_ready("\n", 1)) || !write_ready(l.text, l.len))
        state.unread++;
    else
        state.unread = 0;
}
