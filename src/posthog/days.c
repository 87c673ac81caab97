/* days: one sum that goes on, and those of whole days. */
#include "posthog/days.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY_S 86400
#define MB 1000000.0
#define LATE_S 2        /* a day that was first noted so late is whole all the same */
#define TOLERANCE 0.005 /* requests at midnight are of one day here and of the other there */

static void close_day(struct day_totals *d, double delivered)
{
    if (!d->is_whole)
        return;
    if (d->count == DAYS_MAX) {
        memmove(d->list, d->list + 1, (DAYS_MAX - 1) * sizeof *d->list);
        d->count--;
    }
    d->list[d->count++] = (struct day_total){d->day, delivered - d->base, -1};
}

void days_note(struct day_totals *d, double delivered, uint64_t now_s)
{
    uint64_t day = now_s / DAY_S;
    if (d->day == day) {
        d->last = delivered;
        return;
    }
    bool goes_on = d->day > 0 && day == d->day + 1;
    if (goes_on)
        close_day(d, d->last);
    d->is_whole = goes_on || now_s % DAY_S < LATE_S;
    d->base = goes_on ? d->last : delivered;
    d->last = delivered;
    d->day = day;
}

const char *day_text(char out[DAY_TEXT_BYTES], uint64_t day)
{
    time_t t = (time_t)(day * DAY_S);
    struct tm tm = {.tm_year = 70};
    gmtime_r(&t, &tm);
    strftime(out, DAY_TEXT_BYTES, "%Y-%m-%d", &tm);
    return out;
}

static void read_series(struct day_totals *d, struct json_node series)
{
    struct json_each dates = json_each(json_get(series, "dates"));
    struct json_each data = json_each(json_get(series, "data"));
    while (json_next(&dates) && json_next(&data)) {
        double mb;
        if (!json_number(data.value, &mb))
            continue;
        for (uint32_t i = 0; i < d->count; i++) {
            char text[DAY_TEXT_BYTES];
            if (span_eq(json_string(dates.value), span_str(day_text(text, d->list[i].day))))
                d->list[i].billed_mb = fmax(d->list[i].billed_mb, 0) + mb;
        }
    }
}

void days_read_bill(struct day_totals *d, struct json_node answer)
{
    struct json_each each = json_each(json_get(answer, "results"));
    for (uint32_t i = 0; i < d->count; i++)
        d->list[i].billed_mb = -1;
    while (json_next(&each))
        read_series(d, each.value);
}

double day_difference_mb(const struct day_total *t)
{
    double delivered = t->bytes / MB, difference = t->billed_mb - delivered;
    if (t->billed_mb < 0 || fabs(difference) <= fmax(1, TOLERANCE * delivered))
        return 0;
    return difference;
}

void days_write_json(const struct day_totals *d, struct json *j)
{
    char text[DAY_TEXT_BYTES];
    json_begin_list(j, "days");
    for (uint32_t i = 0; i < d->count; i++) {
        json_begin(j, NULL);
        json_str(j, "day", day_text(text, d->list[i].day));
        json_printf(j, "delivered_mb", "%.3f", d->list[i].bytes / MB);
        if (d->list[i].billed_mb >= 0)
            json_printf(j, "billed_mb", "%.0f", d->list[i].billed_mb);
        else
            json_null(j, "billed_mb");
        json_printf(j, "difference_mb", "%.3f", day_difference_mb(&d->list[i]));
        json_end(j);
    }
    json_end_list(j);
}

void days_write_text(const struct day_totals *d, struct buf *out)
{
    char text[DAY_TEXT_BYTES];
    for (uint32_t i = 0; i < d->count; i++) {
        const struct day_total *t = &d->list[i];
        double difference = day_difference_mb(t);
        buf_printf(out, "%s: %.3f MB delivered", day_text(text, t->day), t->bytes / MB);
        if (t->billed_mb < 0)
            buf_append_str(out, ", not billed yet\n");
        else
            buf_printf(out, ", %.0f MB billed%s\n", t->billed_mb,
                       difference > 0   ? ": others send to this project too, or it was sent twice"
                       : difference < 0 ? ": less than was delivered"
                                        : "");
    }
}
