/* consistent: thresholds and randomness of OpenTelemetry's probability sampling. */
#include "pipeline/consistent.h"

#include <math.h>
#include <string.h>

#include "pipeline/rules.h"

#define HEX_DIGITS (RULES_RANDOM_BITS / 4)

/* Big-endian digits with trailing zeros left out, as 56 bits. */
static bool read_hex(struct span text, uint64_t *out)
{
    uint64_t word = 0;
    if (text.len == 0 || text.len > HEX_DIGITS)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.base[i], letter = c | 0x20;
        if (c >= '0' && c <= '9')
            word = word << 4 | (uint64_t)(c - '0');
        else if (letter >= 'a' && letter <= 'f')
            word = word << 4 | (uint64_t)(letter - 'a' + 10);
        else
            return false;
    }
    *out = word << 4 * (HEX_DIGITS - text.len);
    return true;
}

static bool is_text(const struct log_value *v)
{
    return v != NULL && v->kind == LOG_STRING;
}

uint64_t consistent_threshold_read(const struct log_record *record)
{
    uint64_t t;
    double count = 1.0;
    const struct log_value *v = log_known(record, LOG_SAMPLING_THRESHOLD);
    if (is_text(v) && read_hex(v->text, &t))
        return t;
    v = log_known(record, LOG_ADJUSTED_COUNT);
    if (v != NULL && v->kind == LOG_DOUBLE)
        count = v->real;
    else if (v != NULL && v->kind == LOG_INT)
        count = (double)v->integer;
    if (!(count > 1.0 && count <= (double)RULES_REJECT_ALL)) /* NaN is not */
        return 0;
    return RULES_REJECT_ALL - (uint64_t)llround((double)RULES_REJECT_ALL / count);
}

static bool trace_id_is_valid(struct span id)
{
    static const uint8_t zero[16];
    return id.len == 16 && memcmp(id.base, zero, 16) != 0;
}

bool consistent_randomness(const struct log_record *record, uint64_t *r)
{
    const struct log_value *v = log_known(record, LOG_SAMPLING_RANDOMNESS);
    if (is_text(v) && v->text.len == HEX_DIGITS && read_hex(v->text, r))
        return true;
    if (!trace_id_is_valid(record->trace_id))
        return false;
    uint64_t word;
    memcpy(&word, record->trace_id.base + 8, 8);
    *r = __builtin_bswap64(word) & (RULES_REJECT_ALL - 1); /* big-endian: the last 7 bytes */
    return true;
}

/* x * y / 2^56. */
static uint64_t times(uint64_t x, uint64_t y)
{
    return (uint64_t)((unsigned __int128)x * y >> RULES_RANDOM_BITS);
}

uint64_t consistent_product(uint64_t a, uint64_t b)
{
    uint64_t kept_a = RULES_REJECT_ALL - a, kept_b = RULES_REJECT_ALL - b;
    uint64_t kept = times(kept_a, kept_b);
    if (kept == 0 && kept_a > 0 && kept_b > 0)
        kept = 1;
    return RULES_REJECT_ALL - kept;
}

uint64_t consistent_carried(uint64_t r, uint64_t ours, uint64_t before)
{
    uint64_t carried =
        consistent_product(ours, before) + times(r - ours, RULES_REJECT_ALL - before);
    return carried < RULES_REJECT_ALL ? carried : RULES_REJECT_ALL - 1; /* rounding */
}
