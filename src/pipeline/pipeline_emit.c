/* pipeline_emit: the only call of the sink that gives a record away, and so where it is redacted.
 */
#include "pipeline/pipeline_state.h"

int pipeline_emit(const struct pipeline *p, const struct logs_group *g, struct span record,
                  struct span stamp, uint32_t service, bool of_error)
{
    const struct pipeline_sink *sink = &p->opts.sink;
    struct logs_group clean;
    if (p->redactor != NULL) {
        int rc = redactor_pass(p->redactor, service, &g, &record, &clean);
        if (rc < 0)
            return rc;
        if (rc == REDACT_DROPPED)
            return PIPELINE_WITHHELD;
    }
    int grown = of_error && sink->emit_error != NULL
                    ? sink->emit_error(sink->ctx, g, record, stamp, service)
                    : sink->emit(sink->ctx, g, record, stamp, service);
    if (p->minutes != NULL && grown >= 0)
        minutes_count(p->minutes, service, record, stamp);
    return grown;
}
