/* own_address: hosts and ports, compared. */
#include "config/own_address.h"

#include <string.h>

#include "net/url.h"
#include "util/span.h"

struct place {
    struct span host; /* without brackets; empty: every address */
    struct span port;
};

static struct place place_of(struct span authority)
{
    struct place p = {authority, {0}};
    for (size_t i = authority.len; i-- > 0 && authority.base[i] != ']';) {
        if (authority.base[i] == ':') {
            p = (struct place){span_of(authority.base, i), span_skip(authority, i + 1)};
            break;
        }
    }
    if (p.host.len >= 2 && p.host.base[0] == '[')
        p.host = span_of(p.host.base + 1, p.host.len - 2);
    return p;
}

static struct place place_of_url(const char *url)
{
    bool tls = strncasecmp(url, "https://", 8) == 0;
    struct place p = place_of(url_authority(url));
    if (p.port.len == 0)
        p.port = tls ? SPAN("443") : SPAN("80");
    return p;
}

static bool is_this_machine(struct span host)
{
    static const char *const names[] = {"", "localhost", "localhost.", "0.0.0.0", "::", "::1"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (span_ieq(host, span_str(names[i])))
            return true;
    for (size_t i = 0; i < host.len; i++)
        if ((host.base[i] < '0' || host.base[i] > '9') && host.base[i] != '.')
            return false;
    return span_starts(host, SPAN("127."));
}

bool own_address_leads_here(const char *url, const char *const *listeners, size_t count)
{
    struct place to = place_of_url(url);
    for (size_t i = 0; i < count; i++) {
        struct place listener = place_of(span_str(listeners[i]));
        if (span_eq(to.port, listener.port) &&
            (span_ieq(to.host, listener.host) ||
             (is_this_machine(to.host) && is_this_machine(listener.host))))
            return true;
    }
    return false;
}
