/* report_body: fields by name, each checked where it is there. */
#include "server/report_body.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#define COUNT_MAX 1000000000000000u /* of one report: 10^15, so that sums of many fit 64 bits */
#define PATTERNS_MAX 65536

/* ---- times -------------------------------------------------------------- */

static bool read_offset(const char *at, long *seconds)
{
    int hours, minutes;
    *seconds = 0;
    if (*at == '\0' || strcmp(at, "Z") == 0)
        return true; /* older SDKs leave the zone out and mean UTC */
    if ((*at != '+' && *at != '-') || sscanf(at + 1, "%2d:%2d", &hours, &minutes) != 2)
        return false;
    *seconds = (hours * 60L + minutes) * 60 * (*at == '-' ? -1 : 1);
    return true;
}

bool report_parse_time(struct span text, int64_t *unix_ms)
{
    char copy[40];
    struct tm tm = {0};
    int used = 0;
    double seconds;
    long offset;
    if (text.len >= sizeof copy)
        return false;
    memcpy(copy, text.base, text.len);
    copy[text.len] = '\0';
    if (sscanf(copy, "%4d-%2d-%2dT%2d:%2d:%lf%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &seconds, &used) != 6 ||
        !(seconds >= 0 && seconds < 61) || !read_offset(copy + used, &offset))
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *unix_ms = ((int64_t)timegm(&tm) - offset) * 1000 + (int64_t)(seconds * 1000);
    return *unix_ms >= 0;
}

static bool read_time(struct json_node n, int64_t *unix_ms)
{
    double seconds;
    if (json_kind(n) == JSON_STRING)
        return report_parse_time(json_string(n), unix_ms);
    if (!json_number(n, &seconds) || !(seconds >= 0 && seconds < 1e11))
        return false;
    *unix_ms = (int64_t)(seconds * 1000);
    return true;
}

/* ---- lines -------------------------------------------------------------- */

static int64_t time_or_now(struct json_node n, int64_t now_ms)
{
    int64_t at = now_ms;
    if (!read_time(n, &at))
        return now_ms;
    return at > now_ms + REPORT_AHEAD_MS ? now_ms + REPORT_AHEAD_MS : at;
}

static uint64_t whole_or_0(struct json_node n)
{
    uint64_t value = 0;
    return json_whole(n, &value) ? value : 0;
}

static struct span cut(struct span text, size_t most)
{
    if (text.len <= most)
        return text;
    while (most > 0 && (text.base[most] & 0xc0) == 0x80)
        most--; /* not inside a character */
    return span_of(text.base, most);
}

static struct span template_of(struct json_node pattern)
{
    struct span text = json_string(json_get(pattern, "template"));
    if (text.len == 0)
        text = json_string(json_get(pattern, "message_sample"));
    return cut(text, ROLLUP_TEMPLATE_BYTES);
}

/* Of senders that do not say it, by the share of the records. */
static uint64_t kept_bytes_of(struct json_node pattern, const struct rollup_counts *c)
{
    uint64_t bytes;
    if (json_whole(json_get(pattern, "sampled_bytes"), &bytes))
        return bytes;
    return c->received == 0 ? 0
                            : (uint64_t)((double)c->bytes * (double)c->kept / (double)c->received);
}

void report_body_line(struct rollup_line *out, struct json_node pattern, int64_t now_ms)
{
    struct rollup_counts *c = &out->counts;
    struct json_node kept = json_get(pattern, "sampled_count");
    *out = (struct rollup_line){
        .signature = json_string(json_get(pattern, "signature")),
        .template_text = template_of(pattern),
        .family = json_string(json_get(pattern, "family")),
    };
    c->received = whole_or_0(json_get(pattern, "count"));
    /* Of SDKs that do not say what they kept, no saving is claimed. */
    c->kept = json_kind(kept) == JSON_NULL ? c->received : whole_or_0(kept);
    c->bytes = whole_or_0(json_get(pattern, "bytes"));
    c->kept_bytes = kept_bytes_of(pattern, c);
    c->first_ms = time_or_now(json_get(pattern, "first_seen"), now_ms);
    c->last_ms = time_or_now(json_get(pattern, "last_seen"), now_ms);
    struct json_each each = json_each(json_get(pattern, "severity_distribution"));
    while (json_next(&each)) {
        int level = level_parse(each.key);
        c->level[level < 0 ? LEVEL_INFO : level] += whole_or_0(each.value);
    }
}

/* ---- checks ------------------------------------------------------------- */

static bool is_count(struct json_node n)
{
    uint64_t value;
    return json_whole(n, &value) && value <= COUNT_MAX;
}

static bool is_id(struct span text, size_t most)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.base[i] < ' ' || text.base[i] == 0x7f)
            return false;
    return text.len > 0 && text.len <= most;
}

static bool is_optional(struct json_node n, bool (*is_right)(struct json_node n))
{
    return json_kind(n) == JSON_NULL || is_right(n);
}

static bool is_text(struct json_node n)
{
    return json_kind(n) == JSON_STRING;
}

static bool is_signature(struct json_node n)
{
    return is_id(json_string(n), ROLLUP_SIGNATURE_BYTES);
}

static bool is_time(struct json_node n)
{
    int64_t ms;
    return read_time(n, &ms);
}

static bool is_severities(struct json_node n)
{
    struct json_each each = json_each(n);
    if (json_kind(n) != JSON_OBJECT)
        return false;
    while (json_next(&each))
        if (!is_count(each.value))
            return false;
    return true;
}

/* Of one pattern. */
static const struct {
    const char *name;
    bool is_required;
    bool (*is_right)(struct json_node n);
    const char *wanted;
} fields[] = {
    {"signature", true, is_signature, "a text of 1 to 64 printable characters"},
    {"count", true, is_count, "a whole number from 0"},
    {"sampled_count", false, is_count, "a whole number from 0"},
    {"bytes", false, is_count, "a whole number from 0"},
    {"sampled_bytes", false, is_count, "a whole number from 0"},
    {"first_seen", false, is_time, "Unix seconds, or an ISO 8601 time"},
    {"last_seen", false, is_time, "Unix seconds, or an ISO 8601 time"},
    {"template", false, is_text, "a text"},
    {"message_sample", false, is_text, "a text"},
    {"family", false, is_signature, "a text of 1 to 64 printable characters"},
    {"severity_distribution", false, is_severities, "an object of whole numbers"},
};

static int check_pattern(struct report_body *b, struct json_node p, uint64_t *sum,
                         struct error *err)
{
    if (json_kind(p) != JSON_OBJECT)
        return err_set(err, ERR_MALFORMED, "patterns[%u]: an object is wanted", b->pattern_count);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        struct json_node n = json_get(p, fields[i].name);
        if (fields[i].is_required ? !fields[i].is_right(n) : !is_optional(n, fields[i].is_right))
            return err_set(err, ERR_MALFORMED, "patterns[%u].%s: must be %s", b->pattern_count,
                           fields[i].name, fields[i].wanted);
    }
    *sum += whole_or_0(json_get(p, "count"));
    if (whole_or_0(json_get(p, "sampled_count")) > whole_or_0(json_get(p, "count")))
        return err_set(err, ERR_MALFORMED, "patterns[%u].sampled_count: more than count",
                       b->pattern_count);
    b->text_bytes += json_string(json_get(p, "signature")).len + template_of(p).len +
                     json_string(json_get(p, "family")).len;
    return 0;
}

static int read_sender(struct report_body *b, struct json_node root, struct error *err)
{
    struct json_node instance = json_get(root, "instance"), boot = json_get(root, "boot"),
                     sequence = json_get(root, "sequence");
    if (json_kind(instance) == JSON_NULL && json_kind(boot) == JSON_NULL &&
        json_kind(sequence) == JSON_NULL)
        return 0;
    b->instance = json_string(instance);
    b->boot = json_string(boot);
    if (!is_id(b->instance, ROLLUP_ID_BYTES) || !is_id(b->boot, ROLLUP_ID_BYTES) ||
        !json_whole(sequence, &b->sequence) || b->sequence == 0 || b->sequence > COUNT_MAX)
        return err_set(err, ERR_MALFORMED,
                       "instance, boot, sequence: two texts of 1 to 128 characters and a whole "
                       "number from 1, or none of them");
    return 0;
}

static int read_patterns(struct report_body *b, struct json_node root, struct error *err)
{
    struct json_each each = json_each(b->patterns);
    uint64_t sum = 0, total = 0;
    int rc = 0;
    if (json_kind(b->patterns) != JSON_ARRAY)
        return err_set(err, ERR_MALFORMED, "patterns: an array is wanted");
    for (; rc == 0 && json_next(&each); b->pattern_count++)
        rc = b->pattern_count == PATTERNS_MAX
                 ? err_set(err, ERR_MALFORMED, "patterns: more than %d", PATTERNS_MAX)
                 : check_pattern(b, each.value, &sum, err);
    if (rc < 0)
        return rc;
    if (!is_optional(json_get(root, "total_logs"), is_count))
        return err_set(err, ERR_MALFORMED, "total_logs: must be a whole number from 0");
    total = whole_or_0(json_get(root, "total_logs"));
    b->rest = total > sum ? total - sum : 0;
    return 0;
}

static int read_troubles(struct report_body *b, struct json_node root, struct error *err)
{
    struct json_node limited = json_get(root, "quota_limited");
    b->lost = json_get(root, "lost");
    if (json_kind(b->lost) != JSON_NULL && json_kind(b->lost) != JSON_OBJECT)
        return err_set(err, ERR_MALFORMED, "lost: an object is wanted");
    struct json_each each = json_each(b->lost);
    while (json_next(&each)) {
        if (b->reason_count++ == REPORT_REASONS_MAX)
            return err_set(err, ERR_MALFORMED, "lost: more than %d reasons", REPORT_REASONS_MAX);
        if (!is_id(each.key, ROLLUP_REASON_BYTES) || !is_count(each.value))
            return err_set(err, ERR_MALFORMED,
                           "lost: reasons must be texts of 1 to %d printable characters, each with "
                           "a whole number from 0",
                           ROLLUP_REASON_BYTES);
        b->text_bytes += each.key.len;
    }
    if (json_kind(limited) != JSON_NULL && json_kind(limited) != JSON_BOOL)
        return err_set(err, ERR_MALFORMED, "quota_limited: must be true or false");
    b->is_quota_limited = json_is_true(limited);
    return 0;
}

static int read_versions(struct report_body *b, struct json_node root, struct error *err)
{
    b->versions = json_get(root, "versions");
    if (json_kind(b->versions) != JSON_NULL && json_kind(b->versions) != JSON_ARRAY)
        return err_set(err, ERR_MALFORMED, "versions: an array is wanted");
    struct json_each each = json_each(b->versions);
    while (json_next(&each)) {
        struct span text = json_string(json_get(each.value, "version"));
        if (b->version_count++ == REPORT_VERSIONS_MAX)
            return err_set(err, ERR_MALFORMED, "versions: more than %d", REPORT_VERSIONS_MAX);
        if (!is_id(text, ROLLUP_VERSION_BYTES) ||
            !is_optional(json_get(each.value, "first_seen"), is_time))
            return err_set(err, ERR_MALFORMED,
                           "versions: each must have a version, a text of 1 to %d bytes without "
                           "control characters, and may have first_seen, a time",
                           ROLLUP_VERSION_BYTES);
        b->text_bytes += text.len;
    }
    return 0;
}

void report_body_version(struct span *text, int64_t *first_ms, struct json_node version,
                         int64_t now_ms)
{
    *text = json_string(json_get(version, "version"));
    *first_ms = time_or_now(json_get(version, "first_seen"), now_ms);
}

int report_body_read(struct report_body *out, struct json_node root, struct error *err)
{
    struct report_body b = {.service = json_string(json_get(root, "service_name")),
                            .patterns = json_get(root, "patterns")};
    struct json_node team = json_get(root, "team_id");
    if (!is_id(b.service, REPORT_NAME_BYTES))
        return err_set(err, ERR_MALFORMED,
                       "service_name: must be a text of 1 to %d bytes without control characters",
                       REPORT_NAME_BYTES);
    if (json_kind(team) != JSON_NULL && !json_whole(team, &b.team))
        return err_set(err, ERR_MALFORMED, "team_id: must be a whole number from 0");
    if (!is_optional(json_get(root, "timestamp"), is_time))
        return err_set(err, ERR_MALFORMED, "timestamp: must be Unix seconds");
    int rc = read_sender(&b, root, err);
    if (rc == 0)
        rc = read_patterns(&b, root, err);
    if (rc == 0)
        rc = read_troubles(&b, root, err);
    if (rc == 0)
        rc = read_versions(&b, root, err);
    if (rc == 0)
        *out = b;
    return rc;
}
