/* sparks: an array of pointers by number of the entry, and small numbers behind them. */
#include "telemetry/sparks.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define EXACT 16 /* numbers below are held as they are */
#define STEPS 8  /* in each power of two above */
#define MINUTE_NS (UINT64_C(60) * 1000000000)
#define LOOKS 8 /* patterns of which the quietest gives way: a look at all would cost a square */

/*
 * A step holds a code: the number rounded down. What rounding leaves over is counted in the next
 * step that has records, so that sums stay exact but for what one step has left over.
 */
struct spark {
    uint32_t first_seen; /* low bits of the pattern's: another may stand in its entry later */
    uint32_t received;   /* at the last feed, low bits */
    uint32_t in_minute, in_hour; /* exact: the present step, and what older ones left over */
    uint32_t minute;             /* since 1970, the present one */
    float mean_bytes; /* of a record: what came before this process is in it, until one comes */
    uint8_t minutes[SPARK_MINUTES], hours[SPARK_HOURS]; /* rings */
};

static_assert(sizeof(struct spark) == SPARK_BYTES, "what sparks.h says");

struct sparks {
    struct budget *budget;
    struct spark **list; /* by number of the entry; NULL: none */
    uint32_t count;
    uint32_t hand;
};

/* 0 to 15, then eight codes a power of two: 3 bits below the highest one. */
static uint8_t pack(uint32_t n)
{
    unsigned shift = 0;
    while (n >> shift >= EXACT)
        shift++;
    return (uint8_t)(shift * STEPS + (n >> shift));
}

static uint32_t unpack(uint8_t code)
{
    if (code < EXACT)
        return code;
    unsigned shift = code / STEPS - 1u;
    return shift > 28 ? UINT32_MAX : (uint32_t)(code % STEPS + STEPS) << shift;
}

static uint32_t add(uint32_t a, uint32_t b)
{
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

int sparks_new(struct sparks **out, struct budget *budget)
{
    struct sparks *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->budget = budget;
    *out = s;
    return 0;
}

static void drop(struct sparks *s, uint32_t number)
{
    if (s->list[number] == NULL)
        return;
    budget_give(s->budget, sizeof(struct spark));
    free(s->list[number]);
    s->list[number] = NULL;
}

void sparks_free(struct sparks *s)
{
    if (s == NULL)
        return;
    for (uint32_t i = 0; i < s->count; i++)
        drop(s, i);
    budget_give(s->budget, s->count * sizeof *s->list);
    free(s->list);
    free(s);
}

/* Without asking others to give way: sparks are the first that do. */
static bool has_room(const struct sparks *s, size_t bytes)
{
    return s->budget == NULL || s->budget->limit - s->budget->used >= bytes;
}

static uint64_t records_of(const struct spark *s)
{
    uint64_t sum = 0;
    for (int i = 0; i < SPARK_MINUTES; i++)
        sum += unpack(s->minutes[i]);
    return sum;
}

/* The quietest of a few has fewer records an hour than `less_than`, and goes. */
static bool replace(struct sparks *s, uint64_t less_than)
{
    uint32_t quietest = UINT32_MAX;
    unsigned looks = 0;
    for (uint32_t i = 0; i < s->count && looks < LOOKS; i++) {
        s->hand = (s->hand + 1) % s->count;
        if (s->list[s->hand] == NULL)
            continue;
        looks++;
        uint64_t records = records_of(s->list[s->hand]);
        if (records < less_than) {
            less_than = records;
            quietest = s->hand;
        }
    }
    if (quietest == UINT32_MAX)
        return false;
    drop(s, quietest);
    return true;
}

bool sparks_give_way(struct sparks *s)
{
    return s->count > 0 && replace(s, UINT64_MAX);
}

/* Entries up to `number`, twice as many each time. */
static bool reach(struct sparks *s, uint32_t number)
{
    uint32_t count = s->count == 0 ? 256 : s->count;
    while (count <= number)
        count *= 2;
    size_t more = (count - s->count) * sizeof *s->list;
    if (count == s->count)
        return true;
    while (!has_room(s, more) && sparks_give_way(s))
        ;
    if (!has_room(s, more) || budget_take(s->budget, more) < 0)
        return false;
    struct spark **grown = realloc(s->list, count * sizeof *grown);
    if (grown == NULL) {
        budget_give(s->budget, more);
        return false;
    }
    memset(grown + s->count, 0, more);
    s->list = grown;
    s->count = count;
    return true;
}

static struct spark *make(struct sparks *s, const struct census_pattern *p, uint32_t minute)
{
    if (!reach(s, p->number) ||
        (!has_room(s, sizeof(struct spark)) && !replace(s, p->counts.received)))
        return NULL;
    if (budget_take(s->budget, sizeof(struct spark)) < 0)
        return NULL;
    struct spark *made = calloc(1, sizeof *made);
    if (made == NULL) {
        budget_give(s->budget, sizeof *made);
        return NULL;
    }
    made->first_seen = (uint32_t)p->first_seen_ns;
    made->minute = minute;
    s->list[p->number] = made;
    return made;
}

static struct spark *find(const struct sparks *s, const struct census_pattern *p)
{
    struct spark *one = p->number < s->count ? s->list[p->number] : NULL;
    /* A feed is 10 s: a difference with the highest bit is a number that went back. */
    bool is_its = one != NULL && one->first_seen == (uint32_t)p->first_seen_ns &&
                  (uint32_t)p->counts.received - one->received <= INT32_MAX;
    return is_its ? one : NULL;
}

static uint32_t minute_place(const struct spark *s)
{
    return s->minute % SPARK_MINUTES;
}

static uint32_t hour_place(const struct spark *s)
{
    return s->minute / 60 % SPARK_HOURS;
}

/* Minutes without a feed have none. */
static void advance(struct spark *s, uint32_t minute)
{
    if (minute <= s->minute) /* the clock was set back: it is the same minute still */
        return;
    uint32_t steps = minute - s->minute;
    s->in_minute -= unpack(s->minutes[minute_place(s)]);
    for (uint32_t i = 1; i <= steps && i <= SPARK_MINUTES; i++)
        s->minutes[(s->minute + i) % SPARK_MINUTES] = 0;
    uint32_t from = s->minute / 60, hours = minute / 60 - from;
    if (hours > 0)
        s->in_hour -= unpack(s->hours[hour_place(s)]);
    for (uint32_t i = 1; i <= hours && i <= SPARK_HOURS; i++)
        s->hours[(from + i) % SPARK_HOURS] = 0;
    if (steps >= SPARK_MINUTES)
        s->in_minute = 0;
    if (hours >= SPARK_HOURS)
        s->in_hour = 0;
    s->minute = minute;
}

static void feed(struct spark *s, const struct census_pattern *p, uint32_t minute)
{
    advance(s, minute);
    uint32_t more = (uint32_t)p->counts.received - s->received;
    s->received = (uint32_t)p->counts.received;
    if (p->counts.received > 0)
        s->mean_bytes = (float)p->counts.received_bytes / (float)p->counts.received;
    if (more == 0) /* what is left over makes no step busy */
        return;
    s->in_minute = add(s->in_minute, more);
    s->in_hour = add(s->in_hour, more);
    s->minutes[minute_place(s)] = pack(s->in_minute);
    s->hours[hour_place(s)] = pack(s->in_hour);
}

void sparks_feed(struct sparks *s, const struct census *c, uint64_t unix_ns)
{
    uint32_t minute = (uint32_t)((unix_ns - 1) / MINUTE_NS);
    for (uint32_t i = 0; i < c->pattern_count; i++) {
        const struct census_pattern *p = &c->patterns[i];
        struct spark *one = find(s, p);
        if (one == NULL) {
            if (p->number < s->count)
                drop(s, p->number); /* of another pattern */
            one = make(s, p, minute);
        }
        if (one != NULL)
            feed(one, p, minute);
    }
}

/* Steps in order; what is left over is shown with the last one that has records. */
static uint32_t lay_out(const uint8_t *ring, uint32_t size, uint32_t place, uint32_t left_over,
                        uint32_t *steps, double *sum)
{
    uint32_t busy = 0, last = size;
    for (uint32_t i = 0; i < size; i++) {
        steps[i] = unpack(ring[(place + 1 + i) % size]);
        *sum += steps[i];
        busy += steps[i] > 0;
        last = steps[i] > 0 ? i : last;
    }
    if (last < size) {
        steps[last] = add(steps[last], left_over);
        *sum += left_over;
    }
    return busy;
}

bool sparks_of(const struct sparks *s, const struct census_pattern *p, struct spark_view *out)
{
    const struct spark *one = find(s, p);
    uint32_t hours[SPARK_HOURS], m, h;
    *out = (struct spark_view){0};
    if (one == NULL)
        return false;
    out->last_minute = one->minute;
    out->mean_bytes = (double)one->mean_bytes;
    m = minute_place(one);
    h = hour_place(one);
    out->busy_minutes = lay_out(one->minutes, SPARK_MINUTES, m,
                                one->in_minute - unpack(one->minutes[m]), out->minutes, &out->hour);
    lay_out(one->hours, SPARK_HOURS, h, one->in_hour - unpack(one->hours[h]), hours, &out->day);
    return true;
}

bool sparks_save(const struct sparks *s, const struct census_pattern *p, struct spark_saved *out)
{
    const struct spark *one = find(s, p);
    if (one == NULL)
        return false;
    out->minute = one->minute;
    out->mean_bytes = one->mean_bytes;
    out->in_minute = one->in_minute;
    out->in_hour = one->in_hour;
    memcpy(out->minutes, one->minutes, sizeof out->minutes);
    memcpy(out->hours, one->hours, sizeof out->hours);
    return true;
}

/* What came in the present minute and hour before is counted on. */
void sparks_restore(struct sparks *s, const struct census_pattern *p,
                    const struct spark_saved *saved, uint64_t unix_ns)
{
    uint32_t minute = (uint32_t)(unix_ns / MINUTE_NS);
    if (saved->minute > minute || find(s, p) != NULL ||
        saved->in_minute < unpack(saved->minutes[saved->minute % SPARK_MINUTES]) ||
        saved->in_hour < unpack(saved->hours[saved->minute / 60 % SPARK_HOURS]))
        return;
    struct spark *one = make(s, p, saved->minute);
    if (one == NULL)
        return;
    memcpy(one->minutes, saved->minutes, sizeof one->minutes);
    memcpy(one->hours, saved->hours, sizeof one->hours);
    one->mean_bytes = saved->mean_bytes;
    one->received = (uint32_t)p->counts.received;
    one->in_minute = saved->in_minute;
    one->in_hour = saved->in_hour;
    advance(one, minute);
}
