/* minutes: for each service a ring of hours. */
#include "pipeline/minutes.h"

#include <stdlib.h>
#include <string.h>

#include "otlp/fields.h"
#include "otlp/logs.h"
#include "util/le.h"

#define NS_A_SECOND 1000000000u
#define AHEAD_S 300 /* clocks differ; what is further ahead is counted by itself */
#define TIME_TAG ((LOG_RECORD_TIME_UNIX_NANO << 3) | 1) /* fixed64 */

struct hour {
    uint64_t hour; /* since 1970 */
    struct minutes_cell cells[60];
};

struct service {
    struct hour *hours[MINUTES_HOURS]; /* by hour modulo */
    uint64_t untold;
};

struct minutes {
    struct service *services;
    uint32_t max_services;
    uint64_t now_s;
    struct budget *budget;
    /* Where the last record was counted: the next is mostly of the same service and minute. */
    struct {
        struct minutes_cell *cell; /* NULL: nowhere */
        uint64_t begin_ns;         /* of its minute */
        uint32_t service;
    } last;
};

int minutes_new(struct minutes **out, uint32_t max_services, struct budget *budget)
{
    struct minutes *m = calloc(1, sizeof *m);
    uint64_t bytes = max_services * sizeof *m->services;
    if (m == NULL || budget_take(budget, bytes) < 0) {
        free(m);
        return ERR_NOMEM;
    }
    *m = (struct minutes){.services = calloc(max_services, sizeof *m->services),
                          .max_services = max_services,
                          .budget = budget};
    if (m->services == NULL) {
        budget_give(budget, bytes);
        free(m);
        return ERR_NOMEM;
    }
    *out = m;
    return 0;
}

void minutes_free(struct minutes *m)
{
    if (m == NULL)
        return;
    for (uint32_t s = 0; s < m->max_services; s++)
        for (size_t h = 0; h < MINUTES_HOURS; h++)
            if (m->services[s].hours[h] != NULL) {
                free(m->services[s].hours[h]);
                budget_give(m->budget, sizeof(struct hour));
            }
    budget_give(m->budget, m->max_services * sizeof *m->services);
    free(m->services);
    free(m);
}

void minutes_set_now(struct minutes *m, uint64_t unix_ns)
{
    m->now_s = unix_ns / NS_A_SECOND;
    m->last.cell = NULL;
}

static bool begins_with_time(struct span fields)
{
    return fields.len >= 9 && fields.base[0] == TIME_TAG;
}

/* Of several times the last counts. Nearly all records begin with theirs. */
static uint64_t time_of(struct span record, struct span stamp)
{
    struct log_record r;
    if (begins_with_time(stamp))
        return le64_get(stamp.base + 1);
    if (begins_with_time(record))
        return le64_get(record.base + 1);
    return log_record_read(&r, record) < 0 ? 0 : r.time_unix_ns;
}

static struct hour *use(struct minutes *m, uint32_t service, uint64_t hour)
{
    struct hour **at = &m->services[service].hours[hour % MINUTES_HOURS];
    if (*at == NULL) {
        if (budget_take(m->budget, sizeof **at) < 0)
            return NULL;
        *at = calloc(1, sizeof **at);
        if (*at == NULL) {
            budget_give(m->budget, sizeof **at);
            return NULL;
        }
    }
    if ((*at)->hour != hour)
        **at = (struct hour){.hour = hour};
    return *at;
}

void minutes_count(struct minutes *m, uint32_t service, struct span record, struct span stamp)
{
    uint64_t at_ns = time_of(record, stamp);
    if (m->last.cell != NULL && m->last.service == service &&
        at_ns - m->last.begin_ns < 60 * (uint64_t)NS_A_SECOND) {
        m->last.cell->records++;
        return;
    }
    uint64_t at_s = at_ns / NS_A_SECOND, oldest_s = (MINUTES_HOURS - 1) * 3600;
    if (service >= m->max_services)
        return;
    bool is_of_now = at_s <= m->now_s + AHEAD_S && at_s + oldest_s > m->now_s;
    struct hour *h = is_of_now ? use(m, service, at_s / 3600) : NULL;
    if (h == NULL) {
        m->services[service].untold++;
        return;
    }
    struct minutes_cell *cell = &h->cells[at_s / 60 % 60];
    cell->records++;
    cell->last_s = (uint32_t)m->now_s;
    m->last.cell = cell;
    m->last.begin_ns = at_s / 60 * 60 * NS_A_SECOND;
    m->last.service = service;
}

struct minutes_cell minutes_at(const struct minutes *m, uint32_t service, uint64_t minute)
{
    const struct hour *h =
        service < m->max_services ? m->services[service].hours[minute / 60 % MINUTES_HOURS] : NULL;
    return h != NULL && h->hour == minute / 60 ? h->cells[minute % 60] : (struct minutes_cell){0};
}

uint64_t minutes_untold(const struct minutes *m, uint32_t service)
{
    return service < m->max_services ? m->services[service].untold : 0;
}
