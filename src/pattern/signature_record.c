/*
 * signature_record: maps, whether they come as JSON text or in OTLP's form, by
 * their message and a few context keys; and the text of arrays.
 */
#include <stdio.h>

#include "otlp/wire.h"
#include "pattern/signature_identity.h"

/* opentelemetry.proto.common.v1 */
enum { KVLIST_VALUES = 1, ARRAY_VALUES = 1, KV_KEY = 1, KV_VALUE = 2 };
enum {
    ANY_STRING = 1,
    ANY_BOOL = 2,
    ANY_INT = 3,
    ANY_DOUBLE = 4,
    ANY_ARRAY = 5,
    ANY_KVLIST = 6,
    ANY_BYTES = 7,
};

/* clang-format off */
/* Messages in the order they are looked for, then context keys in the order
 * they are written; "event" is both and stands where it is written. */
#define NAME(text) {(const uint8_t *)(text), sizeof(text) - 1}
static const struct span names[] = {
    NAME("message"), NAME("msg"), NAME("log"), NAME("text"), NAME("body"),
    NAME("level"), NAME("severity"), NAME("lvl"), NAME("logger"), NAME("event"),
    NAME("event_name"), NAME("error.type"), NAME("exception.type"), NAME("error_type"),
    NAME("exception_type"),
};
/* clang-format on */
enum { EVENT = 9, CONTEXT_FIRST = 5, NAME_COUNT = ARRAY_LEN(names) };
static const uint8_t message_order[] = {0, 1, 2, 3, EVENT, 4};
#define NAME_MIN_BYTES 3
#define NAME_MAX_BYTES 14

bool members_add(void *members, const struct json_member *member)
{
    struct members *m = members;
    m->list[m->count++] = *member;
    return m->count < SIGN_MAX_MEMBERS;
}

/* The value of an AnyValue. Of a oneof that was set twice the last counts. */
static struct json_member any_value(struct span any)
{
    static const uint8_t kinds[] = {
        [ANY_STRING] = JSON_STRING, [ANY_BOOL] = JSON_BOOL,     [ANY_INT] = JSON_INT,
        [ANY_DOUBLE] = JSON_DOUBLE, [ANY_ARRAY] = JSON_ARRAY,   [ANY_KVLIST] = JSON_OBJECT,
        [ANY_BYTES] = JSON_BYTES,
    };
    struct json_member value = {.kind = JSON_NULL};
    struct wire w;
    struct wire_field f;

    wire_init(&w, any);
    while (wire_next(&w, &f)) {
        if (f.number < ANY_STRING || f.number > ANY_BYTES)
            continue;
        value = (struct json_member){.kind = kinds[f.number], .text = f.bytes, .number = f.value};
        if (value.kind == JSON_BOOL)
            value.number = f.value != 0;
    }
    return value;
}

void members_read_kvlist(struct members *m, struct span kvlist)
{
    struct wire list, pair;
    struct wire_field f, g;

    wire_init(&list, kvlist);
    while (m->count < SIGN_MAX_MEMBERS && wire_next(&list, &f)) {
        if (f.number != KVLIST_VALUES || f.type != WIRE_LEN)
            continue;
        struct span key = {0};
        struct json_member value = {.kind = JSON_NULL};
        wire_init(&pair, f.bytes);
        while (wire_next(&pair, &g)) {
            if (g.number == KV_KEY && g.type == WIRE_LEN)
                key = g.bytes;
            else if (g.number == KV_VALUE && g.type == WIRE_LEN)
                value = any_value(g.bytes);
        }
        value.key = key;
        members_add(m, &value);
    }
}

/* Whether a member before `at` has exactly the same key. */
static bool seen_before(const struct members *m, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++)
        if (span_eq(m->list[i].key, m->list[at].key))
            return true;
    return false;
}

/*
 * For each name its member; NULL: none. Of members with the very same key the
 * last value counts. Of keys that differ in case, the one that first appears
 * last: that is how a map filled in order and then lower-cased comes out.
 */
static void find_names(const struct members *m, const struct json_member *found[NAME_COUNT])
{
    for (uint32_t i = 0; i < m->count; i++) {
        const struct json_member *member = &m->list[i];
        if (member->key.len < NAME_MIN_BYTES || member->key.len > NAME_MAX_BYTES)
            continue;
        for (size_t k = 0; k < NAME_COUNT; k++) {
            if (!span_ieq(member->key, names[k]))
                continue;
            if (found[k] == NULL || span_eq(found[k]->key, member->key) || !seen_before(m, i))
                found[k] = member;
            break;
        }
    }
}

static const char *number_text(char out[24], const struct json_member *m)
{
    if (m->kind == JSON_BOOL)
        return m->number != 0 ? "True" : "False";
    snprintf(out, 24, m->kind == JSON_UINT ? "%llu" : "%lld", (unsigned long long)m->number);
    return out;
}

static void sign_context(struct identity *id, struct span name, const struct json_member *m,
                         const struct json_member *said)
{
    char number[24];
    struct span value;
    if (m->kind == JSON_STRING)
        value = m->text;
    else if (m->kind == JSON_BOOL || m->kind == JSON_INT || m->kind == JSON_UINT)
        value = span_str(number_text(number, m));
    else
        return;
    if (said != NULL && m->kind == JSON_STRING && span_eq(value, said->text))
        return;
    identity_begin_part(id);
    identity_add(id, name);
    identity_add_byte(id, '=');
    identity_add(id, value);
}

static int compare(struct span a, struct span b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.base, b.base, len) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

/* Shell sort: maps are small, and unlike qsort() it never allocates. */
static void sort_keys(struct span *keys, uint32_t n)
{
    static const uint16_t gaps[] = {701, 301, 132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < ARRAY_LEN(gaps); g++) {
        for (uint32_t i = gaps[g]; i < n; i++) {
            struct span key = keys[i];
            uint32_t j = i;
            for (; j >= gaps[g] && compare(keys[j - gaps[g]], key) > 0; j -= gaps[g])
                keys[j] = keys[j - gaps[g]];
            keys[j] = key;
        }
    }
}

static void sign_keys(struct members *m, struct identity *id)
{
    for (uint32_t i = 0; i < m->count; i++) {
        m->keys[i] = m->list[i].key;
        if (m->keys[i].len > SIGN_MAX_KEY_BYTES)
            m->keys[i].len = SIGN_MAX_KEY_BYTES;
    }
    sort_keys(m->keys, m->count);
    for (uint32_t i = 0; i < m->count; i++) {
        if (i > 0 && span_eq(m->keys[i], m->keys[i - 1]))
            continue;
        identity_begin_part(id);
        identity_add(id, m->keys[i]);
    }
}

struct span members_sign(struct members *m, struct identity *id)
{
    const struct json_member *found[NAME_COUNT] = {0};
    const struct json_member *said = NULL;

    find_names(m, found);
    for (size_t i = 0; i < ARRAY_LEN(message_order) && said == NULL; i++) {
        const struct json_member *member = found[message_order[i]];
        if (member != NULL && member->kind == JSON_STRING && member->text.len > 0)
            said = member;
    }
    identity_begin_part(id);
    identity_add(id, SPAN("json"));
    for (size_t k = CONTEXT_FIRST; k < NAME_COUNT; k++)
        if (found[k] != NULL)
            sign_context(id, names[k], found[k], said);

    identity_begin_part(id);
    identity_add_byte(id, said != NULL ? PART_MESSAGE : PART_KEYS);
    if (said != NULL)
        return said->text;
    sign_keys(m, id);
    return (struct span){0};
}

size_t array_text(struct span array, uint8_t *out, size_t max)
{
    static const char *const stand_ins[] = {
        [JSON_NULL] = "null", [JSON_DOUBLE] = "0.0", [JSON_ARRAY] = "array",
        [JSON_OBJECT] = "map", [JSON_BYTES] = "bytes", /* a double is a variable anyway */
    };
    struct wire w;
    struct wire_field f;
    size_t len = 0;

    wire_init(&w, array);
    for (uint32_t n = 0; n < SIGN_MAX_ELEMENTS && wire_next(&w, &f);) {
        if (f.number != ARRAY_VALUES || f.type != WIRE_LEN)
            continue;
        char number[24];
        struct json_member value = any_value(f.bytes);
        struct span text = value.text;
        if (value.kind == JSON_BOOL || value.kind == JSON_INT)
            text = span_str(number_text(number, &value));
        else if (value.kind != JSON_STRING)
            text = span_str(stand_ins[value.kind]);

        struct span pieces[] = {n++ > 0 ? SPAN(", ") : SPAN(""), text};
        for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
            size_t fits = pieces[i].len < max - len ? pieces[i].len : max - len;
            if (fits > 0)
                memcpy(out + len, pieces[i].base, fits);
            len += fits;
        }
    }
    return len;
}
