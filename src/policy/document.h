/*
 * document: a policy as the policy server writes it, as rules.
 *
 *     {"global_rate": 1.0, "severity_rates": {"DEBUG": 0.05, ..., "CRITICAL": 1},
 *      "pattern_rates": {"lps1:...": 0.01}, "anomaly_boost": 3.0, "version": 4, ...}
 *
 * Refused as a whole: rates that are not numbers from 0 to 1, unknown severities,
 * a document that is not an object. Rates of ERROR and CRITICAL below 1 are
 * raised to 1 and reported. Keys of pattern_rates that are no id of this algorithm
 * (older servers use MD5) are counted and left out: they can match nothing.
 * Members that are not known are ignored. keep, drop and first stay as `base`
 * has them: a server does not speak of them.
 */
#pragma once

#include "otlp/json_object.h"
#include "pipeline/rules.h"
#include "util/err.h"

#define POLICY_DOCUMENT_BYTES (1u << 20) /* rates for as many patterns as the table holds */

struct policy_notes {
    unsigned raised;       /* severities at or above ERROR that asked for less than 1 */
    unsigned foreign_keys; /* of pattern_rates */
};

/* ERR_MALFORMED with a sentence; *out then untouched. The caller owns *out. */
MUST_CHECK int policy_document_read(struct rules **out, struct json_object *json, struct span text,
                                    const struct rules *base, struct policy_notes *notes,
                                    struct error *err);

/* Shows the members of a document with one level of nesting, as
 * json_object_visit_nested() does, until fn fails; to fn's sentence it puts
 * name, line and column. Called on any thread. */
typedef int policy_visit_fn(const char *name, struct span text,
                            int (*fn)(void *arg, const struct json_member *m, struct error *err),
                            void *arg, struct error *err);

/* The same policy from a file, in the form that `visit` reads.
 * Strict, because the message will be read: unknown members, rates of errors
 * below 1, and ids that are neither ours nor MD5 are refused as well. */
MUST_CHECK int policy_document_read_file(struct rules **out, policy_visit_fn *visit,
                                         const char *name, struct span text,
                                         const struct rules *base, struct policy_notes *notes,
                                         struct error *err);
