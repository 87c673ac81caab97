/* head: a table of known fields, their values in one buffer. */
#include "net/head.h"

#include "net/host.h"

static const struct {
    struct span name;
    bool once;
} fields[] = {
#define X(name, text, once) [HEAD_##name] = {{(const uint8_t *)text, sizeof(text) - 1}, once},
    HEAD_FIELDS(X)
#undef X
};

void head_init(struct head *h, size_t max_bytes, struct budget *budget,
               bool (*passes_on)(struct span target))
{
    *h = (struct head){
        .bytes = {.max_bytes = max_bytes, .budget = budget},
        .lines = {.max_bytes = max_bytes, .budget = budget},
        .passes_on = passes_on,
    };
}

/* The target came before all fields. */
static void keep_line(struct head *h, struct span name, struct span value)
{
    if (h->passes_on == NULL || !h->passes_on(head_get(h, HEAD_PATH)))
        return;
    buf_append(&h->lines, name);
    buf_append_str(&h->lines, ": ");
    buf_append(&h->lines, span_trim(value));
    buf_append_byte(&h->lines, '\0');
}

int head_field(struct head *h)
{
    if (h->bytes.err != 0)
        return h->bytes.err;
    if (++h->fields > HEAD_FIELDS_MAX)
        return ERR_TOO_BIG;

    struct span name = {h->bytes.base + h->name_at, h->value_at - h->name_at};
    if (name.len == 0)
        return ERR_MALFORMED;
    for (size_t f = 0; f < ARRAY_LEN(fields); f++) {
        if (!span_ieq(name, fields[f].name))
            continue;
        if (h->slots[f].is_set && fields[f].once)
            return ERR_MALFORMED;
        h->slots[f].is_set = true;
        h->slots[f].at = (uint32_t)h->value_at;
        h->slots[f].len = (uint32_t)(h->bytes.len - h->value_at);
        return 0;
    }
    keep_line(h, name, span_of(h->bytes.base + h->value_at, h->bytes.len - h->value_at));
    h->bytes.len = h->name_at;
    return h->lines.err;
}

void head_mark(struct head *h, enum head_field f, size_t at)
{
    h->slots[f].is_set = true;
    h->slots[f].at = (uint32_t)at;
    h->slots[f].len = (uint32_t)(h->bytes.len - at);
}

bool head_has(const struct head *h, enum head_field f)
{
    return h->slots[f].is_set;
}

struct span head_get(const struct head *h, enum head_field f)
{
    if (!h->slots[f].is_set)
        return (struct span){0};
    if (h->slots[f].len == 0)
        return SPAN("");
    return span_trim((struct span){h->bytes.base + h->slots[f].at, h->slots[f].len});
}

int http_length(struct span digits, int64_t *out)
{
    int64_t n = 0;
    if (digits.len == 0 || digits.len > 18)
        return ERR_MALFORMED;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.base[i] < '0' || digits.base[i] > '9')
            return ERR_MALFORMED;
        n = n * 10 + (digits.base[i] - '0');
    }
    *out = n;
    return 0;
}

int head_finish(const struct head *h, struct http_head *out)
{
    int64_t length = -1;
    if (head_has(h, HEAD_CONTENT_LENGTH) &&
        http_length(head_get(h, HEAD_CONTENT_LENGTH), &length) < 0)
        return ERR_MALFORMED;
    struct span host = head_get(h, head_has(h, HEAD_AUTHORITY) ? HEAD_AUTHORITY : HEAD_HOST);
    if (!host_is_sound(host))
        return ERR_MALFORMED;
    if (head_has(h, HEAD_AUTHORITY) && head_has(h, HEAD_HOST) &&
        !span_ieq(span_trim(head_get(h, HEAD_HOST)), host))
        return ERR_MALFORMED; /* whoever stood before us may have read the other one */

    *out = (struct http_head){
        .version = out->version,
        .is_encrypted = out->is_encrypted,
        .peer = out->peer,
        .lines = buf_span(&h->lines),
        .method = http_method_of(head_get(h, HEAD_METHOD)),
        .host = host,
        .content_type = head_get(h, HEAD_CONTENT_TYPE),
        .content_encoding = head_get(h, HEAD_CONTENT_ENCODING),
        .authorization = head_get(h, HEAD_AUTHORIZATION),
        .api_key = head_get(h, HEAD_API_KEY),
        .origin = head_get(h, HEAD_ORIGIN),
        .fetch_site = head_get(h, HEAD_FETCH_SITE),
        .if_none_match = head_get(h, HEAD_IF_NONE_MATCH),
        .wanted_method = head_get(h, HEAD_WANTED_METHOD),
        .wanted_headers = head_get(h, HEAD_WANTED_HEADERS),
        .prefer = head_get(h, HEAD_PREFER),
        .grpc_timeout = head_get(h, HEAD_GRPC_TIMEOUT),
        .user_agent = head_get(h, HEAD_USER_AGENT),
        .grpc_encoding = head_get(h, HEAD_GRPC_ENCODING),
        .content_length = length,
    };
    http_split_target(head_get(h, HEAD_PATH), &out->path, &out->query);
    return 0;
}

void head_clear(struct head *h)
{
    struct buf bytes = h->bytes, lines = h->lines;
    buf_done(&bytes);
    buf_done(&lines);
    *h = (struct head){.bytes = bytes, .lines = lines, .passes_on = h->passes_on};
}

void head_done(struct head *h)
{
    buf_done(&h->lines);
    buf_done(&h->bytes);
}

bool head_expects_unknown(const struct head *h)
{
    return head_has(h, HEAD_EXPECT) &&
           !span_ieq(span_trim(head_get(h, HEAD_EXPECT)), SPAN("100-continue"));
}
