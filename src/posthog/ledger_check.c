/* ledger_check: minute by minute, first what is certain, then what is likely. */
#include "posthog/ledger_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/json.h"
#include "util/span.h"

static const struct {
    const char *word, *text;
} causes[] = {
#define X(name, word, text) [CAUSE_##name] = {word, text},
    CAUSES(X)
#undef X
};

const char *cause_word(enum cause c)
{
    return causes[c].word;
}

/* ---- what is held against each other ----------------------------------- */

void ledger_check_init(struct ledger_check *c, struct budget *budget, uint64_t now_s,
                       uint32_t hours)
{
    uint32_t minutes = hours * 60;
    *c = (struct ledger_check){.budget = budget};
    c->minute_count = minutes < LEDGER_CHECK_MINUTES ? minutes : LEDGER_CHECK_MINUTES;
    c->first_minute = now_s / 60 - c->minute_count;
}

static size_t bytes_of(const struct ledger_check *c)
{
    return c->minute_count * sizeof(struct check_minute);
}

void ledger_check_done(struct ledger_check *c)
{
    for (uint32_t i = 0; i < c->service_count; i++) {
        free(c->services[i].minutes);
        budget_give(c->budget, bytes_of(c));
    }
    c->service_count = 0;
}

struct check_service *ledger_check_add(struct ledger_check *c, struct span name)
{
    if (c->service_count == LEDGER_CHECK_SERVICES || budget_take(c->budget, bytes_of(c)) < 0) {
        c->left_out++;
        return NULL;
    }
    struct check_service *s = &c->services[c->service_count];
    *s = (struct check_service){.minutes = calloc(c->minute_count, sizeof *s->minutes)};
    if (s->minutes == NULL) {
        budget_give(c->budget, bytes_of(c));
        c->left_out++;
        return NULL;
    }
    snprintf(s->name, sizeof s->name, "%.*s", (int)name.len, (const char *)name.base);
    c->service_count++;
    return s;
}

static struct check_minute *minute_at(const struct ledger_check *c, const struct check_service *s,
                                      uint64_t minute)
{
    return minute >= c->first_minute && minute - c->first_minute < c->minute_count
               ? &s->minutes[minute - c->first_minute]
               : NULL;
}

void ledger_check_sent(struct ledger_check *c, struct check_service *s, uint64_t minute,
                       uint32_t records, uint32_t last_s, uint64_t settled_s)
{
    struct check_minute *m = minute_at(c, s, minute);
    if (m == NULL)
        return;
    m->sent = records;
    m->last_s = last_s;
    m->is_open = last_s > settled_s;
}

void ledger_check_stored(struct ledger_check *c, struct check_service *s, uint64_t minute,
                         uint64_t rows)
{
    struct check_minute *m = minute_at(c, s, minute);
    if (m != NULL)
        m->stored += (uint32_t)rows;
}

void ledger_check_twice(struct ledger_check *c, struct check_service *s, uint64_t minute,
                        uint64_t rows)
{
    struct check_minute *m = minute_at(c, s, minute);
    if (m != NULL)
        m->twice = (uint32_t)rows;
}

/* ---- causes ------------------------------------------------------------ */

static void name(struct ledger_check *c, struct check_service *s, enum cause cause, uint64_t n)
{
    s->by_cause[cause] += n;
    c->by_cause[cause] += n;
}

/* As much of *n as there is of *pot. */
static uint64_t draw(uint64_t *n, uint64_t *pot)
{
    uint64_t taken = *n < *pot ? *n : *pot;
    *n -= taken;
    *pot -= taken;
    return taken;
}

static bool in_quota(const struct ledger_check *c, uint64_t minute, uint32_t last_s)
{
    for (uint32_t i = 0; i < c->quota_count; i++)
        if (minute * 60 <= c->quotas[i].to_s && last_s >= c->quotas[i].from_s)
            return true;
    return false;
}

/* The name of a rule that may have dropped records of the service; NULL: none. */
static const char *rule_of(const struct ledger_check *c, const char *service)
{
    for (uint32_t i = 0; i < c->rule_count; i++)
        if (c->rules[i].service[0] == '\0' || strcmp(c->rules[i].service, service) == 0)
            return c->rules[i].name;
    return NULL;
}

/* What may still be missing of a service, from one minute to the next. */
struct pots {
    uint64_t lost, quota;
};

/* Why what no pot holds is missing. */
static enum cause cause_of(const struct ledger_check *c, const struct check_service *s,
                           const struct check_minute *m)
{
    if (c->wrong_project)
        return CAUSE_PROJECT;
    if (c->has_canary && m->last_s > c->shown_until_s)
        return CAUSE_LATE;
    return rule_of(c, s->name) != NULL ? CAUSE_RULE : CAUSE_UNEXPLAINED;
}

static void explain_missing(struct ledger_check *c, struct check_service *s, uint64_t minute,
                            const struct check_minute *m, uint64_t n, struct pots *pots)
{
    enum cause cause = cause_of(c, s, m);
    if (cause != CAUSE_PROJECT)
        name(c, s, CAUSE_LOST, draw(&n, &pots->lost));
    if (cause != CAUSE_PROJECT && in_quota(c, minute, m->last_s))
        name(c, s, CAUSE_QUOTA, draw(&n, &pots->quota));
    if (cause == CAUSE_RULE && n > 0)
        snprintf(s->rule, sizeof s->rule, "%s", rule_of(c, s->name));
    name(c, s, cause, n);
}

/* How much more may be missing, hidden by as many rows that are there twice? */
static uint64_t hidden(const struct ledger_check *c, const struct check_service *s, uint64_t minute,
                       const struct check_minute *m, uint64_t missing, const struct pots *pots)
{
    enum cause cause = cause_of(c, s, m);
    uint64_t room = pots->lost + (in_quota(c, minute, m->last_s) ? pots->quota : 0);
    if (cause == CAUSE_RULE || cause == CAUSE_LATE)
        return m->sent - (missing < m->sent ? missing : m->sent);
    return room > missing ? room - missing : 0;
}

static void compare_minute(struct ledger_check *c, struct check_service *s, uint64_t minute,
                           const struct check_minute *m, struct pots *pots)
{
    uint64_t missing = m->stored < m->sent ? m->sent - m->stored : 0;
    uint64_t surplus = m->stored > m->sent ? m->stored - m->sent : 0, twice = m->twice;
    uint64_t seen = draw(&surplus, &twice);
    c->doubtful -= seen < c->doubtful ? seen : c->doubtful;
    uint64_t more = hidden(c, s, minute, m, missing, pots);
    more = draw(&more, &c->doubtful);
    if (more > twice) { /* no more than there are */
        c->doubtful += more - twice;
        more = twice;
    }
    name(c, s, CAUSE_DUPLICATE, seen + more);
    name(c, s, minute <= c->start_s / 60 ? CAUSE_EARLIER : CAUSE_OTHERS, surplus);
    explain_missing(c, s, minute, m, missing + more, pots);
}

bool ledger_check_has_surplus(const struct ledger_check *c)
{
    for (uint32_t i = 0; i < c->service_count; i++)
        for (uint32_t k = 0; k < c->minute_count; k++)
            if (c->services[i].minutes[k].stored > c->services[i].minutes[k].sent)
                return true;
    return false;
}

void ledger_check_compare(struct ledger_check *c, uint64_t settled_s)
{
    for (uint32_t i = 0; i < c->service_count; i++) {
        struct check_service *s = &c->services[i];
        struct pots pots = {s->lost, s->quota_sent};
        for (uint32_t k = 0; k < c->minute_count; k++) {
            const struct check_minute *m = &s->minutes[k];
            uint64_t minute = c->first_minute + k;
            if (m->is_open || (minute + 1) * 60 > settled_s)
                continue;
            c->minutes_compared += m->sent > 0 || m->stored > 0;
            s->sent += m->sent;
            s->stored += m->stored;
            compare_minute(c, s, minute, m, &pots);
        }
        c->sent += s->sent;
        c->stored += s->stored;
    }
}

/* ---- for people and programs ------------------------------------------- */

static void write_causes(struct json *j, const uint64_t by_cause[CAUSE_COUNT])
{
    for (int cause = 0; cause < CAUSE_COUNT; cause++)
        json_u64(j, causes[cause].word, by_cause[cause]);
}

static bool differs(const struct check_service *s)
{
    for (int cause = 0; cause < CAUSE_COUNT; cause++)
        if (s->by_cause[cause] > 0)
            return true;
    return false;
}

void ledger_check_write_json(const struct ledger_check *c, struct json *j)
{
    json_begin(j, "records");
    json_u64(j, "sent", c->sent);
    json_u64(j, "stored", c->stored);
    write_causes(j, c->by_cause);
    json_end(j);
    json_u64(j, "minutes", c->minutes_compared);
    json_u64(j, "services_left_out", c->left_out);
    json_begin_list(j, "services");
    for (uint32_t i = 0; i < c->service_count; i++) {
        const struct check_service *s = &c->services[i];
        json_begin(j, NULL);
        json_str(j, "service", s->name);
        json_u64(j, "sent", s->sent);
        json_u64(j, "stored", s->stored);
        json_u64(j, "of_other_times", s->untold);
        write_causes(j, s->by_cause);
        if (s->rule[0] != '\0')
            json_str(j, "rule", s->rule);
        json_end(j);
    }
    json_end_list(j);
}

void ledger_check_write_text(const struct ledger_check *c, struct buf *out)
{
    buf_printf(out, "%u services, %u minutes with records: %" PRIu64 " sent, %" PRIu64 " stored\n",
               c->service_count, c->minutes_compared, c->sent, c->stored);
    if (c->left_out > 0)
        buf_printf(out, "%u more services were not looked at\n", c->left_out);
    for (uint32_t i = 0; i < c->service_count; i++) {
        const struct check_service *s = &c->services[i];
        if (!differs(s))
            continue;
        buf_printf(out, "%s: %" PRIu64 " sent, %" PRIu64 " stored\n", s->name, s->sent, s->stored);
        for (int cause = 0; cause < CAUSE_COUNT; cause++)
            if (s->by_cause[cause] > 0)
                buf_printf(out, "    %" PRIu64 " %s%s%s\n", s->by_cause[cause], causes[cause].text,
                           cause == CAUSE_RULE ? ": " : "", cause == CAUSE_RULE ? s->rule : "");
    }
    buf_printf(out, "unexplained: %" PRIu64 "\n", c->by_cause[CAUSE_UNEXPLAINED]);
}
