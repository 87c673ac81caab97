/* An expression up to the first line feed, and a text behind it: each match lies in the text and
 * begins behind the one before, and contains the literal that was found in the expression. */
#include <assert.h>
#include <string.h>

#include "util/regex.h"
#include "util/regex_syntax.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The text as a whole: what a group matched lies in it. */
static void search(struct span pattern, struct span text)
{
    struct regex *re;
    struct regex_match m;
    if (regex_new(&re, pattern, REGEX_EMPTY | REGEX_CASELESS | REGEX_DOTALL, NULL) < 0)
        return;
    assert(regex_search(re, text, text.len + 1, &m) == 0);
    int rc = regex_search(re, text, 0, &m);
    assert(rc == 0 || rc == 1 || rc == ERR_TOO_BIG);
    if (rc == 1) {
        assert(m.at <= text.len && m.len <= text.len - m.at);
        for (unsigned number = 0; number < 4; number++) {
            struct span group = regex_group(re, text, number);
            assert(group.len == 0 || (group.base >= text.base && group.len <= text.len &&
                                      group.base + group.len <= text.base + text.len));
        }
        struct span secret = regex_group_named(re, text, SPAN("secret"));
        assert(secret.len <= text.len && regex_group_named(re, text, SPAN("")).len == 0);
    }
    regex_free(re);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *feed = size > 0 ? memchr(data, '\n', size) : NULL;
    if (feed == NULL)
        return 0;
    struct span pattern = span_of(data, (size_t)(feed - data));
    struct span text = span_skip(span_of(data, size), pattern.len + 1);
    struct regex *re;
    struct regex_literal literal;
    struct regex_match m;
    if (regex_new(&re, pattern, 0, NULL) < 0)
        return 0;
    assert(regex_syntax_check(pattern, &literal, NULL) == 0);
    for (size_t from = 0; regex_next(re, text, from, &m); from = m.at + m.len) {
        assert(m.at >= from && m.len > 0 && m.len <= text.len - m.at);
        assert(m.is_given_up ||
               memmem(text.base + from, text.len - from, literal.text, literal.len) != NULL);
    }
    regex_free(re);
    search(pattern, text);
    return 0;
}
