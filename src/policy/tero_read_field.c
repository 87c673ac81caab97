/* tero_read_field: what matchers and operations are made of: texts, fields, values, expressions. */
#include "policy/tero_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SHOWN 120 /* bytes of a text in an error */

int tero_shown(struct span s)
{
    return (int)(s.len < SHOWN ? s.len : SHOWN);
}

int tero_unknown(struct tero_spot *at, struct span key)
{
    return TERO_NOTE(at, "unknown field \"%.*s\"", tero_shown(key), (const char *)key.base);
}

int tero_read_text(struct tero_spot *at, const char *name, struct json_node value, struct span *out)
{
    if (json_kind(value) != JSON_STRING)
        return TERO_NOTE(at, "%s must be a string", name);
    struct span copy = arena_copy(&at->t->arena, json_string(value));
    if (copy.base == NULL && json_string(value).len > 0)
        return ERR_TOO_BIG;
    *out = copy.base != NULL ? copy : SPAN("");
    return 0;
}

int tero_read_bool(struct tero_spot *at, const char *name, struct json_node value, bool *out)
{
    if (json_kind(value) != JSON_BOOL)
        return TERO_NOTE(at, "%s must be true or false", name);
    *out = json_is_true(value);
    return 0;
}

int tero_compile(struct tero_spot *at, struct span pattern, unsigned flags, struct regex **out)
{
    struct error err = {{0}};
    if (at->t->expressions >= TERO_EXPRESSIONS)
        return TERO_NOTE(at, "more than %d expressions in all", TERO_EXPRESSIONS);
    int rc = regex_new(out, pattern, flags | REGEX_EMPTY, &err);
    if (rc == 0)
        at->t->expressions++;
    return rc == ERR_CONFIG ? TERO_NOTE(at, "invalid regex \"%.*s\"", tero_shown(pattern),
                                        (const char *)pattern.base)
                            : rc;
}

/* ---- fields ---------------------------------------------------------------------- */

static const struct {
    const char *name; /* and "LOG_FIELD_" with it in capitals */
    enum tero_log_field field;
} log_fields[] = {
    {"body", TERO_BODY},
    {"severity_text", TERO_SEVERITY_TEXT},
    {"trace_id", TERO_TRACE_ID},
    {"span_id", TERO_SPAN_ID},
    {"event_name", TERO_EVENT_NAME},
    {"resource_schema_url", TERO_RESOURCE_SCHEMA_URL},
    {"scope_schema_url", TERO_SCOPE_SCHEMA_URL},
};

static int read_log_field(struct tero_spot *at, struct json_node value, struct tero_field *out)
{
    struct span name = json_string(value);
    uint64_t number = 0;
    bool is_number = json_whole(value, &number);
    if (span_starts(name, SPAN("LOG_FIELD_")))
        name = span_skip(name, sizeof "LOG_FIELD_" - 1);
    for (size_t i = 0; i < ARRAY_LEN(log_fields); i++) {
        if (is_number ? number == log_fields[i].field
                      : span_ieq(name, span_str(log_fields[i].name))) {
            out->field = log_fields[i].field;
            return 0;
        }
    }
    return TERO_NOTE(at, "there is no such log field");
}

/* "name", ["name", ...] or {"path": ["name", ...]} */
static int read_path(struct tero_spot *at, struct json_node value, struct tero_field *out)
{
    struct json_node list = json_kind(value) == JSON_OBJECT ? json_get(value, "path") : value;
    struct json_each each = json_each(list);
    bool is_one = json_kind(list) == JSON_STRING;
    struct span *path = arena_alloc(&at->t->arena, TERO_PATH * sizeof *path);
    int rc = 0;
    if (path == NULL)
        return ERR_TOO_BIG;
    if (is_one) {
        rc = tero_read_text(at, "an attribute", list, &path[0]);
        out->names = path[0].len > 0;
    }
    while (!is_one && rc == 0 && json_kind(list) == JSON_ARRAY && json_next(&each)) {
        if (out->names == TERO_PATH)
            return TERO_NOTE(at, "attribute path has more than %d names", TERO_PATH);
        rc = tero_read_text(at, "a name in a path", each.value, &path[out->names++]);
    }
    out->path = path;
    return rc == 0 && out->names == 0 ? TERO_NOTE(at, "attribute has empty path") : rc;
}

/* A member that says which field is meant: 1; 0: it is another one; or ERR_*. */
int tero_read_field(struct tero_spot *at, const char *before, const struct json_each *each,
                    struct tero_field *out, bool *is_set)
{
    static const char *const names[] = {
        [TERO_FIELD] = "log_field",
        [TERO_LOG] = "log_attribute",
        [TERO_RESOURCE] = "resource_attribute",
        [TERO_SCOPE] = "scope_attribute",
    };
    char name[32];
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(name, sizeof name, "%s%s", before, names[i]);
        if (!policy_sync_name_is(each->key, name))
            continue;
        if (*is_set)
            return TERO_NOTE(at, "more than one field") < 0 ? ERR_TOO_BIG : 1;
        *is_set = true;
        out->place = (enum tero_place)i;
        int rc = i == TERO_FIELD ? read_log_field(at, each->value, out)
                                 : read_path(at, each->value, out);
        return rc < 0 ? rc : 1;
    }
    return 0;
}

/* ---- values ------------------------------------------------------------------------ */

static int read_number(struct tero_spot *at, struct json_node value, bool is_int,
                       struct log_value *out)
{
    struct span text = json_string(value);
    char room[32] = "", *end;
    double real = 0;
    uint64_t whole;
    if (json_whole(value, &whole) && whole <= INT64_MAX) {
        out->kind = LOG_INT;
        out->integer = (int64_t)whole;
    } else if (json_number(value, &real)) {
        bool is_whole = real >= -9007199254740992.0 && real < 0 && real == (double)(int64_t)real;
        if (is_int && !is_whole)
            return TERO_NOTE(at, "int_value must be a whole number");
        out->kind = is_whole ? LOG_INT : LOG_DOUBLE;
        if (is_whole)
            out->integer = (int64_t)real;
        else
            out->real = real;
    } else {
        memcpy(room, text.base, text.len < sizeof room ? text.len : 0);
        errno = 0;
        out->integer = strtoll(room, &end, 10);
        if (!is_int || end == room || *end != '\0' || errno != 0)
            return TERO_NOTE(at, "a number is wanted");
        out->kind = LOG_INT;
    }
    return 0;
}

static int read_hex(struct tero_spot *at, struct json_node value, struct log_value *out)
{
    struct span text = json_string(value);
    uint8_t *bytes = arena_alloc(&at->t->arena, text.len / 2 + 1);
    bool is_hex = json_kind(value) == JSON_STRING && text.len % 2 == 0;
    if (bytes == NULL)
        return ERR_TOO_BIG;
    for (size_t i = 0; is_hex && i < text.len; i++) {
        int digit = span_hex_digit(text.base[i]);
        is_hex = digit >= 0;
        bytes[i / 2] = (uint8_t)(bytes[i / 2] << 4 | (digit & 15));
    }
    out->kind = LOG_BYTES;
    out->text = span_of(bytes, text.len / 2);
    return is_hex ? 0
                  : TERO_NOTE(at, "invalid hex_value \"%.*s\"", tero_shown(text),
                              (const char *)text.base);
}

static int read_scalar(struct tero_spot *at, struct json_node value, struct log_value *out)
{
    switch (json_kind(value)) {
    case JSON_STRING:
        out->kind = LOG_STRING;
        return tero_read_text(at, "a value", value, &out->text);
    case JSON_BOOL:
        out->kind = LOG_BOOL;
        out->integer = json_is_true(value);
        return 0;
    default:
        return read_number(at, value, false, out);
    }
}

/* {"int_value": 1} and the like, or the value alone. */
int tero_read_value(struct tero_spot *at, struct json_node value, struct log_value *out)
{
    struct json_each each = json_each(value);
    if (json_kind(value) != JSON_OBJECT)
        return read_scalar(at, value, out);
    if (!json_next(&each))
        return TERO_NOTE(at, "value is not set");
    struct span key = each.key;
    if (policy_sync_name_is(key, "int_value"))
        return read_number(at, each.value, true, out);
    if (policy_sync_name_is(key, "hex_value"))
        return read_hex(at, each.value, out);
    if (policy_sync_name_is(key, "string_value") || policy_sync_name_is(key, "bool_value") ||
        policy_sync_name_is(key, "double_value"))
        return read_scalar(at, each.value, out);
    return TERO_NOTE(at, "values of this kind are not supported: \"%.*s\"", tero_shown(key),
                     (const char *)key.base);
}
