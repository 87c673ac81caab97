/*
 * posthog: what the sub-verbs of `lipservice posthog` share: a loop of their own, PostHog's app
 * API on it, and the project. Each question is asked and waited for.
 *
 * Errors     exit codes; what fails is printed on standard error, with its remedy.
 * Blocking   until an answer is there.
 */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "cli/command.h"
#include "otlp/json_doc.h"
#include "posthog/client.h"
#include "posthog/fault.h"
#include "posthog/project.h"
#include "util/buf.h"

struct posthog_session {
    struct config cfg;
    uv_loop_t loop;
    struct app *app;
    struct project project;
    bool has_loop, has_config;
};

struct posthog_reply {
    struct app_verdict verdict;
    int status;
    struct json_node root;
    struct json_doc *doc; /* owned */
    bool is_there;
};

/* Read the options and the configuration, open the API. 0, or the exit code. A session whose
 * opening failed may be closed. */
int posthog_open(struct posthog_session *s, int argc, char **argv, const struct command_flag *flags,
                 size_t flag_count, int *first);
/* And find the project, or say why that cannot be. */
int posthog_open_project(struct posthog_session *s, int argc, char **argv,
                         const struct command_flag *flags, size_t flag_count, int *first);
void posthog_close(struct posthog_session *s);

/* Ask and wait; `path` as in struct app_request. `body`: JSON, or NULL. max_bytes 0: the usual.
 * What came is in *reply, also of a failure, until posthog_reply_done(). 0, or the exit code when
 * it is not APP_FINE, and then nothing is printed. */
int posthog_ask(struct posthog_session *s, const char *method, const char *path,
                const struct buf *body, size_t max_bytes, struct posthog_reply *reply);
void posthog_reply_done(struct posthog_reply *reply);

/* Run the loop until *is_over. */
void posthog_wait(struct posthog_session *s, const bool *is_over);

/* Print sentence and remedy. The exit code that goes with the fault. */
int posthog_die(const struct app_verdict *v);

/* ---- sub-verbs: each takes the words from its own name on ---------------- */

int posthog_check(int argc, char **argv);
int posthog_analyze(int argc, char **argv);
int posthog_verify(int argc, char **argv);
int posthog_rules(int argc, char **argv);
int posthog_dashboard(int argc, char **argv);
int posthog_alerts(int argc, char **argv);
