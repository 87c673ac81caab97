/* ledger: counters that add up. */
#include "pipeline/ledger.h"

#include <assert.h>
#include <stdlib.h>

#include "util/hash.h"

struct service {
    struct ledger_row row;
    struct service_versions versions;
    uint8_t name_len;
    char name[LEDGER_NAME_BYTES];
};

struct ledger {
    struct ledger_opts opts;
    struct ledger_row total;
    struct service **services; /* by id */
    uint32_t count;
    uint32_t *index; /* open addressing: id + 1, 0 is free */
    uint32_t index_mask;
};

const char *verdict_name(enum verdict v)
{
    static const char *const names[] = {
#define X(name, text) [VERDICT_##name] = text,
        VERDICTS(X)
#undef X
    };
    return names[v];
}

/* Names cut at the bound compare by what is left. Never inside a UTF-8 sequence: one
 * label value that is not UTF-8 makes Prometheus refuse the whole page. */
static struct span cut(struct span name)
{
    if (name.len <= LEDGER_NAME_BYTES)
        return name;
    name.len = LEDGER_NAME_BYTES;
    while (name.len > 0 && (name.base[name.len] & 0xc0) == 0x80)
        name.len--;
    return name;
}

static uint32_t *probe(struct ledger *l, struct span name)
{
    uint32_t at = (uint32_t)hash64_seeded(name, l->opts.seed) & l->index_mask;
    while (l->index[at] != 0 && !span_eq(ledger_service_name(l, l->index[at] - 1), name))
        at = (at + 1) & l->index_mask;
    return &l->index[at];
}

static uint32_t add(struct ledger *l, struct span name)
{
    if (l->count == l->opts.max_services)
        return LEDGER_OTHER;
    if (budget_take(l->opts.budget, sizeof(struct service)) < 0)
        return LEDGER_OTHER;
    struct service *s = calloc(1, sizeof *s);
    if (s == NULL) {
        budget_give(l->opts.budget, sizeof *s);
        return LEDGER_OTHER;
    }
    s->name_len = (uint8_t)name.len;
    if (name.len > 0)
        memcpy(s->name, name.base, name.len);
    l->services[l->count] = s;
    return l->count++;
}

int ledger_new(struct ledger **out, const struct ledger_opts *opts)
{
    struct ledger *l = calloc(1, sizeof *l);
    if (l == NULL)
        return ERR_NOMEM;
    l->opts = *opts;
    uint32_t slots = 16;
    while (slots < opts->max_services * 2)
        slots *= 2;
    l->index_mask = slots - 1;
    l->index = calloc(slots, sizeof *l->index);
    l->services = calloc(opts->max_services, sizeof(struct service *));
    if (l->index == NULL || l->services == NULL)
        goto fail;
    add(l, SPAN("other")); /* not in the index: a client's "other" is a service of its own */
    if (l->count != 1)
        goto fail;
    *out = l;
    return 0;

fail:
    ledger_free(l);
    return ERR_NOMEM;
}

void ledger_free(struct ledger *l)
{
    if (l == NULL)
        return;
    for (uint32_t i = 0; i < l->count; i++)
        free(l->services[i]);
    budget_give(l->opts.budget, l->count * sizeof(struct service));
    free(l->services);
    free(l->index);
    free(l);
}

uint32_t ledger_service(struct ledger *l, struct span name)
{
    name = cut(name);
    uint32_t *slot = probe(l, name);
    if (*slot != 0)
        return *slot - 1;
    uint32_t id = add(l, name);
    if (id != LEDGER_OTHER)
        *slot = id + 1;
    return id;
}

uint32_t ledger_find(const struct ledger *l, struct span name)
{
    name = cut(name);
    uint32_t at = *probe((struct ledger *)(uintptr_t)l, name); /* looks, and writes nothing */
    return at != 0 ? at - 1 : LEDGER_OTHER;
}

uint32_t ledger_services(const struct ledger *l)
{
    return l->count;
}

struct span ledger_service_name(const struct ledger *l, uint32_t service)
{
    return span_of(l->services[service]->name, l->services[service]->name_len);
}

struct service_versions *ledger_versions(struct ledger *l, uint32_t service)
{
    return &l->services[service]->versions;
}

static void decide(struct ledger_row *r, enum verdict v, uint64_t records, uint64_t bytes)
{
    r->received += records;
    r->received_bytes += bytes;
    r->verdict[v] += records;
    if (v == VERDICT_KEPT)
        r->queued += records;
}

void ledger_decide(struct ledger *l, uint32_t service, enum verdict v, uint64_t records,
                   uint64_t bytes)
{
    decide(&l->total, v, records, bytes);
    decide(&l->services[service]->row, v, records, bytes);
}

void ledger_error(struct ledger *l, uint32_t service)
{
    l->total.errors++;
    l->services[service]->row.errors++;
}

void ledger_meter(struct ledger *l, uint32_t service, uint64_t bytes)
{
    l->total.kept_bytes += bytes;
    l->services[service]->row.kept_bytes += bytes;
}

static void release(struct ledger_row *r, uint64_t records, uint64_t bytes)
{
    r->released += records;
    r->released_bytes += bytes;
    r->queued += records;
}

void ledger_release(struct ledger *l, uint32_t service, uint64_t records, uint64_t bytes)
{
    release(&l->total, records, bytes);
    release(&l->services[service]->row, records, bytes);
}

static void settle(struct ledger_row *r, enum fate fate, uint64_t records)
{
    assert(r->queued >= records);
    r->queued -= records;
    r->fate[fate] += records;
}

void ledger_settle(struct ledger *l, uint32_t service, enum fate fate, uint64_t records)
{
    settle(&l->total, fate, records);
    settle(&l->services[service]->row, fate, records);
}

const struct ledger_row *ledger_total(const struct ledger *l)
{
    return &l->total;
}

const struct ledger_row *ledger_row(const struct ledger *l, uint32_t service)
{
    return &l->services[service]->row;
}

static uint64_t apart(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

static uint64_t row_imbalance(const struct ledger_row *r)
{
    uint64_t decided = 0, ended = r->queued;
    for (int v = 0; v < VERDICT_COUNT; v++)
        decided += r->verdict[v];
    for (int f = 0; f < FATE_COUNT; f++)
        ended += r->fate[f];
    return apart(r->received, decided) + apart(r->verdict[VERDICT_KEPT] + r->released, ended);
}

uint64_t ledger_imbalance(const struct ledger *l)
{
    uint64_t sum = row_imbalance(&l->total), received = 0, queued = 0;
    for (uint32_t i = 0; i < l->count; i++) {
        sum += row_imbalance(&l->services[i]->row);
        received += l->services[i]->row.received;
        queued += l->services[i]->row.queued;
    }
    return sum + apart(received, l->total.received) + apart(queued, l->total.queued);
}
