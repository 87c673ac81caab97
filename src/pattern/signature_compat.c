/*
 * signature_compat: the old lists of regular expressions as scanners. Each
 * matcher answers for one position what the expression, leftmost and greedy,
 * would take there; step() does the rest of re.sub().
 */
#include "pattern/signature_compat.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "util/err.h"
#include "util/unicode.h"

struct compat {
    const EVP_MD *md5;
    EVP_MD_CTX *digest;
    uint32_t *text, *next; /* code points; swapped by each step */
    size_t len;
    uint8_t *out; /* the normalised text, UTF-8 */
};

/* Lower-casing may double a text of code points; no replacement is longer
 * than what it replaces. */
#define MAX_POINTS ((size_t)2 * COMPAT_MAX_BYTES)

/* A text and the place where a match is tried. */
struct place {
    const uint32_t *s;
    size_t at, n;
};

/* Code points matched at p->at; 0: no match. A matcher may move *skip past
 * later places that cannot match either (which keeps long runs linear). */
typedef size_t matcher(const struct place *p, size_t *skip);

static bool is_hex(uint32_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static bool is_hex_any_case(uint32_t c)
{
    return is_hex(c) || (c >= 'A' && c <= 'F');
}

static bool is_letter(uint32_t c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/* \b before s[at]. */
static bool is_boundary(const struct place *p, size_t at)
{
    bool before = at > 0 && unicode_is_word(p->s[at - 1]);
    bool after = at < p->n && unicode_is_word(p->s[at]);
    return before != after;
}

/* A pattern of fixed length: x and X are hex digits (lower, any case), 9 a decimal
 * digit, _ the T or space of a timestamp, anything else itself. */
static size_t fixed(const struct place *p, const char *shape)
{
    size_t len = strlen(shape);
    if (p->n - p->at < len)
        return 0;
    for (size_t i = 0; i < len; i++) {
        uint32_t c = p->s[p->at + i];
        bool fits = shape[i] == 'x'   ? is_hex(c)
                    : shape[i] == 'X' ? is_hex_any_case(c)
                    : shape[i] == '9' ? unicode_is_decimal(c)
                    : shape[i] == '_' ? c == 'T' || c == ' '
                                      : c == (uint32_t)shape[i];
        if (!fits)
            return 0;
    }
    return len;
}

static size_t bounded(const struct place *p, size_t len)
{
    return len > 0 && is_boundary(p, p->at) && is_boundary(p, p->at + len) ? len : 0;
}

static size_t run(const struct place *p, size_t at, bool (*is)(uint32_t))
{
    size_t start = at;
    while (at < p->n && is(p->s[at]))
        at++;
    return at - start;
}

static bool is_black(uint32_t c)
{
    return !unicode_is_space(c);
}

/* [a-f0-9]{8}-([a-f0-9]{4}-){3}[a-f0-9]{12}, in any case of letters */
static size_t uuid_any_case(const struct place *p, size_t *skip)
{
    (void)skip;
    return fixed(p, "XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX");
}

static size_t uuid_lower(const struct place *p, size_t *skip)
{
    (void)skip;
    return fixed(p, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
}

/* \b[a-f0-9]{32,}\b, in any case: only a whole run can end at a boundary */
static size_t hex_id(const struct place *p, size_t *skip)
{
    size_t len = run(p, p->at, is_hex_any_case);
    if (len > 0)
        *skip = p->at + len;
    return len >= 32 ? bounded(p, len) : 0;
}

/* \b[0-9a-f]{32}\b */
static size_t hex_32(const struct place *p, size_t *skip)
{
    size_t len = run(p, p->at, is_hex);
    if (len > 0)
        *skip = p->at + len;
    return len == 32 ? bounded(p, len) : 0;
}

/* \d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2} */
static size_t timestamp(const struct place *p, size_t *skip)
{
    (void)skip;
    return fixed(p, "9999-99-99_99:99:99");
}

/* \b\d{4}-\d{2}-\d{2}\b */
static size_t date(const struct place *p, size_t *skip)
{
    (void)skip;
    return bounded(p, fixed(p, "9999-99-99"));
}

/* \b\d{2}:\d{2}:\d{2}\b */
static size_t time_of_day(const struct place *p, size_t *skip)
{
    (void)skip;
    return bounded(p, fixed(p, "99:99:99"));
}

/* \b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b: each group is a whole run of digits */
static size_t ipv4(const struct place *p, size_t *skip)
{
    size_t at = p->at;
    for (int group = 0; group < 4; group++) {
        size_t digits = 0;
        while (digits < 4 && at < p->n && unicode_is_decimal(p->s[at])) {
            digits++;
            at++;
        }
        if (digits < 1 || digits > 3)
            return 0;
        if (group < 3 && (at >= p->n || p->s[at++] != '.'))
            return 0;
    }
    (void)skip;
    return bounded(p, at - p->at);
}

static bool is_domain(uint32_t c)
{
    return is_letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '-';
}

static bool is_local(uint32_t c)
{
    return is_domain(c) || c == '_' || c == '%' || c == '+';
}

/* The domain of an address at `at`: [a-zA-Z0-9.-]+\.[a-zA-Z]{2,}\b, by the last
 * dot that does. Returns its length. */
static size_t domain(const struct place *p, size_t at)
{
    size_t dot = at + run(p, at, is_domain);
    while (dot-- > at + 1) {
        if (p->s[dot] != '.')
            continue;
        size_t letters = run(p, dot + 1, is_letter);
        size_t end = dot + 1 + letters;
        if (letters >= 2 && is_boundary(p, end))
            return end - at;
    }
    return 0;
}

/* \b[a-zA-Z0-9._%+-]+@[a-zA-Z0-9.-]+\.[a-zA-Z]{2,}\b */
static size_t email(const struct place *p, size_t *skip)
{
    if (!is_local(p->s[p->at]))
        return 0;
    size_t local = run(p, p->at, is_local), at = p->at + local;
    size_t host = at < p->n && p->s[at] == '@' ? domain(p, at + 1) : 0;
    if (host == 0) {
        *skip = at; /* nothing in this run can do better */
        return 0;
    }
    /* It may begin later in the run, where a boundary is. */
    for (size_t start = p->at; start < at; start++) {
        struct place later = {p->s, start, p->n};
        if (!is_boundary(&later, start))
            continue;
        if (start == p->at)
            return local + 1 + host;
        *skip = start;
        return 0;
    }
    *skip = at;
    return 0;
}

/* https?://[^\s]+ */
static size_t url(const struct place *p, size_t *skip)
{
    size_t head = fixed(p, "https://");
    (void)skip;
    if (head == 0)
        head = fixed(p, "http://");
    size_t rest = head > 0 ? run(p, p->at + head, is_black) : 0;
    return rest > 0 ? head + rest : 0;
}

/* \b\d+\b */
static size_t number(const struct place *p, size_t *skip)
{
    size_t len = run(p, p->at, unicode_is_decimal);
    if (len > 0)
        *skip = p->at + len;
    return bounded(p, len);
}

/* \d+ */
static size_t digits(const struct place *p, size_t *skip)
{
    (void)skip;
    return run(p, p->at, unicode_is_decimal);
}

/* [a-z]:\\[^\s]+ */
static size_t drive_path(const struct place *p, size_t *skip)
{
    uint32_t c = p->s[p->at];
    (void)skip;
    if (c < 'a' || c > 'z' || p->n - p->at < 4 || p->s[p->at + 1] != ':' || p->s[p->at + 2] != '\\')
        return 0;
    size_t rest = run(p, p->at + 3, is_black);
    return rest > 0 ? 3 + rest : 0;
}

/* /[^\s]+/[^\s]+: to the end of the run when a second slash is in its middle */
static size_t slash_path(const struct place *p, size_t *skip)
{
    if (p->s[p->at] != '/')
        return 0;
    size_t len = run(p, p->at, is_black);
    for (size_t i = 2; i + 1 < len; i++)
        if (p->s[p->at + i] == '/')
            return len;
    *skip = p->at + len;
    return 0;
}

/* \s+ */
static size_t white(const struct place *p, size_t *skip)
{
    (void)skip;
    return run(p, p->at, unicode_is_space);
}

/* clang-format off */
static const struct step {
    matcher *match;
    const char *put;
} py_sdk[] = {
    {uuid_any_case, "UUID"},
    {hex_id,        "HEXID"},
    {timestamp,     "TIMESTAMP"},
    {date,          "DATE"},
    {time_of_day,   "TIME"},
    {ipv4,          "IP"},
    {email,         "EMAIL"},
    {url,           "URL"},
    {number,        "N"},
    {white,         " "},
}, backend[] = {
    {digits,        "N"},
    {uuid_lower,    "UUID"},
    {hex_32,        "UUID"},
    /* dates, times and addresses came next: after the first step none is left */
    {drive_path,    "PATH"},
    {slash_path,    "PATH"},
    {white,         " "},
};
/* clang-format on */

static void swap(struct compat *c, size_t len)
{
    uint32_t *text = c->text;
    c->text = c->next;
    c->next = text;
    c->len = len;
}

/* re.sub(): every match, left to right, gives way to s->put. */
static void replace(struct compat *c, const struct step *s)
{
    struct place p = {.s = c->text, .n = c->len};
    size_t len = 0;
    while (p.at < p.n) {
        size_t skip = p.at + 1;
        size_t took = s->match(&p, &skip);
        if (took > 0) {
            for (const char *put = s->put; *put != '\0'; put++)
                c->next[len++] = (uint8_t)*put;
            p.at += took;
            continue;
        }
        while (p.at < skip)
            c->next[len++] = p.s[p.at++];
    }
    swap(c, len);
}

static void strip(struct compat *c)
{
    size_t start = 0;
    while (c->len > 0 && unicode_is_space(c->text[c->len - 1]))
        c->len--;
    while (start < c->len && unicode_is_space(c->text[start]))
        start++;
    c->len -= start;
    memmove(c->text, c->text + start, c->len * sizeof *c->text);
}

struct span compat_normalise(struct compat *c, enum compat_mode mode, struct span message)
{
    if (message.len == 0 && mode == COMPAT_BACKEND)
        return SPAN("empty");

    size_t bytes = message.len < COMPAT_MAX_BYTES ? message.len : COMPAT_MAX_BYTES;
    c->len = 0;
    for (const uint8_t *at = message.base, *end = at + bytes; bytes > 0 && at < end;)
        at += utf8_read(at, end, &c->text[c->len++]);

    if (mode == COMPAT_BACKEND) {
        swap(c, unicode_lower(c->text, c->len, c->next));
        strip(c);
        for (size_t i = 0; i < ARRAY_LEN(backend); i++)
            replace(c, &backend[i]);
    } else {
        for (size_t i = 0; i < ARRAY_LEN(py_sdk); i++)
            replace(c, &py_sdk[i]);
        strip(c);
    }

    size_t len = 0;
    for (size_t i = 0; i < c->len; i++)
        len += utf8_write(c->out + len, c->text[i]);
    return span_of(c->out, len);
}

int compat_sign(struct compat *c, enum compat_mode mode, struct span message,
                char out[COMPAT_MD5_TEXT_BYTES])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t md5[EVP_MAX_MD_SIZE];
    unsigned int len = 0;

    struct span text = compat_normalise(c, mode, message);
    if (EVP_DigestInit_ex(c->digest, c->md5, NULL) != 1 ||
        EVP_DigestUpdate(c->digest, text.base, text.len) != 1 ||
        EVP_DigestFinal_ex(c->digest, md5, &len) != 1 || 2 * len + 1 != COMPAT_MD5_TEXT_BYTES)
        return ERR_UNSUPPORTED;
    for (unsigned int i = 0; i < len; i++) {
        out[2 * i] = hex[md5[i] >> 4];
        out[2 * i + 1] = hex[md5[i] & 15];
    }
    out[2 * len] = '\0';
    return 0;
}

int compat_new(struct compat **out)
{
    struct compat *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->md5 = EVP_md5();
    c->digest = EVP_MD_CTX_new();
    c->text = calloc(MAX_POINTS, sizeof *c->text);
    c->next = calloc(MAX_POINTS, sizeof *c->next);
    c->out = malloc(MAX_POINTS * UTF8_MAX_BYTES);
    if (c->digest == NULL || c->text == NULL || c->next == NULL || c->out == NULL) {
        compat_free(c);
        return ERR_NOMEM;
    }
    *out = c;
    return 0;
}

void compat_free(struct compat *c)
{
    if (c == NULL)
        return;
    EVP_MD_CTX_free(c->digest);
    free(c->text);
    free(c->next);
    free(c->out);
    free(c);
}
