/*
 * Changes made by otlp/edit are the same as those made by protobuf-c to the decoded message, on
 * messages made at random; and what protobuf-c does not know survives.
 */
#include "unit/test.h"

#include <stdlib.h>

#include "otlp/edit.h"
#include "pb.h"
#include "util/arena.h"
#include "util/rng.h"

#define CASES 3000

/* ---- what is changed: texts that begin with x, names that end in ! or ? ------------------- */

static const char longer[] =
    "changed, and so much longer that the lengths above need another byte, "
    "which is more than a hundred and twenty-seven in all of it, surely";

static struct span changed(struct span text)
{
    return text.len % 2 == 0 ? SPAN("c") : span_str(longer);
}

static bool is_to_change(struct span text)
{
    return text.len > 0 && text.base[0] == 'x';
}

static int on_text(void *ctx, const struct edit_text *t, struct span *with)
{
    (void)ctx;
    *with = changed(t->text);
    return is_to_change(t->text) ? EDIT_REPLACE : EDIT_NOT;
}

static int on_named(void *ctx, const struct edit_text *t, struct span *with)
{
    uint8_t last = t->key.len > 0 ? t->key.base[t->key.len - 1] : 0;
    (void)ctx;
    *with = SPAN("named");
    return last == '!'   ? EDIT_REPLACE
           : last == '?' ? EDIT_REMOVE
           : last == '#' ? EDIT_KEEP
                         : EDIT_NOT;
}

static const struct edit_asker asker = {on_text, on_named, NULL};

/* ---- the same by protobuf-c ---------------------------------------------------------------- */

static char *keep(struct arena *a, struct span text)
{
    char *copy = arena_alloc(a, text.len + 1);
    assert_non_null(copy);
    if (text.len > 0)
        memcpy(copy, text.base, text.len);
    return copy;
}

static void change_string(struct arena *a, char **text)
{
    if (is_to_change(span_str(*text)))
        *text = keep(a, changed(span_str(*text)));
}

static void change_entries(struct arena *a, size_t *n, pb_key_value **entries, bool are_attributes);

static void change_value(struct arena *a, pb_any_value *v)
{
    switch (v->value_case) {
    case PB_ANY(STRING_VALUE):
        change_string(a, &v->string_value);
        break;
    case PB_ANY(BYTES_VALUE):
        if (is_to_change(span_of(v->bytes_value.data, v->bytes_value.len))) {
            struct span to = changed(span_of(v->bytes_value.data, v->bytes_value.len));
            v->bytes_value.data = (uint8_t *)keep(a, to);
            v->bytes_value.len = to.len;
        }
        break;
    case PB_ANY(ARRAY_VALUE):
        for (size_t i = 0; i < v->array_value->n_values; i++)
            change_value(a, v->array_value->values[i]);
        break;
    case PB_ANY(KVLIST_VALUE):
        change_entries(a, &v->kvlist_value->n_values, v->kvlist_value->values, false);
        break;
    default:
        break;
    }
}

static void change_entries(struct arena *a, size_t *n, pb_key_value **entries, bool are_attributes)
{
    size_t left = 0;
    for (size_t i = 0; i < *n; i++) {
        pb_key_value *e = entries[i];
        size_t len = strlen(e->key);
        char last = len > 0 ? e->key[len - 1] : '\0';
        if (last == '?')
            continue;
        entries[left++] = e;
        if (last == '!' && e->value != NULL) {
            e->value->value_case = PB_ANY(STRING_VALUE);
            e->value->string_value = keep(a, SPAN("named"));
        } else if (last != '!' && last != '#') {
            if (!are_attributes)
                change_string(a, &e->key);
            if (e->value != NULL)
                change_value(a, e->value);
        }
    }
    *n = left;
}

/* ---- messages made at random ------------------------------------------------------------------
 */

struct maker {
    struct rng rng;
    struct arena arena;
};

static uint32_t below(struct maker *m, uint32_t n)
{
    return (uint32_t)(rng_next(&m->rng) % n);
}

static char *make_text(struct maker *m)
{
    static const char *const pieces[] = {"",          "x",           "xy",  "plain",
                                         "h\xc3\xa9", "xxxxx xxxxx", longer};
    return keep(&m->arena, span_str(pieces[below(m, ARRAY_LEN(pieces))]));
}

static pb_any_value *make_value(struct maker *m, unsigned depth);

static pb_key_value **make_entries(struct maker *m, size_t *n, unsigned depth)
{
    static const char *const keys[] = {"a", "xkey", "remove?", "secret!", "kept#", "", "b.c"};
    *n = below(m, 5);
    pb_key_value **entries = arena_alloc(&m->arena, (*n + 1) * sizeof *entries);
    for (size_t i = 0; i < *n; i++) {
        entries[i] = arena_alloc(&m->arena, sizeof **entries);
        PB_COMMON(key_value__init)(entries[i]);
        entries[i]->key = keep(&m->arena, span_str(keys[below(m, ARRAY_LEN(keys))]));
        entries[i]->value = below(m, 8) == 0 ? NULL : make_value(m, depth + 1);
    }
    return entries;
}

static pb_any_value *make_value(struct maker *m, unsigned depth)
{
    pb_any_value *v = arena_alloc(&m->arena, sizeof *v);
    PB_COMMON(any_value__init)(v);
    switch (below(m, depth > 4 ? 4 : 7)) {
    case 0:
        v->value_case = PB_ANY(INT_VALUE);
        v->int_value = (int64_t)rng_next(&m->rng);
        break;
    case 1:
    case 2:
        v->value_case = PB_ANY(STRING_VALUE);
        v->string_value = make_text(m);
        break;
    case 3:
        v->value_case = PB_ANY(BYTES_VALUE);
        v->bytes_value.data = (uint8_t *)make_text(m);
        v->bytes_value.len = strlen((char *)v->bytes_value.data);
        break;
    case 4:
        v->value_case = PB_ANY(ARRAY_VALUE);
        v->array_value = arena_alloc(&m->arena, sizeof *v->array_value);
        PB_COMMON(array_value__init)(v->array_value);
        v->array_value->n_values = below(m, 4);
        v->array_value->values = arena_alloc(&m->arena, 8 * sizeof *v->array_value->values);
        for (size_t i = 0; i < v->array_value->n_values; i++)
            v->array_value->values[i] = make_value(m, depth + 1);
        break;
    case 5:
        v->value_case = PB_ANY(KVLIST_VALUE);
        v->kvlist_value = arena_alloc(&m->arena, sizeof *v->kvlist_value);
        PB_COMMON(key_value_list__init)(v->kvlist_value);
        v->kvlist_value->values = make_entries(m, &v->kvlist_value->n_values, depth);
        break;
    default:
        break;
    }
    return v;
}

static pb_record *make_record(struct maker *m)
{
    pb_record *r = arena_alloc(&m->arena, sizeof *r);
    PB_LOGS(log_record__init)(r);
    r->time_unix_nano = rng_next(&m->rng);
    r->severity_text = make_text(m);
    r->event_name = make_text(m);
    r->body = below(m, 6) == 0 ? NULL : make_value(m, 0);
    r->attributes = make_entries(m, &r->n_attributes, 0);
    r->trace_id.data = (uint8_t *)keep(&m->arena, SPAN("xxxxxxxxxxxxxxxx"));
    r->trace_id.len = 16;
    return r;
}

/* ---- tests ------------------------------------------------------------------------------------
 */

static void check_same(struct edit *e, enum edit_root root, const struct buf *before,
                       const struct buf *wanted, uint32_t number)
{
    struct buf out = {0};
    int changes = edit_find(e, root, buf_span(before), &asker);
    assert_true(changes >= 0);
    assert_int_equal(edit_apply(e, &out), 0);
    assert_row(span_eq(buf_span(&out), buf_span(wanted)), "case %u: %zu bytes, wanted %zu", number,
               out.len, wanted->len);
    assert_true(changes > 0 || span_eq(buf_span(&out), buf_span(before)));
    buf_done(&out);
}

static void records_are_changed_as_protobuf_would(void **state)
{
    struct maker m = {.rng = {.state = 20260713}};
    struct edit e = {0};
    (void)state;
    arena_init(&m.arena, 64 << 20, NULL);
    for (uint32_t i = 0; i < CASES; i++) {
        struct buf before = {0}, wanted = {0};
        pb_record *r = make_record(&m);
        pb_pack(&r->base, &before);
        change_string(&m.arena, &r->severity_text);
        change_string(&m.arena, &r->event_name);
        if (r->body != NULL)
            change_value(&m.arena, r->body);
        change_entries(&m.arena, &r->n_attributes, r->attributes, true);
        pb_pack(&r->base, &wanted);
        check_same(&e, EDIT_RECORD, &before, &wanted, i);
        buf_done(&before);
        buf_done(&wanted);
        arena_reset(&m.arena);
    }
    edit_done(&e);
    arena_done(&m.arena);
}

static void what_stands_around_records_as_well(void **state)
{
    struct maker m = {.rng = {.state = 5}};
    struct edit e = {0};
    (void)state;
    arena_init(&m.arena, 64 << 20, NULL);
    for (uint32_t i = 0; i < CASES; i++) {
        struct buf before[2] = {{0}}, wanted[2] = {{0}};
        pb_resource_logs rl;
        pb_scope_logs sl;
        pb_resource resource;
        pb_scope scope;
        PB_LOGS(resource_logs__init)(&rl);
        PB_LOGS(scope_logs__init)(&sl);
        opentelemetry__proto__resource__v1__resource__init(&resource);
        PB_COMMON(instrumentation_scope__init)(&scope);
        rl.resource = &resource;
        sl.scope = &scope;
        rl.schema_url = make_text(&m);
        sl.schema_url = make_text(&m);
        scope.name = make_text(&m);
        scope.version = make_text(&m);
        resource.attributes = make_entries(&m, &resource.n_attributes, 0);
        scope.attributes = make_entries(&m, &scope.n_attributes, 0);
        pb_pack(&rl.base, &before[0]);
        pb_pack(&sl.base, &before[1]);
        char **texts[] = {&rl.schema_url, &sl.schema_url, &scope.name, &scope.version};
        for (size_t k = 0; k < ARRAY_LEN(texts); k++)
            change_string(&m.arena, texts[k]);
        change_entries(&m.arena, &resource.n_attributes, resource.attributes, true);
        change_entries(&m.arena, &scope.n_attributes, scope.attributes, true);
        pb_pack(&rl.base, &wanted[0]);
        pb_pack(&sl.base, &wanted[1]);
        check_same(&e, EDIT_RESOURCE, &before[0], &wanted[0], i);
        check_same(&e, EDIT_SCOPE, &before[1], &wanted[1], i);
        for (size_t k = 0; k < 2; k++) {
            buf_done(&before[k]);
            buf_done(&wanted[k]);
        }
        arena_reset(&m.arena);
    }
    edit_done(&e);
    arena_done(&m.arena);
}

/* Fields and groups that nobody knows, lengths that are written long, a body that comes twice. */
static void what_is_not_understood_survives(void **state)
{
    static const uint8_t record[] =
        "\x2a\x83\x00\x0a\x01\x78"                          /* body, its length in 2 bytes: "x" */
        "\x9a\x06\x01?"                                     /* field 99 */
        "\x93\x06\x08\x01\x94\x06"                          /* group 98 */
        "\x2a\x04\x0a\x02xy"                                /* body again: "xy" */
        "\x32\x0b\x0a\x01\x61\x12\x03\x0a\x01x\xa2\x06\x00" /* a: "x", unknown */
        "\xa2\x06\x01x";                                    /* a text of an unknown field */
    static const uint8_t wanted[] = "\x2a\x89\x01\x0a\x86\x01";
    struct edit e = {0};
    struct buf out = {0};
    (void)state;
    int changes = edit_find(&e, EDIT_RECORD, span_of(record, sizeof record - 1), &asker);
    assert_int_equal(changes, 3);
    assert_int_equal(edit_apply(&e, &out), 0);
    size_t n = sizeof longer - 1;
    assert_int_equal(out.base[0], wanted[0]);
    assert_non_null(memmem(out.base, out.len,
                           "\x9a\x06\x01?\x93\x06\x08\x01\x94\x06\x2a\x03\x0a\x01"
                           "c\x32",
                           16));
    assert_non_null(memmem(out.base, out.len, "\xa2\x06\x00\xa2\x06\x01x", 7));
    assert_true(n > 127);
    buf_done(&out);
    edit_done(&e);
}

static int on_text_remove(void *ctx, const struct edit_text *t, struct span *with)
{
    int what = on_text(ctx, t, with);
    return what == EDIT_REPLACE && t->place == EDIT_ATTRIBUTE ? EDIT_REMOVE : what;
}

static void a_text_may_take_its_attribute_with_it(void **state)
{
    /* a: "keep", b: ["x", "x"], c: {"k": "x"}, d: "last"; body "x" */
    static const uint8_t record[] =
        "\x32\x0b\x0a\x01\x61\x12\x06\x0a\x04keep"
        "\x32\x11\x0a\x01\x62\x12\x0c\x2a\x0a\x0a\x03\x0a\x01x\x0a\x03\x0a\x01x"
        "\x32\x11\x0a\x01\x63\x12\x0c\x32\x0a\x0a\x08\x0a\x01k\x12\x03\x0a\x01x"
        "\x32\x0b\x0a\x01\x64\x12\x06\x0a\x04last"
        "\x2a\x04\x0a\x02xy";
    static const uint8_t wanted[] = "\x32\x0b\x0a\x01\x61\x12\x06\x0a\x04keep"
                                    "\x32\x0b\x0a\x01\x64\x12\x06\x0a\x04last"
                                    "\x2a\x03\x0a\x01"
                                    "c";
    const struct edit_asker remover = {on_text_remove, NULL, NULL};
    struct edit e = {0};
    struct buf out = {0};
    (void)state;
    assert_int_equal(edit_find(&e, EDIT_RECORD, span_of(record, sizeof record - 1), &remover), 3);
    assert_int_equal(edit_apply(&e, &out), 0);
    assert_true(span_eq(buf_span(&out), span_of(wanted, sizeof wanted - 1)));
    buf_done(&out);
    edit_done(&e);
}

static int on_text_fail(void *ctx, const struct edit_text *t, struct span *with)
{
    (void)ctx;
    (void)t;
    (void)with;
    return ERR_NOMEM;
}

static void failures_come_back(void **state)
{
    static const uint8_t record[] = "\x2a\x04\x0a\x02xy";
    const struct edit_asker failing = {on_text_fail, NULL, NULL};
    struct budget none;
    struct edit e = {0};
    (void)state;
    budget_init(&none, 0);
    assert_int_equal(edit_find(&e, EDIT_RECORD, span_of(record, 6), &failing), ERR_NOMEM);
    assert_int_equal(edit_find(&e, EDIT_RECORD, span_of(record, 5), &asker), ERR_MORE);
    e.nodes.budget = &none;
    buf_done(&e.nodes);
    assert_int_equal(edit_find(&e, EDIT_RECORD, span_of(record, 6), &asker), ERR_FULL);
    edit_done(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_changed_as_protobuf_would),
        cmocka_unit_test(what_stands_around_records_as_well),
        cmocka_unit_test(what_is_not_understood_survives),
        cmocka_unit_test(a_text_may_take_its_attribute_with_it),
        cmocka_unit_test(failures_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
