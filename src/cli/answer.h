/*
 * answer: what verbs do with an answer of the admin page that is one JSON object.
 *
 * Blocking: until the answer is there.
 */
#pragma once

#include "cli/admin.h"
#include "otlp/json_doc.h"
#include "util/buf.h"

/* Ask (POST where the body's base is not NULL) and let `say` print the answer; NULL: print it as it
 * came. 0, or the exit code. */
int answer_ask(const struct config *cfg, const char *admin, struct span target, struct span body,
               void (*say)(struct json_node root));

/* All of a file, or of standard input where it is "-". 0, or the exit code. */
int answer_read_file(struct buf *out, const char *path);

/* The name of a service, as all views have it. */
void answer_append_name(struct buf *out, struct span name);
