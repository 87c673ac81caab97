/*
 * expose: Prometheus' text format, version 0.0.4.
 * (prometheus.io/docs/instrumenting/exposition_formats)
 *
 * The caller says each family once and then its samples; a label's value may
 * be anything and is escaped.
 */
#pragma once

#include <stdint.h>

#include "util/buf.h"

enum expose_type { EXPOSE_COUNTER, EXPOSE_GAUGE };

const char *expose_type_name(enum expose_type type);

/* HELP and TYPE. Counter names end in _total. */
void expose_family(struct buf *out, const char *name, enum expose_type type, const char *help);

/* One sample with any labels. */
struct expose_label {
    const char *name;
    struct span value;
};
void expose_sample(struct buf *out, const char *name, const struct expose_label *labels,
                   size_t label_count, double value);
