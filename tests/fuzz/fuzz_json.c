/* fuzz_json: any bytes as OTLP/JSON. What is accepted is a sound request, no
 * longer than the text; what is refused has a message and leaves no trace. */
#include <assert.h>
#include <stdlib.h>

#include "otlp/json.h"
#include "otlp/logs.h"
#include "unit/otlp/pb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is refused is read again, with what can be kept: that is a sound request too. */
static void check_mended(struct json_decoder *d, struct buf *json, int strict)
{
    struct logs_mended mended = {0};
    struct logs_count wrote, count;
    struct error err = {{0}};
    struct buf out = {.budget = json->budget};
    int rc = json_logs_decode(d, json, &out, &wrote, &mended, &err);
    if (rc == 0) {
        assert(logs_check(buf_span(&out), &count) == 0 && count.records == wrote.records);
        assert(count.record_bytes == wrote.record_bytes && err.text[0] == '\0');
        uint64_t in_tally = 0;
        const struct logs_rejected *rows = (const void *)mended.tally.base;
        for (size_t i = 0; i < mended.tally.len / sizeof *rows; i++) {
            assert(rows[i].resource_index < count.resources);
            in_tally += rows[i].records;
        }
        assert(in_tally == mended.rejected);
    } else {
        assert(strict < 0 && out.len == 0 && err.text[0] != '\0');
    }
    assert(strict < 0 || mended.rejected == 0);
    buf_done(&out);
    logs_mended_done(&mended);
}

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
    int rc = json_logs_decode(d, &json, &out, &wrote, NULL, &err);
    if (rc == 0) {
        assert(logs_check(buf_span(&out), &count) == 0 && count.resources == wrote.resources &&
               count.scopes == wrote.scopes);
        assert(count.records == wrote.records && count.largest == wrote.largest);
        assert(count.record_bytes == wrote.record_bytes);
        assert(out.len <= size);
        pb_request *q = pb_unpack(buf_span(&out));
        assert(q != NULL || pb_request_has_twins(buf_span(&out)));
        pb_free(q);
    } else {
        assert(out.len == 0 && err.text[0] != '\0');
        assert(rc != ERR_TOO_BIG && rc != ERR_NOMEM && rc != ERR_FULL);
    }
    check_mended(d, &json, rc);
    buf_done(&json);
    buf_done(&out);
    json_decoder_free(d);
    assert(budget.used == 0);
    return 0;
}
