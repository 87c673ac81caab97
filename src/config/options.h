/*
 * options: every setting is one row. The row is its key, its type, its default, its bounds, whether
 * a reload applies it, a line of help, and how it is printed. The file, the environment, --set,
 * print-config and the reference follow the rows; to add a setting is to add a row and the field
 * of struct config that it names.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "config/value.h"
#include "util/err.h"

struct option {
    const char *key; /* "batch.max_age"; LIPSERVICE_BATCH_MAX_AGE in the environment */
    const struct value_kind *kind;
    size_t offset, size;  /* of the field in struct config */
    const char *fallback; /* parsed like any other value; NULL: see MEMBERS in options.c */
    bool is_live;         /* applied by a reload; else from the next start on */
    const char *help;
    enum config_file file; /* what the program does with the file or directory of that name */

    /* Numbers only. `wanted` says what the bounds say; NULL: any number. */
    const char *least, *most; /* parsed like a value, included; NULL: unbounded */
    bool or_zero;             /* 0 is beyond the bounds and allowed */
    const char *wanted;

    /* Called when the setting was set, for what its value alone does not say; or NULL. */
    int (*check)(const struct config *cfg, const char *key, struct error *err);
};

/* In the order of print-config; ends with a NULL key. Rows with one beginning stand together. */
extern const struct option config_options[];

const struct option *option_find(const char *key);

/* `key` is the beginning of a setting's key, or a map. */
bool option_is_section(const char *key);

/* ERR_CONFIG: the first setting that is out of its bounds. */
MUST_CHECK int option_check_bounds(const struct config *cfg, struct error *err);
