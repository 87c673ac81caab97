/* assets: files that are part of the program: migrations, the OpenAPI document. */
#pragma once

#include "util/span.h"

struct asset {
    const char *name; /* "sqlite/0001.sql"; NULL: the end */
    struct span text;
};

/* In the order of their names; made by embed.py. */
extern const struct asset server_assets[];

/* The text of one that is there. */
struct span asset_text(const char *name);
