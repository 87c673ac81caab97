/*
 * tero_read: the pieces of a policy's part for logs. What is wrong with a piece is noted in the
 * policy, which is then without effect, and is no failure: 0. Failures are of memory.
 */
#pragma once

#include "policy/tero_state.h"

/* Where we are: the policy, and the words before an error. */
struct tero_spot {
    struct tero *t;
    struct tero_policy *p;
    char words[64];
};

#define TERO_NOTE(at, fmt, ...) \
    tero_note((at)->t, (at)->p, "log: %s: " fmt, (at)->words, ##__VA_ARGS__)

/* How many bytes of a text stand in an error. */
int tero_shown(struct span s);

MUST_CHECK int tero_unknown(struct tero_spot *at, struct span key);
MUST_CHECK int tero_read_text(struct tero_spot *at, const char *name, struct json_node value,
                              struct span *out);
MUST_CHECK int tero_read_bool(struct tero_spot *at, const char *name, struct json_node value,
                              bool *out);
MUST_CHECK int tero_compile(struct tero_spot *at, struct span pattern, unsigned flags,
                            struct regex **out);

/* A member that says which field is meant, its name behind `before`: 1; 0: it is another one. */
MUST_CHECK int tero_read_field(struct tero_spot *at, const char *before,
                               const struct json_each *each, struct tero_field *out, bool *is_set);

/* {"int_value": 1} and the like, or the value alone. */
MUST_CHECK int tero_read_value(struct tero_spot *at, struct json_node value, struct log_value *out);
