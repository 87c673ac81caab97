/* Any bytes as the query of a page: a parameter's text is UTF-8 without NUL, and as long as its
 * room at most; what was encoded comes back. */
#include <assert.h>

#include "net/page.h"
#include "net/url.h"
#include "util/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of(data, size);
    char out[64], again[64];
    struct buf query = {0};
    struct span value = page_query(text, "limit");
    assert(value.len <= size);
    int rc = page_query_text(text, "service", out, sizeof out);
    assert(rc == 0 || rc == ERR_TOO_BIG || rc == ERR_MALFORMED);
    if (rc == 0) {
        assert(strlen(out) < sizeof out &&
               utf8_check_from((const uint8_t *)out, (const uint8_t *)out + strlen(out)));
        buf_append_str(&query, "x=1&service=");
        url_append_encoded(&query, span_str(out));
        rc = page_query_text(buf_span(&query), "service", again, sizeof again);
        assert(rc == 0 && strcmp(out, again) == 0);
    }
    buf_done(&query);
    return 0;
}
