#include "unit/test.h"

#include <stdlib.h>

#include "otlp/grpc.h"
#include "otlp/response.h"
#include "otlp/status.h"
#include "util/rng.h"

#define PB "application/x-protobuf"
#define JS "application/json"
#define OK 0

static void what_is_written_is_read(void **state)
{
    (void)state;
    static const struct {
        int64_t rejected;
        const char *message;
    } rows[] = {
        {0, ""},    {1, ""}, {3, "no \"room\" \xe2\x82\xac"}, {0, "slow down"}, {INT64_MAX, "all"},
        {-5, "odd"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int form = STATUS_PROTOBUF; form <= STATUS_JSON; form++) {
            struct buf body = {0};
            struct response r;
            export_response_encode(rows[i].rejected, rows[i].message, (enum status_form)form,
                                   &body);
            int rc = response_decode(
                &r, form == STATUS_JSON ? SPAN(JS "; charset=utf-8") : SPAN(PB), buf_span(&body));
            assert_row(rc == 0, "%zu %d: %d", i, form, rc);
            uint64_t want = rows[i].rejected > 0 ? (uint64_t)rows[i].rejected : 0;
            assert_row(r.rejected == want, "%zu %d", i, form);
            assert_row(span_eq(span_of(r.message, r.message_len), span_str(rows[i].message)),
                       "%zu %d", i, form);
            buf_done(&body);
        }
    }
}

static void bodies(void **state)
{
    (void)state;
#define P(rejected) "{\"partialSuccess\":{\"rejectedLogRecords\":" rejected "}}"
    static const struct {
        const char *type;
        struct span body;
        int rc;
        uint64_t rejected;
    } rows[] = {
        {PB, SPAN(""), OK, 0},
        {PB, SPAN("\x0a\x02\x08\x05"), OK, 5},
        {"Application/X-Protobuf", SPAN("\x0a\x02\x08\x05"), OK, 5},
        {PB, SPAN("\x0a\x02\x08\x05\x0a\x02\x08\x06"), OK, 6}, /* twice: merged */
        {PB, SPAN("\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), OK, 0}, /* -1 */
        {PB, SPAN("\x1a\x01x\x0a\x04\x08\x05\x18\x01"), OK, 5}, /* unknown fields */
        {PB, SPAN("\x0a\x05\x08\x05"), ERR_MORE, 0},            /* cut short */
        {PB, SPAN("\x0a\x02\x08"), ERR_MORE, 0},
        {PB, SPAN("\x0a\x03\x0a\x01x"), ERR_MALFORMED, 0}, /* a count that is a string */
        {PB, SPAN("\x0a\x02\x10\x01"), ERR_MALFORMED, 0},  /* a message that is a number */
        {PB, SPAN("\x08\x01"), ERR_MALFORMED, 0},
        {PB, SPAN("<html>200 OK</html>"), ERR_MALFORMED, 0},
        {JS, SPAN(""), OK, 0},
        {JS, SPAN("{}"), OK, 0},
        {JS, SPAN("{\"partialSuccess\":{}}"), OK, 0},
        {JS, SPAN("{\"partialSuccess\":null}"), OK, 0},
        {JS, SPAN(P("7")), OK, 7},
        {JS, SPAN(P("\"7\"")), OK, 7},
        {JS, SPAN(P("\"-7\"")), OK, 0},
        {JS, SPAN(P("null")), OK, 0},
        {JS, SPAN("{\"partial_success\":{\"rejected_log_records\":\"7\",\"error_message\":\"x\"}}"),
         OK, 7},
        {JS, SPAN("{\"rejectedLogRecords\":7}"), OK, 0}, /* not in its place */
        {JS, SPAN("{\"other\":{\"rejectedLogRecords\":7}}"), OK, 0},
        {JS, SPAN(P("\"\"")), ERR_MALFORMED, 0},
        {JS, SPAN(P("\"-\"")), ERR_MALFORMED, 0},
        {JS, SPAN(P("\"7 \"")), ERR_MALFORMED, 0},
        {JS, SPAN(P("7.5")), ERR_MALFORMED, 0},
        {JS, SPAN(P("true")), ERR_MALFORMED, 0},
        {JS, SPAN(P("\"9223372036854775808\"")), ERR_MALFORMED, 0},
        {JS, SPAN(P("\"99999999999999999999\"")), ERR_MALFORMED, 0},
        {JS, SPAN("{\"partialSuccess\":[]}"), ERR_MALFORMED, 0},
        {JS, SPAN("{\"partialSuccess\":{\"rejectedLogRecords\":7"), ERR_MALFORMED, 0},
        {JS, SPAN("<html>200 OK</html>"), ERR_MALFORMED, 0},
        {"text/html", SPAN(P("7")), ERR_UNSUPPORTED, 0},
        {"application/jsonlines", SPAN(P("7")), ERR_UNSUPPORTED, 0},
        {"", SPAN(P("7")), ERR_UNSUPPORTED, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct response r;
        int rc = response_decode(&r, span_str(rows[i].type), rows[i].body);
        assert_row(rc == rows[i].rc && r.rejected == rows[i].rejected, "%zu: %d, %llu", i, rc,
                   (unsigned long long)r.rejected);
    }
}

static void a_long_message_is_cut(void **state)
{
    (void)state;
    struct buf body = {0};
    struct response r;
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    export_response_encode(1, text, STATUS_PROTOBUF, &body);
    assert_int_equal(response_decode(&r, SPAN(PB), buf_span(&body)), 0);
    assert_int_equal(r.message_len, RESPONSE_MESSAGE_BYTES);
    buf_done(&body);
}

/* Anything may come: never a crash, and never a count out of a refused body. */
static void noise(void **state)
{
    (void)state;
    struct rng rng = {.state = 5};
    static const char seed[] = "\x0a\x0a\x08\x05\x12\x06"
                               "a text{\"partialSuccess\":{\"rejectedLogRecords\":\"3\"}}";
    for (int i = 0; i < 20000; i++) {
        uint8_t body[sizeof seed];
        size_t from = rng_upto(&rng, sizeof seed - 1), len = rng_upto(&rng, sizeof seed - from);
        memcpy(body, seed + from, len);
        for (uint64_t n = rng_upto(&rng, 3); n > 0 && len > 0; n--)
            body[rng_upto(&rng, len - 1)] = (uint8_t)rng_next(&rng);
        uint8_t *exact = malloc(len > 0 ? len : 1); /* so that a byte too far is seen */
        memcpy(exact, body, len);
        struct response r;
        int rc = response_decode(&r, rng_upto(&rng, 1) ? SPAN(PB) : SPAN(JS), span_of(exact, len));
        assert_true(rc >= 0 || (r.rejected == 0 && r.message_len == 0));
        assert_true(r.message_len <= RESPONSE_MESSAGE_BYTES);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(bodies),
        cmocka_unit_test(a_long_message_is_cut),
        cmocka_unit_test(noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
