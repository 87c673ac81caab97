/* json: a comma where something stands before, then the key, then the value. */
#include "util/json.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "util/utf8.h"

/* ---- strings ----------------------------------------------------------- */

/* Length of the UTF-8 sequence at s, or 0 when it is not one. */
static size_t utf8_length(struct span s)
{
    uint8_t lead = s.base[0];
    size_t n = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    return n <= s.len && utf8_is_valid(span_of(s.base, n)) ? n : 0;
}

static void write_escaped(struct buf *out, uint8_t c)
{
    static const char *const shorts[] = {
        ['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r",
    };
    if (c == '"' || c == '\\')
        buf_printf(out, "\\%c", c);
    else if (c < ARRAY_LEN(shorts) && shorts[c] != NULL)
        buf_append_str(out, shorts[c]);
    else
        buf_printf(out, "\\u%04x", c);
}

void json_write_string(struct buf *out, struct span text)
{
    size_t plain = 0; /* bytes before `at` that are not written yet */
    buf_append_byte(out, '"');
    for (size_t at = 0; at < text.len;) {
        uint8_t c = text.base[at];
        size_t n = utf8_length(span_skip(text, at));
        if (n > 0 && c >= 0x20 && c != '"' && c != '\\') {
            at += n;
            plain += n;
            continue;
        }
        buf_append(out, span_of(text.base + at - plain, plain));
        plain = 0;
        if (n == 0)
            buf_append_str(out, "\xef\xbf\xbd");
        else
            write_escaped(out, c);
        at++;
    }
    buf_append(out, span_of(text.base + text.len - plain, plain));
    buf_append_byte(out, '"');
}

/* ---- members ----------------------------------------------------------- */

struct buf *json_value(struct json *j, const char *key)
{
    if (j->has_member)
        buf_append_byte(j->out, ',');
    j->has_member = true;
    if (key != NULL) {
        buf_append_byte(j->out, '"');
        buf_append_str(j->out, key);
        buf_append_str(j->out, "\":");
    }
    return j->out;
}

static void begin(struct json *j, const char *key, uint8_t bracket)
{
    buf_append_byte(json_value(j, key), bracket);
    j->has_member = false;
}

static void end(struct json *j, uint8_t bracket)
{
    buf_append_byte(j->out, bracket);
    j->has_member = true;
}

void json_begin(struct json *j, const char *key)
{
    begin(j, key, '{');
}

void json_end(struct json *j)
{
    end(j, '}');
}

void json_begin_list(struct json *j, const char *key)
{
    begin(j, key, '[');
}

void json_end_list(struct json *j)
{
    end(j, ']');
}

void json_key(struct json *j, struct span key)
{
    json_write_string(json_value(j, NULL), key);
    buf_append_byte(j->out, ':');
    j->has_member = false; /* the value needs no comma */
}

void json_text(struct json *j, const char *key, struct span text)
{
    json_write_string(json_value(j, key), text);
}

void json_str(struct json *j, const char *key, const char *text)
{
    json_write_string(json_value(j, key), span_str(text));
}

void json_u64(struct json *j, const char *key, uint64_t n)
{
    buf_printf(json_value(j, key), "%" PRIu64, n);
}

void json_i64(struct json *j, const char *key, int64_t n)
{
    buf_printf(json_value(j, key), "%" PRId64, n);
}

void json_bool(struct json *j, const char *key, bool is_true)
{
    buf_append_str(json_value(j, key), is_true ? "true" : "false");
}

void json_null(struct json *j, const char *key)
{
    buf_append_str(json_value(j, key), "null");
}

void json_printf(struct json *j, const char *key, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(json_value(j, key), fmt, ap);
    va_end(ap);
}

void json_line(struct json *j)
{
    buf_append_byte(j->out, '\n');
    j->has_member = false;
}
