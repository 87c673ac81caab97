/* family_template: parts, holes, and joining what a new variable makes one. */
#include "pattern/family_template.h"

#include "pattern/signature_identity.h"
#include "util/hash.h"

#define HOLE 0x5bd1e995u /* stands for a word's hash: any number that is no hash by design */
#define AROUND TEMPLATE_MAX_PARTS /* the place of head and tail among the parts */

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_lower(uint8_t c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_upper(uint8_t c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_alnum(uint8_t c)
{
    return is_digit(c) || is_lower(c) || is_upper(c);
}

/* The part at the beginning of `rest`; moves rest past it and its separator. */
static struct span next_part(struct span *rest)
{
    const uint8_t *mark = memchr(rest->base, PART_SEPARATOR, rest->len);
    struct span part = span_of(rest->base, mark != NULL ? (size_t)(mark - rest->base) : rest->len);
    *rest = span_skip(*rest, part.len + (mark != NULL));
    return part;
}

static bool is_byte(struct span part, uint8_t byte)
{
    return part.len == 1 && part.base[0] == byte;
}

/* Step over what stands before a message: its level, the type of an error, the kind of body. */
static void skip_marks(struct span *rest)
{
    while (rest->len > 0 && rest->base[0] >= PART_KIND && rest->base[0] <= PART_TYPE &&
           rest->base[0] != PART_TRACE)
        next_part(rest);
}

static bool is_word(struct span part)
{
    if (part.len == 0 || part.base[0] < ' ')
        return false;
    for (size_t i = 0; i < part.len; i++)
        if (is_alnum(part.base[i]) || part.base[i] >= 0x80)
            return true;
    return false;
}

bool template_read(struct template *t, struct span identity, uint64_t seed)
{
    struct span rest = identity;
    t->part_count = t->word_count = 0;
    skip_marks(&rest);
    t->head = span_of(identity.base, (size_t)(rest.base - identity.base));
    t->hash = hash_mix(hash64_seeded(t->head, seed), AROUND);

    while (rest.len > 0 && rest.base[0] != PART_TRACE) {
        if (t->part_count == TEMPLATE_MAX_PARTS)
            return false;
        struct template_part *p = &t->parts[t->part_count];
        p->text = next_part(&rest);
        p->hash = hash_mix(hash64_seeded(p->text, seed), t->part_count);
        t->hash += p->hash;
        if (is_word(p->text)) {
            if (t->word_count == TEMPLATE_MAX_WORDS)
                return false;
            t->words[t->word_count++] = (uint16_t)t->part_count;
        }
        t->part_count++;
    }
    t->tail = rest;
    t->hash += hash_mix(hash64_seeded(t->tail, seed), AROUND + 1);
    return t->word_count >= TEMPLATE_MIN_WORDS;
}

uint64_t template_hole(const struct template *t, uint32_t w)
{
    uint32_t at = t->words[w];
    return t->hash - t->parts[at].hash + hash_mix(HOLE, at);
}

uint32_t template_weight(const struct template *t, uint32_t w)
{
    uint32_t at = t->words[w];
    struct span word = t->parts[at].text;
    if (at > 0 && at + 1 < t->part_count && span_eq(t->parts[at - 1].text, t->parts[at + 1].text) &&
        t->parts[at - 1].text.len == 1 && strchr("\"'`", t->parts[at - 1].text.base[0]) != NULL)
        return 2; /* in quotes */
    for (size_t i = 0; i + 1 < word.len; i++) {
        uint8_t a = word.base[i], b = word.base[i + 1];
        if (is_lower(a) && is_upper(b))
            return 2;
        if (i + 2 < word.len && is_alnum(a) && memchr("-_./@#", b, 6) != NULL &&
            is_alnum(word.base[i + 2]))
            return 2;
    }
    return 1;
}

/* ---- joining ----------------------------------------------------------- */

enum part_kind { LITERAL, VARIABLE, MARK, SPACE };

struct joined {
    uint32_t count;
    struct {
        uint8_t kind;
        uint8_t mark; /* a part of one byte: that byte */
        uint16_t part;
    } list[TEMPLATE_MAX_PARTS];
};

static enum part_kind kind_of(struct span text)
{
    if (is_byte(text, PART_VARIABLE))
        return VARIABLE;
    if (is_byte(text, ' '))
        return SPACE;
    return is_word(text) ? LITERAL : MARK;
}

/* Variables with nothing but such marks between them are one. */
static bool folds(struct span text)
{
    return text.len > 0 && memchr(" ,;:|./-", text.base[0], 8) != NULL;
}

static void join(struct joined *j, const struct template *t, uint32_t hole)
{
    uint32_t out = 0, after = 0; /* after: just behind the last variable */
    bool foldable = false;       /* nothing but folding marks since then */
    for (uint32_t i = 0; i < t->part_count; i++) {
        struct span text = t->parts[i].text;
        enum part_kind kind = i == hole ? VARIABLE : kind_of(text);
        if (kind == VARIABLE && foldable) {
            out = after;
            continue;
        }
        j->list[out].kind = (uint8_t)kind;
        j->list[out].mark = text.len == 1 ? text.base[0] : 0;
        j->list[out++].part = (uint16_t)i;
        if (kind == VARIABLE)
            after = out;
        foldable = kind == VARIABLE || (foldable && kind != LITERAL && folds(text));
    }
    j->count = out;
}

/* "VAR (VAR)" is VAR. */
static void join_parentheses(struct joined *j)
{
    uint32_t n = j->count, kept = 0;
    for (uint32_t k = 0; k < n; k++) {
        j->list[kept++] = j->list[k];
        while (j->list[kept - 1].kind == VARIABLE && k + 4 < n && j->list[k + 1].kind == SPACE &&
               j->list[k + 2].mark == '(' && j->list[k + 3].kind == VARIABLE &&
               j->list[k + 4].mark == ')')
            k += 4;
    }
    j->count = kept;
}

void template_generalise(const struct template *t, uint32_t w, struct buf *out)
{
    struct joined j;
    join(&j, t, t->words[w]);
    join_parentheses(&j);
    uint32_t first = 0, end = j.count;
    while (end > 0 && j.list[end - 1].kind == SPACE)
        end--;
    while (first < end && j.list[first].kind == SPACE)
        first++;

    buf_append(out, t->head);
    for (uint32_t i = first; i < end; i++) {
        if (i > first)
            buf_append_byte(out, PART_SEPARATOR);
        if (j.list[i].kind == VARIABLE)
            buf_append_byte(out, PART_VARIABLE);
        else
            buf_append(out, t->parts[j.list[i].part].text);
    }
    if (t->tail.len > 0) {
        buf_append_byte(out, PART_SEPARATOR);
        buf_append(out, t->tail);
    }
}
