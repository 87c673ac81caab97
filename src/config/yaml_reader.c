/* yaml_reader: libyaml's parser, and the references in scalars. */
#include "config/yaml_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

#include "config/config.h"
#include "config/maps.h"

#define PATH_BYTES 256

int reader_fail(struct yaml_reader *r, const yaml_node_t *node, const char *text)
{
    return err_set(r->err, ERR_CONFIG, "%s:%zu:%zu: %.400s", r->name, node->start_mark.line + 1,
                   node->start_mark.column + 1, text);
}

static struct span find_env(struct yaml_reader *r, struct span name)
{
    for (char **e = r->env; e != NULL && *e != NULL; e++)
        if (strncmp(*e, (const char *)name.base, name.len) == 0 && (*e)[name.len] == '=')
            return span_str(*e + name.len + 1);
    return (struct span){0};
}

/* "NAME" or "NAME:-default" between ${env: and }. */
static int expand_one(struct yaml_reader *r, const yaml_node_t *node, struct span inside)
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
        return reader_fail(r, node, text);
    }
    buf_append(&r->value, value);
    return 0;
}

/* ${file:PATH}: the content of the file without line ends at its end; for mounted secrets. */
static int expand_file(struct yaml_reader *r, const yaml_node_t *node, struct span inside)
{
    char path[PATH_BYTES], text[PATH_BYTES + 64];
    snprintf(path, sizeof path, "%.*s",
             (int)(inside.len < PATH_BYTES ? inside.len : PATH_BYTES - 1),
             (const char *)inside.base);
    if (r->cfg != NULL && config_note_reference(r->cfg, path) < 0)
        return reader_fail(r, node, "too many references");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block */
    size_t start = r->value.len;
    ssize_t n = -1;
    if (fd >= 0 && buf_reserve(&r->value, CONFIG_TEXT_BYTES) == 0)
        n = read(fd, r->value.base + start, CONFIG_TEXT_BYTES);
    int cause = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0) {
        snprintf(text, sizeof text, "cannot read '%.200s': %s", path, strerror(cause));
        return reader_fail(r, node, text);
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

/* Is it a reference to a variable in the spelling of something else: ${NAME}, $(NAME), ${env.NAME},
 * or all of the value $NAME? Such a value would be taken as it stands. */
static bool is_misspelt(struct span rest, bool is_whole)
{
    if (span_starts(rest, SPAN("${")) || span_starts(rest, SPAN("$(")))
        return true;
    if (!is_whole || rest.base[0] != '$' || rest.len < 2 ||
        (rest.base[1] >= '0' && rest.base[1] <= '9'))
        return false;
    for (size_t i = 1; i < rest.len; i++)
        if (!(rest.base[i] >= 'A' && rest.base[i] <= 'Z') && rest.base[i] != '_' &&
            !(rest.base[i] >= '0' && rest.base[i] <= '9'))
            return false;
    return true;
}

static int fail_misspelt(struct yaml_reader *r, const yaml_node_t *node, struct span rest)
{
    char text[PATH_BYTES];
    rest = span_skip(rest, rest.base[1] == '{' || rest.base[1] == '(' ? 2 : 1);
    if (rest.len > 4 && span_starts(rest, SPAN("env")) &&
        (rest.base[3] == '.' || rest.base[3] == ':'))
        rest = span_skip(rest, 4);
    size_t len = 0;
    while (len < rest.len && len < 64 &&
           ((rest.base[len] >= 'A' && rest.base[len] <= 'Z') || rest.base[len] == '_' ||
            (rest.base[len] >= '0' && rest.base[len] <= '9')))
        len++;
    snprintf(text, sizeof text,
             "a variable is written ${env:%.*s}, with a default ${env:%.*s:-default}, a file "
             "${file:/path}; a dollar sign itself is $$",
             len > 0 ? (int)len : 4, len > 0 ? (const char *)rest.base : "NAME",
             len > 0 ? (int)len : 4, len > 0 ? (const char *)rest.base : "NAME");
    return reader_fail(r, node, text);
}

/* The scalar's text with references expanded, NUL-terminated, in r->value. */
const char *reader_scalar(struct yaml_reader *r, const yaml_node_t *node)
{
    struct span rest = span_of(node->data.scalar.value, node->data.scalar.length);
    static const struct {
        const char *open, *unclosed;
        int (*expand)(struct yaml_reader *r, const yaml_node_t *node, struct span inside);
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
        if (which == ARRAY_LEN(references) &&
            is_misspelt(rest, rest.len == node->data.scalar.length)) {
            fail_misspelt(r, node, rest);
            return NULL;
        }
        if (which == ARRAY_LEN(references)) {
            buf_append_byte(&r->value, rest.base[0]);
            rest = span_skip(rest, 1);
            continue;
        }
        if (close == NULL) {
            ignore_code(reader_fail(r, node, references[which].unclosed)); /* NULL says it */
            return NULL;
        }
        size_t begin = strlen(references[which].open), len = (size_t)(close - rest.base);
        if (references[which].expand(r, node, span_of(rest.base + begin, len - begin)) < 0)
            return NULL;
        rest = span_skip(rest, len + 1);
    }
    if (find_byte(buf_span(&r->value), '\0') != NULL) {
        ignore_code(reader_fail(r, node, "a NUL byte in a value"));
        return NULL;
    }
    buf_append_byte(&r->value, '\0');
    if (r->value.err != 0) {
        ignore_code(reader_fail(r, node, err_text(r->value.err)));
        return NULL;
    }
    return (const char *)r->value.base;
}

bool reader_is_null(const yaml_node_t *n)
{
    return n->type == YAML_SCALAR_NODE && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (n->data.scalar.length == 0 || strcmp((char *)n->data.scalar.value, "~") == 0 ||
            strcmp((char *)n->data.scalar.value, "null") == 0);
}

bool reader_is_duplicate(const struct yaml_reader *r, const yaml_node_t *map,
                         const yaml_node_pair_t *pair)
{
    yaml_node_t *key = yaml_document_get_node(r->doc, pair->key);
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < pair; p++) {
        yaml_node_t *other = yaml_document_get_node(r->doc, p->key);
        if (other->type == YAML_SCALAR_NODE &&
            span_eq(span_of(other->data.scalar.value, other->data.scalar.length),
                    span_of(key->data.scalar.value, key->data.scalar.length)))
            return true;
    }
    return false;
}

int reader_parse(struct yaml_reader *r, struct span text)
{
    yaml_parser_t parser;
    int rc = 0;
    if (!yaml_parser_initialize(&parser))
        return ERR_NOMEM;
    const uint8_t *base = text.base != NULL ? text.base : (const uint8_t *)""; /* libyaml asserts */
    yaml_parser_set_input_string(&parser, base, text.len);
    if (!yaml_parser_load(&parser, r->doc))
        rc = err_set(r->err, parser.error == YAML_MEMORY_ERROR ? ERR_NOMEM : ERR_CONFIG,
                     "%s:%zu:%zu: %s", r->name, parser.problem_mark.line + 1,
                     parser.problem_mark.column + 1,
                     parser.problem != NULL ? parser.problem : "not YAML");
    yaml_parser_delete(&parser);
    return rc;
}
