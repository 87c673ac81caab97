/* signature: what of a record is signed, in which order, and the id. */
#include "pattern/signature.h"

#include <stdlib.h>

#include "pattern/signature_header.h"
#include "pattern/signature_overflow.h"
#include "pattern/signature_state.h"
#include "util/hash.h"
#include "util/unicode.h"

#define PREFIX "lps1:"
#define MAX_LIST_DEPTH 32 /* of arrays in arrays; deeper ones are not looked into */
#define MAX_HOLE_CHARS 63 /* of {Name} in a template, with its first brace */

const char *sign_level_name(enum sign_level level)
{
    static const char *const names[] = {"", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"};
    return names[level];
}

int signer_new(struct signer **out)
{
    struct signer *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->map.scratch = &s->scratch;
    line_init(&s->line);
    *out = s;
    return 0;
}

void signer_free(struct signer *s)
{
    free(s);
}

static struct span cut(struct span s, size_t max)
{
    return span_of(s.base, s.len < max ? s.len : max);
}

/* ---- lines --------------------------------------------------------------- */

static void sign_level(struct identity *id, enum sign_level level)
{
    if (level != SIGN_LEVEL_NONE)
        identity_add_marked(id, PART_LEVEL, span_str(sign_level_name(level)));
}

static void sign_tokens(struct signer *s)
{
    struct identity *id = &s->identity;
    if (id->len >= SIGN_MAX_IDENTITY_BYTES)
        return;
    size_t before = id->len;
    bool begun = id->begun;
    identity_begin_part(id);
    size_t len = line_emit(&s->line, id->bytes + id->len); /* has LINE_EMIT_BYTES past the limit */
    id->len += len;
    if (len == 0) {
        id->len = before;
        id->begun = begun;
    }
}

/* A line without a word says as much as the route in it, behind its method. */
static bool sign_route(struct signer *s, struct span message)
{
    struct identity *id = &s->identity;
    const struct line *l = &s->line;
    size_t before = id->len;
    bool begun = id->begun;
    struct span target = route_in(message);
    if (target.len == 0)
        return false;
    for (uint32_t k = 0; k < l->count; k++) {
        if (!token_is_word(l, &l->final[k]))
            continue;
        identity_add_part(id, span_of(l->bytes + l->final[k].at, l->final[k].len));
        identity_add_part(id, SPAN(" "));
        break;
    }
    if (route_sign(id, target) == ROUTE_WORD)
        return true;
    id->len = before;
    id->begun = begun;
    return false;
}

/* The message of the line that is loaded, which begins at `from`. */
static void sign_message(struct signer *s, size_t from)
{
    line_scan(&s->line, from);
    line_context(&s->line);
    if (line_has_word(&s->line) || !sign_route(s, span_skip(s->line.text, from)))
        sign_tokens(s);
}

/* ---- texts --------------------------------------------------------------- */

static void sign_map(struct signer *s, uint32_t depth, enum sign_level level);

struct text text_split(struct span body)
{
    struct span all = text_strip(cut(body, SIGN_MAX_BODY_BYTES));
    const uint8_t *newline = all.len > 0 ? memchr(all.base, '\n', all.len) : NULL;
    size_t head = newline != NULL ? (size_t)(newline - all.base) : all.len;
    return (struct text){
        .head = span_of(all.base, head),
        .rest = newline != NULL ? span_skip(all, head + 1) : (struct span){0},
        .is_single = newline == NULL,
    };
}

/* JSON behind a header: the first line from byte `at` on as it was loaded, and the others. */
static bool read_json_behind(struct signer *s, const struct text *t, size_t at)
{
    struct span line = span_skip(s->line.text, at);
    if (line.base[0] != '{')
        return false;
    uint8_t *copy = scratch_take(&s->scratch, line.len + 1 + t->rest.len);
    if (copy == NULL)
        return false;
    memcpy(copy, line.base, line.len);
    size_t len = line.len;
    if (!t->is_single) {
        copy[len++] = '\n';
        if (t->rest.len > 0)
            memcpy(copy + len, t->rest.base, t->rest.len);
        len += t->rest.len;
    }
    return map_read_json(&s->map, span_of(copy, len));
}

/* Where its first word ends, there is an equal sign, or what a key may hold; or spaces lead. */
static bool may_be_logfmt(const struct line *l, size_t from)
{
    uint64_t stops = class_window(l->classes.stop, from);
    uint8_t stop = stops != 0 ? l->text.base[from + (size_t)__builtin_ctzll(stops)] : '=';
    return stop == '=' || stop == '-' || stop == '.' || stop == '_' || (stops & 1) != 0;
}

static bool has_message(struct map *m)
{
    return map_template(m).base != NULL || map_message(m).base != NULL;
}

static void sign_text(struct signer *s, struct span body, uint32_t depth, enum sign_level level)
{
    struct line *l = &s->line;
    bool deep = depth >= SIGN_MAX_DEPTH;
    size_t from = 0;
    if (!deep && body.len <= SIGN_MAX_BODY_BYTES && map_read_json(&s->map, body)) {
        sign_map(s, depth, level);
        return;
    }
    struct text t = text_split(body);
    line_load(l, t.head);
    if (access_sign(&l->words, &s->identity, l->text))
        return;
    if (!deep) {
        from = header_split(l, &level);
        if ((from > 0 && read_json_behind(s, &t, from)) ||
            (t.is_single && may_be_logfmt(l, from) &&
             map_read_logfmt(&s->map, span_skip(l->text, from)) && has_message(&s->map))) {
            sign_map(s, depth + 1, level);
            return;
        }
    }
    sign_level(&s->identity, level);
    sign_message(s, from);
    trace_sign(&s->identity, t.rest);
}

/* ---- templates ----------------------------------------------------------- */

/* Bytes of {Name} at a brace; 0: it is none. */
static size_t named_hole(struct span s)
{
    const uint8_t *at = s.base, *end = s.base + s.len;
    uint32_t cp;
    if (s.len > 1 && at[1] == '{')
        return 0;
    for (int chars = 0; at < end && chars <= MAX_HOLE_CHARS; chars++) {
        at += utf8_read(at, end, &cp);
        if (cp == '}')
            return (size_t)(at - s.base);
        if (cp == '{' && chars > 0)
            return 0;
    }
    return 0;
}

/* Bytes of %-5d and its like at a percent sign; 0: it is none. */
static size_t printf_hole(struct span s)
{
    size_t i = 1;
    while (i < s.len && s.base[i] != 0 && strchr("-+#0123456789.*lhzq", s.base[i]) != NULL)
        i++;
    return i < s.len && s.base[i] != 0 && strchr("sdiufgexXoqvrpcTtw", s.base[i]) != NULL ? i + 1
                                                                                          : 0;
}

static size_t hole_at(struct span s)
{
    if (s.base[0] == '{')
        return named_hole(s);
    if (s.base[0] == '%')
        return printf_hole(s);
    return span_starts(s, SPAN("<*>")) ? 3 : 0;
}

/* What stands for a value in a template becomes one: a zero. */
static struct span fill_holes(struct signer *s, struct span text)
{
    text = cut(text, SIGN_MAX_BODY_BYTES);
    uint8_t *out = scratch_take(&s->scratch, text.len);
    size_t len = 0;
    if (out == NULL)
        return text;
    while (text.len > 0) {
        size_t hole = hole_at(text);
        out[len++] = hole > 0 ? '0' : text.base[0];
        text = span_skip(text, hole > 0 ? hole : 1);
    }
    return span_of(out, len);
}

/* ---- maps ---------------------------------------------------------------- */

/* The message names a level too: the map's stays. It would be the first of the parts that
 * were put from `before` on, where some were put before. */
static void drop_level(struct identity *id, size_t before)
{
    if (id->len < before + 2 || id->bytes[before + 1] != PART_LEVEL)
        return;
    const uint8_t *first = id->bytes + before + 1;
    const uint8_t *next = memchr(first, PART_SEPARATOR, id->len - before - 1);
    size_t part = 1 + (next != NULL ? (size_t)(next - first) : id->len - before - 1);
    memmove(id->bytes + before, id->bytes + before + part, id->len - before - part);
    id->len -= part;
}

static void sign_names(struct signer *s)
{
    struct span names[MAP_MAX_NAMES];
    uint32_t n = map_names(&s->map, names);
    identity_add_marked(&s->identity, PART_KIND, SPAN("keys"));
    for (uint32_t i = 0; i < n; i++)
        identity_add_part(&s->identity, names[i]);
}

/* A map without a message: its event, else where in the code it was written. False: neither. */
static bool sign_origin(struct signer *s)
{
    struct identity *id = &s->identity;
    struct span event = map_first_text(&s->map, MAP_EVENT, MAP_CODE - 1);
    if (event.base != NULL) {
        identity_add_marked(id, PART_KIND, SPAN("event"));
        identity_add_part(id, event);
        return true;
    }
    if (map_first_text(&s->map, MAP_CODE, MAP_SCOPE - 1).base == NULL)
        return false;
    identity_add_marked(id, PART_KIND, SPAN("code"));
    struct span scope = map_first_text(&s->map, MAP_SCOPE, MAP_TYPE - 1);
    if (scope.base != NULL)
        identity_add_part(id, scope);
    for (unsigned slot = MAP_CODE; slot < MAP_SCOPE; slot++) {
        struct span code = map_text(&s->map, slot);
        if (code.base != NULL)
            identity_add_part(id, code);
    }
    return true;
}

/* The map that was read last. */
static void sign_map(struct signer *s, uint32_t depth, enum sign_level level)
{
    struct identity *id = &s->identity;
    enum sign_level own = map_level(&s->map, &s->line.words);
    level = own != SIGN_LEVEL_NONE ? own : level;
    sign_level(id, level);
    struct span type = map_first_text(&s->map, MAP_TYPE, MAP_LEVEL - 1);
    if (type.base != NULL)
        identity_add_marked(id, PART_TYPE, type);

    struct span text = map_template(&s->map);
    if (text.base != NULL) {
        sign_text(s, fill_holes(s, text), SIGN_MAX_DEPTH, SIGN_LEVEL_NONE);
        return;
    }
    text = map_message(&s->map);
    if (text.base != NULL) {
        size_t before = id->len;
        sign_text(s, text, depth + 1, SIGN_LEVEL_NONE);
        if (level != SIGN_LEVEL_NONE)
            drop_level(id, before);
    } else if (!sign_origin(s)) {
        sign_names(s);
    }
}

/* ---- records ------------------------------------------------------------- */

static void sign_kind(struct signer *s, const char *kind)
{
    identity_add_marked(&s->identity, PART_KIND, span_str(kind));
}

static void sign_body(struct signer *s, const struct log_value *body, uint32_t depth);

static void sign_list(struct signer *s, struct span array, uint32_t depth)
{
    struct wire w;
    struct wire_field f;
    wire_init(&w, array);
    sign_kind(s, "list");
    for (uint32_t n = 0; depth < MAX_LIST_DEPTH && n < SIGN_MAX_ELEMENTS && wire_next(&w, &f);) {
        struct log_value element = {0};
        if (f.number != 1 || f.type != WIRE_LEN) /* ArrayValue.values */
            continue;
        n++;
        ignore_code(log_value_read(&element, f.bytes)); /* up to its damage, if there is any */
        s->scratch.used = 0;
        sign_body(s, &element, depth + 1);
        sign_kind(s, "");
    }
}

static void sign_body(struct signer *s, const struct log_value *body, uint32_t depth)
{
    static const char *const kinds[] = {
        [LOG_NONE] = "none",     [LOG_BOOL] = "bool",   [LOG_INT] = "number",
        [LOG_DOUBLE] = "number", [LOG_BYTES] = "bytes",
    };
    switch (body->kind) {
    case LOG_STRING:
        sign_text(s, body->text, 0, SIGN_LEVEL_NONE);
        return;
    case LOG_KVLIST:
        map_read_kvlist(&s->map, body->text);
        sign_map(s, 0, SIGN_LEVEL_NONE);
        return;
    case LOG_ARRAY:
        sign_list(s, body->text, depth);
        return;
    default:
        sign_kind(s, kinds[body->kind]);
    }
}

/* Nothing that could be signed: a map or list without members, a blank text. */
static bool is_empty(const struct log_value *body)
{
    switch (body->kind) {
    case LOG_NONE:
        return true;
    case LOG_STRING:
        return text_strip(body->text).len == 0;
    case LOG_KVLIST:
    case LOG_ARRAY:
        return body->text.len == 0;
    default:
        return false;
    }
}

/* ScopeLogs.scope.name */
static struct span scope_name(struct span scope_logs)
{
    struct span name = {0};
    struct wire w, in;
    struct wire_field f, g;
    wire_init(&w, scope_logs);
    while (wire_next(&w, &f)) {
        if (f.number != 1 || f.type != WIRE_LEN)
            continue;
        wire_init(&in, f.bytes);
        while (wire_next(&in, &g))
            if (g.number == 1 && g.type == WIRE_LEN)
                name = g.bytes;
    }
    return name;
}

/* The attributes of a record that has nothing else to say, or the producer's own template. */
static void sign_attributes(struct signer *s, struct span scope)
{
    struct map *m = &s->map;
    uint64_t scopes = (UINT64_C(1) << MAP_TYPE) - (UINT64_C(1) << MAP_SCOPE);
    struct map_value name = {.kind = MAP_STRING, .text = scope};
    if (scope.len > 0 && (m->found & scopes) == 0)
        map_add(m, 0, SPAN("otel.scope.name"), &name);
    sign_map(s, 0, SIGN_LEVEL_NONE);
}

/* Whether the identity has such a part already. */
static bool has_part(const struct identity *id, uint8_t mark, struct span part)
{
    for (size_t i = 0; i + 1 + part.len <= id->len; i++) {
        const uint8_t *at = id->bytes + i;
        size_t end = i + 1 + part.len;
        if (at[0] == mark && (i == 0 || at[-1] == PART_SEPARATOR) &&
            (end == id->len || id->bytes[end] == PART_SEPARATOR) &&
            memcmp(at + 1, part.base, part.len) == 0)
            return true;
    }
    return false;
}

/* The type of the exception goes before the body's parts, unless they name it. */
static void prepend_type(struct identity *id, struct span type)
{
    if (type.len == 0 || has_part(id, PART_TYPE, type))
        return;
    size_t len = 1 + type.len + (id->begun ? 1 : 0);
    if (id->len + len > SIGN_MAX_IDENTITY_BYTES)
        id->len = SIGN_MAX_IDENTITY_BYTES - len;
    memmove(id->bytes + len, id->bytes, id->len);
    id->bytes[0] = PART_TYPE;
    memcpy(id->bytes + 1, type.base, type.len);
    if (id->begun)
        id->bytes[len - 1] = PART_SEPARATOR;
    id->len += len;
    id->begun = true;
}

static void sign_record(struct signer *s, const struct sign_input *in)
{
    struct map *m = &s->map;
    struct span name = in->event_name, type = {0};
    bool empty = is_empty(&in->body);
    if (name.len == 0 && in->record.len > 0 && (empty || !in->is_plain)) {
        map_read_attributes(m, in->record);
        name = map_text(m, MAP_EVENT_NAME);
        type = cut(map_text(m, MAP_EXCEPTION_TYPE), SIGN_MAX_NAME_BYTES);
        if (name.len == 0 && (map_template(m).base != NULL || (empty && m->count > 0))) {
            sign_attributes(s, scope_name(in->scope_logs));
            return;
        }
    }
    if (name.len > 0) {
        sign_kind(s, "event");
        identity_add_part(&s->identity, cut(name, SIGN_MAX_NAME_BYTES));
        return;
    }
    sign_body(s, &in->body, 0);
    prepend_type(&s->identity, type);
}

static void begin(struct signer *s)
{
    s->identity.len = 0;
    s->identity.begun = false;
    s->scratch.used = 0;
}

uint64_t signer_sign(struct signer *s, const struct sign_input *in)
{
    begin(s);
    sign_record(s, in);
    return hash64(signer_identity(s));
}

uint64_t signer_sign_text(struct signer *s, struct span body)
{
    begin(s);
    sign_text(s, body, 0, SIGN_LEVEL_NONE);
    return hash64(signer_identity(s));
}

struct span signer_identity(const struct signer *s)
{
    return cut(span_of(s->identity.bytes, s->identity.len), SIGN_MAX_IDENTITY_BYTES);
}

/* Of a part by what it begins with, as people read it. */
static const struct shown {
    const char *before, *behind;
} shown[] = {
    [PART_VARIABLE] = {"<*>", NULL}, /* and nothing else of it */
    [PART_KIND] = {"", " "},         [PART_TRACE] = {" | ", ""},
    [PART_LEVEL] = {"", ": "},       [PART_TYPE] = {"", ": "},
};

/* Literal words cannot begin so but in hostile text, where a template that reads oddly does no
 * harm: the id is made of the bytes. */
void signature_template(struct span id, struct buf *out)
{
    bool names = false; /* they are parts of their own, which would run together */
    while (id.len > 0) {
        const uint8_t *mark = memchr(id.base, PART_SEPARATOR, id.len);
        struct span part = span_of(id.base, mark != NULL ? (size_t)(mark - id.base) : id.len);
        id = span_skip(id, part.len + (mark != NULL));
        const struct shown *how =
            part.len > 0 && part.base[0] < ARRAY_LEN(shown) ? &shown[part.base[0]] : NULL;
        if (how == NULL || how->before == NULL) {
            buf_append(out, part);
            if (names && id.len > 0)
                buf_append_byte(out, ' ');
            continue;
        }
        names = names ||
                (part.base[0] == PART_KIND && part.len > 1 && !span_eq(part, SPAN("\x05list")));
        buf_append_str(out, how->before);
        if (how->behind == NULL)
            continue;
        buf_append(out, span_skip(part, 1));
        if (id.len > 0) /* a kind without a name ends an element of a list */
            buf_append_str(out, part.len > 1 ? how->behind : ", ");
    }
}

void signer_template(const struct signer *s, struct buf *out)
{
    signature_template(signer_identity(s), out);
}

const char *signature_format(char out[SIGNATURE_TEXT_BYTES], uint64_t id)
{
    static const char digits[] = "0123456789abcdef";
    memcpy(out, PREFIX, sizeof PREFIX - 1);
    char *at = out + sizeof PREFIX - 1;
    for (int shift = 60; shift >= 0; shift -= 4)
        *at++ = digits[id >> shift & 15];
    *at = '\0';
    return out;
}

int signature_parse(struct span text, uint64_t *id)
{
    uint64_t value = 0;
    if (span_starts(text, SPAN(OVERFLOW_PREFIX))) {
        *id = overflow_id(text);
        return 0;
    }
    if (text.len != SIGNATURE_TEXT_BYTES - 1 || !span_starts(text, SPAN(PREFIX)))
        return ERR_MALFORMED;
    for (size_t i = sizeof PREFIX - 1; i < text.len; i++) {
        uint8_t c = text.base[i], low = c | 0x20;
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (low >= 'a' && low <= 'f')
            value = value << 4 | (uint64_t)(low - 'a' + 10);
        else
            return ERR_MALFORMED;
    }
    *id = value;
    return 0;
}
