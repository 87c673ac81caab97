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
