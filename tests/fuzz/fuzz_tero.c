/* fuzz_tero: policies as JSON, a zero byte, and a log request as JSON. What is refused has a
 * message; what becomes of a sound record is sound, and never another number of records. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "otlp/fields.h"
#include "otlp/json.h"
#include "policy/tero.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct offered {
    struct tero *tero;
    struct buf piece, request;
};

static int on_record(void *ctx, const struct logs_group *g, struct span record)
{
    struct offered *o = ctx;
    struct tero_record r = {g->resource, g->scope, record};
    struct logs_count count;
    int rc = tero_apply(o->tero, &r, 1000);
    assert(rc >= 0 || rc == ERR_TOO_BIG || rc == ERR_NOMEM);
    if (rc < 0 || rc == TERO_DROPPED)
        return 0;
    buf_clear(&o->piece);
    buf_append(&o->piece, r.scope);
    wire_append_len(&o->piece, SCOPE_LOGS_LOG_RECORDS, r.record);
    buf_clear(&o->request);
    buf_append(&o->request, r.resource);
    wire_append_len(&o->request, RESOURCE_LOGS_SCOPE_LOGS, buf_span(&o->piece));
    buf_clear(&o->piece);
    wire_append_len(&o->piece, REQUEST_RESOURCE_LOGS, buf_span(&o->request));
    rc = logs_check(buf_span(&o->piece), &count);
    assert(rc == ERR_TOO_DEEP || (rc == 0 && count.records == 1)); /* a path may add maps */
    return 0;
}

static void offer(struct offered *o, struct span text)
{
    static struct json_decoder *decoder;
    struct buf json = {0}, request = {0};
    struct logs_count count;
    struct arena arena;
    struct error err = {{0}};
    if (decoder == NULL && (decoder = json_decoder_new(NULL)) == NULL)
        abort();
    arena_init(&arena, 16 << 20, NULL);
    buf_append(&json, text);
    if (json_logs_decode(decoder, &json, &request, &count, NULL, &err) == 0)
        assert(logs_each(buf_span(&request), 0, &arena, on_record, o) == 0);
    buf_done(&json);
    buf_done(&request);
    arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
    struct span policies = {data, end != NULL ? (size_t)(end - data) : size};
    struct offered o = {0};
    struct error err = {{0}};
    int rc = tero_new(&o.tero, policies, 1, NULL, &err);
    assert(rc == 0 || (o.tero == NULL && err.text[0] != '\0'));
    if (rc == 0 && end != NULL)
        offer(&o, span_of(end + 1, size - policies.len - 1));
    buf_done(&o.piece);
    buf_done(&o.request);
    tero_free(o.tero);
    return 0;
}
