/* census: counters are copied whole, rows are chosen first, and text only of those. */
#include "pipeline/census.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/pipeline_state.h"

#define LANES_BYTES (SHADOW_LANE_COUNT * sizeof(struct shadow_counts))

/* ---- counters ---------------------------------------------------------- */

static void take_counters(struct pipeline *p, struct census *c)
{
    *c = (struct census){
        .total = *ledger_total(p->ledger),
        .imbalance = ledger_imbalance(p->ledger),
        .services_held = ledger_services(p->ledger),
        .reasons = p->reasons,
        .timestamps = p->timestamps,
        .has_shadow = p->shadow != NULL,
        .has_anomaly = p->anomaly != NULL,
        .has_events = p->events != NULL,
        .other = *patterns_other(p->patterns),
        .patterns_held = patterns_count(p->patterns),
        .patterns_evicted = patterns_evicted(p->patterns),
        .overflowed = p->place.overflowed,
    };
    memcpy(c->severities, p->severities, sizeof c->severities);
    if (p->recorder != NULL)
        c->context = recorder_stats(p->recorder, p->clock.now_ms);
    c->context.released -= p->looked.released;
    c->context.limited += p->follow.limited;
    if (p->families != NULL)
        c->families = families_stats(p->families);
    if (p->governor != NULL)
        c->governor = governor_stats(p->governor);
    if (p->anomaly != NULL)
        c->anomalous = anomaly_stats(p->anomaly);
    if (p->events != NULL)
        c->events = *events_stats(p->events);
    if (p->redactor != NULL)
        c->redaction = *redactor_stats(p->redactor);
    for (int lane = 0; lane < SHADOW_LANE_COUNT && p->shadow != NULL; lane++)
        c->shadow[lane] = *shadow_total(p->shadow, (enum shadow_lane)lane);
}

static int take_services(const struct pipeline *p, struct census *c)
{
    c->services = arena_alloc(&c->arena, c->services_held * sizeof *c->services);
    if (c->services == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < c->services_held; i++) {
        struct span name = ledger_service_name(p->ledger, i);
        c->services[i].row = *ledger_row(p->ledger, i);
        c->services[i].versions = *ledger_versions(p->ledger, i);
        c->services[i].name = arena_copy(&c->arena, name);
        if (name.len > 0 && c->services[i].name.base == NULL)
            return ERR_NOMEM;
    }
    return 0;
}

/* ---- patterns ---------------------------------------------------------- */

/* False: entry i counts nothing, or was not asked for. */
static bool read_entry(const struct pipeline *p, const struct census_want *want, uint32_t i,
                       struct census_pattern *row)
{
    const struct pattern *e = patterns_at(p->patterns, i);
    if (!e->in_use)
        return false;
    *row = (struct census_pattern){
        .key = e->key,
        .counts = e->counts,
        .first_seen_ns = e->first_seen_ns,
        .last_seen_ns = pattern_last_seen_ns(e),
        .variance = draw_variance(e),
        .family = e->family,
        .number = e->number,
        .kept = e->counts.kept,
        .kept_bytes = e->counts.kept_bytes,
    };
    if (want->shadow && p->opts.observe && p->shadow != NULL) {
        struct shadow_counts would = shadow_of(p->shadow, SHADOW_ENFORCED, i);
        row->kept = would.kept;
        row->kept_bytes = would.kept_bytes;
    }
    return want->is_wanted == NULL || want->is_wanted(want->ctx, row);
}

/* The last in the order stands at 0, so that a better one takes its place. */
static void sift_down(struct census_pattern *heap, uint32_t n, uint32_t at,
                      int (*order)(const void *, const void *))
{
    struct census_pattern row = heap[at];
    for (uint32_t child = 2 * at + 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && order(&heap[child], &heap[child + 1]) < 0)
            child++;
        if (order(&row, &heap[child]) >= 0)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = row;
}

static int choose_patterns(const struct pipeline *p, const struct census_want *want,
                           struct census *c)
{
    struct census_pattern row;
    uint32_t slots = patterns_slots(p->patterns), found = 0;
    for (uint32_t i = 0; i < slots; i++)
        found += want->is_wanted == NULL ? patterns_at(p->patterns, i)->in_use
                                         : read_entry(p, want, i, &row);
    bool is_cut = want->order != NULL && want->limit > 0 && want->limit < found;
    uint32_t room = is_cut ? want->limit : found;
    c->patterns = arena_alloc(&c->arena, room * sizeof *c->patterns);
    if (c->patterns == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < slots; i++) {
        if (!read_entry(p, want, i, &row))
            continue;
        if (c->pattern_count < room) {
            c->patterns[c->pattern_count++] = row;
            for (uint32_t at = room / 2; is_cut && c->pattern_count == room && at > 0; at--)
                sift_down(c->patterns, room, at - 1, want->order);
        } else if (want->order(&row, &c->patterns[0]) < 0) {
            c->patterns[0] = row;
            sift_down(c->patterns, room, 0, want->order);
        }
    }
    if (want->order != NULL)
        qsort(c->patterns, c->pattern_count, sizeof *c->patterns, want->order);
    return 0;
}

static int take_templates(const struct pipeline *p, struct census *c)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < c->pattern_count; i++)
        bytes += patterns_at(p->patterns, c->patterns[i].number)->template_len;
    char *at = arena_alloc(&c->arena, bytes);
    if (at == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < c->pattern_count; i++) {
        const struct pattern *e = patterns_at(p->patterns, c->patterns[i].number);
        if (e->template_len == 0)
            continue;
        memcpy(at, e->template_text, e->template_len);
        c->patterns[i].template_text = at;
        c->patterns[i].template_len = e->template_len;
        at += e->template_len;
    }
    return 0;
}

static int take_shadow(const struct pipeline *p, struct census *c)
{
    struct shadow_counts *at =
        arena_alloc(&c->arena, c->pattern_count * sizeof *at * SHADOW_LANE_COUNT);
    if (at == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < c->pattern_count; i++) {
        c->patterns[i].shadow = at;
        for (int lane = 0; lane < SHADOW_LANE_COUNT; lane++)
            *at++ = shadow_of(p->shadow, (enum shadow_lane)lane, c->patterns[i].number);
    }
    return 0;
}

/* Where nothing of it was dropped although its rate is below 1, it was always among the first. */
static struct standing_facts facts_of(const struct pipeline *p, const struct census *c,
                                      const struct census_pattern *row)
{
    const struct pattern_counts *n = &row->counts;
    enum governor_cause cause = GOVERNOR_FREE;
    struct standing_facts f = {
        .signature = row->key.signature,
        .family = row->family,
        .level = (enum level)row->key.level,
        .service = c->services[row->key.service].name,
        .is_guarded = (p->guarded[row->number / 64] >> row->number % 64 & 1) != 0,
        .is_all_first = !p->opts.observe && n->sampled_out + n->dropped_by_rule == 0,
        .factor =
            p->governor == NULL ? 1 : (float)governor_factor(p->governor, row->number, &cause),
    };
    f.is_pressed = cause == GOVERNOR_BY_PRESSURE;
    if (p->anomaly != NULL)
        f.strength = anomaly_strength(p->anomaly, row->number, row->key.service, &f.anomalies);
    return f;
}

static int take_facts(const struct pipeline *p, struct census *c)
{
    struct standing_facts *at = arena_alloc(&c->arena, c->pattern_count * sizeof *at);
    if (at == NULL)
        return ERR_NOMEM;
    for (uint32_t i = 0; i < c->pattern_count; i++) {
        c->patterns[i].facts = &at[i];
        at[i] = facts_of(p, c, &c->patterns[i]);
    }
    return 0;
}

static int take_patterns(struct pipeline *p, const struct census_want *want, struct census *c)
{
    int rc = choose_patterns(p, want, c);
    for (uint32_t i = 0; rc == 0 && i < c->pattern_count && p->families != NULL; i++)
        c->patterns[i].family = families_resolve(p->families, c->patterns[i].family);
    if (rc == 0 && want->templates)
        rc = take_templates(p, c);
    if (rc == 0 && want->shadow && p->shadow != NULL)
        rc = take_shadow(p, c);
    if (rc == 0 && want->facts && want->services)
        rc = take_facts(p, c);
    return rc;
}

/* ---- aliases ----------------------------------------------------------- */

struct alias_taker {
    struct census *census;
    struct redactor *redactor; /* NULL: nothing is redacted */
    uint32_t room;
    int rc;
};

static void take_alias(void *ctx, const struct family_alias *a)
{
    struct alias_taker *t = ctx;
    struct census *c = t->census;
    if (t->rc < 0 || c->alias_count == t->room)
        return;
    struct family_alias *copy = &c->aliases[c->alias_count++];
    *copy = *a;
    struct span shown = redactor_show(t->redactor, a->template_text, false, REDACT_IN_TEMPLATE);
    copy->template_text = arena_copy(&c->arena, shown);
    if (shown.len > 0 && copy->template_text.base == NULL)
        t->rc = ERR_NOMEM;
}

static int take_aliases(struct pipeline *p, struct census *c)
{
    struct alias_taker t = {c, p->redactor, c->families.aliases, 0};
    if (p->families == NULL)
        return 0;
    c->aliases = arena_alloc(&c->arena, t.room * sizeof *c->aliases);
    if (c->aliases == NULL)
        return ERR_NOMEM;
    families_each_alias(p->families, take_alias, &t);
    return t.rc;
}

int census_take(struct pipeline *p, const struct census_want *want, struct census *out)
{
    struct census c;
    int rc = 0;
    take_counters(p, &c);
    arena_init(&c.arena, SIZE_MAX, want->budget); /* the tables are bounded */
    if (want->services)
        rc = take_services(p, &c);
    if (rc == 0 && want->patterns)
        rc = take_patterns(p, want, &c);
    if (rc == 0 && want->aliases)
        rc = take_aliases(p, &c);
    if (rc == 0 && want->guard) {
        c.guard = guard_ref(p->guard);
        memcpy(c.selected, p->selected, sizeof c.selected);
    }
    if (rc < 0)
        census_done(&c);
    else
        *out = c;
    return rc;
}

void census_done(struct census *c)
{
    arena_done(&c->arena);
    guard_unref(c->guard);
    c->guard = NULL;
    c->services = NULL;
    c->patterns = NULL;
    c->aliases = NULL;
    c->pattern_count = c->alias_count = 0;
}

/* ---- finding ----------------------------------------------------------- */

static int compare(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int by_key(const void *a, const void *b)
{
    const struct pattern_key *x = &((const struct census_pattern *)a)->key;
    const struct pattern_key *y = &((const struct census_pattern *)b)->key;
    int c = compare(x->signature, y->signature);
    if (c == 0)
        c = compare(x->service, y->service);
    if (c == 0)
        c = compare(x->level, y->level);
    return c != 0 ? c : compare(x->status_class, y->status_class);
}

void census_sort(struct census *c)
{
    if (c->pattern_count > 0)
        qsort(c->patterns, c->pattern_count, sizeof *c->patterns, by_key);
}

const struct census_pattern *census_find(const struct census *c, const struct pattern_key *key)
{
    const struct census_pattern like = {.key = *key};
    return c->pattern_count == 0
               ? NULL
               : bsearch(&like, c->patterns, c->pattern_count, sizeof *c->patterns, by_key);
}

/* ---- adding ------------------------------------------------------------ */

/* Structs that are counters and nothing else. */
static void add_counters(void *to, const void *from, size_t bytes)
{
    uint64_t *a = to;
    const uint64_t *b = from;
    for (size_t i = 0; i < bytes / sizeof *a; i++)
        a[i] += b[i];
}

static_assert(sizeof(struct ledger_row) == (VERDICT_COUNT + FATE_COUNT + 7) * sizeof(uint64_t),
              "counters only");
static_assert(sizeof(struct guard_counts) == 4 * sizeof(uint64_t), "likewise");
static_assert(sizeof(struct events_stats) == (EVENT_COUNT + 1) * sizeof(uint64_t), "likewise");

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void add_all_counters(struct census *sum, const struct census *one)
{
    add_counters(&sum->total, &one->total, sizeof sum->total);
    add_counters(&sum->reasons, &one->reasons, sizeof sum->reasons);
    add_counters(&sum->timestamps, &one->timestamps, sizeof sum->timestamps);
    add_counters(sum->severities, one->severities, sizeof sum->severities);
    add_counters(sum->shadow, one->shadow, sizeof sum->shadow);
    add_counters(&sum->events, &one->events, sizeof sum->events);
    add_counters(sum->redaction.hits, one->redaction.hits, sizeof sum->redaction.hits);
    sum->redaction.scanned_bytes += one->redaction.scanned_bytes;
    sum->redaction.changed_records += one->redaction.changed_records;
    sum->redaction.dropped_records += one->redaction.dropped_records;
    add_counters(&sum->other, &one->other, sizeof sum->other);
    sum->imbalance += one->imbalance;
    sum->context.released += one->context.released;
    sum->context.limited += one->context.limited;
    sum->context.bytes += one->context.bytes;
    sum->context.span_ms = larger(sum->context.span_ms, one->context.span_ms);
    sum->families.signatures += one->families.signatures;
    sum->families.aliases += one->families.aliases;
    sum->families.holes += one->families.holes;
    sum->families.evicted += one->families.evicted;
    sum->families.put_off += one->families.put_off;
    sum->governor.rate += one->governor.rate;
    sum->governor.used += one->governor.used;
    sum->governor.allowed += one->governor.allowed;
    sum->governor.allocations += one->governor.allocations;
    if (one->governor.pressure > sum->governor.pressure)
        sum->governor.pressure = one->governor.pressure;
    sum->anomalous.patterns += one->anomalous.patterns;
    sum->anomalous.services += one->anomalous.services;
    sum->has_shadow |= one->has_shadow;
    sum->has_anomaly |= one->has_anomaly;
    sum->has_events |= one->has_events;
    sum->patterns_evicted += one->patterns_evicted;
    sum->overflowed += one->overflowed;
}

struct named {
    struct span name;
    uint32_t at;
};

static int by_name(const void *a, const void *b)
{
    const struct span *x = &((const struct named *)a)->name, *y = &((const struct named *)b)->name;
    size_t n = x->len < y->len ? x->len : y->len;
    int c = n == 0 ? 0 : memcmp(x->base, y->base, n);
    return c != 0 ? c : compare(x->len, y->len);
}

static void add_guard(struct census *sum, const struct census *one)
{
    if (sum->guard == NULL) {
        sum->guard = guard_ref(one->guard);
        memcpy(sum->selected, one->selected, sizeof sum->selected);
        return;
    }
    for (unsigned i = 0; i < guard_count(one->guard); i++) {
        int place = guard_find(sum->guard, guard_at(one->guard, i));
        if (place >= 0)
            add_counters(&sum->selected[place], &one->selected[i], sizeof one->selected[i]);
    }
}

/* What an addition makes; the sum is touched when all of it is there. */
struct addition {
    struct census_service *services;
    struct census_pattern *patterns, *more; /* more: the other's, with numbers of our services */
    uint32_t *place;                        /* of the other's services among ours */
    uint32_t service_count, pattern_count;
};

static bool add_services(struct addition *a, struct census *sum, const struct census *one)
{
    struct named *names = arena_alloc(&sum->arena, sum->services_held * sizeof *names);
    a->place = arena_alloc(&sum->arena, one->services_held * sizeof *a->place);
    a->services = arena_alloc(&sum->arena, ((size_t)sum->services_held + one->services_held) *
                                               sizeof *a->services);
    if (names == NULL || a->place == NULL || a->services == NULL)
        return false;
    a->service_count = sum->services_held;
    memcpy(a->services, sum->services, sum->services_held * sizeof *a->services);
    for (uint32_t i = 1; i < sum->services_held; i++) /* 0 has no name: "other" */
        names[i - 1] = (struct named){sum->services[i].name, i};
    qsort(names, sum->services_held - 1, sizeof *names, by_name);
    add_counters(&a->services[LEDGER_OTHER].row, &one->services[LEDGER_OTHER].row,
                 sizeof one->services[0].row);
    for (uint32_t i = 1; i < one->services_held; i++) {
        const struct named like = {one->services[i].name, 0};
        const struct named *known =
            bsearch(&like, names, sum->services_held - 1, sizeof *names, by_name);
        struct census_service *to = &a->services[known != NULL ? known->at : a->service_count++];
        a->place[i] = (uint32_t)(to - a->services);
        if (known == NULL)
            to->name = arena_copy(&sum->arena, like.name);
        if (like.name.len > 0 && to->name.base == NULL)
            return false;
        add_counters(&to->row, &one->services[i].row, sizeof to->row);
        service_versions_merge(&to->versions, &one->services[i].versions);
    }
    return true;
}

/* A pattern of the other's, with its text and lanes in our arena. */
static bool copy_row(struct arena *arena, struct census_pattern *row)
{
    struct span text = arena_copy(arena, census_template(row));
    struct shadow_counts *lanes = arena_alloc(arena, LANES_BYTES);
    if (text.base == NULL || lanes == NULL)
        return false;
    row->template_text = row->template_len > 0 ? (const char *)text.base : NULL;
    if (row->shadow != NULL)
        row->shadow = memcpy(lanes, row->shadow, LANES_BYTES);
    return true;
}

/* Of two rows of one key. */
static void add_row(struct census_pattern *to, const struct census_pattern *more)
{
    if (more->shadow != NULL && to->shadow != NULL)
        add_counters(to->shadow, more->shadow, LANES_BYTES);
    else if (to->shadow == NULL)
        to->shadow = more->shadow;
    if (to->template_text == NULL) {
        to->template_text = more->template_text;
        to->template_len = more->template_len;
    }
    if (more->first_seen_ns < to->first_seen_ns)
        to->first_seen_ns = more->first_seen_ns;
    to->last_seen_ns = larger(to->last_seen_ns, more->last_seen_ns);
    to->variance += more->variance;
    pattern_counts_add(&to->counts, &more->counts);
}

static bool add_patterns(struct addition *a, struct census *sum, const struct census *one)
{
    size_t all = (size_t)sum->pattern_count + one->pattern_count;
    a->patterns = arena_alloc(&sum->arena, all * sizeof *a->patterns);
    a->more = arena_alloc(&sum->arena, one->pattern_count * sizeof *a->more);
    if (a->patterns == NULL || a->more == NULL)
        return false;
    for (uint32_t i = 0; i < one->pattern_count; i++) {
        a->more[i] = one->patterns[i];
        a->more[i].key.service = a->place[one->patterns[i].key.service];
        if (!copy_row(&sum->arena, &a->more[i]))
            return false;
    }
    if (sum->pattern_count > 0)
        memcpy(a->patterns, sum->patterns, sum->pattern_count * sizeof *a->patterns);
    memcpy(a->patterns + sum->pattern_count, a->more, one->pattern_count * sizeof *a->more);
    qsort(a->patterns, all, sizeof *a->patterns, by_key);
    for (size_t i = 0; i < all; i++) { /* equal ones, at most two, lie side by side */
        if (a->pattern_count > 0 &&
            by_key(&a->patterns[a->pattern_count - 1], &a->patterns[i]) == 0)
            add_row(&a->patterns[a->pattern_count - 1], &a->patterns[i]);
        else
            a->patterns[a->pattern_count++] = a->patterns[i];
    }
    return true;
}

int census_add(struct census *sum, const struct census *one)
{
    struct addition a = {0};
    assert(sum->services != NULL && one->services != NULL);
    if (!add_services(&a, sum, one) || !add_patterns(&a, sum, one))
        return ERR_NOMEM; /* what was allocated goes with the sum */
    add_all_counters(sum, one);
    add_guard(sum, one);
    sum->services = a.services;
    sum->services_held = a.service_count;
    sum->patterns = a.patterns;
    sum->pattern_count = a.pattern_count;
    sum->patterns_held = a.pattern_count;
    return 0;
}
