/* canonical: the members of each object are sorted by their keys. */
#include "posthog/canonical.h"

#include <stdlib.h>
#include <string.h>

#include "util/json.h"

struct member {
    struct span key;
    struct json_node value;
};

static int by_key(const void *a, const void *b)
{
    const struct span *x = &((const struct member *)a)->key, *y = &((const struct member *)b)->key;
    size_t n = x->len < y->len ? x->len : y->len;
    int c = n == 0 ? 0 : memcmp(x->base, y->base, n);
    return c != 0 ? c : (x->len > y->len) - (x->len < y->len);
}

static bool is_empty(struct json_node n)
{
    enum json_kind kind = json_kind(n);
    struct json_each each = json_each(n);
    return kind == JSON_NULL || ((kind == JSON_ARRAY || kind == JSON_OBJECT) && !json_next(&each));
}

static void write_node(struct buf *out, struct json_node n, unsigned depth);

static void write_object(struct buf *out, struct json_node n, unsigned depth)
{
    struct member members[CANONICAL_MEMBERS_MAX];
    size_t count = 0;
    struct json_each each = json_each(n);
    while (json_next(&each) && count < CANONICAL_MEMBERS_MAX)
        if (!is_empty(each.value))
            members[count++] = (struct member){each.key, each.value};
    qsort(members, count, sizeof *members, by_key);
    buf_append_byte(out, '{');
    for (size_t i = 0; i < count; i++) {
        buf_append_str(out, i > 0 ? "," : "");
        json_write_string(out, members[i].key);
        buf_append_byte(out, ':');
        write_node(out, members[i].value, depth + 1);
    }
    buf_append_byte(out, '}');
}

static void write_array(struct buf *out, struct json_node n, unsigned depth)
{
    const char *comma = "";
    struct json_each each = json_each(n);
    buf_append_byte(out, '[');
    while (json_next(&each)) {
        buf_append_str(out, comma);
        write_node(out, each.value, depth + 1);
        comma = ",";
    }
    buf_append_byte(out, ']');
}

static void write_node(struct buf *out, struct json_node n, unsigned depth)
{
    double number = 0;
    enum json_kind kind = depth < CANONICAL_DEPTH_MAX ? json_kind(n) : JSON_NULL;
    switch (kind) {
    case JSON_OBJECT:
        write_object(out, n, depth);
        break;
    case JSON_ARRAY:
        write_array(out, n, depth);
        break;
    case JSON_STRING:
        json_write_string(out, json_string(n));
        break;
    case JSON_BOOL:
        buf_append_str(out, json_is_true(n) ? "true" : "false");
        break;
    default:
        if (json_number(n, &number))
            buf_printf(out, "%.17g", number);
        else
            buf_append_str(out, "null");
        break;
    }
}

void canonical_write(struct buf *out, struct json_node n)
{
    write_node(out, n, 0); /* CANONICAL_DEPTH_MAX deep */
}

int canonical_of(struct buf *out, struct span text)
{
    struct json_doc *doc;
    struct json_node root;
    int rc = json_doc_new(&doc, text, NULL, &root);
    if (rc < 0)
        return rc;
    canonical_write(out, root);
    json_doc_free(doc);
    return out->err;
}
