/*
 * assets: the pages that people keep open, compiled in: that of the sidecar, and that of the policy
 * server. The tables are made by assets.py from the files beside it; the first of each is the
 * document itself.
 */
#pragma once

#include <stddef.h>

#include "util/asset.h"

extern const struct asset web_assets[];
extern const size_t web_asset_count;

extern const struct asset web_server_assets[];
extern const size_t web_server_asset_count;
