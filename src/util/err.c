/* err: texts for codes, and sentences. */
#include "util/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <uv.h>

const char *err_text(int code)
{
    switch (code) {
#define X(name, number, text) \
    case number: \
        return text;
        ERR_MAP(X)
#undef X
    case 0:
        return "success";
    default:
        return uv_strerror(code);
    }
}

int err_set(struct error *err, int code, const char *fmt, ...)
{
    if (err != NULL) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(err->text, sizeof err->text, fmt, ap);
        va_end(ap);
    }
    return code;
}
