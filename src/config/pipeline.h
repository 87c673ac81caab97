/* pipeline: settings as the pipeline takes them. */
#pragma once

#include "config/config.h"
#include "pipeline/pipeline.h"

/* All that a configuration says of a pipeline: the program, replay and explain run the same.
 * Borrows texts of cfg.
 * cfg was checked (config/check.h). Left to the caller: seed, budget of memory, clock, sink and the
 * callback for new services. */
struct pipeline_opts config_pipeline(const struct config *cfg);
