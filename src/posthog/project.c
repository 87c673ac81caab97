/* project: one question after the other, each from the answer before. */
#include "posthog/project.h"

#include <stdio.h>
#include <string.h>

#define PAGE 100

typedef void step_fn(void *ctx, const struct app_answer *a);

static void ask_team(struct project *p);
static void ask_page(struct project *p);

static void finish(struct project *p, enum project_outcome outcome)
{
    p->call = NULL;
    p->outcome = outcome;
    if (outcome == PROJECT_FOUND || outcome == PROJECT_OTHERS || outcome == PROJECT_UNPROVED)
        app_set_project(p->app, p->id);
    p->done(p->ctx, p);
}

static void fail(struct project *p, const struct app_answer *a)
{
    app_verdict_copy(&p->fault, a);
    p->id = p->wanted;
    finish(p, p->wanted != APP_ID_NONE && (a->fault == APP_NO_SCOPE || a->fault == APP_FORBIDDEN)
                  ? PROJECT_UNPROVED
                  : PROJECT_UNASKED);
}

static int ask(struct project *p, step_fn *step)
{
    const struct app_request r = {.method = "GET", .path = p->path, .ctx = p, .done = step};
    int rc = app_send(p->app, &r, &p->call);
    if (rc < 0)
        p->call = NULL;
    return rc;
}

static void ask_or_fail(struct project *p, step_fn *step)
{
    static const struct app_answer full = {
        .fault = APP_NO_ROOM, .scope = "", .text = "too many requests wait", .remedy = "try again"};
    if (ask(p, step) < 0)
        fail(p, &full);
}

static uint32_t id_of(struct json_node project)
{
    uint64_t id = 0;
    return json_whole(json_get(project, "id"), &id) && id <= UINT32_MAX ? (uint32_t)id : 0;
}

static bool is_ours(const struct project *p, struct json_node project)
{
    return p->token[0] != '\0' &&
           span_eq(json_string(json_get(project, "api_token")), span_str(p->token));
}

static void take(struct project *p, struct json_node project)
{
    struct span name = json_string(json_get(project, "name"));
    p->id = id_of(project);
    snprintf(p->name, sizeof p->name, "%.*s", (int)name.len, (const char *)name.base);
}

/* ---- one project ------------------------------------------------------- */

static void on_wanted(void *ctx, const struct app_answer *a)
{
    struct project *p = ctx;
    if (a->fault != APP_FINE) {
        fail(p, a);
        return;
    }
    take(p, a->root);
    p->id = p->wanted;
    p->listed++;
    if (p->token[0] == '\0' || json_string(json_get(a->root, "api_token")).len == 0)
        finish(p, PROJECT_UNPROVED);
    else if (is_ours(p, a->root))
        finish(p, PROJECT_FOUND);
    else if (p->team_count > 0)
        ask_team(p);
    else
        ask_page(p);
}

/* Nothing was found where all was asked. */
static void end_of_search(struct project *p)
{
    if (p->wanted != APP_ID_NONE)
        p->id = p->wanted;
    finish(p, p->wanted != APP_ID_NONE ? PROJECT_OTHERS : PROJECT_UNKNOWN);
}

static void found(struct project *p, struct json_node project)
{
    if (p->wanted != APP_ID_NONE) { /* and it is another one */
        p->right_id = id_of(project);
        end_of_search(p);
        return;
    }
    take(p, project);
    finish(p, PROJECT_FOUND);
}

/* ---- those that the key is limited to ---------------------------------- */

static void on_team(void *ctx, const struct app_answer *a)
{
    struct project *p = ctx;
    p->listed += a->fault == APP_FINE;
    if (a->fault == APP_FINE && is_ours(p, a->root))
        found(p, a->root);
    else if (a->fault == APP_FINE || a->fault == APP_NOT_FOUND)
        ask_team(p);
    else
        fail(p, a);
}

static void ask_team(struct project *p)
{
    if (p->team_at == p->team_count) {
        end_of_search(p);
        return;
    }
    snprintf(p->path, sizeof p->path, "/api/projects/%u/", p->teams[p->team_at++]);
    ask_or_fail(p, on_team);
}

/* ---- all --------------------------------------------------------------- */

static void on_page(void *ctx, const struct app_answer *a)
{
    struct project *p = ctx;
    if (a->fault != APP_FINE && p->wanted != APP_ID_NONE) {
        end_of_search(p); /* what is configured was seen, and is not ours: this is known */
        return;
    }
    if (a->fault != APP_FINE) {
        fail(p, a);
        return;
    }
    struct json_each each = json_each(json_get(a->root, "results"));
    uint32_t count = 0, first = 0;
    while (json_next(&each)) {
        first = count++ == 0 ? id_of(each.value) : first;
        p->listed++;
        if (is_ours(p, each.value)) {
            found(p, each.value);
            return;
        }
    }
    /* Without an ingestion key the only project there is is meant. */
    if (p->token[0] == '\0' && p->offset == 0 && count == 1) {
        each = json_each(json_get(a->root, "results"));
        if (json_next(&each))
            take(p, each.value);
        finish(p, PROJECT_UNPROVED);
        return;
    }
    bool is_repeated = p->offset > 0 && first == p->last_first;
    p->last_first = first;
    p->offset += PAGE;
    if (json_string(json_get(a->root, "next")).len > 0 && count > 0 && !is_repeated &&
        p->offset < PROJECT_LISTED_MAX)
        ask_page(p);
    else
        end_of_search(p);
}

static void ask_page(struct project *p)
{
    snprintf(p->path, sizeof p->path, "/api/projects/?limit=%d&offset=%u", PAGE, p->offset);
    ask_or_fail(p, on_page);
}

/* ---- the key itself ---------------------------------------------------- */

static void take_scopes(struct project *p, struct json_node scopes)
{
    struct json_each each = json_each(scopes);
    size_t n = (size_t)snprintf(p->scopes, sizeof p->scopes, " ");
    p->knows_scopes = json_kind(scopes) == JSON_ARRAY;
    while (json_next(&each)) {
        struct span s = json_string(each.value);
        if (s.len == 0 || n + s.len + 2 > sizeof p->scopes)
            continue;
        memcpy(p->scopes + n, s.base, s.len);
        n += s.len;
        p->scopes[n++] = ' ';
        p->scopes[n] = '\0';
    }
}

static void on_key(void *ctx, const struct app_answer *a)
{
    struct project *p = ctx;
    /* An older PostHog may not have the page: then each question tells by itself. */
    if (a->fault != APP_FINE && a->fault != APP_NOT_FOUND && a->fault != APP_FORBIDDEN) {
        p->wanted = APP_ID_NONE;
        fail(p, a);
        return;
    }
    struct json_each each = json_each(json_get(a->root, "scoped_teams"));
    uint64_t id;
    take_scopes(p, json_get(a->root, "scopes"));
    while (json_next(&each) && p->team_count < PROJECT_TEAMS_MAX)
        if (json_whole(each.value, &id) && id <= UINT32_MAX)
            p->teams[p->team_count++] = (uint32_t)id;
    if (p->wanted != APP_ID_NONE) {
        snprintf(p->path, sizeof p->path, "/api/projects/%u/", p->wanted);
        ask_or_fail(p, on_wanted);
    } else if (p->team_count > 0) {
        ask_team(p);
    } else {
        ask_page(p);
    }
}

int project_find(struct project *p, struct app *app, const char *token, uint32_t wanted,
                 void (*done)(void *ctx, const struct project *p), void *ctx)
{
    *p = (struct project){.app = app, .wanted = wanted, .done = done, .ctx = ctx};
    snprintf(p->token, sizeof p->token, "%s", token);
    snprintf(p->path, sizeof p->path, "/api/personal_api_keys/@current/");
    return ask(p, on_key);
}

void project_stop(struct project *p)
{
    if (p->call != NULL)
        app_cancel(p->call);
    p->call = NULL;
}

bool project_may(const struct project *p, const char *scope)
{
    char entry[APP_SCOPE_BYTES + 2];
    if (!p->knows_scopes || strstr(p->scopes, " * ") != NULL)
        return true;
    snprintf(entry, sizeof entry, " %s ", scope);
    if (strstr(p->scopes, entry) != NULL)
        return true;
    char *colon = strchr(entry, ':');
    if (colon == NULL || strcmp(colon, ":read ") != 0)
        return false;
    snprintf(colon, sizeof entry - (size_t)(colon - entry), ":write ");
    return strstr(p->scopes, entry) != NULL;
}
