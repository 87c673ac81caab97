/*
 * findings: what is wrong between us and PostHog, each with a sentence and a remedy.
 *
 * Pure: from what a check has gathered to a list. A fault loses logs or work that was asked for; a
 * note is worth knowing, and asks for no action.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "posthog/documents.h"
#include "posthog/project.h"

#define FINDINGS_MAX 32
#define FINDING_RULES_MAX 16 /* drop rules that are named one by one */
#define FINDING_NAME_BYTES 128

/* clang-format off */
#define FINDING_MAP(X) \
    /* name           word              grade  */ \
    X(UNREACHABLE,    "unreachable",    FAULT)  /* any fault that is no word of the key */ \
    X(KEY_UNKNOWN,    "key_unknown",    FAULT) \
    X(WRONG_REGION,   "wrong_region",   FAULT) \
    X(TOKEN_UNKNOWN,  "token_unknown",  FAULT) \
    X(TOKEN_OTHERS,   "token_of_other", FAULT) \
    X(TOKEN_UNPROVED, "token_unproved", NOTE) \
    X(KEY_LIMITED,    "key_limited",    NOTE)   /* to projects */ \
    X(SCOPE_MISSING,  "scope_missing",  FAULT) \
    X(SCOPE_WANTED,   "scope_wanted",   NOTE)   /* for what was not asked for yet */ \
    X(QUOTA_LIMITED,  "quota_limited",  FAULT) \
    X(QUOTA_NEAR,     "quota_near",     NOTE) \
    X(QUOTA_UNKNOWN,  "quota_unknown",  NOTE)   /* usage is null */ \
    X(QUOTA_ABSENT,   "quota_absent",   NOTE)   /* an installation without billing */ \
    X(DROP_RULE,      "drop_rule",      FAULT) \
    X(SCRUB,          "scrub",          FAULT) \
    X(PART_UNREAD,    "part_unread",    NOTE)   /* one of the questions failed */
/* clang-format on */

enum finding_grade { FINDING_NOTE, FINDING_FAULT };

#define X(name, word, grade) FINDING_##name##_IS,
enum finding_what { FINDING_MAP(X) FINDING_COUNT };
#undef X

const char *finding_word(enum finding_what what);
enum finding_grade finding_grade(enum finding_what what);

struct finding {
    enum finding_what what;
    char text[APP_SENTENCE_BYTES], remedy[APP_SENTENCE_BYTES];
};

/* What a check has gathered. */
struct gathered {
    const char *app_host, *ingestion_host; /* URLs */
    const struct project *project;
    bool leads; /* does the periodic part of a fleet */
    struct app_verdict quota_fault, settings_fault, rules_fault, keys_fault;
    struct quota quota;
    bool scrubs; /* logs_settings.pii_scrub_logs */
    struct {
        char name[FINDING_NAME_BYTES], service[FINDING_NAME_BYTES];
    } rules[FINDING_RULES_MAX]; /* that act on our records */
    uint32_t rule_count;        /* all of them, though fewer are named */
    struct link_keys keys;
};

struct findings {
    uint32_t count, faults;
    struct finding list[FINDINGS_MAX];
};

void findings_of(struct findings *out, const struct gathered *g);
