/*
 * policy_rows: versions of policies in the database.
 *
 * Versions of a service only rise. One of them is active or none is; what stands behind it is
 * history, what stands before it a draft. Of each service POLICY_VERSIONS_MAX are kept.
 *
 * Blocking   the database.
 */
#pragma once

#include "server/api.h"

#define POLICY_VERSIONS_MAX 1000

struct policy_row {
    int64_t id, version, created_ms;
    bool is_active;
    struct buf document;
    struct json_doc *doc;
    struct json_node root; /* of the document */
};

void policy_row_done(struct policy_row *p);

/* One version, or with 0 the active one. ERR_EMPTY: there is none; it is empty then. */
MUST_CHECK int policy_row_read(struct policy_row *out, struct store *s, int64_t service,
                               int64_t version);

/* A new version, of c's team and key. `root`: the document. It is active at once, or a draft.
 * Fills c->change and, where it is active, c->after. `action` is for the audit log. */
MUST_CHECK int policy_row_add(struct call *c, struct store *s, int64_t service,
                              struct json_node root, const char *by, bool is_active,
                              const char *action);

/* A draft becomes active. */
MUST_CHECK int policy_row_activate(struct call *c, struct store *s, int64_t service,
                                   const struct policy_row *draft);

/* {"id", "version", "is_active", "created_at"} as members. */
void policy_row_write(struct json *j, const struct policy_row *p);

/* What a policy would do to the records of the last day, as a member: records and bytes that are
 * kept now and then. */
MUST_CHECK int policy_rows_estimate(struct json *j, struct call *c, struct store *s,
                                    int64_t service, const struct rules *rules);
