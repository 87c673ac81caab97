/*
 * posthog_analyze: one analysis, for the two files of the verb.
 */
#pragma once

#include "cli/posthog.h"
#include "policy/money.h"
#include "posthog/analysis.h"
#include "posthog/guarded.h"

#define ANALYZE_REQUESTS_MAX 240
#define ANALYZE_MINUTES 5.0
#define ANALYZE_HOURS_MAX 720

struct analyze {
    struct posthog_session session;
    struct analysis *analysis;
    struct analysis_result result;
    struct money_terms terms;
    struct slices slices;
    struct rules *rules;
    struct guarded *guarded;            /* what PostHog counts, as far as the key may read it */
    char unguarded[APP_SENTENCE_BYTES]; /* why that is not known at all; "": it is */
    double hours;
    uint64_t began_ms, time_ms; /* time_ms: how long it may take */
    uint32_t requests, requests_planned;
    bool is_complete; /* all rows were read */
    bool is_cut;      /* for want of time or requests */
    const char *policy_file, *admin;
    bool json, warms;
    uint32_t known;  /* patterns that were sent to the running program */
    int bar_percent; /* -1: no bar */
};

void analyze_show_bar(struct analyze *a, uint32_t done, uint32_t all);
void analyze_hide_bar(const struct analyze *a);

/* Write the policy that was priced. 0, or the exit code. */
int analyze_write_policy(const struct analyze *a);

/* Print what was found. 0, or ERR_*. */
int analyze_report(const struct analyze *a);
