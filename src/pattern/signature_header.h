/*
 * signature_header: what stands before the message of a raw line: time, host, tag, level,
 * thread, logger, as the runtimes of containers, syslog and loggers write them. The level
 * counts, the rest does not.
 */
#pragma once

#include <stddef.h>

#include "pattern/signature_line.h"
#include "util/span.h"

#define HEADER_MAX_BYTES 512 /* of each of up to three in a row */

/* Where the message of the line that is loaded begins; 0: it has no header. *level is written if
 * there is one. */
size_t header_split(const struct line *l, enum sign_level *level);

/* The level of PRI, of journald's PRIORITY: 0 to 7. */
enum sign_level syslog_level(unsigned severity);

/* That of a word in any case of letters; none: SIGN_LEVEL_NONE. */
enum sign_level word_level(const struct words *w, struct span word);
