/* unsettled: marks of one report, beside those of all. */
#include "policy/unsettled.h"

#include <stdlib.h>

static size_t bytes_of(uint32_t marks)
{
    return sizeof(struct unsettled) + marks * sizeof(struct unsettled_mark);
}

int unsettled_new(struct unsettled **out, struct report_marks *m, const struct census *c,
                  uint32_t service, uint32_t first, uint32_t end)
{
    size_t bytes = bytes_of(end - first);
    if (budget_take(m->budget, bytes) < 0)
        return ERR_FULL;
    struct unsettled *u = calloc(1, bytes);
    if (u == NULL) {
        budget_give(m->budget, bytes);
        return ERR_NOMEM;
    }
    list_init(&u->link);
    u->service = service;
    u->sequence = report_marks_sequence(m, service) + 1;
    u->received = c->services[service].row.received;
    memcpy(u->fate, c->services[service].row.fate, sizeof u->fate);
    u->mark_count = end - first;
    u->body.budget = m->budget;
    for (uint32_t i = first; i < end; i++)
        u->marks[i - first] =
            (struct unsettled_mark){c->patterns[i].number, report_marks_note(m, &c->patterns[i])};
    *out = u;
    return 0;
}

void unsettled_take(const struct unsettled *u, struct report_marks *m)
{
    for (uint32_t i = 0; i < u->mark_count; i++)
        report_marks_advance(m, u->marks[i].number, &u->marks[i].mark);
    report_marks_set_service(m, u->service, u->received);
    report_marks_set_fates(m, u->service, u->fate);
    report_marks_set_sequence(m, u->service, u->sequence);
}

void unsettled_leave(const struct unsettled *u, struct report_marks *m)
{
    report_marks_set_sequence(m, u->service, u->sequence);
}

void unsettled_free(struct unsettled *u, struct budget *budget)
{
    if (u == NULL)
        return;
    list_remove(&u->link);
    buf_done(&u->body);
    budget_give(budget, bytes_of(u->mark_count));
    free(u);
}

struct unsettled *unsettled_find(struct list *all, uint32_t service)
{
    LIST_EACH (at, all) {
        struct unsettled *u = container_of(at, struct unsettled, link);
        if (u->service == service)
            return u;
    }
    return NULL;
}
