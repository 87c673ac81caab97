/* shadow: a table beside the pattern table, in blocks of the same numbers. */
#include "pipeline/shadow.h"

#include <stdlib.h>

#include "util/blocks.h"
#include "util/err.h"

struct cell {
    struct shadow_counts counts;
    uint32_t window, in_window, phase; /* of the policy's lane, as in struct pattern */
};

struct row {
    struct cell lane[SHADOW_LANE_COUNT];
};

struct shadow {
    struct shadow_opts opts;
    struct shadow_counts total[SHADOW_LANE_COUNT];
    struct row elsewhere; /* of all patterns that there was no room for, as if they were one */
    struct blocks rows;   /* by number of the pattern's entry */
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
    if (blocks_init(&s->rows, opts->max_patterns, opts->budget) < 0) {
        free(s);
        return ERR_NOMEM;
    }
    *out = s;
    return 0;
}

void shadow_free(struct shadow *s)
{
    if (s == NULL)
        return;
    blocks_done(&s->rows, sizeof(struct row));
    free(s);
}

static struct row *find(const struct shadow *s, uint32_t number)
{
    return blocks_find(&s->rows, number, sizeof(struct row));
}

static struct row *find_or_make(struct shadow *s, uint32_t number)
{
    struct row *row = blocks_use(&s->rows, number, sizeof *row);
    return row != NULL ? row : &s->elsewhere;
}

void shadow_begin(struct shadow *s, const struct pattern *entry)
{
    struct row *row = find_or_make(s, entry->number);
    if (row == &s->elsewhere)
        return;
    *row = (struct row){0};
    row->lane[SHADOW_POLICY].window = entry->window;
    row->lane[SHADOW_POLICY].in_window = entry->in_window;
    row->lane[SHADOW_POLICY].phase = entry->phase;
}

static void add(struct shadow_counts *c, const struct decision *d, size_t bytes)
{
    c->kept += d->verdict == VERDICT_KEPT;
    c->sampled_out += d->verdict == VERDICT_SAMPLED_OUT;
    c->dropped_by_rule += d->verdict == VERDICT_DROPPED_BY_RULE;
    c->kept_bytes += d->verdict == VERDICT_KEPT ? bytes : 0;
}

void shadow_note(struct shadow *s, enum shadow_lane lane, uint32_t number, const struct decision *d,
                 size_t bytes)
{
    add(&s->total[lane], d, bytes);
    add(&find_or_make(s, number)->lane[lane].counts, d, bytes);
}

void shadow_release(struct shadow *s, enum shadow_lane lane, uint32_t number, size_t bytes)
{
    struct row *row = number == SHADOW_NO_PATTERN ? NULL : find(s, number);
    s->total[lane].released++;
    s->total[lane].kept_bytes += bytes;
    if (row == NULL)
        return;
    row->lane[lane].counts.released++;
    row->lane[lane].counts.kept_bytes += bytes;
}

struct decision shadow_decide(struct shadow *s, const struct rules *rules,
                              const struct subject *subject)
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
    pattern.phase = cell->phase;
    other.pattern = &pattern;
    other.governor = NULL;
    struct decision d = sampler_decide(rules, &other);
    cell->window = pattern.window;
    cell->in_window = pattern.in_window;
    cell->phase = pattern.phase;
    return d;
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
