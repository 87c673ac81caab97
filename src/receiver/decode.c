/* decode: scratch buffers, and which of them holds the request by now. */
#include "receiver/decode.h"

#include <stdlib.h>

#include "net/http.h"
#include "otlp/json.h"

_Static_assert(HTTP_BODY_TAIL_BYTES >= JSON_PADDING_BYTES, "a body of JSON is not copied");

struct decoder {
    struct json_decoder *json;
    struct coder *coder;
    struct buf inflated, transcoded; /* scratch: one request is decoded at a time */
};

void decoder_clear(struct buf *scratch)
{
    if (scratch->cap > DECODER_KEEP_BYTES)
        buf_done(scratch);
    else
        buf_clear(scratch);
}

/* What was decoded is not needed any more: a large one makes room for what comes. */
static void let_go(struct buf *source)
{
    if (source->cap > DECODER_KEEP_BYTES)
        buf_done(source);
}

int decoder_inflate(struct decoder *d, const struct decode_request *q, struct span *out,
                    struct buf **source, struct error *err)
{
    if (q->coding == CODING_IDENTITY) {
        *out = q->payload;
        *source = q->body;
        return 0;
    }
    int rc = coding_decode(d->coder, q->coding, q->payload, &d->inflated, q->max_bytes);
    if (rc < 0)
        return err_set(err, rc, rc == ERR_MALFORMED ? "the body is not sound %s" : "%s",
                       rc == ERR_MALFORMED ? coding_name(q->coding) : err_text(rc));
    *out = buf_span(&d->inflated);
    *source = &d->inflated;
    let_go(q->body);
    return 0;
}

/* The request as sound protobuf, and what of it had to be mended. */
static int read_logs(struct decoder *d, struct decode_logs *q, struct error *err)
{
    bool is_json = q->is_json && q->request.len > 0;
    int rc = is_json && !q->looks ? ERR_MALFORMED : logs_check(q->request, &q->count);
    if (rc == 0 || (!is_json && !q->may_mend))
        return rc;
    if (is_json)
        rc = json_logs_decode(d->json, q->source, &d->transcoded, &q->count,
                              q->may_mend ? &q->mended : NULL, err);
    else
        rc = logs_mend(q->request, &d->transcoded, &q->count, &q->mended);
    q->request = buf_span(&d->transcoded);
    if (rc == 0)
        let_go(q->source);
    q->has_nothing = rc == 0 && is_json && q->count.records == 0 && q->count.foreign > 0 &&
                     q->mended.rejected == 0;
    return rc;
}

int decoder_logs(struct decoder *d, struct decode_logs *q, struct error *err)
{
    int rc = read_logs(d, q, err);
    if (rc == 0 && q->mended.rejected > 0 && q->count.records == 0)
        rc = err_set(err, q->mended.code, "%s", q->mended.first.text); /* nothing of it is good */
    return rc;
}

void decoder_release(struct decoder *d)
{
    decoder_clear(&d->inflated);
    decoder_clear(&d->transcoded);
}

struct decoder *decoder_new(struct budget *budget)
{
    struct decoder *d = calloc(1, sizeof *d);
    if (d == NULL)
        return NULL;
    d->inflated.budget = d->transcoded.budget = budget;
    d->json = json_decoder_new(budget);
    d->coder = coder_new();
    if (d->json != NULL && d->coder != NULL)
        return d;
    decoder_free(d);
    return NULL;
}

void decoder_free(struct decoder *d)
{
    if (d == NULL)
        return;
    json_decoder_free(d->json);
    coder_free(d->coder);
    buf_done(&d->inflated);
    buf_done(&d->transcoded);
    free(d);
}
