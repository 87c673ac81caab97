/*
 * Requests made at random by protobuf-c are read by the walker and re-framed
 * by the batch builder; protobuf-c must see the same in all of it.
 * PROPERTY_SEED=n runs from another seed, PROPERTY_CASES=n more or fewer.
 */
#include "unit/test.h"

#include <stdlib.h>

#include "export/batch.h"
#include "otlp/logs.h"
#include "pb.h"
#include "util/rng.h"

#define DEFAULT_CASES 6000
#define DEFAULT_SEED 20240711u
#define LISTS 512 /* the most of anything in one request */

/* ---- making requests ---- */

struct maker {
    struct rng rng;
    struct arena arena;
};

static uint32_t below(struct maker *m, uint32_t n)
{
    return (uint32_t)(rng_next(&m->rng) % n);
}

static bool one_in(struct maker *m, uint32_t n)
{
    return below(m, n) == 0;
}

static void *make(struct maker *m, size_t bytes)
{
    void *at = arena_alloc(&m->arena, bytes > 0 ? bytes : 1);
    assert_non_null(at);
    return at;
}

static char *make_text(struct maker *m)
{
    static const char *const pieces[] = {
        "service.name",
        "checkout",
        "",
        "a",
        "order 17 of 20 failed",
        "h\xc3\xa9t\xc3\xa9rog\xc3\xa8ne",
        "\xf0\x9f\x92\xa5",
        "exception.type",
        "http.status_code",
        "1234567",
        "{OriginalFormat}",
        "a somewhat longer piece of text, so that lengths of two bytes come up as well; ",
    };
    char *text = make(m, 1200);
    text[0] = '\0';
    for (uint32_t n = one_in(m, 10) ? below(m, 14) : below(m, 3); n > 0; n--)
        strcat(text, pieces[below(m, ARRAY_LEN(pieces))]);
    return text;
}

static char *make_key(struct maker *m)
{
    static const char *const keys[] = {"service.name",  "service.instance.id", "service.version",
                                       "host",          "event.name",          "sampling.threshold",
#define X(name, key) key,
                                       LOG_KNOWN_MAP(X)
#undef X
    };
    return one_in(m, 3) ? make_text(m) : (char *)keys[below(m, ARRAY_LEN(keys))];
}

static void make_unknown(struct maker *m, ProtobufCMessage *message)
{
    if (!one_in(m, 8))
        return;
    message->n_unknown_fields = 1 + below(m, 2);
    message->unknown_fields = make(m, message->n_unknown_fields * sizeof *message->unknown_fields);
    for (unsigned i = 0; i < message->n_unknown_fields; i++) {
        ProtobufCMessageUnknownField *f = &message->unknown_fields[i];
        static const ProtobufCWireType types[] = {
            PROTOBUF_C_WIRE_TYPE_VARINT, PROTOBUF_C_WIRE_TYPE_64BIT,
            PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED, PROTOBUF_C_WIRE_TYPE_32BIT};
        f->tag = 100 + below(m, 100000);
        f->wire_type = types[below(m, 4)];
        f->data = make(m, 16);
        f->len = f->wire_type == PROTOBUF_C_WIRE_TYPE_64BIT ? 8 : 4;
        memcpy(f->data,
               "\x03"
               "abcdefgh",
               9);
        if (f->wire_type == PROTOBUF_C_WIRE_TYPE_VARINT)
            f->len = 1;
    }
}

static pb_any_value *make_value(struct maker *m, unsigned depth);

static pb_key_value **make_attributes(struct maker *m, size_t *n, unsigned depth)
{
    *n = one_in(m, 3) ? 0 : below(m, 6);
    pb_key_value **all = make(m, *n * sizeof *all);
    for (size_t i = 0; i < *n; i++) {
        all[i] = make(m, sizeof **all);
        PB_COMMON(key_value__init)(all[i]);
        all[i]->key = make_key(m);
        if (!one_in(m, 10))
            all[i]->value = make_value(m, depth);
        make_unknown(m, &all[i]->base);
    }
    return all;
}

static pb_any_value *make_value(struct maker *m, unsigned depth)
{
    pb_any_value *v = make(m, sizeof *v);
    PB_COMMON(any_value__init)(v);
    v->value_case = below(m, 2) != 0 ? PB_ANY(STRING_VALUE) : below(m, 8);
    if (depth > 6 &&
        (v->value_case == PB_ANY(ARRAY_VALUE) || v->value_case == PB_ANY(KVLIST_VALUE)))
        v->value_case = PB_ANY(INT_VALUE);
    switch (v->value_case) {
    case PB_ANY(STRING_VALUE):
        v->string_value = make_text(m);
        break;
    case PB_ANY(BOOL_VALUE):
        v->bool_value = one_in(m, 2);
        break;
    case PB_ANY(INT_VALUE):
        v->int_value = (int64_t)(rng_next(&m->rng) >> below(m, 64));
        break;
    case PB_ANY(DOUBLE_VALUE):
        v->double_value = below(m, 1000) / 8.0;
        break;
    case PB_ANY(ARRAY_VALUE):
        v->array_value = make(m, sizeof *v->array_value);
        PB_COMMON(array_value__init)(v->array_value);
        v->array_value->n_values = below(m, 4);
        v->array_value->values = make(m, 4 * sizeof(void *));
        for (size_t i = 0; i < v->array_value->n_values; i++)
            v->array_value->values[i] = make_value(m, depth + 1);
        break;
    case PB_ANY(KVLIST_VALUE):
        v->kvlist_value = make(m, sizeof *v->kvlist_value);
        PB_COMMON(key_value_list__init)(v->kvlist_value);
        v->kvlist_value->values = make_attributes(m, &v->kvlist_value->n_values, depth + 1);
        break;
    case PB_ANY(BYTES_VALUE):
        v->bytes_value = (ProtobufCBinaryData){below(m, 20), make(m, 20)};
        break;
    default: /* an AnyValue with nothing set */
        break;
    }
    make_unknown(m, &v->base);
    return v;
}

static pb_record *make_record(struct maker *m)
{
    pb_record *r = make(m, sizeof *r);
    PB_LOGS(log_record__init)(r);
    if (one_in(m, 12))
        return r; /* empty */
    r->time_unix_nano = rng_next(&m->rng) >> below(m, 64);
    r->observed_time_unix_nano = one_in(m, 2) ? 0 : rng_next(&m->rng);
    r->severity_number = (int32_t)below(m, 30) - 2;
    if (one_in(m, 2))
        r->severity_text = make_text(m);
    if (!one_in(m, 5))
        r->body = make_value(m, 0);
    r->attributes = make_attributes(m, &r->n_attributes, 0);
    r->dropped_attributes_count = below(m, 3);
    r->flags = below(m, 3) * 0x7fffffff;
    if (one_in(m, 2)) {
        r->trace_id = (ProtobufCBinaryData){one_in(m, 5) ? below(m, 20) : 16, make(m, 20)};
        r->span_id = (ProtobufCBinaryData){8, make(m, 8)};
    }
    if (one_in(m, 4))
        r->event_name = make_text(m);
    make_unknown(m, &r->base);
    return r;
}

static pb_scope_logs *make_scope_logs(struct maker *m)
{
    pb_scope_logs *s = make(m, sizeof *s);
    PB_LOGS(scope_logs__init)(s);
    if (!one_in(m, 3)) {
        s->scope = make(m, sizeof *s->scope);
        PB_COMMON(instrumentation_scope__init)(s->scope);
        s->scope->name = one_in(m, 2) ? "lib" : make_text(m);
        if (one_in(m, 3))
            s->scope->attributes = make_attributes(m, &s->scope->n_attributes, 0);
    }
    if (one_in(m, 3))
        s->schema_url = "https://opentelemetry.io/schemas/1.26.0";
    s->n_log_records = one_in(m, 6) ? 0 : below(m, 5);
    s->log_records = make(m, 5 * sizeof(void *));
    for (size_t i = 0; i < s->n_log_records; i++)
        s->log_records[i] = make_record(m);
    if (one_in(m, 3))
        make_unknown(m, &s->base);
    return s;
}

static pb_resource_logs *make_resource_logs(struct maker *m)
{
    pb_resource_logs *r = make(m, sizeof *r);
    PB_LOGS(resource_logs__init)(r);
    if (!one_in(m, 4)) {
        r->resource = make(m, sizeof *r->resource);
        opentelemetry__proto__resource__v1__resource__init(r->resource);
        if (!one_in(m, 2))
            r->resource->attributes = make_attributes(m, &r->resource->n_attributes, 0);
    }
    if (one_in(m, 3))
        r->schema_url = "https://opentelemetry.io/schemas/1.26.0";
    r->n_scope_logs = below(m, 4);
    r->scope_logs = make(m, 4 * sizeof(void *));
    for (size_t i = 0; i < r->n_scope_logs; i++)
        r->scope_logs[i] = make_scope_logs(m);
    if (one_in(m, 3))
        make_unknown(m, &r->base);
    return r;
}

static pb_request *make_request(struct maker *m)
{
    pb_request *q = make(m, sizeof *q);
    opentelemetry__proto__collector__logs__v1__export_logs_service_request__init(q);
    q->n_resource_logs = below(m, 4);
    q->resource_logs = make(m, 4 * sizeof(void *));
    for (size_t i = 0; i < q->n_resource_logs; i++) {
        bool again = i > 0 && one_in(m, 3); /* the same once more, to be merged */
        q->resource_logs[i] = again ? q->resource_logs[i - 1] : make_resource_logs(m);
    }
    make_unknown(m, &q->base);
    return q;
}

/* ---- what the walker sees is what protobuf-c sees ---- */

static bool text_is(struct span s, const char *text)
{
    return span_eq(s, span_str(text));
}

static bool bytes_are(struct span s, ProtobufCBinaryData data)
{
    return span_eq(s, span_of(data.data, data.len));
}

static void assert_message_is(struct span encoded, const ProtobufCMessage *message)
{
    struct buf packed = {0};
    pb_pack(message, &packed);
    assert_true(span_eq(encoded, buf_span(&packed)));
    buf_done(&packed);
}

static void assert_value_is(const struct log_value *v, const pb_any_value *pb)
{
    static const enum log_kind kinds[] = {LOG_NONE,   LOG_STRING, LOG_BOOL,   LOG_INT,
                                          LOG_DOUBLE, LOG_ARRAY,  LOG_KVLIST, LOG_BYTES};
    assert_int_equal(v->kind, pb == NULL ? LOG_NONE : kinds[pb->value_case]);
    switch (v->kind) {
    case LOG_STRING:
        assert_true(text_is(v->text, pb->string_value));
        break;
    case LOG_BOOL:
        assert_int_equal(v->integer, pb->bool_value);
        break;
    case LOG_INT:
        assert_true(v->integer == pb->int_value);
        break;
    case LOG_DOUBLE:
        assert_true(v->real == pb->double_value);
        break;
    case LOG_ARRAY:
        assert_message_is(v->text, &pb->array_value->base);
        break;
    case LOG_KVLIST:
        assert_message_is(v->text, &pb->kvlist_value->base);
        break;
    case LOG_BYTES:
        assert_true(bytes_are(v->text, pb->bytes_value));
        break;
    default:
        break;
    }
}

static const char *const known_keys[] = {
#define X(name, key) [name] = key,
    LOG_KNOWN_MAP(X)
#undef X
};

static void assert_record_is(struct span record, const pb_record *pb)
{
    struct log_record r;
    assert_int_equal(log_record_read(&r, record), 0);
    assert_true(r.time_unix_ns == pb->time_unix_nano);
    assert_true(r.observed_unix_ns == pb->observed_time_unix_nano);
    assert_int_equal(r.severity_number, pb->severity_number);
    assert_true(text_is(r.severity_text, pb->severity_text));
    assert_true(text_is(r.event_name, pb->event_name));
    assert_true(r.flags == pb->flags);
    assert_true(bytes_are(r.trace_id, pb->trace_id));
    assert_true(bytes_are(r.span_id, pb->span_id));
    assert_value_is(&r.body, pb->body);
    assert_int_equal(r.attributes, pb->n_attributes);

    const pb_any_value *last[LOG_KNOWN_COUNT] = {NULL};
    uint32_t seen = 0;
    struct log_attrs attrs;
    struct log_attr attr;
    log_attrs_of_record(&attrs, record);
    for (size_t i = 0; i < pb->n_attributes; i++) {
        assert_true(log_attrs_next(&attrs, &attr));
        assert_true(text_is(attr.key, pb->attributes[i]->key));
        assert_value_is(&attr.value, pb->attributes[i]->value);
        for (unsigned k = 0; k < LOG_KNOWN_COUNT; k++) {
            if (strcmp(known_keys[k], pb->attributes[i]->key) == 0) {
                last[k] = pb->attributes[i]->value;
                seen |= 1u << k;
            }
        }
    }
    assert_false(log_attrs_next(&attrs, &attr));
    assert_int_equal(r.known_set, seen);
    for (unsigned k = 0; k < LOG_KNOWN_COUNT; k++) {
        assert_int_equal(log_known(&r, k) != NULL, seen >> k & 1);
        if (log_known(&r, k) != NULL)
            assert_value_is(log_known(&r, k), last[k]);
    }
}

static const char *string_attribute(const pb_resource *r, const char *key)
{
    const char *found = "";
    for (size_t i = 0; r != NULL && i < r->n_attributes; i++) {
        const pb_key_value *kv = r->attributes[i];
        if (strcmp(kv->key, key) == 0 && kv->value != NULL &&
            kv->value->value_case == PB_ANY(STRING_VALUE))
            found = kv->value->string_value;
    }
    return found;
}

/* A request flattened: its records in order, with their contexts packed. */
struct flat {
    const pb_resource_logs *resource;
    const pb_scope_logs *scope;
    const pb_record *record;
    struct buf resource_fields, scope_fields, record_bytes;
};

struct flat_list {
    struct flat row[LISTS];
    uint32_t n;
};

static void flatten(const pb_request *q, struct flat_list *out)
{
    out->n = 0;
    for (size_t i = 0; i < q->n_resource_logs; i++) {
        const pb_resource_logs *rl = q->resource_logs[i];
        for (size_t j = 0; j < rl->n_scope_logs; j++) {
            const pb_scope_logs *sl = rl->scope_logs[j];
            for (size_t k = 0; k < sl->n_log_records; k++) {
                assert_true(out->n < LISTS);
                struct flat *f = &out->row[out->n++];
                pb_resource_logs bare_resource = *rl;
                pb_scope_logs bare_scope = *sl;
                bare_resource.n_scope_logs = 0;
                bare_scope.n_log_records = 0;
                *f = (struct flat){.resource = rl, .scope = sl, .record = sl->log_records[k]};
                pb_pack(&bare_resource.base, &f->resource_fields);
                pb_pack(&bare_scope.base, &f->scope_fields);
                pb_pack(&f->record->base, &f->record_bytes);
            }
        }
    }
}

static void flat_done(struct flat_list *l)
{
    for (uint32_t i = 0; i < l->n; i++) {
        buf_done(&l->row[i].resource_fields);
        buf_done(&l->row[i].scope_fields);
        buf_done(&l->row[i].record_bytes);
    }
}

struct check {
    const struct flat_list *expected;
    struct batch_builder *builder;
    uint64_t drop; /* bit i % 64: drop record i */
    uint32_t at;
};

static int check_record(void *ctx, const struct logs_group *g, struct span record)
{
    struct check *c = ctx;
    assert_true(c->at < c->expected->n);
    const struct flat *f = &c->expected->row[c->at];
    assert_true(span_eq(g->resource, buf_span(&f->resource_fields)));
    assert_true(span_eq(g->scope, buf_span(&f->scope_fields)));
    assert_true(span_eq(record, buf_span(&f->record_bytes)));
    assert_true(text_is(g->service_name, string_attribute(f->resource->resource, "service.name")));
    assert_true(text_is(g->service_instance_id,
                        string_attribute(f->resource->resource, "service.instance.id")));
    assert_true(
        text_is(g->service_version, string_attribute(f->resource->resource, "service.version")));
    assert_record_is(record, f->record);
    if ((c->drop >> c->at % 64 & 1) == 0)
        assert_int_equal(batch_add(c->builder, g, record, (struct span){0}, 7), 0);
    c->at++;
    return 0;
}

/* ---- what the batch holds is what was kept, merged ---- */

/* The order of a batch: by first appearance of the resource, then of the scope
 * in it, then as they came. Selection of the rows that way is the model. */
static uint32_t merge(const struct flat_list *in, uint64_t drop, const struct flat **out)
{
    bool taken[LISTS] = {false};
    uint32_t n = 0;
    for (uint32_t i = 0; i < in->n; i++)
        taken[i] = (drop >> i % 64 & 1) != 0;
    for (uint32_t r = 0; r < in->n; r++) {
        if (taken[r])
            continue;
        for (uint32_t s = r; s < in->n; s++) {
            if (taken[s] || !span_eq(buf_span(&in->row[s].resource_fields),
                                     buf_span(&in->row[r].resource_fields)))
                continue;
            for (uint32_t i = s; i < in->n; i++) {
                if (taken[i] ||
                    !span_eq(buf_span(&in->row[i].resource_fields),
                             buf_span(&in->row[r].resource_fields)) ||
                    !span_eq(buf_span(&in->row[i].scope_fields),
                             buf_span(&in->row[s].scope_fields)))
                    continue;
                taken[i] = true;
                out[n++] = &in->row[i];
            }
        }
    }
    return n;
}

static void assert_batch_holds(struct span body, const struct flat **rows, uint32_t n)
{
    static struct flat_list got;
    struct logs_count count;
    assert_int_equal(logs_check(body, &count), 0);
    assert_int_equal(count.records, n);
    pb_request *q = pb_unpack(body);
    assert_non_null(q);
    flatten(q, &got);
    assert_int_equal(got.n, n);
    for (uint32_t i = 0; i < n; i++) {
        assert_true(
            span_eq(buf_span(&got.row[i].resource_fields), buf_span(&rows[i]->resource_fields)));
        assert_true(span_eq(buf_span(&got.row[i].scope_fields), buf_span(&rows[i]->scope_fields)));
        assert_true(span_eq(buf_span(&got.row[i].record_bytes), buf_span(&rows[i]->record_bytes)));
    }
    for (size_t i = 0; i < q->n_resource_logs; i++) { /* nothing is sent twice */
        assert_true(q->resource_logs[i]->n_scope_logs > 0);
        for (size_t j = 0; j < q->resource_logs[i]->n_scope_logs; j++)
            assert_true(q->resource_logs[i]->scope_logs[j]->n_log_records > 0);
    }
    flat_done(&got);
    pb_free(q);
}

static void seal_and_compare(struct batch_builder *builder, const struct flat_list *in,
                             uint64_t drop)
{
    const struct flat *rows[LISTS];
    struct batch *whole, *a, *b;
    uint32_t n = merge(in, drop, rows);
    size_t bytes = batch_builder_bytes(builder);

    if (n == 0) {
        assert_int_equal(batch_seal(builder, &whole), ERR_EMPTY);
        return;
    }
    assert_int_equal(batch_seal(builder, &whole), 0);
    assert_int_equal(whole->body.len, bytes);
    assert_int_equal(whole->records, n);
    assert_batch_holds(buf_span(&whole->body), rows, n);
    if (n == 1) {
        assert_int_equal(batch_split(&whole, &a, &b), ERR_EMPTY);
        batch_free(whole);
        return;
    }
    assert_int_equal(batch_split(&whole, &a, &b), 0);
    assert_null(whole);
    assert_int_equal(a->records, (n + 1) / 2);
    assert_batch_holds(buf_span(&a->body), rows, a->records);
    assert_batch_holds(buf_span(&b->body), rows + a->records, b->records);
    batch_free(a);
    batch_free(b);
}

static void one_case(struct maker *m, struct batch_builder *builder)
{
    static struct flat_list expected;
    struct buf bytes = {0};
    struct arena arena;
    struct logs_count count;
    uint64_t drops[] = {0, rng_next(&m->rng), rng_next(&m->rng) | rng_next(&m->rng)};

    const pb_request *q = make_request(m);
    pb_pack(&q->base, &bytes);
    flatten(q, &expected);
    arena_init(&arena, 1 << 20, NULL);
    assert_int_equal(logs_check(buf_span(&bytes), &count), 0);
    assert_int_equal(count.records, expected.n);
    assert_int_equal(count.resources, q->n_resource_logs);
    for (size_t i = 0; i < ARRAY_LEN(drops); i++) {
        struct check c = {&expected, builder, drops[i], 0};
        assert_int_equal(logs_each(buf_span(&bytes), 42, &arena, check_record, &c), 0);
        assert_int_equal(c.at, expected.n);
        seal_and_compare(builder, &expected, drops[i]);
    }

    /* A request cut short is refused or is a whole, smaller one; never a crash. */
    size_t cut = bytes.len > 0 ? rng_next(&m->rng) % bytes.len : 0;
    ignore_code(logs_check((struct span){bytes.base, cut}, &count));

    flat_done(&expected);
    arena_done(&arena);
    buf_done(&bytes);
}

static unsigned long running; /* the seed of the case in hand; 0: none */

static unsigned long from_environment(const char *name, unsigned long fallback)
{
    const char *text = getenv(name);
    return text != NULL ? strtoul(text, NULL, 10) : fallback;
}

static void requests_made_at_random(void **state)
{
    unsigned long seed = from_environment("PROPERTY_SEED", DEFAULT_SEED);
    unsigned long cases = from_environment("PROPERTY_CASES", DEFAULT_CASES);
    struct batch_builder *builder = batch_builder_new(&(struct batch_opts){0});
    struct maker m;
    (void)state;
    print_message("%lu cases from seed %lu\n", cases, seed);
    arena_init(&m.arena, 64 << 20, NULL);
    for (unsigned long i = 0; i < cases; i++) {
        m.rng.state = running = seed + i; /* a failing case runs alone with its own seed */
        one_case(&m, builder);
        arena_reset(&m.arena);
    }
    running = 0;
    arena_done(&m.arena);
    batch_builder_free(builder);
}

static int tell_the_seed(void **state)
{
    (void)state;
    if (running != 0)
        print_error("failed with PROPERTY_SEED=%lu PROPERTY_CASES=1\n", running);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(requests_made_at_random, tell_the_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
