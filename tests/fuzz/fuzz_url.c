/* Any bytes as a host, a URL and an escaped text: what is ours by its name stays ours with a port
 * behind it, parts of a URL lie within it, and what was encoded comes back. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "net/host.h"
#include "net/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LISTED "other.example,listed.example"

static void check_host(struct span host)
{
    bool listed = host_is_ours(host, HOST_LISTED, LISTED);
    bool undotted = host_is_ours(host, HOST_UNDOTTED, LISTED);
    assert(!listed || undotted); /* more names, not fewer */
    assert(!host_is_ours(host, HOST_LISTED, NULL) || listed);
    if (host.len > 0 && memchr(host.base, ':', host.len) == NULL) {
        struct buf named = {0};
        buf_append(&named, host);
        buf_append_str(&named, ":4318");
        assert(host_is_ours(buf_span(&named), HOST_LISTED, LISTED) == listed);
        assert(host_is_sound(buf_span(&named)) == host_is_sound(host));
        buf_done(&named);
    }
}

static void check_url(const char *url)
{
    size_t len = strlen(url);
    struct span authority = url_authority(url), base = url_base(url);
    assert((const char *)authority.base >= url &&
           (const char *)authority.base + authority.len <= url + len);
    assert(memchr(authority.base, '@', authority.len) == NULL);
    assert(base.len <= len && (base.len == 0 || base.base[base.len - 1] != '/'));
    char *header = url_bearer(url);
    assert(header != NULL && strlen(header) == strlen("Authorization: Bearer ") + len);
    assert(!host_is_loopback(url) || len > 3);
    free(header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = span_of(data, size);
    char small[8], *url = malloc(size + 1), *back = malloc(size + 1);
    struct buf encoded = {0};
    assert(url != NULL && back != NULL);
    check_host(text);
    memcpy(url, data, size);
    url[size] = '\0';
    check_url(url);
    int rc = url_decode(text, small, sizeof small);
    assert(rc == 0 || rc == ERR_MALFORMED || rc == ERR_TOO_BIG);
    assert(rc < 0 || strlen(small) < sizeof small);
    url_append_encoded(&encoded, span_str(url));
    rc = url_decode(buf_span(&encoded), back, size + 1);
    assert(rc == 0 && strcmp(back, url) == 0);
    buf_done(&encoded);
    free(back);
    free(url);
    return 0;
}
