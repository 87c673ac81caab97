/* guarded: a table of lists; what of an item says which records it selects. */
#include "posthog/guarded.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "posthog/guarded_saved.h"
#include "posthog/ours.h"

static const char weight[] = "otel.logs.adjusted_count";

/* ---- findings ---------------------------------------------------------- */

static struct guarded_finding *find(struct guarded *g, struct span name)
{
    if (g->found == GUARDED_FINDINGS_MAX) {
        g->more++;
        return NULL;
    }
    struct guarded_finding *f = &g->findings[g->found++];
    *f = (struct guarded_finding){.kind = g->at};
    int shown = name.len < GUARD_NAME_BYTES ? (int)name.len : GUARD_NAME_BYTES;
    snprintf(f->name, sizeof f->name, "%.*s", shown, shown > 0 ? (const char *)name.base : "");
    return f;
}

static void note(struct guarded *g, struct span name, bool is_guarded, bool is_fine,
                 const char *why)
{
    struct guarded_finding *f = find(g, name);
    if (f == NULL)
        return;
    f->is_guarded = is_guarded;
    f->is_fine = is_fine;
    snprintf(f->why, sizeof f->why, "%s", why);
}

/* ---- items ------------------------------------------------------------- */

static bool has_word(struct span text, const char *word)
{
    return text.len > 0 && memmem(text.base, text.len, word, strlen(word)) != NULL;
}

/* FROM logs, or JOIN logs: in any case of letters, and not a longer name. */
static bool reads_logs(struct span sql)
{
    static const char *const words[] = {"from", "join"};
    for (size_t at = 0; at + 4 < sql.len; at++) {
        struct span s = span_skip(sql, at);
        bool is_word = false;
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
            is_word |= span_ieq(span_of(s.base, 4), span_str(words[i]));
        s = span_skip(s, 4);
        if (!is_word || !isspace(s.base[0]))
            continue;
        while (s.len > 0 && isspace(s.base[0]))
            s = span_skip(s, 1);
        if (s.len >= 4 && span_ieq(span_of(s.base, 4), SPAN("logs")) &&
            (s.len == 4 || (!isalnum(s.base[4]) && s.base[4] != '_')))
            return true;
    }
    return false;
}

/* Made into a filter, or not of this kind at all (false). Sums of weights need no guard: *why. */
static bool select_alert(struct guarded *g, struct json_node item, struct selection *out,
                         const char **why)
{
    (void)why;
    if (!json_is_true(json_get(item, "enabled")))
        return false;
    g->rc = selection_of_filters(out, json_get(item, "filters"));
    return true;
}

static bool select_metric(struct guarded *g, struct json_node item, struct selection *out,
                          const char **why)
{
    if (!json_is_true(json_get(item, "enabled")))
        return false;
    struct span value = json_string(json_get(item, "value_attribute"));
    if (has_word(value, weight) && g->has_weights)
        *why = "it sums adjusted counts";
    else
        g->rc = selection_of_group(out, json_get(item, "filter_group"));
    return true;
}

static bool select_view(struct guarded *g, struct json_node item, struct selection *out,
                        const char **why)
{
    (void)why;
    g->rc = selection_of_filters(out, json_get(item, "filters"));
    return true;
}

static bool select_insight(struct guarded *g, struct json_node item, struct selection *out,
                           const char **why)
{
    struct json_node query = json_get(item, "query"), source = json_get(query, "source");
    if (json_kind(source) == JSON_OBJECT)
        query = source;
    struct span kind = json_string(json_get(query, "kind"));
    struct span sql = json_string(json_get(query, "query"));
    if (span_eq(kind, SPAN("LogsQuery"))) {
        g->rc = selection_of_filters(out, query);
        return true;
    }
    if (!span_eq(kind, SPAN("HogQLQuery")) || !reads_logs(sql))
        return false;
    if (has_word(sql, weight))
        *why = "it reads adjusted counts";
    else
        g->rc = selection_of_sql(out, sql);
    return true;
}

static const struct list {
    const char *path, *id;
    bool (*select)(struct guarded *g, struct json_node item, struct selection *out,
                   const char **why);
} lists[] = {
    [GUARD_ALERT] = {"logs/alerts/", "id", select_alert},
    [GUARD_METRIC] = {"logs/metric_rules/", "id", select_metric},
    [GUARD_VIEW] = {"logs/views/", "short_id", select_view},
    [GUARD_INSIGHT] = {"insights/", "short_id", select_insight},
};

static void guard_it(struct guarded *g, const struct guard_item *item, struct selection *s)
{
    if (s->is_all) {
        filter_free(s->filter);
        note(g, item->name, false, false, "it counts all logs: to guard it would keep everything");
        return;
    }
    bool tells_apart = s->unsaid == 0 || filter_tells_apart(s->filter);
    if (!tells_apart) {
        filter_free(s->filter);
        char why[SELECTION_WHY_BYTES];
        snprintf(why, sizeof why, "%.100s cannot be translated, and nothing else is left", s->why);
        note(g, item->name, false, false, why);
        return;
    }
    int rc = guard_add(g->guard, item, s->filter);
    if (rc == ERR_NOMEM)
        g->rc = rc;
    else if (rc < 0)
        note(g, item->name, false, false, "there are too many");
    else
        note(g, item->name, true, s->unsaid == 0, s->why);
}

void guarded_item(struct guarded *g, struct json_node item)
{
    char id[LISTING_ID_BYTES];
    const char *why = NULL;
    struct selection s = {.filter = NULL};
    const struct list *list = &lists[g->at];
    struct guard_item it = {.kind = g->at, .threshold = -1};
    if (g->rc < 0 || posthog_is_ours(item) || json_is_true(json_get(item, "deleted")) ||
        !list->select(g, item, &s, &why))
        return;
    it.id = span_str(listing_id(item, list->id, id));
    it.name = json_string(json_get(item, "name"));
    if (it.name.len == 0)
        it.name = it.id;
    (void)json_number(json_get(item, "threshold_count"), &it.threshold);
    it.is_below = span_eq(json_string(json_get(item, "threshold_operator")), SPAN("below"));
    it.is_partial = s.unsaid > 0;
    if (g->rc == ERR_TOO_BIG) {
        g->rc = 0;
        note(g, it.name, false, false, "its filter is too large");
    } else if (g->rc == 0 && why != NULL) {
        note(g, it.name, false, true, why);
    } else if (g->rc == 0) {
        unsigned before = guard_count(g->guard);
        guard_it(g, &it, &s);
        if (g->saved != NULL && guard_count(g->guard) > before)
            guarded_save(g->saved, g->at, item);
    }
}

/* ---- lists ------------------------------------------------------------- */

static int read_list(struct guarded *g);

static void on_item(void *ctx, struct json_node item)
{
    guarded_item(ctx, item);
}

static void end(struct guarded *g, const struct app_verdict *v)
{
    struct app_verdict none = {.fault = APP_NO_ROOM, .text = "there is no memory for the guard"};
    if (g->rc < 0)
        v = &none;
    if (v->fault != APP_FINE) {
        guard_unref(g->guard);
        g->guard = NULL;
    }
    g->done(g->ctx, g, v);
}

static void on_list(void *ctx, const struct app_verdict *v)
{
    struct guarded *g = ctx;
    bool is_absent =
        v->fault == APP_NO_SCOPE || v->fault == APP_FORBIDDEN || v->fault == APP_NOT_FOUND;
    if (is_absent) {
        char why[SELECTION_WHY_BYTES];
        snprintf(why, sizeof why, "%.150s", v->text);
        note(g, SPAN(""), false, false, why);
        if (g->found > 0)
            g->findings[g->found - 1].is_list = true;
    }
    if ((v->fault != APP_FINE && !is_absent) || g->rc < 0 || ++g->at == GUARD_KIND_COUNT) {
        const struct app_verdict fine = {.fault = APP_FINE};
        end(g, is_absent ? &fine : v);
        return;
    }
    if (read_list(g) < 0)
        end(g, &(const struct app_verdict){.fault = APP_NO_ROOM, .text = "too many requests wait"});
}

static int read_list(struct guarded *g)
{
    return listing_begin(&g->listing, g->app, lists[g->at].path, on_item, on_list, g);
}

int guarded_begin(struct guarded *g, struct app *app, bool keeps, bool has_weights,
                  void (*done)(void *ctx, struct guarded *g, const struct app_verdict *v),
                  void *ctx)
{
    *g = (struct guarded){
        .app = app, .keeps = keeps, .has_weights = has_weights, .ctx = ctx, .done = done};
    int rc = guard_new(&g->guard, keeps);
    if (rc == 0)
        rc = read_list(g);
    if (rc < 0) {
        guard_unref(g->guard);
        g->guard = NULL;
    }
    return rc;
}

void guarded_stop(struct guarded *g)
{
    listing_stop(&g->listing);
    guard_unref(g->guard);
    g->guard = NULL;
}
