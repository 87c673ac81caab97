/* value: parsers and printers of the kinds of settings. */
#include "config/value.h"

#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/stamp.h"
#include "util/words.h"

struct unit {
    const char *suffix;
    uint64_t factor;
};

/* Largest first, for printing; the unit without a suffix last. */
static const struct unit byte_units[] = {
    {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1},
};
static const struct unit time_units[] = {
    {"h", 3600000},
    {"m", 60000},
    {"s", 1000},
    {"ms", 1},
};

static int scale(const struct unit *units, size_t n, const char *text, uint64_t max, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || errno != 0)
        return ERR_CONFIG;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(end, units[i].suffix) != 0)
            continue;
        if (number > max / units[i].factor)
            return ERR_TOO_BIG;
        *out = number * units[i].factor;
        return 0;
    }
    return ERR_CONFIG;
}

static void print_scaled(const struct unit *units, uint64_t value, struct buf *out)
{
    while (units->factor > 1 && (value == 0 || value % units->factor != 0))
        units++;
    buf_printf(out, "%llu%s", (unsigned long long)(value / units->factor), units->suffix);
}

static const char *parse_bytes(void *at, size_t size, const char *text)
{
    (void)size;
    int rc = scale(byte_units, ARRAY_LEN(byte_units), text, INT64_MAX, at);
    return rc < 0 ? "a size such as 4096, 64KiB or 2MiB" : NULL;
}

static void print_bytes(const void *at, struct buf *out)
{
    print_scaled(byte_units, *(const uint64_t *)at, out);
}

static const char *parse_millis(void *at, size_t size, const char *text)
{
    uint64_t ms;
    (void)size;
    if (strcmp(text, "0") != 0 &&
        scale(time_units, ARRAY_LEN(time_units), text, UINT32_MAX, &ms) < 0)
        return "a time such as 250ms, 5s or 1h";
    *(uint32_t *)at = strcmp(text, "0") == 0 ? 0 : (uint32_t)ms;
    return NULL;
}

static void print_millis(const void *at, struct buf *out)
{
    print_scaled(time_units, *(const uint32_t *)at, out);
}

static const char *parse_count(void *at, size_t size, const char *text)
{
    static const struct unit one = {"", 1};
    uint64_t n;
    (void)size;
    if (scale(&one, 1, text, INT32_MAX, &n) < 0)
        return "a whole number";
    *(uint32_t *)at = (uint32_t)n;
    return NULL;
}

static void print_count(const void *at, struct buf *out)
{
    buf_printf(out, "%u", *(const uint32_t *)at);
}

static const char *parse_number(double *at, const char *text, double least, double most,
                                const char *wanted)
{
    /* Decimals only: strtod() takes blanks, signs, hex, nan and infinity as well. */
    bool is_decimal = isdigit((unsigned char)text[0]) || text[0] == '.';
    char *end;
    double number = strtod(text, &end);
    if (!is_decimal || text[strspn(text, "0123456789.eE+-")] != '\0' || *end != '\0' ||
        !(number >= least && number <= most))
        return wanted;
    *at = number;
    return NULL;
}

static const char *parse_ratio(void *at, size_t size, const char *text)
{
    (void)size;
    return parse_number(at, text, 0, 1, "a rate from 0 to 1");
}

static void print_ratio(const void *at, struct buf *out)
{
    double ratio = *(const double *)at;
    char text[32];
    int digits = 6;
    do /* the fewest that read back as the same number */
        snprintf(text, sizeof text, "%.*g", digits, ratio);
    while (strtod(text, NULL) != ratio && ++digits <= 17);
    buf_append_str(out, text);
}

static const char *parse_text(void *at, size_t size, const char *text)
{
    size_t len = strlen(text);
    if (len >= size)
        return "a shorter text";
    memcpy(at, text, len);
    memset((char *)at + len, 0, size - len); /* equal texts are equal bytes: config_adopt() */
    return NULL;
}

/* The length of the character at `text` when YAML 1.1 (5.1) takes it for a line end or forbids it,
 * beyond ASCII; else 0. */
static size_t special(const char *text, unsigned *point)
{
    static const struct {
        const char *bytes;
        unsigned point;
    } table[] = {
        {"\xe2\x80\xa8", 0x2028}, {"\xe2\x80\xa9", 0x2029}, {"\xef\xbb\xbf", 0xfeff},
        {"\xef\xbf\xbe", 0xfffe}, {"\xef\xbf\xbf", 0xffff},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        if (strncmp(text, table[i].bytes, 3) == 0) {
            *point = table[i].point;
            return 3;
        }
    }
    *point = (uint8_t)text[1];
    return (uint8_t)text[0] == 0xc2 && *point >= 0x80 && *point < 0xa0 ? 2 : 0;
}

void value_print_quoted(struct buf *out, const char *text)
{
    unsigned point;
    buf_append_byte(out, '"');
    for (size_t n; *text != '\0'; text++) {
        uint8_t c = (uint8_t)*text;
        if ((n = special(text, &point)) > 0) {
            buf_printf(out, "\\u%04x", point);
            text += n - 1;
        } else if (c == '\n')
            buf_append_str(out, "\\n");
        else if (c < 0x20 || c == 0x7f)
            buf_printf(out, "\\x%02x", c);
        else if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c == '$')
            buf_append_str(out, "$$");
        else
            buf_append_byte(out, c);
    }
    buf_append_byte(out, '"');
}

static void print_text(const void *at, struct buf *out)
{
    value_print_quoted(out, at);
}

static void print_secret(const void *at, struct buf *out)
{
    buf_append_str(out, *(const char *)at == '\0' ? "\"\"" : "\"[redacted]\"");
}

/* Words that stand for numbers from 0. */
static const char *parse_word(void *at, const char *const *words, size_t n, const char *text,
                              const char *wanted)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(words[i], text) == 0) {
            *(int *)at = (int)i;
            return NULL;
        }
    }
    return wanted;
}

static const char *parse_coding(void *at, size_t size, const char *text)
{
    static const struct {
        const char *word;
        enum coding coding;
    } words[] = {{"none", CODING_IDENTITY}, {"gzip", CODING_GZIP}, {"zstd", CODING_ZSTD}};
    (void)size;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(words[i].word, text) == 0) {
            *(enum coding *)at = words[i].coding;
            return NULL;
        }
    }
    return "one of zstd, gzip, none";
}

static void print_coding(const void *at, struct buf *out)
{
    enum coding c = *(const enum coding *)at;
    buf_append_str(out, c == CODING_IDENTITY ? "none" : coding_name(c));
}

static const char *const passthrough_words[] = {"relay", "discard", "refuse"};
static const char *const level_words[] = {"error", "warn", "info", "debug"};

static const char *parse_passthrough(void *at, size_t size, const char *text)
{
    (void)size;
    return parse_word(at, passthrough_words, ARRAY_LEN(passthrough_words), text,
                      "one of relay, discard, refuse");
}

static void print_passthrough(const void *at, struct buf *out)
{
    buf_append_str(out, passthrough_words[*(const enum passthrough *)at]);
}

static const char *const tls_version_words[] = {
    [TLS_AT_LEAST_1_2] = "1.2",
    [TLS_AT_LEAST_1_3] = "1.3",
};

static const char *parse_tls_version(void *at, size_t size, const char *text)
{
    (void)size;
    return parse_word(at, tls_version_words, ARRAY_LEN(tls_version_words), text, "1.2 or 1.3");
}

static void print_tls_version(const void *at, struct buf *out)
{
    value_print_quoted(out, tls_version_words[*(const enum tls_version *)at]);
}

static const char *parse_level(void *at, size_t size, const char *text)
{
    (void)size;
    return parse_word(at, level_words, ARRAY_LEN(level_words), text,
                      "one of error, warn, info, debug");
}

static void print_level(const void *at, struct buf *out)
{
    buf_append_str(out, level_words[*(const enum diag_level *)at]);
}

static const char *parse_severity(void *at, size_t size, const char *text)
{
    int level = level_parse(span_str(text));
    (void)size;
    if (level < 0)
        return "one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL";
    *(enum level *)at = (enum level)level;
    return NULL;
}

static void print_severity(const void *at, struct buf *out)
{
    buf_append_str(out, level_name(*(const enum level *)at));
}

/* A kind of one of two words, which stand for false and true. `listed` is how a message has them.
 */
#define EITHER(name, no, yes, listed) \
    static const char *parse_##name(void *at, size_t size, const char *text) \
    { \
        (void)size; \
        if (strcmp(text, yes) != 0 && strcmp(text, no) != 0) \
            return "one of " listed; \
        *(bool *)at = strcmp(text, yes) == 0; \
        return NULL; \
    } \
    static void print_##name(const void *at, struct buf *out) \
    { \
        buf_append_str(out, *(const bool *)at ? yes : no); \
    } \
    const struct value_kind value_##name = {parse_##name, print_##name}

EITHER(mode, "enforce", "observe", "enforce, observe");
EITHER(multiline, "off", "join", "off, join");
EITHER(sandbox, "off", "on", "off, on");
EITHER(role, "member", "leader", "member, leader");
EITHER(policy_apply, "propose", "auto", "propose, auto");
EITHER(relayed, "refuse", "relay", "relay, refuse");
EITHER(budget_source, "configured", "posthog", "configured, posthog");
EITHER(durability, "memory", "disk", "memory, disk");
EITHER(model_format, "openai", "anthropic", "openai, anthropic");
EITHER(when_full, "reject", "drop_oldest", "reject, drop_oldest");
EITHER(flag, "false", "true", "true, false");
EITHER(log_format, "text", "json", "text, json");

static const char *const fsync_words[] = {"always", "interval", "never"};

static const char *parse_fsync(void *at, size_t size, const char *text)
{
    (void)size;
    return parse_word(at, fsync_words, ARRAY_LEN(fsync_words), text,
                      "one of always, interval, never");
}

static void print_fsync(const void *at, struct buf *out)
{
    buf_append_str(out, fsync_words[*(const enum journal_fsync *)at]);
}

static const char *const upstream_key_words[] = {"configured", "client", "client_or_configured"};

static const char *parse_upstream_key(void *at, size_t size, const char *text)
{
    (void)size;
    return parse_word(at, upstream_key_words, ARRAY_LEN(upstream_key_words), text,
                      "one of configured, client, client_or_configured");
}

static void print_upstream_key(const void *at, struct buf *out)
{
    buf_append_str(out, upstream_key_words[*(const enum key_policy *)at]);
}

static const char *const guard_words[] = {
    [GUARD_KEEP] = "keep", [GUARD_SCALE] = "scale", [GUARD_OFF] = "off"};

static const char *parse_guard(void *at, size_t size, const char *text)
{
    (void)size;
    return parse_word(at, guard_words, ARRAY_LEN(guard_words), text, "one of keep, scale, off");
}

static void print_guard(const void *at, struct buf *out)
{
    buf_append_str(out, guard_words[*(const enum guard_mode *)at]);
}

/* An amount of money. */
static const char *parse_amount(void *at, size_t size, const char *text)
{
    (void)size;
    return parse_number(at, text, 0, DBL_MAX, "a number, 0 or more");
}

static struct span trim(struct span s)
{
    while (s.len > 0 && s.base[0] == ' ')
        s = span_skip(s, 1);
    while (s.len > 0 && s.base[s.len - 1] == ' ')
        s.len--;
    return s;
}

/* Call fn for each of "[one, two]", "one,two", "[]". False: it did not want one. */
static bool each_word(const char *text, bool (*fn)(void *ctx, struct span word), void *ctx)
{
    struct span rest = trim(span_str(text));
    if (rest.len >= 2 && rest.base[0] == '[' && rest.base[rest.len - 1] == ']') {
        rest = trim(span_of(rest.base + 1, rest.len - 2));
        if (rest.len == 0)
            return true;
    }
    for (;;) {
        size_t n = 0;
        while (n < rest.len && rest.base[n] != ',')
            n++;
        if (!fn(ctx, trim(span_of(rest.base, n))))
            return false;
        if (n == rest.len)
            return true;
        rest = span_skip(rest, n + 1);
    }
}

/* A bit for each word, by its place as `find` gives it. False: one is unknown to it. */
struct word_set {
    unsigned bits;
    int (*find)(struct span word);
};

static bool add_bit(void *ctx, struct span word)
{
    struct word_set *set = ctx;
    int place = set->find(word);
    if (place >= 0)
        set->bits |= 1u << place;
    return place >= 0;
}

static bool parse_words(unsigned *bits, const char *text, int (*find)(struct span word))
{
    struct word_set set = {0, find};
    bool is_good = each_word(text, add_bit, &set);
    *bits = set.bits;
    return is_good;
}

static bool add_name(void *ctx, struct span word)
{
    struct peer_weights *w = ctx;
    if (word.len == 0 || word.len >= PEER_WEIGHT_NAME_BYTES || w->count == PEER_WEIGHTS_MAX)
        return false;
    memcpy(w->names[w->count], word.base, word.len);
    w->names[w->count++][word.len] = '\0';
    return true;
}

static const char *parse_names(void *at, size_t size, const char *text)
{
    struct peer_weights w = {0};
    (void)size;
    if (!each_word(text, add_name, &w))
        return "a list of up to 8 names of attributes, of up to 63 bytes each";
    *(struct peer_weights *)at = w;
    return NULL;
}

static void print_names(const void *at, struct buf *out)
{
    const struct peer_weights *w = at;
    buf_append_byte(out, '[');
    for (uint32_t i = 0; i < w->count; i++)
        buf_printf(out, "%s%s", i > 0 ? ", " : "", w->names[i]);
    buf_append_byte(out, ']');
}

/* Texts that have no commas in them: origins, hosts, names of headers. */
static bool add_text(void *ctx, struct span word)
{
    char *list = ctx;
    size_t n = strlen(list);
    if (word.len == 0)
        return n == 0; /* "": no words */
    if (memchr(word.base, ' ', word.len) != NULL || n + 1 + word.len >= CONFIG_TEXT_BYTES)
        return false;
    if (n > 0)
        list[n++] = ',';
    memcpy(list + n, word.base, word.len);
    list[n + word.len] = '\0';
    return true;
}

static const char *parse_texts(void *at, size_t size, const char *text)
{
    config_text list = "";
    (void)size;
    if (!each_word(text, add_text, list))
        return "a list of words, of less than 1024 bytes in all";
    memcpy(at, list, sizeof list);
    return NULL;
}

static void print_texts(const void *at, struct buf *out)
{
    struct span rest = span_str(at), word;
    const char *comma = "";
    buf_append_byte(out, '[');
    while (words_next(&rest, &word)) {
        config_text text;
        memcpy(text, word.base, word.len);
        text[word.len] = '\0';
        buf_append_str(out, comma);
        value_print_quoted(out, text);
        comma = ", ";
    }
    buf_append_byte(out, ']');
}

static const char *parse_stamps(void *at, size_t size, const char *text)
{
    unsigned set;
    (void)size;
    if (!parse_words(&set, text, stamp_parse))
        return "one or more of adjusted_count, pattern, family, threshold, "
               "randomness, template, reason, weight_always";
    *(unsigned *)at = set;
    return NULL;
}

static void print_stamps(const void *at, struct buf *out)
{
    unsigned set = *(const unsigned *)at;
    const char *comma = "";
    buf_append_byte(out, '[');
    for (unsigned s = 0; s < STAMP_COUNT; s++) {
        if ((set >> s & 1) == 0)
            continue;
        buf_printf(out, "%s%s", comma, stamp_name((enum stamp)s));
        comma = ", ";
    }
    buf_append_byte(out, ']');
}

enum { FROM_FIELDS, FROM_TEXT };

static int find_severity_source(struct span word)
{
    return span_eq(word, SPAN("fields")) ? FROM_FIELDS
           : span_eq(word, SPAN("text")) ? FROM_TEXT
                                         : -1;
}

/* The fields are always read, and always win. */
static const char *parse_severity_from(void *at, size_t size, const char *text)
{
    unsigned set;
    (void)size;
    if (!parse_words(&set, text, find_severity_source) || set == 0)
        return "[fields, text] or [fields]";
    *(bool *)at = (set >> FROM_TEXT & 1) != 0;
    return NULL;
}

static void print_severity_from(const void *at, struct buf *out)
{
    buf_append_str(out, *(const bool *)at ? "[fields, text]" : "[fields]");
}

/* A factor on rates; rules_set_boost() has the same bounds. */
static const char *parse_factor(void *at, size_t size, const char *text)
{
    (void)size;
    return parse_number(at, text, 1, 1000, "a factor from 1 to 1000");
}

const struct value_kind value_bytes = {parse_bytes, print_bytes};
const struct value_kind value_millis = {parse_millis, print_millis};
const struct value_kind value_count = {parse_count, print_count};
const struct value_kind value_ratio = {parse_ratio, print_ratio};
const struct value_kind value_factor = {parse_factor, print_ratio};
const struct value_kind value_amount = {parse_amount, print_ratio};
const struct value_kind value_text = {parse_text, print_text};
const struct value_kind value_secret = {parse_text, print_secret};
const struct value_kind value_coding = {parse_coding, print_coding};
const struct value_kind value_tls_version = {parse_tls_version, print_tls_version};
const struct value_kind value_passthrough = {parse_passthrough, print_passthrough};
const struct value_kind value_level = {parse_level, print_level};
const struct value_kind value_severity = {parse_severity, print_severity};
const struct value_kind value_fsync = {parse_fsync, print_fsync};
const struct value_kind value_guard = {parse_guard, print_guard};
const struct value_kind value_upstream_key = {parse_upstream_key, print_upstream_key};
const struct value_kind value_stamps = {parse_stamps, print_stamps, .is_list = true};
const struct value_kind value_names = {parse_names, print_names, .is_list = true};
const struct value_kind value_words = {parse_texts, print_texts, .is_list = true};
const struct value_kind value_severity_from = {parse_severity_from, print_severity_from,
                                               .is_list = true};
