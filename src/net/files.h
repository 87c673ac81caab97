/*
 * files: the files of a page for people (util/asset.h), as answers.
 *
 * They hold no data, and what they run in a browser is bound by a strict policy of content: nothing
 * from other hosts, no code in the markup, no frame around them. A browser asks each time whether
 * its copy is the present one, and gets 304 where it is.
 *
 * Blocking: never.
 */
#pragma once

#include "net/http.h"
#include "util/asset.h"

/* NULL: there is none at that path. */
const struct asset *files_find(const struct asset *assets, size_t count, struct span path);

/* Answer with the file and `status`; `more` is one more header, or NULL. Its bytes on their way are
 * drawn from the budget; 503 where that has no room. Returns the status that was sent. */
int files_answer(struct http_exchange *x, const struct asset *a, int status,
                 const struct http_header *more, struct budget *budget);
