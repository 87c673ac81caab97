/* document_write: a list of keys and thresholds, printed or merged. */
#include "policy/document_write.h"

#include <stdio.h>
#include <stdlib.h>

#include "pattern/signature.h"

#define DIGITS_MAX 17
#define RATE_BYTES 32

/* The shortest number that means the same threshold. */
static const char *rate_text(char out[RATE_BYTES], uint64_t threshold)
{
    double rate = rules_rate_of(threshold);
    for (int digits = 1; digits <= DIGITS_MAX; digits++) {
        snprintf(out, RATE_BYTES, "%.*g", digits, rate);
        double back = strtod(out, NULL);
        if (back >= 0 && back <= 1 && rules_threshold_of(back) == threshold)
            break;
    }
    return out;
}

static int list_patterns(struct rules_pattern **out, uint32_t *count, const struct rules *r)
{
    struct rules_pattern *list = calloc((size_t)rules_pattern_count(r) + 1, sizeof *list);
    if (list == NULL)
        return ERR_NOMEM;
    *count = rules_patterns(r, list);
    *out = list;
    return 0;
}

/* The threshold of a level where the rules name it; false: the global rate is its. */
static bool level_of_rules(const struct rules *r, int level, uint64_t *threshold)
{
    enum rules_source source;
    *threshold = rules_level_threshold(r, (enum level)level, &source);
    return source == RULES_SEVERITY;
}

int policy_document_write(struct buf *out, const struct rules *rules, int64_t version,
                          const char *note)
{
    char id[SIGNATURE_TEXT_BYTES], rate[RATE_BYTES];
    struct rules_pattern *list;
    uint32_t count;
    uint64_t threshold;
    int rc = list_patterns(&list, &count, rules);
    if (rc < 0)
        return rc;
    if (note[0] != '\0')
        buf_printf(out, "# %s\n", note);
    buf_printf(out, "version: %lld\nglobal_rate: %s\n", (long long)version,
               rate_text(rate, rules_global_threshold(rules)));
    bool has_levels = false;
    for (int l = 0; l < LEVEL_COUNT; l++) {
        if (!level_of_rules(rules, l, &threshold))
            continue;
        buf_printf(out, "%s  %s: %s\n", has_levels ? "" : "severity_rates:\n",
                   level_name((enum level)l), rate_text(rate, threshold));
        has_levels = true;
    }
    if (rules_boost(rules) > 1)
        buf_printf(out, "anomaly_boost: %g\n", rules_boost(rules));
    for (uint32_t i = 0; i < count; i++)
        buf_printf(out, "%s  \"%s\": %s\n", i == 0 ? "pattern_rates:\n" : "",
                   signature_format(id, list[i].signature), rate_text(rate, list[i].threshold));
    free(list);
    return out->err;
}

/* ---- the difference ---------------------------------------------------- */

static void say(struct buf *out, char sign, const char *key, uint64_t threshold)
{
    char rate[RATE_BYTES];
    buf_printf(out, "%c %s: %s\n", sign, key, rate_text(rate, threshold));
}

static void diff_level(struct buf *out, const struct rules *from, const struct rules *to, int level)
{
    uint64_t before, after;
    bool had = level_of_rules(from, level, &before), has = level_of_rules(to, level, &after);
    char key[32];
    snprintf(key, sizeof key, "severity_rates.%s", level_name((enum level)level));
    if (had == has && (!has || before == after))
        return;
    if (had)
        say(out, '-', key, before);
    if (has)
        say(out, '+', key, after);
}

static void diff_patterns(struct buf *out, const struct rules_pattern *a, uint32_t a_count,
                          const struct rules_pattern *b, uint32_t b_count)
{
    char id[SIGNATURE_TEXT_BYTES];
    uint32_t i = 0, k = 0;
    while (i < a_count || k < b_count) {
        bool in_a = i < a_count && (k == b_count || a[i].signature <= b[k].signature);
        bool in_b = k < b_count && (i == a_count || b[k].signature <= a[i].signature);
        if (in_a && (!in_b || a[i].threshold != b[k].threshold))
            say(out, '-', signature_format(id, a[i].signature), a[i].threshold);
        if (in_b && (!in_a || a[i].threshold != b[k].threshold))
            say(out, '+', signature_format(id, b[k].signature), b[k].threshold);
        i += in_a;
        k += in_b;
    }
}

int policy_document_diff(struct buf *out, const struct rules *from, const struct rules *to)
{
    struct rules_pattern *a = NULL, *b = NULL;
    uint32_t a_count = 0, b_count = 0;
    int rc = list_patterns(&a, &a_count, from);
    if (rc == 0)
        rc = list_patterns(&b, &b_count, to);
    if (rc == 0) {
        if (rules_global_threshold(from) != rules_global_threshold(to)) {
            say(out, '-', "global_rate", rules_global_threshold(from));
            say(out, '+', "global_rate", rules_global_threshold(to));
        }
        for (int l = 0; l < LEVEL_COUNT; l++)
            diff_level(out, from, to, l);
        if (rules_boost(from) < rules_boost(to) || rules_boost(from) > rules_boost(to))
            buf_printf(out, "- anomaly_boost: %g\n+ anomaly_boost: %g\n", rules_boost(from),
                       rules_boost(to));
        diff_patterns(out, a, a_count, b, b_count);
        rc = out->err;
    }
    free(a);
    free(b);
    return rc;
}
