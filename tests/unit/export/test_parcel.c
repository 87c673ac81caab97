#include "unit/test.h"

#include "export/parcel.h"

static void count_service(void *ctx, uint32_t service, uint32_t records)
{
    ((uint32_t *)ctx)[service] += records;
}

static void settle(void *ctx, uint32_t service, enum fate fate, uint64_t records)
{
    assert_int_equal(fate, FATE_LOST_REFUSED);
    ((uint32_t *)ctx)[service] += (uint32_t)records;
}

struct rig {
    struct budget budget;
    struct parcel_packing packing;
};

static void rig_open(struct rig *r, enum coding coding)
{
    budget_init(&r->budget, 8 << 20);
    r->packing = (struct parcel_packing){coder_new(), coding, &r->budget, SIZE_MAX};
}

static void rig_close(struct rig *r)
{
    coder_free(r->packing.coder);
    assert_int_equal(r->budget.used, 0);
}

/* n records of service i % 2 + 1, each its number and 200 equal bytes. */
static struct parcel *parcel(struct rig *r, unsigned n)
{
    struct batch_builder *b = batch_builder_new(&(struct batch_opts){.budget = &r->budget});
    struct logs_group g = {0};
    struct batch *batch;
    struct parcel *p = NULL;
    for (unsigned i = 0; i < n; i++) {
        uint8_t bytes[205] = {0x10, (uint8_t)(i & 0x7f), 0x1a, 0xc8, 0x01};
        memset(bytes + 5, 'x', 200);
        assert_int_equal(
            batch_add(b, &g, span_of(bytes, sizeof bytes), (struct span){0}, i % 2 + 1), 0);
    }
    assert_int_equal(batch_seal(b, &batch), 0);
    batch->first_added_ms = 77;
    p = parcel_of_logs();
    assert_non_null(p);
    parcel_fill(p, &batch, &r->packing);
    assert_null(batch);
    batch_builder_free(b);
    return p;
}

static uint32_t records_in(struct rig *r, const struct parcel *p)
{
    struct buf plain = {0};
    struct logs_count n;
    assert_int_equal(
        coding_decode(r->packing.coder, p->coding, buf_span(&p->body), &plain, 1 << 20), 0);
    assert_int_equal(plain.len, p->decoded_bytes);
    assert_int_equal(logs_check(buf_span(&plain), &n), 0);
    buf_done(&plain);
    return n.records;
}

static void packed_in_every_coding(void **state)
{
    (void)state;
    static const enum coding codings[] = {CODING_IDENTITY, CODING_GZIP, CODING_ZSTD};
    for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
        struct rig r;
        rig_open(&r, codings[i]);
        struct parcel *p = parcel(&r, 100);
        assert_int_equal(p->coding, codings[i]);
        assert_int_equal(p->records, 100);
        assert_int_equal(p->born_ms, 77);
        assert_string_equal(p->content_type, "application/x-protobuf");
        assert_int_equal(records_in(&r, p), 100);
        if (codings[i] != CODING_IDENTITY) /* what waits takes the packed size, and not more */
            assert_in_range(parcel_bytes(p), p->body.len, sizeof *p + p->body.len);
        uint32_t services[3] = {0};
        batch_each_service(p->batch, count_service, services);
        assert_int_equal(services[1], 50);
        assert_int_equal(services[2], 50);
        parcel_free(p);
        rig_close(&r);
    }
}

static void no_memory_to_pack_means_plain(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, CODING_IDENTITY);
    struct parcel *p = parcel(&r, 100);
    r.packing.coding = CODING_GZIP;
    r.budget.limit = r.budget.used;
    assert_int_equal(parcel_recode(p, &r.packing), 0);
    assert_int_equal(p->coding, CODING_IDENTITY);
    assert_int_equal(records_in(&r, p), 100);
    r.budget.limit = 8 << 20;
    assert_int_equal(parcel_recode(p, &r.packing), 0);
    assert_int_equal(p->coding, CODING_GZIP);
    r.packing.coding = CODING_ZSTD;
    r.budget.limit = r.budget.used; /* now not even to unpack: it stays as it is */
    assert_int_equal(parcel_recode(p, &r.packing), ERR_FULL);
    assert_int_equal(p->coding, CODING_GZIP);
    assert_int_equal(records_in(&r, p), 100);
    parcel_free(p);
    rig_close(&r);
}

static void halves_keep_records_services_and_age(void **state)
{
    (void)state;
    struct rig r;
    rig_open(&r, CODING_ZSTD);
    struct parcel *p = parcel(&r, 5), *a, *b;
    p->failed_ms = 99;
    p->attempts = 4;
    assert_int_equal(parcel_split(&p, &a, &b, &r.packing), 0);
    assert_null(p);
    assert_int_equal(records_in(&r, a), 3);
    assert_int_equal(records_in(&r, b), 2);
    assert_int_equal(a->records, 3);
    assert_int_equal(b->records, 2);
    assert_int_equal(a->born_ms, 77);
    assert_int_equal(b->failed_ms, 99);
    assert_int_equal(a->attempts, 0); /* a half is a new try */
    assert_int_equal(a->coding, CODING_ZSTD);
    uint32_t services[3] = {0};
    const struct fate_sink sink = {services, settle};
    parcel_settle(a, FATE_LOST_REFUSED, &sink);
    parcel_settle(b, FATE_LOST_REFUSED, &sink);
    assert_int_equal(services[1], 3);
    assert_int_equal(services[2], 2);
    rig_close(&r);
}

static void what_cannot_be_halved_stays_whole(void **state)
{
    (void)state;
    struct rig r;
    struct parcel *p, *a, *b;
    rig_open(&r, CODING_GZIP);
    p = parcel(&r, 1);
    assert_int_equal(parcel_split(&p, &a, &b, &r.packing), ERR_EMPTY);
    parcel_free(p);

    p = parcel(&r, 100);
    const uint64_t used = r.budget.used;
    for (uint64_t more = 0; more < 200000; more += 1000) { /* fails at every step on the way */
        r.budget.limit = used + more;
        int rc = parcel_split(&p, &a, &b, &r.packing);
        if (rc == 0)
            break;
        assert_true(rc == ERR_FULL || rc == ERR_NOMEM || rc == ERR_TOO_BIG);
        assert_int_equal(records_in(&r, p), 100);
    }
    assert_null(p);
    assert_int_equal(a->records + b->records, 100);
    parcel_free(a);
    parcel_free(b);
    rig_close(&r);
}

static void relays_are_bytes(void **state)
{
    (void)state;
    struct rig r;
    struct parcel *p, *a, *b;
    char type[PARCEL_TYPE_BYTES + 1];
    rig_open(&r, CODING_GZIP);
    assert_int_equal(parcel_of_relay(&p, SIGNAL_TRACES, SPAN("bytes"), CODING_ZSTD,
                                     SPAN("application/json"), (struct span){0}, &r.budget),
                     0);
    assert_true(span_eq(buf_span(&p->body), SPAN("bytes")));
    assert_int_equal(p->coding, CODING_ZSTD);
    assert_string_equal(p->content_type, "application/json");
    assert_string_equal(signal_name(p->signal), "traces");
    assert_int_equal(parcel_split(&p, &a, &b, &r.packing), ERR_EMPTY);
    parcel_free(p);
    memset(type, 'x', sizeof type);
    assert_true(parcel_of_relay(&p, SIGNAL_TRACES, SPAN(""), CODING_IDENTITY,
                                span_of(type, PARCEL_TYPE_BYTES), (struct span){0}, &r.budget) < 0);
    r.budget.limit = 3;
    assert_int_equal(parcel_of_relay(&p, SIGNAL_TRACES, SPAN("bytes"), CODING_IDENTITY, SPAN(""),
                                     (struct span){0}, &r.budget),
                     ERR_FULL);
    parcel_free(NULL);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_in_every_coding),
        cmocka_unit_test(no_memory_to_pack_means_plain),
        cmocka_unit_test(halves_keep_records_services_and_age),
        cmocka_unit_test(what_cannot_be_halved_stays_whole),
        cmocka_unit_test(relays_are_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
