/* versioning: the list, a timer, and the one place that puts a version in force. */
#include "sidecar/versioning.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/document_write.h"
#include "policy/plan.h"
#include "sidecar/asking.h"
#include "sidecar/posthog.h"
#include "sidecar/sidecar_state.h"
#include "util/diag.h"

#define BY_CONFIG "config"
#define BY_FILE "file"
#define BY_AUTO "auto"
#define ORIGIN "version" /* as rules_origin() says */
#define HOUR_S 3600.0

struct versioning {
    struct sidecar *sc;
    struct versions *list;
    uv_timer_t timer;
    uint32_t interval_ms;
    bool has_config; /* the first look at the configuration has been */
};

struct versions *versioning_list(const struct sidecar *sc)
{
    return sc->versioning == NULL ? NULL : sc->versioning->list;
}

int versioning_rules(const struct sidecar *sc, const struct version *it, struct rules **out,
                     struct error *err)
{
    struct policy_notes notes;
    struct rules *rules;
    int rc = policy_document_read_file(&rules, config_visit_yaml, "policy", it->document,
                                       sc->cfg->sampling.rules, &notes, err);
    if (rc < 0)
        return rc;
    rules_set_origin(rules, ORIGIN, it->number);
    *out = rules;
    return 0;
}

/* ---- making ------------------------------------------------------------ */

static uint32_t lines_of(struct span text)
{
    uint32_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += text.base[i] == '+' && (i == 0 || text.base[i - 1] == '\n');
    return n;
}

/* What is estimated of it: money, and what differs from what is in force. Without a history or
 * memory nothing is. */
static void estimate(struct sidecar *sc, struct version *it, const struct rules *rules)
{
    struct asking a;
    struct buf diff = {0};
    const struct governor_target target = sidecar_target(sc);
    const struct rules *now = pipeline_rules(sc->pipeline, LEDGER_OTHER);
    if (policy_document_diff(&diff, now, rules) == 0)
        it->changes = lines_of(buf_span(&diff));
    buf_done(&diff);
    if (asking_open(&a, sc, SERIES_DAY, rules, &target, &sc->page_memory) < 0)
        return;
    const struct money_month before = asking_month(&a, a.now.bytes);
    const struct money_month after = asking_month(&a, a.then.bytes);
    it->saving_bytes = before.with_bytes - after.with_bytes;
    it->saving_money = before.with - after.with;
    asking_done(&a);
}

/* Who made a version, and why. */
struct maker {
    const char *by, *why;
    double share; /* of kept bytes that a proposal saves */
};

static int add(struct sidecar *sc, const struct rules *rules, struct span document,
               const struct maker *m, uint32_t *number, struct error *err)
{
    struct version like = {.created_unix_s = clock_unix_ns(sc->clock) / 1000000000,
                           .saving_share = m->share};
    snprintf(like.by, sizeof like.by, "%s", m->by);
    like.is_from_outside = strcmp(m->by, BY_CONFIG) == 0 || strcmp(m->by, BY_FILE) == 0;
    snprintf(like.why, sizeof like.why, "%s", m->why);
    estimate(sc, &like, rules);
    int rc = versions_add(sc->versioning->list, &like, document, number);
    return rc < 0 ? err_set(err, rc, "the version cannot be held: %s", err_text(rc)) : 0;
}

/* The same, of rules: their document is written. */
static int add_rules(struct sidecar *sc, const struct rules *rules, const struct maker *m,
                     uint32_t *number, struct error *err)
{
    struct buf text = {.budget = &sc->page_memory};
    char note[VERSION_WHY_BYTES + VERSION_BY_BYTES];
    snprintf(note, sizeof note, "lipservice policy by %s: %s", m->by, m->why);
    for (char *c = note; *c != '\0'; c++)
        *c = (unsigned char)*c < ' ' ? ' ' : *c; /* a comment is one line */
    int rc = policy_document_write(&text, rules, 0, note);
    if (rc == 0)
        rc = add(sc, rules, buf_span(&text), m, number, err);
    else
        err_set(err, rc, "no memory for a document now");
    buf_done(&text);
    return rc;
}

/* ---- in force ---------------------------------------------------------- */

static void log_version(const char *msg, const struct version *it)
{
    char by[DIAG_QUOTE_BYTES], why[DIAG_QUOTE_BYTES];
    diag(DIAG_INFO, "policy_version", msg, "version=%u state=%s by=%s why=%s", it->number,
         version_state_name(it->state), diag_quote(by, span_str(it->by)),
         diag_quote(why, span_str(it->why)));
}

/* `rules` are those of version `number`. */
static void put_in_force(struct sidecar *sc, uint32_t number, const struct rules *rules)
{
    struct versions *list = sc->versioning->list;
    const struct version *counted = versions_in(list, VERSION_SHADOW);
    if (counted != NULL && counted->number == number)
        ignore_code(pipeline_set_shadow_rules(sc->pipeline, NULL)); /* none need no memory */
    pipeline_set_common_rules(sc->pipeline, rules);
    versions_set_active(list, number);
    annotating_note(sc, SPAN(""), rules);
    history_note_policy(sc, SPAN(""), rules);
    log_version("the policy is in force", versions_find(list, number));
}

static int count_only(struct sidecar *sc, uint32_t number, const struct rules *rules,
                      struct error *err)
{
    struct versions *list = sc->versioning->list;
    if (sc->cfg->shadow.policy_file[0] != '\0')
        return err_set(err, ERR_CONFIG,
                       "shadow.policy_file is what is only counted: empty it to try a version");
    int rc = pipeline_set_shadow_rules(sc->pipeline, rules);
    if (rc < 0)
        return err_set(err, rc, "no memory to count a second policy now");
    versions_set_shadow(list, number);
    log_version("the policy is only counted (lipservice shadow)", versions_find(list, number));
    return 0;
}

static uint32_t lowered_by(struct sidecar *sc, const struct rules *rules, const char **why)
{
    struct asking a;
    const struct governor_target target = sidecar_target(sc);
    *why = NULL;
    if (asking_open(&a, sc, SERIES_HOUR, rules, &target, &sc->page_memory) < 0)
        return 0;
    uint32_t n = asking_lowered(&a, why);
    asking_done(&a);
    return n;
}

int versioning_apply(struct sidecar *sc, uint32_t number, const char *by, bool shadow,
                     char note[VERSION_WHY_BYTES], struct error *err)
{
    const struct version *it = versions_find(sc->versioning->list, number);
    struct rules *rules;
    const char *why;
    note[0] = '\0';
    if (it == NULL)
        return err_set(err, ERR_EMPTY, "there is no version %u", number);
    if (it->state == VERSION_ACTIVE)
        return err_set(err, ERR_CONFIG, "version %u is in force", number);
    if (it->state == VERSION_PAST)
        return err_set(err, ERR_CONFIG, "version %u was in force: roll back to it", number);
    int rc = versioning_rules(sc, it, &rules, err);
    if (rc < 0)
        return rc;
    uint32_t lowered = it->state == VERSION_SHADOW ? 0 : lowered_by(sc, rules, &why);
    if (lowered > 0 && !shadow)
        snprintf(
            note, VERSION_WHY_BYTES,
            "it lowers %u protected patterns (%s): it is only counted first; apply it again to "
            "put it in force",
            lowered, why);
    if (shadow || lowered > 0)
        rc = count_only(sc, number, rules, err);
    else
        put_in_force(sc, number, rules);
    if (rc == 0)
        diag(DIAG_INFO, "policy_applied", shadow || lowered > 0 ? "as shadow" : "in force",
             "version=%u by=%.64s", number, by);
    rules_unref(rules);
    return rc;
}

int versioning_rollback(struct sidecar *sc, uint32_t number, const char *by, uint32_t *made,
                        struct error *err)
{
    const struct version *it = versions_find(sc->versioning->list, number);
    char why[VERSION_WHY_BYTES];
    struct rules *rules;
    if (it == NULL)
        return err_set(err, ERR_EMPTY, "there is no version %u", number);
    if (it->state == VERSION_ACTIVE)
        return err_set(err, ERR_CONFIG, "version %u is in force", number);
    int rc = versioning_rules(sc, it, &rules, err);
    if (rc < 0)
        return rc;
    snprintf(why, sizeof why, "rollback to version %u", number);
    struct buf copy = {.budget = &sc->page_memory}; /* the list may let go of it */
    buf_append(&copy, it->document);
    rc = copy.err < 0 ? err_set(err, copy.err, "no memory for a document now")
                      : add(sc, rules, buf_span(&copy), &(struct maker){by, why, 0}, made, err);
    buf_done(&copy);
    if (rc == 0) {
        rules_set_origin(rules, ORIGIN, *made);
        put_in_force(sc, *made, rules);
    }
    rules_unref(rules);
    return rc;
}

int versioning_draft(struct sidecar *sc, struct span document, const char *by, const char *why,
                     uint32_t *number, struct error *err)
{
    struct version it = {.document = document};
    struct rules *rules;
    int rc = versioning_rules(sc, &it, &rules, err);
    if (rc < 0)
        return rc;
    rc = add(sc, rules, document, &(struct maker){by, why, 0}, number, err);
    rules_unref(rules);
    return rc;
}

/* ---- proposals --------------------------------------------------------- */

/* Of services without their own policy, what was counted as an hour's. */
static struct plan_pattern *list_for_plan(struct asking *a, size_t *count)
{
    double hours = a->known_s / HOUR_S;
    size_t n = 0;
    struct plan_pattern *list =
        arena_alloc(&a->census.arena, (a->census.pattern_count + 1) * sizeof *list);
    for (uint32_t i = 0; list != NULL && i < a->census.pattern_count; i++) {
        const struct whatif_pattern *w = &a->list[i];
        const struct census_pattern *p = &a->census.patterns[i];
        if (pipeline_has_own_rules(a->sc->pipeline, p->key.service))
            continue;
        list[n++] = (struct plan_pattern){
            .facts = w->facts,
            .rules = w->now,
            .status_class = p->key.status_class,
            .records_per_hour = w->records / hours,
            .received_bytes = w->bytes / hours,
            .kept_bytes = w->bytes * w->share_now / hours,
            .seen = (uint64_t)w->records,
        };
    }
    *count = n;
    return list;
}

/* The rules in force with the plan's rates. */
static int rules_of_plan(struct sidecar *sc, const struct plan *plan, struct rules **out,
                         struct error *err)
{
    struct rules *rules = NULL;
    int rc = pipeline_bind(sc->pipeline, pipeline_rules(sc->pipeline, LEDGER_OTHER), &rules);
    for (size_t i = 0; rc == 0 && i < plan->count; i++)
        rc = rules_set_pattern(rules, plan->changes[i].id, plan->changes[i].rate, err);
    if (rc < 0) {
        rules_unref(rules);
        return rc;
    }
    *out = rules;
    return 0;
}

/* The share of kept bytes that the newest proposal saves which waits or is only counted; 0: there
 * is none. */
static double open_share(const struct sidecar *sc)
{
    const struct versions *list = sc->versioning->list;
    for (uint32_t i = versions_count(list); i-- > 0;) {
        const struct version *it = versions_at(list, i);
        if (it->state == VERSION_ACTIVE)
            return 0;
        if (strcmp(it->by, BY_AUTO) == 0 && it->state != VERSION_PAST)
            return it->saving_share;
    }
    return 0;
}

static int add_plan(struct sidecar *sc, const struct plan *plan, const char *by, uint32_t *number,
                    struct error *err)
{
    char why[VERSION_WHY_BYTES];
    struct rules *rules = NULL;
    double share = plan->kept_now > 0 ? 1 - plan->kept_then / plan->kept_now : 0;
    int rc = rules_of_plan(sc, plan, &rules, err);
    if (rc < 0)
        return rc;
    snprintf(why, sizeof why, "%zu rates from the counts of the last hours: %.0f%% fewer bytes%s",
             plan->count, 100 * share, plan->needs_shadow ? "; lowers something protected" : "");
    rc = add_rules(sc, rules, &(struct maker){by, why, share}, number, err);
    rules_unref(rules);
    return rc;
}

int versioning_propose(struct sidecar *sc, const char *by, uint32_t *number, const char **none,
                       struct error *err)
{
    struct asking a;
    struct plan plan;
    size_t count;
    const struct governor_target target = sidecar_target(sc);
    const struct plan_opts opts = {sc->cfg->policy.max_drop_change, open_share(sc)};
    *none = NULL;
    int rc = asking_open(&a, sc, SERIES_DAY, pipeline_rules(sc->pipeline, LEDGER_OTHER), &target,
                         &sc->page_memory);
    if (rc == ERR_EMPTY) {
        *none = "history.memory is 0: nothing is remembered";
        return 0;
    }
    if (rc < 0)
        return err_set(err, rc, "no memory for a proposal now");
    struct plan_pattern *list = list_for_plan(&a, &count);
    rc = list == NULL ? ERR_NOMEM : plan_make(&plan, list, count, &opts, &a.census.arena);
    if (rc < 0)
        err_set(err, rc, "no memory for a proposal now");
    else if (plan.none != NULL)
        *none = plan.none;
    else
        rc = add_plan(sc, &plan, by, number, err);
    asking_done(&a);
    if (rc == 0 && *none == NULL)
        log_version("rates are proposed", versions_find(sc->versioning->list, *number));
    return rc;
}

static void on_timer(uv_timer_t *timer)
{
    struct versioning *v = container_of(timer, struct versioning, timer);
    struct sidecar *sc = v->sc;
    struct error err = {{0}};
    char note[VERSION_WHY_BYTES], quoted[DIAG_QUOTE_BYTES];
    const char *none;
    uint32_t number;
    int rc = versioning_propose(sc, BY_AUTO, &number, &none, &err);
    if (rc == 0 && none == NULL && sc->cfg->policy.applies)
        rc = versioning_apply(sc, number, BY_AUTO, false, note, &err);
    if (rc < 0)
        diag(DIAG_WARN, "policy_not_proposed", "the policy in force stays", "reason=%s",
             diag_quote(quoted, span_str(err.text)));
}

/* ---- the configuration and the policy file ----------------------------- */

/* The newest version by that name. */
static const struct version *newest_by(const struct versions *list, const char *by)
{
    for (uint32_t i = versions_count(list); i-- > 0;)
        if (strcmp(versions_at(list, i)->by, by) == 0)
            return versions_at(list, i);
    return NULL;
}

static bool is_same_policy(struct sidecar *sc, const struct version *it, const struct rules *rules)
{
    struct rules *before;
    struct buf diff = {0};
    if (it == NULL || versioning_rules(sc, it, &before, NULL) < 0)
        return false;
    bool is_same = policy_document_diff(&diff, before, rules) == 0 && diff.len == 0;
    buf_done(&diff);
    rules_unref(before);
    return is_same;
}

/* Rules that came from outside: a version where they are new. What is in force stays in force where
 * they are what was already known, and a later version was applied. */
static void take_in(struct sidecar *sc, const struct rules *rules, const char *by, const char *why)
{
    struct versions *list = sc->versioning->list;
    const struct version *active = versions_in(list, VERSION_ACTIVE);
    struct error err = {{0}};
    struct rules *mine = NULL;
    uint32_t number = 0;
    bool is_its = active != NULL && strcmp(active->by, by) == 0;
    bool is_applied =
        active != NULL && strcmp(active->by, BY_CONFIG) != 0 && strcmp(active->by, BY_FILE) != 0;
    if ((is_its || is_applied) && is_same_policy(sc, newest_by(list, by), rules) &&
        versioning_rules(sc, active, &mine, &err) == 0) {
        pipeline_set_common_rules(sc->pipeline, is_its ? rules : mine);
        rules_unref(mine);
        return;
    }
    pipeline_set_common_rules(sc->pipeline, rules);
    if (add_rules(sc, rules, &(struct maker){by, why, 0}, &number, &err) == 0)
        versions_set_active(list, number);
    else
        diag(DIAG_WARN, "policy_not_listed", "it is in force, and no version", "reason=\"%s\"",
             err.text);
}

static void set_timer(struct versioning *v)
{
    uint32_t ms = v->sc->cfg->policy.propose_interval_ms;
    if (ms == v->interval_ms)
        return;
    v->interval_ms = ms;
    uv_timer_stop(&v->timer);
    if (ms > 0)
        uv_timer_start(&v->timer, on_timer, ms, ms);
}

/* With a policy file its policy is taken in when it is read. */
void versioning_configured(struct sidecar *sc)
{
    struct versioning *v = sc->versioning;
    const struct version *counted = versions_in(v->list, VERSION_SHADOW);
    struct rules *rules;
    set_timer(v);
    if (sc->cfg->sampling.policy_file[0] == '\0')
        take_in(sc, sc->cfg->sampling.rules, BY_CONFIG,
                v->has_config ? "the configuration was reloaded"
                              : "the configuration at the start");
    v->has_config = true;
    if (counted == NULL)
        return;
    if (sc->cfg->shadow.policy_file[0] != '\0' || versioning_rules(sc, counted, &rules, NULL) < 0) {
        versions_end_shadow(v->list);
        return;
    }
    ignore_code(pipeline_set_shadow_rules(sc->pipeline, rules)); /* else the one before counts on */
    rules_unref(rules);
}

void versioning_file(struct sidecar *sc, const struct rules *rules)
{
    take_in(sc, rules, BY_FILE, "the policy file");
}

/* ---- life -------------------------------------------------------------- */

int versioning_start(struct sidecar *sc, struct error *err)
{
    (void)err;
    struct versioning *v = calloc(1, sizeof *v);
    int rc = v == NULL ? ERR_NOMEM : versions_new(&v->list, &sc->budget);
    if (rc < 0) {
        free(v);
        return rc;
    }
    v->sc = sc;
    uv_timer_init(&sc->loop, &v->timer);
    sc->versioning = v;
    return 0;
}

void versioning_stop(struct sidecar *sc)
{
    if (sc->versioning != NULL)
        uv_close((uv_handle_t *)&sc->versioning->timer, NULL);
}

void versioning_release(struct sidecar *sc)
{
    if (sc->versioning == NULL)
        return;
    versions_free(sc->versioning->list);
    free(sc->versioning);
    sc->versioning = NULL;
}
