/* documents: questions to trees of JSON. */
#include "posthog/documents.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void quota_read(struct quota *q, struct json_node answer)
{
    struct json_node logs = json_get(json_get(answer, "limited"), "logs_mb_ingested");
    *q = (struct quota){.is_known = json_kind(logs) == JSON_OBJECT};
    q->is_limited = json_is_true(json_get(logs, "limited"));
    q->has_usage = json_number(json_get(logs, "usage"), &q->usage_mb) && q->usage_mb >= 0;
    q->has_limit = json_number(json_get(logs, "limit"), &q->limit_mb) && q->limit_mb >= 0;
}

static void read_names(char out[KEYS_BYTES], struct json_node list)
{
    struct json_each each = json_each(list);
    size_t n = 0;
    out[0] = '\0';
    while (json_next(&each)) {
        struct span name = json_string(each.value);
        bool is_one = name.len > 0 && memchr(name.base, ',', name.len) == NULL &&
                      memchr(name.base, '\0', name.len) == NULL;
        if (!is_one || n + name.len + 2 > KEYS_BYTES)
            continue;
        n += (size_t)snprintf(out + n, KEYS_BYTES - n, "%s%.*s", n > 0 ? "," : "", (int)name.len,
                              (const char *)name.base);
    }
}

void link_keys_read(struct link_keys *k, struct json_node answer)
{
    read_names(k->persons, json_get(answer, "logs_distinct_id_attribute_keys"));
    read_names(k->sessions, json_get(answer, "logs_session_id_attribute_keys"));
}

/* ---- drop rules -------------------------------------------------------- */

static bool names_service(struct json_node value, struct span service)
{
    if (json_kind(value) == JSON_STRING)
        return span_ieq(json_string(value), service);
    struct json_each each = json_each(value);
    while (json_next(&each))
        if (span_ieq(json_string(each.value), service))
            return true;
    return false;
}

/* What a leaf says of the service alone: only one for `exact` service names can say no. */
static bool leaf_touches(struct json_node leaf, struct span service)
{
    struct span op = json_string(json_get(leaf, "operator"));
    bool is_service = span_eq(json_string(json_get(leaf, "key")), SPAN("service.name"));
    bool is_exact = span_eq(op, SPAN("exact")) || span_eq(op, SPAN("in"));
    bool is_not = span_eq(op, SPAN("is_not")) || span_eq(op, SPAN("not_in"));
    if (!is_service || (!is_exact && !is_not))
        return true;
    return names_service(json_get(leaf, "value"), service) == is_exact;
}

#define DEPTH_MAX 16 /* PostHog's own */

static bool group_touches(struct json_node group, struct span service, unsigned depth)
{
    struct json_node values = json_get(group, "values");
    if (json_kind(values) != JSON_ARRAY)
        return leaf_touches(group, service);
    if (depth > DEPTH_MAX)
        return true;
    bool is_any = span_eq(json_string(json_get(group, "type")), SPAN("OR"));
    struct json_each each = json_each(values);
    bool touches = !is_any;
    while (json_next(&each)) {
        bool does = group_touches(each.value, service, depth + 1);
        touches = is_any ? touches || does : touches && does;
    }
    return touches;
}

/* An action of severity_sampling that is not keep. */
static bool actions_drop(struct json_node actions)
{
    struct json_each each = json_each(actions);
    while (json_next(&each))
        if (!span_eq(json_string(json_get(each.value, "type")), SPAN("keep")))
            return true;
    return false;
}

bool drop_rule_touches(struct json_node rule, struct span service)
{
    struct json_node config = json_get(rule, "config"), group = json_get(config, "filter_group");
    struct span scope = json_string(json_get(rule, "scope_service"));
    if (!json_is_true(json_get(rule, "enabled")))
        return false;
    if (scope.len > 0 && service.len > 0 && !span_eq(scope, service))
        return false;
    if (span_eq(json_string(json_get(rule, "rule_type")), SPAN("severity_sampling")) &&
        !actions_drop(json_get(config, "actions")))
        return false;
    return json_kind(group) != JSON_OBJECT || service.len == 0 || group_touches(group, service, 0);
}

/* ---- the bill ---------------------------------------------------------- */

/* Amounts come as text with decimals, or as numbers. */
static bool amount(struct json_node n, double *out)
{
    char text[64];
    char *end;
    struct span s = json_string(n);
    if (s.len == 0)
        return json_number(n, out) && isfinite(*out) && *out >= 0;
    if (s.len >= sizeof text)
        return false;
    snprintf(text, sizeof text, "%.*s", (int)s.len, (const char *)s.base);
    double value = strtod(text, &end);
    if (*end != '\0' || !isfinite(value) || value < 0)
        return false;
    *out = value;
    return true;
}

static uint64_t unix_time(struct json_node n)
{
    char text[32];
    struct tm tm = {0};
    struct span s = json_string(n);
    if (s.len < 10)
        return 0;
    snprintf(text, sizeof text, "%.*s", s.len < 19 ? (int)s.len : 19, (const char *)s.base);
    if (strptime(text, s.len < 19 ? "%Y-%m-%d" : "%Y-%m-%dT%H:%M:%S", &tm) == NULL)
        return 0;
    time_t t = timegm(&tm);
    return t > 0 ? (uint64_t)t : 0;
}

/* True when all tiers could be read, in order, with an open end. */
static bool read_tiers(struct money_terms *t, struct json_node tiers)
{
    struct json_each each = json_each(tiers);
    double last = 0;
    while (json_next(&each)) {
        struct money_tier tier = {.up_to_mb = INFINITY};
        struct json_node up_to = json_get(each.value, "up_to");
        if (t->tier_count == MONEY_TIERS_MAX || !isfinite(last) ||
            !amount(json_get(each.value, "unit_amount_usd"), &tier.per_mb) ||
            (json_kind(up_to) != JSON_NULL && !amount(up_to, &tier.up_to_mb)) ||
            tier.up_to_mb <= last)
            return false;
        if (!amount(json_get(each.value, "flat_amount_usd"), &tier.flat))
            tier.flat = 0;
        last = tier.up_to_mb;
        t->tiers[t->tier_count++] = tier;
    }
    return t->tier_count > 0;
}

static void read_addons(struct money_terms *t, struct json_node addons)
{
    struct json_each each = json_each(addons);
    while (json_next(&each)) {
        struct json_node tier, tiers = json_get(each.value, "tiers");
        struct json_each first = json_each(tiers);
        if (!span_starts(json_string(json_get(each.value, "type")), SPAN("logs_retention")) ||
            !json_is_true(json_get(each.value, "subscribed")) || !json_next(&first))
            continue;
        tier = first.value;
        if (amount(json_get(tier, "unit_amount_usd"), &t->kept_per_mb))
            t->kept_months = 1; /* the price of the addon is for all that it keeps longer */
    }
}

/* The limit that a customer has set, by the product's name or by the key of its usage. */
static double limit_of(struct json_node answer)
{
    double limit = INFINITY;
    struct json_node limits = json_get(answer, "custom_limits_usd");
    if (!amount(json_get(limits, "logs"), &limit) &&
        !amount(json_get(limits, "logs_mb_ingested"), &limit))
        return INFINITY;
    return limit;
}

static bool read_product(struct bill *b, struct json_node product)
{
    struct money_terms *t = &b->terms;
    double free_mb = 0;
    if (json_is_true(json_get(product, "subscribed")))
        return read_tiers(t, json_get(product, "tiers"));
    /* Without a subscription nothing is paid: what is beyond the free part is thrown away. */
    if (!amount(json_get(product, "free_allocation"), &free_mb))
        return false;
    t->tiers[t->tier_count++] = (struct money_tier){.up_to_mb = INFINITY};
    return true;
}

void bill_read(struct bill *b, struct json_node answer)
{
    struct json_node period = json_get(answer, "billing_period");
    struct json_each each = json_each(json_get(answer, "products"));
    double percent;
    *b = (struct bill){.terms = {.limit = limit_of(answer)}};
    b->period_start_s = unix_time(json_get(period, "current_period_start"));
    b->period_end_s = unix_time(json_get(period, "current_period_end"));
    if (b->period_end_s <= b->period_start_s)
        b->period_start_s = b->period_end_s = 0;
    while (json_next(&each)) {
        if (!span_eq(json_string(json_get(each.value, "type")), SPAN("logs")))
            continue;
        b->is_known = read_product(b, each.value);
        read_addons(&b->terms, json_get(each.value, "addons"));
    }
    if (amount(json_get(answer, "discount_percent"), &percent) && percent <= 100)
        b->terms.discount = percent / 100;
}
