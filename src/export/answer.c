/* answer: the status table. */
#include "export/answer.h"

#include <time.h>

static const struct {
    int from, to; /* inclusive; first match wins */
    enum answer answer;
} table[] = {
    /* clang-format off */
    {200, 299, ANSWER_ACCEPT},      /* whatever the body says: PostHog answers {} */
    {300, 399, ANSWER_ASTRAY},      /* a redirect means a wrong host, and is never followed */
    {400, 400, ANSWER_ISOLATE},     /* PostHog: one record that it cannot read costs the request */
    {401, 401, ANSWER_HOLD},        /* the key: a matter of configuration, not of these records */
    {403, 403, ANSWER_HOLD},
    {404, 404, ANSWER_ASTRAY},      /* the address takes no logs: the records are not at fault */
    {405, 405, ANSWER_ASTRAY},
    {407, 407, ANSWER_HOLD},        /* the proxy's: likewise a matter of proxy_url */
    {408, 408, ANSWER_RETRY},
    {413, 413, ANSWER_SPLIT},
    {415, 415, ANSWER_RECODE},
    {421, 421, ANSWER_RETRY},       /* RFC 9110 15.5.20: over another connection */
    {422, 422, ANSWER_ISOLATE},
    {425, 425, ANSWER_RETRY},       /* RFC 8470 5.2: it may be a replay of early data now; not later */
    {429, 429, ANSWER_RETRY},
    {400, 499, ANSWER_DROP},
    {500, 500, ANSWER_SPLIT_LATER}, /* PostHog: Kafka is away, or the batch is too large for it */
    {501, 501, ANSWER_DROP},        /* not implemented, and not soon */
    {505, 505, ANSWER_DROP},
    {500, 599, ANSWER_RETRY},
    /* clang-format on */
};

enum answer answer_of_status(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (status >= table[i].from && status <= table[i].to)
            return table[i].answer;
    return ANSWER_DROP;
}

const char *answer_text(enum answer a)
{
    static const char *const texts[] = {
#define X(name, text) [ANSWER_##name] = text,
        ANSWERS(X)
#undef X
    };
    return texts[a];
}

uint64_t backoff_ms(struct rng *rng, uint32_t attempts)
{
    uint64_t ceiling = BACKOFF_CAP_MS;
    if (attempts >= 1 && attempts < 16 && (BACKOFF_BASE_MS << (attempts - 1)) < BACKOFF_CAP_MS)
        ceiling = BACKOFF_BASE_MS << (attempts - 1);
    return rng_upto(rng, ceiling);
}

static uint64_t cap(uint64_t ms)
{
    return ms < RETRY_AFTER_CAP_MS ? ms : RETRY_AFTER_CAP_MS;
}

uint64_t retry_after_ms(struct span value, uint64_t unix_ns)
{
    char text[64];
    if (value.len == 0 || value.len >= sizeof text)
        return 0;
    memcpy(text, value.base, value.len);
    text[value.len] = '\0';

    uint64_t seconds = 0;
    size_t digits = 0;
    for (; digits < value.len && text[digits] >= '0' && text[digits] <= '9'; digits++)
        if (seconds * 1000 <
            RETRY_AFTER_CAP_MS) /* as long as it may wait: more digits change nothing */
            seconds = seconds * 10 + (uint64_t)(text[digits] - '0');
    if (digits == value.len)
        return cap(seconds * 1000);

    /* RFC 9110 5.6.7: IMF-fixdate is what may be sent; the two older forms must be read. */
    static const char *const forms[] = {
        "%a, %d %b %Y %H:%M:%S GMT",
        "%A, %d-%b-%y %H:%M:%S GMT",
        "%a %b %d %H:%M:%S %Y",
    };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct tm tm = {0};
        const char *end = strptime(text, forms[i], &tm);
        if (end == NULL || *end != '\0')
            continue;
        int64_t at_ms = (int64_t)timegm(&tm) * 1000, now_ms = (int64_t)(unix_ns / 1000000);
        return at_ms > now_ms ? cap((uint64_t)(at_ms - now_ms)) : 0;
    }
    return 0;
}
