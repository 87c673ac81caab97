/* signature: what of a record is signed, in which order, and the id. */
#include "pattern/signature.h"

#include <stdlib.h>

#include "pattern/signature_identity.h"
#include "pattern/signature_overflow.h"
#include "util/hash.h"
#include "util/unicode.h"

#define PREFIX "lps1:"

struct signer {
    struct line line;
    struct members members;
    struct identity identity;
    struct json_object *json;
    uint8_t array_line[LINE_MAX_BYTES];
};

int signer_new(struct signer **out)
{
    struct signer *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    int rc = json_object_new(&s->json, SIGN_MAX_BODY_BYTES);
    if (rc < 0) {
        signer_free(s);
        return rc;
    }
    line_init(&s->line);
    *out = s;
    return 0;
}

void signer_free(struct signer *s)
{
    if (s == NULL)
        return;
    json_object_free(s->json);
    free(s);
}

static struct span cut(struct span s, size_t max)
{
    return span_of(s.base, s.len < max ? s.len : max);
}

static void begin(struct signer *s)
{
    s->identity.len = 0;
    s->identity.begun = false;
}

static uint64_t finish(struct signer *s)
{
    return hash64(signer_identity(s));
}

static void sign_line(struct signer *s, struct span text)
{
    struct identity *id = &s->identity;
    line_scan(&s->line, text);
    line_context(&s->line);
    line_join(&s->line);
    if (s->line.count == 0 || id->len >= SIGN_MAX_IDENTITY_BYTES)
        return;
    identity_begin_part(id);
    id->len += line_emit(&s->line, id->bytes + id->len); /* has LINE_EMIT_BYTES past the limit */
}

/* A text that is JSON gives way to its message, which may be JSON again. */
static void sign_text(struct signer *s, struct span body, uint32_t level)
{
    bool whole = body.len <= SIGN_MAX_BODY_BYTES;
    struct span text = utf8_strip(cut(body, SIGN_MAX_BODY_BYTES));

    while (whole && level < SIGN_MAX_NESTED_JSON && text.len > 1 && text.base[0] == '{' &&
           text.base[text.len - 1] == '}') {
        s->members.count = 0;
        if (json_object_visit(s->json, text, members_add, &s->members) < 0) {
            text = json_object_text(s->json); /* it may have been the parser's own */
            break;
        }
        text = members_sign(&s->members, &s->identity);
        if (text.base == NULL)
            return;
        text = utf8_strip(text);
        level++;
    }
    const uint8_t *newline = text.len > 0 ? memchr(text.base, '\n', text.len) : NULL;
    size_t head = newline != NULL ? (size_t)(newline - text.base) : text.len;
    sign_line(s, span_of(text.base, head));
    if (newline != NULL)
        trace_sign(&s->identity, span_skip(text, head + 1));
}

static void sign_kvlist(struct signer *s, struct span kvlist)
{
    s->members.count = 0;
    members_read_kvlist(&s->members, kvlist);
    struct span said = members_sign(&s->members, &s->identity);
    if (said.base != NULL)
        sign_text(s, said, 1);
}

/* A part that begins with PART_KIND, and what follows it if anything does. */
static void sign_kind(struct signer *s, struct span kind, struct span value)
{
    identity_begin_part(&s->identity);
    identity_add_byte(&s->identity, PART_KIND);
    identity_add(&s->identity, kind);
    if (value.len > 0) {
        identity_begin_part(&s->identity);
        identity_add(&s->identity, cut(value, SIGN_MAX_NAME_BYTES));
    }
}

static void sign_body(struct signer *s, enum sign_body_kind kind, struct span body)
{
    static const char *const constants[] = {
        [SIGN_BODY_BOOL] = "bool",
        [SIGN_BODY_INT] = "int",
        [SIGN_BODY_DOUBLE] = "double",
        [SIGN_BODY_BYTES] = "bytes",
    };
    switch (kind) {
    case SIGN_BODY_NONE:
        return;
    case SIGN_BODY_STRING:
        sign_text(s, body, 0);
        return;
    case SIGN_BODY_KVLIST:
        sign_kvlist(s, body);
        return;
    case SIGN_BODY_ARRAY:
        sign_kind(s, SPAN("array"), (struct span){0});
        sign_line(s, span_of(s->array_line, array_text(body, s->array_line, LINE_MAX_BYTES)));
        return;
    default:
        sign_kind(s, span_str(constants[kind]), (struct span){0});
    }
}

uint64_t signer_sign(struct signer *s, const struct sign_input *in)
{
    begin(s);
    if (in->event_name.len > 0) {
        sign_kind(s, SPAN("event"), in->event_name);
    } else if (in->template_attr.len > 0) {
        sign_kind(s, SPAN("template"), in->template_attr);
    } else {
        sign_body(s, in->body_kind, in->body);
        if (in->exception_type.len > 0)
            sign_kind(s, SPAN("exception"), in->exception_type);
    }
    return finish(s);
}

uint64_t signer_sign_text(struct signer *s, struct span body)
{
    begin(s);
    sign_text(s, body, 0);
    return finish(s);
}

struct span signer_identity(const struct signer *s)
{
    return cut(span_of(s->identity.bytes, s->identity.len), SIGN_MAX_IDENTITY_BYTES);
}

/* Literal words cannot hold most of these bytes but in hostile text, where a
 * template that reads oddly does no harm: the id is made of the bytes. */
void signature_template(struct span id, struct buf *out)
{
    bool record = span_starts(id, SPAN("json\x02")); /* its context reads better apart */
    for (size_t i = 0; i < id.len; i++) {
        switch (id.base[i]) {
        case PART_VARIABLE:
            buf_append_str(out, "<*>");
            break;
        case PART_SEPARATOR:
            if (record)
                buf_append_byte(out, ' ');
            break;
        case PART_MESSAGE:
            buf_append_byte(out, ':');
            buf_append_byte(out, ' ');
            record = i + 2 < id.len && span_starts(span_skip(id, i + 2), SPAN("json\x02"));
            i++; /* the separator after it */
            break;
        case PART_KEYS:
            buf_append_str(out, "keys");
            break;
        case PART_TRACE:
            buf_append_str(out, " | ");
            break;
        case PART_KIND:
            buf_append_byte(out, ' ');
            break;
        default:
            buf_append_byte(out, id.base[i]);
        }
    }
}

void signer_template(const struct signer *s, struct buf *out)
{
    signature_template(signer_identity(s), out);
}

const char *signature_format(char out[SIGNATURE_TEXT_BYTES], uint64_t id)
{
    static const char digits[] = "0123456789abcdef";
    memcpy(out, PREFIX, sizeof PREFIX - 1);
    char *at = out + sizeof PREFIX - 1;
    for (int shift = 60; shift >= 0; shift -= 4)
        *at++ = digits[id >> shift & 15];
    *at = '\0';
    return out;
}

int signature_parse(struct span text, uint64_t *id)
{
    uint64_t value = 0;
    if (span_starts(text, SPAN(OVERFLOW_PREFIX))) {
        *id = overflow_id(text);
        return 0;
    }
    if (text.len != SIGNATURE_TEXT_BYTES - 1 || !span_starts(text, SPAN(PREFIX)))
        return ERR_MALFORMED;
    for (size_t i = sizeof PREFIX - 1; i < text.len; i++) {
        uint8_t c = text.base[i], low = c | 0x20;
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (low >= 'a' && low <= 'f')
            value = value << 4 | (uint64_t)(low - 'a' + 10);
        else
            return ERR_MALFORMED;
    }
    *id = value;
    return 0;
}
