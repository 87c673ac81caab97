/* logs: from a request to its records, with the place where each one stood. */
#include "otlp/logs.h"

#include "otlp/fields.h"
#include "util/hash.h"

/* Field numbers of ExportLogsServiceRequest, ResourceLogs, ScopeLogs, Resource. */
/* All fields of the message but number `but`, side by side: where they lie
 * when they do lie so, else copied. */
static int gather(struct span message, uint32_t but, struct arena *arena, struct span *out)
{
    struct wire w;
    struct wire_field f;
    const uint8_t *first = NULL, *last = NULL;
    size_t total = 0;

    wire_init(&w, message);
    while (wire_next(&w, &f)) {
        if (f.number == but)
            continue;
        if (first == NULL)
            first = f.whole.base;
        last = f.whole.base + f.whole.len;
        total += f.whole.len;
    }
    if (w.err != 0)
        return w.err;
    if (total == 0 || total == (size_t)(last - first)) {
        *out = (struct span){first, total};
        return 0;
    }

    uint8_t *to = arena_alloc(arena, total);
    if (to == NULL)
        return ERR_TOO_BIG;
    *out = (struct span){to, total};
    wire_init(&w, message);
    while (wire_next(&w, &f)) {
        if (f.number == but)
            continue;
        memcpy(to, f.whole.base, f.whole.len);
        to += f.whole.len;
    }
    return 0;
}

static int note_service(void *ctx, const struct log_attr *attr)
{
    struct logs_group *g = ctx;
    if (attr->value.kind != LOG_STRING)
        return 0;
    if (span_eq(attr->key, SPAN("service.name")))
        g->service_name = attr->value.text;
    else if (span_eq(attr->key, SPAN("service.instance.id")))
        g->service_instance_id = attr->value.text;
    else if (span_eq(attr->key, SPAN("service.version")))
        g->service_version = attr->value.text;
    return 0;
}

int logs_resource_attrs(const struct logs_group *g,
                        int (*fn)(void *ctx, const struct log_attr *attr), void *ctx)
{
    struct wire w;
    struct wire_field f;

    wire_init(&w, g->resource);
    while (wire_next(&w, &f)) {
        if (f.number != RESOURCE_LOGS_RESOURCE || f.type != WIRE_LEN)
            continue;
        struct log_attrs attrs; /* `resource` twice means one with both lists */
        struct log_attr attr;
        log_attrs_in(&attrs, f.bytes, RESOURCE_ATTRIBUTES);
        while (log_attrs_next(&attrs, &attr)) {
            int rc = fn(ctx, &attr);
            if (rc != 0)
                return rc;
        }
    }
    return 0;
}

struct walk {
    struct logs_group group;
    struct arena *arena;
    uint64_t hash_seed;
    logs_record_fn *fn;
    void *ctx;
    struct logs_place *place; /* to begin at, and where it has paused */
};

/* The fields of a message from *at on, which is 0 for those behind. */
static void begin_at(struct wire *w, struct span message, size_t *at)
{
    wire_init(w, span_skip(message, *at));
    *at = 0;
}

/* Two Resources of two keys are two. */
static uint64_t hash_resource(const struct logs_group *g, uint64_t seed)
{
    uint64_t hash = hash64_seeded(g->resource, seed);
    return g->key.len > 0 ? hash ^ hash64_seeded(g->key, seed + 1) : hash;
}

void logs_group_hash(struct logs_group *g, uint64_t hash_seed)
{
    g->resource_hash = hash_resource(g, hash_seed);
    g->scope_hash = hash64_seeded(g->scope, hash_seed);
}

/* The walk pauses in this field of the message, or before it. */
static void note_place(size_t *at, struct span message, const struct wire_field *f)
{
    *at = (size_t)(f->whole.base - message.base);
}

static int each_record(struct walk *walk, struct span scope_logs)
{
    struct logs_group *g = &walk->group;
    struct wire w;
    struct wire_field f;

    int rc = gather(scope_logs, SCOPE_LOGS_LOG_RECORDS, walk->arena, &g->scope);
    if (rc < 0)
        return rc;
    g->scope_hash = hash64_seeded(g->scope, walk->hash_seed);

    begin_at(&w, scope_logs, &walk->place->record_at);
    while (wire_next(&w, &f)) {
        if (f.number != SCOPE_LOGS_LOG_RECORDS)
            continue;
        if (f.type != WIRE_LEN)
            return ERR_MALFORMED;
        rc = walk->fn(walk->ctx, g, f.bytes);
        if (rc == LOGS_PAUSE)
            note_place(&walk->place->record_at, scope_logs, &f);
        if (rc != 0)
            return rc;
    }
    return w.err;
}

static int each_scope(struct walk *walk, struct span resource_logs)
{
    struct logs_group *g = &walk->group;
    struct wire w;
    struct wire_field f;

    int rc = gather(resource_logs, RESOURCE_LOGS_SCOPE_LOGS, walk->arena, &g->resource);
    if (rc < 0)
        return rc;
    g->resource_hash = hash_resource(g, walk->hash_seed);
    g->service_name = g->service_instance_id = g->service_version = (struct span){0};
    ignore_code(logs_resource_attrs(g, note_service, g)); /* what it met until damage counts */

    begin_at(&w, resource_logs, &walk->place->scope_at);
    while (wire_next(&w, &f)) {
        if (f.number != RESOURCE_LOGS_SCOPE_LOGS)
            continue;
        if (f.type != WIRE_LEN)
            return ERR_MALFORMED;
        rc = each_record(walk, f.bytes);
        if (rc == LOGS_PAUSE)
            note_place(&walk->place->scope_at, resource_logs, &f);
        if (rc != 0)
            return rc;
        g->scope_index++;
    }
    return w.err;
}

int logs_each(struct span request, uint64_t hash_seed, struct arena *arena, logs_record_fn *fn,
              void *ctx)
{
    return logs_each_of_key(request, (struct span){0}, hash_seed, arena, fn, ctx);
}

int logs_each_of_key(struct span request, struct span key, uint64_t hash_seed, struct arena *arena,
                     logs_record_fn *fn, void *ctx)
{
    struct logs_place whole = {0};
    return logs_each_from(request, key, hash_seed, arena, &whole, fn, ctx);
}

int logs_each_from(struct span request, struct span key, uint64_t hash_seed, struct arena *arena,
                   struct logs_place *place, logs_record_fn *fn, void *ctx)
{
    struct walk walk = {
        .group = {.key = key,
                  .resource_index = place->resource_index,
                  .scope_index = place->scope_index},
        .arena = arena,
        .hash_seed = hash_seed,
        .fn = fn,
        .ctx = ctx,
        .place = place,
    };
    struct wire w;
    struct wire_field f;

    begin_at(&w, request, &place->resource_at);
    while (wire_next(&w, &f)) {
        if (f.number != REQUEST_RESOURCE_LOGS)
            continue;
        if (f.type != WIRE_LEN)
            return ERR_MALFORMED;
        int rc = each_scope(&walk, f.bytes);
        if (rc == LOGS_PAUSE) {
            note_place(&place->resource_at, request, &f);
            place->resource_index = walk.group.resource_index;
            place->scope_index = walk.group.scope_index;
        }
        if (rc != 0)
            return rc;
        walk.group.resource_index++;
    }
    return w.err;
}

int logs_each_resource(struct span request, logs_resource_fn *fn, void *ctx)
{
    struct wire w;
    struct wire_field f;
    uint32_t index = 0;

    wire_init(&w, request);
    while (wire_next(&w, &f)) {
        if (f.number != REQUEST_RESOURCE_LOGS)
            continue;
        if (f.type != WIRE_LEN)
            return ERR_MALFORMED;
        struct logs_group g = {.resource = f.bytes}; /* its other fields are not looked at */
        ignore_code(logs_resource_attrs(&g, note_service, &g));
        int rc = fn(ctx, index++, g.service_name);
        if (rc != 0)
            return rc;
    }
    return w.err;
}
