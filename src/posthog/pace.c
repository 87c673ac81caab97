/* pace: a day of readings, and one division. */
#include "posthog/pace.h"

#include <math.h>
#include <string.h>
#include <time.h>

#define MARGIN 0.99 /* of the limit: what is under way, and rounding, is in the rest */
#define HOUR_S 3600.0
#define DAY_S 86400.0
#define SEEN_S HOUR_S          /* growth over less than this says nothing of others */
#define HORIZON_S (3 * HOUR_S) /* what is left is never spent faster than over this */
#define BLIND_S HOUR_S         /* without a reading for so long, others are taken to grow ... */
#define BLIND_GROWTH 0.5       /* ... by so much a day */
#define LEAST 1.0              /* bytes a second */

void pace_init(struct pace *p, double share)
{
    *p = (struct pace){.share = share};
}

static void remember(struct pace *p, const struct pace_reading *r)
{
    if (p->count > 0 && r->at_s - p->history[p->count - 1].at_s < HOUR_S)
        return;
    if (p->count == PACE_HISTORY) {
        memmove(p->history, p->history + 1, (PACE_HISTORY - 1) * sizeof *p->history);
        p->count--;
    }
    p->history[p->count++] = *r;
}

void pace_read(struct pace *p, const struct pace_reading *r, double limit, double start_s,
               double end_s)
{
    /* Another period, or a clock or a counter that was set back: what was before says nothing. */
    bool is_new = p->is_known && (r->used < p->last.used || start_s > p->start_s ||
                                  r->at_s < p->last.at_s || r->delivered < p->last.delivered);
    if (is_new)
        p->count = 0;
    p->last = *r;
    p->limit = limit;
    p->start_s = start_s;
    p->end_s = end_s;
    p->is_known = true;
    remember(p, r);
}

double pace_others(const struct pace *p)
{
    if (p->count == 0)
        return 0;
    const struct pace_reading *first = &p->history[0];
    double seconds = p->last.at_s - first->at_s;
    double grown = p->last.used - first->used;
    double ours = (p->last.delivered - first->delivered) / p->share;
    return seconds < SEEN_S ? 0 : fmax(0, (grown - ours) / seconds);
}

double pace_rate(const struct pace *p, double now_s, double delivered)
{
    double since = fmax(0, now_s - p->last.at_s), others = pace_others(p);
    if (since > BLIND_S)
        others *= 1 + BLIND_GROWTH * (since / DAY_S);
    double used = p->last.used + fmax(0, delivered - p->last.delivered) / p->share + others * since;
    double end = p->end_s;
    if (now_s >= end) { /* the next period has begun, and was not yet read */
        end += p->end_s - p->start_s;
        used = others * (now_s - p->end_s);
    }
    double left = MARGIN * p->limit - used;
    return fmax(LEAST, (left / fmax(end - now_s, HORIZON_S) - others) * p->share);
}

bool pace_is_stale(const struct pace *p, double now_s)
{
    return !p->is_known || now_s - p->last.at_s > PACE_STALE_S;
}

static double begin_of(int year, int month, uint32_t day)
{
    struct tm next = {.tm_year = year, .tm_mon = month + 1, .tm_mday = 0}; /* the last of month */
    time_t last = timegm(&next);
    struct tm tm = {.tm_year = year, .tm_mon = month, .tm_mday = (int)day};
    struct tm of_last;
    if (gmtime_r(&last, &of_last) != NULL && tm.tm_mday > of_last.tm_mday)
        return (double)last;
    return (double)timegm(&tm);
}

void pace_month(double now_s, uint32_t day, double *start_s, double *end_s)
{
    time_t now = (time_t)now_s;
    struct tm tm = {.tm_year = 70};
    gmtime_r(&now, &tm);
    int month = begin_of(tm.tm_year, tm.tm_mon, day) <= now_s ? tm.tm_mon : tm.tm_mon - 1;
    *start_s = begin_of(tm.tm_year, month, day);
    *end_s = begin_of(tm.tm_year, month + 1, day);
}
