/* findings: a function for each part of a check. */
#include "posthog/findings.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "net/url.h"

#define NEAR 0.9 /* of the quota */

static const struct {
    const char *word;
    enum finding_grade grade;
} kinds[] = {
#define X(name, word, grade) [FINDING_##name##_IS] = {word, FINDING_##grade},
    FINDING_MAP(X)
#undef X
};

const char *finding_word(enum finding_what what)
{
    return kinds[what].word;
}

enum finding_grade finding_grade(enum finding_what what)
{
    return kinds[what].grade;
}

/* The caller writes the remedy. */
__attribute__((format(printf, 3, 4))) static struct finding *
add(struct findings *out, enum finding_what what, const char *fmt, ...)
{
    struct finding *f = &out->list[out->count < FINDINGS_MAX ? out->count++ : FINDINGS_MAX - 1];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, ap);
    va_end(ap);
    f->what = what;
    f->remedy[0] = '\0';
    out->faults += kinds[what].grade == FINDING_FAULT;
    return f;
}

#define CURE(finding, ...) snprintf((finding)->remedy, sizeof(finding)->remedy, __VA_ARGS__)

/* ---- the key and the project ------------------------------------------- */

static void find_fault_of(struct findings *out, enum finding_what what, const struct app_verdict *v)
{
    struct finding *f = add(out, what, "%s", v->text);
    CURE(f, "%s", v->remedy);
}

/* "us", "eu", or "": another. */
static const char *region_of(const char *url)
{
    struct span host = url_authority(url);
    static const struct {
        const char *host, *region;
    } hosts[] = {{"us.posthog.com", "us"},
                 {"eu.posthog.com", "eu"},
                 {"us.i.posthog.com", "us"},
                 {"eu.i.posthog.com", "eu"}};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
        if (span_ieq(host, span_str(hosts[i].host)))
            return hosts[i].region;
    return "";
}

static void find_region(struct findings *out, const struct gathered *g)
{
    const char *app = region_of(g->app_host), *ingestion = region_of(g->ingestion_host);
    if (app[0] == '\0' || ingestion[0] == '\0' || strcmp(app, ingestion) == 0)
        return;
    struct finding *f = add(out, FINDING_WRONG_REGION_IS,
                            "logs go to %s, and %s is asked: these are two regions, and no project "
                            "is in both",
                            g->ingestion_host, g->app_host);
    CURE(f, "leave posthog.app_host empty, or set exporters.posthog.host to the same region");
}

static void find_unknown_token(struct findings *out, const struct gathered *g)
{
    const struct project *p = g->project;
    struct finding *f = add(out, FINDING_TOKEN_UNKNOWN_IS,
                            "exporters.posthog.api_key is the key of none of the %u projects that "
                            "the personal API key sees at %s: PostHog answers 200 to it and throws "
                            "the records away, unless it is a project that this key does not see",
                            p->listed, g->app_host);
    CURE(f, "copy the project API key (phc_...) from the project's settings there");
}

static void find_others_token(struct findings *out, const struct gathered *g)
{
    const struct project *p = g->project;
    struct finding *f;
    if (p->right_id != 0) {
        f = add(out, FINDING_TOKEN_OTHERS_IS,
                "exporters.posthog.api_key is the key of project %u, and not of project %u (%s) "
                "that posthog.project_id says",
                p->right_id, p->id, p->name);
        CURE(f, "set posthog.project_id to %u, or use the project API key of project %u",
             p->right_id, p->id);
    } else {
        f = add(out, FINDING_TOKEN_OTHERS_IS,
                "exporters.posthog.api_key is not the key of project %u (%s), and of no project "
                "that the personal API key sees",
                p->id, p->name);
        CURE(f, "copy the project API key (phc_...) from the settings of project %u", p->id);
    }
}

static void find_unproved(struct findings *out, const struct project *p)
{
    struct finding *f =
        p->token[0] == '\0'
            ? add(out, FINDING_TOKEN_UNPROVED_IS,
                  "there is no exporters.posthog.api_key, so no logs go to project %u", p->id)
            : add(out, FINDING_TOKEN_UNPROVED_IS,
                  "whether exporters.posthog.api_key is the key of project %u cannot be seen%s%s",
                  p->id, p->fault.text[0] != '\0' ? ": " : "", p->fault.text);
    CURE(f, "%s", p->token[0] == '\0' ? "set POSTHOG_API_KEY" : p->fault.remedy);
}

/* False: nothing more can be said. */
static bool find_project(struct findings *out, const struct gathered *g)
{
    const struct project *p = g->project;
    switch (p->outcome) {
    case PROJECT_FOUND:
        break;
    case PROJECT_OTHERS:
        find_others_token(out, g);
        break;
    case PROJECT_UNPROVED:
        find_unproved(out, p);
        break;
    case PROJECT_UNKNOWN:
        find_unknown_token(out, g);
        return false;
    default:
        find_fault_of(out,
                      p->fault.fault == APP_BAD_KEY    ? FINDING_KEY_UNKNOWN_IS
                      : p->fault.fault == APP_NO_SCOPE ? FINDING_SCOPE_MISSING_IS
                                                       : FINDING_UNREACHABLE_IS,
                      &p->fault);
        return false;
    }
    if (p->team_count > 0) {
        struct finding *f =
            add(out, FINDING_KEY_LIMITED_IS, "the personal API key is limited to %u project%s",
                p->team_count, p->team_count == 1 ? "" : "s");
        CURE(f, "nothing has to be done, as long as project %u is one of them", p->id);
    }
    return true;
}

/* ---- scopes ------------------------------------------------------------ */

static void find_scopes(struct findings *out, const struct gathered *g)
{
    static const struct {
        const char *scope, *what;
        bool by_all, by_leader; /* who cannot do his work without it */
    } needs[] = {
        {"project:read", "the project and its quota cannot be seen", true, true},
        {"logs:read", "drop rules cannot be seen, nor what is stored be counted", true, true},
        {"billing:read", "prices are assumed, not read", false, false},
        {"query:read", "nothing can be asked in SQL", false, false},
        {"logs:write", "alerts and drop rules cannot be written", false, false},
        {"insight:write", "charts cannot be written", false, false},
        {"dashboard:write", "dashboards cannot be written", false, false},
        {"annotation:write", "changes of the policy cannot be marked", false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(needs); i++) {
        if (project_may(g->project, needs[i].scope))
            continue;
        bool is_needed = g->leads ? needs[i].by_leader : needs[i].by_all;
        struct finding *f =
            add(out, is_needed ? FINDING_SCOPE_MISSING_IS : FINDING_SCOPE_WANTED_IS,
                "the personal API key lacks the scope %s: %s", needs[i].scope, needs[i].what);
        CURE(f, "add the scope %s to the key in PostHog under Settings, Personal API keys",
             needs[i].scope);
    }
}

/* ---- quota ------------------------------------------------------------- */

static void find_limited(struct findings *out, const struct quota *q)
{
    struct finding *f =
        q->has_usage && q->has_limit
            ? add(out, FINDING_QUOTA_LIMITED_IS,
                  "PostHog throws all logs of this organization away now, though it answers 200: "
                  "%.0f of %.0f MB are used in this period",
                  q->usage_mb, q->limit_mb)
            : add(out, FINDING_QUOTA_LIMITED_IS,
                  "PostHog throws all logs of this organization away now, though it answers 200: "
                  "its limit is reached");
    CURE(f, "raise the limit of logs in PostHog's billing, and set sampling.budget.source to "
            "posthog so that the next period lasts");
}

static void find_quota(struct findings *out, const struct gathered *g)
{
    const struct quota *q = &g->quota;
    struct finding *f;
    if (g->quota_fault.fault == APP_NOT_FOUND) {
        f = add(out, FINDING_QUOTA_ABSENT_IS,
                "%s has no page of quotas: it is an installation without billing", g->app_host);
        CURE(f, "nothing has to be done; sampling.budget.source: posthog has no effect there");
    } else if (g->quota_fault.fault != APP_FINE) {
        if (g->quota_fault.fault != APP_NO_SCOPE)
            find_fault_of(out, FINDING_PART_UNREAD_IS, &g->quota_fault);
    } else if (q->is_limited) {
        find_limited(out, q);
    } else if (!q->has_usage) {
        f = add(out, FINDING_QUOTA_UNKNOWN_IS,
                "PostHog does not say how much of the quota is used: the use is not yet counted");
        CURE(f, "wait some hours; until then sampling.budget holds");
    } else if (q->has_limit && q->usage_mb >= NEAR * q->limit_mb) {
        f = add(out, FINDING_QUOTA_NEAR_IS, "%.0f of %.0f MB are used in this period", q->usage_mb,
                q->limit_mb);
        CURE(f, "set sampling.budget.source to posthog, or raise the limit");
    }
}

/* ---- rules, scrub, keys ------------------------------------------------- */

static void find_rules(struct findings *out, const struct gathered *g)
{
    for (uint32_t i = 0; i < g->rule_count && i < FINDING_RULES_MAX; i++) {
        bool is_one = g->rules[i].service[0] != '\0';
        struct finding *f =
            add(out, FINDING_DROP_RULE_IS,
                "PostHog's drop rule '%s' acts on %s%s: what we send may be dropped "
                "there, and counts of stored rows are too low",
                g->rules[i].name, is_one ? "service " : "our records", g->rules[i].service);
        CURE(f, "turn it off in PostHog under Logs, Settings, Drop rules, and say the same in the "
                "policy here, which counts what it drops");
    }
    if (g->rule_count > FINDING_RULES_MAX)
        CURE(add(out, FINDING_DROP_RULE_IS, "%u more drop rules act on our records",
                 g->rule_count - FINDING_RULES_MAX),
             "turn them off in PostHog under Logs, Settings, Drop rules");
}

static void find_scrub(struct findings *out, const struct gathered *g)
{
    if (!g->scrubs)
        return;
    struct finding *f =
        add(out, FINDING_SCRUB_IS,
            "PostHog's PII scrub is on: it changes bodies and attributes of what we "
            "send, and a person whose id (%s) is an email is no longer found",
            g->keys.persons[0] != '\0' ? g->keys.persons : "posthogDistinctId");
    CURE(f, "use ids that are no emails; or turn it off in PostHog under Logs, Settings, and set "
            "redaction.mode to enforce here, which leaves those attributes alone");
}

void findings_of(struct findings *out, const struct gathered *g)
{
    const struct app_verdict *parts[] = {&g->settings_fault, &g->rules_fault, &g->keys_fault};
    out->count = out->faults = 0;
    find_region(out, g);
    if (!find_project(out, g))
        return;
    find_scopes(out, g);
    find_quota(out, g);
    find_rules(out, g);
    find_scrub(out, g);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (parts[i]->fault != APP_FINE && parts[i]->fault != APP_NO_SCOPE)
            find_fault_of(out, FINDING_PART_UNREAD_IS, parts[i]);
}
