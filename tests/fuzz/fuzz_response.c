/* What an upstream answers, in both forms: the first byte says which. */
#include <assert.h>

#include "otlp/response.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct response r;
    if (size == 0)
        return 0;
    int rc = response_decode(
        &r, data[0] % 2 == 0 ? SPAN("application/x-protobuf") : SPAN("application/json"),
        span_of(data + 1, size - 1));
    assert(rc >= 0 || (r.rejected == 0 && r.message_len == 0));
    assert(r.rejected <= INT64_MAX && r.message_len <= sizeof r.message);
    return 0;
}
