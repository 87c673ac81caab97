/* pipeline_emit: the only call of the sink that gives a record away. */
#include "pipeline/pipeline_state.h"

int pipeline_emit(const struct pipeline *p, const struct logs_group *g, struct span record,
                  struct span stamp, uint32_t service)
{
    return p->opts.sink.emit(p->opts.sink.ctx, g, record, stamp, service);
}
