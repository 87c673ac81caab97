/*
 * ledger_check: what we sent, by service and minute, held against what PostHog stored.
 *
 * Pure: numbers in, causes out. Each difference is named with its number; what no cause can be
 * named for is unexplained, and should be 0.
 *
 *     missing   lost here, after it was kept; quota; too late; a drop rule; another project
 *     too many  stored twice, because its first answer was lost; by an earlier process of this
 *               sidecar; by other senders
 *
 * Only minutes that are closed count: over, delivered, and old enough for PostHog to show them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/budget.h"
#include "util/buf.h"
#include "util/json.h"
#include "util/err.h"

#define LEDGER_CHECK_SERVICES 100 /* those that sent most; each is a request an hour */
#define LEDGER_CHECK_MINUTES 1440
#define LEDGER_CHECK_NAME_BYTES 256
#define LEDGER_CHECK_RULES 16
#define LEDGER_CHECK_QUOTAS 16

/* clang-format off */
#define CAUSES(X) \
    /* name       word            in a sentence */ \
    X(LOST,       "lost_here",    "kept and lost here (lipservice_records_lost_total says why)") \
    X(PROJECT,    "wrong_project","sent with the key of another project") \
    X(QUOTA,      "quota",        "sent while PostHog threw logs away for its quota") \
    X(LATE,       "too_late",     "not shown yet") \
    X(RULE,       "drop_rule",    "dropped by a rule there") \
    X(DUPLICATE,  "duplicates",   "stored twice, because the first answer was lost") \
    X(EARLIER,    "earlier",      "of minutes before this process: sent by the one before, or by others") \
    X(OTHERS,     "other_senders","sent by others under the same service name") \
    X(UNEXPLAINED,"unexplained",  "unexplained")
/* clang-format on */

#define X(name, word, text) CAUSE_##name,
enum cause { CAUSES(X) CAUSE_COUNT };
#undef X

const char *cause_word(enum cause c);

struct check_minute {
    uint32_t sent, stored;
    uint32_t twice;  /* of those that are stored: the same as another one */
    uint32_t last_s; /* when the last of them was sent, since 1970 */
    bool is_open;
};

struct check_service {
    char name[LEDGER_CHECK_NAME_BYTES];
    uint64_t lost;                /* since the start */
    uint64_t untold;              /* records that are in no minute */
    uint64_t quota_sent;          /* while PostHog threw logs away, or may have done so */
    struct check_minute *minutes; /* owned; from ledger_check.first_minute on */
    /* What came of it. */
    uint64_t sent, stored, by_cause[CAUSE_COUNT];
    char rule[LEDGER_CHECK_NAME_BYTES]; /* of CAUSE_RULE */
};

struct ledger_check {
    struct budget *budget;
    uint64_t first_minute;
    uint32_t minute_count, service_count, left_out; /* left_out: services beyond the bound */
    struct check_service services[LEDGER_CHECK_SERVICES];

    /* What is known about causes. */
    uint64_t start_s;  /* of this process */
    uint64_t doubtful; /* records that were sent again and perhaps stored twice, as far as known */
    bool wrong_project;
    bool has_canary;
    uint64_t shown_until_s; /* what was sent by then is shown: a canary of then was found */
    uint32_t rule_count, quota_count;
    struct {
        char name[LEDGER_CHECK_NAME_BYTES], service[LEDGER_CHECK_NAME_BYTES]; /* "": several */
    } rules[LEDGER_CHECK_RULES];
    struct {
        uint64_t from_s, to_s;
    } quotas[LEDGER_CHECK_QUOTAS];

    /* What came of it. */
    uint64_t sent, stored, by_cause[CAUSE_COUNT];
    uint32_t minutes_compared;
};

/* Minutes of `hours` hours that end with the one before now. */
void ledger_check_init(struct ledger_check *c, struct budget *budget, uint64_t now_s,
                       uint32_t hours);
void ledger_check_done(struct ledger_check *c); /* accepts a zeroed one */

/* NULL: there are too many, or no memory. */
struct check_service *ledger_check_add(struct ledger_check *c, struct span name);

/* What was sent in a minute; settled_s: what was sent by then is delivered, and so long ago that
 * PostHog shows it. Minutes outside are ignored. */
void ledger_check_sent(struct ledger_check *c, struct check_service *s, uint64_t minute,
                       uint32_t records, uint32_t last_s, uint64_t settled_s);

/* What PostHog counted from a minute on. */
void ledger_check_stored(struct ledger_check *c, struct check_service *s, uint64_t minute,
                         uint64_t rows);

/* And how many of them are the same as another one. */
void ledger_check_twice(struct ledger_check *c, struct check_service *s, uint64_t minute,
                        uint64_t rows);

/* Is more stored of a minute than was sent? */
bool ledger_check_has_surplus(const struct ledger_check *c);

/* When all was said: minutes that were over at settled_s are closed, and compared. */
void ledger_check_compare(struct ledger_check *c, uint64_t settled_s);

void ledger_check_write_json(const struct ledger_check *c, struct json *j);
void ledger_check_write_text(const struct ledger_check *c, struct buf *out);
