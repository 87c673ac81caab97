/*
 * term: text of others on a terminal: bounded in columns, and harmless.
 *
 * Control characters, escape sequences and marks that turn the writing direction are
 * shown as '?': a log line must not be able to move the cursor of who reads it.
 */
#pragma once

#include <stdbool.h>

#include "util/buf.h"

/* A service without a name, where people read: what /api/ pages give as "". */
#define TERM_UNNAMED "(unnamed)"

/* Append at most `columns` columns of UTF-8 text; what is cut ends in "…". Returns the
 * columns used. East Asian wide characters and pictures take two, combining ones none. */
unsigned term_add(struct buf *out, struct span text, unsigned columns);

/* The same, and blanks up to `columns`. */
void term_add_padded(struct buf *out, struct span text, unsigned columns);

/* Columns of the terminal; 0: it is none, or does not say. */
unsigned term_width(int fd);

/* Is it a terminal that may be coloured? (NO_COLOR; TERM=dumb) */
bool term_has_colour(int fd);
