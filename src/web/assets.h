/*
 * assets: the page that people keep open, compiled in. The table is made by assets.py from the
 * files beside it; the first of it is the document itself.
 */
#pragma once

#include <stddef.h>

#include "util/asset.h"

extern const struct asset web_assets[];
extern const size_t web_asset_count;
