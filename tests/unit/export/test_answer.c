#include "unit/test.h"

#include "export/answer.h"

static void every_status(void **state)
{
    (void)state;
    static const struct {
        int from, to;
        enum answer answer;
    } rows[] = {
        {-1, -1, ANSWER_DROP},     {0, 0, ANSWER_DROP},
        {100, 199, ANSWER_DROP},   {200, 299, ANSWER_ACCEPT},
        {300, 399, ANSWER_ASTRAY}, {400, 400, ANSWER_ISOLATE},
        {401, 401, ANSWER_HOLD},   {402, 402, ANSWER_DROP},
        {403, 403, ANSWER_HOLD},   {404, 405, ANSWER_ASTRAY},
        {406, 406, ANSWER_DROP},   {407, 407, ANSWER_HOLD},
        {408, 408, ANSWER_RETRY},  {409, 412, ANSWER_DROP},
        {413, 413, ANSWER_SPLIT},  {414, 414, ANSWER_DROP},
        {415, 415, ANSWER_RECODE}, {416, 420, ANSWER_DROP},
        {421, 421, ANSWER_RETRY},  {422, 422, ANSWER_ISOLATE},
        {423, 424, ANSWER_DROP},   {425, 425, ANSWER_RETRY},
        {426, 428, ANSWER_DROP},   {429, 429, ANSWER_RETRY},
        {430, 499, ANSWER_DROP},   {500, 500, ANSWER_SPLIT_LATER},
        {501, 501, ANSWER_DROP},   {502, 504, ANSWER_RETRY},
        {505, 505, ANSWER_DROP},   {506, 599, ANSWER_RETRY},
        {600, 999, ANSWER_DROP},
    };
    int checked = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (int s = rows[i].from; s <= rows[i].to; s++, checked++)
            assert_row(answer_of_status(s) == rows[i].answer, "%d", s);
    assert_int_equal(checked, 902);
    for (int a = 0; a < ANSWER_COUNT; a++)
        assert_true(strlen(answer_text((enum answer)a)) > 0);
}

static void retry_after(void **state)
{
    (void)state;
    const uint64_t now = 784111777ull * 1000000000; /* Sun, 06 Nov 1994 08:49:37 GMT */
    static const struct {
        const char *text;
        uint64_t ms;
    } rows[] = {
        {"", 0},
        {"0", 0},
        {"1", 1000},
        {"120", 120000},
        {"900", RETRY_AFTER_CAP_MS},
        {"901", RETRY_AFTER_CAP_MS},
        {"99999999999999999999999", RETRY_AFTER_CAP_MS},
        {"-1", 0},
        {"1.5", 0},
        {"5 s", 0},
        {"soon", 0},
        {"Sun, 06 Nov 1994 08:50:37 GMT", 60000},
        {"Sunday, 06-Nov-94 08:50:37 GMT", 60000},
        {"Sun Nov  6 08:50:37 1994", 60000},
        {"Sun, 06 Nov 1994 08:49:37 GMT", 0},
        {"Sun, 06 Nov 1994 08:49:36 GMT", 0},
        {"Mon, 06 Nov 1995 08:49:37 GMT", RETRY_AFTER_CAP_MS},
        {"Sun, 06 Nov 1994 08:50:37 GMT and more", 0},
        {"Sun, 06 Nov 1994 08:50:37", 0},
        {"Sun, 66 Nov 1994 08:50:37 GMT", 0},
        {"Sun, 06 Nov 1994 08:50:37 GMT------------------------------------------", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_row(retry_after_ms(span_str(rows[i].text), now) == rows[i].ms, "'%s': %llu",
                   rows[i].text, (unsigned long long)retry_after_ms(span_str(rows[i].text), now));
}

static void backoff_doubles_to_its_cap(void **state)
{
    (void)state;
    static const struct {
        uint32_t attempts;
        uint64_t most_ms;
    } rows[] = {
        {1, 1000},  {2, 2000},   {3, 4000},   {4, 8000},   {5, 16000},          {6, 30000},
        {7, 30000}, {31, 30000}, {32, 30000}, {33, 30000}, {UINT32_MAX, 30000},
    };
    struct rng rng = {.state = 9};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t least = UINT64_MAX, most = 0;
        for (int n = 0; n < 2000; n++) {
            uint64_t ms = backoff_ms(&rng, rows[i].attempts);
            least = ms < least ? ms : least;
            most = ms > most ? ms : most;
        }
        assert_row(most <= rows[i].most_ms && most > rows[i].most_ms * 9 / 10, "%u: %llu",
                   rows[i].attempts, (unsigned long long)most);
        assert_row(least < rows[i].most_ms / 10, "%u", rows[i].attempts); /* full jitter */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status),
        cmocka_unit_test(retry_after),
        cmocka_unit_test(backoff_doubles_to_its_cap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
