/* HTTP/2 frames after a preface, cut where the first byte says, to a service that echoes. */
#include <assert.h>

#include "net/http2.h"
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
    struct http2 *s = http2_new(&probe.service, (struct http_output){&out, NULL, on_wake});
    size_t step = data[0] % 64 + 1;
    struct span in = span_of(data + 1, size - 1);

    http2_ops.feed(s, SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"));
    while (in.len > 0 && !http2_ops.is_over(s)) {
        struct span some = span_of(in.base, in.len < step ? in.len : step);
        in = span_skip(in, http2_ops.feed(s, some));
        if (probe.held != NULL)
            probe_release(&probe);
        clock_fake_advance(&probe.clock, 100);
        http2_ops.tick(s);
        buf_clear(&out);
    }
    http2_ops.eof(s);
    http2_ops.free(s);
    buf_done(&out);
    assert(probe.budget.used == 0);
    return 0;
}
