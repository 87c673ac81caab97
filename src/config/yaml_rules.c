/* yaml_rules: keep and drop rules, read and described. */
#include <string.h>
#include <yaml.h>

#include "config/maps.h"
#include "config/yaml_reader.h"
#include "pattern/signature.h"

static int read_levels(struct yaml_reader *r, const yaml_node_t *node, unsigned *levels)
{
    if (node->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *i = node->data.sequence.items.start;
             i < node->data.sequence.items.top; i++) {
            yaml_node_t *item = yaml_document_get_node(r->doc, *i);
            if (item->type != YAML_SCALAR_NODE || read_levels(r, item, levels) < 0)
                return item->type != YAML_SCALAR_NODE
                           ? reader_fail(r, item, "severity: a name or a list of names")
                           : ERR_CONFIG;
        }
        return 0;
    }
    const char *text = node->type == YAML_SCALAR_NODE ? reader_scalar(r, node) : "";
    if (text == NULL)
        return ERR_CONFIG;
    int level = level_parse(span_str(text));
    if (level < 0)
        return reader_fail(
            r, node, "severity: one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL, or a list of them");
    *levels |= 1u << level;
    return 0;
}

/* A copy that lives as long as the configuration. */
static int read_text(struct yaml_reader *r, const yaml_node_t *node, struct span *out)
{
    if (node->type != YAML_SCALAR_NODE)
        return reader_fail(r, node, "a text is wanted here");
    const char *text = reader_scalar(r, node);
    if (text == NULL)
        return ERR_CONFIG;
    *out = arena_copy(&r->cfg->arena, span_of(text, strlen(text) + 1));
    if (out->base == NULL)
        return reader_fail(r, node, "the configuration is too large");
    out->len--;
    return 0;
}

static int read_attributes(struct yaml_reader *r, const yaml_node_t *node, struct rules_matcher *m)
{
    if (node->type != YAML_MAPPING_NODE)
        return reader_fail(r, node,
                           "attributes: a map of names to texts (* is any run of characters)");
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
         p++) {
        yaml_node_t *key = yaml_document_get_node(r->doc, p->key);
        if (m->attributes == RULES_CONDITIONS_MAX)
            return reader_fail(r, key, "too many attributes in one rule (16 at most)");
        if (read_text(r, key, &m->attribute[m->attributes].key) < 0 ||
            read_text(r, yaml_document_get_node(r->doc, p->value),
                      &m->attribute[m->attributes].value) < 0)
            return ERR_CONFIG;
        m->attributes++;
    }
    return 0;
}

static int read_pattern(struct yaml_reader *r, const yaml_node_t *node, struct rules_matcher *m)
{
    struct span text;
    if (read_text(r, node, &text) < 0)
        return ERR_CONFIG;
    if (signature_parse(text, &m->pattern) < 0)
        return reader_fail(r, node, "pattern: an id such as lps1:0123456789abcdef");
    m->has_pattern = true;
    return 0;
}

static int read_condition(struct yaml_reader *r, const char *key, const yaml_node_t *key_node,
                          const yaml_node_t *node, struct rules_matcher *m)
{
    if (strcmp(key, "severity") == 0)
        return read_levels(r, node, &m->levels);
    if (strcmp(key, "service") == 0)
        return read_text(r, node, &m->service);
    if (strcmp(key, "body") == 0)
        return read_text(r, node, &m->body);
    if (strcmp(key, "pattern") == 0)
        return read_pattern(r, node, m);
    if (strcmp(key, "attributes") == 0)
        return read_attributes(r, node, m);
    return reader_fail(r, key_node, "a rule has severity, service, body, pattern and attributes");
}

/* The rule as one line of flow YAML, for print-config. */
static void describe(struct buf *out, const struct rules_matcher *m)
{
    const char *comma = "{";
    if (m->levels != 0) {
        buf_append_str(out, "{severity: ");
        comma = "[";
        for (int l = 0; l < LEVEL_COUNT; l++) {
            if ((m->levels >> l & 1) == 0)
                continue;
            buf_printf(out, "%s%s", comma, level_name((enum level)l));
            comma = ", ";
        }
        buf_append_str(out, "]");
        comma = ", ";
    }
    if (m->service.base != NULL) {
        buf_printf(out, "%sservice: ", comma);
        value_print_quoted(out, (const char *)m->service.base);
        comma = ", ";
    }
    if (m->body.base != NULL) {
        buf_printf(out, "%sbody: ", comma);
        value_print_quoted(out, (const char *)m->body.base);
        comma = ", ";
    }
    if (m->has_pattern) {
        char id[SIGNATURE_TEXT_BYTES];
        buf_printf(out, "%spattern: \"%s\"", comma, signature_format(id, m->pattern));
        comma = ", ";
    }
    for (unsigned i = 0; i < m->attributes; i++) {
        buf_append_str(out, i == 0 ? comma : ", ");
        buf_append_str(out, i == 0 ? "attributes: {" : "");
        value_print_quoted(out, (const char *)m->attribute[i].key.base);
        buf_append_str(out, ": ");
        value_print_quoted(out, (const char *)m->attribute[i].value.base);
    }
    buf_printf(out, "%s}", m->attributes > 0 ? "}" : "");
    buf_append_byte(out, '\0');
}

static int read_rule(struct yaml_reader *r, bool keep, const yaml_node_t *node)
{
    struct rules_matcher m = {0};
    if (node->type != YAML_MAPPING_NODE ||
        node->data.mapping.pairs.start == node->data.mapping.pairs.top)
        return reader_fail(r, node, "a rule is a map with at least one condition");
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
         p++) {
        yaml_node_t *key = yaml_document_get_node(r->doc, p->key);
        struct span name;
        if (read_text(r, key, &name) < 0 ||
            read_condition(r, (const char *)name.base, key,
                           yaml_document_get_node(r->doc, p->value), &m) < 0)
            return ERR_CONFIG;
    }
    struct buf line = {0};
    describe(&line, &m);
    struct error inner = {{0}};
    int rc =
        line.err != 0 ? line.err : config_add_rule(r->cfg, keep, &m, (char *)line.base, &inner);
    buf_done(&line);
    return rc < 0 ? reader_fail(r, node, inner.text[0] != '\0' ? inner.text : err_text(rc)) : 0;
}

int reader_read_rules(struct yaml_reader *r, bool keep, const yaml_node_t *node)
{
    if (reader_is_null(node))
        return 0;
    if (node->type != YAML_SEQUENCE_NODE)
        return reader_fail(r, node, "a list of rules is wanted here");
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top;
         i++) {
        int rc = read_rule(r, keep, yaml_document_get_node(r->doc, *i));
        if (rc < 0)
            return rc;
    }
    return 0;
}
