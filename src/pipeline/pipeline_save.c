/*
 * pipeline_save: what a pipeline knows of patterns and families, for the process after it.
 *
 * Counts are not in it: they begin anew, with the ledger and with all other counters. What is in it
 * decides what is new (keys, times, templates, families, and where in its window each pattern is)
 * and how much may stay (the budget's debts, and what each pattern asks for).
 */
#include <math.h>
#include <string.h>

#include "pipeline/pipeline_state.h"
#include "util/saved.h"

static void save_pattern(const struct pipeline *p, const struct pattern *e, struct buf *out)
{
    struct governor_known known = {0};
    if (p->governor != NULL && !governor_known(p->governor, e->number, &known))
        known = (struct governor_known){0};
    saved_put_u64(out, e->key.signature);
    saved_put_u32(out, e->key.service);
    saved_put_u8(out, e->key.level);
    saved_put_u8(out, e->key.status_class);
    saved_put_u64(out, e->family);
    saved_put_u64(out, e->first_seen_ns);
    saved_put_u32(out, e->last_seen_s);
    saved_put_u32(out, e->window);
    saved_put_u32(out, e->in_window);
    saved_put_double(out, (double)known.volume);
    saved_put_u8(out, known.level);
    saved_put_span(out, span_of(e->template_text, e->template_text == NULL ? 0 : e->template_len));
}

void pipeline_save(const struct pipeline *p, uint64_t unix_ns, struct buf *out)
{
    uint32_t services = ledger_services(p->ledger), count = 0;
    saved_put_u32(out, services);
    for (uint32_t i = 0; i < services; i++)
        saved_put_span(out, ledger_service_name(p->ledger, i));
    size_t at = saved_put_later(out);
    for (uint32_t i = 0; i < patterns_slots(p->patterns) && out->err == 0; i++) {
        const struct pattern *e = patterns_at(p->patterns, i);
        if (!e->in_use)
            continue;
        save_pattern(p, e, out);
        count++;
    }
    saved_set_later(out, at, count);
    size_t length = saved_put_later(out);
    if (p->families != NULL)
        families_save(p->families, out);
    saved_set_later(out, length, (uint32_t)(out->len - length));
    saved_put_u64(out, unix_ns);
    length = saved_put_later(out);
    if (p->governor != NULL)
        governor_save(p->governor, out);
    saved_set_later(out, length, (uint32_t)(out->len - length));
}

/* The service of this process with the name of one before. */
static uint32_t service_of(struct pipeline *p, struct span name)
{
    uint32_t known = ledger_services(p->ledger), service = ledger_service(p->ledger, name);
    if (service == known && p->opts.service_seen != NULL)
        p->opts.service_seen(p->opts.service_ctx, service, ledger_service_name(p->ledger, service));
    return service;
}

/* As pattern_place() begins an entry, and it is not new. */
static void begin(struct pipeline *p, const struct pattern *was, const struct governor_known *known,
                  struct span text)
{
    const struct pattern_key *key = &was->key;
    if (patterns_find(p->patterns, key) != NULL ||
        patterns_count(p->patterns) >= p->opts.max_patterns)
        return;
    if (p->anomaly != NULL)
        anomaly_know(p->anomaly, key);
    p->placing.key = key;
    p->placing.generation = p->families == NULL ? 0 : families_generation(p->families);
    struct pattern *e = patterns_add(p->patterns, key);
    p->place.on_new(p->place.ctx, e->number, false);
    e->first_seen_ns = was->first_seen_ns;
    e->last_seen_s = was->last_seen_s;
    e->family = was->family;
    e->window = was->window == PATTERN_WINDOW_NEW ? PATTERN_WINDOW_KNOWN : was->window;
    e->in_window = was->in_window;
    pattern_set_template(p->patterns, e, text);
    if (p->governor != NULL)
        governor_recall(p->governor, e->number, known);
}

static void restore_pattern(struct pipeline *p, struct saved *s, const struct saved *names,
                            uint32_t services, uint32_t *service_at, uint32_t *place)
{
    struct pattern was = {.key.signature = saved_u64(s)};
    uint32_t service = saved_u32(s);
    was.key.level = saved_u8(s);
    was.key.status_class = saved_u8(s);
    was.family = saved_u64(s);
    was.first_seen_ns = saved_u64(s);
    was.last_seen_s = saved_u32(s);
    was.window = saved_u32(s);
    was.in_window = saved_u32(s);
    struct governor_known known = {.volume = (float)saved_double(s)};
    known.level = saved_u8(s);
    struct span text = saved_span(s);
    s->is_bad |= !isfinite(known.volume) || known.volume < 0;
    s->is_bad |= service >= services || was.key.level >= LEVEL_COUNT || was.key.status_class > 5;
    if (s->is_bad)
        return;
    if (*service_at != service) { /* patterns of a service are mostly next to each other */
        struct saved list = *names;
        struct span name = saved_span(&list);
        for (uint32_t i = 0; i < service; i++)
            name = saved_span(&list);
        *place = service == LEDGER_OTHER ? LEDGER_OTHER : service_of(p, name);
        *service_at = service;
    }
    was.key.service = *place;
    begin(p, &was, &known, text);
}

/* Before the patterns: what is known of them is of use only where its debts are. */
static void restore_governor(struct pipeline *p, struct saved *s, uint64_t unix_ns)
{
    uint64_t then_ns = saved_u64(s);
    struct span debts = saved_span(s);
    if (s->is_bad || p->governor == NULL || debts.len == 0)
        return;
    double away_s = unix_ns > then_ns ? (double)(unix_ns - then_ns) / 1e9 : 0;
    s->is_bad |= governor_restore(p->governor, debts, away_s) < 0;
}

int pipeline_restore(struct pipeline *p, uint64_t unix_ns, struct span text)
{
    struct saved s = {.left = text};
    uint32_t services = saved_u32(&s), service_at = UINT32_MAX, place = LEDGER_OTHER;
    const struct saved names = s;
    for (uint32_t i = 0; i < services && !s.is_bad; i++)
        saved_span(&s);
    struct saved patterns = s;
    for (uint32_t n = saved_u32(&s); n > 0 && !s.is_bad; n--) { /* families come first */
        saved_bytes(&s, 8 + 4 + 1 + 1 + 8 + 8 + 4 + 4 + 4 + 8 + 1);
        saved_span(&s);
    }
    struct span families = saved_span(&s);
    restore_governor(p, &s, unix_ns);
    int rc = s.is_bad ? ERR_MALFORMED : 0;
    if (rc == 0 && p->families != NULL && families.len > 0)
        rc = families_restore(p->families, families);
    for (uint32_t n = saved_u32(&patterns); rc == 0 && n > 0 && !patterns.is_bad; n--)
        restore_pattern(p, &patterns, &names, services, &service_at, &place);
    return patterns.is_bad ? ERR_MALFORMED : rc;
}
