/* policy_text: members in a fixed order. */
#include "server/policy_text.h"

#include <stdio.h>

#include "policy/document.h"
#include "util/json.h"

#define PATH_BYTES 160

/* ---- in ----------------------------------------------------------------- */

struct visit {
    int (*fn)(void *arg, const struct json_member *m, struct error *err);
    void *arg;
    struct error *err;
    int rc;
};

static bool on_member(void *ctx, const struct json_member *m)
{
    struct visit *v = ctx;
    v->rc = v->fn(v->arg, m, v->err);
    return v->rc == 0;
}

/* A policy_visit_fn for JSON. */
static int visit_json(const char *name, struct span text,
                      int (*fn)(void *arg, const struct json_member *m, struct error *err),
                      void *arg, struct error *err)
{
    struct visit v = {fn, arg, err, 0};
    struct json_object *json = NULL;
    (void)name;
    int rc = json_object_new(&json, POLICY_DOCUMENT_BYTES);
    if (rc == 0)
        rc = json_object_visit_nested(json, text, on_member, &v);
    json_object_free(json);
    return rc < 0 ? err_set(err, rc, "no JSON object of at most %u bytes", POLICY_DOCUMENT_BYTES)
                  : v.rc;
}

int policy_text_read(struct rules **out, struct span text, struct error *err)
{
    struct rules *base;
    struct policy_notes notes;
    int rc = rules_new(&base);
    if (rc < 0)
        return rc;
    rc = policy_document_read_file(out, visit_json, "policy", text, base, &notes, err);
    rules_unref(base);
    return rc == ERR_NOMEM ? rc : rc < 0 ? ERR_MALFORMED : 0;
}

/* ---- out ---------------------------------------------------------------- */

static void write_number(struct json *j, const char *key, struct json_node n, double otherwise)
{
    double value = otherwise;
    if (!json_number(n, &value))
        value = otherwise;
    json_printf(j, key, "%.10g", value);
}

static void write_rates(struct json *j, const char *key, struct json_node object)
{
    struct json_each each = json_each(object);
    json_begin(j, key);
    while (json_next(&each)) {
        json_key(j, each.key);
        write_number(j, NULL, each.value, 1);
    }
    json_end(j);
}

static void write_text(struct json *j, const char *key, struct json_node n, const char *otherwise)
{
    if (json_kind(n) == JSON_STRING)
        json_text(j, key, json_string(n));
    else if (otherwise != NULL)
        json_str(j, key, otherwise);
    else
        json_null(j, key);
}

void policy_text_write(struct buf *out, struct json_node root, int64_t version, const char *by)
{
    struct json j = json_on(out);
    json_begin(&j, NULL);
    write_number(&j, "global_rate", json_get(root, "global_rate"), 1);
    write_rates(&j, "severity_rates", json_get(root, "severity_rates"));
    write_rates(&j, "pattern_rates", json_get(root, "pattern_rates"));
    write_number(&j, "anomaly_boost", json_get(root, "anomaly_boost"), 1);
    write_text(&j, "reasoning", json_get(root, "reasoning"), NULL);
    write_text(&j, "generated_by", json_get(root, "generated_by"), by);
    write_text(&j, "llm_model", json_get(root, "llm_model"), NULL);
    json_i64(&j, "version", version);
    json_end(&j);
}

/* ---- diff --------------------------------------------------------------- */

static void write_side(struct json *j, const char *key, struct json_node n)
{
    if (json_kind(n) == JSON_STRING)
        json_text(j, key, json_string(n));
    else if (json_kind(n) == JSON_NULL)
        json_null(j, key);
    else
        write_number(j, key, n, 0);
}

static bool is_same(struct json_node a, struct json_node b)
{
    double x, y;
    if (json_kind(a) == JSON_STRING || json_kind(b) == JSON_STRING)
        return json_kind(a) == json_kind(b) && span_eq(json_string(a), json_string(b));
    bool has_x = json_number(a, &x), has_y = json_number(b, &y);
    return has_x == has_y && (!has_x || !(x < y || x > y));
}

static void diff_member(struct json *j, const char *path, struct json_node from,
                        struct json_node to)
{
    if (is_same(from, to))
        return;
    json_begin(j, NULL);
    json_str(j, "path", path);
    write_side(j, "from", from);
    write_side(j, "to", to);
    json_end(j);
}

static struct json_node member(struct json_node object, struct span key)
{
    struct json_each each = json_each(object);
    while (json_next(&each))
        if (span_eq(each.key, key))
            return each.value;
    return (struct json_node){0};
}

static void diff_rates(struct json *j, const char *name, struct json_node from, struct json_node to)
{
    char path[PATH_BYTES];
    struct json_each each = json_each(from);
    while (json_next(&each)) {
        snprintf(path, sizeof path, "%s.%.*s", name, (int)each.key.len,
                 (const char *)each.key.base);
        diff_member(j, path, each.value, member(to, each.key));
    }
    each = json_each(to);
    while (json_next(&each)) {
        if (json_kind(member(from, each.key)) != JSON_NULL)
            continue;
        snprintf(path, sizeof path, "%s.%.*s", name, (int)each.key.len,
                 (const char *)each.key.base);
        diff_member(j, path, (struct json_node){0}, each.value);
    }
}

void policy_text_diff(struct buf *out, struct json_node from, struct json_node to)
{
    static const char *const plain[] = {"global_rate", "anomaly_boost", "reasoning", "generated_by",
                                        "llm_model"};
    static const char *const rates[] = {"severity_rates", "pattern_rates"};
    struct json j = json_on(out);
    json_begin_list(&j, NULL);
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        diff_member(&j, plain[i], json_get(from, plain[i]), json_get(to, plain[i]));
    for (size_t i = 0; i < ARRAY_LEN(rates); i++)
        diff_rates(&j, rates[i], json_get(from, rates[i]), json_get(to, rates[i]));
    json_end_list(&j);
}
