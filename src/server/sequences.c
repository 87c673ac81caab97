/* sequences: a short sorted list. */
#include "server/sequences.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void remove_at(struct sequences *s, unsigned i)
{
    s->count--;
    memmove(&s->missing[i], &s->missing[i + 1], (s->count - i) * sizeof s->missing[0]);
}

static void insert_at(struct sequences *s, unsigned i, uint64_t from, uint64_t to)
{
    if (s->count == SEQUENCES_RANGES) {
        if (i == 0)
            return; /* it is the lowest */
        remove_at(s, 0);
        i--;
    }
    memmove(&s->missing[i + 1], &s->missing[i], (s->count - i) * sizeof s->missing[0]);
    s->missing[i].from = from;
    s->missing[i].to = to;
    s->count++;
}

static bool take_missing(struct sequences *s, unsigned i, uint64_t number)
{
    uint64_t from = s->missing[i].from, to = s->missing[i].to;
    if (number < from || number > to)
        return false;
    remove_at(s, i);
    if (number < to)
        insert_at(s, i, number + 1, to);
    if (number > from)
        insert_at(s, i, from, number - 1);
    return true;
}

bool sequences_take(struct sequences *s, uint64_t number)
{
    if (number > s->highest) {
        if (number > s->highest + 1)
            insert_at(s, s->count, s->highest + 1, number - 1);
        s->highest = number;
        return true;
    }
    for (unsigned i = 0; i < s->count; i++)
        if (take_missing(s, i, number))
            return true;
    return false;
}

static bool read_number(struct span *text, uint64_t *out)
{
    size_t n = 0;
    for (*out = 0; n < text->len && n < 19 && text->base[n] >= '0' && text->base[n] <= '9'; n++)
        *out = *out * 10 + (text->base[n] - '0');
    *text = span_skip(*text, n);
    return n > 0;
}

static bool read_sign(struct span *text, char sign)
{
    if (text->len == 0 || text->base[0] != sign)
        return false;
    *text = span_skip(*text, 1);
    return true;
}

struct sequences sequences_read(uint64_t highest, struct span missing)
{
    struct sequences s = {.highest = highest};
    do {
        uint64_t from, to, past = s.count == 0 ? 0 : s.missing[s.count - 1].to;
        if (!read_number(&missing, &from))
            break;
        to = from;
        if (read_sign(&missing, '-') && !read_number(&missing, &to))
            break;
        if (s.count == SEQUENCES_RANGES || from <= past || to < from || to >= highest)
            break;
        insert_at(&s, s.count, from, to);
    } while (read_sign(&missing, ','));
    return s;
}

void sequences_write(const struct sequences *s, char out[SEQUENCES_TEXT_BYTES])
{
    size_t n = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < s->count && n < SEQUENCES_TEXT_BYTES; i++) {
        const char *comma = i == 0 ? "" : ",";
        uint64_t from = s->missing[i].from, to = s->missing[i].to;
        int wrote = from == to
                        ? snprintf(out + n, SEQUENCES_TEXT_BYTES - n, "%s%" PRIu64, comma, to)
                        : snprintf(out + n, SEQUENCES_TEXT_BYTES - n, "%s%" PRIu64 "-%" PRIu64,
                                   comma, from, to);
        n += (size_t)wrote;
    }
}
