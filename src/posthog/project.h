/*
 * project: which project the ingestion key belongs to, and what the personal API key may do there.
 *
 * Ingestion never says that a key is wrong: it answers 200 and throws the records away. The app
 * says it, because the projects that it lists carry their keys. Asked are the personal key's own
 * entry (its scopes, and the projects that it is limited to), then the project that is configured,
 * or those it is limited to, or all.
 *
 * Blocking: never. project_find() is asked once at a time for each struct project.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "posthog/client.h"
#include "posthog/fault.h"

#define PROJECT_NAME_BYTES 128
#define PROJECT_SCOPES_BYTES 2048
#define PROJECT_TEAMS_MAX 64 /* that a key is limited to */
#define PROJECT_LISTED_MAX 2000
#define PROJECT_TOKEN_BYTES 128

enum project_outcome {
    PROJECT_UNASKED,  /* `fault` says why */
    PROJECT_FOUND,    /* the ingestion key is this project's */
    PROJECT_OTHERS,   /* there is such a project; the ingestion key is another's */
    PROJECT_UNKNOWN,  /* the ingestion key is none of those that were listed */
    PROJECT_UNPROVED, /* configured, and its key could not be seen or is not to be compared */
};

struct project {
    struct app *app;
    char token[PROJECT_TOKEN_BYTES]; /* ingestion key; "": none is used */
    uint32_t wanted;                 /* configured; APP_ID_NONE: none */
    void *ctx;
    void (*done)(void *ctx, const struct project *p);

    struct app_call *call; /* under way, or NULL */
    char path[64];
    uint32_t team_at, team_count, teams[PROJECT_TEAMS_MAX];
    uint32_t offset,
        last_first; /* of the list: where we are, and the id that began the last page */

    enum project_outcome outcome;
    struct app_verdict fault; /* of what failed; APP_FINE: nothing did */
    uint32_t id;              /* of PROJECT_FOUND, PROJECT_OTHERS */
    uint32_t right_id;        /* PROJECT_OTHERS: whose the ingestion key is, where that was seen */
    uint32_t listed;          /* projects whose keys were compared */
    char name[PROJECT_NAME_BYTES];
    bool knows_scopes;
    char scopes[PROJECT_SCOPES_BYTES]; /* " logs:read query:read " or " * " */
};

/* Begin. `wanted` and `token` are set from the arguments; the app is given the project's number
 * when it is found. done() is called once, never from inside, unless project_stop() is. */
MUST_CHECK int project_find(struct project *p, struct app *app, const char *token, uint32_t wanted,
                            void (*done)(void *ctx, const struct project *p), void *ctx);
void project_stop(struct project *p);

/* May the key do this? True where its scopes are not known. A key that may write may read. */
bool project_may(const struct project *p, const char *scope);
