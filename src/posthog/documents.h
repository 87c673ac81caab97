/*
 * documents: PostHog's answers as values: quota, settings, drop rules, the bill.
 *
 * Pure. What is missing or of another kind is unknown, and unknown is never 0.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "otlp/json_doc.h"
#include "policy/money.h"

#define QUOTA_MB 1000000.0 /* bytes */
#define KEYS_BYTES 1024    /* of attribute names, commas between */

/* quota_limits/: of the whole organization, in this billing period. */
struct quota {
    bool is_known;   /* the answer spoke of logs */
    bool is_limited; /* PostHog throws logs away now */
    bool has_usage, has_limit;
    double usage_mb, limit_mb;
};
void quota_read(struct quota *q, struct json_node answer);

/* logs_config/: names of attributes that PostHog links persons and sessions by. */
struct link_keys {
    char persons[KEYS_BYTES], sessions[KEYS_BYTES];
};
void link_keys_read(struct link_keys *k, struct json_node answer);

/* Could this rule of logs/sampling_rules/ drop a record of that service? Whatever else it asks
 * for. */
bool drop_rule_touches(struct json_node rule, struct span service);

/* billing/: the product "logs". */
struct bill {
    bool is_known;
    struct money_terms terms;
    uint64_t period_start_s, period_end_s; /* 0: not said */
};
void bill_read(struct bill *b, struct json_node answer);
