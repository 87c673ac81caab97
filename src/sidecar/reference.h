/*
 * reference: what the sidecar answers, without running it: its ports, pages, limits and metrics.
 *
 * README.md of this folder is what reference_write() prints; tests/lint holds it current.
 *
 * Blocking: never.
 */
#pragma once

#include "util/buf.h"

/* A line for each metric: name, type, meaning. */
void reference_metrics(struct buf *out);

/* A line for each limit: name, value, unit or setting, what happens beyond it, what counts it;
 * tabs between. */
void reference_limits(struct buf *out);

/* All of it, as Markdown. */
void reference_write(struct buf *out);
