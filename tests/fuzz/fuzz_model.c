/* fuzz_model: what a language model's endpoint answers, in both forms, and the text alone. Whatever
 * it is, each rate that comes of it lies between that of now and the proposed one, and texts are
 * bounded and without control characters. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "server/analyst.h"
#include "server/llm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text, size_t most)
{
    size_t n = strlen(text);
    assert(n <= most);
    for (size_t i = 0; i < n; i++)
        assert((uint8_t)text[i] >= ' ' && text[i] != 0x7f);
}

static void answer(struct span text)
{
    static struct analysis a; /* 30 kB */
    const struct analyst_item items[] = {
        {.signature = "one", .level = "INFO", .bytes = 5, .now = 1, .proposed = 0.25},
        {.signature = "two", .level = "WARN", .bytes = 9, .now = 0.1, .proposed = 0.4},
    };
    const char *why = NULL;
    memset(&a, 0, sizeof a);
    for (size_t i = 0; i < ARRAY_LEN(items); i++)
        analysis_add(&a, &items[i]);
    int rc = analysis_take(&a, text, &why);
    assert(rc == 0 || (rc == ERR_MALFORMED && why != NULL));
    assert(a.has_chosen == (rc == 0));
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        double low = fmin(items[i].now, items[i].proposed);
        double high = fmax(items[i].now, items[i].proposed);
        double rate =
            analysis_rate(&a, span_str(items[i].signature), items[i].now, items[i].proposed);
        assert(rate >= low && rate <= high);
        check_text(a.items[i].reason, ANALYST_REASON_BYTES);
        /* The proposal has changed meanwhile. */
        rate = analysis_rate(&a, span_str(items[i].signature), 0.6, 0.5);
        assert(rate >= 0.5 && rate <= 0.6);
    }
    check_text(a.summary, ANALYST_SUMMARY_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span body = {data, size};
    for (int as_anthropic = 0; as_anthropic < 2; as_anthropic++) {
        struct buf text = {.max_bytes = 256 << 10};
        const char *why = NULL;
        int rc = llm_read(&text, as_anthropic != 0, body, &why);
        assert(rc == 0 || rc == ERR_TOO_BIG || (rc == ERR_MALFORMED && why != NULL));
        if (rc == 0)
            answer(buf_span(&text));
        buf_done(&text);
    }
    answer(body);
    return 0;
}
