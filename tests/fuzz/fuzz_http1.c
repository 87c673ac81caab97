/* HTTP/1 bytes, cut where the first byte says, to a service that echoes. */
#include <assert.h>

#include "net/http1.h"
#include "unit/net/probe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_wake(void *ctx)
{
    (void)ctx;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct probe probe;
    struct buf out = {0};
    if (size == 0)
        return 0;
    probe_init(&probe);
    probe.service.max_body_bytes = 100000;
    struct http1 *s = http1_new(&probe.service, (struct http_output){&out, NULL, on_wake});
    size_t step = data[0] % 64 + 1;
    struct span in = span_of(data + 1, size - 1);

    while (in.len > 0 && !http1_ops.is_over(s)) {
        size_t used = http1_ops.feed(s, span_of(in.base, in.len < step ? in.len : step));
        in = span_skip(in, used);
        assert(out.len < HTTP_OUT_HIGH_BYTES + 200000);
        if (probe.held != NULL)
            probe_release(&probe);
        else if (used == 0)
            assert(out.len >= HTTP_OUT_HIGH_BYTES);
        if (out.len >= HTTP_OUT_HIGH_BYTES)
            buf_clear(&out);
    }
    http1_ops.eof(s);
    http1_ops.free(s);
    buf_done(&out);
    assert(probe.budget.used == 0);
    return 0;
}
