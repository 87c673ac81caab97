/*
 * yaml_reader: one YAML document, parsed whole and then walked. References to the environment and
 * to files are expanded in scalars while they are read, so that a value never becomes structure.
 * Messages begin with "name:line:column: " of a node.
 *
 * Only config/yaml*.c include libyaml; its types are incomplete here.
 */
#pragma once

#include <stdbool.h>

#include "util/buf.h"
#include "util/err.h"

struct config;
struct yaml_document_s;
struct yaml_node_s;
struct yaml_node_pair_s;

struct yaml_reader {
    struct config *cfg;          /* what is set; NULL in config_visit_yaml() */
    struct yaml_document_s *doc; /* the caller's */
    const char *name;            /* of the file */
    char **env;
    struct buf value; /* the scalar that was read last, with a NUL; buf_done() frees it */
    struct error *err;
};

/* Fill *r->doc, which yaml_document_delete() frees. On failure there is nothing to free. */
MUST_CHECK int reader_parse(struct yaml_reader *r, struct span text);

/* Put the node's place and `text` into *r->err; returns ERR_CONFIG. */
MUST_CHECK int reader_fail(struct yaml_reader *r, const struct yaml_node_s *node, const char *text);

/* The text of a scalar with references expanded, in r->value until the next call; NULL: *r->err
 * is written. */
const char *reader_scalar(struct yaml_reader *r, const struct yaml_node_s *node);

/* An empty value, ~ or null. */
bool reader_is_null(const struct yaml_node_s *node);

/* The key of `pair` came before it in `map`. */
bool reader_is_duplicate(const struct yaml_reader *r, const struct yaml_node_s *map,
                         const struct yaml_node_pair_s *pair);

/* From yaml_rules.c: add the rules of a list to sampling.keep or sampling.drop. */
MUST_CHECK int reader_read_rules(struct yaml_reader *r, bool keep, const struct yaml_node_s *node);
