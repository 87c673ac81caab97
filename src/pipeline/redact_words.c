/* redact_words: what is known by the words or signs beside it: mail addresses, passwords in
 * addresses, authorization, and name = value. */
#include "pipeline/redact_check.h"

#define LOCAL_MOST 64
#define HOST_MOST 253
#define USER_MOST 64
#define PASSWORD_MOST 128
#define NAME_MOST 24   /* of what a secret is assigned to, with dashes */
#define ESCAPES_MOST 8 /* backslashes and quotes around a name, of JSON in JSON in JSON */
#define VALUE_LEAST 4
#define PLACEHOLDER_MOST 64 /* longer ones are values; and so no long value is read in vain */
#define TOKEN_LEAST 16      /* behind "authorization" */
#define ALONE_LEAST 20      /* behind "Bearer" alone */
#define DECODED_MOST 96     /* of Basic, enough to find its colon */

/* ---- placeholders --------------------------------------------------------- */

static const struct span nothings[] = {
    {(const uint8_t *)"null", 4},      {(const uint8_t *)"true", 4},
    {(const uint8_t *)"false", 5},     {(const uint8_t *)"none", 4},
    {(const uint8_t *)"nil", 3},       {(const uint8_t *)"redacted", 8},
    {(const uint8_t *)"undefined", 9},
};

/* email_9f3c2a1b: a word and eight hexadecimal digits, as `hash` writes it. */
static bool is_hashed(struct span value)
{
    if (value.len < 10 || value.base[value.len - 9] != '_')
        return false;
    for (size_t i = value.len - 8; i < value.len; i++)
        if (!redact_is_digit(value.base[i]) && (uint8_t)(value.base[i] - 'a') >= 6)
            return false;
    for (size_t i = 0; i < value.len - 9; i++)
        if ((uint8_t)(value.base[i] - 'a') >= 26 && value.base[i] != '_' && value.base[i] != '-')
            return false;
    return true;
}

/* $VAR, %s, and what is closed by the bracket that it begins with. */
static bool is_variable(struct span value)
{
    static const char closing[][2] = {{'<', '>'}, {'{', '}'}, {'[', ']'}};
    uint8_t first = value.base[0], last = value.base[value.len - 1];
    for (size_t i = 0; i < ARRAY_LEN(closing); i++)
        if (first == (uint8_t)closing[i][0])
            return last == (uint8_t)closing[i][1];
    if (first == '%')
        return value.len == 2 || value.base[1] == '(' || value.base[1] == '{';
    if (first != '$' || value.len < 2 || value.base[1] == '{' || value.base[1] == '(')
        return first == '$';
    for (size_t i = 1; i < value.len; i++)
        if (!redact_is_upper(value.base[i]) && !redact_is_digit(value.base[i]) &&
            value.base[i] != '_')
            return false;
    return true;
}

bool redact_is_placeholder(struct span value)
{
    size_t same = 0;
    if (value.len == 0)
        return true;
    if (value.len > PLACEHOLDER_MOST)
        return false;
    while (same < value.len && value.base[same] == value.base[0])
        same++;
    if ((same == value.len && strchr("*xX.-", value.base[0]) != NULL) ||
        (same >= 3 && value.base[0] == '*'))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(nothings); i++)
        if (span_ieq(value, nothings[i]))
            return true;
    return is_variable(value) || span_starts(value, SPAN("redacted-")) || is_hashed(value);
}

/* ---- mail ----------------------------------------------------------------- */

/* Names of files that are written like hosts: logo@2x.png, module@next.js. */
static const char suffixes[][8] = {"png", "jpg", "jpeg", "gif", "svg",  "webp", "ico", "css", "js",
                                   "mjs", "jsx", "tsx",  "map", "json", "html", "xml", "yaml"};

static bool is_suffix(struct span label)
{
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
        if (span_ieq(label, span_str(suffixes[i])))
            return true;
    return false;
}

static bool is_local(uint8_t c)
{
    return redact_is_word_or_dash(c) || c == '.' || c == '+' || c == '%';
}

/* How many bytes of a letter of two bytes (Latin, Greek, Cyrillic and the like) end before `at`:
 * 2 or 0. Letters of three bytes are of scripts that write no spaces between words. */
static size_t wide_before(const struct redact_view *v, size_t at, size_t least)
{
    return at >= least + 2 && (v->t[at - 1] & 0xc0) == 0x80 && v->t[at - 2] >= 0xc3 &&
                   v->t[at - 2] <= 0xdf
               ? 2
               : 0;
}

static size_t wide_at(const struct redact_view *v, size_t at)
{
    return at + 1 < v->n && v->t[at] >= 0xc3 && v->t[at] <= 0xdf ? 2 : 0;
}

/* The end of a host with a last label of letters; 0: there is none. */
static size_t end_of_host(const struct redact_view *v, size_t at)
{
    size_t i = at, found = 0, most = at + HOST_MOST;
    for (size_t labels = 1; i < v->n && i < most; labels++, i++) {
        size_t start = i;
        bool is_name = true;
        for (size_t wide; i < v->n && i<most; i += wide> 0 ? wide : 1) {
            wide = wide_at(v, i);
            if (wide == 0 && !redact_is_alnum(v->t[i]) && v->t[i] != '-')
                break;
            is_name = is_name && (wide > 0 || redact_is_letter(v->t[i]));
        }
        struct span label = span_of(v->t + start, i - start);
        if (label.len == 0 || label.base[0] == '-')
            break;
        if (labels > 1 && is_name && label.len >= 2)
            found = is_suffix(label) ? 0 : i;
        if (i >= v->n || v->t[i] != '.')
            break;
    }
    return found;
}

bool redact_email(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    size_t start = at;
    while (start > v->from && at - start < LOCAL_MOST) {
        size_t wide = wide_before(v, start, v->from);
        if (wide == 0 && !is_local(v->t[start - 1]))
            break;
        start -= wide > 0 ? wide : 1;
    }
    while (start < at && (v->t[start] == '.' || v->t[start] == '%' || v->t[start] == '-'))
        start++;
    if (start == at)
        return false;
    if (start >= 3 && redact_has(v, start - 3, SPAN("://"), false)) /* the user of an address */
        return memmem(v->t + start, at - start, "%40", 3) != NULL &&
               redact_hit_at(hit, REDACT_EMAIL, start, at);
    size_t end = end_of_host(v, at + 1);
    if (end == 0)
        return false;
    if (span_eq(span_of(v->t + start, at - start), SPAN("git")) && end < v->n && v->t[end] == ':')
        return false; /* git@host:path */
    return redact_hit_at(hit, REDACT_EMAIL, start, end);
}

/* ---- passwords in addresses ----------------------------------------------- */

/* `at` is the colon of "://". */
bool redact_url_password(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    if (!redact_has(v, at, SPAN("://"), false))
        return false;
    size_t user = at + 3, i = user;
    while (i < v->n && i - user <= USER_MOST && memchr("/@: \"'<>", v->t[i], 8) == NULL)
        i++;
    if (i - user > USER_MOST || i >= v->n || v->t[i] != ':')
        return false;
    size_t password = ++i;
    while (i < v->n && i - password <= PASSWORD_MOST && memchr("/@ \"'<>\n", v->t[i], 8) == NULL)
        i++;
    if (i == password || i - password > PASSWORD_MOST || i >= v->n || v->t[i] != '@')
        return false;
    return !redact_is_placeholder(span_of(v->t + password, i - password)) &&
           redact_hit_at(hit, REDACT_URL_PASSWORD, password, i);
}

/* ---- authorization -------------------------------------------------------- */

static bool is_token(uint8_t c)
{
    return redact_is_word_or_dash(c) || c == '.' || c == '~' || c == '+' || c == '/' || c == '=';
}

/* Is "authorization" before `at`, and at most four of :="' and blanks between? Nothing of it is
 * replaced, so that it may stand before v->from. */
static bool is_authorized(const struct redact_view *v, size_t at)
{
    static const struct span word = {(const uint8_t *)"authorization", 13};
    size_t i = at;
    while (i > 0 && at - i < ESCAPES_MOST && memchr(":=\"' \\", v->t[i - 1], 6) != NULL)
        i--;
    return i >= word.len && redact_has(v, i - word.len, word, true);
}

/* The token behind a word of `skip` bytes and its blank. */
static bool read_token(const struct redact_view *v, size_t at, size_t skip, size_t least,
                       size_t *start, size_t *end)
{
    *start = *end = at + skip;
    while (*end < v->n && is_token(v->t[*end]))
        (*end)++;
    return *end - *start >= least;
}

bool redact_bearer(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    size_t start, end;
    size_t least = is_authorized(v, at) ? TOKEN_LEAST : ALONE_LEAST;
    if (!read_token(v, at, 7, least, &start, &end))
        return false;
    while (v->t[end - 1] == '.' && end - start > least)
        end--; /* of the sentence */
    return !redact_is_placeholder(span_of(v->t + start, end - start)) &&
           redact_hit_at(hit, REDACT_BEARER, start, end);
}

static int value_of_base64(uint8_t c)
{
    if (redact_is_upper(c))
        return c - 'A';
    if (redact_is_letter(c))
        return c - 'a' + 26;
    if (redact_is_digit(c))
        return c - '0' + 52;
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/* Does it decode to printable text with a colon in it, as far as is looked at? */
static bool is_user_and_password(struct span token)
{
    bool has_colon = false;
    uint32_t bits = 0;
    size_t decoded = 0;
    for (size_t i = 0, held = 0; i < token.len && token.base[i] != '=' && decoded < DECODED_MOST;
         i++) {
        int value = value_of_base64(token.base[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held < 8)
            continue;
        held -= 8;
        uint8_t c = (uint8_t)(bits >> held);
        if (c < 0x20 || c == 0x7f)
            return false;
        has_colon = has_colon || c == ':';
        decoded++;
    }
    return has_colon;
}

/* What is too short to be told from a word needs the colon; what is cut has lost nothing. */
bool redact_basic(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    size_t start, end;
    size_t least = is_authorized(v, at) ? 4 : TOKEN_LEAST;
    return read_token(v, at, 6, least, &start, &end) &&
           is_user_and_password(span_of(v->t + start, end - start)) &&
           redact_hit_at(hit, REDACT_BASIC, start, end);
}

/* ---- name = value --------------------------------------------------------- */

/* Names of secrets, backwards and without dashes. */
static const char names[][16] = {
    "drowssap",    "dwssap",       "dwp",          "terces",    "yekipa",
    "nekotssecca", "nekothserfer", "tercestneilc", "nekothtua", "yeketavirp",
};

/* In quotes, as JSON has it, these too: without, token=Token{1f} and the like are more. */
static const char quoted_names[][16] = {
    "nekot", "eikooc", "laitnederc", "slaitnederc", "noitazirohtua",
};

static bool has_name(const struct redact_view *v, const char name[NAME_MOST],
                     const size_t where[NAME_MOST], size_t n, const char *wanted)
{
    size_t len = strlen(wanted);
    if (len > n || memcmp(name, wanted, len) != 0)
        return false;
    size_t start = where[len - 1];
    uint8_t before = start > 0 ? v->t[start - 1] : ' ';
    bool is_camel = redact_is_upper(v->t[start]) && !redact_is_upper(before);
    bool is_encoded = start >= 3 && v->t[start - 3] == '%'; /* %22password%22 */
    return !redact_is_alnum(before) || is_camel || is_encoded;
}

/* Does the name of a secret end before `at`? */
static bool is_secret_name(const struct redact_view *v, size_t at, bool is_quoted)
{
    char name[NAME_MOST];
    size_t where[NAME_MOST], n = 0;
    for (size_t i = at; i > 0 && n < NAME_MOST && redact_is_word_or_dash(v->t[i - 1]); i--) {
        if (v->t[i - 1] == '_' || v->t[i - 1] == '-')
            continue;
        name[n] = (char)(v->t[i - 1] | 0x20);
        where[n++] = i - 1;
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (has_name(v, name, where, n, names[i]))
            return true;
    for (size_t i = 0; i < ARRAY_LEN(quoted_names) && is_quoted; i++)
        if (has_name(v, name, where, n, quoted_names[i]))
            return true;
    return false;
}

/* How many backslashes stand before `at`. */
static size_t escapes_before(const struct redact_view *v, size_t at, size_t least)
{
    size_t n = 0;
    while (at - n > least && v->t[at - n - 1] == '\\')
        n++;
    return n;
}

/* The end of a quoted value: the quote that is escaped as deep as the one that opened it. 0: the
 * text ends before. */
static size_t end_of_quoted(const struct redact_view *v, size_t start, uint8_t quote, size_t depth)
{
    for (size_t i = start; i < v->n; i++) {
        const uint8_t *next = memchr(v->t + i, quote, v->n - i);
        if (next == NULL)
            return 0;
        i = (size_t)(next - v->t);
        size_t escapes = escapes_before(v, i, start);
        if (depth == 0 ? escapes % 2 == 0 : escapes <= depth)
            return i - (depth == 0 ? 0 : escapes);
    }
    return 0;
}

static size_t end_of_bare(const struct redact_view *v, size_t start, bool is_json)
{
    const char *stops = is_json ? "\"', \t\r\n&;)\\}]" : "\"', \t\r\n&;)\\";
    size_t n = strlen(stops), i = start;
    while (i < v->n && memchr(stops, v->t[i], n) == NULL && !redact_has(v, i, SPAN("%26"), false) &&
           !redact_has(v, i, SPAN("%22"), false))
        i++;
    /* [password=hunter2]: of what stands around, unless it was opened in the value. */
    while (i > start && (v->t[i - 1] == ']' || v->t[i - 1] == '}' || v->t[i - 1] == '>') &&
           memchr(v->t + start, v->t[i - 1] == '>' ? '<' : v->t[i - 1] - 2, i - start) == NULL)
        i--;
    return i;
}

/* Token{78af589: the name of a type. */
static bool is_type(const struct redact_view *v, size_t start)
{
    size_t i = start;
    while (i < v->n && (redact_is_word(v->t[i]) || v->t[i] == '.' || v->t[i] == '$'))
        i++;
    return i > start && i < v->n && redact_is_upper(v->t[start]) &&
           memchr("{([@", v->t[i], 4) != NULL;
}

/* Back over quotes, their escapes and blanks, from the sign to the name. */
static size_t end_of_name(const struct redact_view *v, size_t at, bool *is_quoted)
{
    size_t i = at;
    while (i > 0 && at - i < ESCAPES_MOST && memchr("\"'\\ ", v->t[i - 1], 4) != NULL) {
        *is_quoted = *is_quoted || v->t[i - 1] == '"' || v->t[i - 1] == '\'';
        i--;
    }
    return i;
}

/* The first byte of the value behind the sign at `at`; 0: none is assigned. */
static size_t start_of_value(const struct redact_view *v, size_t at)
{
    size_t i = at + 1;
    if (v->t[at] == '%') { /* %3D, %3A, and %22 around it for quotes */
        i = redact_has(v, at, SPAN("%22"), false) ? at + 3 : at;
        if (!redact_has(v, i, SPAN("%3d"), true) && !redact_has(v, i, SPAN("%3a"), true))
            return 0;
        i += 3;
        return redact_has(v, i, SPAN("%22"), false) ? i + 3 : i;
    }
    if (i < v->n && v->t[i] == '>') /* => of Ruby and PHP */
        i++;
    for (size_t blanks = 0; i < v->n && v->t[i] == ' ' && blanks < 4; blanks++)
        i++;
    return i;
}

/* `at` is the sign: = or : or the % of an encoded one. */
bool redact_assigned(const struct redact_view *v, size_t at, struct redact_hit *hit)
{
    bool is_json = false;
    size_t name = at < 3 ? 0 : end_of_name(v, at, &is_json);
    if (name == 0 || !is_secret_name(v, name, is_json))
        return false;
    size_t start = start_of_value(v, at), depth = 0, end = 0;
    if (start == 0)
        return false;
    while (start + depth < v->n && v->t[start + depth] == '\\' && depth < ESCAPES_MOST)
        depth++;
    uint8_t quote = start + depth < v->n ? v->t[start + depth] : 0;
    if (quote == '"' || quote == '\'') {
        start += depth + 1;
        end = end_of_quoted(v, start, quote, depth);
        if (end == 0) /* cut: all that is left */
            end = v->n;
    } else {
        if (is_type(v, start))
            return false;
        end = end_of_bare(v, start, is_json);
    }
    if (redact_has(v, start, SPAN("bearer "), true) || redact_has(v, start, SPAN("basic "), true))
        return false; /* checks of their own */
    return start >= v->from && end >= start + VALUE_LEAST &&
           !redact_is_placeholder(span_of(v->t + start, end - start)) &&
           redact_hit_at(hit, REDACT_ASSIGNED, start, end);
}
