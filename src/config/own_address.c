/* own_address: hosts and ports, compared. */
#include "config/own_address.h"

#include <arpa/inet.h>
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

/* As a number, in every form that curl takes: 127.0.0.1, 127.1, 2130706433, 0x7f.1, ::1. */
static bool is_number_of_this_machine(const char *host)
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_aton(host, &four) != 0) {
        uint32_t address = ntohl(four.s_addr);
        return address >> 24 == IN_LOOPBACKNET || address == INADDR_ANY;
    }
    if (inet_pton(AF_INET6, host, &six) != 1)
        return false;
    bool is_mapped = IN6_IS_ADDR_V4MAPPED(&six);
    return IN6_IS_ADDR_LOOPBACK(&six) || IN6_IS_ADDR_UNSPECIFIED(&six) ||
           (is_mapped && (six.s6_addr[12] == IN_LOOPBACKNET || six.s6_addr[12] == 0));
}

static bool is_this_machine(struct span host)
{
    static const char *const names[] = {"", "localhost", "localhost.", "localhost.localdomain",
                                        "ip6-localhost"};
    char text[INET6_ADDRSTRLEN];
    struct span domain = SPAN(".localhost"); /* RFC 6761: all names in it */
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (span_ieq(host, span_str(names[i])))
            return true;
    if (host.len > domain.len && span_ieq(span_skip(host, host.len - domain.len), domain))
        return true;
    if (host.len >= sizeof text)
        return false;
    memcpy(text, host.base, host.len);
    text[host.len] = '\0';
    return is_number_of_this_machine(text);
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
