/* An upstream's answer as the sender takes it: status, Retry-After, content type and body, from
 * lines of text. What it asks for is within limits, and no message is longer than its room. */
#include <assert.h>

#include "export/answer.h"
#include "export/posthog.h"
#include "net/url.h"
#include "otlp/response.h"
#include "util/buf.h"
#include "util/secret.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct span take_line(struct span *rest)
{
    size_t n = 0;
    while (n < rest->len && rest->base[n] != '\n')
        n++;
    struct span line = span_of(rest->base, n);
    *rest = span_skip(*rest, n < rest->len ? n + 1 : n);
    return line;
}

/* A location is only looked at: whose host is it? */
static void read_location(struct span location)
{
    struct buf text = {0};
    buf_append(&text, location);
    buf_append_byte(&text, '\0');
    const char *url = (const char *)text.base;
    struct span host = url_authority(url), base = url_base(url);
    assert(host.len <= strlen(url) && base.len <= strlen(url));
    const char *ingestion = posthog_ingestion_host(host);
    assert(ingestion == NULL || ingestion[0] != '\0');
    buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char secret[] = "canary-1234";
    struct buf copy = {0};
    struct response r;
    struct rng rng = {0};
    if (size < 2)
        return 0;
    int status = (data[0] << 8 | data[1]) % 1000;
    buf_append(&copy, span_of(data + 2, size - 2));
    secret_mask(buf_span(&copy), secret);
    assert(copy.len < sizeof secret - 1 ||
           memmem(copy.base, copy.len, secret, sizeof secret - 1) == NULL);
    struct span rest = buf_span(&copy), wait = take_line(&rest), type = take_line(&rest);
    read_location(take_line(&rest));
    enum answer answer = answer_of_status(status);
    assert(answer < ANSWER_COUNT && answer_text(answer)[0] != '\0');
    assert((answer == ANSWER_ACCEPT) == (status >= 200 && status < 300));
    assert(retry_after_ms(wait, 1700000000000000000u) <= RETRY_AFTER_CAP_MS);
    assert(backoff_ms(&rng, 1 + data[0]) <= BACKOFF_CAP_MS);
    int rc = response_decode(&r, type, rest);
    assert(rc >= 0 || (r.rejected == 0 && r.message_len == 0));
    assert(r.message_len <= sizeof r.message);
    buf_done(&copy);
    return 0;
}
