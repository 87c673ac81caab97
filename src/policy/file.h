/*
 * file: the rates of all services from one file, swapped while running.
 *
 * Read at start, and again when its directory changes, every few seconds in case
 * no change was reported (network file systems), and when asked (SIGHUP). Replacing
 * the file by rename and Kubernetes' swap of the directory behind a symbolic link
 * are changes like others. A policy is put in force whole or not at all: whatever
 * is wrong with the file, the last good one stays, and one line says why.
 *
 * Units      milliseconds.
 * Blocking   policy_file_load() and policy_file_open() read the file; after that
 *            it is read and parsed on libuv's thread pool.
 */
#pragma once

#include <uv.h>

#include "pipeline/rules.h"
#include "policy/document.h"
#include "util/clock.h"
#include "util/err.h"
#include "util/metric.h"

#define POLICY_FILE_BYTES POLICY_DOCUMENT_BYTES
#define POLICY_FILE_POLL_MS 5000

/* Read a policy once. ERR_CONFIG and a sentence with file and line; *out then untouched. */
MUST_CHECK int policy_file_load(struct rules **out, const char *path, policy_visit_fn *visit,
                                const struct rules *base, struct policy_notes *notes,
                                struct error *err);

struct policy_file;

struct policy_file_opts {
    const char *path; /* copied */
    const struct clock *clock;
    uint32_t poll_ms;         /* 0: POLICY_FILE_POLL_MS */
    policy_visit_fn *visit;   /* thread-safe */
    const struct rules *base; /* keep, drop and first; kept by reference */
    /* Put a policy in force. The rules are the callee's to keep by reference. */
    void (*install)(void *ctx, const struct rules *rules);
    void *ctx;
};

struct policy_file_stats {
    struct metric installed;  /* the first load included */
    struct metric invalid;    /* the file is no policy */
    struct metric unreadable; /* there is no file, or it cannot be read */
    int64_t version;          /* of the policy in force */
    uint64_t installed_ms;    /* monotonic */
};

/* Load, install, watch. ERR_CONFIG: the file is not good, and nothing is left. */
MUST_CHECK int policy_file_open(struct policy_file **out, uv_loop_t *loop,
                                const struct policy_file_opts *opts, struct error *err);

/* Read it again, changed or not. `base`: another one from now on; NULL: the same. */
void policy_file_reload(struct policy_file *f, const struct rules *base);

/* Handles, and a read under way, end with the loop. Accepts NULL. */
void policy_file_close(struct policy_file *f);

const struct policy_file_stats *policy_file_stats(const struct policy_file *f);
