/* yaml: a document as a tree of settings. */
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "config/maps.h"
#include "config/options.h"
#include "config/yaml_reader.h"
#include "util/secret.h"

#define PATH_BYTES 256
#define NESTING_MAX 16 /* the deepest setting has five levels */

static int read_node(struct yaml_reader *r, const yaml_node_t *node, const char *path,
                     unsigned depth);

static int read_entry(struct yaml_reader *r, const struct option *map, const char *key,
                      const yaml_node_t *node)
{
    struct error inner = {{0}};
    const char *value = node->type == YAML_SCALAR_NODE ? reader_scalar(r, node) : NULL;
    if (node->type != YAML_SCALAR_NODE)
        return reader_fail(r, node, "a single value is wanted here");
    if (value == NULL)
        return ERR_CONFIG;
    int rc = map->kind->set_entry(r->cfg, key, value, &inner);
    return rc < 0 ? reader_fail(r, node, inner.text[0] != '\0' ? inner.text : err_text(rc)) : 0;
}

static int read_mapping(struct yaml_reader *r, const yaml_node_t *node, const char *path,
                        unsigned depth)
{
    const struct option *map = option_find(path); /* else a section */
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
         p++) {
        yaml_node_t *key = yaml_document_get_node(r->doc, p->key);
        yaml_node_t *value = yaml_document_get_node(r->doc, p->value);
        char inner[PATH_BYTES];
        if (key->type != YAML_SCALAR_NODE)
            return reader_fail(r, key, "a key must be a plain text");
        if (reader_is_duplicate(r, node, p))
            return reader_fail(r, key, "this key is here twice");
        int n = snprintf(inner, sizeof inner, "%s%s%s", path, *path == '\0' ? "" : ".",
                         (const char *)key->data.scalar.value);
        if (n >= (int)sizeof inner ||
            strlen((const char *)key->data.scalar.value) != key->data.scalar.length)
            return reader_fail(r, key, "no such setting");
        if (map == NULL && option_find(inner) == NULL && !option_is_section(inner)) {
            char text[PATH_BYTES + 32];
            snprintf(text, sizeof text, "%s: no such setting", inner);
            return reader_fail(r, key, text);
        }
        int rc = map != NULL ? read_entry(r, map, (const char *)key->data.scalar.value, value)
                             : read_node(r, value, inner, depth + 1);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_scalar(struct yaml_reader *r, const yaml_node_t *node, const char *path)
{
    struct error inner = {{0}};
    if (option_is_section(path) || *path == '\0') {
        if (reader_is_null(node))
            return 0; /* "http:" with nothing below: the defaults */
        return reader_fail(r, node, "settings are wanted here, one below the other");
    }
    const char *value = reader_is_null(node) ? "" : reader_scalar(r, node);
    if (value == NULL)
        return ERR_CONFIG;
    int rc = config_set(r->cfg, path, value, &inner);
    return rc < 0 ? reader_fail(r, node, inner.text) : 0;
}

/* Set each word by itself first, so that a message has the place of the wrong one. */
static int read_words(struct yaml_reader *r, const yaml_node_t *node, const char *path)
{
    struct error inner = {{0}};
    struct buf list = {0};
    int rc = 0;
    for (yaml_node_item_t *i = node->data.sequence.items.start;
         i < node->data.sequence.items.top && rc == 0; i++) {
        yaml_node_t *item = yaml_document_get_node(r->doc, *i);
        const char *word = item->type == YAML_SCALAR_NODE ? reader_scalar(r, item) : NULL;
        if (word == NULL)
            rc = item->type == YAML_SCALAR_NODE ? ERR_CONFIG
                                                : reader_fail(r, item, "a word is wanted here");
        else if (config_set(r->cfg, path, word, &inner) < 0)
            rc = reader_fail(r, item, inner.text);
        else
            buf_printf(&list, "%s%s", list.len == 0 ? "[" : ",", word);
    }
    buf_append_str(&list, list.len == 0 ? "[]" : "]");
    buf_append_byte(&list, '\0');
    if (rc == 0) { /* each word is right by itself, and all of them may be too many */
        rc = list.err != 0 ? list.err : config_set(r->cfg, path, (const char *)list.base, &inner);
        if (rc < 0)
            rc = reader_fail(r, node, inner.text[0] != '\0' ? inner.text : err_text(rc));
    }
    buf_done(&list);
    return rc;
}

static int read_node(struct yaml_reader *r, const yaml_node_t *node, const char *path,
                     unsigned depth)
{
    if (depth > NESTING_MAX)
        return reader_fail(r, node, "nested too deep");
    const struct option *o = option_find(path);
    if (o != NULL && (o->kind == &value_keep || o->kind == &value_drop))
        return reader_read_rules(r, o->kind == &value_keep, node);
    switch (node->type) {
    case YAML_MAPPING_NODE:
        if (*path != '\0' && !option_is_section(path))
            return reader_fail(r, node, "a single value is wanted here");
        return read_mapping(r, node, path, depth);
    case YAML_SCALAR_NODE:
        return read_scalar(r, node, path);
    default:
        if (o != NULL && o->kind->is_list)
            return read_words(r, node, path);
        return reader_fail(r, node, "a list is not wanted here");
    }
}

/* Any scalar may be a key, or hold one. */
static void wipe(struct yaml_reader *r)
{
    for (yaml_node_t *n = r->doc->nodes.start; n < r->doc->nodes.top; n++)
        if (n->type == YAML_SCALAR_NODE)
            secret_wipe(n->data.scalar.value, n->data.scalar.length);
    secret_wipe(r->value.base, r->value.cap);
}

int config_read_yaml(struct config *cfg, const char *name, struct span text, const char *base,
                     char **env, struct error *err)
{
    yaml_document_t doc;
    struct yaml_reader r = {.cfg = cfg, .doc = &doc, .name = name, .env = env, .err = err};
    int rc = reader_parse(&r, text);
    if (rc < 0)
        return rc;
    yaml_node_t *root = yaml_document_get_root_node(r.doc);
    if (root != NULL)
        rc = read_node(&r, root, base, 0);
    wipe(&r);
    buf_done(&r.value);
    yaml_document_delete(r.doc);
    return rc;
}
