/*
 * value: how a setting's text becomes a C value and back.
 *
 * A parser reads `text` into the field at `at` (`size` bytes) and returns NULL,
 * or what it wanted to see, for the message. A printer writes the value as YAML.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "util/buf.h"

/* In double quotes and escaped, so that reading it as YAML gives the same text. */
void value_print_quoted(struct buf *out, const char *text);

struct value_kind {
    /* A value that one text sets. */
    const char *(*parse)(void *at, size_t size, const char *text);
    void (*print)(const void *at, struct buf *out);
    bool is_list; /* of words; text may be "[one, two]" */

    /* Or, in place of both, a map or a list (config/maps.h). Its field begins with eight bytes of 0
     * while it has no entries. print_entries() writes whole lines, NULL: its members are settings
     * of their own. set_entry: NULL for a list of rules. */
    int (*set_entry)(struct config *cfg, const char *key, const char *value, struct error *err);
    void (*print_entries)(const void *at, int indent, struct buf *out);
    bool is_inline; /* the field holds all of it, and may be copied */
};

/* The field's C type that goes with each kind; the option table refuses any other. */
typedef uint64_t bytes_field;
typedef uint32_t millis_field;
typedef uint32_t count_field;
typedef double ratio_field;
typedef config_text text_field;
typedef config_text secret_field;
typedef config_text words_field;
typedef enum coding coding_field;
typedef enum passthrough passthrough_field;
typedef enum diag_level level_field;
typedef enum level severity_field;
typedef bool mode_field;
typedef bool multiline_field;
typedef bool sandbox_field;
typedef bool role_field;
typedef bool policy_apply_field;
typedef bool relayed_field;
typedef bool budget_source_field;
typedef enum guard_mode guard_field;
typedef enum key_policy upstream_key_field;
typedef double amount_field;
typedef bool log_format_field;
typedef unsigned stamps_field;
typedef bool severity_from_field;
typedef struct peer_weights names_field;
typedef bool flag_field;
typedef double factor_field;
typedef bool durability_field;
typedef enum tls_version tls_version_field;
typedef bool when_full_field;
typedef bool model_format_field;
typedef enum journal_fsync fsync_field;
typedef enum redact_mode redact_mode_field;
typedef enum redact_action redact_action_field;
typedef uint64_t detectors_field;
typedef config_text keys_field;

extern const struct value_kind value_bytes, value_millis, value_count, value_ratio, value_text,
    value_secret, value_coding, value_passthrough, value_level, value_severity, value_mode,
    value_amount, value_log_format, value_stamps, value_severity_from, value_flag, value_factor,
    value_durability, value_when_full, value_model_format, value_fsync, value_multiline,
    value_upstream_key, value_names, value_redact_mode, value_redact_action, value_detectors,
    value_words, value_keys, value_sandbox, value_tls_version, value_role, value_relayed,
    value_budget_source, value_guard, value_policy_apply;
