/* unicode: range tables, searched by halving; ASCII never gets there. */
#include "util/unicode.h"

struct unicode_range {
    uint32_t first, last; /* inclusive */
};

struct unicode_case {
    uint32_t first, last, step; /* every step-th code point of first..last */
    int32_t delta;              /* what lower() adds to it */
};

#include "util/unicode_table.h"

#define CAPITAL_I_DOT 0x130u /* the one whose lower case is two code points */
#define CAPITAL_SIGMA 0x3a3u
#define SMALL_SIGMA 0x3c3u
#define FINAL_SIGMA 0x3c2u
#define ESCAPED_BYTE 0xdc00u

/* cp is at most the last row's end: WITHIN() saw to that. */
static bool within(const struct unicode_range *ranges, size_t n, uint32_t cp)
{
    size_t low = 0;
    while (low < n) {
        size_t middle = low + (n - low) / 2;
        if (cp > ranges[middle].last)
            low = middle + 1;
        else
            n = middle;
    }
    return cp >= ranges[low].first && cp <= ranges[low].last;
}
#define WITHIN(ranges, cp) \
    ((cp) <= (ranges)[ARRAY_LEN(ranges) - 1].last && within((ranges), ARRAY_LEN(ranges), (cp)))

static uint8_t ascii_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

size_t utf8_read(const uint8_t *at, const uint8_t *end, uint32_t *cp)
{
    uint8_t c = at[0];
    size_t left = (size_t)(end - at);

    *cp = c;
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf && left >= 2 && (at[1] & 0xc0) == 0x80) {
        *cp = (uint32_t)(c & 0x1f) << 6 | (at[1] & 0x3f);
        return 2;
    }
    if (c >= 0xe0 && c <= 0xef && left >= 3 && (at[1] & 0xc0) == 0x80 && (at[2] & 0xc0) == 0x80) {
        uint32_t v = (uint32_t)(c & 0x0f) << 12 | (uint32_t)(at[1] & 0x3f) << 6 | (at[2] & 0x3f);
        if (v >= 0x800 && (v < 0xd800 || v > 0xdfff)) {
            *cp = v;
            return 3;
        }
    }
    if (c >= 0xf0 && c <= 0xf4 && left >= 4 && (at[1] & 0xc0) == 0x80 && (at[2] & 0xc0) == 0x80 &&
        (at[3] & 0xc0) == 0x80) {
        uint32_t v = (uint32_t)(c & 0x07) << 18 | (uint32_t)(at[1] & 0x3f) << 12 |
                     (uint32_t)(at[2] & 0x3f) << 6 | (at[3] & 0x3f);
        if (v >= 0x10000 && v <= 0x10ffff) {
            *cp = v;
            return 4;
        }
    }
    *cp = ESCAPED_BYTE + c;
    return 1;
}

size_t utf8_write(uint8_t *out, uint32_t cp)
{
    if (cp < 0x80) {
        out[0] = (uint8_t)cp;
        return 1;
    }
    if (cp >= ESCAPED_BYTE + 0x80 && cp <= ESCAPED_BYTE + 0xff) {
        out[0] = (uint8_t)(cp - ESCAPED_BYTE);
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (uint8_t)(0xc0 | cp >> 6);
        out[1] = (uint8_t)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (uint8_t)(0xe0 | cp >> 12);
        out[1] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | cp >> 18);
    out[1] = (uint8_t)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (cp & 0x3f));
    return 4;
}

bool unicode_is_space(uint32_t cp)
{
    if (cp < 0x80)
        return (cp >= 0x09 && cp <= 0x0d) || (cp >= 0x1c && cp <= 0x20);
    return cp == 0x85 || cp == 0xa0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200a) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x202f || cp == 0x205f || cp == 0x3000;
}

bool unicode_is_decimal(uint32_t cp)
{
    return cp < 0x80 ? cp >= '0' && cp <= '9' : WITHIN(decimal_ranges, cp);
}

bool unicode_is_word(uint32_t cp)
{
    if (cp >= 0x80)
        return WITHIN(word_ranges, cp);
    uint8_t low = ascii_lower((uint8_t)cp);
    return (low >= 'a' && low <= 'z') || (cp >= '0' && cp <= '9') || cp == '_';
}

static bool is_ignorable(uint32_t cp)
{
    if (cp < 0x80)
        return cp == '\'' || cp == '.' || cp == ':' || cp == '^' || cp == '`';
    return WITHIN(ignorable_ranges, cp);
}

static bool is_cased(uint32_t cp)
{
    if (cp >= 0x80)
        return WITHIN(cased_ranges, cp);
    uint8_t low = ascii_lower((uint8_t)cp);
    return low >= 'a' && low <= 'z';
}

static uint32_t lower_one(uint32_t cp)
{
    size_t low = 0, high = ARRAY_LEN(lower_runs);
    if (cp < 0x80)
        return ascii_lower((uint8_t)cp);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cp > lower_runs[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == ARRAY_LEN(lower_runs) || cp < lower_runs[low].first ||
        (cp - lower_runs[low].first) % lower_runs[low].step != 0)
        return cp;
    return (uint32_t)((int32_t)cp + lower_runs[low].delta);
}

/* Final when a cased letter stands before it and none after, case-ignorable
 * characters between apart. A sigma ends
 * the run it looks over, so all of them together are linear. */
static bool sigma_is_final(const uint32_t *in, size_t n, size_t at, bool cased_before)
{
    if (!cased_before)
        return false;
    size_t next = at + 1;
    while (next < n && is_ignorable(in[next]))
        next++;
    return next == n || !is_cased(in[next]);
}

size_t unicode_lower(const uint32_t *in, size_t n, uint32_t *out)
{
    bool cased_before = false; /* the nearest that is not ignorable */
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t cp = in[i];
        if (cp == CAPITAL_SIGMA) {
            out[len++] = sigma_is_final(in, n, i, cased_before) ? FINAL_SIGMA : SMALL_SIGMA;
        } else if (cp == CAPITAL_I_DOT) {
            out[len++] = 'i';
            out[len++] = 0x307;
        } else {
            out[len++] = lower_one(cp);
        }
        if (!is_ignorable(cp))
            cased_before = is_cased(cp);
    }
    return len;
}

struct span utf8_cut(struct span s, size_t max)
{
    if (s.len <= max)
        return s;
    while (max > 0 && (s.base[max] & 0xc0) == 0x80)
        max--;
    return span_of(s.base, max);
}
