/*
 * regex: a regular expression that a user wrote, in the syntax of RE2, matched by PCRE2.
 *
 * What needs unbounded backtracking to match is refused when the expression is read: look-around,
 * back references, possessive and atomic groups, conditions, recursion, verbs. So is what matches
 * the empty text, without REGEX_EMPTY. What is left is matched under a limit of steps, in windows,
 * so that the cost is linear in the text.
 *
 * regex_search() is for expressions whose anchors and groups count: it looks at the text as a
 * whole. Its steps are REGEX_SEARCH_STEPS in all, or REGEX_LEAST_STEPS from each byte where that is
 * more.
 *
 * Cost       a literal of two bytes or more that each match contains is looked for first. Without a
 *            hit nothing else is done. With JIT where the host allows it.
 * Memory     the code of one expression has at most some 64 KiB (PCRE2's own limit); the stack of
 *            JIT at most REGEX_STACK_BYTES.
 * Blocking   never. Not for two threads at once: matching uses memory of the expression.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "util/err.h"
#include "util/span.h"

#define REGEX_PATTERN_BYTES 511
#define REGEX_STACK_BYTES (256 << 10)
#define REGEX_WINDOW_BYTES 4096 /* a match of up to half of it is always found whole */
#define REGEX_STEPS 20000       /* from one start; PCRE2's "match limit" */

#define REGEX_SEARCH_STEPS (4u << 20)
#define REGEX_LEAST_STEPS 200 /* a usual expression needs fewer than ten from one start */

/* REGEX_EMPTY: it may match the empty text; for regex_search() only. */
enum { REGEX_CASELESS = 1, REGEX_DOTALL = 2, REGEX_EMPTY = 4 };

struct regex;

struct regex_match {
    size_t at, len;   /* of the group named `secret` where there is one, else of the whole match */
    bool is_given_up; /* the limit of steps was reached: at is where, len reaches to the end */
};

/* ERR_CONFIG with the reason and its place in *err, or ERR_NOMEM. */
MUST_CHECK int regex_new(struct regex **out, struct span pattern, unsigned flags,
                         struct error *err);
void regex_free(struct regex *re);

/* The first match that begins at or behind `from`. A match that reaches the end of a window in a
 * longer text counts to the end of the text. False: there is none. */
bool regex_next(struct regex *re, struct span text, size_t from, struct regex_match *m);

/* The first match that begins at or behind `from`, which may be the end of the text. 1 and the
 * whole match in *m, 0: there is none, or ERR_TOO_BIG: the limit of steps. */
MUST_CHECK int regex_search(struct regex *re, struct span text, size_t from, struct regex_match *m);

/* What a group matched in the last regex_search(), which returned 1 for this text. Empty where
 * there is no such group, or it took no part. Group 0 is the whole match. */
struct span regex_group(const struct regex *re, struct span text, unsigned number);
struct span regex_group_named(const struct regex *re, struct span text, struct span name);
