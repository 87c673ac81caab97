/* regex: expressions compiled and matched by PCRE2. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "util/regex.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "util/regex_syntax.h"

#define GROUP "secret"
#define HEAP_KIB 1024 /* of the interpreter, where there is no JIT */
#define STACK_START_BYTES (32 << 10)

struct regex {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack; /* NULL: the interpreter is used */
    bool is_anchored;       /* it can only match at the beginning of the text */
    int group;              /* number of the group named GROUP; 0: the whole match */
    struct regex_literal literal;
};

/* ---- making ---------------------------------------------------------------- */

static int compile(struct regex *re, struct span pattern, unsigned flags, struct error *err)
{
    uint32_t options =
        PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C | PCRE2_DOLLAR_ENDONLY;
    options |= (flags & REGEX_CASELESS) != 0 ? PCRE2_CASELESS : 0;
    options |= (flags & REGEX_DOTALL) != 0 ? PCRE2_DOTALL : 0;
    int code;
    PCRE2_SIZE at;
    re->code = pcre2_compile(pattern.base, pattern.len, options, &code, &at, NULL);
    if (re->code == NULL) {
        PCRE2_UCHAR text[128];
        pcre2_get_error_message(code, text, sizeof text);
        return err_set(err, ERR_CONFIG, "at %zu: %s", at + 1, (const char *)text);
    }
    uint32_t is_empty = 0, all_options = 0;
    pcre2_pattern_info(re->code, PCRE2_INFO_ALLOPTIONS, &all_options);
    re->is_anchored = (all_options & PCRE2_ANCHORED) != 0;
    pcre2_pattern_info(re->code, PCRE2_INFO_MATCHEMPTY, &is_empty);
    if (is_empty != 0 && (flags & REGEX_EMPTY) == 0)
        return err_set(err, ERR_CONFIG, "it matches the empty text");
    int group = pcre2_substring_number_from_name(re->code, (PCRE2_SPTR)GROUP);
    re->group = group > 0 ? group : 0;
    return 0;
}

/* Without JIT (no such processor, or no executable memory) PCRE2 interprets: slower, and alike. */
static int prepare(struct regex *re)
{
    re->match = pcre2_match_data_create_from_pattern(re->code, NULL);
    re->context = pcre2_match_context_create(NULL);
    if (re->match == NULL || re->context == NULL)
        return ERR_NOMEM;
    pcre2_set_match_limit(re->context, REGEX_STEPS);
    pcre2_set_heap_limit(re->context, HEAP_KIB);
    if (pcre2_jit_compile(re->code, PCRE2_JIT_COMPLETE) < 0)
        return 0;
    re->stack = pcre2_jit_stack_create(STACK_START_BYTES, REGEX_STACK_BYTES, NULL);
    if (re->stack == NULL)
        return ERR_NOMEM;
    pcre2_jit_stack_assign(re->context, NULL, re->stack);
    return 0;
}

int regex_new(struct regex **out, struct span pattern, unsigned flags, struct error *err)
{
    if (pattern.len == 0 || pattern.len > REGEX_PATTERN_BYTES)
        return err_set(err, ERR_CONFIG, "it must have 1 to %d bytes", REGEX_PATTERN_BYTES);
    struct regex *re = calloc(1, sizeof *re);
    if (re == NULL)
        return ERR_NOMEM;
    int rc = regex_syntax_check(pattern, &re->literal, err);
    if (rc == 0)
        rc = compile(re, pattern, flags, err);
    if (rc == 0)
        rc = prepare(re);
    if (rc < 0) {
        regex_free(re);
        return rc;
    }
    if ((flags & REGEX_CASELESS) != 0 || re->literal.len < 2)
        re->literal.len = 0;
    *out = re;
    return 0;
}

void regex_free(struct regex *re)
{
    if (re == NULL)
        return;
    pcre2_jit_stack_free(re->stack);
    pcre2_match_context_free(re->context);
    pcre2_match_data_free(re->match);
    pcre2_code_free(re->code);
    free(re);
}

/* ---- matching -------------------------------------------------------------- */

/* In one window. 1, 0, or ERR_TOO_BIG: the limit of steps. */
static int match_in(struct regex *re, struct span window, size_t from, uint32_t options)
{
    int rc = pcre2_match(re->code, window.base, window.len, from, options, re->match, re->context);
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    return rc < 0 ? ERR_TOO_BIG : 1; /* the limits of steps, of JIT's stack, of the heap */
}

/* What of the match counts. An empty `secret` says nothing: then the whole match is the safe one.
 */
static struct regex_match matched(const struct regex *re)
{
    const PCRE2_SIZE *v = pcre2_get_ovector_pointer(re->match) + 2 * (size_t)re->group;
    if (v[0] == PCRE2_UNSET || v[0] == v[1])
        v = pcre2_get_ovector_pointer(re->match);
    return (struct regex_match){v[0], v[1] - v[0], false};
}

static bool has_literal(const struct regex *re, struct span text, size_t from)
{
    return re->literal.len == 0 ||
           memmem(text.base + from, text.len - from, re->literal.text, re->literal.len) != NULL;
}

bool regex_next(struct regex *re, struct span text, size_t from, struct regex_match *m)
{
    if (from >= text.len || !has_literal(re, text, from))
        return false;
    /* A window begins a little before `from`, for \b. What begins in its second half is left to the
     * next window, which sees more of it. */
    for (;;) {
        size_t begin = from > REGEX_WINDOW_BYTES / 8 ? from - REGEX_WINDOW_BYTES / 8 : 0;
        struct span window = span_skip(text, begin);
        bool is_cut = window.len > REGEX_WINDOW_BYTES;
        window.len = is_cut ? REGEX_WINDOW_BYTES : window.len;
        int rc = match_in(re, window, from - begin, is_cut ? PCRE2_NOTEOL : 0);
        if (rc < 0) {
            *m = (struct regex_match){from, text.len - from, true};
            return true;
        }
        const PCRE2_SIZE *whole = pcre2_get_ovector_pointer(re->match);
        if (rc > 0 && (!is_cut || whole[0] < REGEX_WINDOW_BYTES / 2)) {
            *m = matched(re);
            m->at += begin;
            if (is_cut && whole[1] == window.len)
                m->len = text.len - m->at;
            return true;
        }
        if (!is_cut)
            return false;
        from = begin + REGEX_WINDOW_BYTES / 2;
    }
}

/* ---- searching --------------------------------------------------------------- */

#define NAME_BYTES 33 /* PCRE2's names have at most 32 */

int regex_search(struct regex *re, struct span text, size_t from, struct regex_match *m)
{
    struct span whole = text.base != NULL ? text : SPAN("");
    if (from > text.len || !has_literal(re, whole, from))
        return 0;
    size_t starts = re->is_anchored ? 1 : text.len - from + 1;
    size_t steps = REGEX_SEARCH_STEPS / starts;
    steps = steps < REGEX_LEAST_STEPS ? REGEX_LEAST_STEPS : steps;
    pcre2_set_match_limit(re->context, (uint32_t)steps);
    int rc = match_in(re, whole, from, 0);
    pcre2_set_match_limit(re->context, REGEX_STEPS);
    if (rc > 0) {
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(re->match);
        *m = (struct regex_match){v[0], v[1] - v[0], false};
    }
    return rc;
}

struct span regex_group(const struct regex *re, struct span text, unsigned number)
{
    const PCRE2_SIZE *v = pcre2_get_ovector_pointer(re->match) + 2 * (size_t)number;
    if (number >= pcre2_get_ovector_count(re->match) || v[0] == PCRE2_UNSET || v[0] >= v[1])
        return (struct span){0};
    return span_of(text.base + v[0], v[1] - v[0]);
}

struct span regex_group_named(const struct regex *re, struct span text, struct span name)
{
    char room[NAME_BYTES];
    if (name.len == 0 || name.len >= sizeof room)
        return (struct span){0};
    memcpy(room, name.base, name.len);
    room[name.len] = '\0';
    int number = pcre2_substring_number_from_name(re->code, (PCRE2_SPTR)room);
    return number > 0 ? regex_group(re, text, (unsigned)number) : (struct span){0};
}
