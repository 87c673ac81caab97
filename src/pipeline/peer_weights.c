/* peer_weights: one walk over the attributes, where there may be something to find. */
#include "pipeline/peer_weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_BYTES 40 /* of a weight in text; longer ones are none */

/* 0: not a weight. */
static double weight_of(const struct log_value *v)
{
    char text[NUMBER_BYTES], *end;
    double value = 0;
    if (v->kind == LOG_INT)
        value = (double)v->integer;
    else if (v->kind == LOG_DOUBLE)
        value = v->real;
    else if (v->kind == LOG_STRING && v->text.len > 0 && v->text.len < sizeof text) {
        memcpy(text, v->text.base, v->text.len);
        text[v->text.len] = '\0';
        value = strtod(text, &end);
        if (*end != '\0' || end != text + v->text.len)
            value = 0;
    }
    if (!(value > 0) || isinf(value)) /* NaN is not */
        return 0;
    return value < 1 ? 1 / value : value;
}

void peer_weights_apply(const struct peer_weights *w, struct log_record *r, struct span record)
{
    const uint32_t own = 1u << LOG_SAMPLING_THRESHOLD | 1u << LOG_ADJUSTED_COUNT;
    struct log_attrs attrs;
    struct log_attr attr;
    uint32_t best = w->count;
    double weight = 0;
    if (w->count == 0 || r->attributes == 0 || (r->known_set & own) != 0)
        return;
    log_attrs_of_record(&attrs, record);
    while (log_attrs_next(&attrs, &attr)) {
        for (uint32_t i = 0; i <= best && i < w->count; i++) { /* of one name the last counts */
            if (!span_eq(attr.key, span_str(w->names[i])))
                continue;
            double found = weight_of(&attr.value);
            if (found == 0)
                break;
            best = i;
            weight = found;
        }
    }
    if (weight == 0)
        return;
    r->known[LOG_ADJUSTED_COUNT] = (struct log_value){.kind = LOG_DOUBLE, .real = weight};
    r->known_set |= 1u << LOG_ADJUSTED_COUNT;
}
