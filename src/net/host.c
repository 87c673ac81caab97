/* host: names by their spelling; nothing is looked up. */
#include "net/host.h"

#include "util/words.h"

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static size_t digits_at_end(struct span s)
{
    size_t n = 0;
    while (n < s.len && is_digit(s.base[s.len - 1 - n]))
        n++;
    return n;
}

static struct span without_port(struct span host)
{
    size_t digits = digits_at_end(host);
    if (digits < host.len && host.base[host.len - 1 - digits] == ':')
        host.len -= digits + 1;
    return host;
}

static bool is_ipv4(struct span host)
{
    for (size_t i = 0; i < host.len; i++)
        if (!is_digit(host.base[i]) && host.base[i] != '.')
            return false;
    return host.len > 0;
}

/* Loosely: hexadecimal digits, colons, and dots of an IPv4 tail. In brackets, or without: Node's
 * HTTP/2 client forgets them. */
static bool is_ipv6(struct span host)
{
    size_t colons = 0;
    if (host.len > 2 && host.base[0] == '[' && host.base[host.len - 1] == ']')
        host = span_of(host.base + 1, host.len - 2);
    for (size_t i = 0; i < host.len; i++) {
        if (host.base[i] == '\0' || strchr("0123456789abcdefABCDEF:.", host.base[i]) == NULL)
            return false;
        colons += host.base[i] == ':';
    }
    return colons >= 2;
}

static bool ends_in(struct span s, struct span end)
{
    return s.len >= end.len && span_ieq(span_skip(s, s.len - end.len), end);
}

bool host_is_loopback(const char *addr)
{
    return strncasecmp(addr, "localhost:", 10) == 0 || strncmp(addr, "127.", 4) == 0 ||
           strncmp(addr, "[::1]:", 6) == 0;
}

bool host_is_ours(struct span host, enum host_names names, const char *listed)
{
    host = without_port(host);
    if (host.len > 1 && host.base[host.len - 1] == '.')
        host.len--; /* the root of all names */
    if (host.len == 0 || is_ipv6(host) || is_ipv4(host) || span_ieq(host, SPAN("localhost")) ||
        ends_in(host, SPAN(".localhost")))
        return true;
    if (names == HOST_UNDOTTED && memchr(host.base, '.', host.len) == NULL)
        return true;
    struct span rest = span_str(listed != NULL ? listed : ""), name;
    while (words_next(&rest, &name))
        if (span_ieq(host, name))
            return true;
    return false;
}

bool host_is_sound(struct span host)
{
    bool had_port =
        memchr(host.base != NULL ? host.base : (const uint8_t *)"", ':', host.len) != NULL;
    struct span name = without_port(host);
    if (name.len == 0) /* "Host:" is of a target without authority; ":80" of nothing */
        return !had_port;
    if (is_ipv6(name))
        return true;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.base[i];
        if (c <= ' ' || c >= 0x7f || strchr("\"#/:<>?@[\\]^`{|}", c) != NULL)
            return false;
    }
    return true;
}
