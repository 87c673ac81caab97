/* signature_logfmt: a line that is key=value pairs and nothing else. */
#include "pattern/signature_map.h"

#include <string.h>

#include "util/hash.h"

#define MIN_PAIRS 2
#define SEEN_SLOTS 256

/* Letters, digits and _ . @ - */
/* clang-format off */
static const bool key_byte[256] = {
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
    ['_'] = true, ['.'] = true, ['@'] = true, ['-'] = true,
};
/* clang-format on */

static size_t key_bytes(struct span s)
{
    size_t i = 0;
    while (i < s.len && key_byte[s.base[i]])
        i++;
    return i;
}

/* A value in quotes, from behind the opening one, unescaped in place. Returns the bytes up to
 * behind the closing one; 0: there is none. */
static size_t read_quoted(uint8_t *at, size_t len, struct span *out)
{
    const uint8_t *close = len > 0 ? memchr(at, '"', len) : NULL;
    size_t n = close != NULL ? (size_t)(close - at) : 0, i = 0;
    if (n > 0 && memchr(at, '\\', n) == NULL) { /* as nearly all are */
        *out = span_of(at, n);
        return n + 1;
    }
    n = 0;
    while (i < len && at[i] != '"') {
        uint8_t c = at[i];
        if (c == '\\' && i + 1 < len) {
            c = at[++i];
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        at[n++] = c;
        i++;
    }
    *out = span_of(at, n);
    return i < len ? i + 1 : 0;
}

/* Different keys so far; the same one is not counted twice. */
struct seen {
    uint32_t count;
    uint16_t slots[SEEN_SLOTS]; /* numbers of members, from 1 */
};

static void count_key(struct seen *seen, const struct map *m, struct span key)
{
    uint32_t at = (uint32_t)hash64(key) % SEEN_SLOTS;
    for (; seen->slots[at] != 0; at = (at + 1) % SEEN_SLOTS)
        if (span_eq(m->members[seen->slots[at] - 1].key, key))
            return;
    seen->slots[at] = (uint16_t)m->count;
    seen->count++;
}

static bool read_pairs(struct map *m, uint8_t *at, size_t len)
{
    struct seen seen = {0};
    size_t i = 0;
    for (;;) {
        while (i < len && at[i] == ' ')
            i++;
        if (i == len)
            return seen.count >= MIN_PAIRS;
        struct span key = span_of(at + i, key_bytes(span_of(at + i, len - i)));
        i += key.len;
        if (key.len == 0 || i == len || at[i++] != '=' || seen.count == MAP_MAX_NAMES)
            return false;
        struct map_value value = {.kind = MAP_STRING};
        if (i < len && at[i] == '"') {
            size_t bytes = read_quoted(at + i + 1, len - i - 1, &value.text);
            i += 1 + bytes;
            if (bytes == 0 || (i < len && at[i] != ' '))
                return false;
        } else {
            const uint8_t *space = i < len ? memchr(at + i, ' ', len - i) : NULL;
            size_t end = space != NULL ? (size_t)(space - at) : len;
            value.text = span_of(at + i, end - i);
            i = end;
        }
        if (map_add(m, 0, key, &value) > 0)
            count_key(&seen, m, key);
    }
}

bool map_read_logfmt(struct map *m, struct span line)
{
    size_t from = 0;
    while (from < line.len && line.base[from] == ' ')
        from++;
    line = span_skip(line, from);
    size_t key = key_bytes(line);
    if (key == 0 || key == line.len || line.base[key] != '=')
        return false; /* nearly every line; the others are read from a copy */
    uint8_t *copy = scratch_take(m->scratch, line.len);
    if (copy == NULL)
        return false;
    memcpy(copy, line.base, line.len);
    map_begin(m);
    if (!read_pairs(m, copy, line.len))
        return false;
    map_end(m);
    return true;
}
