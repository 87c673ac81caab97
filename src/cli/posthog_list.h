/*
 * posthog_list: what the sub-verbs that write to PostHog share: a list read whole, a plan printed
 * or carried out.
 */
#pragma once

#include "cli/posthog.h"
#include "posthog/sync.h"

#define POSTHOG_MODES_MAX 4

/* One of --print, --apply and so on has to be given: which, by its place in `modes`; "print" needs
 * no key, and asks for nothing. `extra`: one more option, or NULL. 0, or the exit code. */
int posthog_open_mode(struct posthog_session *s, int argc, char **argv, const char *const *modes,
                      const struct command_flag *extra, int *mode);

/* Show each item of a list. 0, or the exit code of what was printed; some may have been shown. */
int posthog_each(struct posthog_session *s, const char *path,
                 void (*item)(void *ctx, struct json_node item), void *ctx);

/* Compare the list at `path` with the plan. 0, or the exit code of what was printed. */
int posthog_compare(struct posthog_session *s, const char *path, struct sync *plan);

/* A line for each step. */
void posthog_print_plan(const struct sync *plan, bool is_done);

/* Carry it out, and stop at the first that fails. 0, or the exit code of what was printed. */
int posthog_carry_out(struct posthog_session *s, const char *path, struct sync *plan);

/* One request whose answer is not read. 0, or the exit code of what was printed. */
int posthog_write(struct posthog_session *s, const char *method, const char *path,
                  const struct buf *body);
