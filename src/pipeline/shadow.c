/* shadow: a table beside the pattern table, in blocks of the same numbers. */
#include "pipeline/shadow.h"

#include <stdlib.h>

#include "util/err.h"

#define BLOCK_ENTRIES 256

struct cell {
    struct shadow_counts counts;
    uint32_t window, in_window; /* of the policy's lane, as in struct pattern */
};

struct row {
    struct cell lane[SHADOW_LANE_COUNT];
};

struct shadow {
    struct shadow_opts opts;
    struct shadow_counts total[SHADOW_LANE_COUNT];
    struct row elsewhere; /* of all patterns that there was no room for, as if they were one */
    uint32_t block_count;
    struct row **blocks; /* NULL until a pattern of it comes */
};

const char *shadow_lane_name(enum shadow_lane lane)
{
    static const char *const names[] = {
#define X(name, text) [SHADOW_##name] = text,
        SHADOW_LANES(X)
#undef X
    };
    return names[lane];
}

int shadow_new(struct shadow **out, const struct shadow_opts *opts)
{
    struct shadow *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->opts = *opts;
    s->block_count = (opts->max_patterns + BLOCK_ENTRIES - 1) / BLOCK_ENTRIES;
    s->blocks = calloc(s->block_count, sizeof *s->blocks);
    if (s->blocks == NULL) {
        free(s);
        return ERR_NOMEM;
    }
    *out = s;
    return 0;
}

static size_t block_bytes(void)
{
    return BLOCK_ENTRIES * sizeof(struct row);
}

void shadow_free(struct shadow *s)
{
    if (s == NULL)
        return;
    for (uint32_t i = 0; i < s->block_count; i++) {
        if (s->blocks[i] != NULL)
            budget_give(s->opts.budget, block_bytes());
        free(s->blocks[i]);
    }
    free(s->blocks);
    free(s);
}

static struct row *find(const struct shadow *s, uint32_t number)
{
    struct row *block = s->blocks[number / BLOCK_ENTRIES];
    return block == NULL ? NULL : &block[number % BLOCK_ENTRIES];
}

static struct row *find_or_make(struct shadow *s, uint32_t number)
{
    struct row **block = &s->blocks[number / BLOCK_ENTRIES];
    if (*block == NULL && budget_take(s->opts.budget, block_bytes()) == 0) {
        *block = calloc(BLOCK_ENTRIES, sizeof **block);
        if (*block == NULL)
            budget_give(s->opts.budget, block_bytes());
    }
    return *block != NULL ? find(s, number) : &s->elsewhere;
}

void shadow_forget(struct shadow *s, uint32_t number)
{
    struct row *row = find(s, number);
    if (row != NULL)
        *row = (struct row){0};
}

static void add(struct shadow_counts *c, const struct decision *d, size_t bytes)
{
    c->kept += d->verdict == VERDICT_KEPT;
    c->sampled_out += d->verdict == VERDICT_SAMPLED_OUT;
    c->dropped_by_rule += d->verdict == VERDICT_DROPPED_BY_RULE;
    c->kept_bytes += d->verdict == VERDICT_KEPT ? bytes : 0;
}

static void note(struct shadow *s, enum shadow_lane lane, struct cell *cell, size_t bytes,
                 const struct decision *d)
{
    bytes += d->threshold > 0 ? s->opts.stamp_bytes : 0;
    add(&s->total[lane], d, bytes);
    add(&cell->counts, d, bytes);
}

void shadow_note(struct shadow *s, enum shadow_lane lane, const struct subject *subject,
                 const struct decision *d)
{
    struct row *row = find_or_make(s, subject->pattern->number);
    note(s, lane, &row->lane[lane], subject->bytes.len, d);
}

void shadow_decide(struct shadow *s, const struct rules *rules, const struct subject *subject)
{
    struct row *row = find_or_make(s, subject->pattern->number);
    struct cell *cell = &row->lane[SHADOW_POLICY];
    /* The sampler counts windows in the pattern's entry: it gets one with ours. */
    struct pattern pattern = *subject->pattern;
    if (row == &s->elsewhere)
        pattern.key.signature = 0; /* one window for all of them, so it has one phase */
    struct subject other = *subject;
    pattern.window = cell->window;
    pattern.in_window = cell->in_window;
    other.pattern = &pattern;
    other.governor = NULL;
    struct decision d = sampler_decide(rules, &other);
    cell->window = pattern.window;
    cell->in_window = pattern.in_window;
    note(s, SHADOW_POLICY, cell, subject->bytes.len, &d);
}

const struct shadow_counts *shadow_total(const struct shadow *s, enum shadow_lane lane)
{
    return &s->total[lane];
}

struct shadow_counts shadow_of(const struct shadow *s, enum shadow_lane lane, uint32_t number)
{
    const struct row *row = find(s, number);
    return row == NULL ? (struct shadow_counts){0} : row->lane[lane].counts;
}
