/* history_page: a span of the history as JSON: arrays of one length, oldest first. */
#include <inttypes.h>
#include <stdlib.h>

#include "telemetry/history_state.h"

/* clang-format off */
#define COLUMNS(X) \
    X(received) X(kept) X(errors) X(lost) X(received_bytes) X(kept_bytes)
/* clang-format on */

#define X(name) \
    static uint64_t name##_of(const struct series_cell *n) \
    { \
        return n->name; \
    }
COLUMNS(X)
#undef X

struct column {
    const char *name;
    uint64_t (*of)(const struct series_cell *n);
};

static const struct column all_columns[] = {
    {"received", received_of},     {"kept", kept_of},
    {"errors", errors_of},         {"received_bytes", received_bytes_of},
    {"kept_bytes", kept_bytes_of}, {"lost", lost_of}, /* of totals alone */
};
static const struct column would_columns[] = {
    {"would_keep", kept_of},
    {"would_keep_bytes", kept_bytes_of},
};

struct range {
    enum series_span span;
    uint64_t first_s; /* of its first step */
    uint32_t steps;
};

static struct range range_of(const struct history *h, const struct history_view *view)
{
    uint32_t step_s = series_step_s(view->span), steps = series_steps(view->span);
    if (view->seconds / step_s < steps)
        steps = (uint32_t)(view->seconds / step_s);
    uint64_t last = (h->now_s - 1) / step_s * step_s;
    return (struct range){view->span, last - (uint64_t)(steps - 1) * step_s, steps};
}

static struct series_cell cell_at(const struct series *s, const struct range *r, uint32_t i)
{
    return series_at(s, r->span, r->first_s + (uint64_t)i * series_step_s(r->span));
}

static void write_columns(struct json *j, const struct series *s, const struct range *r,
                          const struct column *columns, size_t count)
{
    for (size_t c = 0; c < count; c++) {
        json_begin_list(j, columns[c].name);
        for (uint32_t i = 0; i < r->steps; i++) {
            struct series_cell n = cell_at(s, r, i);
            json_u64(j, NULL, columns[c].of(&n));
        }
        json_end_list(j);
    }
}

static double bytes_in(const struct series *s, const struct range *r)
{
    double sum = 0;
    for (uint32_t i = 0; i < r->steps; i++)
        sum += (double)cell_at(s, r, i).received_bytes;
    return sum;
}

static void write_service(struct json *j, struct span name, const struct series *s,
                          const struct range *r)
{
    json_begin(j, NULL);
    json_text(j, "name", name);
    write_columns(j, s, r, all_columns, ARRAY_LEN(all_columns) - 1);
    json_end(j);
}

struct loud {
    const struct history_place *place;
    double bytes;
};

static int by_bytes(const void *a, const void *b)
{
    const struct loud *x = a, *y = b;
    if (x->bytes < y->bytes || x->bytes > y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->place < y->place ? -1 : x->place > y->place;
}

static void write_services(const struct history *h, const struct history_view *view,
                           const struct range *r, struct json *j)
{
    struct loud loud[HISTORY_SERVICES];
    size_t count = 0;
    for (int i = 0; i < HISTORY_SERVICES; i++) {
        const struct history_place *p = &h->places[i];
        if (p->is_used &&
            (view->service.base == NULL || span_eq(span_of(p->name, p->name_len), view->service)))
            loud[count++] = (struct loud){p, bytes_in(&p->series, r)};
    }
    qsort(loud, count, sizeof *loud, by_bytes);
    json_begin_list(j, "services");
    for (size_t i = 0; i < count; i++)
        write_service(j, span_of(loud[i].place->name, loud[i].place->name_len),
                      &loud[i].place->series, r);
    if (view->service.base == NULL && bytes_in(&h->other, r) > 0)
        write_service(j, SPAN("(other)"), &h->other, r);
    json_end_list(j);
}

static void write_marks(const struct history *h, const struct range *r, struct json *j)
{
    static const char *const kinds[] = {
#define X(name, text) [HISTORY_##name] = text,
        HISTORY_KINDS(X)
#undef X
    };
    json_begin_list(j, "marks");
    for (uint32_t i = 0; i < h->mark_count; i++) {
        const struct history_mark *m = history_mark_at(h, i);
        if (m->unix_s < r->first_s)
            continue;
        json_begin(j, NULL);
        json_u64(j, "unix_s", m->unix_s);
        json_str(j, "kind", kinds[m->kind]);
        json_str(j, "text", m->text);
        json_end(j);
    }
    json_end_list(j);
}

void history_write(const struct history *h, const struct history_view *view, struct json *j)
{
    const struct range r = range_of(h, view);
    json_u64(j, "step_s", series_step_s(view->span));
    json_u64(j, "from_unix_s", r.first_s);
    json_u64(j, "steps", r.steps);
    json_u64(j, "since_unix_s", h->since_s);
    json_u64(j, "until_unix_s", h->now_s);
    json_begin(j, "total");
    write_columns(j, &h->total, &r, all_columns, ARRAY_LEN(all_columns));
    if (view->is_observing)
        write_columns(j, &h->would, &r, would_columns, ARRAY_LEN(would_columns));
    json_end(j);
    json_begin(j, "month");
    json_u64(j, "since_unix_s", h->month.since_s);
    json_u64(j, "received", h->month.received);
    json_u64(j, "kept", h->month.kept);
    json_u64(j, "received_bytes", h->month.received_bytes);
    json_u64(j, "kept_bytes", h->month.kept_bytes);
    json_end(j);
    write_services(h, view, &r, j);
    write_marks(h, &r, j);
}
