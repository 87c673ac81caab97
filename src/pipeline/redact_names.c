/* redact_names: endings of names. */
#include "pipeline/redact_names.h"

/* A name is secret when its last segment ends so. PostHog scrubs by these words, too. */
static const char *const endings[] = {
    "password",   "passwd",      "secret", "token",   "authorization", "cookie",
    "credential", "credentials", "apikey", "api_key", "private_key",   "privatekey",
};

/* By the last byte, in any case of letters, the ones before it: nearly all names end otherwise. */
#define BIT(byte) (UINT32_C(1) << ((byte)&31))
static const uint32_t last_two[32] = {
    ['d' & 31] = BIT('r') | BIT('w'), /* password passwd */
    ['t' & 31] = BIT('e'),            /* secret */
    ['n' & 31] = BIT('e') | BIT('o'), /* token authorization */
    ['e' & 31] = BIT('i'),            /* cookie */
    ['l' & 31] = BIT('a'),            /* credential */
    ['s' & 31] = BIT('l'),            /* credentials */
    ['y' & 31] = BIT('e'),            /* api_key apikey private_key */
};

static bool may_end(struct span name)
{
    return (last_two[name.base[name.len - 1] & 31] & BIT(name.base[name.len - 2])) != 0;
}

static uint8_t fold(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c | 0x20;
    return c == '-' ? '_' : c;
}

static bool same(struct span a, struct span b)
{
    size_t i = 0;
    if (a.len != b.len)
        return false;
    while (i < a.len && fold(a.base[i]) == fold(b.base[i]))
        i++;
    return i == a.len;
}

static bool ends_in(struct span name, struct span ending)
{
    return name.len >= ending.len && fold(name.base[name.len - 1]) == ending.base[ending.len - 1] &&
           same(span_skip(name, name.len - ending.len), ending);
}

static struct span last_segment(struct span key)
{
    size_t i = key.len;
    while (i > 0 && key.base[i - 1] != '.' && key.base[i - 1] != '/')
        i--;
    return span_skip(key, i);
}

/* All long names have one bit. */
static unsigned length_bit(size_t len)
{
    return len < 63 ? (unsigned)len : 63;
}

static int read_list(struct redact_name_list *l, struct span text)
{
    while (text.len > 0) {
        const uint8_t *comma = memchr(text.base, ',', text.len);
        size_t n = comma == NULL ? text.len : (size_t)(comma - text.base);
        struct span name = span_trim(span_of(text.base, n));
        text = span_skip(text, comma == NULL ? n : n + 1);
        if (name.len == 0)
            continue;
        if (l->count == REDACT_NAMES_MAX)
            return ERR_FULL;
        uint8_t first = fold(name.base[0]);
        l->first[first / 32] |= 1u << first % 32;
        if (name.base[name.len - 1] == '*')
            l->lengths |= ~UINT64_C(0) << length_bit(name.len - 1);
        else
            l->lengths |= UINT64_C(1) << length_bit(name.len);
        l->names[l->count++] = name;
    }
    return 0;
}

int redact_names_init(struct redact_names *n, struct span secret, struct span exempt)
{
    *n = (struct redact_names){0};
    int rc = read_list(&n->secret, secret);
    return rc < 0 ? rc : read_list(&n->exempt, exempt);
}

static bool may_begin(const struct redact_name_list *l, struct span key)
{
    if (key.len == 0 || (l->lengths >> length_bit(key.len) & 1) == 0)
        return false;
    uint8_t first = fold(key.base[0]);
    return (l->first[first / 32] >> first % 32 & 1) != 0;
}

static bool is_listed(const struct redact_name_list *l, struct span key)
{
    if (!may_begin(l, key))
        return false;
    uint8_t first = fold(key.base[0]);
    for (uint32_t i = 0; i < l->count; i++) {
        struct span name = l->names[i];
        if (fold(name.base[0]) != first && name.base[0] != '*')
            continue;
        bool is_beginning = name.base[name.len - 1] == '*';
        if (is_beginning)
            name.len--;
        if (is_beginning ? key.len >= name.len && same(span_of(key.base, name.len), name)
                         : same(key, name))
            return true;
    }
    return false;
}

int redact_names_exempt(struct redact_names *n, struct span names)
{
    struct redact_name_list more = n->exempt;
    int rc = read_list(&more, names);
    if (rc == 0)
        n->exempt = more;
    return rc;
}

bool redact_name_is_exempt(const struct redact_names *n, struct span key)
{
    return is_listed(&n->exempt, key);
}

bool redact_name_is_secret(const struct redact_names *n, struct span key)
{
    struct span last = last_segment(key);
    if (last.len >= 5 && may_end(last))
        for (size_t i = 0; i < ARRAY_LEN(endings); i++)
            if (ends_in(last, span_str(endings[i])))
                return true;
    return n->secret.count > 0 && (is_listed(&n->secret, key) || is_listed(&n->secret, last));
}
