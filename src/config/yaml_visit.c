/* yaml_visit: a policy, whose members are passed on as those of a JSON object. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "config/config.h"
#include "config/yaml_reader.h"

/* JSON writes U+1F600 as \ud83d\ude00, YAML as \U0001f600; otherwise a JSON policy is YAML. A
 * half without the other one stays, and libyaml refuses it. */
static void join_surrogates(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned high, low;
        char escape[13] = "";
        if (text.base[i] == '\\' && text.len - i >= 12)
            memcpy(escape, text.base + i, 12);
        if (sscanf(escape, "\\u%4x\\u%4x", &high, &low) == 2 && high >> 10 == 0xd800 >> 10 &&
            low >> 10 == 0xdc00 >> 10) {
            buf_printf(out, "\\U%08x", 0x10000 + ((high & 0x3ff) << 10 | (low & 0x3ff)));
            i += 11;
            continue;
        }
        buf_append_byte(out, text.base[i]);
        if (text.base[i] == '\\' && i + 1 < text.len)
            buf_append_byte(out, text.base[++i]); /* an escaped backslash begins nothing */
    }
}

/* Kind and value of a scalar by YAML's JSON schema; what is not in that is text. */
static void read_meaning(const yaml_node_t *n, struct json_member *m)
{
    const char *text = (const char *)n->data.scalar.value;
    char *end;
    m->kind = JSON_STRING;
    m->text = span_of(text, n->data.scalar.length);
    if (n->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return;
    if (reader_is_null(n)) {
        m->kind = JSON_NULL;
    } else if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        m->kind = JSON_BOOL;
        m->number = *text == 't';
    } else if (text[strspn(text, "+-.0123456789eE")] == '\0') {
        long long whole = strtoll(text, &end, 10);
        m->kind = JSON_INT;
        m->number = (uint64_t)whole;
        if (*end != '\0' || whole == LLONG_MAX || whole == LLONG_MIN) {
            m->kind = JSON_DOUBLE;
            m->real = strtod(text, &end);
        }
        if (*end != '\0')
            m->kind = JSON_STRING;
    }
}

struct visit {
    struct yaml_reader r;
    int (*fn)(void *arg, const struct json_member *m, struct error *err);
    void *arg;
};

/* The search is quadratic, so it stops here: a map may have thousands of pattern ids. Beyond, the
 * last of two equal keys counts. */
#define DUPLICATES_LOOKED_FOR 64

static int visit_map(struct visit *v, const yaml_node_t *map, struct span outer, bool is_root)
{
    const yaml_node_pair_t *first = map->data.mapping.pairs.start;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        yaml_node_t *key = yaml_document_get_node(v->r.doc, p->key);
        yaml_node_t *value = yaml_document_get_node(v->r.doc, p->value);
        struct error inner = {{0}};
        if (key->type != YAML_SCALAR_NODE)
            return reader_fail(&v->r, key, "a key must be a plain text");
        if (p - first < DUPLICATES_LOOKED_FOR && reader_is_duplicate(&v->r, map, p))
            return reader_fail(&v->r, key, "this key is here twice");
        struct json_member m = {
            .outer = outer,
            .key = span_of(key->data.scalar.value, key->data.scalar.length),
            .kind = value->type == YAML_MAPPING_NODE ? JSON_OBJECT : JSON_ARRAY,
        };
        if (value->type == YAML_SCALAR_NODE)
            read_meaning(value, &m);
        int rc = v->fn(v->arg, &m, &inner);
        if (rc < 0)
            return reader_fail(&v->r, m.kind == JSON_OBJECT || m.kind == JSON_ARRAY ? key : value,
                               inner.text[0] != '\0' ? inner.text : err_text(rc));
        if (is_root && m.kind == JSON_OBJECT)
            rc = visit_map(v, value, m.key, false);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int config_visit_yaml(const char *name, struct span text,
                      int (*fn)(void *arg, const struct json_member *m, struct error *err),
                      void *arg, struct error *err)
{
    yaml_document_t doc;
    struct visit v = {.r = {.doc = &doc, .name = name, .err = err}, .fn = fn, .arg = arg};
    struct buf joined = {0};
    join_surrogates(&joined, text);
    int rc = joined.err != 0 ? joined.err : reader_parse(&v.r, buf_span(&joined));
    if (rc == 0) {
        yaml_node_t *root = yaml_document_get_root_node(v.r.doc);
        rc = root != NULL && root->type == YAML_MAPPING_NODE
                 ? visit_map(&v, root, (struct span){0}, true)
                 : err_set(err, ERR_CONFIG, "%s:1:1: a map is wanted here", name);
        yaml_document_delete(v.r.doc);
    }
    buf_done(&joined);
    return rc;
}
