/* report_marks: two arrays that grow. */
#include "policy/report_marks.h"

#include <assert.h>
#include <stdlib.h>

void report_marks_init(struct report_marks *m, struct budget *budget)
{
    *m = (struct report_marks){.budget = budget};
}

static void drop(struct report_marks *m, void *array, size_t bytes)
{
    budget_give(m->budget, bytes);
    free(array);
}

void report_marks_done(struct report_marks *m)
{
    drop(m, m->patterns, m->pattern_count * sizeof *m->patterns);
    drop(m, m->services, m->service_count * sizeof *m->services);
    report_marks_init(m, m->budget);
}

/* *array with room for `count`, the new ones zero. */
static int grow(struct report_marks *m, void **array, uint32_t *have, uint32_t count, size_t one)
{
    if (count <= *have)
        return 0;
    size_t more = (count - *have) * one;
    if (budget_take(m->budget, more) < 0)
        return ERR_FULL;
    uint8_t *grown = realloc(*array, count * one);
    if (grown == NULL) {
        budget_give(m->budget, more);
        return ERR_NOMEM;
    }
    memset(grown + *have * one, 0, more);
    *array = grown;
    *have = count;
    return 0;
}

int report_marks_reserve(struct report_marks *m, const struct census *c)
{
    uint32_t entries = 0;
    void *patterns = m->patterns, *services = m->services;
    for (uint32_t i = 0; i < c->pattern_count; i++)
        if (c->patterns[i].number >= entries)
            entries = c->patterns[i].number + 1;
    int rc = grow(m, &patterns, &m->pattern_count, entries, sizeof *m->patterns);
    if (rc == 0)
        rc = grow(m, &services, &m->service_count, c->services_held, sizeof *m->services);
    m->patterns = patterns;
    m->services = services;
    return rc;
}

static bool is_of(const struct report_mark *mark, const struct census_pattern *p)
{
    const struct pattern_key *a = &mark->key, *b = &p->key;
    return a->signature == b->signature && a->service == b->service && a->level == b->level &&
           a->status_class == b->status_class && mark->first_seen_ns == p->first_seen_ns &&
           mark->received <= p->counts.received;
}

struct report_mark report_marks_of(const struct report_marks *m, const struct census_pattern *p)
{
    if (p->number < m->pattern_count && is_of(&m->patterns[p->number], p))
        return m->patterns[p->number];
    return (struct report_mark){.key = p->key, .first_seen_ns = p->first_seen_ns};
}

uint64_t report_marks_of_service(const struct report_marks *m, uint32_t service)
{
    return service < m->service_count ? m->services[service].received : 0;
}

uint64_t report_marks_sequence(const struct report_marks *m, uint32_t service)
{
    return service < m->service_count ? m->services[service].sequence : 0;
}

uint64_t report_marks_fate(const struct report_marks *m, uint32_t service, enum fate fate)
{
    return service < m->service_count ? m->services[service].fate[fate] : 0;
}

static struct report_mark mark_at(const struct census_pattern *p)
{
    return (struct report_mark){.key = p->key,
                                .first_seen_ns = p->first_seen_ns,
                                .received = p->counts.received,
                                .kept = p->counts.kept,
                                .bytes = p->counts.received_bytes,
                                .kept_bytes = p->counts.kept_bytes};
}

void report_marks_set(struct report_marks *m, const struct census_pattern *p)
{
    assert(p->number < m->pattern_count);
    m->patterns[p->number] = mark_at(p);
}

struct report_mark report_marks_note(struct report_marks *m, const struct census_pattern *p)
{
    assert(p->number < m->pattern_count);
    m->patterns[p->number] = report_marks_of(m, p); /* from here on it is this pattern's */
    return mark_at(p);
}

void report_marks_advance(struct report_marks *m, uint32_t number, const struct report_mark *mark)
{
    assert(number < m->pattern_count);
    struct report_mark *now = &m->patterns[number];
    const struct pattern_key *a = &now->key, *b = &mark->key;
    if (a->signature == b->signature && a->service == b->service && a->level == b->level &&
        a->status_class == b->status_class && now->first_seen_ns == mark->first_seen_ns)
        *now = *mark;
}

void report_marks_set_service(struct report_marks *m, uint32_t service, uint64_t received)
{
    assert(service < m->service_count);
    m->services[service].received = received;
}

void report_marks_set_sequence(struct report_marks *m, uint32_t service, uint64_t sequence)
{
    assert(service < m->service_count);
    m->services[service].sequence = sequence;
}

void report_marks_set_fates(struct report_marks *m, uint32_t service,
                            const uint64_t fate[FATE_COUNT])
{
    assert(service < m->service_count);
    memcpy(m->services[service].fate, fate, sizeof m->services[service].fate);
}
