/* guarded_saved: a kind and a JSON text for each item. */
#include "posthog/guarded_saved.h"

#include "util/json.h"
#include "util/saved.h"

#define DEPTH_MAX 64 /* of a filter; what is deeper is cut, and cannot be translated */

static void write_node(struct json *j, struct json_node n, unsigned depth)
{
    struct json_each each;
    double number;
    uint64_t whole;
    enum json_kind kind = depth < DEPTH_MAX ? json_kind(n) : JSON_NULL;
    switch (kind) {
    case JSON_OBJECT:
        json_begin(j, NULL);
        for (each = json_each(n); json_next(&each);) {
            json_key(j, each.key);
            write_node(j, each.value, depth + 1);
        }
        json_end(j);
        break;
    case JSON_ARRAY:
        json_begin_list(j, NULL);
        for (each = json_each(n); json_next(&each);)
            write_node(j, each.value, depth + 1);
        json_end_list(j);
        break;
    case JSON_STRING:
        json_text(j, NULL, json_string(n));
        break;
    case JSON_BOOL:
        json_bool(j, NULL, json_is_true(n));
        break;
    case JSON_NULL:
        json_null(j, NULL);
        break;
    default:
        if (json_whole(n, &whole))
            json_u64(j, NULL, whole);
        else if (json_number(n, &number))
            json_printf(j, NULL, "%.17g", number);
        else
            json_null(j, NULL);
        break;
    }
}

void guarded_save(struct buf *out, enum guard_kind kind, struct json_node item)
{
    /* What guarded_item() asks for. */
    static const char *const members[] = {
        "id",
        "short_id",
        "name",
        "enabled",
        "tags",
        "filters",
        "filter_group",
        "query",
        "value_attribute",
        "threshold_count",
        "threshold_operator",
    };
    saved_put_u8(out, (uint8_t)kind);
    size_t at = saved_put_later(out);
    struct json j = json_on(out);
    json_begin(&j, NULL);
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        struct json_node value = json_get(item, members[i]);
        if (json_kind(value) == JSON_NULL)
            continue;
        json_key(&j, span_str(members[i]));
        write_node(&j, value, 0);
    }
    json_end(&j);
    saved_set_later(out, at, (uint32_t)(out->len - at));
}

static int restore_one(struct guarded *g, struct span text, struct budget *budget)
{
    struct json_doc *doc;
    struct json_node root;
    int rc = json_doc_new(&doc, text, budget, &root);
    if (rc < 0)
        return rc;
    guarded_item(g, root);
    json_doc_free(doc);
    return g->rc;
}

int guarded_restore(struct guarded *g, struct span saved, bool keeps, bool has_weights,
                    struct budget *budget)
{
    struct saved all = {.left = saved};
    *g = (struct guarded){.keeps = keeps, .has_weights = has_weights};
    int rc = guard_new(&g->guard, keeps);
    while (rc == 0 && all.left.len > 0) {
        uint8_t kind = saved_u8(&all);
        struct span text = saved_span(&all);
        g->at = kind;
        rc = all.is_bad || kind >= GUARD_KIND_COUNT ? ERR_MALFORMED : restore_one(g, text, budget);
    }
    if (rc < 0) {
        guard_unref(g->guard);
        g->guard = NULL;
    }
    return rc;
}
