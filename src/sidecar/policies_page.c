/* policies_page: the versions of the policy, what one of them changes, and what can be done. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "otlp/json_doc.h"
#include "pattern/signature.h"
#include "policy/document_write.h"
#include "policy/plan.h"
#include "policy/proposal.h"
#include "sidecar/asking.h"
#include "sidecar/posthog.h"
#include "sidecar/sidecar_state.h"
#include "sidecar/versioning.h"
#include "util/json.h"
#include "util/unicode.h"

#define ROWS_MAX 200 /* changes that are listed, the largest */

static int refuse(struct buf *out, int rc, const struct error *err)
{
    int status = rc == ERR_EMPTY ? 404 : rc == ERR_CONFIG || rc == ERR_TOO_BIG ? 422 : 503;
    return sidecar_refuse(out, status, err->text[0] != '\0' ? err->text : err_text(rc));
}

static void write_version(struct json *j, const struct sidecar *sc, const struct version *it)
{
    const struct money_terms terms = posthog_terms(sc);
    json_u64(j, "version", it->number);
    json_u64(j, "created_unix_s", it->created_unix_s);
    json_str(j, "by", it->by);
    json_str(j, "why", it->why);
    json_str(j, "state", version_state_name(it->state));
    json_begin(j, "saving");
    json_i64(j, "bytes_a_month", llround(it->saving_bytes));
    json_printf(j, "money_a_month", "%.6g", it->saving_money);
    json_str(j, "currency", sc->cfg->cost.currency);
    json_bool(j, "is_assumed", terms.is_assumed);
    json_end(j);
    json_u64(j, "changes", it->changes);
    json_u64(j, "base", it->base);
}

/* ---- the list ---------------------------------------------------------- */

static int write_list(struct sidecar *sc, struct buf *out)
{
    const struct versions *list = versioning_list(sc);
    const struct version *active = versions_in(list, VERSION_ACTIVE);
    struct json j = json_on(out);
    json_begin(&j, NULL);
    json_str(&j, "apply", sc->cfg->policy.applies ? "auto" : "propose");
    json_u64(&j, "active", active == NULL ? 0 : active->number);
    json_begin_list(&j, "versions");
    for (uint32_t i = 0; i < versions_count(list); i++) {
        json_begin(&j, NULL);
        write_version(&j, sc, versions_at(list, i));
        json_end(&j);
    }
    json_end_list(&j);
    json_end(&j);
    json_line(&j);
    return 200;
}

/* ---- one of them ------------------------------------------------------- */

struct row {
    uint32_t at;
    double now, then; /* own rates */
    double saved;     /* bytes of the span */
};

static int by_saved(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (fabs(x->saved) < fabs(y->saved) || fabs(x->saved) > fabs(y->saved))
        return fabs(x->saved) < fabs(y->saved) ? 1 : -1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static double own_rate(const struct rules *rules, const struct standing_facts *facts)
{
    return standing_of(rules, facts).own;
}

/* Two policies side by side: one of them is in force, or both are held against what is. */
struct pair {
    const struct rules *before, *after; /* bound to families */
    bool is_in_force;                   /* after is: the model's other side is `before` */
};

/* Patterns whose own rate differs, the most bytes first. NULL: no memory. */
static struct row *list_rows(struct asking *a, const struct pair *pair, size_t *count)
{
    size_t n = 0;
    struct row *rows = arena_alloc(&a->census.arena, (a->census.pattern_count + 1) * sizeof *rows);
    for (uint32_t i = 0; rows != NULL && i < a->census.pattern_count; i++) {
        const struct whatif_pattern *w = &a->list[i];
        double saved = w->bytes * (w->share_now - w->share_then);
        struct row r = {i, own_rate(pair->before, w->facts), own_rate(pair->after, w->facts),
                        pair->is_in_force ? -saved : saved};
        bool is_own = pipeline_has_own_rules(a->sc->pipeline, a->census.patterns[i].key.service);
        if (!is_own && (r.now < r.then || r.now > r.then))
            rows[n++] = r;
    }
    if (rows != NULL)
        qsort(rows, n, sizeof *rows, by_saved);
    *count = n < ROWS_MAX ? n : ROWS_MAX;
    return rows;
}

struct shown {
    const struct asking *asking;
    const struct row *rows;
    size_t count;
};

static bool is_shown(const void *ctx, const struct census_pattern *p)
{
    const struct shown *s = ctx;
    for (size_t i = 0; i < s->count; i++)
        if (s->asking->census.patterns[s->rows[i].at].number == p->number)
            return true;
    return false;
}

static const struct census_pattern *find_named(const struct census *named, uint32_t number)
{
    for (uint32_t i = 0; i < named->pattern_count; i++)
        if (named->patterns[i].number == number)
            return &named->patterns[i];
    return NULL;
}

/* The sentence of the proposal where it has this rate, else which setting it is. */
static void write_why(struct json *j, const struct asking *a, const struct rules *then,
                      const struct row *r)
{
    char text[STANDING_TEXT_BYTES];
    const struct whatif_pattern *w = &a->list[r->at];
    const struct proposal_pattern p = {
        .pattern = w->facts->family,
        .level = w->facts->level,
        .seen = (uint64_t)w->records,
        .records_per_hour = w->records / (a->known_s / 3600),
        .bytes = w->bytes,
        .rate_now = r->now,
    };
    struct proposal out;
    proposal_of(&out, &p);
    const struct standing s = standing_of(then, w->facts);
    bool is_of_proposal = fabs(out.rate - r->then) <= 0.01 * r->then;
    json_str(j, "why", is_of_proposal ? out.why : standing_say(text, then, w->facts, &s));
}

static void write_row(struct json *j, const struct asking *a, const struct census *named,
                      const struct census_pattern *p, const struct rules *then, const struct row *r)
{
    const struct whatif_pattern *w = &a->list[r->at];
    const struct plan_pattern plan = {
        .facts = w->facts, .rules = w->now, .status_class = p->key.status_class};
    const char *hard = plan_protection(&plan), *soft = plan_soft_protection(&plan);
    double month = GOVERNOR_MONTH_S / a->known_s * r->saved;
    const struct money_month before = asking_month(a, a->now.bytes);
    const struct money_month after = asking_month(a, fmax(a->now.bytes - r->saved, 0));
    json_begin(j, NULL);
    sidecar_write_pattern_name(j, named, p);
    json_printf(j, "rate_now", "%.6g", r->now);
    json_printf(j, "rate_proposed", "%.6g", r->then);
    json_i64(j, "bytes_a_month", llround(month));
    json_printf(j, "money_a_month", "%.6g", before.with - after.with);
    write_why(j, a, then, r);
    if (hard != NULL || soft != NULL)
        json_str(j, "protected_by", hard != NULL ? hard : soft);
    else
        json_null(j, "protected_by");
    json_end(j);
}

static void write_rows(struct json *j, struct asking *a, const struct pair *pair)
{
    struct census named = {0};
    struct shown shown = {.asking = a};
    const struct census_want want = {.services = true,
                                     .patterns = true,
                                     .templates = true,
                                     .is_wanted = is_shown,
                                     .ctx = &shown,
                                     .budget = j->out->budget};
    shown.rows = list_rows(a, pair, &shown.count);
    if (shown.rows == NULL || census_take(a->sc->pipeline, &want, &named) < 0)
        return;
    for (size_t i = 0; i < shown.count; i++) {
        const struct row *r = &shown.rows[i];
        const struct census_pattern *p = find_named(&named, a->census.patterns[r->at].number);
        if (p != NULL)
            write_row(j, a, &named, p, pair->after, r);
    }
    census_done(&named);
}

/* What a version changes of what was in force before it, while it is in force; else of what is.
 * Without a history or memory there are no rows. */
static void write_changes(struct json *j, struct sidecar *sc, const struct version *it,
                          const struct rules *rules)
{
    struct asking a;
    struct rules *before = NULL, *bound = NULL, *bound_before = NULL;
    const struct governor_target target = sidecar_target(sc);
    const struct version *base = versions_find(versioning_list(sc), it->base);
    bool is_in_force = it->state == VERSION_ACTIVE;
    if (is_in_force && base != NULL && versioning_rules(sc, base, &before, NULL) < 0)
        before = NULL;
    if (before == NULL)
        before = rules_ref(pipeline_rules(sc->pipeline, LEDGER_OTHER));
    json_begin_list(j, "changes");
    if (asking_open(&a, sc, SERIES_DAY, is_in_force ? before : rules, &target, j->out->budget) ==
        0) {
        if (pipeline_bind(sc->pipeline, rules, &bound) == 0 &&
            pipeline_bind(sc->pipeline, before, &bound_before) == 0)
            write_rows(j, &a, &(struct pair){bound_before, bound, is_in_force});
        asking_done(&a);
    }
    json_end_list(j);
    rules_unref(bound);
    rules_unref(bound_before);
    rules_unref(before);
}

static bool read_number(struct span query, const char *name, uint32_t *out)
{
    char text[12], *end;
    if (page_query_text(query, name, text, sizeof text) < 0 || text[0] < '0' || text[0] > '9')
        return false;
    unsigned long n = strtoul(text, &end, 10);
    *out = (uint32_t)n;
    return *end == '\0' && n <= UINT32_MAX;
}

/* The member "diff", against version `with`, or what is in force. */
static int write_diff(struct json *j, struct sidecar *sc, const struct rules *rules,
                      struct span query, struct error *err)
{
    struct rules *other = NULL;
    struct buf diff = {.budget = &sc->page_memory};
    uint32_t with = 0;
    int rc = 0;
    if (read_number(query, "with", &with)) {
        const struct version *it = versions_find(versioning_list(sc), with);
        rc = it == NULL ? err_set(err, ERR_EMPTY, "there is no version %u", with)
                        : versioning_rules(sc, it, &other, err);
    }
    if (rc == 0)
        rc = policy_document_diff(
            &diff, other != NULL ? other : pipeline_rules(sc->pipeline, LEDGER_OTHER), rules);
    if (rc == 0)
        json_text(j, "diff", buf_span(&diff));
    buf_done(&diff);
    rules_unref(other);
    return rc;
}

static int write_one(struct sidecar *sc, struct span query, struct buf *out)
{
    struct json j = json_on(out);
    struct error err = {{0}};
    struct rules *rules;
    uint32_t number;
    if (!read_number(query, "version", &number))
        return sidecar_refuse(out, 400, "version is a number");
    const struct version *it = versions_find(versioning_list(sc), number);
    int rc = it == NULL ? err_set(&err, ERR_EMPTY, "there is no version %u", number)
                        : versioning_rules(sc, it, &rules, &err);
    if (rc < 0)
        return refuse(out, rc, &err);
    struct span as = page_query(query, "as");
    json_begin(&j, NULL);
    write_version(&j, sc, it);
    json_text(&j, "document", it->document);
    if (span_eq(as, SPAN("diff")))
        rc = write_diff(&j, sc, rules, query, &err);
    if (rc == 0 && as.len == 0) {
        write_changes(&j, sc, it, rules);
    }
    json_end(&j);
    json_line(&j);
    rules_unref(rules);
    return rc < 0 ? refuse(out, rc, &err) : 200;
}

int policies_write(void *ctx, struct span query, struct buf *out)
{
    return page_query(query, "version").len > 0 ? write_one(ctx, query, out) : write_list(ctx, out);
}

/* ---- what can be done -------------------------------------------------- */

/* A question that is a JSON object, read. */
struct wish {
    struct json_doc *doc;
    struct json_node root;
    char by[VERSION_BY_BYTES], why[VERSION_WHY_BYTES];
    uint32_t version;
};

static void copy_text(char *out, size_t size, struct span text)
{
    struct span cut = utf8_cut(text, size - 1);
    if (cut.len > 0)
        memcpy(out, cut.base, cut.len);
    out[cut.len] = '\0';
}

/* 0, or the status of a refusal. */
static int wish_open(struct wish *w, struct span body, bool has_version, struct buf *out)
{
    static const char *const ours[] = {"config", "file", "auto"};
    uint64_t version = 0;
    *w = (struct wish){.doc = NULL};
    const char *wrong = NULL;
    if (json_doc_new(&w->doc, body, out->budget, &w->root) < 0 || json_kind(w->root) != JSON_OBJECT)
        wrong = "a JSON object is wanted here";
    else if (has_version && (!json_whole(json_get(w->root, "version"), &version) || version == 0 ||
                             version > UINT32_MAX))
        wrong = "version is a number";
    if (wrong == NULL) {
        copy_text(w->by, sizeof w->by, json_string(json_get(w->root, "by")));
        copy_text(w->why, sizeof w->why, json_string(json_get(w->root, "why")));
        w->version = (uint32_t)version;
    }
    if (wrong == NULL && w->by[0] == '\0')
        memcpy(w->by, "admin", 6);
    for (size_t i = 0; i < ARRAY_LEN(ours) && wrong == NULL; i++)
        if (strcmp(w->by, ours[i]) == 0)
            wrong = "config, file and auto are not names of people";
    if (wrong == NULL)
        return 0;
    json_doc_free(w->doc);
    return sidecar_refuse(out, 400, wrong);
}

static int answer_version(struct sidecar *sc, uint32_t number, const char *note, struct buf *out)
{
    const struct version *it = versions_find(versioning_list(sc), number);
    struct json j = json_on(out);
    json_begin(&j, NULL);
    if (it != NULL)
        write_version(&j, sc, it);
    if (note != NULL && note[0] != '\0')
        json_str(&j, "note", note);
    json_end(&j);
    json_line(&j);
    return 200;
}

int policies_propose(void *ctx, struct span query, struct span body, struct buf *out)
{
    struct wish w;
    struct error err = {{0}};
    const char *none;
    uint32_t number = 0;
    (void)query;
    int status = wish_open(&w, body.len > 0 ? body : SPAN("{}"), false, out);
    if (status != 0)
        return status;
    int rc = versioning_propose(ctx, "auto", &number, &none, &err);
    json_doc_free(w.doc);
    if (rc < 0)
        return refuse(out, rc, &err);
    if (none == NULL)
        return answer_version(ctx, number, NULL, out);
    struct json j = json_on(out);
    json_begin(&j, NULL);
    json_str(&j, "none", none);
    json_end(&j);
    json_line(&j);
    return 200;
}

int policies_apply(void *ctx, struct span query, struct span body, struct buf *out)
{
    struct wish w;
    struct error err = {{0}};
    char note[VERSION_WHY_BYTES];
    (void)query;
    int status = wish_open(&w, body, true, out);
    if (status != 0)
        return status;
    bool shadow = json_is_true(json_get(w.root, "shadow"));
    int rc = versioning_apply(ctx, w.version, w.by, shadow, note, &err);
    json_doc_free(w.doc);
    return rc < 0 ? refuse(out, rc, &err) : answer_version(ctx, w.version, note, out);
}

int policies_roll_back(void *ctx, struct span query, struct span body, struct buf *out)
{
    struct wish w;
    struct error err = {{0}};
    uint32_t made = 0;
    (void)query;
    int status = wish_open(&w, body, true, out);
    if (status != 0)
        return status;
    int rc = versioning_rollback(ctx, w.version, w.by, &made, &err);
    json_doc_free(w.doc);
    return rc < 0 ? refuse(out, rc, &err) : answer_version(ctx, made, NULL, out);
}

int policies_draft(void *ctx, struct span query, struct span body, struct buf *out)
{
    struct wish w;
    struct error err = {{0}};
    uint32_t number = 0;
    (void)query;
    int status = wish_open(&w, body, false, out);
    if (status != 0)
        return status;
    struct span document = json_string(json_get(w.root, "document"));
    int rc = document.base == NULL ? err_set(&err, ERR_CONFIG, "document is the text of a policy")
                                   : versioning_draft(ctx, document, w.by, w.why, &number, &err);
    json_doc_free(w.doc);
    return rc < 0 ? refuse(out, rc, &err) : answer_version(ctx, number, NULL, out);
}
