/*
 * asset: a file that is part of the program: who makes the table (src/web/) and who serves it
 * (net/page) share this.
 */
#pragma once

#include "util/span.h"

struct asset {
    const char *path, *content_type;
    const char *etag; /* with its quotes: of the bytes, so another program has another one */
    struct span bytes;
};
