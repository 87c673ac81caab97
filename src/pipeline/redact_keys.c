/* redact_keys: keys with a prefix of their own. (shapes: gitleaks, config/gitleaks.toml) */
#include "pipeline/redact_check.h"

#define CUT_BYTES 12 /* behind the prefix: of a key that the end of the text cut off */
#define JWT_PART_BYTES 17
#define JWT_END_BYTES 10
#define OPENAI_BYTES 256 /* no key of theirs is longer */

enum set { WORD, WORD_DASH, ALNUM, HEX, BASE32, LETTERS };

static bool in_set(enum set set, uint8_t c)
{
    switch (set) {
    case WORD:
        return redact_is_word(c);
    case WORD_DASH:
        return redact_is_word_or_dash(c);
    case ALNUM:
        return redact_is_alnum(c);
    case HEX:
        return redact_is_digit(c) || (uint8_t)(c - 'a') < 6;
    case BASE32:
        return redact_is_upper(c) || (uint8_t)(c - '2') < 6;
    case LETTERS:
        return redact_is_letter(c);
    }
    return false;
}

/* Where bytes of the set end. */
static size_t end_of(const struct redact_view *v, size_t at, enum set set)
{
    while (at < v->n && in_set(set, v->t[at]))
        at++;
    return at;
}

/* A key whose set has a dash is not inside of a longer word with dashes. Besides, so no run of
 * those bytes is read twice. */
static bool dash_edge(const struct redact_view *v, size_t at)
{
    return at == 0 || !redact_is_word_or_dash(v->t[at - 1]);
}

bool redact_key_here(const struct redact_view *v, const struct redact_key *key, size_t at,
                     struct redact_hit *hit)
{
    struct span prefix = span_str(key->prefix);
    if (!redact_has(v, at, prefix, false))
        return false;
    if (key->find != NULL)
        return key->find(v, at, hit);
    if (key->set == WORD_DASH && !dash_edge(v, at))
        return false;
    size_t start = at + prefix.len, end = start;
    size_t most = key->most > 0 ? key->most : SIZE_MAX;
    while (end < v->n && end - start < most && in_set(key->set, v->t[end]))
        end++;
    bool is_cut = end == v->n && end - start >= CUT_BYTES;
    if (end - start < key->least && !is_cut)
        return false;
    bool is_edge = key->set == WORD_DASH ? end >= v->n || !redact_is_word_or_dash(v->t[end])
                                         : redact_right_edge(v, end);
    return is_edge && redact_hit_at(hit, key->kind, at, end);
}

/* "{\"" in base64url: eyI to eyL. */
static bool is_json_in_base64(const struct redact_view *v, size_t at)
{
    return at + 2 < v->n && v->t[at] == 'e' && v->t[at + 1] == 'y' && v->t[at + 2] >= 'I' &&
           v->t[at + 2] <= 'L';
}

static bool find_jwt(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    if (!dash_edge(v, at) || !is_json_in_base64(v, at))
        return false;
    size_t first = end_of(v, at, WORD_DASH);
    if (first - at < JWT_PART_BYTES + 2 || first + 3 > v->n || v->t[first] != '.' ||
        v->t[first + 1] != 'e' || v->t[first + 2] != 'y')
        return false;
    size_t second = end_of(v, first + 1, WORD_DASH);
    if (second == v->n)
        return redact_hit_at(hit, REDACT_JWT, at, second); /* cut, in its second part */
    if (second - first - 1 < JWT_PART_BYTES + 2 || v->t[second] != '.')
        return false;
    size_t third = end_of(v, second + 1, WORD_DASH);
    size_t last = third - second - 1;
    if (last > 0 && last < JWT_END_BYTES && third != v->n)
        return false;
    return redact_hit_at(hit, REDACT_JWT, at, third);
}

/* A3T and one more, AKIA and the like, 16 characters. Keys of documentation end in EXAMPLE. */
static bool find_aws(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    size_t end = at + 20;
    if (end > v->n || !redact_right_edge(v, end) || redact_has(v, end - 7, SPAN("EXAMPLE"), false))
        return false;
    for (size_t i = at + 4; i < end; i++)
        if (!in_set(BASE32, v->t[i]))
            return false;
    return in_set(BASE32, v->t[at + 3]) && redact_hit_at(hit, REDACT_AWS_KEY, at, end);
}

/* sk_ or rk_, live_, test_ or prod_. */
static bool find_stripe(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    static const struct span kinds[] = {{(const uint8_t *)"live_", 5},
                                        {(const uint8_t *)"test_", 5},
                                        {(const uint8_t *)"prod_", 5}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!redact_has(v, at + 3, kinds[i], false))
            continue;
        size_t end = end_of(v, at + 8, ALNUM);
        return end - at - 8 >= 10 && redact_right_edge(v, end) &&
               redact_hit_at(hit, REDACT_STRIPE, at, end);
    }
    return false;
}

/* xoxb-, xoxp-, xoxe-, xoxa-: digits and dashes, then the token. */
static bool find_slack(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    if (!dash_edge(v, at) || at + 10 > v->n || memchr("bpearos", v->t[at + 3], 7) == NULL ||
        v->t[at + 4] != '-' || !redact_is_digit(v->t[at + 5]))
        return false;
    size_t end = end_of(v, at + 5, WORD_DASH);
    return end - at >= 20 && redact_hit_at(hit, REDACT_SLACK, at, end);
}

/* https://hooks.slack.com/services/ and what follows, at its "ho". */
static bool find_slack_hook(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    static const struct span host = {(const uint8_t *)"hooks.slack.com/services/", 25};
    if (!redact_has(v, at, host, false))
        return false;
    size_t start = at + host.len, end = start;
    while (end < v->n && (redact_is_alnum(v->t[end]) || v->t[end] == '/'))
        end++;
    return end - start >= 40 && redact_hit_at(hit, REDACT_SLACK, start, end);
}

/* The marker in the middle makes it exact. */
static bool find_openai(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    static const struct span marker = {(const uint8_t *)"T3BlbkFJ", 8};
    if (!dash_edge(v, at))
        return false;
    size_t most = v->n - at < OPENAI_BYTES ? v->n - at : OPENAI_BYTES, n = 0;
    while (n < most && redact_is_word_or_dash(v->t[at + n]))
        n++;
    return n >= 24 && memmem(v->t + at, n, marker.base, marker.len) != NULL &&
           redact_hit_at(hit, REDACT_OPENAI, at, at + n);
}

/* SG., 22, a point, 43. */
static bool find_sendgrid(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    size_t start = at + 3, point = end_of(v, start, WORD_DASH);
    if (point - start != 22 || point >= v->n || v->t[point] != '.')
        return false;
    size_t end = end_of(v, point + 1, WORD_DASH);
    return end - point - 1 == 43 && redact_hit_at(hit, REDACT_SENDGRID, at, end);
}

/* Sorted by first byte; where prefixes begin alike, the longer one first. */
/* clang-format off */
const struct redact_key redact_keys[] = {
    {"A3T",                 REDACT_AWS_KEY,          0,         0,  0,   find_aws},
    {"ABIA",                REDACT_AWS_KEY,          0,         0,  0,   find_aws},
    {"ACCA",                REDACT_AWS_KEY,          0,         0,  0,   find_aws},
    {"AIza",                REDACT_GOOGLE_KEY,       WORD_DASH, 35, 35,  NULL},
    {"AKIA",                REDACT_AWS_KEY,          0,         0,  0,   find_aws},
    {"ASIA",                REDACT_AWS_KEY,          0,         0,  0,   find_aws},
    {"BEARER ",             REDACT_BEARER,           0,         0,  0,   redact_bearer},
    {"BASIC ",              REDACT_BASIC,            0,         0,  0,   redact_basic},
    {"Basic ",              REDACT_BASIC,            0,         0,  0,   redact_basic},
    {"Bearer ",             REDACT_BEARER,           0,         0,  0,   redact_bearer},
    {"SG.",                 REDACT_SENDGRID,         0,         0,  0,   find_sendgrid},
    {"basic ",              REDACT_BASIC,            0,         0,  0,   redact_basic},
    {"bearer ",             REDACT_BEARER,           0,         0,  0,   redact_bearer},
    {"dapi",                REDACT_DATABRICKS,       HEX,       32, 32,  NULL},
    {"dop_v1_",             REDACT_DIGITALOCEAN,     HEX,       64, 64,  NULL},
    {"eyI",                 REDACT_JWT,              0,         0,  0,   find_jwt},
    {"eyJ",                 REDACT_JWT,              0,         0,  0,   find_jwt},
    {"eyK",                 REDACT_JWT,              0,         0,  0,   find_jwt},
    {"eyL",                 REDACT_JWT,              0,         0,  0,   find_jwt},
    {"gho_",                REDACT_GITHUB,           ALNUM,     36, 0,   NULL},
    {"ghp_",                REDACT_GITHUB,           ALNUM,     36, 0,   NULL},
    {"ghr_",                REDACT_GITHUB,           ALNUM,     36, 0,   NULL},
    {"ghs_",                REDACT_GITHUB,           ALNUM,     36, 0,   NULL},
    {"ghu_",                REDACT_GITHUB,           ALNUM,     36, 0,   NULL},
    {"github_pat_",         REDACT_GITHUB,           WORD,      82, 0,   NULL},
    {"glc_",                REDACT_GRAFANA,          ALNUM,     32, 0,   NULL},
    {"glpat-",              REDACT_GITLAB,           WORD_DASH, 20, 0,   NULL},
    {"glsa_",               REDACT_GRAFANA,          WORD,      41, 0,   NULL},
    {"hf_",                 REDACT_HUGGINGFACE,      LETTERS,   34, 34,  NULL},
    {"hooks.slack.com/",    REDACT_SLACK,            0,         0,  0,   find_slack_hook},
    {"hvs.",                REDACT_VAULT,            WORD_DASH, 90, 0,   NULL},
    {"lin_api_",            REDACT_LINEAR,           ALNUM,     40, 40,  NULL},
    {"npm_",                REDACT_NPM,              ALNUM,     36, 36,  NULL},
    {"pha_",                REDACT_POSTHOG_OAUTH,    ALNUM,     40, 0,   NULL},
    {"phr_",                REDACT_POSTHOG_OAUTH,    ALNUM,     40, 0,   NULL},
    {"phs_",                REDACT_POSTHOG_SECRET,   ALNUM,     40, 0,   NULL},
    {"phx_",                REDACT_POSTHOG_PERSONAL, ALNUM,     40, 0,   NULL},
    {"pypi-AgEIcHlwaS5vcmc", REDACT_PYPI,            WORD_DASH, 50, 0,   NULL},
    {"rk_",                 REDACT_STRIPE,           0,         0,  0,   find_stripe},
    {"shpat_",              REDACT_SHOPIFY,          HEX,       32, 32,  NULL},
    {"sk-ant-admin01-",     REDACT_ANTHROPIC,        WORD_DASH, 93, 0,   NULL},
    {"sk-ant-api03-",       REDACT_ANTHROPIC,        WORD_DASH, 93, 0,   NULL},
    {"sk-",                 REDACT_OPENAI,           0,         0,  0,   find_openai},
    {"sk_",                 REDACT_STRIPE,           0,         0,  0,   find_stripe},
    {"whsec_",              REDACT_STRIPE,           ALNUM,     10, 0,   NULL},
    {"xapp-",               REDACT_SLACK,            WORD_DASH, 20, 0,   NULL},
    {"xox",                 REDACT_SLACK,            0,         0,  0,   find_slack},
    {NULL,                  0,                       0,         0,  0,   NULL},
};
/* clang-format on */

static bool is_between_lines(uint8_t c)
{
    return c == '\n' || c == '\r' || c == ' ' || c == '|';
}

/* Over line ends, as they are, as JSON writes them, or as a template does: " | ". */
static size_t skip_line_ends(const struct redact_view *v, size_t at)
{
    for (;;) {
        if (at < v->n && is_between_lines(v->t[at]))
            at++;
        else if (at + 1 < v->n && v->t[at] == '\\' && (v->t[at + 1] == 'n' || v->t[at + 1] == 'r'))
            at += 2;
        else
            return at;
    }
}

/* `at` is the B of -----BEGIN, of whose dashes a template has three. The key is what lies between
 * the two lines, which stay. Without its end in the text all that follows is the key. */
bool redact_private_key(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    static const struct span begin = {(const uint8_t *)"---BEGIN ", 9},
                             end_mark = {(const uint8_t *)"---END ", 7};
    if (at < 3 || !redact_has(v, at - 3, begin, false))
        return false;
    size_t i = at + 6, word = i; /* words of capitals, at most so many */
    while (i < v->n && i - word < 64 && (redact_is_alnum(v->t[i]) || v->t[i] == ' '))
        i++;
    if (memmem(v->t + word, i - word, "PRIVATE KEY", 11) == NULL ||
        !redact_has(v, i, SPAN("---"), false))
        return false;
    while (i < v->n && v->t[i] == '-')
        i++;
    size_t start = skip_line_ends(v, i), stop = v->n;
    const uint8_t *end = memmem(v->t + start, v->n - start, end_mark.base, end_mark.len);
    if (end != NULL)
        stop = (size_t)(end - v->t);
    while (stop > start && v->t[stop - 1] == '-')
        stop--;
    while (stop > start && is_between_lines(v->t[stop - 1]))
        stop--;
    while (stop > start + 1 && v->t[stop - 2] == '\\' && strchr("nr", v->t[stop - 1]) != NULL)
        stop -= 2;
    return stop > start && !redact_is_placeholder(span_of(v->t + start, stop - start)) &&
           redact_hit_at(hit, REDACT_PRIVATE_KEY, start, stop);
}
