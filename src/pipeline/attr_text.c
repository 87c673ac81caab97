/* attr_text: one switch over the kinds. */
#include "pipeline/attr_text.h"

#include <stdio.h>
#include <stdlib.h>

/* The fewest digits that read back as the same number: 0.1 and not 0.10000000000000001. */
static int shortest_double(char room[ATTR_TEXT_BYTES], double real)
{
    int n = 0;
    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(room, ATTR_TEXT_BYTES, "%.*g", digits, real);
        if (strtod(room, NULL) == real)
            break;
    }
    return n;
}

struct span attr_text(const struct log_value *v, char room[ATTR_TEXT_BYTES])
{
    int n = 0;
    switch (v->kind) {
    case LOG_STRING:
        return v->text.base != NULL ? v->text : SPAN("");
    case LOG_BOOL:
        return v->integer != 0 ? SPAN("true") : SPAN("false");
    case LOG_INT:
        n = snprintf(room, ATTR_TEXT_BYTES, "%lld", (long long)v->integer);
        break;
    case LOG_DOUBLE:
        n = shortest_double(room, v->real);
        break;
    default:
        return (struct span){0};
    }
    return span_of(room, (size_t)n);
}
