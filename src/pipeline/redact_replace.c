/* redact_replace: a text with placeholders where its hits were. */
#include "pipeline/redact_check.h"
#include "pipeline/redact_state.h"
#include "util/digest.h"

#define NORMAL_BYTES \
    256 /* of a value that is hashed in its normal form; longer ones as they are \
         */
#define KEPT_DIGITS 4

/* ---- placeholders ------------------------------------------------------ */

/* One person, one hash: mail in small letters, numbers without what groups them. */
static struct span normalise(unsigned kind, struct span value, uint8_t room[NORMAL_BYTES])
{
    size_t n = 0;
    if (value.len > NORMAL_BYTES)
        return value;
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.base[i];
        if ((kind == REDACT_CARD || kind == REDACT_SSN || kind == REDACT_PHONE) &&
            !redact_is_digit(c))
            continue;
        if (kind == REDACT_IBAN && !redact_is_alnum(c))
            continue;
        if (kind == REDACT_IBAN && redact_is_letter(c))
            c = (uint8_t)(c & ~0x20u);
        if (kind == REDACT_EMAIL && redact_is_upper(c))
            c |= 0x20;
        room[n++] = c;
    }
    return span_of(room, n);
}

static void append_hash(struct redactor *r, unsigned kind, struct span value, struct buf *out)
{
    uint8_t room[NORMAL_BYTES], digest[DIGEST_SHA256_BYTES];
    int rc = digest_hmac_sha256(r->opts.key, normalise(kind, value, room), digest);
    if (rc < 0 && out->err == 0)
        out->err = rc;
    if (rc == 0)
        buf_printf(out, "%s_%02x%02x%02x%02x", redact_name_of(r, kind), digest[0], digest[1],
                   digest[2], digest[3]);
}

static void append_last(const char *kind, struct span value, struct buf *out)
{
    uint8_t last[KEPT_DIGITS];
    size_t n = KEPT_DIGITS;
    for (size_t i = value.len; i > 0 && n > 0; i--)
        if (redact_is_alnum(value.base[i - 1]))
            last[--n] = value.base[i - 1];
    buf_printf(out, "redacted-%s-", kind);
    buf_append(out, span_of(last + n, KEPT_DIGITS - n));
}

static void append_mask(const char *mask, const char *kind, struct buf *out)
{
    const char *at = strstr(mask, "{kind}");
    if (at == NULL) {
        buf_append_str(out, mask);
        return;
    }
    buf_append(out, span_of(mask, (size_t)(at - mask)));
    buf_append_str(out, kind);
    buf_append_str(out, at + 6);
}

void redact_placeholder(struct redactor *r, unsigned kind, struct span value, struct buf *out)
{
    if (r->opts.action == REDACT_HASH)
        append_hash(r, kind, value, out);
    else if (r->opts.action == REDACT_PARTIAL && (kind == REDACT_CARD || kind == REDACT_IBAN))
        append_last(redact_name_of(r, kind), value, out);
    else
        append_mask(r->opts.mask != NULL ? r->opts.mask : "redacted-{kind}-0",
                    redact_name_of(r, kind), out);
}

/* ---- JSON -------------------------------------------------------------- */

/* A number without quotes in a text that is JSON must stay JSON: its placeholder is a string. */
struct json_state {
    bool is_json, in_string;
    size_t read;
};

static size_t skip_blanks(struct span text, size_t at)
{
    while (at < text.len && memchr(" \t\r\n", text.base[at], 4) != NULL)
        at++;
    return at;
}

/* {" or [{ or [[ or [": what else begins with a bracket is a line of a log. */
static struct json_state json_begin_state(struct span text)
{
    size_t first = skip_blanks(text, 0), second = skip_blanks(text, first + 1);
    struct json_state s = {0};
    if (second >= text.len)
        return s;
    uint8_t a = text.base[first], b = text.base[second];
    s.is_json = (a == '{' && b == '"') || (a == '[' && (b == '{' || b == '[' || b == '"'));
    return s;
}

/* Read on to `at`: each byte once. */
static void json_read_to(struct json_state *s, struct span text, size_t at)
{
    for (; s->read < at; s->read++) {
        if (s->in_string && text.base[s->read] == '\\')
            s->read++;
        else if (text.base[s->read] == '"')
            s->in_string = !s->in_string;
    }
}

/* Does the hit stand where JSON has a value without quotes? */
static bool is_bare(struct json_state *s, struct span text, const struct redact_hit *hit)
{
    if (!s->is_json)
        return false;
    json_read_to(s, text, hit->at);
    size_t before = hit->at, behind = skip_blanks(text, hit->at + hit->len);
    while (before > 0 && memchr(" \t\r\n", text.base[before - 1], 4) != NULL)
        before--;
    return !s->in_string && before > 0 && memchr(":,[", text.base[before - 1], 3) != NULL &&
           behind < text.len && memchr(",}]", text.base[behind], 3) != NULL;
}

/* ---- texts ------------------------------------------------------------- */

int redact_replace(struct redactor *r, struct redact_hit hit, struct buf *out)
{
    struct span text = r->scan.text;
    struct json_state json = json_begin_state(text);
    size_t at = 0;
    if (out != NULL)
        buf_clear(out);
    for (bool more = true; more; more = redact_scan_next(&r->scan, &hit)) {
        redact_note(r, &hit);
        if (out != NULL) {
            bool quotes = is_bare(&json, text, &hit);
            buf_append(out, span_of(text.base + at, hit.at - at));
            if (quotes)
                buf_append_byte(out, '"');
            redact_placeholder(r, hit.kind, span_of(text.base + hit.at, hit.len), out);
            if (quotes)
                buf_append_byte(out, '"');
        }
        at = hit.at + hit.len;
    }
    r->stats.given_up += r->is_quiet ? 0 : r->scan.given_up;
    if (out == NULL)
        return 0;
    buf_append(out, span_of(text.base + at, text.len - at));
    return out->err;
}
