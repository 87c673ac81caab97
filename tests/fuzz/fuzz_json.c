/* fuzz_json: any bytes as OTLP/JSON. What is accepted is a sound request, no
 * longer than the text; what is refused has a message and leaves no trace. */
#include <assert.h>
#include <stdlib.h>

#include "otlp/json.h"
#include "otlp/logs.h"
#include "unit/otlp/pb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct budget budget;
    struct error err = {{0}};
    struct logs_count count;
    budget_init(&budget, 1 << 26);
    struct buf json = {.budget = &budget}, out = {.budget = &budget};
    struct json_decoder *d = json_decoder_new(&budget);

    buf_append(&json, (struct span){data, size});
    struct logs_count wrote;
    int rc = json_logs_decode(d, &json, &out, &wrote, &err);
    if (rc == 0) {
        assert(logs_check(buf_span(&out), &count) == 0 && count.resources == wrote.resources &&
               count.scopes == wrote.scopes);
        assert(count.records == wrote.records && count.largest == wrote.largest);
        assert(count.record_bytes == wrote.record_bytes);
        assert(out.len <= size);
        pb_request *q = pb_unpack(buf_span(&out));
        assert(q != NULL);
        pb_free(q);
    } else {
        assert(out.len == 0 && err.text[0] != '\0');
        assert(rc != ERR_TOO_BIG && rc != ERR_NOMEM && rc != ERR_FULL);
    }
    buf_done(&json);
    buf_done(&out);
    json_decoder_free(d);
    assert(budget.used == 0);
    return 0;
}
