/*
 * yaml: a document as a tree of dotted keys; the one home of libyaml.
 *
 * The document is parsed whole, then walked; environment references are
 * expanded in scalars only now, so that a value can never become structure.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "config/maps.h"
#include "config/options.h"
#include "pattern/signature.h"

#define PATH_BYTES 256
#define NESTING_MAX 16 /* the deepest setting has five levels */

struct reader {
    struct config *cfg;
    yaml_document_t doc;
    const char *name; /* of the file */
    char **env;
    struct buf value; /* the scalar in hand, expanded, with a NUL */
    struct error *err;
};

static int fail_at(struct reader *r, const yaml_node_t *node, const char *text)
{
    return err_set(r->err, ERR_CONFIG, "%s:%zu:%zu: %.400s", r->name, node->start_mark.line + 1,
                   node->start_mark.column + 1, text);
}

static struct span find_env(struct reader *r, struct span name)
{
    for (char **e = r->env; e != NULL && *e != NULL; e++)
        if (strncmp(*e, (const char *)name.base, name.len) == 0 && (*e)[name.len] == '=')
            return span_str(*e + name.len + 1);
    return (struct span){0};
}

/* "NAME" or "NAME:-default" between ${env: and }. */
static int expand_one(struct reader *r, const yaml_node_t *node, struct span inside)
{
    char text[PATH_BYTES];
    struct span name = inside, fallback = {0};
    for (size_t i = 0; i + 1 < inside.len; i++) {
        if (inside.base[i] == ':' && inside.base[i + 1] == '-') {
            name.len = i;
            fallback = span_skip(inside, i + 2);
            break;
        }
    }
    struct span value = find_env(r, name);
    if (value.base == NULL || (value.len == 0 && fallback.base != NULL))
        value = fallback;
    if (value.base == NULL) {
        snprintf(text, sizeof text,
                 "environment variable %.*s is not set; ${env:%.*s:-default} "
                 "would give it a default",
                 (int)(name.len < 64 ? name.len : 64), (const char *)name.base,
                 (int)(name.len < 64 ? name.len : 64), (const char *)name.base);
        return fail_at(r, node, text);
    }
    buf_append(&r->value, value);
    return 0;
}

/* ${file:PATH}: what the file holds but the line's end behind it; for mounted secrets. */
static int expand_file(struct reader *r, const yaml_node_t *node, struct span inside)
{
    char path[PATH_BYTES], text[PATH_BYTES + 64];
    snprintf(path, sizeof path, "%.*s",
             (int)(inside.len < PATH_BYTES ? inside.len : PATH_BYTES - 1),
             (const char *)inside.base);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang us */
    size_t start = r->value.len;
    ssize_t n = -1;
    if (fd >= 0 && buf_reserve(&r->value, CONFIG_TEXT_BYTES) == 0)
        n = read(fd, r->value.base + start, CONFIG_TEXT_BYTES);
    int cause = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0) {
        snprintf(text, sizeof text, "cannot read '%.200s': %s", path, strerror(cause));
        return fail_at(r, node, text);
    }
    r->value.len += (size_t)n;
    while (r->value.len > start &&
           (r->value.base[r->value.len - 1] == '\n' || r->value.base[r->value.len - 1] == '\r'))
        r->value.len--;
    return 0;
}

static const uint8_t *find_byte(struct span s, uint8_t byte)
{
    return s.len == 0 ? NULL : memchr(s.base, byte, s.len);
}

/* The scalar's text with references expanded, NUL-terminated, in r->value. */
static const char *scalar(struct reader *r, const yaml_node_t *node)
{
    struct span rest = span_of(node->data.scalar.value, node->data.scalar.length);
    static const struct {
        const char *open, *unclosed;
        int (*expand)(struct reader *r, const yaml_node_t *node, struct span inside);
    } references[] = {
        {"${env:", "${env: without }", expand_one},
        {"${file:", "${file: without }", expand_file},
    };
    buf_clear(&r->value);
    while (rest.len > 0) {
        const uint8_t *close = find_byte(rest, '}');
        if (span_starts(rest, SPAN("$$"))) {
            buf_append_byte(&r->value, '$');
            rest = span_skip(rest, 2);
            continue;
        }
        size_t which = 0;
        while (which < ARRAY_LEN(references) &&
               !span_starts(rest, span_str(references[which].open)))
            which++;
        if (which == ARRAY_LEN(references)) {
            buf_append_byte(&r->value, rest.base[0]);
            rest = span_skip(rest, 1);
            continue;
        }
        if (close == NULL) {
            fail_at(r, node, references[which].unclosed);
            return NULL;
        }
        size_t begin = strlen(references[which].open), len = (size_t)(close - rest.base);
        if (references[which].expand(r, node, span_of(rest.base + begin, len - begin)) < 0)
            return NULL;
        rest = span_skip(rest, len + 1);
    }
    if (find_byte(buf_span(&r->value), '\0') != NULL) {
        fail_at(r, node, "a NUL byte in a value");
        return NULL;
    }
    buf_append_byte(&r->value, '\0');
    if (r->value.err != 0) {
        fail_at(r, node, err_text(r->value.err));
        return NULL;
    }
    return (const char *)r->value.base;
}

static bool is_null(const yaml_node_t *n)
{
    return n->type == YAML_SCALAR_NODE && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (n->data.scalar.length == 0 || strcmp((char *)n->data.scalar.value, "~") == 0 ||
            strcmp((char *)n->data.scalar.value, "null") == 0);
}

/* ---- keep and drop rules ----------------------------------------------- */

static int read_levels(struct reader *r, const yaml_node_t *node, unsigned *levels)
{
    if (node->type == YAML_SEQUENCE_NODE) {
        for (yaml_node_item_t *i = node->data.sequence.items.start;
             i < node->data.sequence.items.top; i++) {
            yaml_node_t *item = yaml_document_get_node(&r->doc, *i);
            if (item->type != YAML_SCALAR_NODE || read_levels(r, item, levels) < 0)
                return item->type != YAML_SCALAR_NODE
                           ? fail_at(r, item, "severity: a name or a list of names")
                           : ERR_CONFIG;
        }
        return 0;
    }
    const char *text = node->type == YAML_SCALAR_NODE ? scalar(r, node) : "";
    if (text == NULL)
        return ERR_CONFIG;
    int level = level_parse(span_str(text));
    if (level < 0)
        return fail_at(
            r, node, "severity: one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL, or a list of them");
    *levels |= 1u << level;
    return 0;
}

/* A copy that lives as long as the configuration. */
static int read_text(struct reader *r, const yaml_node_t *node, struct span *out)
{
    if (node->type != YAML_SCALAR_NODE)
        return fail_at(r, node, "a text is wanted here");
    const char *text = scalar(r, node);
    if (text == NULL)
        return ERR_CONFIG;
    *out = arena_copy(&r->cfg->arena, span_of(text, strlen(text) + 1));
    if (out->base == NULL)
        return fail_at(r, node, "the configuration is too large");
    out->len--;
    return 0;
}

static int read_attributes(struct reader *r, const yaml_node_t *node, struct rules_matcher *m)
{
    if (node->type != YAML_MAPPING_NODE)
        return fail_at(r, node, "attributes: a map of names to texts (* is any run of characters)");
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
         p++) {
        yaml_node_t *key = yaml_document_get_node(&r->doc, p->key);
        if (m->attributes == RULES_CONDITIONS_MAX)
            return fail_at(r, key, "too many attributes in one rule (16 at most)");
        if (read_text(r, key, &m->attribute[m->attributes].key) < 0 ||
            read_text(r, yaml_document_get_node(&r->doc, p->value),
                      &m->attribute[m->attributes].value) < 0)
            return ERR_CONFIG;
        m->attributes++;
    }
    return 0;
}

static int read_pattern(struct reader *r, const yaml_node_t *node, struct rules_matcher *m)
{
    struct span text;
    if (read_text(r, node, &text) < 0)
        return ERR_CONFIG;
    if (signature_parse(text, &m->pattern) < 0)
        return fail_at(r, node, "pattern: an id such as lps1:0123456789abcdef");
    m->has_pattern = true;
    return 0;
}

static int read_condition(struct reader *r, const char *key, const yaml_node_t *key_node,
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
    return fail_at(r, key_node, "a rule has severity, service, body, pattern and attributes");
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

static int read_rule(struct reader *r, bool keep, const yaml_node_t *node)
{
    struct rules_matcher m = {0};
    if (node->type != YAML_MAPPING_NODE ||
        node->data.mapping.pairs.start == node->data.mapping.pairs.top)
        return fail_at(r, node, "a rule is a map with at least one condition");
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
         p++) {
        yaml_node_t *key = yaml_document_get_node(&r->doc, p->key);
        struct span name;
        if (read_text(r, key, &name) < 0 ||
            read_condition(r, (const char *)name.base, key,
                           yaml_document_get_node(&r->doc, p->value), &m) < 0)
            return ERR_CONFIG;
    }
    struct buf line = {0};
    describe(&line, &m);
    struct error inner = {{0}};
    int rc =
        line.err != 0 ? line.err : config_add_rule(r->cfg, keep, &m, (char *)line.base, &inner);
    buf_done(&line);
    return rc < 0 ? fail_at(r, node, inner.text[0] != '\0' ? inner.text : err_text(rc)) : 0;
}

static int read_rules(struct reader *r, bool keep, const yaml_node_t *node)
{
    if (is_null(node))
        return 0;
    if (node->type != YAML_SEQUENCE_NODE)
        return fail_at(r, node, "a list of rules is wanted here");
    for (yaml_node_item_t *i = node->data.sequence.items.start; i < node->data.sequence.items.top;
         i++) {
        int rc = read_rule(r, keep, yaml_document_get_node(&r->doc, *i));
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- the tree ---------------------------------------------------------- */

static int read_node(struct reader *r, const yaml_node_t *node, const char *path, unsigned depth);

static int read_entry(struct reader *r, const struct option *map, const char *key,
                      const yaml_node_t *node)
{
    struct error inner = {{0}};
    const char *value = node->type == YAML_SCALAR_NODE ? scalar(r, node) : NULL;
    if (node->type != YAML_SCALAR_NODE)
        return fail_at(r, node, "a single value is wanted here");
    if (value == NULL)
        return ERR_CONFIG;
    int rc = map->kind->set_entry(r->cfg, key, value, &inner);
    return rc < 0 ? fail_at(r, node, inner.text[0] != '\0' ? inner.text : err_text(rc)) : 0;
}

static bool came_before(struct reader *r, const yaml_node_t *map, const yaml_node_pair_t *pair)
{
    yaml_node_t *key = yaml_document_get_node(&r->doc, pair->key);
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < pair; p++) {
        yaml_node_t *other = yaml_document_get_node(&r->doc, p->key);
        if (other->type == YAML_SCALAR_NODE &&
            span_eq(span_of(other->data.scalar.value, other->data.scalar.length),
                    span_of(key->data.scalar.value, key->data.scalar.length)))
            return true;
    }
    return false;
}

static int read_mapping(struct reader *r, const yaml_node_t *node, const char *path, unsigned depth)
{
    const struct option *map = option_find(path); /* else a section */
    for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top;
         p++) {
        yaml_node_t *key = yaml_document_get_node(&r->doc, p->key);
        yaml_node_t *value = yaml_document_get_node(&r->doc, p->value);
        char inner[PATH_BYTES];
        if (key->type != YAML_SCALAR_NODE)
            return fail_at(r, key, "a key must be a plain text");
        if (came_before(r, node, p))
            return fail_at(r, key, "this key is here twice");
        int n = snprintf(inner, sizeof inner, "%s%s%s", path, *path == '\0' ? "" : ".",
                         (const char *)key->data.scalar.value);
        if (n >= (int)sizeof inner ||
            strlen((const char *)key->data.scalar.value) != key->data.scalar.length)
            return fail_at(r, key, "no such setting");
        if (map == NULL && option_find(inner) == NULL && !option_is_section(inner)) {
            char text[PATH_BYTES + 32];
            snprintf(text, sizeof text, "%s: no such setting", inner);
            return fail_at(r, key, text);
        }
        int rc = map != NULL ? read_entry(r, map, (const char *)key->data.scalar.value, value)
                             : read_node(r, value, inner, depth + 1);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_scalar(struct reader *r, const yaml_node_t *node, const char *path)
{
    struct error inner = {{0}};
    if (option_is_section(path) || *path == '\0') {
        if (is_null(node))
            return 0; /* "http:" with nothing below: the defaults */
        return fail_at(r, node, "settings are wanted here, one below the other");
    }
    const char *value = is_null(node) ? "" : scalar(r, node);
    if (value == NULL)
        return ERR_CONFIG;
    int rc = config_set(r->cfg, path, value, &inner);
    return rc < 0 ? fail_at(r, node, inner.text) : 0;
}

/* Each word is tried by itself first, so that a bad one is refused where it stands. */
static int read_words(struct reader *r, const yaml_node_t *node, const char *path)
{
    struct error inner = {{0}};
    struct buf list = {0};
    int rc = 0;
    for (yaml_node_item_t *i = node->data.sequence.items.start;
         i < node->data.sequence.items.top && rc == 0; i++) {
        yaml_node_t *item = yaml_document_get_node(&r->doc, *i);
        const char *word = item->type == YAML_SCALAR_NODE ? scalar(r, item) : NULL;
        if (word == NULL)
            rc = item->type == YAML_SCALAR_NODE ? ERR_CONFIG
                                                : fail_at(r, item, "a word is wanted here");
        else if (config_set(r->cfg, path, word, &inner) < 0)
            rc = fail_at(r, item, inner.text);
        else
            buf_printf(&list, "%s%s", list.len == 0 ? "[" : ",", word);
    }
    buf_append_str(&list, list.len == 0 ? "[]" : "]");
    buf_append_byte(&list, '\0');
    if (rc == 0)
        rc = list.err != 0 ? list.err : config_set(r->cfg, path, (const char *)list.base, &inner);
    buf_done(&list);
    return rc;
}

static int read_node(struct reader *r, const yaml_node_t *node, const char *path, unsigned depth)
{
    if (depth > NESTING_MAX)
        return fail_at(r, node, "nested too deep");
    const struct option *o = option_find(path);
    if (o != NULL && (o->kind == &value_keep || o->kind == &value_drop))
        return read_rules(r, o->kind == &value_keep, node);
    switch (node->type) {
    case YAML_MAPPING_NODE:
        if (*path != '\0' && !option_is_section(path))
            return fail_at(r, node, "a single value is wanted here");
        return read_mapping(r, node, path, depth);
    case YAML_SCALAR_NODE:
        return read_scalar(r, node, path);
    default:
        if (o != NULL && o->kind->is_list)
            return read_words(r, node, path);
        return fail_at(r, node, "a list is not wanted here");
    }
}

static int parse(struct reader *r, struct span text)
{
    yaml_parser_t parser;
    int rc = 0;
    if (!yaml_parser_initialize(&parser))
        return ERR_NOMEM;
    const uint8_t *base = text.base != NULL ? text.base : (const uint8_t *)""; /* libyaml asserts */
    yaml_parser_set_input_string(&parser, base, text.len);
    if (!yaml_parser_load(&parser, &r->doc))
        rc = err_set(r->err, ERR_CONFIG, "%s:%zu:%zu: %s", r->name, parser.problem_mark.line + 1,
                     parser.problem_mark.column + 1,
                     parser.problem != NULL ? parser.problem : "not YAML");
    yaml_parser_delete(&parser);
    return rc;
}

int config_read_yaml(struct config *cfg, const char *name, struct span text, const char *base,
                     char **env, struct error *err)
{
    struct reader r = {.cfg = cfg, .name = name, .env = env, .err = err};
    int rc = parse(&r, text);
    if (rc < 0)
        return rc;
    yaml_node_t *root = yaml_document_get_root_node(&r.doc);
    if (root != NULL)
        rc = read_node(&r, root, base, 0);
    buf_done(&r.value);
    yaml_document_delete(&r.doc);
    return rc;
}

/* ---- a policy ---------------------------------------------------------- */

/* JSON writes U+1F600 as \ud83d\ude00, YAML as \U0001f600; in all else that
 * counts here JSON is YAML. Halves without their other half stay, and are refused. */
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

/* What a scalar means in YAML's JSON schema; all else is text. */
static void read_meaning(const yaml_node_t *n, struct json_member *m)
{
    const char *text = (const char *)n->data.scalar.value;
    char *end;
    m->kind = JSON_STRING;
    m->text = span_of(text, n->data.scalar.length);
    if (n->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return;
    if (is_null(n)) {
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
    struct reader r;
    int (*fn)(void *arg, const struct json_member *m, struct error *err);
    void *arg;
};

/* Quadratic, and so not for maps of thousands of pattern ids: of those the last counts. */
#define DUPLICATES_LOOKED_FOR 64

static int visit_map(struct visit *v, const yaml_node_t *map, struct span outer, bool is_root)
{
    const yaml_node_pair_t *first = map->data.mapping.pairs.start;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        yaml_node_t *key = yaml_document_get_node(&v->r.doc, p->key);
        yaml_node_t *value = yaml_document_get_node(&v->r.doc, p->value);
        struct error inner = {{0}};
        if (key->type != YAML_SCALAR_NODE)
            return fail_at(&v->r, key, "a key must be a plain text");
        if (p - first < DUPLICATES_LOOKED_FOR && came_before(&v->r, map, p))
            return fail_at(&v->r, key, "this key is here twice");
        struct json_member m = {
            .outer = outer,
            .key = span_of(key->data.scalar.value, key->data.scalar.length),
            .kind = value->type == YAML_MAPPING_NODE ? JSON_OBJECT : JSON_ARRAY,
        };
        if (value->type == YAML_SCALAR_NODE)
            read_meaning(value, &m);
        int rc = v->fn(v->arg, &m, &inner);
        if (rc < 0)
            return fail_at(&v->r, m.kind == JSON_OBJECT || m.kind == JSON_ARRAY ? key : value,
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
    struct visit v = {.r = {.name = name, .err = err}, .fn = fn, .arg = arg};
    struct buf joined = {0};
    join_surrogates(&joined, text);
    int rc = joined.err != 0 ? joined.err : parse(&v.r, buf_span(&joined));
    if (rc == 0) {
        yaml_node_t *root = yaml_document_get_root_node(&v.r.doc);
        rc = root != NULL && root->type == YAML_MAPPING_NODE
                 ? visit_map(&v, root, (struct span){0}, true)
                 : err_set(err, ERR_CONFIG,
                           "%s:1:1: a map with global_rate or severity_rates is wanted here", name);
        yaml_document_delete(&v.r.doc);
    }
    buf_done(&joined);
    return rc;
}
