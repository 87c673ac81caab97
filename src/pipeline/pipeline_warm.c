/* pipeline_warm: records of before are known, and nothing else happens with them. */
#include "pipeline/pipeline_state.h"

struct warming {
    struct pipeline *p;
    uint32_t records;
    uint64_t unix_ns;
};

static int on_known(void *ctx, const struct logs_group *g, struct span bytes)
{
    struct warming *w = ctx;
    struct pipeline *p = w->p;
    struct log_record record;
    enum severity_source source;
    int rc = log_record_read(&record, bytes);
    if (rc < 0)
        return rc;
    struct pattern_key key = {
        .level = (uint8_t)pipeline_level(p, g, bytes, &record, &source),
        .signature = pipeline_sign(p, g, bytes, &record),
        .service = pipeline_service(p, g->service_name),
        .status_class = pipeline_status_class(&record),
    };
    uint64_t family;
    p->placing.group = g;
    p->placing.record = bytes;
    p->placing.key = &key;
    p->placing.generation = p->families == NULL ? 0 : families_generation(p->families);
    if (p->anomaly != NULL)
        anomaly_know(p->anomaly, &key);
    struct pattern *e = pattern_place(&p->place, &key, w->unix_ns, &family);
    if (e->window == PATTERN_WINDOW_NEW)
        e->window = PATTERN_WINDOW_KNOWN;
    w->records++;
    return 0;
}

int pipeline_warm(struct pipeline *p, struct span request, struct arena *arena, uint32_t *records)
{
    struct logs_count n;
    struct warming w = {p, 0, clock_unix_ns(p->opts.clock)};
    int rc = logs_check(request, &n);
    if (rc == 0)
        rc = logs_each(request, p->opts.seed, arena, on_known, &w);
    *records = w.records;
    return rc;
}
