/* samples: two short lists beside each entry of the pattern table, newest first. */
#include "pipeline/samples.h"

#include <stdlib.h>
#include <string.h>

#include "util/blocks.h"
#include "util/unicode.h"

#define LOOKS_MAX 1024 /* entries that are asked for room: bounded work for one sample */

struct sample {
    struct sample *older;
    uint64_t unix_ns;
    uint32_t len;
    uint8_t bytes[];
};

struct pair {
    struct sample *newest[2]; /* dropped, kept */
};

struct samples {
    struct budget *budget;
    struct blocks pairs; /* by number of the pattern's entry */
    uint32_t hand;       /* whose turn it is to make room */
};

static size_t bytes_of(const struct sample *one)
{
    return sizeof *one + one->len;
}

/* Returns what was behind it. */
static struct sample *drop(struct samples *s, struct sample *one)
{
    struct sample *older = one->older;
    budget_give(s->budget, bytes_of(one));
    free(one);
    return older;
}

int samples_new(struct samples **out, uint32_t max_patterns, struct budget *budget)
{
    struct samples *s = calloc(1, sizeof *s);
    if (s == NULL || blocks_init(&s->pairs, max_patterns, budget) < 0) {
        free(s);
        return ERR_NOMEM;
    }
    s->budget = budget;
    *out = s;
    return 0;
}

static struct pair *find(const struct samples *s, uint32_t number)
{
    return blocks_find(&s->pairs, number, sizeof(struct pair));
}

void samples_forget(struct samples *s, uint32_t number)
{
    struct pair *p = find(s, number);
    for (int kept = 0; p != NULL && kept < 2; kept++)
        while (p->newest[kept] != NULL)
            p->newest[kept] = drop(s, p->newest[kept]);
}

void samples_free(struct samples *s)
{
    if (s == NULL)
        return;
    for (uint32_t i = 0; i < blocks_entries(&s->pairs); i++)
        samples_forget(s, i);
    blocks_done(&s->pairs, sizeof(struct pair));
    free(s);
}

/* Keep the newest `count` of a list. True: there was one more. */
static bool cut(struct samples *s, struct sample **list, unsigned count)
{
    while (*list != NULL && count-- > 0)
        list = &(*list)->older;
    bool had_more = *list != NULL;
    while (*list != NULL)
        *list = drop(s, *list);
    return had_more;
}

static unsigned length(const struct sample *list)
{
    unsigned n = 0;
    for (; list != NULL; list = list->older)
        n++;
    return n;
}

/* The next entry that has some gives up the oldest of its longer list. */
static bool make_room(struct samples *s)
{
    for (unsigned i = 0; i < LOOKS_MAX; i++) {
        s->hand = (s->hand + 1) % blocks_entries(&s->pairs);
        struct pair *p = find(s, s->hand);
        unsigned dropped = p == NULL ? 0 : length(p->newest[0]);
        unsigned kept = p == NULL ? 0 : length(p->newest[1]);
        if (dropped + kept > 0)
            return cut(s, &p->newest[kept > dropped], (kept > dropped ? kept : dropped) - 1);
    }
    return false;
}

void samples_take(struct samples *s, uint32_t number, bool is_kept, uint64_t unix_ns,
                  struct span body)
{
    struct span text = utf8_cut(body, SAMPLE_BYTES);
    size_t bytes = sizeof(struct sample) + text.len;
    struct pair *p = NULL;
    if (text.len == 0)
        return;
    while ((p = blocks_use(&s->pairs, number, sizeof *p)) == NULL)
        if (!make_room(s))
            return;
    cut(s, &p->newest[is_kept], SAMPLES_EACH - 1);
    while (budget_take(s->budget, bytes) < 0)
        if (!make_room(s))
            return;
    struct sample *one = malloc(bytes);
    if (one == NULL) {
        budget_give(s->budget, bytes);
        return;
    }
    *one = (struct sample){p->newest[is_kept], unix_ns, (uint32_t)text.len};
    memcpy(one->bytes, text.base, text.len);
    p->newest[is_kept] = one;
}

unsigned samples_of(const struct samples *s, uint32_t number, bool is_kept,
                    struct sample_text out[SAMPLES_EACH])
{
    const struct pair *p = s == NULL ? NULL : find(s, number);
    unsigned n = 0;
    for (const struct sample *one = p == NULL ? NULL : p->newest[is_kept];
         one != NULL && n < SAMPLES_EACH; one = one->older)
        out[n++] = (struct sample_text){one->unix_ns, span_of(one->bytes, one->len)};
    return n;
}
