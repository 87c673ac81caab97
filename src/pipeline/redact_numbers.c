/* redact_numbers: cards, accounts, social security numbers, telephones and addresses. Every
 * function reads a bounded number of bytes. */
#include "pipeline/redact_check.h"

#define CARD_LEAST 13
#define CARD_MOST 19
#define IBAN_MOST 34
#define PHONE_LEAST 8
#define PHONE_MOST 15
#define PHONE_BYTES 32 /* digits and what stands between them */
#define IPV6_BYTES 45  /* with an IPv4 address at its end */

/* Digits from `at` on, at most `most`. */
static size_t run(const struct redact_view *v, size_t at, size_t most)
{
    size_t n = 0;
    while (n < most && at + n < v->n && redact_is_digit(v->t[at + n]))
        n++;
    return n;
}

static unsigned number(const uint8_t *digits, size_t n)
{
    unsigned value = 0;
    for (size_t i = 0; i < n; i++)
        value = value * 10 + (digits[i] - '0');
    return value;
}

/* Neither a longer number nor part of a version, a decimal or a chain of dashes. */
static bool stands_alone(const struct redact_view *v, size_t at, size_t end)
{
    if (!redact_left_edge(v, at) || (at > 0 && (v->t[at - 1] == '.' || v->t[at - 1] == '-')))
        return false;
    if (!redact_right_edge(v, end) || (end < v->n && v->t[end] == '-'))
        return false;
    /* A full stop ends a sentence, a point does not. */
    return end >= v->n || v->t[end] != '.' || redact_right_edge(v, end + 1);
}

/* ---- cards ---------------------------------------------------------------- */

/* Issuers: the first `digits` digits, from and to, and the lengths of their cards. */
static const struct issuer {
    uint16_t from, to;
    uint8_t digits, least, most;
} issuers[] = {
    /* clang-format off */
    {4,    4,    1, 13, 19}, /* Visa: 13, 16, 19 */
    {51,   55,   2, 16, 16}, /* Mastercard */
    {2221, 2720, 4, 16, 16},
    {34,   34,   2, 15, 15}, /* American Express */
    {37,   37,   2, 15, 15},
    {6011, 6011, 4, 16, 19}, /* Discover */
    {644,  649,  3, 16, 19},
    {65,   65,   2, 16, 19},
    {300,  305,  3, 14, 19}, /* Diners */
    {36,   36,   2, 14, 19},
    {38,   39,   2, 14, 19},
    {3528, 3589, 4, 16, 19}, /* JCB */
    {62,   62,   2, 16, 19}, /* UnionPay */
    /* clang-format on */
};

static bool has_issuer(const uint8_t *digits, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(issuers); i++) {
        const struct issuer *s = &issuers[i];
        unsigned first = number(digits, s->digits);
        if (first < s->from || first > s->to || n < s->least || n > s->most)
            continue;
        return s->from != 4 || n == 13 || n == 16 || n == 19;
    }
    return false;
}

static bool passes_luhn(const uint8_t *digits, size_t n)
{
    unsigned sum = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned d = digits[n - 1 - i] - '0';
        if (i % 2 == 1)
            d = d > 4 ? 2 * d - 9 : 2 * d;
        sum += d;
    }
    return sum % 10 == 0;
}

/* How a card is grouped; ended by 0. */
static const uint8_t groups[][6] = {{4, 4, 4, 4}, {4, 6, 5}, {4, 4, 4, 4, 3}};

/* Read groups with one separator; returns the end, 0: it is not grouped so. */
static size_t read_groups(const struct redact_view *v, size_t at, const uint8_t *sizes,
                          uint8_t digits[CARD_MOST], size_t *count)
{
    uint8_t separator = 0;
    *count = 0;
    for (size_t g = 0; sizes[g] != 0; g++) {
        if (g > 0) {
            if (at >= v->n || (v->t[at] != ' ' && v->t[at] != '-'))
                return 0;
            if (separator != 0 && v->t[at] != separator)
                return 0;
            separator = v->t[at++];
        }
        if (run(v, at, (size_t)sizes[g] + 1) != sizes[g])
            return 0;
        memcpy(digits + *count, v->t + at, sizes[g]);
        *count += sizes[g];
        at += sizes[g];
    }
    return at;
}

bool redact_card(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    uint8_t digits[CARD_MOST];
    size_t n = run(v, at, CARD_MOST + 1), end = at + n;
    if (n == 4) {
        /* The longest first: four groups of four are the beginning of five. */
        static const uint8_t order[] = {2, 0, 1};
        end = 0;
        for (size_t i = 0; i < ARRAY_LEN(order) && end == 0; i++)
            end = read_groups(v, at, groups[order[i]], digits, &n);
        /* A number behind four groups that is no fifth: not a card, or one and something. */
        if (end == 0 || (end + 1 < v->n && v->t[end] == '-' && redact_is_digit(v->t[end + 1])))
            return false;
    } else if (n >= CARD_LEAST && n <= CARD_MOST) {
        memcpy(digits, v->t + at, n);
    } else {
        return false;
    }
    return stands_alone(v, at, end) && has_issuer(digits, n) && passes_luhn(digits, n) &&
           redact_hit_at(hit, REDACT_CARD, at, end);
}

/* ---- social security numbers of the United States ------------------------- */

bool redact_ssn(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    const uint8_t *t = v->t + at;
    size_t end = at + 11;
    if (end > v->n || run(v, at, 4) != 3 || run(v, at + 4, 3) != 2 || run(v, at + 7, 5) != 4)
        return false;
    if (t[3] != t[6] || (t[3] != '-' && t[3] != ' ' && t[3] != '.') || !stands_alone(v, at, end))
        return false;
    unsigned area = number(t, 3), group = number(t + 4, 2), serial = number(t + 7, 4);
    if (area == 0 || area == 666 || area >= 900 || group == 0 || serial == 0)
        return false;
    unsigned long all = area * 1000000ul + group * 10000ul + serial;
    if (all % 111111111ul == 0 || all == 78051120ul || all == 123456789ul)
        return false; /* one digit, and the two that everybody knows */
    return redact_hit_at(hit, REDACT_SSN, at, end);
}

/* ---- accounts ------------------------------------------------------------- */

/* Country and length of its accounts. (SWIFT IBAN registry) */
static const char iban_countries[] =
    "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29"
    "ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28"
    "LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25"
    "QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30";

static size_t iban_length(const uint8_t *country)
{
    for (const char *row = iban_countries; *row != '\0'; row += 4)
        if (country[0] == (uint8_t)row[0] && country[1] == (uint8_t)row[1])
            return number((const uint8_t *)row + 2, 2);
    return 0;
}

static bool passes_mod97(const uint8_t *text, size_t n)
{
    unsigned rest = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = text[(i + 4) % n];
        unsigned value = redact_is_digit(c) ? c - 48u : (c | 0x20u) - 97u + 10u;
        rest = (rest * (value > 9 ? 100 : 10) + value) % 97;
    }
    return rest == 1;
}

/* `at` is the first check digit, two capitals stand before it. */
bool redact_iban(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    uint8_t text[IBAN_MOST];
    if (at < 2 || at - 2 < v->from || !redact_is_upper(v->t[at - 2]) ||
        !redact_is_upper(v->t[at - 1]) || !redact_left_edge(v, at - 2))
        return false;
    size_t start = at - 2, wanted = iban_length(v->t + start), n = 0, i = start;
    if (wanted == 0)
        return false;
    bool is_grouped = start + 4 < v->n && v->t[start + 4] == ' ';
    while (n < wanted && i < v->n) {
        if (is_grouped && n > 0 && n % 4 == 0) {
            if (v->t[i] != ' ')
                return false;
            i++;
        }
        if (i >= v->n || !redact_is_alnum(v->t[i]))
            return false;
        text[n++] = v->t[i++];
    }
    return n == wanted && redact_is_digit(text[2]) && redact_is_digit(text[3]) &&
           redact_right_edge(v, i) && passes_mod97(text, n) &&
           redact_hit_at(hit, REDACT_IBAN, start, i);
}

/* ---- telephones ----------------------------------------------------------- */

/* +hhmm behind a time of day and a blank. Directly behind a digit nothing is a telephone. */
static bool is_zone(const struct redact_view *v, size_t at)
{
    return at >= 4 && v->t[at - 1] == ' ' && redact_is_digit(v->t[at - 2]) &&
           redact_is_digit(v->t[at - 3]) && (v->t[at - 4] == ':' || v->t[at - 4] == '.');
}

bool redact_phone(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    size_t digits = 0, end = at + 1, i = at + 1, gap = 0;
    if (at > 0 && (redact_is_word(v->t[at - 1]) || v->t[at - 1] == '+'))
        return false;
    for (; i < v->n && i - at <= PHONE_BYTES; i++) {
        uint8_t c = v->t[i];
        if (redact_is_digit(c)) {
            digits++;
            gap = 0;
            end = i + 1;
        } else if (digits >= PHONE_LEAST && end - at == digits + 1) {
            break; /* written without gaps: what follows is another number */
        } else if ((c == ' ' || c == '-' || c == '.' || c == '(' || c == ')') && gap < 2) {
            gap++;
        } else {
            break;
        }
    }
    return digits >= PHONE_LEAST && digits <= PHONE_MOST && v->t[at + 1] != '0' &&
           redact_right_edge(v, end) && !is_zone(v, at) &&
           redact_hit_at(hit, REDACT_PHONE, at, end);
}

/* ---- addresses ------------------------------------------------------------ */

/* Four octets from `at` on; returns the end, 0: they are not. */
static size_t octets(const struct redact_view *v, size_t at)
{
    for (int i = 0; i < 4; i++) {
        if (i > 0 && (at >= v->n || v->t[at++] != '.'))
            return 0;
        size_t n = run(v, at, 4);
        if (n == 0 || n > 3 || number(v->t + at, n) > 255)
            return 0;
        at += n;
    }
    return at;
}

bool redact_ipv4(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    size_t end = octets(v, at);
    return end > 0 && (at == 0 || v->t[at - 1] != '.') && redact_left_edge(v, at) &&
           redact_right_edge(v, end) &&
           !(end + 1 < v->n && v->t[end] == '.' && redact_is_digit(v->t[end + 1])) &&
           redact_hit_at(hit, REDACT_IP, at, end);
}

static bool is_hex(uint8_t c)
{
    return redact_is_digit(c) || (uint8_t)((c | 0x20) - 'a') < 6;
}

/* Groups of an IPv6 address from start to end: eight, or fewer with one "::". */
static bool is_ipv6(const struct redact_view *v, size_t start, size_t end)
{
    unsigned parts = 0, digits = 0, pairs = 0;
    for (size_t i = start; i < end; i++) {
        if (v->t[i] != ':') {
            if (digits++ == 0)
                parts++;
            if (digits > 4)
                return false;
            continue;
        }
        if (i + 1 < end && v->t[i + 1] == ':') {
            pairs++;
            i++;
        } else if (i == start || i + 1 == end) {
            return false;
        }
        digits = 0;
    }
    return pairs == 0 ? parts == 8 : pairs == 1 && parts >= 1 && parts <= 7;
}

bool redact_ipv6(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    size_t start = at, end = at;
    while (start > v->from && at - start <= IPV6_BYTES &&
           (is_hex(v->t[start - 1]) || v->t[start - 1] == ':'))
        start--;
    while (end < v->n && end - at <= IPV6_BYTES && (is_hex(v->t[end]) || v->t[end] == ':'))
        end++;
    return end - start <= IPV6_BYTES && redact_left_edge(v, start) && redact_right_edge(v, end) &&
           is_ipv6(v, start, end) && redact_hit_at(hit, REDACT_IP, start, end);
}
