/* expose: lines of Prometheus text. */
#include "util/expose.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

const char *expose_type_name(enum expose_type type)
{
    return type == EXPOSE_COUNTER ? "counter" : "gauge";
}

void expose_family(struct buf *out, const char *name, enum expose_type type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, expose_type_name(type));
}

/* Backslash, quote and line feed are escaped; other control bytes, which a
 * peer may have put into a service name, become U+FFFD. */
static void append_value(struct buf *out, struct span v)
{
    buf_append_byte(out, '"');
    for (size_t i = 0; i < v.len; i++) {
        uint8_t c = v.base[i];
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c == '\n')
            buf_append_str(out, "\\n");
        else if (c < 0x20)
            buf_append_str(out, "\xef\xbf\xbd");
        else
            buf_append_byte(out, c);
    }
    buf_append_byte(out, '"');
}

void expose_sample(struct buf *out, const char *name, const struct expose_label *labels,
                   size_t label_count, double value)
{
    buf_append_str(out, name);
    for (size_t i = 0; i < label_count; i++) {
        buf_printf(out, "%s%s=", i == 0 ? "{" : ",", labels[i].name);
        append_value(out, labels[i].value);
    }
    if (label_count > 0)
        buf_append_byte(out, '}');
    /* Counts in full: %g would round them. */
    if (fabs(value) < 9e15 && value == floor(value))
        buf_printf(out, " %" PRId64 "\n", (int64_t)value);
    else if (!isfinite(value))
        buf_append_str(out, isnan(value) ? " NaN\n" : value > 0 ? " +Inf\n" : " -Inf\n");
    else
        buf_printf(out, " %.9g\n", value);
}
