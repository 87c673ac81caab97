/* verify: the pipeline's minutes, the ledger's losses, and what the exporter still holds. */
#include "sidecar/verify.h"

#include <stdlib.h>
#include <string.h>

#include "sidecar/posthog.h"
#include "sidecar/sidecar_state.h"
#include "util/json.h"

#define NS_A_SECOND 1000000000u

static uint64_t unix_s(const struct sidecar *sc)
{
    return clock_unix_ns(sc->clock) / NS_A_SECOND;
}

void quota_times_note(struct quota_times *q, bool is_limited, uint64_t now_s, uint64_t again_s)
{
    if (is_limited && !q->is_limited && q->count == LEDGER_CHECK_QUOTAS) {
        memmove(q->list, q->list + 1, (LEDGER_CHECK_QUOTAS - 1) * sizeof q->list[0]);
        q->count--;
    }
    /* It began somewhere between two looks, and ends so. */
    if (is_limited && !q->is_limited)
        q->list[q->count++].from_s = q->checked_s > 0 ? q->checked_s : now_s - again_s;
    if (is_limited || q->is_limited)
        q->list[q->count - 1].to_s = is_limited ? now_s + again_s : now_s;
    q->is_limited = is_limited;
    q->checked_s = now_s;
}

uint64_t sidecar_settled_s(const struct sidecar *sc)
{
    struct exporter_stats s;
    uint64_t now_s = unix_s(sc), settled_s = now_s - sc->cfg->app.visible_after_ms / 1000;
    exporter_stats(sc->exporter, &s);
    uint64_t held_s = s.oldest_ms > 0 ? now_s - s.oldest_ms / 1000 - 1 : now_s;
    if (sc->cfg->durable) {
        const struct journal_stats j = durable_stats(sc);
        uint64_t disk_s = j.spool.oldest_unix_ns / NS_A_SECOND;
        if (disk_s > 0 && disk_s <= held_s)
            held_s = disk_s - 1;
    }
    return settled_s < held_s ? settled_s : held_s;
}

static uint64_t lost_of(const struct ledger_row *r)
{
    uint64_t sum = 0;
    for (int f = FATE_DELIVERED + 1; f < FATE_COUNT; f++)
        sum += f == FATE_LOST_BUDGET ? 0 : r->fate[f]; /* these were never sent */
    return sum;
}

static void fill_service(const struct sidecar *sc, struct ledger_check *c, uint32_t service,
                         const struct census_service *from, uint64_t settled_s)
{
    struct check_service *s = NULL;
    for (uint32_t i = 0; i < c->minute_count; i++) {
        uint64_t minute = c->first_minute + i;
        const struct minutes_cell cell = pipeline_minute(sc->pipeline, service, minute);
        if (cell.records == 0)
            continue;
        if (s == NULL && (s = ledger_check_add(c, from->name)) == NULL)
            return;
        ledger_check_sent(c, s, minute, cell.records, cell.last_s, settled_s);
    }
    if (s == NULL)
        return;
    s->lost = lost_of(&from->row);
    s->untold = pipeline_untold(sc->pipeline, service);
    s->quota_sent = posthog_quota_sent(sc, service);
}

void sidecar_fill_check(const struct sidecar *sc, struct ledger_check *c, uint32_t hours,
                        uint64_t settled_s)
{
    struct census census;
    struct exporter_stats s;
    const struct census_want want = {.services = true, .budget = c->budget};
    ledger_check_init(c, c->budget, unix_s(sc), hours);
    exporter_stats(sc->exporter, &s);
    c->doubtful = s.doubtful_records.value;
    c->start_s = unix_s(sc) - (clock_now_ms(sc->clock) - sc->started_ms) / 1000;
    posthog_quota_times(sc, c);
    if (census_take(sc->pipeline, &want, &census) < 0)
        return;
    for (uint32_t i = 0; i < census.services_held; i++)
        if (i != LEDGER_OTHER && census.services[i].name.len > 0)
            fill_service(sc, c, i, &census.services[i], settled_s);
    census_done(&census);
}

/* ---- the page ---------------------------------------------------------- */

static void write_service(struct json *j, const struct ledger_check *c,
                          const struct check_service *s)
{
    json_begin(j, NULL);
    json_str(j, "service", s->name);
    json_u64(j, "lost", s->lost);
    json_u64(j, "of_other_times", s->untold);
    json_u64(j, "quota_sent", s->quota_sent);
    json_begin_list(j, "minutes");
    for (uint32_t i = 0; i < c->minute_count; i++) {
        if (s->minutes[i].sent == 0)
            continue;
        json_begin_list(j, NULL);
        json_u64(j, NULL, c->first_minute + i);
        json_u64(j, NULL, s->minutes[i].sent);
        json_u64(j, NULL, s->minutes[i].last_s);
        json_end_list(j);
    }
    json_end_list(j);
    json_end(j);
}

static uint32_t hours_of(struct span query)
{
    struct span text = page_query(query, "hours");
    uint32_t hours = 0;
    for (size_t i = 0; i < text.len && i < 3 && text.base[i] >= '0' && text.base[i] <= '9'; i++)
        hours = hours * 10 + (text.base[i] - '0');
    return hours < 1 ? 1 : hours > MINUTES_HOURS ? MINUTES_HOURS : hours;
}

static void write_pair(struct json *j, uint64_t a, uint64_t b)
{
    json_begin_list(j, NULL);
    json_u64(j, NULL, a);
    json_u64(j, NULL, b);
    json_end_list(j);
}

/* What is known besides: when logs were thrown away, canaries, whole days. */
static void write_known(struct json *j, const struct sidecar *sc, const struct ledger_check *c)
{
    const struct day_totals *days = posthog_days(sc);
    struct canary canaries[CANARIES_MAX];
    posthog_canaries(sc, canaries);
    json_begin_list(j, "quota");
    for (uint32_t i = 0; i < c->quota_count; i++)
        write_pair(j, c->quotas[i].from_s, c->quotas[i].to_s);
    json_end_list(j);
    json_begin(j, "canaries");
    for (size_t i = 0; i < CANARIES_MAX; i++)
        if (canaries[i].sent_s > 0)
            json_u64(j, canaries[i].id, canaries[i].sent_s);
    json_end(j);
    json_begin_list(j, "days");
    for (uint32_t i = 0; i < days->count; i++)
        write_pair(j, days->list[i].day, (uint64_t)days->list[i].bytes);
    json_end_list(j);
}

int sidecar_write_minutes(void *ctx, struct span query, struct buf *out)
{
    const struct sidecar *sc = ctx;
    uint64_t settled_s = sidecar_settled_s(sc);
    struct json j = json_on(out);
    if (sc->posthog == NULL)
        return sidecar_refuse(out, 404, "posthog.personal_api_key is not set: nothing is counted");
    struct ledger_check *c = calloc(1, sizeof *c);
    if (c == NULL)
        return sidecar_refuse(out, 503, "no memory for this page now");
    c->budget = out->budget;
    sidecar_fill_check(sc, c, hours_of(query), settled_s);
    json_begin(&j, NULL);
    json_u64(&j, "now_s", unix_s(sc));
    json_u64(&j, "start_s", c->start_s);
    json_u64(&j, "settled_s", settled_s);
    json_u64(&j, "doubtful", c->doubtful);
    write_known(&j, sc, c);
    json_begin_list(&j, "services");
    for (uint32_t i = 0; i < c->service_count; i++)
        write_service(&j, c, &c->services[i]);
    json_end_list(&j);
    json_end(&j);
    json_line(&j);
    ledger_check_done(c);
    free(c);
    return 200;
}
