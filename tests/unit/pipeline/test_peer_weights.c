#include "unit/test.h"

#include "pipeline/peer_weights.h"

static const struct peer_weights names = {3, {"sample_rate", "SampleRate", "log_count"}};

enum type { TEXT, INT, DOUBLE, FLAG };
struct pair {
    const char *key;
    enum type type;
    const char *text;
    double number;
};

static struct buf record_of(const struct pair *pairs, size_t n)
{
    struct buf record = {0};
    for (size_t i = 0; i < n; i++) {
        struct buf value = {0}, pair = {0};
        if (pairs[i].type == TEXT)
            wire_append_len(&value, 1, span_str(pairs[i].text));
        else if (pairs[i].type == DOUBLE)
            wire_append_double(&value, 4, pairs[i].number);
        else
            wire_append_varint(&value, pairs[i].type == INT ? 3 : 2,
                               (uint64_t)(int64_t)pairs[i].number);
        wire_append_len(&pair, 1, span_str(pairs[i].key));
        wire_append_len(&pair, 2, buf_span(&value));
        wire_append_len(&record, 6, buf_span(&pair));
        buf_done(&value);
        buf_done(&pair);
    }
    return record;
}

static double weight(const struct peer_weights *w, const struct pair *pairs, size_t n)
{
    struct buf bytes = record_of(pairs, n);
    struct log_record r;
    assert_int_equal(log_record_read(&r, buf_span(&bytes)), 0);
    peer_weights_apply(w, &r, buf_span(&bytes));
    const struct log_value *v = log_known(&r, LOG_ADJUSTED_COUNT);
    double found = v == NULL ? 0 : v->real;
    buf_done(&bytes);
    return found;
}

static void numbers_and_texts(void **state)
{
    static const struct {
        struct pair pair;
        double weight; /* 0: none */
    } rows[] = {
        {{"log_count", INT, NULL, 57}, 57},
        {{"sample_rate", TEXT, "10", 0}, 10},
        {{"SampleRate", INT, NULL, 10}, 10},
        {{"SampleRate", DOUBLE, NULL, 0.25}, 4},
        {{"sample_rate", TEXT, "0.5", 0}, 2},
        {{"sample_rate", TEXT, "1", 0}, 1},
        {{"samplerate", INT, NULL, 10}, 0},
        {{"sample_rate", TEXT, "ten", 0}, 0},
        {{"sample_rate", TEXT, "10 %", 0}, 0},
        {{"sample_rate", TEXT, "", 0}, 0},
        {{"sample_rate", TEXT, "nan", 0}, 0},
        {{"sample_rate", TEXT, "inf", 0}, 0},
        {{"sample_rate", TEXT, "1000000000000000000000000000000000000000000", 0}, 0},
        {{"log_count", INT, NULL, 0}, 0},
        {{"log_count", INT, NULL, -3}, 0},
        {{"log_count", FLAG, NULL, 1}, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        double found = weight(&names, &rows[i].pair, 1);
        assert_row(found == rows[i].weight, "row %zu: %g", i, found);
    }
}

static void the_first_name_and_no_other_weight(void **state)
{
    static const struct pair both[] = {
        {"log_count", INT, NULL, 57}, {"other", INT, NULL, 3}, {"sample_rate", TEXT, "10", 0}};
    static const struct pair twice[] = {{"log_count", INT, NULL, 5}, {"log_count", INT, NULL, 6}};
    static const struct pair bad_first[] = {{"sample_rate", TEXT, "x", 0},
                                            {"log_count", INT, NULL, 6}};
    static const struct pair usual[] = {{"otel.logs.adjusted_count", DOUBLE, NULL, 2},
                                        {"log_count", INT, NULL, 57}};
    (void)state;
    assert_true(weight(&names, both, ARRAY_LEN(both)) == 10);
    assert_true(weight(&names, twice, ARRAY_LEN(twice)) == 6);
    assert_true(weight(&names, bad_first, ARRAY_LEN(bad_first)) == 6);
    assert_true(weight(&names, usual, ARRAY_LEN(usual)) == 2);
    assert_true(weight(&(struct peer_weights){0}, both, ARRAY_LEN(both)) == 0);
    assert_true(weight(&names, NULL, 0) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_texts),
        cmocka_unit_test(the_first_name_and_no_other_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
