/* history_save: the history written, and read by the process after it. */
#include <string.h>

#include "telemetry/history_state.h"
#include "util/saved.h"

static void save_cell(const struct series_cell *n, struct buf *out)
{
    saved_put_u32(out, n->received);
    saved_put_u32(out, n->kept);
    saved_put_u32(out, n->errors);
    saved_put_u32(out, n->lost);
    saved_put_u64(out, n->received_bytes);
    saved_put_u64(out, n->kept_bytes);
}

#define CELL_BYTES 32

static void read_cell(struct saved *s, struct series_cell *n)
{
    *n = (struct series_cell){.received = saved_u32(s),
                              .kept = saved_u32(s),
                              .errors = saved_u32(s),
                              .lost = saved_u32(s)};
    n->received_bytes = saved_u64(s);
    n->kept_bytes = saved_u64(s);
}

/* Blocks are where their steps are, which are numbers since 1970: they keep their places. */
static void save_series(const struct series *s, struct buf *out)
{
    for (int span = 0; span < SERIES_SPAN_COUNT; span++)
        for (int b = 0; b < SERIES_BLOCKS_MAX; b++) {
            const struct series_cell *block = s->blocks[span][b];
            saved_put_u8(out, block != NULL);
            for (int i = 0; i < SERIES_BLOCK && block != NULL; i++)
                save_cell(&block[i], out);
        }
}

static void restore_series(struct history *h, struct series *to, struct saved *s)
{
    for (int span = 0; span < SERIES_SPAN_COUNT; span++)
        for (int b = 0; b < SERIES_BLOCKS_MAX && !s->is_bad; b++) {
            struct series_cell *block = NULL;
            if (saved_u8(s) == 0)
                continue;
            if (s->left.len >= SERIES_BLOCK * CELL_BYTES)
                block = series_block(to, (enum series_span)span, (uint32_t)b, h->budget);
            for (int i = 0; i < SERIES_BLOCK && !s->is_bad; i++) {
                struct series_cell n;
                read_cell(s, &n);
                if (block != NULL)
                    block[i] = n;
            }
            h->left_out += block == NULL;
        }
}

/* ---- sparks ------------------------------------------------------------ */

static void read_codes(struct saved *s, uint8_t *codes, size_t n)
{
    struct span bytes = saved_bytes(s, n);
    if (bytes.len == n)
        memcpy(codes, bytes.base, n);
}

/* Patterns by what they are: their numbers are another process's. */
static void save_sparks(const struct history *h, const struct census *c, struct buf *out)
{
    struct spark_saved one;
    uint32_t count = 0;
    size_t at = saved_put_later(out);
    for (uint32_t i = 0; i < c->pattern_count && out->err == 0; i++) {
        const struct census_pattern *p = &c->patterns[i];
        if (!sparks_save(h->sparks, p, &one))
            continue;
        saved_put_u64(out, p->key.signature);
        saved_put_span(out, c->services[p->key.service].name);
        saved_put_u8(out, p->key.service == LEDGER_OTHER);
        saved_put_u8(out, p->key.level);
        saved_put_u8(out, p->key.status_class);
        saved_put_u32(out, one.minute);
        saved_put_double(out, (double)one.mean_bytes);
        saved_put_u32(out, one.in_minute);
        saved_put_u32(out, one.in_hour);
        buf_append(out, span_of(one.minutes, SPARK_MINUTES));
        buf_append(out, span_of(one.hours, SPARK_HOURS));
        count++;
    }
    saved_set_later(out, at, count);
}

/* The number of a service in a census; UINT32_MAX: it is not in there. */
static uint32_t find_service(const struct census *c, struct span name)
{
    for (uint32_t i = 1; i < c->services_held; i++)
        if (span_eq(c->services[i].name, name))
            return i;
    return UINT32_MAX;
}

static void restore_sparks(struct history *h, const struct census *c, struct saved *s,
                           uint64_t unix_ns)
{
    struct span last = {0};
    uint32_t last_service = UINT32_MAX;
    for (uint32_t n = saved_u32(s); n > 0 && !s->is_bad; n--) {
        struct spark_saved one = {.minute = 0};
        struct pattern_key key = {.signature = saved_u64(s)};
        struct span name = saved_span(s);
        bool is_other = saved_u8(s) != 0;
        if (last_service == UINT32_MAX || !span_eq(name, last))
            last_service = find_service(c, name);
        last = name;
        key.service = is_other ? LEDGER_OTHER : last_service;
        key.level = saved_u8(s);
        key.status_class = saved_u8(s);
        one.minute = saved_u32(s);
        one.mean_bytes = (float)saved_double(s);
        one.in_minute = saved_u32(s);
        one.in_hour = saved_u32(s);
        read_codes(s, one.minutes, SPARK_MINUTES);
        read_codes(s, one.hours, SPARK_HOURS);
        const struct census_pattern *p = s->is_bad ? NULL : census_find(c, &key);
        if (p != NULL)
            sparks_restore(h->sparks, p, &one, unix_ns);
    }
}

/* ---- all of it --------------------------------------------------------- */

static void save_mark(const struct history_mark *m, struct buf *out)
{
    saved_put_u64(out, m->unix_s);
    saved_put_u8(out, (uint8_t)m->kind);
    saved_put_span(out, span_str(m->text));
}

static void restore_mark(struct history *h, struct saved *s)
{
    uint64_t unix_s = saved_u64(s);
    uint8_t kind = saved_u8(s);
    struct span text = saved_span(s);
    s->is_bad |= kind >= HISTORY_KIND_COUNT;
    if (!s->is_bad)
        history_mark(h, (enum history_kind)kind, unix_s * 1000000000, text);
}

static void save_month(const struct history_month *m, struct buf *out)
{
    saved_put_u32(out, m->month);
    saved_put_u64(out, m->since_s);
    saved_put_u64(out, m->received);
    saved_put_u64(out, m->kept);
    saved_put_u64(out, m->received_bytes);
    saved_put_u64(out, m->kept_bytes);
    saved_put_u64(out, m->would_keep_bytes);
}

static void restore_month(struct history_month *m, struct saved *s)
{
    m->month = saved_u32(s);
    m->since_s = saved_u64(s);
    m->received = saved_u64(s);
    m->kept = saved_u64(s);
    m->received_bytes = saved_u64(s);
    m->kept_bytes = saved_u64(s);
    m->would_keep_bytes = saved_u64(s);
}

void history_save(const struct history *h, const struct census *c, struct buf *out)
{
    saved_put_u64(out, h->now_s);
    saved_put_u64(out, h->since_s);
    save_month(&h->month, out);
    saved_put_span(out, span_of(h->covered, sizeof h->covered));
    saved_put_u32(out, h->mark_count);
    for (uint32_t i = 0; i < h->mark_count; i++)
        save_mark(history_mark_at(h, i), out);
    save_series(&h->total, out);
    save_series(&h->would, out);
    save_series(&h->other, out);
    for (int i = 0; i < HISTORY_SERVICES; i++) {
        const struct history_place *p = &h->places[i];
        saved_put_u8(out, p->is_used);
        if (!p->is_used)
            continue;
        saved_put_span(out, span_of(p->name, p->name_len));
        saved_put_double(out, (double)p->loudness);
        save_series(&p->series, out);
    }
    save_sparks(h, c, out);
}

static void restore_place(struct history *h, struct history_place *p, struct saved *s)
{
    struct span name;
    if (saved_u8(s) == 0)
        return;
    name = saved_span(s);
    s->is_bad |= name.len > LEDGER_NAME_BYTES;
    double loudness = saved_double(s);
    if (s->is_bad)
        return;
    p->is_used = true;
    p->loudness = (float)loudness;
    p->name_len = (uint8_t)name.len;
    if (name.len > 0)
        memcpy(p->name, name.base, name.len);
    restore_series(h, &p->series, s);
}

int history_restore(struct history *h, const struct census *c, struct span text, uint64_t unix_ns)
{
    struct saved s = {.left = text};
    uint64_t now_s = saved_u64(&s), since_s = saved_u64(&s);
    if (s.is_bad || since_s > now_s)
        return ERR_MALFORMED;
    if (now_s > unix_ns / 1000000000 + HISTORY_AHEAD_S)
        return 0; /* the clock was wrong then, or is now: its steps would lie in the future */
    h->since_s = since_s;
    h->now_s = now_s;
    restore_month(&h->month, &s);
    struct span covered = saved_span(&s);
    s.is_bad |= covered.len != sizeof h->covered;
    if (!s.is_bad)
        memcpy(h->covered, covered.base, sizeof h->covered);
    for (uint32_t n = saved_u32(&s); n > 0 && !s.is_bad; n--)
        restore_mark(h, &s);
    restore_series(h, &h->total, &s);
    restore_series(h, &h->would, &s);
    restore_series(h, &h->other, &s);
    for (int i = 0; i < HISTORY_SERVICES && !s.is_bad; i++)
        restore_place(h, &h->places[i], &s);
    restore_sparks(h, c, &s, unix_ns);
    return s.is_bad ? ERR_MALFORMED : 0;
}
