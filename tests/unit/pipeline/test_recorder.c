#include "unit/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "pipeline/recorder.h"
#include "util/rng.h"

#define RING 65536
#define WINDOW_MS 5000

static struct recorder *recorder(uint32_t max_records, uint32_t max_per_second,
                                 struct budget *budget)
{
    struct recorder *r = NULL;
    const struct recorder_opts opts = {RING, WINDOW_MS, max_records, max_per_second, 7, budget};
    assert_int_equal(recorder_new(&r, &opts), 0);
    return r;
}

static struct logs_group group(const char *resource)
{
    return (struct logs_group){
        .resource = span_str(resource),
        .scope = SPAN("scope"),
        .resource_hash = resource[0],
        .scope_hash = 9,
    };
}

static void put(struct recorder *r, const char *resource, const char *trace, const char *bytes,
                uint64_t now_ms)
{
    struct logs_group g = group(resource);
    const struct recording it = {
        .bytes = span_str(bytes), .signature = 1, .family = 2, .service = 3};
    recorder_put(r, &g, span_str(trace), &it, now_ms);
}

/* What a trigger releases, as "a b c". */
static const char *released(struct recorder *r, const char *resource, const char *trace,
                            uint64_t now_ms)
{
    static char text[4096];
    struct recording found[RECORDER_RECORDS_MAX];
    struct logs_group g = group(resource);
    uint32_t n = recorder_find(r, &g, span_str(trace), now_ms, found);
    size_t len = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < n; i++) {
        struct logs_group stood = recorder_group(r, &found[i]);
        recorder_release(r, &found[i]);
        assert_true(stood.resource.len > 0 && span_eq(stood.scope, SPAN("scope")));
        assert_int_equal(stood.resource_hash, stood.resource.base[0]);
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s", i == 0 ? "" : " ",
                                (int)found[i].bytes.len, (const char *)found[i].bytes.base);
    }
    return text;
}

static void of_the_trace_or_of_the_instance(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 1 << 20);
    struct recorder *r = recorder(50, 100, &budget);
    assert_int_equal(budget.used, RING);
    put(r, "A", "trace-1", "a1", 1000);
    put(r, "A", "trace-2", "a2", 1001);
    put(r, "B", "trace-1", "b1", 1002);
    put(r, "A", "", "a3", 1003);
    put(r, "B", "", "b2", 1003);
    assert_string_equal(released(r, "A", "trace-3", 1004), "");
    assert_string_equal(released(r, "A", "trace-1", 1004), "a1 b1"); /* a trace crosses services */
    assert_string_equal(released(r, "A", "trace-1", 1004), "");      /* once */
    assert_string_equal(released(r, "A", "", 1004), "a2 a3");
    assert_string_equal(released(r, "C", "", 1004), "");
    assert_string_equal(released(r, "B", "", 1004), "b2");
    assert_int_equal(recorder_stats(r, 1005).released, 5);
    assert_int_equal(recorder_stats(r, 1005).span_ms, 5);
    recorder_free(r);
    assert_int_equal(budget.used, 0);
}

static void no_older_than_the_window_and_no_more_than_asked(void **state)
{
    (void)state;
    struct recorder *r = recorder(3, 5, NULL);
    char text[8];
    put(r, "A", "", "old", 1000);
    for (int i = 0; i < 6; i++) {
        snprintf(text, sizeof text, "%d", i);
        put(r, "A", "", text, 2000 + (uint64_t)i);
    }
    assert_string_equal(released(r, "A", "", 6001), "3 4 5"); /* the last ones */
    put(r, "A", "", "6", 6002);
    put(r, "A", "t", "7", 6002);
    put(r, "A", "", "8", 6002);
    assert_string_equal(released(r, "A", "", 6002), "7 8"); /* five a second in all */
    assert_int_equal(recorder_stats(r, 6002).limited, 1);
    put(r, "A", "", "9", 6002);
    assert_string_equal(released(r, "A", "", 6002 + WINDOW_MS + 1), "");
    assert_string_equal(released(r, "A", "", 6002 + WINDOW_MS), "9");
    recorder_free(r);
}

/* Against a list of everything that was ever put. */
static void the_ring_gives_what_was_put_or_nothing(void **state)
{
    (void)state;
    enum { RECORDS = 20000, TRACES = 40, PLACES = 5 };
    static char texts[RECORDS][16];
    static unsigned trace_of[RECORDS];
    static bool out[RECORDS];
    struct recorder *r = recorder(RECORDER_RECORDS_MAX, UINT32_MAX, NULL);
    struct rng rng = {.state = 11};
    struct buf big = {0};
    unsigned found_all = 0;
    memset(out, 0, sizeof out);
    for (unsigned i = 0; i < RECORDS; i++) {
        char place[2] = {(char)('A' + rng_upto(&rng, PLACES - 1)), 0}, trace[16];
        trace_of[i] = (unsigned)rng_upto(&rng, TRACES - 1);
        snprintf(trace, sizeof trace, "trace %u", trace_of[i]);
        snprintf(texts[i], sizeof texts[i], "%u.", i);
        buf_clear(&big);
        buf_append_str(&big, texts[i]);
        for (uint64_t fill = rng_upto(&rng, 700); fill > 0; fill--)
            buf_append_byte(&big, '.');
        struct logs_group g = group(place);
        const struct recording it = {.bytes = buf_span(&big)};
        recorder_put(r, &g, span_str(trace), &it, 1000 + i);
        if (rng_upto(&rng, 9) != 0)
            continue;
        struct recording found[RECORDER_RECORDS_MAX];
        uint32_t n = recorder_find(r, &g, span_str(trace), 1000 + i, found);
        unsigned last = 0;
        for (uint32_t k = 0; k < n; k++) {
            unsigned number = (unsigned)strtoul((const char *)found[k].bytes.base, NULL, 10);
            assert_int_equal(trace_of[number], trace_of[i]);
            assert_false(out[number]);
            assert_true(k == 0 || number > last);
            last = number;
            out[number] = true;
            recorder_release(r, &found[k]);
        }
        assert_true(n > 0 && last == i); /* itself at least */
        found_all += n;
        assert_true(recorder_stats(r, 1000 + i).bytes <= RING);
    }
    assert_true(found_all > RECORDS / 10);
    buf_done(&big);
    recorder_free(r);
}

static void what_is_too_large_is_left_out(void **state)
{
    (void)state;
    struct recorder *r = recorder(50, 100, NULL);
    static char text[RING / 8 + 2];
    memset(text, 'x', sizeof text - 1);
    put(r, "A", "t", text, 1000);
    assert_string_equal(released(r, "A", "t", 1000), "");
    struct budget budget;
    budget_init(&budget, RING - 1);
    const struct recorder_opts opts = {RING, 1, 1, 1, 7, &budget};
    struct recorder *none;
    assert_int_equal(recorder_new(&none, &opts), ERR_NOMEM);
    recorder_free(r);
    recorder_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_the_trace_or_of_the_instance),
        cmocka_unit_test(no_older_than_the_window_and_no_more_than_asked),
        cmocka_unit_test(the_ring_gives_what_was_put_or_nothing),
        cmocka_unit_test(what_is_too_large_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
