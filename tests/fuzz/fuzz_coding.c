/* Compressed bytes of each coding: never more than the limit comes out, at no more cost. */
#include <assert.h>

#include "net/coding.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { LIMIT = 100000 };
    struct coder *c = coder_new();
    struct budget budget;
    budget_init(&budget, 2 * LIMIT);
    for (int coding = CODING_IDENTITY; coding <= CODING_ZSTD; coding++) {
        struct buf out = {.budget = &budget};
        int rc = coding_decode(c, (enum coding)coding, span_of(data, size), &out, LIMIT);
        assert(rc <= 0 && out.len <= LIMIT && (rc == 0 || out.len == 0));
        buf_done(&out);

        struct buf packed = {0}, again = {0}; /* and what is packed is the same again */
        rc = coding_encode(c, (enum coding)coding, span_of(data, size), &packed);
        assert(rc == 0);
        rc = coding_decode(c, (enum coding)coding, buf_span(&packed), &again, size + 1);
        assert(rc == 0 && span_eq(buf_span(&again), span_of(data, size)));
        enum coding named;
        rc = coding_parse(span_str(coding_name((enum coding)coding)), &named);
        assert(rc == 0 && (int)named == coding);
        buf_done(&packed);
        buf_done(&again);
    }
    enum coding ignored;
    int rc = coding_parse(span_of(data, size), &ignored); /* a header's value */
    assert(rc <= 0);
    assert(budget.used == 0 && budget.peak <= LIMIT);
    coder_free(c);
    return 0;
}
