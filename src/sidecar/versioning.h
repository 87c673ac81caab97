/*
 * versioning: policies as versions (policy/versions.h): who made them, which is in force, and what
 * the counts of the last hours propose next.
 *
 * The configuration, the policy file, people (the admin page, `lipservice policy`) and proposals
 * make versions; the newest of them that was put in force is the policy of all services without one
 * from a policy server. A policy server's policies are its own versions and not in here.
 *
 * Blocking: never. A proposal over 16,384 patterns takes about 30 ms, once an hour.
 */
#pragma once

#include "policy/versions.h"
#include "util/buf.h"
#include "util/err.h"

struct sidecar;
struct rules;

MUST_CHECK int versioning_start(struct sidecar *sc, struct error *err);
void versioning_stop(struct sidecar *sc);
void versioning_release(struct sidecar *sc);

/* The common rules of the configuration are to be in force, unless a later version is; after a
 * start and each reload. */
void versioning_configured(struct sidecar *sc);

/* The policy file has given these. */
void versioning_file(struct sidecar *sc, const struct rules *rules);

struct versions *versioning_list(const struct sidecar *sc);

/* What can be done with versions; 0, or ERR_CONFIG, ERR_EMPTY (there is none of that number), ERR_*
 * with a sentence. */

/* *none: why there is no proposal; then *number is not written. */
MUST_CHECK int versioning_propose(struct sidecar *sc, const char *by, uint32_t *number,
                                  const char **none, struct error *err);
MUST_CHECK int versioning_draft(struct sidecar *sc, struct span document, const char *by,
                                const char *why, uint32_t *number, struct error *err);

/* In force, or only counted: asked for, or first because of `note`, which says why. */
MUST_CHECK int versioning_apply(struct sidecar *sc, uint32_t number, const char *by, bool shadow,
                                char note[VERSION_WHY_BYTES], struct error *err);
MUST_CHECK int versioning_rollback(struct sidecar *sc, uint32_t number, const char *by,
                                   uint32_t *made, struct error *err);

/* The rules of a version, on the configuration's keep, drop and first. The caller's. */
MUST_CHECK int versioning_rules(const struct sidecar *sc, const struct version *it,
                                struct rules **out, struct error *err);

/* ---- policies_page.c ---- */

MUST_CHECK int policies_write(void *ctx, struct span query, struct buf *out);
MUST_CHECK int policies_propose(void *ctx, struct span query, struct span body, struct buf *out);
MUST_CHECK int policies_apply(void *ctx, struct span query, struct span body, struct buf *out);
MUST_CHECK int policies_roll_back(void *ctx, struct span query, struct span body, struct buf *out);
MUST_CHECK int policies_draft(void *ctx, struct span query, struct span body, struct buf *out);
