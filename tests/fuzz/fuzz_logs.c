/*
 * fuzz_logs: any bytes as a request, all the way to the halves of a batch.
 *
 * What logs_check() accepts protobuf-c must accept, groups and oversized
 * varints excepted, which it does not read; a batch holds all records, is
 * sound itself, has the size that was foretold, and splits into sound halves.
 * What it refuses logs_mend() refuses too, or makes sound.
 */
#include <assert.h>
#include <stdlib.h>

#include "export/batch.h"
#include "otlp/logs.h"
#include "otlp/mend.h"
#include "pipeline/join.h"
#include "unit/otlp/pb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Is something in it legal that protobuf-c 1.4 refuses? */
static bool is_odd(const ProtobufCMessageDescriptor *type, struct span message)
{
    struct wire w;
    struct wire_field f;
    wire_init(&w, message);
    while (wire_next(&w, &f)) {
        size_t head = f.type == WIRE_LEN ? f.whole.len - f.bytes.len : 0;
        size_t tag = 0;
        while (f.whole.base[tag++] >= 0x80)
            ;
        if (f.type == WIRE_GROUP || tag > 4 || head - tag > 4)
            return true;
        const ProtobufCFieldDescriptor *known =
            protobuf_c_message_descriptor_get_field(type, f.number);
        if (known != NULL && known->type == PROTOBUF_C_TYPE_MESSAGE &&
            is_odd(known->descriptor, f.bytes))
            return true;
    }
    return false;
}

struct run {
    struct batch_builder *builder;
    uint32_t records;
    uint64_t sum;
};

static int on_record(void *ctx, const struct logs_group *g, struct span record)
{
    struct run *run = ctx;
    struct log_record r;
    struct log_attrs attrs;
    struct log_attr attr;
    uint32_t attributes = 0;

    assert(log_record_read(&r, record) == 0);
    assert(log_severity(&r) <= 24);
    log_attrs_of_record(&attrs, record);
    for (; log_attrs_next(&attrs, &attr); attributes++)
        run->sum += attr.key.len > 0 ? attr.key.base[attr.key.len - 1] : attr.value.text.len;
    assert(attrs.wire.err == 0 && attributes == r.attributes);
    for (unsigned k = 0; k < LOG_KNOWN_COUNT; k++)
        run->sum += log_known(&r, k) != NULL ? log_known(&r, k)->text.len : 0;
    assert(batch_add(run->builder, g, record, SPAN("\x10\x01"), run->records++ % 3) == 0);
    return 0;
}

/* Do the parts of a batch say how many records its ResourceLogs have? */
struct audit {
    const struct batch *batch;
    uint32_t part, in_part; /* the part that is read, and how many records of it */
};

static int audit_record(void *ctx, const struct logs_group *g, struct span record)
{
    struct audit *a = ctx;
    (void)record;
    if (g->resource_index != a->part) {
        assert(a->in_part == a->batch->parts[a->part].records && g->resource_index == a->part + 1);
        a->part++;
        a->in_part = 0;
    }
    assert(a->part < a->batch->part_count);
    a->in_part++;
    return 0;
}

static void check_sound(const struct batch *b)
{
    struct logs_count count;
    assert(logs_check(buf_span(&b->body), &count) == 0);
    assert(count.records == b->records && count.resources == b->part_count);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < b->part_count; i++)
        sum += b->parts[i].records;
    assert(sum == b->records);
    struct audit audit = {.batch = b};
    struct arena arena;
    arena_init(&arena, b->body.len, NULL);
    assert(logs_each(buf_span(&b->body), 0, &arena, audit_record, &audit) == 0);
    assert(audit.part == b->part_count - 1 && audit.in_part == b->parts[audit.part].records);
    arena_done(&arena);
}

/* What can be kept of it is sound, and of every record it is known what became of it. */
static void check_mended(struct span request)
{
    struct logs_mended mended = {0};
    struct logs_count count, again;
    struct buf out = {0};
    if (logs_mend(request, &out, &count, &mended) == 0) {
        assert(logs_check(buf_span(&out), &again) == 0 && again.records == count.records);
        assert(mended.rejected > 0 || mended.repairs[REPAIR_UTF8] > 0);
        uint64_t in_tally = 0;
        const struct logs_rejected *rows = (const void *)mended.tally.base;
        for (size_t i = 0; i < mended.tally.len / sizeof *rows; i++) {
            assert(rows[i].resource_index < count.resources);
            in_tally += rows[i].records;
        }
        assert(in_tally == mended.rejected);
    } else {
        assert(out.len == 0);
    }
    buf_done(&out);
    logs_mended_done(&mended);
}

struct parts {
    uint32_t left, records;
    uint64_t hashes;
};

static int part_record(void *ctx, const struct logs_group *g, struct span record)
{
    struct parts *p = ctx;
    if (p->left == 0)
        return LOGS_PAUSE;
    p->left--;
    p->records++;
    p->hashes += (g->resource_hash ^ g->scope_hash) * (g->scope_index + 1) + record.len;
    return 0;
}

static int count_resource(void *ctx, uint32_t index, struct span service_name)
{
    uint32_t *count = ctx;
    (void)service_name;
    assert(index == *count);
    *count += 1;
    return 0;
}

/* In parts the same records are seen, in the same places. */
static void check_parts(struct span request, const struct logs_count *count, struct arena *arena)
{
    const struct span key = SPAN("phc_key");
    struct parts whole = {.left = UINT32_MAX}, some = {0};
    struct logs_place place = {0};
    uint32_t resources = 0;
    assert(logs_each_of_key(request, key, 1, arena, part_record, &whole) == 0);
    int rc;
    do {
        arena_reset(arena);
        some.left = 1 + request.len % 5;
        rc = logs_each_from(request, key, 1, arena, &place, part_record, &some);
        assert(rc == 0 || (rc == LOGS_PAUSE && some.left == 0));
    } while (rc == LOGS_PAUSE);
    arena_reset(arena);
    assert(some.records == whole.records && some.hashes == whole.hashes);
    assert(logs_each_resource(request, count_resource, &resources) == 0);
    assert(resources == count->resources);
}

/* Lines that are joined are sound, and none is lost. */
static void check_joined(struct span request, uint32_t records)
{
    struct logs_mended joined = {0};
    struct logs_count count;
    struct buf out = {0};
    int rc = logs_join(request, &out, &count, &joined);
    assert(rc >= 0 && (rc == 0 || count.records + joined.rejected == records));
    buf_done(&out);
    logs_mended_done(&joined);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span request = {data, size};
    struct logs_count count;
    struct arena arena;
    struct run run = {0};
    struct batch *whole, *a, *b;

    arena_init(&arena, 2 * size, NULL);
    run.builder = batch_builder_new(&(struct batch_opts){.max_bytes = SIZE_MAX / 2});
    if (logs_check(request, &count) == 0) {
        pb_request *q = pb_unpack(request);
        assert(
            q != NULL || pb_request_has_twins(request) ||
            is_odd(
                &opentelemetry__proto__collector__logs__v1__export_logs_service_request__descriptor,
                request));
        pb_free(q);
        assert(logs_each(request, 1, &arena, on_record, &run) == 0);
        assert(run.records == count.records);
        arena_reset(&arena);
        check_parts(request, &count, &arena);
        check_joined(request, count.records);
    } else {
        /* never to be done, but it must not read out of bounds */
        struct log_record r;
        ignore_code(log_record_read(&r, request));
        check_mended(request);
    }

    size_t bytes = batch_builder_bytes(run.builder);
    if (batch_seal(run.builder, &whole) == 0) {
        assert(whole->body.len == bytes && whole->records == run.records);
        check_sound(whole);
        if (batch_split(&whole, &a, &b) == 0) {
            assert(a->records + b->records == run.records);
            check_sound(a);
            check_sound(b);
            batch_free(a);
            batch_free(b);
        } else {
            assert(run.records == 1);
            batch_free(whole);
        }
    } else {
        assert(run.records == 0);
    }
    batch_builder_free(run.builder);
    arena_done(&arena);
    return 0;
}
