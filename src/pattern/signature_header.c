/* signature_header: fields up to the last time, then what loggers put behind it. */
#include "pattern/signature_header.h"

#include "pattern/signature_field.h"

#define MAX_FIELDS 9 /* before and including the time */
#define MAX_AFTER 8  /* behind it */
#define MAX_HEADERS 3
#define MAX_HELD 80   /* bytes behind a time in a bracket, up to its end */
#define MAX_TAG_PID 9 /* bytes of "( 123):" */
#define TIME_BITS 12  /* of a window, of what is looked at before and behind a digit */
#define NEAR_FIELDS 4 /* in which a level is looked for */

enum sign_level word_level(const struct words *w, struct span word)
{
    return WORD_LEVEL(find(w, word));
}

enum sign_level syslog_level(unsigned severity)
{
    static const uint8_t levels[8] = {SIGN_LEVEL_FATAL, SIGN_LEVEL_FATAL, SIGN_LEVEL_FATAL,
                                      SIGN_LEVEL_ERROR, SIGN_LEVEL_WARN,  SIGN_LEVEL_INFO,
                                      SIGN_LEVEL_INFO,  SIGN_LEVEL_DEBUG};
    return (enum sign_level)levels[severity & 7];
}

/* ---- one header ---------------------------------------------------------- */

struct header {
    const struct words *words;
    const struct classes *classes; /* of the line, of which s begins at byte `at` */
    size_t at;
    struct span s;
    bool nested;                       /* it is behind another one */
    size_t begin;                      /* behind a PRI */
    enum sign_level level, said_level; /* said: by the PRI */
    bool version;                      /* of RFC 5424 */

    size_t i;        /* where the next field is looked for */
    size_t time_end; /* 0: no time yet */
    struct span first;
    uint32_t count, month, numbers;
    bool syslog;       /* the time is month, day, time, which a host follows */
    bool opened, held; /* an open bracket; the time is in it */

    bool seen_level;
    uint32_t after, names, dashes;
};

/* The end of the field at i: up to a space, a tab or |. Each of them is a stop. */
static inline size_t field_end(const struct header *h, size_t i)
{
    size_t n = h->s.len;
    while (i < n && (i = class_next(h->classes->stop, h->at + i) - h->at) < n &&
           (classes[h->s.base[i]] & FIELD_END) == 0)
        i++;
    return i < n ? i : n;
}

/* <PRI>, <PRI>1 */
static void read_pri(struct header *h)
{
    size_t j = byte_at(h->s, 0) == '<' && !h->nested ? digits(h->s, 1, 1, 3) : NOWHERE;
    if (j == NOWHERE || byte_at(h->s, j) != '>')
        return;
    unsigned pri = 0;
    for (size_t i = 1; i < j; i++)
        pri = 10 * pri + (h->s.base[i] - '0');
    if (pri >= 192)
        return;
    h->level = h->said_level = syslog_level(pri % 8);
    h->begin = j + 1;
    if (byte_at(h->s, j + 1) == '1' && byte_at(h->s, j + 2) == ' ') {
        h->version = true;
        h->begin += 2;
    }
}

/* A byte between two digits, behind `at`: may it be of a time? */
static inline bool may_be_time(const uint8_t *at, size_t i)
{
    if (at[i + 1] == ':' || at[i + 1] == 'T')
        return true;
    if (at[i + 1] != '.')
        return false;
    size_t dash = i > 0 && at[i - 1] != '-' ? i - 2 : i - 1; /* of yyyy-mm-dd-hh.mm.ss */
    return i > 2 && at[dash] == '-';
}

/* The same of the field that begins at byte i of the header. */
static bool field_may_be_time(const struct header *h, size_t i, size_t end)
{
    size_t at = h->at + i, len = end - i;
    if (len > CLASS_WINDOW_BITS)
        return true;
    uint64_t digit = class_window(h->classes->digit, at) & ((UINT64_C(1) << len) - 1);
    for (uint64_t may = digit & digit >> 2 & ~(digit >> 1); may != 0; may &= may - 1)
        if (may_be_time(h->s.base - h->at, at + (size_t)__builtin_ctzll(may)))
            return true;
    return false;
}

enum field { FIELD_TAKEN, FIELD_BAR, FIELD_ENDS };

/* "name |" of compose: a bar among what separates the first field from the next. */
static bool is_before_bar(struct span s, size_t j)
{
    size_t end = bar(s, j);
    return end > 0 && s.base[end - 1] == '|' && end > j;
}

/* A field that says something of time. */
static bool takes_time(struct header *h, struct span w, uint32_t sets, size_t j)
{
    if (field_may_be_time(h, h->i, j) && has_time(w)) {
        h->syslog = h->month == h->count && h->count >= 2 && h->numbers == 1 && !has_byte(w, '-') &&
                    !has_byte(w, '/');
        h->time_end = j;
        h->held = h->opened && !has_byte(part(h->s, h->i, j), ']');
    } else if (w.len == 10 && w.base[0] == '1' && all(w, DIGIT) && h->count >= 1 && h->count <= 5 &&
               (all(h->first, LONE) || all(h->first, DIGIT) ||
                (h->count == 1 && is_capitals(h->first)))) {
        h->time_end = j; /* seconds since 1970 */
        h->numbers++;
        h->syslog = h->held = false;
    } else if ((sets & WORD_MONTH) != 0) {
        h->month = h->count + 1;
        h->numbers = 0;
    } else if ((sets & WORD_DAY) != 0) {
        return true;
    } else if (is_numberish(w)) {
        h->numbers++;
        if (h->month != 0 && h->count == h->month) {
            h->month = h->count + 1;
            h->numbers = 1;
        }
    } else {
        return all(w, LONE) || (sets & WORD_NULL) != 0;
    }
    return true;
}

/* Any other field of a header's beginning. */
static enum field take_word(struct header *h, struct span w, uint32_t sets, size_t j)
{
    bool early = h->time_end == 0, is_first = h->count == 0;
    bool coded = is_first && ((w.len == 5 && early) || w.len == 9) &&
                 memchr("IWEFD", w.base[0], 5) != NULL && all(span_skip(w, 1), DIGIT);
    if (early && h->count < 2 && WORD_LEVEL(sets) != 0 && (sets & WORD_WEAK) == 0) {
        h->level = h->level != 0 ? h->level : WORD_LEVEL(sets); /* [INFO] time */
        return FIELD_TAKEN;
    }
    if (coded || (early && is_first && letter_level(w) != 0)) { /* klog, glog; a letter */
        h->level = h->level != 0 ? h->level : letter_level(part(w, 0, 1));
        return FIELD_TAKEN;
    }
    if (is_first && is_before_bar(h->s, j))
        return FIELD_BAR;
    if (any(w, DIGIT) || has_inside(w, JOINS))
        return memchr("\"'{=", w.base[0], 4) != NULL || has_byte(w, '=') ? FIELD_ENDS : FIELD_TAKEN;
    if (early && ((all(h->first, DIGIT) && w.len < 24) ||          /* number word .. epoch */
                  (is_first && is_capitals(w) && all(w, LETTER)))) /* WORD epoch */
        return FIELD_TAKEN;
    return FIELD_ENDS;
}

/* Fields up to the last time. */
static void find_time(struct header *h)
{
    struct span s = h->s;
    h->i = h->begin;
    while (h->count < MAX_FIELDS && h->i < s.len) {
        while (byte_at(s, h->i) == ' ' || byte_at(s, h->i) == '\t')
            h->i++;
        size_t j = field_end(h, h->i);
        struct span w = part(s, h->i, j);
        while (w.len > 0 && is(w, w.len - 1, TRAILS))
            w.len--;
        while (w.len > 0 && (w.base[0] == '[' || w.base[0] == '('))
            w = span_skip(w, 1);
        h->opened = h->opened || byte_at(s, h->i) == '[';
        if (w.len == 0) {
            if (byte_at(s, h->i) != '|' || h->count != 1 || h->time_end != 0)
                break;
            h->i++; /* name | time */
            continue;
        }
        uint32_t sets = find(h->words, w);
        enum field field = takes_time(h, w, sets, j) ? FIELD_TAKEN
                           : h->nested               ? FIELD_ENDS
                                                     : take_word(h, w, sets, j);
        if (field == FIELD_ENDS)
            break;
        if (h->count++ == 0)
            h->first = w;
        if (field == FIELD_BAR) {
            while (s.base[j] != '|')
                j++;
            h->i = j;
            continue;
        }
        if (s.base[j - 1] == ']')
            h->opened = false;
        h->i = j;
        if (s.base[j - 1] == ':' && h->time_end != 0)
            break; /* a tag */
    }
}

/* Two or more numbers, then a level in capitals, count as a time. */
static bool find_numbers(struct header *h)
{
    size_t i = h->begin;
    uint32_t count = 0;
    while (count < MAX_FIELDS && i < h->s.len) {
        size_t j = field_end(h, i);
        if (!is_numberish(part(h->s, i, j)))
            break;
        count++;
        i = bar(h->s, j);
    }
    if (count < 2 || !is_in_capitals(h->words, part(h->s, i, field_end(h, i)), WORD_CAPS))
        return false;
    h->time_end = i;
    return true;
}

/* RFC 5424: host, application, process, id and structured data are behind the time. */
static size_t skip_5424(const struct header *h)
{
    struct span s = h->s;
    size_t i = h->time_end;
    for (int n = 0; n < 4; n++)
        i = field_end(h, bar(s, i));
    i = bar(s, i);
    while (byte_at(s, i) == '[') {
        size_t j = group_end(s, i);
        if (j == NOWHERE)
            break;
        i = j;
    }
    if (byte_at(s, i) == '-')
        i++;
    i = bar(s, i);
    return i < s.len && span_starts(span_skip(s, i), SPAN("\xef\xbb\xbf")) ? i + 3 : i;
}

/* [time: INFO/x] */
static void skip_held(struct header *h)
{
    struct span s = h->s;
    size_t end = s.len < h->i + MAX_HELD ? s.len : h->i + MAX_HELD, j = h->i;
    while (j < end && s.base[j] != ']')
        j++;
    if (j == end)
        return;
    for (size_t at = h->i; at < j && !h->seen_level;) {
        size_t from = at;
        while (at < j && (classes[s.base[at]] & BLANK) == 0 && s.base[at] != '/' &&
               s.base[at] != ':')
            at++;
        uint32_t sets = find(h->words, part(s, from, at));
        bool log = is_in_capitals(h->words, part(s, from, at), WORD_CAPS);
        if (WORD_LEVEL(sets) != 0 || log) {
            h->level = WORD_LEVEL(sets) != 0 ? WORD_LEVEL(sets) : SIGN_LEVEL_INFO;
            h->seen_level = true;
        }
        at++;
    }
    h->i = j + 1;
    h->syslog = false;
}

/* The host behind a syslog time. */
static void skip_host(struct header *h)
{
    size_t k = bar(h->s, h->i), j = field_end(h, k);
    struct span w = part(h->s, k, j);
    if (w.len > 0 && w.base[w.len - 1] != ':' && memchr("[(<", w.base[0], 3) == NULL &&
        !(w.len == 4 && all(w, DIGIT)) && !is_in_capitals(h->words, w, WORD_CAPS))
        h->i = j;
}

/* ---- behind the time ----------------------------------------------------- */

enum step { STEP_ON, STEP_NEXT, STEP_ENDS }; /* not this; skipped, go on; the message is next */

/* [...], (...), <...> */
static enum step step_group(struct header *h, struct span w)
{
    struct span s = h->s;
    uint8_t c = w.base[0];
    if (c != '[' && c != '(' && c != '<')
        return STEP_ON;
    size_t j = group_end(s, h->i);
    if (j == NOWHERE || (c != '[' && !any(part(s, h->i, j), DIGIT)))
        return STEP_ENDS;
    int next = byte_at(s, j);
    if (next >= 0 && (next == 0 || strchr(" \t:-,[", next) == NULL))
        return STEP_ENDS;
    enum sign_level found =
        c == '[' ? group_level(h->words, part(s, h->i + 1, j - 1)) : SIGN_LEVEL_NONE;
    if (found != 0 && !h->seen_level) {
        h->level = found;
        h->seen_level = true;
    }
    h->i = j + (next == ':');
    h->after++;
    return STEP_NEXT;
}

/* A level: LEVEL, level:, I */
static enum step step_level(struct header *h, struct span w, size_t j)
{
    struct span s = h->s, core = trim_colons(w);
    bool colon = core.len != w.len;
    uint32_t sets = find(h->words, core);
    bool caps = (sets & WORD_CAPS) != 0 && is_in_capitals(h->words, core, WORD_CAPS);
    bool log = span_eq(core, SPAN("LOG"));
    int next = byte_at(s, j), next2 = byte_at(s, j + 1);
    /* What was cut off at HEADER_MAX_BYTES is nothing, and a tab may be nothing as well. */
    bool wide = (next == ' ' && (next2 == ' ' || next2 == '-' || next2 == '[' || next2 == '|')) ||
                next == '\t' || next == '|' || next < 0;
    bool letter = letter_level(core) != 0 && !colon && j < s.len;
    if (!h->seen_level && core.len > 0 &&
        ((caps && (!log || colon)) || (WORD_LEVEL(sets) != 0 && (colon || wide)) || letter)) {
        h->level = WORD_LEVEL(sets) != 0     ? WORD_LEVEL(sets)
                   : letter_level(core) != 0 ? letter_level(core)
                                             : SIGN_LEVEL_INFO;
        h->seen_level = true;
        h->i = j;
        h->after++;
        return colon ? STEP_ENDS : STEP_NEXT;
    }
    if (h->seen_level && h->after == 0 && caps && WORD_LEVEL(sets) == h->level) {
        h->i = j; /* I, [time]  INFO */
        h->after++;
        return STEP_NEXT;
    }
    return STEP_ON;
}

/* stdout F, LEVEL[0001], numbers, zones */
static enum step step_number(struct header *h, struct span w, size_t j)
{
    struct span s = h->s, core = trim_colons(w);
    if ((span_eq(w, SPAN("stdout")) || span_eq(w, SPAN("stderr"))) && byte_at(s, j) == ' ' &&
        (byte_at(s, j + 1) == 'F' || byte_at(s, j + 1) == 'P') && byte_at(s, j + 2) == ' ') {
        h->i = j + 3; /* container runtime */
        return STEP_ENDS;
    }
    const uint8_t *bracket = memchr(w.base, '[', w.len);
    struct span before =
        bracket != NULL ? part(w, 0, (size_t)(bracket - w.base)) : (struct span){0};
    if (!h->seen_level && before.len > 0 && is_in_capitals(h->words, before, WORD_CAPS) &&
        !span_eq(before, SPAN("LOG"))) {
        h->level = word_level(h->words, before);
        h->seen_level = true;
        h->i += before.len;
        return STEP_NEXT;
    }
    uint32_t sets = find(h->words, w);
    if ((is_numberish(core) && !has_byte(core, '.')) || (sets & WORD_ZONE) != 0 ||
        ((sets & WORD_ZONE_CAPS) != 0 && is_in_capitals(h->words, w, WORD_ZONE_CAPS))) {
        h->i = j;
        h->after++;
        return STEP_NEXT;
    }
    return STEP_ON;
}

/* No level yet: is there one in capitals near by, before any tag? */
static enum step step_near_level(struct header *h)
{
    struct span s = h->s;
    size_t k = h->i;
    uint32_t n = 0;
    while (!h->seen_level && n < NEAR_FIELDS && k < s.len) {
        size_t e = k;
        while (e < s.len && s.base[e] != ' ' && s.base[e] != '\t')
            e++;
        struct span x = part(s, k, e), core = trim_colons(x);
        bool colon = core.len != x.len;
        if (is_in_capitals(h->words, core, WORD_CAPS) && (colon || !span_eq(core, SPAN("LOG")))) {
            h->i = k;
            return STEP_NEXT;
        }
        bool lone = all(x, LONE);
        if (colon && !lone)
            return STEP_ON; /* a tag comes first */
        n += x.len > 0 && !lone;
        k = bar(s, e);
    }
    return STEP_ON;
}

/* host tag[1]:   tag: tag[1]: tag(x)[1]: tag( 123): */
static enum step step_tag(struct header *h, struct span w, size_t j)
{
    struct span s = h->s;
    size_t k = bar(s, j), e = field_end(h, k);
    struct span x = part(s, k, e);
    const uint8_t *bracket = x.len > 0 ? memchr(x.base, '[', x.len) : NULL;
    size_t at = bracket != NULL ? (size_t)(bracket - x.base) : 0;
    if (at > 0 && x.len >= at + 4 && span_eq(part(x, x.len - 2, x.len), SPAN("]:")) &&
        all(part(x, at + 1, x.len - 2), DIGIT) && all(w, NAME) && all(part(x, 0, at), NAME)) {
        h->i = e;
        return STEP_ENDS;
    }
    for (at = 0; at < w.len && w.base[at] != '[' && w.base[at] != '(';)
        at++;
    bool colon = w.base[w.len - 1] == ':', open = at < w.len;
    if (!colon && !open)
        return STEP_ON;
    at = open ? at : w.len - 1;
    if (at > 0 && colon && all(part(w, 0, at), NAME)) {
        h->i = j;
        h->names++;
        return STEP_ENDS;
    }
    if (at == 0 || !has_byte(w, '(') || byte_at(s, j) != ' ')
        return STEP_ON;
    size_t end = s.len < j + MAX_TAG_PID ? s.len : j + MAX_TAG_PID;
    for (e = j; e + 1 < end; e++) {
        if (s.base[e] != ')' || s.base[e + 1] != ':')
            continue;
        if (!all(trim_blanks(part(s, j, e)), DIGIT))
            break;
        h->i = e + 2;
        return STEP_ENDS;
    }
    return STEP_ON;
}

/* name -   name *64 -   name  :   and loggers behind a level or before a bar */
static enum step step_logger(struct header *h, struct span w, size_t j, bool tab)
{
    struct span s = h->s;
    size_t k = bar(s, j);
    if (!all(w, NAME))
        return STEP_ENDS;
    size_t n = j < s.len ? field_end(h, j + 1) : j;
    n = j < s.len && is_numberish(part(s, j + 1, n)) ? n : j;
    if (byte_at(s, n) == ' ' && byte_at(s, n + 1) == '-' && byte_at(s, n + 2) == ' ' &&
        h->dashes == 0) {
        h->i = n + 3;
        h->names++;
        h->dashes++;
        return STEP_NEXT;
    }
    if (byte_at(s, k) == ':' && byte_at(s, k + 1) == ' ') {
        h->i = k + 2;
        return STEP_ENDS;
    }
    int next = byte_at(s, j);
    if ((h->seen_level && is_name(w)) || next == '|' || (h->seen_level && next == '\t' && tab)) {
        h->i = j;
        h->names += next != '\t';
        h->after++;
        return STEP_NEXT;
    }
    return STEP_ENDS;
}

/* One field behind the time, in the order of the specification's table. */
static enum step step_after(struct header *h)
{
    struct span s = h->s;
    size_t from = h->i;
    h->i = bar(s, from);
    bool tab = has_byte(part(s, from, h->i), '\t');
    size_t j = field_end(h, h->i);
    struct span w = part(s, h->i, j);
    enum step step;
    if (all(w, LONE)) { /* - -- * # . : */
        h->i = j;
        return STEP_NEXT;
    }
    if ((step = step_group(h, w)) != STEP_ON)
        return step;
    if (w.base[w.len - 1] == ']' && !has_byte(w, '[') && any(w, DIGIT)) {
        h->i = j; /* klog's file.go:12] */
        return STEP_ENDS;
    }
    if ((step = step_level(h, w, j)) != STEP_ON || (step = step_number(h, w, j)) != STEP_ON ||
        (step = step_near_level(h)) != STEP_ON)
        return step;
    if (h->names > 0)
        return STEP_ENDS;
    return (step = step_tag(h, w, j)) != STEP_ON ? step : step_logger(h, w, j, tab);
}

/* Most messages begin with a word that begins no header, which this finds out quickly: small
 * letters behind the first, then a space, and no level, month or day. */
static bool begins_plainly(const struct words *words, struct span s)
{
    size_t j = 0;
    while (is(s, j, LETTER))
        j++;
    if (j < 2 || byte_at(s, j) != ' ' || s.base[j - 1] < 'a')
        return false;
    if (byte_at(s, bar(s, j) - 1) == '|')
        return false;
    uint32_t sets = words_find(words, s.base, j);
    return WORD_LEVEL(sets) == SIGN_LEVEL_NONE && (sets & (WORD_MONTH | WORD_DAY | WORD_NULL)) == 0;
}

/* A header is a run of short fields with a time of day in it, or a PRI. Returns its bytes; 0:
 * there is none. */
static size_t one_header(const struct line *l, size_t at, bool nested, enum sign_level *level)
{
    struct span s = span_skip(l->text, at);
    struct header h = {.words = &l->words,
                       .classes = &l->classes,
                       .at = at,
                       .s = span_of(s.base, s.len < HEADER_MAX_BYTES ? s.len : HEADER_MAX_BYTES),
                       .nested = nested};
    read_pri(&h);
    find_time(&h);
    s = h.s;
    *level = h.said_level;
    if (h.time_end == 0 && (nested || !find_numbers(&h)))
        return h.begin;
    h.i = h.time_end;
    if (h.version) {
        h.i = skip_5424(&h);
    } else {
        h.seen_level = h.level != h.said_level;
        if (h.held)
            skip_held(&h);
        if (h.syslog)
            skip_host(&h);
        for (enum step step = STEP_NEXT; step == STEP_NEXT && h.after < MAX_AFTER;) {
            if (bar(s, h.i) >= s.len)
                return h.begin;
            step = step_after(&h);
        }
        h.i = bar(s, h.i);
        while ((byte_at(s, h.i) == '-' || byte_at(s, h.i) == ':') && byte_at(s, h.i + 1) == ' ')
            h.i = bar(s, h.i + 2);
    }
    if (h.i >= s.len)
        return h.begin;
    *level = h.level;
    return h.i;
}

/* Nearly all messages have no time in them: no digit, colon, digit; no eight digits, T, digit; no
 * digits with a point behind a dash; no ten digits in a row. From byte `from` on. */
static bool may_hold_time(const struct line *l, size_t from)
{
    const uint8_t *s = l->text.base;
    size_t end = l->text.len - from < HEADER_MAX_BYTES ? l->text.len : from + HEADER_MAX_BYTES;
    for (size_t at = from; at < end; at += CLASS_WINDOW_BITS - TIME_BITS) {
        uint64_t digit = class_window(l->classes.digit, at);
        uint64_t odd = class_window(l->classes.odd, at), stop = class_window(l->classes.stop, at);
        uint64_t dashed = odd << 1 | odd << 2; /* an odd byte, and at most one digit behind it */
        uint64_t may = digit & digit >> 2 & (stop >> 1 | (odd >> 1 & dashed));
        uint64_t eight = digit & digit >> 1;
        eight &= eight >> 2;
        eight &= eight >> 4;
        may |= (eight & ~(digit >> 8) & digit >> 9) << 7; /* the last of eight digits */
        for (; may != 0; may &= may - 1)
            if (may_be_time(s, at + (size_t)__builtin_ctzll(may)))
                return true;
        if ((eight & eight >> 2) != 0)
            return true;
    }
    return false;
}

/* Without a time only a PRI counts, and numbers at the beginning. */
static bool may_have_header(const struct line *l)
{
    struct span s = l->text;
    return s.len > 0 && (s.base[0] == '<' || is(s, 0, NUMBERISH) || may_hold_time(l, 0)) &&
           !begins_plainly(&l->words,
                           span_of(s.base, s.len < HEADER_MAX_BYTES ? s.len : HEADER_MAX_BYTES));
}

size_t header_split(const struct line *l, enum sign_level *level)
{
    size_t at = 0;
    if (!may_have_header(l))
        return 0;
    for (int n = 0; n < MAX_HEADERS && (n == 0 || may_hold_time(l, at)); n++) {
        enum sign_level found;
        size_t more = one_header(l, at, n > 0, &found);
        if (found != 0 && (n == 0 || more > 0))
            *level = found;
        if (more == 0)
            break;
        at += more;
    }
    return at;
}
