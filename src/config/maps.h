/*
 * maps: settings with entries: rates by severity and by pattern, headers, and the lists of keep
 * and drop rules. An entry that is set later replaces the one of its key; rules add up.
 */
#pragma once

#include "config/config.h"
#include "config/value.h"
#include "util/err.h"

typedef double severity_rates_field[LEVEL_COUNT];
typedef struct config_note *pattern_rates_field;
typedef const char *headers_field[CONFIG_HEADERS_MAX + 1];
typedef struct redact_pattern redact_patterns_field[REDACT_PATTERNS_MAX + 1];
typedef struct config_note *keep_field;
typedef struct config_note *drop_field;

extern const struct value_kind value_severity_rates, value_pattern_rates, value_headers, value_keep,
    value_drop, value_redact_patterns;

/* Note the path of a ${file:PATH}, once. */
MUST_CHECK int config_note_reference(struct config *cfg, const char *path);

/* Add a rule to sampling.keep or sampling.drop; `yaml` is the line that print-config prints. */
MUST_CHECK int config_add_rule(struct config *cfg, bool keep, const struct rules_matcher *m,
                               const char *yaml, struct error *err);
