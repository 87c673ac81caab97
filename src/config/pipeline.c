/* config_pipeline: the settings of the pipeline, for whoever runs one. */
#include "config/pipeline.h"

#include <assert.h>

#define CONTEXT_SHARE 8 /* of memory.limit: the most that the context of errors may take */

/* Within memory.limit, and never so much of it that requests have no room. */
static size_t context_bytes(const struct config *cfg)
{
    uint64_t most = cfg->memory_limit_bytes / CONTEXT_SHARE;
    return cfg->sampling.context_bytes < most ? cfg->sampling.context_bytes : most;
}

struct pipeline_opts config_pipeline(const struct config *cfg)
{
    struct pipeline_opts opts = {
        .max_patterns = cfg->sampling.max_patterns,
        .max_patterns_per_service = cfg->sampling.max_patterns_per_service,
        .max_services = cfg->sampling.max_services,
        .family_weight = cfg->sampling.family_weight,
        .severity_from_text = cfg->sampling.severity_from_text,
        .peer_weights = cfg->sampling.peer_weights,
        .key = span_str(cfg->sampling.key),
        .stamps = cfg->sampling.stamps,
        .context =
            {
                .bytes = context_bytes(cfg),
                .trigger = cfg->sampling.context_trigger,
                .window_ms = cfg->sampling.context_window_ms,
                .max_records = cfg->sampling.context_records,
                .max_per_second = cfg->sampling.context_per_second,
                .trace_lines = cfg->sampling.context_trace_lines,
                .max_share = cfg->sampling.context_share,
            },
        .observe = cfg->observe,
        .floor_per_second = cfg->sampling.floor_per_second,
        .target = config_target(cfg),
        .events =
            {
                .enabled = cfg->events.enabled,
                .interval_ms = cfg->events.interval_ms,
                .learning_ms = cfg->events.learning_ms,
                .summary_ms = cfg->events.summary_ms,
                .usage_ms = cfg->events.usage_ms,
                .max_per_minute = cfg->events.max_per_minute,
            },
    };
    int rc = config_redaction(cfg, &opts.redact, NULL);
    assert(rc == 0); /* config_check() asked it before */
    (void)rc;
    return opts;
}
