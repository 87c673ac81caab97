/* slices: one walk along the buckets. */
#include "posthog/slices.h"

#include <stdlib.h>

#include "posthog/row.h"

#define MORE_TIME 4 /* as long as SLICE_ROWS rows take in their bucket */
#define LEAST_NS UINT64_C(1000000000)

static int by_time(const void *a, const void *b)
{
    const struct slices_bucket *x = a, *y = b;
    return x->from_ns < y->from_ns ? -1 : x->from_ns > y->from_ns;
}

int slices_read(struct slices *s, struct json_node answer, uint64_t from_ns, uint64_t to_ns)
{
    uint32_t room = 0;
    struct json_node ranges = json_get(answer, "ranges");
    *s = (struct slices){.from_ns = from_ns, .to_ns = to_ns};
    if (json_kind(ranges) != JSON_ARRAY)
        return ERR_MALFORMED;
    struct json_each each = json_each(ranges);
    while (json_next(&each)) {
        struct slices_bucket b = {
            .from_ns = row_time_ns(json_string(json_get(each.value, "date_from"))),
            .to_ns = row_time_ns(json_string(json_get(each.value, "date_to"))),
        };
        if (!json_number(json_get(each.value, "count"), &b.rows) || b.rows <= 0)
            continue;
        b.from_ns = b.from_ns < from_ns ? from_ns : b.from_ns;
        b.to_ns = b.to_ns > to_ns ? to_ns : b.to_ns;
        if (b.to_ns <= b.from_ns)
            continue;
        if (s->bucket_count == room) {
            room = room * 2 + 64;
            struct slices_bucket *buckets = realloc(s->buckets, room * sizeof *buckets);
            if (buckets == NULL) {
                slices_done(s);
                return ERR_NOMEM;
            }
            s->buckets = buckets;
        }
        s->buckets[s->bucket_count++] = b;
        s->rows += b.rows;
    }
    if (s->bucket_count > 0)
        qsort(s->buckets, s->bucket_count, sizeof *s->buckets, by_time);
    for (uint32_t h = 0; h < SLICES_STRATA; h++)
        s->sizes[h] = s->rows / SLICES_STRATA;
    return 0;
}

void slices_done(struct slices *s)
{
    free(s->buckets);
    s->buckets = NULL;
    s->bucket_count = 0;
}

struct slice slices_draw(const struct slices *s, uint32_t stratum, struct rng *rng)
{
    double u = (double)(rng_next(rng) >> 11) / (double)(UINT64_C(1) << 53);
    double place = (stratum + u) * s->rows / SLICES_STRATA;
    uint32_t i = 0;
    while (i + 1 < s->bucket_count && place >= s->buckets[i].rows)
        place -= s->buckets[i++].rows;
    const struct slices_bucket *b = &s->buckets[i];
    double length = (double)(b->to_ns - b->from_ns);
    double at = place / b->rows < 1 ? place / b->rows : 1;
    struct slice out = {stratum, b->from_ns + (uint64_t)(at * length), 0};
    out.to_ns = out.from_ns + LEAST_NS + (uint64_t)(MORE_TIME * length * SLICE_ROWS / b->rows);
    if (out.to_ns > s->to_ns)
        out.to_ns = s->to_ns;
    return out;
}
