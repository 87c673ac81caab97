/* An expression up to the first line feed, and a text behind it: each match lies in the text and
 * begins behind the one before, and contains the literal that was found in the expression. */
#include <assert.h>
#include <string.h>

#include "util/regex.h"
#include "util/regex_syntax.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
    return 0;
}
