/* parcel: packing, splitting, settling. */
#include "export/parcel.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const char *signal_name(enum signal s)
{
    static const char *const names[] = {
#define X(name, text) [SIGNAL_##name] = text,
        SIGNALS(X)
#undef X
    };
    return names[s];
}

static struct parcel *parcel_new(enum signal signal, struct span content_type)
{
    struct parcel *p = calloc(1, sizeof *p);
    if (p == NULL || content_type.len >= sizeof p->content_type) {
        free(p);
        return NULL;
    }
    list_init(&p->link);
    p->signal = signal;
    if (content_type.len > 0)
        memcpy(p->content_type, content_type.base, content_type.len);
    return p;
}

void parcel_free(struct parcel *p)
{
    if (p == NULL)
        return;
    list_remove(&p->link);
    buf_done(&p->body);
    batch_free(p->batch);
    free(p);
}

/* Compress `in` into p->body; what cannot be compressed now goes out as it is. */
static void pack(struct parcel *p, struct buf *in, const struct parcel_packing *packing)
{
    struct buf packed = {.budget = packing->budget};
    if (packing->coding != CODING_IDENTITY &&
        coding_encode(packing->coder, packing->coding, buf_span(in), &packed) == 0) {
        p->coding = packing->coding;
        buf_trim(&packed); /* its room was for the worst case: four times what it takes */
        buf_move(&p->body, &packed);
        buf_done(in);
        return;
    }
    buf_done(&packed);
    p->coding = CODING_IDENTITY;
    buf_move(&p->body, in);
}

void parcel_fill(struct parcel *p, struct batch **batch, const struct parcel_packing *packing)
{
    struct batch *b = *batch;
    *batch = NULL;
    p->batch = b;
    p->records = b->records;
    p->born_ms = b->first_added_ms;
    memcpy(p->key, b->key, sizeof p->key);
    p->decoded_bytes = b->body.len;
    pack(p, &b->body, packing);
}

struct parcel *parcel_of_logs(void)
{
    return parcel_new(SIGNAL_LOGS, SPAN("application/x-protobuf"));
}

int parcel_of_relay(struct parcel **out, enum signal signal, struct span body, enum coding coding,
                    struct span content_type, struct span key, struct budget *budget)
{
    struct parcel *p = parcel_new(signal, content_type);
    if (p == NULL)
        return ERR_NOMEM;
    assert(key.len < sizeof p->key);
    if (key.len > 0)
        memcpy(p->key, key.base, key.len);
    p->coding = coding;
    p->decoded_bytes = body.len;
    p->body.budget = budget;
    if (buf_reserve_exact(&p->body, body.len) < 0) {
        int rc = p->body.err;
        parcel_free(p);
        return rc;
    }
    buf_append(&p->body, body);
    *out = p;
    return 0;
}

int parcel_unpack(struct parcel *p, struct buf *out, const struct parcel_packing *packing)
{
    *out = (struct buf){.budget = packing->budget};
    if (p->coding == CODING_IDENTITY) {
        buf_move(out, &p->body);
        return 0;
    }
    int rc = coding_decode(packing->coder, p->coding, buf_span(&p->body), out, packing->max_bytes);
    if (rc < 0) {
        buf_done(out);
        return rc;
    }
    buf_done(&p->body);
    p->coding = CODING_IDENTITY;
    return 0;
}

int parcel_recode(struct parcel *p, const struct parcel_packing *packing)
{
    struct buf plain;
    int rc = parcel_unpack(p, &plain, packing);
    if (rc < 0)
        return rc;
    pack(p, &plain, packing);
    return 0;
}

int parcel_split(struct parcel **whole, struct parcel **a, struct parcel **b,
                 const struct parcel_packing *packing)
{
    struct parcel *w = *whole;
    struct batch *halves[2];
    struct buf plain;
    if (w->batch == NULL || w->records < 2)
        return ERR_EMPTY;
    struct parcel *first = parcel_new(w->signal, span_str(w->content_type));
    struct parcel *second = parcel_new(w->signal, span_str(w->content_type));
    int rc = first != NULL && second != NULL ? parcel_unpack(w, &plain, packing) : ERR_NOMEM;
    if (rc < 0)
        goto fail;
    buf_move(&w->batch->body, &plain);
    rc = batch_split(&w->batch, &halves[0], &halves[1]);
    if (rc < 0) {
        buf_move(&w->body, &w->batch->body); /* whole still, if not packed any more */
        goto fail;
    }
    parcel_fill(first, &halves[0], packing);
    parcel_fill(second, &halves[1], packing);
    first->failed_ms = second->failed_ms = w->failed_ms;
    first->is_slow = second->is_slow = w->is_slow;
    first->is_urgent = second->is_urgent = w->is_urgent;
    parcel_free(w);
    *whole = NULL;
    *a = first;
    *b = second;
    return 0;

fail:
    parcel_free(first);
    parcel_free(second);
    return rc;
}

void parcel_settle(struct parcel *p, enum fate fate, const struct fate_sink *sink)
{
    struct fate_settlement s = {sink, fate};
    if (p->batch != NULL)
        batch_each_service(p->batch, fate_settle_part, &s);
    parcel_free(p);
}

struct partial {
    uint64_t rejected; /* still to be settled */
    const struct fate_sink *sink;
};

static void settle_partial(void *ctx, uint32_t service, uint32_t records)
{
    struct partial *p = ctx;
    uint64_t n = p->rejected < records ? p->rejected : records;
    p->rejected -= n;
    if (n > 0)
        p->sink->settle(p->sink->ctx, service, FATE_LOST_PARTIAL, n);
    if (n < records)
        p->sink->settle(p->sink->ctx, service, FATE_DELIVERED, records - n);
}

void parcel_settle_partial(struct parcel *p, uint64_t rejected, const struct fate_sink *sink)
{
    struct partial partial = {rejected, sink};
    if (p->batch != NULL)
        batch_each_service(p->batch, settle_partial, &partial);
    parcel_free(p);
}

size_t parcel_bytes(const struct parcel *p)
{
    return sizeof *p + p->body.cap + (p->batch != NULL ? p->batch->body.cap : 0);
}
