/* log_severity: what loggers call their levels. */
#include "otlp/logs.h"

enum { TRACE = 1, DEBUG = 5, INFO = 9, WARN = 13, ERROR = 17, FATAL = 21, HIGHEST = 24 };

#define LONGEST_NAME 13 /* "informational" */

/* clang-format off */
static const struct name {
    char text[LONGEST_NAME + 1];
    uint8_t number;
} names[] = {
    /* OpenTelemetry; a digit from 2 to 4 may follow */
    {"trace", TRACE}, {"debug", DEBUG}, {"info", INFO}, {"warn", WARN}, {"error", ERROR},
    {"fatal", FATAL},
    /* syslog, journald, Linux */
    {"emerg", FATAL}, {"emergency", FATAL}, {"panic", FATAL}, {"alert", FATAL}, {"crit", FATAL},
    {"critical", FATAL}, {"err", ERROR}, {"warning", WARN}, {"notice", INFO},
    {"informational", INFO},
    /* .NET, Serilog, log4net */
    {"information", INFO}, {"verbose", TRACE}, {"vrb", TRACE}, {"trce", TRACE}, {"dbg", DEBUG},
    {"dbug", DEBUG}, {"inf", INFO}, {"wrn", WARN}, {"fail", ERROR}, {"ftl", FATAL},
    {"severe", ERROR},
    /* Java, PostgreSQL, Go's zap, Python's loguru, and a misspelling that PostHog knows */
    {"finest", TRACE}, {"finer", TRACE}, {"fine", DEBUG}, {"config", DEBUG}, {"trc", TRACE},
    {"log", INFO}, {"debug1", DEBUG}, {"debug5", DEBUG}, {"dpanic", FATAL}, {"success", INFO},
    {"eror", ERROR},
    /* Android, glog, klog */
    {"v", TRACE}, {"t", TRACE}, {"d", DEBUG}, {"i", INFO}, {"n", INFO}, {"w", WARN},
    {"e", ERROR}, {"c", FATAL}, {"f", FATAL}, {"a", FATAL},
};
/* clang-format on */

#define NUMBERED_NAMES 6 /* the first rows */

static bool is_wrapping(uint8_t c)
{
    return c != 0 && strchr(" \t\r\n[](){}<>\"':|", c) != NULL;
}

static const struct name *find_name(struct span text, size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        if (span_ieq(text, span_str(names[i].text)))
            return &names[i];
    }
    return NULL;
}

unsigned log_severity_of_text(struct span text)
{
    while (text.len > 0 && is_wrapping(text.base[0]))
        text = span_skip(text, 1);
    while (text.len > 0 && is_wrapping(text.base[text.len - 1]))
        text.len--;
    if (text.len == 0 || text.len > LONGEST_NAME)
        return 0;

    const struct name *n = find_name(text, ARRAY_LEN(names));
    if (n != NULL)
        return n->number;
    uint8_t digit = text.base[text.len - 1];
    if (digit < '2' || digit > '4')
        return 0;
    text.len--;
    n = find_name(text, NUMBERED_NAMES);
    return n != NULL ? n->number + (unsigned)(digit - '1') : 0;
}

unsigned log_severity(const struct log_record *r)
{
    if (r->severity_number > HIGHEST)
        return HIGHEST;
    if (r->severity_number > 0)
        return (unsigned)r->severity_number;
    return log_severity_of_text(r->severity_text);
}
