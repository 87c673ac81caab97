/* http: what both versions of HTTP share. */
#include "net/http.h"

#include "net/host.h"

#include <stdio.h>
#include <time.h>

void http_service_init(struct http_service *s)
{
    *s = (struct http_service){
        .max_body_bytes = (size_t)20 * 1024 * 1024, /* as the Collector's receiver */
        .max_head_bytes = (size_t)16 * 1024,        /* nginx and Node allow 16 to 32 KiB */
        .max_streams = 128,                         /* RFC 9113 6.5.2 wants at least 100 */
        .head_timeout_ms = 10000,
        .body_timeout_ms = 10000, /* grace; then HTTP_BODY_MIN_BYTES_PER_S */
        .silent_timeout_ms = 15000,
        .idle_timeout_ms = 120000, /* the Collector's clients keep connections 60 s */
        .write_timeout_ms = 15000,
    };
}

static void write_date(char out[HTTP_DATE_BYTES], uint64_t unix_ns)
{
    /* strftime() would ask the locale. */
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t t = (time_t)(unix_ns / 1000000000u);
    struct tm tm = {0};
    gmtime_r(&t, &tm);
    snprintf(out, HTTP_DATE_BYTES, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[tm.tm_wday % 7],
             (unsigned)tm.tm_mday % 100, months[tm.tm_mon % 12],
             (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
             (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

const char *http_date_at(struct http_date_cache *d, uint64_t unix_ns)
{
    uint64_t second = unix_ns / 1000000000;
    if (second != d->second || d->text[0] == '\0') {
        d->second = second;
        write_date(d->text, unix_ns);
    }
    return d->text;
}

const char *http_reason(int status)
{
    /* clang-format off */
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    /* clang-format on */
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Status"; /* the phrase may be anything (RFC 9112 4) */
}

enum http_method http_method_of(struct span name)
{
    static const struct {
        const char *name;
        enum http_method method;
    } methods[] = {
        {"POST", METHOD_POST}, {"GET", METHOD_GET},       {"HEAD", METHOD_HEAD},
        {"PUT", METHOD_PUT},   {"DELETE", METHOD_DELETE}, {"OPTIONS", METHOD_OPTIONS},
    };
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (span_eq(name, span_str(methods[i].name)))
            return methods[i].method;
    return METHOD_OTHER;
}

void http_split_target(struct span target, struct span *path, struct span *query)
{
    if (target.len > 0 && target.base[0] != '/') {
        for (size_t i = 0; i + 3 <= target.len; i++) {
            if (memcmp(target.base + i, "://", 3) != 0)
                continue;
            target = span_skip(target, i + 3);
            size_t authority = 0;
            while (authority < target.len && target.base[authority] != '/' &&
                   target.base[authority] != '?')
                authority++;
            target = span_skip(target, authority);
            break;
        }
    }
    const uint8_t *mark = target.len > 0 ? memchr(target.base, '?', target.len) : NULL;
    size_t path_len = mark != NULL ? (size_t)(mark - target.base) : target.len;
    *path = path_len > 0 ? span_of(target.base, path_len) : SPAN("/");
    *query = mark != NULL ? span_skip(target, path_len + 1) : (struct span){0};
}

int http_target_authority(struct span target, struct span *authority)
{
    static const struct span schemes[] = {{(const uint8_t *)"http://", 7},
                                          {(const uint8_t *)"https://", 8}};
    size_t n = 0;
    if (target.len > 0 && (target.base[0] == '/' || span_eq(target, SPAN("*"))))
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        if (target.len < schemes[i].len ||
            !span_ieq(span_of(target.base, schemes[i].len), schemes[i]))
            continue;
        struct span rest = span_skip(target, schemes[i].len);
        while (n < rest.len && rest.base[n] != '/' && rest.base[n] != '?')
            n++;
        *authority = span_of(rest.base, n);
        return n > 0 && host_is_sound(*authority) ? 0 : ERR_MALFORMED;
    }
    return ERR_MALFORMED;
}

bool http_body_is_slow(const struct http_service *s, struct http_progress *p, uint64_t now_ms,
                       uint64_t bytes)
{
    uint64_t window_ms = s->body_timeout_ms;
    if (now_ms - p->since_ms <= window_ms)
        return false;
    bool is_slow = bytes - p->bytes < window_ms * HTTP_BODY_MIN_BYTES_PER_S / 1000;
    *p = (struct http_progress){now_ms, bytes};
    return is_slow;
}

int http_body_grow(struct buf *body, size_t total)
{
    size_t cap = 2 * body->len;
    if (cap < HTTP_BODY_ADVANCE_BYTES)
        cap = HTTP_BODY_ADVANCE_BYTES;
    if (total > 0 && cap > total + HTTP_BODY_TAIL_BYTES)
        cap = total + HTTP_BODY_TAIL_BYTES;
    if (body->max_bytes > 0 && cap > body->max_bytes)
        cap = total > body->max_bytes ? total : body->max_bytes;
    if (body->budget != NULL && total > body->budget->limit)
        return body->err = ERR_TOO_BIG; /* there will never be room for it */
    return cap > body->cap ? buf_reserve_exact(body, cap - body->len) : 0;
}

struct span http_bearer(const struct http_head *head)
{
    struct span header = span_trim(head->authorization);
    return header.len >= 7 && span_ieq(span_of(header.base, 7), SPAN("bearer "))
               ? span_trim(span_skip(header, 7))
               : (struct span){0};
}

void http_answer_bare(const struct http_service *s, struct http_exchange *x, int status)
{
    const struct http_header later = {SPAN("retry-after"), SPAN(HTTP_BARE_RETRY_AFTER)};
    if (s->bare != NULL)
        s->bare(s->ctx, x, status);
    else
        http_reply(x, &(struct http_response){.status = status,
                                              .headers = &later,
                                              .header_count = status == 503,
                                              .close = true});
}

bool http_has_tag(struct span list, struct span etag)
{
    while (list.len > 0) {
        size_t end = 0;
        while (end < list.len && list.base[end] != ',')
            end++;
        struct span one = span_trim(span_of(list.base, end));
        if (span_starts(one, SPAN("W/")))
            one = span_skip(one, 2);
        if (span_eq(one, etag) || span_eq(one, SPAN("*")))
            return true;
        list = span_skip(list, end < list.len ? end + 1 : end);
    }
    return false;
}
