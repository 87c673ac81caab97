/* top_view: two tables of members, one of orders, one of columns. */
#include "cli/top_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/term.h"
#include "pipeline/rules.h"
#include "util/err.h"
#include "util/unicode.h"

static const struct {
    char key;
    const char *name, *asked;
} orders[] = {
#define X(id, key, text, asked) [TOP_BY_##id] = {key, text, asked},
    TOP_ORDERS(X)
#undef X
};

int top_view_init(struct top_view *v)
{
    *v = (struct top_view){.order = TOP_BY_VOLUME};
    v->rows = calloc(TOP_ROWS_MAX, sizeof *v->rows);
    v->rows_before = calloc(TOP_ROWS_MAX, sizeof *v->rows);
    if (v->rows == NULL || v->rows_before == NULL)
        return ERR_NOMEM;
    return json_object_new(&v->json, TOP_LINE_BYTES);
}

void top_view_done(struct top_view *v)
{
    json_object_free(v->json);
    free(v->rows);
    free(v->rows_before);
}

int top_order_of_key(char key)
{
    for (size_t i = 0; i < ARRAY_LEN(orders); i++)
        if (orders[i].key == key)
            return (int)i;
    return -1;
}

int top_order_of_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(orders); i++)
        if (strcmp(orders[i].name, name) == 0)
            return (int)i;
    return -1;
}

const char *top_order_asked(enum top_order order)
{
    return orders[order].asked;
}

/* ---- reading ----------------------------------------------------------- */

struct member {
    const char *name;
    size_t at, size; /* in the struct; size 0: a number */
};

#define TEXT(type, field, key) \
    { \
        key, offsetof(struct type, field), sizeof(((struct type *)0)->field) \
    }
#define NUMBER(type, field) \
    { \
#field, offsetof(struct type, field), 0 \
    }

static const struct member row_members[] = {
    TEXT(top_row, pattern, "pattern"),
    TEXT(top_row, service, "service"),
    TEXT(top_row, severity, "severity"),
    TEXT(top_row, status_class, "status_class"),
    TEXT(top_row, template_text, "template"),
    NUMBER(top_row, received),
    NUMBER(top_row, kept),
    NUMBER(top_row, received_bytes),
    NUMBER(top_row, kept_bytes),
    NUMBER(top_row, standard_error),
    NUMBER(top_row, would_keep),
    NUMBER(top_row, would_keep_bytes),
    {0},
};

static const struct member totals_members[] = {
    TEXT(top_totals, version, "version"),
    TEXT(top_totals, policy, "policy"),
    TEXT(top_totals, redaction, "redaction"),
    TEXT(top_totals, guarded, "guarded"),
    TEXT(top_totals, money, "money"),
    TEXT(top_totals, would_money, "would_money"),
    NUMBER(top_totals, policy_version),
    NUMBER(top_totals, uptime_ms),
    NUMBER(top_totals, received),
    NUMBER(top_totals, kept),
    NUMBER(top_totals, rejected),
    NUMBER(top_totals, delivered),
    NUMBER(top_totals, queued),
    NUMBER(top_totals, lost),
    NUMBER(top_totals, received_bytes),
    NUMBER(top_totals, kept_bytes),
    NUMBER(top_totals, queue_bytes),
    NUMBER(top_totals, queue_capacity),
    NUMBER(top_totals, patterns_held),
    NUMBER(top_totals, services),
    NUMBER(top_totals, observing),
    NUMBER(top_totals, would_keep),
    NUMBER(top_totals, would_keep_bytes),
    {0},
};

struct reading {
    const struct member *members; /* an empty one at the end */
    void *to;
    unsigned found;
};

static bool on_member(void *arg, const struct json_member *m)
{
    struct reading *r = arg;
    for (const struct member *want = r->members; want->name != NULL; want++) {
        if (!span_eq(m->key, span_str(want->name)))
            continue;
        char *at = (char *)r->to + want->at;
        struct span text = utf8_cut(m->text, want->size > 0 ? want->size - 1 : 0);
        r->found++;
        if (want->size == 0) {
            memcpy(at, &m->number, sizeof m->number);
        } else {
            memcpy(at, text.base, text.len);
            at[text.len] = '\0';
        }
    }
    return true;
}

static bool read_line(struct top_view *v, struct span line, const struct member *members, void *to)
{
    struct reading r = {members, to, 0};
    return json_object_visit(v->json, line, on_member, &r) == 0 && r.found > 3;
}

static bool same_pattern(const struct top_row *a, const struct top_row *b)
{
    return strcmp(a->pattern, b->pattern) == 0 && strcmp(a->service, b->service) == 0 &&
           strcmp(a->severity, b->severity) == 0 && strcmp(a->status_class, b->status_class) == 0;
}

static double rate_of(uint64_t now, uint64_t before, double seconds)
{
    return now > before && seconds > 0 ? (double)(now - before) / seconds : 0;
}

static uint64_t saved(uint64_t received_bytes, uint64_t kept_bytes)
{
    return received_bytes > kept_bytes ? received_bytes - kept_bytes : 0;
}

static void find_rate(struct top_view *v, struct top_row *row, double seconds)
{
    for (uint32_t i = 0; i < v->count_before; i++) {
        const struct top_row *b = &v->rows_before[i];
        if (!same_pattern(row, b))
            continue;
        row->per_s = rate_of(row->received, b->received, seconds);
        row->saved_per_s = rate_of(saved(row->received_bytes, row->kept_bytes),
                                   saved(b->received_bytes, b->kept_bytes), seconds);
        return;
    }
}

/* Observing: in place of what is kept, which is all, what enforcing would keep. */
static void take_would(struct top_totals *t)
{
    if (t->observing == 0)
        return;
    t->kept = t->would_keep;
    t->kept_bytes = t->would_keep_bytes;
    memcpy(t->money, t->would_money, sizeof t->money);
}

int top_view_take(struct top_view *v, struct span answer, uint64_t now_ms)
{
    struct top_totals totals = {{0}};
    uint32_t count = 0;
    bool is_first = true;
    while (answer.len > 0) {
        const uint8_t *end = memchr(answer.base, '\n', answer.len);
        struct span line = end == NULL ? answer : span_of(answer.base, (size_t)(end - answer.base));
        answer = span_skip(answer, line.len + (end != NULL));
        if (is_first && !read_line(v, line, totals_members, &totals))
            return ERR_MALFORMED;
        if (is_first)
            take_would(&totals);
        if (!is_first && count < TOP_ROWS_MAX) {
            struct top_row row = {{0}}; /* into the older rows: they are done with on success */
            if (read_line(v, line, row_members, &row)) {
                if (totals.observing != 0) {
                    row.kept = row.would_keep;
                    row.kept_bytes = row.would_keep_bytes;
                }
                if (count == 0) {
                    struct top_row *older = v->rows_before;
                    v->rows_before = v->rows;
                    v->rows = older;
                    v->count_before = v->count;
                }
                v->rows[count++] = row;
            }
        }
        is_first = false;
    }
    if (is_first)
        return ERR_MALFORMED;
    double seconds = (double)(now_ms - v->taken_ms) / 1000;
    bool same_process = v->taken_ms > 0 && totals.uptime_ms >= v->now.uptime_ms;
    v->before = v->now;
    v->now = totals;
    v->has_rates = same_process;
    if (!same_process || count == 0)
        v->count_before = 0;
    v->count = count;
    v->taken_ms = now_ms;
    v->per_s = same_process ? rate_of(totals.received, v->before.received, seconds) : 0;
    v->saved_per_s = same_process
                         ? rate_of(saved(totals.received_bytes, totals.kept_bytes),
                                   saved(v->before.received_bytes, v->before.kept_bytes), seconds)
                         : 0;
    for (uint32_t i = 0; i < count; i++)
        find_rate(v, &v->rows[i], seconds);
    return 0;
}

/* ---- order ------------------------------------------------------------- */

static double kept_share(const struct top_row *r)
{
    return r->received == 0 ? 0 : (double)r->kept / (double)r->received;
}

static double measure(enum top_order order, const struct top_row *r)
{
    switch (order) {
    case TOP_BY_NOW:
        return r->per_s;
    case TOP_BY_KEPT:
        return kept_share(r);
    case TOP_BY_SAVED:
        return (double)saved(r->received_bytes, r->kept_bytes);
    case TOP_BY_SEVERITY:
        return level_parse(span_str(r->severity));
    default:
        return (double)r->received;
    }
}

static int compare(const struct top_view *v, const struct top_row *a, const struct top_row *b)
{
    double x = measure(v->order, a), y = measure(v->order, b);
    if (x < y || x > y)
        return (x < y) != v->reverse ? 1 : -1;
    if (a->received != b->received)
        return (a->received < b->received) != v->reverse ? 1 : -1;
    return strcmp(a->pattern, b->pattern);
}

static int on_compare(const void *a, const void *b, void *v)
{
    return compare(v, a, b);
}

/* ---- drawing ----------------------------------------------------------- */

/* 999, 1.23k, 12.3k, 123k, 1.23M: four digits at most, in five columns. */
static const char *human(char out[16], double n)
{
    static const char units[] = " kMGTP";
    size_t unit = 0;
    while (n >= 999.5 && unit + 2 < sizeof units) {
        n /= 1000;
        unit++;
    }
    int digits = n < 9.995 ? 2 : n < 99.95 ? 1 : 0;
    if (unit == 0) /* whole numbers have no digits behind the point */
        digits = n < 9.95 && n > (double)(int)n ? 1 : 0;
    snprintf(out, 16, unit == 0 ? "%.*f" : "%.*f%c", digits, n, units[unit]);
    return out;
}

static const char *percent(char out[16], double part, double whole)
{
    double p = whole > 0 ? 100 * part / whole : 0;
    snprintf(out, 16, "%.*f%%", p < 99.95 ? 1 : 0, p);
    return out;
}

/* One line into the frame, cut to the width. */
static void put(struct buf *out, struct buf *line, unsigned width)
{
    while (line->len > 0 && line->base[line->len - 1] == ' ')
        line->len--;
    term_add(out, buf_span(line), width);
    buf_append_byte(out, '\n');
    buf_clear(line);
}

static void draw_head(const struct top_view *v, struct buf *out, struct buf *line, unsigned width)
{
    const struct top_totals *t = &v->now;
    char a[16], b[16], c[16], d[16], e[16];
    uint64_t s = t->uptime_ms / 1000;
    buf_printf(line, "lipservice %s  up %" PRIu64 ":%02u:%02u  policy %s", t->version, s / 3600,
               (unsigned)(s / 60 % 60), (unsigned)(s % 60), t->policy);
    if (t->policy_version > 0)
        buf_printf(line, " v%" PRId64, t->policy_version);
    buf_printf(line, "  services %" PRIu64 "  patterns %" PRIu64, t->services, t->patterns_held);
    put(out, line, width);
    buf_printf(line, "records %s (%s/s)  kept %s  lost %s  ", human(a, (double)t->received),
               human(b, v->per_s), percent(c, (double)t->kept, (double)t->received),
               human(d, (double)t->lost));
    buf_printf(line, "rejected %s  delivered %s  queued %s", human(a, (double)t->rejected),
               human(b, (double)t->delivered), human(c, (double)t->queued));
    put(out, line, width);
    buf_printf(line, "bytes %s  sent %s, %s  saved %s (%s/s)  ",
               human(a, (double)t->received_bytes), human(b, (double)t->kept_bytes),
               percent(c, (double)t->kept_bytes, (double)t->received_bytes),
               human(d, (double)saved(t->received_bytes, t->kept_bytes)), human(e, v->saved_per_s));
    buf_printf(line, "queue %s of %s", human(a, (double)t->queue_bytes),
               human(b, (double)t->queue_capacity));
    put(out, line, width);
    buf_printf(line, "by %s%s%s%s%s%s%s%s%s%s", orders[v->order].name,
               v->reverse ? ", reversed" : "", v->paused ? "  PAUSED" : "",
               t->observing != 0 ? "  OBSERVING, enforcing would do this:" : "",
               t->money[0] != '\0' ? "  " : "", t->money,
               t->redaction[0] != '\0' ? "  redaction " : "", t->redaction,
               v->notice != NULL ? "  " : "", v->notice != NULL ? v->notice : "");
    put(out, line, width);
    if (t->guarded[0] == '\0')
        return;
    buf_printf(line, "guarded  %s", t->guarded);
    put(out, line, width);
}

/* Widths of the columns; what is left is the template's. */
#define COLUMNS "%7s %7s %6s %6s %s%7s %7s "
#define ERROR_COLUMNS 7 /* only where the template has room beside it */
#define ERROR_WIDTH 100
#define SEVERITY_COLUMNS 5
#define SERVICE_COLUMNS 10
#define PATTERN_COLUMNS 22 /* only where there is more room still */
#define PATTERN_WIDTH 140
#define FIXED_COLUMNS (7 + 1 + 7 + 1 + 6 + 1 + 6 + 1 + 7 + 1 + 7 + 1 + SEVERITY_COLUMNS + 1)

static const char *service_of(const struct top_row *r)
{
    return r->service[0] != '\0' ? r->service : TERM_UNNAMED;
}

static void draw_row(const struct top_view *v, struct buf *line, const struct top_row *r,
                     unsigned service, unsigned width)
{
    char per_s[16], records[16], share[16], kept[16], error[16], bytes[16], bytes_s[16];
    char of_error[24] = "";
    unsigned fixed = FIXED_COLUMNS + service + (width >= ERROR_WIDTH ? ERROR_COLUMNS : 0) +
                     (width >= PATTERN_WIDTH ? PATTERN_COLUMNS : 0);
    if (width >= PATTERN_WIDTH)
        term_add_padded(line, span_str(r->pattern), PATTERN_COLUMNS);
    if (width >= ERROR_WIDTH)
        snprintf(of_error, sizeof of_error, "%6s ",
                 percent(error, (double)r->standard_error, (double)r->received));
    buf_printf(line, COLUMNS, v->has_rates ? human(per_s, r->per_s) : "-",
               human(records, (double)r->received),
               percent(share, (double)r->received, (double)v->now.received),
               percent(kept, (double)r->kept, (double)r->received), of_error,
               human(bytes, (double)saved(r->received_bytes, r->kept_bytes)),
               v->has_rates ? human(bytes_s, r->saved_per_s) : "-");
    term_add_padded(line, span_str(r->severity), SEVERITY_COLUMNS);
    buf_append_byte(line, ' ');
    term_add_padded(line, span_str(service_of(r)), service);
    buf_append_byte(line, ' ');
    if (width > fixed + 1)
        term_add(line, span_str(r->template_text), width - fixed - 1);
}

static uint32_t filter_rows(const struct top_view *v, const struct top_row *shown[TOP_ROWS_MAX])
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < v->count; i++) {
        const struct top_row *r = &v->rows[i];
        if (strcasestr(r->template_text, v->filter) != NULL ||
            strcasestr(service_of(r), v->filter) != NULL ||
            strcasestr(r->pattern, v->filter) != NULL || strcasestr(r->severity, v->filter) != NULL)
            shown[n++] = r;
    }
    return n;
}

/* The cursor stays among the rows, and what is shown around the cursor. */
static void clamp(struct top_view *v, uint32_t count, uint32_t room)
{
    uint32_t last = count > room ? count - room : 0;
    if (v->cursor >= count)
        v->cursor = count > 0 ? count - 1 : 0;
    if (v->has_cursor && v->scroll > v->cursor)
        v->scroll = v->cursor;
    if (v->has_cursor && v->cursor >= v->scroll + room)
        v->scroll = v->cursor + 1 - room;
    if (v->scroll > last)
        v->scroll = last;
}

bool top_view_open(struct top_view *v)
{
    if (v->chosen != NULL)
        v->open = *v->chosen;
    return v->chosen != NULL;
}

void top_view_draw_open(const struct top_view *v, struct buf *out, unsigned width)
{
    const struct top_row *r = &v->open;
    struct buf line = {0};
    for (uint32_t i = 0; i < v->count; i++)
        if (same_pattern(&v->rows[i], &v->open))
            r = &v->rows[i]; /* it is newer */
    const struct {
        const char *name, *text;
    } texts[] = {
        {"pattern", r->pattern},     {"service", service_of(r)},     {"severity", r->severity},
        {"status", r->status_class}, {"template", r->template_text},
    };
    const struct {
        const char *name;
        uint64_t n;
    } numbers[] = {
        {"received", r->received},
        {v->now.observing != 0 ? "would keep" : "kept", r->kept},
        {"error of count", r->standard_error},
        {"bytes", r->received_bytes},
        {"bytes sent", r->kept_bytes},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        buf_printf(&line, "%-15s %s", texts[i].name, texts[i].text);
        put(out, &line, width);
    }
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        buf_printf(&line, "%-15s %" PRIu64, numbers[i].name, numbers[i].n);
        put(out, &line, width);
    }
    buf_printf(&line, "why: lipservice explain --live; its lines: lipservice tap --pattern %s",
               r->pattern);
    put(out, &line, width);
    buf_done(&line);
}

void top_view_draw(struct top_view *v, struct buf *out, unsigned width, unsigned height)
{
    struct buf line = {0};
    unsigned service = width > 100 ? 2 * SERVICE_COLUMNS : SERVICE_COLUMNS;
    unsigned title = top_title_line(v);
    uint32_t room = height == 0 ? v->count : height > title + 1 ? height - title - 1 : 0;
    const struct top_row *shown[TOP_ROWS_MAX];
    qsort_r(v->rows, v->count, sizeof *v->rows, on_compare, v);
    uint32_t count = filter_rows(v, shown);
    clamp(v, count, room);
    v->chosen = v->has_cursor && v->cursor < count ? shown[v->cursor] : NULL;
    v->chosen_line = title + 1 + v->cursor - v->scroll;
    size_t begin = out->len;
    draw_head(v, out, &line, width);
    if (width >= PATTERN_WIDTH)
        term_add_padded(&line, SPAN("PATTERN"), PATTERN_COLUMNS);
    buf_printf(&line, COLUMNS, "REC/S", "RECORDS", "SHARE", "KEPT",
               width >= ERROR_WIDTH ? " ERROR " : "", "SAVED", "SAVED/S");
    buf_printf(&line, "%-*s %-*s TEMPLATE", SEVERITY_COLUMNS, "SEV", (int)service, "SERVICE");
    put(out, &line, width);
    for (uint32_t i = 0; i < room && v->scroll + i < count; i++) {
        draw_row(v, &line, shown[v->scroll + i], service, width);
        put(out, &line, width);
    }
    buf_done(&line);
    /* A terminal lower than the head: its first lines. */
    unsigned lines = 0;
    for (size_t i = begin; height > 0 && i < out->len; i++)
        if (out->base[i] == '\n' && ++lines == height)
            out->len = i + 1;
}
