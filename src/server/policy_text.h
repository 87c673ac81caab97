/*
 * policy_text: policy documents as they are sent in and as they are handed out.
 *
 * What is sent is read strictly (policy/document.h): unknown members, rates of errors below 1 and
 * numbers that are no rates are refused, because its writer reads why. What is handed out
 * is encoded once, with its version, in the fields of older servers.
 */
#pragma once

#include "otlp/json_doc.h"
#include "pipeline/rules.h"
#include "util/buf.h"
#include "util/err.h"

/* Who made it. */
#define POLICY_BY_PERSON "manual"
#define POLICY_BY_PROPOSAL "rule-based"
#define POLICY_BY_MODEL "model" /* which chose among what the proposal had */

/* ERR_MALFORMED with a sentence. The caller owns *out. */
MUST_CHECK int policy_text_read(struct rules **out, struct span text, struct error *err);

/* The document `root`, which was read, as version `version`; `by` where it does not say who made
 * it. */
void policy_text_write(struct buf *out, struct json_node root, int64_t version, const char *by);

/* What differs, as an array of {path, from, to}. */
void policy_text_diff(struct buf *out, struct json_node from, struct json_node to);
