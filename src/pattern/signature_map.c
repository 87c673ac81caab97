/* signature_map: keys to slots, and what is found there. */
#include "pattern/signature_map.h"

#include <stdlib.h>
#include <string.h>

#include "otlp/logs.h"
#include "pattern/signature_header.h"
#include "util/hash.h"
#include "util/unicode.h"

#define MAX_KEY_BYTES 21
#define KEYS_OF_A_LENGTH 7 /* the most below */

/* Keys by their length, so that an attribute is compared with two or three of them. A key in a
 * wrong row does not compile. */
/* clang-format off */
#define KEY(len, slot, text) {(slot) + 0 * sizeof(char[sizeof(text) - 1 == (len) ? 1 : -1]), text}
static const struct key {
    uint8_t slot;
    char text[MAX_KEY_BYTES + 1];
} keys[MAX_KEY_BYTES + 1][KEYS_OF_A_LENGTH + 1] = { /* an empty text ends a row */
    [2] = {KEY(2, 2, "@m"), KEY(2, 45, "@l")},
    [3] = {KEY(3, 1, "msg"), KEY(3, 16, "log"), KEY(3, 44, "lvl"), KEY(3, MAP_TEMPLATE, "@mt")},
    [4] = {KEY(4, 17, "body"), KEY(4, 18, "text")},
    [5] = {KEY(5, 19, "event"), KEY(5, 40, "level")},
    [6] = {KEY(6, 33, "logger"), KEY(6, 34, "target")},
    [7] = {KEY(7, 0, "message")},
    [8] = {KEY(8, 12, "body.msg"), KEY(8, 41, "severity"), KEY(8, 43, "loglevel")},
    [9] = {KEY(9, 25, "eventname"), KEY(9, 42, "log.level"), KEY(9, 46, "levelname"),
        KEY(9, 47, "log_level")},
    [10] = {KEY(10, 4, "fields.msg"), KEY(10, 23, "event_name"),
        KEY(10, MAP_EVENT_NAME, "event.name"), KEY(10, 32, "scope.name"),
        KEY(10, 36, "error.type"), KEY(10, 38, "error_type"), KEY(10, 51, "level.name")},
    [11] = {KEY(11, 6, "textpayload"), KEY(11, 10, "log.message"), KEY(11, 22, "err.message")},
    [12] = {KEY(12, 11, "body.message"), KEY(12, 13, "data.message"), KEY(12, 49, "severitytext"),
        KEY(12, 50, "fields.level")},
    [13] = {KEY(13, 5, "event.message"), KEY(13, 9, "short_message"), KEY(13, 20, "error.message"),
        KEY(13, 28, "code.function"), KEY(13, 30, "code.filepath"), KEY(13, 39, "exceptiontype"),
        KEY(13, 48, "severity_text")},
    [14] = {KEY(14, 3, "fields.message"), KEY(14, 14, "record.message"),
        KEY(14, 26, "code.namespace"), KEY(14, 29, "code.file.path"),
        KEY(14, MAP_EXCEPTION_TYPE, "exception.type"), KEY(14, 37, "exception_type")},
    [15] = {KEY(15, 8, "jsonpayload.msg"), KEY(15, 15, "payload.message"),
        KEY(15, MAP_OTEL_SCOPE_NAME, "otel.scope.name"), KEY(15, 53, "syslog.severity"),
        KEY(15, MAP_TEMPLATE, "messagetemplate")},
    [16] = {KEY(16, MAP_TEMPLATE, "message_template"), KEY(16, MAP_TEMPLATE, "{originalformat}")},
    [17] = {KEY(17, 21, "exception.message")},
    [18] = {KEY(18, 27, "code.function.name")},
    [19] = {KEY(19, 7, "jsonpayload.message"), KEY(19, MAP_TEMPLATE, "log.record.template")},
    [20] = {KEY(20, 54, "syslog.severity.code")},
    [21] = {KEY(21, MAP_TEMPLATE, "message_template.text")},
};
/* clang-format on */

uint8_t *scratch_take(struct scratch *s, size_t len)
{
    if (len > sizeof s->bytes - s->used)
        return NULL;
    uint8_t *at = s->bytes + s->used;
    s->used += len;
    return at;
}

/* ---- keys ---------------------------------------------------------------- */

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

/* A key as the model's flat dictionary has it: of an inner member with a dot between. */
static uint8_t flat_byte(struct span outer, struct span key, size_t i)
{
    if (outer.base == NULL)
        return lower(key.base[i]);
    return i == outer.len ? '.'
                          : lower(i < outer.len ? outer.base[i] : key.base[i - outer.len - 1]);
}

static size_t flat_len(struct span outer, struct span key)
{
    return outer.base == NULL ? key.len : outer.len + 1 + key.len;
}

/* The bytes of a key from `from` on are these, which are small letters. */
static bool is_key(const char *text, size_t len, struct span outer, struct span key, size_t from)
{
    for (size_t i = 0; i < len; i++)
        if ((uint8_t)text[i] != flat_byte(outer, key, from + i))
            return false;
    return true;
}

/* From `from` to the end of the key; their slot, if they have one. Nearly no key of a map has
 * one, and its first and last byte say so. */
static uint8_t find_from(struct span outer, struct span key, size_t from)
{
    size_t len = flat_len(outer, key) - from;
    if (len == 0 || len > MAX_KEY_BYTES)
        return MAP_NO_SLOT;
    char first = (char)flat_byte(outer, key, from),
         last = (char)flat_byte(outer, key, from + len - 1);
    for (const struct key *k = keys[len]; k->text[0] != '\0'; k++)
        if (k->text[0] == first && k->text[len - 1] == last &&
            is_key(k->text, len, outer, key, from))
            return k->slot;
    return MAP_NO_SLOT;
}

/* By its last byte: could a key be one of a template? */
static bool may_be_template(struct span key)
{
    uint8_t last = key.len > 0 ? lower(key.base[key.len - 1]) : 0;
    return last == 't' || last == 'e' || last == '}';
}

uint8_t map_slot_of(struct span outer, struct span key)
{
    if (outer.base == NULL && span_eq(key, SPAN("PRIORITY")))
        return MAP_SYSLOG;
    uint8_t slot = find_from(outer, key, 0);
    if (slot != MAP_NO_SLOT || !may_be_template(key))
        return slot;
    /* a template's key may have anything before it, up to the first dot */
    struct span first = outer.base != NULL ? outer : key;
    const uint8_t *dot = first.len > 0 ? memchr(first.base, '.', first.len) : NULL;
    if (dot == NULL && outer.base == NULL)
        return MAP_NO_SLOT;
    size_t from = dot != NULL ? (size_t)(dot - first.base) + 1 : outer.len + 1;
    return find_from(outer, key, from) == MAP_TEMPLATE ? MAP_TEMPLATE : MAP_NO_SLOT;
}

/* ---- filling ------------------------------------------------------------- */

void map_begin(struct map *m)
{
    m->found = 0;
    m->again = false;
    m->count = m->outers = 0;
}

static void fill(struct map *m, uint8_t slot, const struct map_value *value)
{
    m->slots[slot] = *value;
    m->found |= UINT64_C(1) << slot;
}

/* A member with a slot is in this one: should its key come again, the order counts. */
static void note_outer(struct map *m, uint32_t outer)
{
    for (uint32_t i = 0; i < m->outers; i++)
        if (m->outer[i] == outer)
            return;
    if (m->outers == MAP_MAX_OUTERS)
        m->again = true;
    else
        m->outer[m->outers++] = (uint16_t)outer;
}

uint32_t map_add(struct map *m, uint32_t outer, struct span key, const struct map_value *value)
{
    key = key.base != NULL ? key : SPAN(""); /* NULL is for members that are in none */
    struct span name = outer > 0 ? m->members[outer - 1].key : (struct span){0};
    uint8_t slot = map_slot_of(name, key);
    if (m->count == SIGN_MAX_MEMBERS || (outer > 0 && slot == MAP_NO_SLOT))
        return 0;
    if (outer > 0)
        note_outer(m, outer);
    else
        for (uint32_t i = 0; i < m->outers; i++)
            m->again = m->again || span_eq(m->members[m->outer[i] - 1].key, key);
    if (slot != MAP_NO_SLOT) {
        m->again = m->again || (m->found >> slot & 1) != 0;
        fill(m, slot, value);
    }
    m->members[m->count] = (struct map_member){key, (uint16_t)outer, slot, *value};
    return ++m->count;
}

/* For every member the first with the same key in the same map, and for that the last. */
static void index_members(struct map *m)
{
    memset(m->index, 0, sizeof m->index);
    for (uint32_t i = 0; i < m->count; i++) {
        const struct map_member *a = &m->members[i];
        uint32_t at = (uint32_t)hash64_seeded(a->key, a->outer) % MAP_INDEX_SLOTS;
        for (; m->index[at] != 0; at = (at + 1) % MAP_INDEX_SLOTS) {
            const struct map_member *b = &m->members[m->index[at] - 1];
            if (a->outer == b->outer && span_eq(a->key, b->key))
                break;
        }
        if (m->index[at] == 0)
            m->index[at] = (uint16_t)(i + 1);
        m->first[i] = m->index[at];
        m->last[m->index[at] - 1] = (uint16_t)(i + 1);
    }
}

/* Templates are distinguished by their flat keys: the first that is there counts. */
struct templates {
    uint32_t count;
    struct {
        struct span outer, key;
        struct map_value value;
    } list[MAP_MAX_TEMPLATES];
};

static bool is_same_key(struct span a_outer, struct span a_key, struct span b_outer,
                        struct span b_key)
{
    size_t len = flat_len(a_outer, a_key);
    if (len != flat_len(b_outer, b_key))
        return false;
    for (size_t i = 0; i < len; i++)
        if (flat_byte(a_outer, a_key, i) != flat_byte(b_outer, b_key, i))
            return false;
    return true;
}

static void put_template(struct templates *t, struct span outer, struct span key,
                         const struct map_value *value)
{
    uint32_t i = 0;
    while (i < t->count && !is_same_key(t->list[i].outer, t->list[i].key, outer, key))
        i++;
    if (i == MAP_MAX_TEMPLATES)
        return;
    if (i == t->count) {
        t->count++;
        t->list[i].outer = outer;
        t->list[i].key = key;
    }
    t->list[i].value = *value;
}

static void refill(struct map *m, struct templates *t, struct span outer,
                   const struct map_member *first)
{
    const struct map_value *value = &m->members[m->last[first - m->members] - 1].value;
    if (first->slot == MAP_TEMPLATE)
        put_template(t, outer, first->key, value);
    else if (first->slot != MAP_NO_SLOT)
        fill(m, first->slot, value);
}

static bool is_said(struct map *m, struct map_value *v);

void map_end(struct map *m)
{
    if (!m->again)
        return;
    struct templates t = {0};
    m->found = 0;
    index_members(m);
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->members[i].outer != 0 || m->first[i] != i + 1)
            continue;
        refill(m, &t, (struct span){0}, &m->members[i]);
        for (uint32_t last = m->last[i], k = last; k < m->count && m->members[k].outer == last; k++)
            if (m->first[k] == k + 1)
                refill(m, &t, m->members[i].key, &m->members[k]);
    }
    for (uint32_t i = 0; i < t.count && (m->found >> MAP_TEMPLATE & 1) == 0; i++)
        if (is_said(m, &t.list[i].value))
            fill(m, MAP_TEMPLATE, &t.list[i].value);
}

static struct map_value value_of(const struct log_value *v)
{
    static const uint8_t kinds[] = {
        [LOG_STRING] = MAP_STRING, [LOG_INT] = MAP_INT,     [LOG_DOUBLE] = MAP_DOUBLE,
        [LOG_KVLIST] = MAP_OBJECT, [LOG_BYTES] = MAP_OTHER,
    };
    struct map_value out = {.kind = (enum map_kind)kinds[v->kind], .text = v->text};
    if (out.kind == MAP_INT)
        out.integer = v->integer;
    else if (out.kind == MAP_DOUBLE)
        out.real = v->real;
    return out;
}

static void read_attrs(struct map *m, struct log_attrs *list)
{
    struct log_attr attr, in;
    map_begin(m);
    while (log_attrs_next(list, &attr)) {
        struct map_value value = value_of(&attr.value);
        uint32_t outer = map_add(m, 0, attr.key, &value);
        if (outer == 0 || value.kind != MAP_OBJECT)
            continue;
        struct log_attrs inner;
        log_attrs_in(&inner, attr.value.text, 1);
        while (log_attrs_next(&inner, &in)) {
            value = value_of(&in.value);
            map_add(m, outer, in.key, &value);
        }
    }
}

void map_read_kvlist(struct map *m, struct span kvlist)
{
    struct log_attrs list;
    log_attrs_in(&list, kvlist, 1);
    read_attrs(m, &list);
    map_end(m);
}

void map_read_attributes(struct map *m, struct span record)
{
    struct log_attrs list;
    log_attrs_of_record(&list, record);
    read_attrs(m, &list);
    map_end(m);
}

/* ---- asking -------------------------------------------------------------- */

/* The text of a string, unescaped once. False: it is none. */
static bool read_text(struct map *m, struct map_value *v)
{
    if (v->kind == MAP_ESCAPED) {
        v->text = json_unescape(m->scratch, v->text);
        v->kind = MAP_STRING;
    }
    return v->kind == MAP_STRING;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* A text that is not blank. */
static bool is_said(struct map *m, struct map_value *v)
{
    if (!read_text(m, v))
        return false;
    size_t i = 0;
    while (i < v->text.len && is_blank(v->text.base[i]))
        i++;
    return i < v->text.len;
}

/* False: it is no number that counts. An integer of JSON has no point and no exponent. */
static bool read_number(const struct map_value *v, double *out, bool *integer)
{
    *integer = v->kind == MAP_INT;
    if (v->kind == MAP_INT) {
        *out = (double)v->integer;
    } else if (v->kind == MAP_DOUBLE) {
        *out = v->real;
    } else if (v->kind == MAP_NUMBER) {
        *out = strtod((const char *)v->text.base, NULL); /* a byte of JSON ends it */
        *integer = memchr(v->text.base, '.', v->text.len) == NULL &&
                   memchr(v->text.base, 'e', v->text.len) == NULL &&
                   memchr(v->text.base, 'E', v->text.len) == NULL;
    } else {
        return false;
    }
    return true;
}

static enum sign_level level_in(struct map *m, const struct words *w, struct map_value *v)
{
    double number;
    bool integer;
    if (read_text(m, v)) {
        uint8_t room[2 * WORD_MAX_BYTES] = {0}; /* a lookup reads 16 bytes */
        struct span text = v->text;
        while (text.len > 0 && is_blank(text.base[0]))
            text = span_skip(text, 1);
        while (text.len > 0 && is_blank(text.base[text.len - 1]))
            text.len--;
        if (text.len == 0 || text.len > WORD_MAX_BYTES)
            return SIGN_LEVEL_NONE;
        memcpy(room, text.base, text.len);
        return word_level(w, span_of(room, text.len));
    }
    if (!read_number(v, &number, &integer))
        return SIGN_LEVEL_NONE;
    for (int level = SIGN_LEVEL_TRACE; level <= SIGN_LEVEL_FATAL; level++) /* pino, bunyan */
        if (number == 10.0 * level)
            return (enum sign_level)level;
    return SIGN_LEVEL_NONE;
}

/* 0 to 7, as a number or a digit; -1: neither. */
static int severity_in(struct map *m, struct map_value *v)
{
    double number;
    bool integer;
    if (read_text(m, v))
        return v->text.len == 1 && v->text.base[0] >= '0' && v->text.base[0] <= '7'
                   ? v->text.base[0] - '0'
                   : -1;
    if (!read_number(v, &number, &integer) || !integer || !(number >= 0 && number <= 7))
        return -1;
    return (int)number;
}

enum sign_level map_level(struct map *m, const struct words *w)
{
    for (uint64_t set = m->found >> MAP_LEVEL & 0xfff; set != 0; set &= set - 1) {
        enum sign_level level = level_in(m, w, &m->slots[MAP_LEVEL + __builtin_ctzll(set)]);
        if (level != SIGN_LEVEL_NONE)
            return level;
    }
    for (uint64_t set = m->found >> MAP_SYSLOG & 7; set != 0; set &= set - 1) {
        int severity = severity_in(m, &m->slots[MAP_SYSLOG + __builtin_ctzll(set)]);
        if (severity >= 0)
            return syslog_level((unsigned)severity);
    }
    return SIGN_LEVEL_NONE;
}

struct span map_text(struct map *m, unsigned slot)
{
    struct map_value *v = &m->slots[slot];
    bool is_there = (m->found >> slot & 1) != 0 && read_text(m, v) && v->text.len > 0;
    return is_there ? v->text : (struct span){0};
}

struct span map_first_text(struct map *m, unsigned from, unsigned to)
{
    for (unsigned slot = from; slot <= to; slot++) {
        struct span text = map_text(m, slot);
        if (text.base != NULL)
            return text;
    }
    return (struct span){0};
}

struct span map_template(struct map *m)
{
    bool is_there = (m->found >> MAP_TEMPLATE & 1) != 0 && is_said(m, &m->slots[MAP_TEMPLATE]);
    return is_there ? m->slots[MAP_TEMPLATE].text : (struct span){0};
}

struct span map_message(struct map *m)
{
    uint64_t set = m->found & ((UINT64_C(1) << MAP_EVENT) - 1);
    for (; set != 0; set &= set - 1) {
        struct map_value *v = &m->slots[__builtin_ctzll(set)];
        if (is_said(m, v))
            return v->text;
    }
    return (struct span){0};
}

/* By code points, and bytes that are not UTF-8 among the surrogates, as Python has them. */
static int compare(struct span a, struct span b)
{
    const uint8_t *at = a.base, *end = a.base + a.len, *bt = b.base, *bend = b.base + b.len;
    while (at < end && bt < bend) {
        uint32_t ca, cb;
        at += utf8_read(at, end, &ca);
        bt += utf8_read(bt, bend, &cb);
        if (ca != cb)
            return ca < cb ? -1 : 1;
    }
    return (at < end) - (bt < bend);
}

uint32_t map_names(const struct map *m, struct span names[MAP_MAX_NAMES])
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->count && n < MAP_MAX_NAMES; i++) {
        uint32_t at = 0;
        if (m->members[i].outer != 0)
            continue;
        while (at < n && !span_eq(names[at], m->members[i].key))
            at++;
        if (at == n)
            names[n++] = m->members[i].key;
    }
    for (uint32_t i = 1; i < n; i++) {
        struct span name = names[i];
        uint32_t k = i;
        for (; k > 0 && compare(names[k - 1], name) > 0; k--)
            names[k] = names[k - 1];
        names[k] = name;
    }
    return n;
}
