/* signature_hint: the severity that a record without one names in its text. */
#include "pattern/signature_header.h"
#include "pattern/signature_state.h"

#define BRACKET_BYTES 16 /* in which [level] ends */
#define WORD_BYTES 14
#define EXCEPTION_BYTES 10 /* of the shortest name that is one */

static enum sign_level hint_of_map(struct signer *s, uint32_t depth);

static bool is_letter(uint8_t c)
{
    uint8_t low = c | 0x20;
    return low >= 'a' && low <= 'z';
}

static bool is_capitals(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.base[i] < 'A' || s.base[i] > 'Z')
            return false;
    return s.len > 0;
}

/* [level] */
static enum sign_level hint_of_bracket(const struct words *w, struct span line)
{
    size_t j = 1;
    while (j < line.len && j < BRACKET_BYTES && line.base[j] != ']')
        j++;
    if (j == line.len || j == BRACKET_BYTES)
        return SIGN_LEVEL_NONE;
    struct span word = text_strip(span_of(line.base + 1, j - 1));
    uint32_t sets = word.len > 0 ? words_find(w, word.base, word.len) : 0;
    bool caps = (sets & WORD_CAPS) != 0 && is_capitals(word);
    return (sets & WORD_WEAK) == 0 || caps ? WORD_LEVEL(sets) : SIGN_LEVEL_NONE;
}

/* At the very beginning of a message. */
static enum sign_level hint_of_start(const struct words *w, struct span line)
{
    static const struct {
        struct span text;
        enum sign_level level;
    } starts[] = {
        {{(const uint8_t *)"panic: ", 7}, SIGN_LEVEL_FATAL},
        {{(const uint8_t *)"fatal error: ", 13}, SIGN_LEVEL_FATAL},
        {{(const uint8_t *)"Traceback (most recent call last)", 33}, SIGN_LEVEL_ERROR},
        {{(const uint8_t *)"Exception in thread ", 20}, SIGN_LEVEL_ERROR},
        {{(const uint8_t *)"Caused by: ", 11}, SIGN_LEVEL_ERROR},
        {{(const uint8_t *)"Unhandled exception", 19}, SIGN_LEVEL_ERROR},
    };
    for (size_t i = 0; i < ARRAY_LEN(starts); i++)
        if (span_starts(line, starts[i].text))
            return starts[i].level;
    if (line.len > 0 && line.base[0] == '[')
        return hint_of_bracket(w, line);
    size_t j = 0;
    while (j < line.len && j < WORD_BYTES && is_letter(line.base[j]))
        j++;
    struct span word = span_of(line.base, j);
    uint32_t sets = j > 0 ? words_find(w, word.base, j) : 0;
    if (WORD_LEVEL(sets) == SIGN_LEVEL_NONE || j == line.len)
        return SIGN_LEVEL_NONE;
    bool weak = (sets & WORD_WEAK) != 0;
    if (line.base[j] == ':' && (!weak || span_eq(word, SPAN("fail"))))
        return WORD_LEVEL(sets);
    bool caps = (sets & WORD_CAPS) != 0 && is_capitals(word) && !weak;
    bool ends =
        line.base[j] == ' ' || line.base[j] == '\t' || line.base[j] == '|' || line.base[j] == '[';
    return caps && ends ? WORD_LEVEL(sets) : SIGN_LEVEL_NONE;
}

static bool ends_with(struct span s, struct span end)
{
    return s.len >= end.len && memcmp(s.base + s.len - end.len, end.base, end.len) == 0;
}

/* java.lang.X: text, ValueError: text */
static bool is_exception(struct span line)
{
    size_t n = 0;
    while (n < line.len && line.base[n] != ':' && line.base[n] != ' ')
        n++;
    struct span name = span_of(line.base, n);
    if (n < EXCEPTION_BYTES || !is_letter(name.base[0]) ||
        (!ends_with(name, SPAN("Exception")) && !ends_with(name, SPAN("Error"))))
        return false;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = name.base[i];
        if (!is_letter(c) && !(c >= '0' && c <= '9') && c != '_' && c != '.' && c != '$')
            return false;
    }
    return true;
}

/* The next line of a text. */
static struct span next_line(struct span *rest)
{
    const uint8_t *newline = rest->len > 0 ? memchr(rest->base, '\n', rest->len) : NULL;
    size_t len = newline != NULL ? (size_t)(newline - rest->base) : rest->len;
    struct span line = span_of(rest->base, len);
    *rest = span_skip(*rest, newline != NULL ? len + 1 : len);
    return line;
}

/* A traceback in the next two lines, or a frame behind the name of an exception. */
static enum sign_level hint_of_trace(struct span message, struct span rest)
{
    struct span first = next_line(&rest), second = next_line(&rest);
    struct span mark = SPAN("Traceback (most recent call last)");
    if (span_starts(first, mark) || span_starts(second, mark))
        return SIGN_LEVEL_ERROR;
    struct span frame = text_strip(first);
    bool is_frame = span_starts(frame, SPAN("at ")) || span_starts(frame, SPAN("File "));
    return is_frame && is_exception(message) ? SIGN_LEVEL_ERROR : SIGN_LEVEL_NONE;
}

static enum sign_level hint_of_text(struct signer *s, struct span body, uint32_t depth)
{
    struct line *l = &s->line;
    enum sign_level level = SIGN_LEVEL_NONE, inner;
    bool deep = depth >= SIGN_MAX_DEPTH;
    if (!deep && body.len <= SIGN_MAX_BODY_BYTES && map_read_json(&s->map, body))
        return hint_of_map(s, depth + 1);
    struct text t = text_split(body);
    line_load(l, t.head);
    if (access_is(&l->words, l->text))
        return SIGN_LEVEL_NONE;
    struct span message = span_skip(l->text, header_split(l, &level));
    if (message.len < l->text.len && message.base[0] == '{' && !deep) {
        uint8_t *copy = scratch_take(&s->scratch, message.len); /* the line is read over */
        if (copy != NULL &&
            map_read_json(&s->map, span_of(memcpy(copy, message.base, message.len), message.len))) {
            inner = hint_of_map(s, depth + 1);
            return inner != SIGN_LEVEL_NONE ? inner : level;
        }
    }
    if (level != SIGN_LEVEL_NONE)
        return level;
    if (map_read_logfmt(&s->map, message) &&
        (level = map_level(&s->map, &l->words)) != SIGN_LEVEL_NONE)
        return level;
    level = hint_of_start(&l->words, message);
    return level != SIGN_LEVEL_NONE ? level : hint_of_trace(message, t.rest);
}

/* The map that was read last: its own level, or that of its message. */
static enum sign_level hint_of_map(struct signer *s, uint32_t depth)
{
    enum sign_level level = map_level(&s->map, &s->line.words);
    if (level != SIGN_LEVEL_NONE || depth >= SIGN_MAX_DEPTH || map_template(&s->map).base != NULL)
        return level;
    struct span message = map_message(&s->map);
    return message.base != NULL ? hint_of_text(s, message, depth + 1) : SIGN_LEVEL_NONE;
}

enum sign_level signer_hint(struct signer *s, const struct sign_input *in)
{
    enum sign_level level = SIGN_LEVEL_NONE;
    s->scratch.used = 0;
    if (in->body.kind == LOG_STRING) {
        level = hint_of_text(s, in->body.text, 0);
    } else if (in->body.kind == LOG_KVLIST) {
        map_read_kvlist(&s->map, in->body.text);
        level = hint_of_map(s, 0);
    }
    if (level != SIGN_LEVEL_NONE || in->record.len == 0)
        return level;
    map_read_attributes(&s->map, in->record);
    return hint_of_map(s, 0);
}
