/* gRPC framing and the encodings of its header fields. */
#include <assert.h>

#include "otlp/grpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span in = span_of(data, size);
    struct grpc_message m = {0};
    if (grpc_message(in, 100000, &m) == GRPC_OK) {
        assert(m.bytes.len + GRPC_PREFIX_BYTES == size && m.bytes.len <= 100000);
        assert(size < 1 || m.is_compressed == (data[0] == 1));
    }
    grpc_is_content_type(in);
    grpc_is_protobuf(in);
    uint64_t ms = 0;
    if (grpc_timeout(in, &ms) == 0) /* 99,999,999 hours */
        assert(ms <= UINT64_C(99999999) * 3600 * 1000);
    struct span name = SPAN("untouched");
    if (grpc_health_service(in, &name) == 0 && name.len > 0)
        assert(name.base >= data && name.base + name.len <= data + size);

    struct buf b = {0};
    grpc_append_percent(&b, in);
    assert(b.err == 0 && b.len >= size && b.len <= 3 * size);
    for (size_t i = 0; i < b.len; i++)
        assert(b.base[i] >= ' ' && b.base[i] <= '~');
    buf_clear(&b);
    grpc_append_base64(&b, in);
    assert(b.len == (size * 4 + 2) / 3);
    buf_done(&b);
    return 0;
}
