/* route: settings of TLS and proxy as net's struct route. */
#pragma once

#include "config/config.h"
#include "net/route.h"
#include "util/err.h"

/* The same route; its texts are borrowed from `from`. */
struct route config_route(const struct config_route *from);

/* Check the files that `from` names and fill *out, whose texts are borrowed from it. `prefix` is
 * the key of the settings, for messages. ERR_CONFIG. */
MUST_CHECK int config_open_route(struct route *out, const struct config_route *from,
                                 const char *prefix, struct error *err);
