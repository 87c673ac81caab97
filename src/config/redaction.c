/* redaction: its settings, read and checked. */
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "config/value.h"

/* ---- values ------------------------------------------------------------ */

static const char *parse_redact_mode(void *at, size_t size, const char *text)
{
    (void)size;
    for (int m = 0; m < REDACT_MODE_COUNT; m++)
        if (strcmp(text, redact_mode_name((enum redact_mode)m)) == 0) {
            *(enum redact_mode *)at = (enum redact_mode)m;
            return NULL;
        }
    return "one of off, detect, enforce";
}

static void print_redact_mode(const void *at, struct buf *out)
{
    buf_append_str(out, redact_mode_name(*(const enum redact_mode *)at));
}

static const char *parse_redact_action(void *at, size_t size, const char *text)
{
    (void)size;
    for (int a = 0; a < REDACT_ACTION_COUNT; a++)
        if (strcmp(text, redact_action_name((enum redact_action)a)) == 0) {
            *(enum redact_action *)at = (enum redact_action)a;
            return NULL;
        }
    return "one of mask, partial, hash, drop_attribute, drop_record";
}

static void print_redact_action(const void *at, struct buf *out)
{
    buf_append_str(out, redact_action_name(*(const enum redact_action *)at));
}

/* The next word of "[one, two]" or "one,two". False: there are no more. */
static bool next_word(struct span *list, struct span *word)
{
    while (list->len > 0) {
        const uint8_t *comma = memchr(list->base, ',', list->len);
        size_t n = comma == NULL ? list->len : (size_t)(comma - list->base);
        *word = span_trim(span_of(list->base, n));
        *list = span_skip(*list, comma == NULL ? n : n + 1);
        if (word->len > 0)
            return true;
    }
    return false;
}

static struct span without_brackets(const char *text)
{
    struct span list = span_trim(span_str(text));
    if (list.len >= 2 && list.base[0] == '[' && list.base[list.len - 1] == ']')
        list = span_of(list.base + 1, list.len - 2);
    return list;
}

static const char *parse_detectors(void *at, size_t size, const char *text)
{
    struct span list = without_brackets(text), word;
    uint64_t kinds = 0;
    (void)size;
    while (next_word(&list, &word)) {
        int kind = redact_kind_parse(word);
        if (span_eq(word, SPAN("usual")))
            kinds |= REDACT_KINDS_USUAL;
        else if (span_eq(word, SPAN("all")))
            kinds |= REDACT_KINDS_ALL;
        else if (kind >= 0)
            kinds |= UINT64_C(1) << kind;
        else
            return "usual, all, or kinds such as email, card, jwt, phone, ip";
    }
    *(uint64_t *)at = kinds;
    return NULL;
}

static void print_detectors(const void *at, struct buf *out)
{
    uint64_t kinds = *(const uint64_t *)at;
    const char *comma = "";
    buf_append_byte(out, '[');
    if ((kinds & REDACT_KINDS_USUAL) == REDACT_KINDS_USUAL) {
        buf_append_str(out, "usual");
        kinds &= ~REDACT_KINDS_USUAL;
        comma = ", ";
    }
    for (unsigned k = 0; k < REDACT_KIND_COUNT; k++) {
        if ((kinds >> k & 1) == 0)
            continue;
        buf_printf(out, "%s%s", comma, redact_kind_name(k));
        comma = ", ";
    }
    buf_append_byte(out, ']');
}

static const char *parse_words(void *at, size_t size, const char *text)
{
    struct span list = without_brackets(text), word;
    char *to = at;
    size_t n = 0;
    if (list.len + 1 > size)
        return "a shorter list";
    while (next_word(&list, &word)) {
        if (n > 0)
            to[n++] = ',';
        memcpy(to + n, word.base, word.len);
        n += word.len;
    }
    to[n] = '\0';
    return NULL;
}

static void print_words(const void *at, struct buf *out)
{
    struct span list = span_str(at), word;
    const char *comma = "";
    buf_append_byte(out, '[');
    while (next_word(&list, &word)) {
        char text[CONFIG_TEXT_BYTES];
        snprintf(text, sizeof text, "%.*s", (int)word.len, (const char *)word.base);
        buf_append_str(out, comma);
        value_print_quoted(out, text);
        comma = ", ";
    }
    buf_append_byte(out, ']');
}

const struct value_kind value_redact_mode = {parse_redact_mode, print_redact_mode};
const struct value_kind value_redact_action = {parse_redact_action, print_redact_action};
const struct value_kind value_detectors = {parse_detectors, print_detectors, .is_list = true};
const struct value_kind value_keys = {parse_words, print_words, .is_list = true};

/* ---- all of them ------------------------------------------------------- */

int config_redaction(const struct config *cfg, struct redact_opts *opts, struct error *err)
{
    *opts = (struct redact_opts){
        .mode = cfg->redaction.mode,
        .action = cfg->redaction.action,
        .kinds = cfg->redaction.detectors,
        .mask = cfg->redaction.mask,
        .key = span_str(cfg->redaction.key),
        .patterns = cfg->redaction.patterns,
        .pattern_count = cfg->redaction.pattern_count,
    };
    if (opts->mode == REDACT_OFF)
        return 0;
    if (opts->action == REDACT_HASH && opts->key.len < REDACT_KEY_BYTES)
        return err_set(err, ERR_CONFIG,
                       "redaction.key: action: hash needs a key of at least %d bytes; without one "
                       "all numbers could be tried",
                       REDACT_KEY_BYTES);
    if (cfg->redaction.mask[0] == '\0' || strlen(cfg->redaction.mask) > REDACT_MASK_BYTES)
        return err_set(err, ERR_CONFIG, "redaction.mask: must be a text of 1 to %d bytes",
                       REDACT_MASK_BYTES);
    int rc = redact_names_init(&opts->names, span_str(cfg->redaction.attributes),
                               span_str(cfg->redaction.exempt));
    return rc < 0 ? err_set(err, ERR_CONFIG,
                            "redaction: more than %d names in attributes, or in exempt",
                            REDACT_NAMES_MAX)
                  : 0;
}

/* A token with a digit in it and no bracket, blank or star is a variable, as the value was. */
const char *config_mask_warning(const struct config *cfg)
{
    const char *mask = cfg->redaction.mask;
    const char *kind = strstr(mask, "{kind}");
    bool has_digit = false;
    for (const char *c = mask; *c != '\0'; c++) {
        if (kind != NULL && c >= kind && c < kind + 6)
            continue;
        has_digit = has_digit || (*c >= '0' && *c <= '9');
        if (strchr("<>[](){}*,;:|\"' \t", *c) != NULL)
            return "has a bracket, a blank or a mark in it";
    }
    return has_digit ? NULL : "has no digit in it";
}
