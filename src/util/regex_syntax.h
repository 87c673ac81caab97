/*
 * regex_syntax: what of an expression's syntax is accepted, and a literal that each match contains.
 * Pure functions on the text of the expression.
 */
#pragma once

#include "util/err.h"
#include "util/span.h"

#define REGEX_LITERAL_BYTES 64

struct regex_literal {
    size_t len; /* 0: none was found */
    char text[REGEX_LITERAL_BYTES];
};

/* ERR_CONFIG with the reason and its place in *err. What PCRE2 refuses by itself is not looked for
 * here. */
MUST_CHECK int regex_syntax_check(struct span pattern, struct regex_literal *literal,
                                  struct error *err);
