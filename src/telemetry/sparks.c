/* sparks: an array of pointers by number of the entry, and small numbers behind them. */
#include "telemetry/sparks.h"

#include <stdlib.h>
#include <string.h>

#define MANTISSA_BITS 11
#define MINUTE_NS (UINT64_C(60) * 1000000000)
#define LOOKS 8 /* patterns of which the quietest gives way: a look at all would cost a square */

struct spark {
    uint64_t first_seen_ns;      /* of the pattern: another one may stand in its entry later */
    uint64_t received;           /* at the last feed */
    uint64_t of_minute, of_hour; /* received when the present ones began */
    uint32_t minute;             /* since 1970, the present one */
    float mean_bytes; /* of a record: what came before this process is in it, until one comes */
    uint16_t minutes[SPARK_MINUTES], hours[SPARK_HOURS]; /* rings */
};

struct sparks {
    struct budget *budget;
    struct spark **list; /* by number of the entry; NULL: none */
    uint32_t count;
    uint32_t hand;
};

static uint16_t pack(uint64_t n)
{
    unsigned exponent = 0;
    while (n >> exponent >= 1u << MANTISSA_BITS)
        exponent++;
    if (exponent > 0)
        n += UINT64_C(1) << (exponent - 1); /* to the nearest */
    if (n >> exponent >= 1u << MANTISSA_BITS)
        exponent++;
    return exponent > 31 ? UINT16_MAX : (uint16_t)(exponent << MANTISSA_BITS | n >> exponent);
}

static uint64_t unpack(uint16_t packed)
{
    return (uint64_t)(packed & ((1u << MANTISSA_BITS) - 1)) << (packed >> MANTISSA_BITS);
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
    made->first_seen_ns = p->first_seen_ns;
    made->minute = minute;
    s->list[p->number] = made;
    return made;
}

static struct spark *find(const struct sparks *s, const struct census_pattern *p)
{
    struct spark *one = p->number < s->count ? s->list[p->number] : NULL;
    bool is_its = one != NULL && one->first_seen_ns == p->first_seen_ns &&
                  one->received <= p->counts.received;
    return is_its ? one : NULL;
}

/* Minutes without a feed have none. */
static void advance(struct spark *s, uint32_t minute)
{
    if (minute <= s->minute) /* the clock was set back: it is the same minute still */
        return;
    uint32_t steps = minute - s->minute;
    for (uint32_t i = 1; i <= steps && i <= SPARK_MINUTES; i++)
        s->minutes[(s->minute + i) % SPARK_MINUTES] = 0;
    uint32_t from = s->minute / 60, hours = minute / 60 - from;
    for (uint32_t i = 1; i <= hours && i <= SPARK_HOURS; i++)
        s->hours[(from + i) % SPARK_HOURS] = 0;
    s->of_minute = s->received;
    if (hours > 0)
        s->of_hour = s->received;
    s->minute = minute;
}

/* A minute or hour that was under way in an earlier process begins anew. */
static void feed(struct spark *s, const struct census_pattern *p, uint32_t minute)
{
    advance(s, minute);
    s->received = p->counts.received;
    if (s->received > 0)
        s->mean_bytes = (float)p->counts.received_bytes / (float)s->received;
    s->minutes[s->minute % SPARK_MINUTES] = pack(s->received - s->of_minute);
    s->hours[s->minute / 60 % SPARK_HOURS] = pack(s->received - s->of_hour);
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

bool sparks_of(const struct sparks *s, const struct census_pattern *p, struct spark_view *out)
{
    const struct spark *one = find(s, p);
    *out = (struct spark_view){0};
    if (one == NULL)
        return false;
    out->last_minute = one->minute;
    out->mean_bytes = (double)one->mean_bytes;
    for (uint32_t i = 0; i < SPARK_MINUTES; i++) {
        uint64_t n = unpack(one->minutes[(one->minute + 1 + i) % SPARK_MINUTES]);
        out->minutes[i] = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
        out->hour += (double)n;
        out->busy_minutes += n > 0;
    }
    for (uint32_t i = 0; i < SPARK_HOURS; i++)
        out->day += (double)unpack(one->hours[i]);
    return true;
}

bool sparks_save(const struct sparks *s, const struct census_pattern *p, struct spark_saved *out)
{
    const struct spark *one = find(s, p);
    if (one == NULL)
        return false;
    out->minute = one->minute;
    out->mean_bytes = one->mean_bytes;
    memcpy(out->minutes, one->minutes, sizeof out->minutes);
    memcpy(out->hours, one->hours, sizeof out->hours);
    return true;
}

/* What came in the present minute and hour before is counted on. */
void sparks_restore(struct sparks *s, const struct census_pattern *p,
                    const struct spark_saved *saved, uint64_t unix_ns)
{
    uint32_t minute = (uint32_t)(unix_ns / MINUTE_NS);
    if (saved->minute > minute || find(s, p) != NULL)
        return;
    struct spark *one = make(s, p, saved->minute);
    if (one == NULL)
        return;
    memcpy(one->minutes, saved->minutes, sizeof one->minutes);
    memcpy(one->hours, saved->hours, sizeof one->hours);
    one->mean_bytes = saved->mean_bytes;
    one->received = p->counts.received;
    one->of_minute = one->received - unpack(one->minutes[one->minute % SPARK_MINUTES]);
    one->of_hour = one->received - unpack(one->hours[one->minute / 60 % SPARK_HOURS]);
    advance(one, minute);
}
