/*
 * reference: what the sidecar answers, without running it: its ports, pages and metrics.
 *
 * README.md of this folder is what reference_write() prints; tests/lint holds it current.
 *
 * Blocking: never.
 */
#pragma once

#include "util/buf.h"

/* A line for each metric: name, type, meaning. */
void reference_metrics(struct buf *out);

/* All of it, as Markdown. */
void reference_write(struct buf *out);
