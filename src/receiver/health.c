/* health: one answer, and who wants more of them. */
#include "receiver/health.h"

#include "receiver/reply.h"

void health_init(struct health *h, bool (*is_ready)(const void *ctx), const void *ctx)
{
    *h = (struct health){.is_ready = is_ready, .ctx = ctx};
    list_init(&h->watchers);
}

static enum grpc_health health_of(const struct health *h)
{
    bool is_ready = !h->has_ended && (h->is_ready == NULL || h->is_ready(h->ctx));
    return is_ready ? GRPC_HEALTH_SERVING : GRPC_HEALTH_NOT_SERVING;
}

void health_forget(struct health *h, struct health_watch *w)
{
    if (!w->is_open)
        return;
    list_remove(&w->node);
    w->is_open = false;
    h->count--;
}

/* What is said now, and then each change. One too many is told once, and may ask again. */
static void begin_watch(struct health *h, struct http_exchange *x, struct health_watch *w,
                        enum grpc_health health)
{
    if (h->count == HEALTH_WATCHERS_MAX || reply_health_begin(x, health) < 0) {
        reply_health(x, health);
        return;
    }
    *w = (struct health_watch){.x = x, .told = health, .is_open = true};
    list_append(&h->watchers, &w->node);
    h->count++;
}

int health_answer(struct health *h, struct http_exchange *x, struct span message,
                  struct health_watch *watch)
{
    static const char *const services[] = {
        "",
        "opentelemetry.proto.collector.logs.v1.LogsService",
        "opentelemetry.proto.collector.trace.v1.TraceService",
        "opentelemetry.proto.collector.metrics.v1.MetricsService",
    };
    struct span name;
    bool is_known = false;
    if (grpc_health_service(message, &name) < 0)
        return ERR_MALFORMED;
    for (size_t i = 0; i < ARRAY_LEN(services); i++)
        is_known |= span_eq(name, span_str(services[i]));
    if (watch != NULL) {
        begin_watch(h, x, watch, is_known ? health_of(h) : GRPC_HEALTH_SERVICE_UNKNOWN);
        return 0;
    }
    if (!is_known)
        return ERR_UNSUPPORTED;
    reply_health(x, health_of(h));
    return 0;
}

void health_tell(struct health *h)
{
    enum grpc_health health = health_of(h);
    LIST_EACH (node, &h->watchers) {
        struct health_watch *w = container_of(node, struct health_watch, node);
        uint8_t message[GRPC_HEALTH_BYTES];
        if (w->told == health || w->told == GRPC_HEALTH_SERVICE_UNKNOWN)
            continue;
        w->told = health;
        grpc_health_message(health, message);
        if (http_stream_write(w->x, span_of(message, sizeof message)) < 0) {
            struct http_exchange *x = w->x; /* it does not read */
            health_forget(h, w);
            http_stream_end(x);
        }
    }
}

void health_end(struct health *h)
{
    health_tell(h);
    LIST_EACH (node, &h->watchers) {
        struct health_watch *w = container_of(node, struct health_watch, node);
        struct http_exchange *x = w->x;
        health_forget(h, w);
        http_stream_end(x);
    }
}
