/* claims: senders in groups, each with one statement where its numbers follow those of the
 * database.
 */
#include "server/claims.h"

#include <stdlib.h>

#include "otlp/json_doc.h"
#include "server/registry.h"
#include "server/report_sums.h"
#include "server/sequences.h"

/* ---- a report that is counted already ------------------------------------ */

/* One that cannot be read any more stays, and is counted twice. */
static int take_out(struct flush *f, struct rollup_sender *sender)
{
    struct buf body = {0};
    struct json_doc *doc = NULL;
    struct json_node root;
    struct report_body report;
    struct error err;
    if (sender->is_out)
        return 0; /* by an attempt that failed later */
    int rc = receipts_read(f->receipts, sender->place, &body);
    if (rc == 0)
        rc = json_doc_new(&doc, buf_span(&body), NULL, &root);
    if (rc == 0)
        rc = report_body_read(&report, root, &err);
    if (rc == 0)
        report_sums_take_out(&f->batch, sender->service, &report, sender->seen_ms);
    if (rc != ERR_NOMEM) {
        sender->is_out = true;
        f->elsewhere++;
        f->unread += rc < 0;
        rc = 0;
    }
    json_doc_free(doc);
    buf_done(&body);
    return rc;
}

/* ---- one sender ---------------------------------------------------------- */

/* Reports of one sender, by number. */
struct group {
    struct rollup_sender *const *reports;
    size_t count;
};

static bool is_gapless(const struct group *g)
{
    for (size_t i = 1; i < g->count; i++)
        if (g->reports[i]->sequence != g->reports[i - 1]->sequence + 1)
            return false;
    return true;
}

static int write_row(struct store *s, const struct rollup_sender *last, const struct sequences *q)
{
    char missing[SEQUENCES_TEXT_BYTES];
    sequences_write(q, missing);
    const struct store_value v[] = {
        store_int(last->service->storing.id), store_text(last->instance), store_text(last->boot),
        store_int((int64_t)q->highest),       store_str(missing),         store_int(last->seen_ms)};
    return store_run(s,
                     "INSERT INTO senders (service_id, instance, boot, sequence, missing, seen_ms, "
                     "first_ms) "
                     "VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (service_id, instance, boot) "
                     "DO UPDATE SET sequence = excluded.sequence, missing = excluded.missing, "
                     "seen_ms = excluded.seen_ms",
                     v, ARRAY_LEN(v), NULL, NULL);
}

/* The usual case: the numbers are those after the last of the database. 1: they were. */
static int follow_row(struct store *s, const struct group *g)
{
    const struct rollup_sender *first = g->reports[0], *last = g->reports[g->count - 1];
    const struct store_value v[] = {store_int(last->service->storing.id),
                                    store_text(last->instance),
                                    store_text(last->boot),
                                    store_int((int64_t)last->sequence),
                                    store_int(last->seen_ms),
                                    store_int((int64_t)first->sequence - 1)};
    int rc = store_run(s,
                       "UPDATE senders SET sequence = $4, seen_ms = $5 WHERE service_id = $1 AND "
                       "instance = $2 AND boot = $3 AND sequence = $6",
                       v, ARRAY_LEN(v), NULL, NULL);
    return rc < 0 ? rc : s->changed > 0;
}

static int take_row(void *ctx, const struct store_value *row)
{
    struct sequences *q = ctx;
    *q = sequences_read((uint64_t)row[0].number, row[1].text);
    return 1;
}

static int claim(struct flush *f, struct store *s, const struct group *g)
{
    struct sequences q = {0};
    const struct rollup_sender *last = g->reports[g->count - 1];
    int rc = is_gapless(g) ? follow_row(s, g) : 0;
    if (rc != 0)
        return rc < 0 ? rc : 0;
    const struct store_value v[] = {store_int(last->service->storing.id),
                                    store_text(last->instance), store_text(last->boot)};
    rc = store_run(s,
                   "SELECT sequence, missing FROM senders WHERE service_id = $1 AND instance = $2 "
                   "AND boot = $3",
                   v, ARRAY_LEN(v), take_row, &q);
    for (size_t i = 0; i < g->count && rc >= 0; i++)
        if (!sequences_take(&q, g->reports[i]->sequence))
            rc = take_out(f, g->reports[i]);
    return rc < 0 ? rc : write_row(s, last, &q);
}

/* ---- all of a batch ------------------------------------------------------ */

static int compare_texts(struct span a, struct span b)
{
    return a.len != b.len ? (a.len > b.len) - (a.len < b.len)
           : a.len == 0   ? 0
                          : memcmp(a.base, b.base, a.len);
}

static int compare_senders(const struct rollup_sender *x, const struct rollup_sender *y)
{
    int64_t a = x->service->storing.id, b = y->service->storing.id;
    int c = (a > b) - (a < b);
    if (c == 0)
        c = compare_texts(x->instance, y->instance);
    return c != 0 ? c : compare_texts(x->boot, y->boot);
}

static int by_sender(const void *a, const void *b)
{
    const struct rollup_sender *x = *(struct rollup_sender *const *)a,
                               *y = *(struct rollup_sender *const *)b;
    int c = compare_senders(x, y);
    return c != 0 ? c : (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

int claims_make(struct flush *f, struct store *s)
{
    size_t count = 0, i = 0;
    int rc = 0;
    for (const struct rollup_sender *one = f->batch.senders; one != NULL; one = one->next)
        count++;
    struct rollup_sender **all = calloc(count + 1, sizeof *all);
    if (all == NULL)
        return ERR_NOMEM;
    for (struct rollup_sender *one = f->batch.senders; one != NULL; one = one->next)
        all[i++] = one;
    qsort(all, count, sizeof *all, by_sender);
    for (size_t from = 0; from < count && rc == 0; from = i) {
        for (i = from + 1; i < count && compare_senders(all[i], all[from]) == 0;)
            i++;
        rc = claim(f, s, &(struct group){all + from, i - from});
    }
    free(all);
    return rc;
}
