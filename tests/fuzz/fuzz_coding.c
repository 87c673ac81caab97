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
    }
    assert(budget.used == 0 && budget.peak <= LIMIT);
    coder_free(c);
    return 0;
}
