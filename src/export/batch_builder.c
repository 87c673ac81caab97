/*
 * batch_builder: files records under their Resource and Scope.
 *
 * Record bytes are appended to one log as they come, already framed for the
 * request. Records of one scope that lie side by side there are a run; a scope
 * is a list of runs and a resource is a list of scopes. Sealing copies the runs
 * in the order of the lists. Lengths are kept up to date at every level, so the
 * size of the request is known before anything is taken in.
 *
 * Lists and index hold numbers, not pointers: the arrays move when they grow.
 */
#include "export/batch.h"

#include <assert.h>
#include <stdlib.h>

/* Field numbers of the three levels. */
enum { RESOURCE_LOGS = 1, SCOPE_LOGS = 2, LOG_RECORDS = 2 };

#define NONE UINT32_MAX
#define KEEP_BYTES (64u << 10) /* of each table, from one batch to the next */
#define SMALLEST_INDEX 64      /* slots; a power of two */

struct run {
    size_t offset, len; /* in the log */
    uint32_t next;      /* run of the same scope, or NONE */
};

struct scope {
    uint64_t key;
    size_t fields_at, fields_len; /* in contexts */
    size_t content;               /* bytes of the ScopeLogs without its head */
    uint32_t resource;
    uint32_t first_run, last_run;
    uint32_t next; /* scope of the same resource, or NONE */
};

struct resource {
    uint64_t key;
    size_t fields_at, fields_len; /* in contexts */
    size_t content;               /* bytes of the ResourceLogs without its head */
    uint32_t service, records;
    uint32_t first_scope, last_scope;
};

struct batch_builder {
    size_t max_bytes;
    uint32_t max_records;
    struct budget *budget;

    struct buf log;                     /* framed LogRecords */
    struct buf contexts;                /* fields of resources and scopes */
    struct buf runs, scopes, resources; /* arrays of the structs above */
    struct buf index;                   /* uint32_t slots: see find() */
    size_t bytes;                       /* of the request, heads included */
    uint32_t records;
    uint32_t last_scope; /* where the last record went, or NONE */
    char key[LOGS_KEY_BYTES + 1];
    size_t key_len;
};

#define AT(buffer, type, i) (&((type *)(void *)(buffer).base)[i])
#define COUNT(buffer, type) ((uint32_t)((buffer).len / sizeof(type)))

/* A slot is 0 (free), 1 + 2 * resource or 2 + 2 * scope. */
#define SLOT_OF_RESOURCE(i) (1 + 2 * (i))
#define SLOT_OF_SCOPE(i) (2 + 2 * (i))

/* Of no bytes: there may be no memory yet, of which no place is a place. */
static struct span span_in(const struct buf *buffer, size_t at, size_t len)
{
    return len == 0 ? (struct span){0} : (struct span){buffer->base + at, len};
}

static bool same_fields(const struct batch_builder *b, size_t at, size_t len, struct span fields)
{
    return span_eq(span_in(&b->contexts, at, len), fields);
}

static uint32_t find_resource(const struct batch_builder *b, uint64_t key, struct span fields,
                              uint32_t service)
{
    size_t mask = COUNT(b->index, uint32_t) - 1;
    for (size_t i = key & mask;; i = (i + 1) & mask) {
        uint32_t slot = *AT(b->index, uint32_t, i);
        if (slot == 0)
            return NONE;
        if (slot % 2 == 0)
            continue;
        const struct resource *r = AT(b->resources, struct resource, slot / 2);
        if (r->key == key && r->service == service &&
            same_fields(b, r->fields_at, r->fields_len, fields))
            return slot / 2;
    }
}

static uint32_t find_scope(const struct batch_builder *b, uint64_t key, struct span fields,
                           uint32_t resource)
{
    size_t mask = COUNT(b->index, uint32_t) - 1;
    for (size_t i = key & mask;; i = (i + 1) & mask) {
        uint32_t slot = *AT(b->index, uint32_t, i);
        if (slot == 0)
            return NONE;
        if (slot % 2 == 1)
            continue;
        const struct scope *s = AT(b->scopes, struct scope, slot / 2 - 1);
        if (s->key == key && s->resource == resource &&
            same_fields(b, s->fields_at, s->fields_len, fields))
            return slot / 2 - 1;
    }
}

static void put_slot(struct buf *index, uint64_t key, uint32_t slot)
{
    size_t mask = COUNT(*index, uint32_t) - 1;
    size_t i = key & mask;
    while (*AT(*index, uint32_t, i) != 0)
        i = (i + 1) & mask;
    *AT(*index, uint32_t, i) = slot;
}

/* Keep the index at most half full with two more entries in it. */
static int index_reserve(struct batch_builder *b)
{
    uint32_t slots = COUNT(b->index, uint32_t);
    uint32_t scopes = COUNT(b->scopes, struct scope);
    uint32_t resources = COUNT(b->resources, struct resource);
    if (slots > 0 && 2 * (scopes + resources + 2) <= slots)
        return 0;

    struct buf bigger = {.budget = b->budget};
    slots = slots > 0 ? 2 * slots : SMALLEST_INDEX;
    int rc = buf_reserve_exact(&bigger, slots * sizeof(uint32_t));
    if (rc < 0)
        return rc;
    bigger.len = slots * sizeof(uint32_t);
    memset(bigger.base, 0, bigger.len);
    for (uint32_t i = 0; i < resources; i++)
        put_slot(&bigger, AT(b->resources, struct resource, i)->key, SLOT_OF_RESOURCE(i));
    for (uint32_t i = 0; i < scopes; i++)
        put_slot(&bigger, AT(b->scopes, struct scope, i)->key, SLOT_OF_SCOPE(i));
    buf_done(&b->index);
    b->index = bigger;
    return 0;
}

static int reserve(struct buf *buf, size_t bytes)
{
    int rc = buf_reserve(buf, bytes);
    buf->err = 0; /* the next record may be smaller */
    return rc;
}

/* Where a record goes: numbers of what is there already, or NONE. */
struct place {
    uint32_t resource, scope;
    uint64_t resource_key, scope_key;
};

static struct place find_place(const struct batch_builder *b, const struct logs_group *g,
                               uint32_t service)
{
    struct place p = {
        .resource = NONE,
        .scope = NONE,
        .resource_key = g->resource_hash,
        .scope_key = g->scope_hash ^ g->resource_hash,
    };
    if (b->last_scope != NONE) { /* nearly always where the last one went */
        const struct scope *s = AT(b->scopes, struct scope, b->last_scope);
        const struct resource *r = AT(b->resources, struct resource, s->resource);
        if (s->key == p.scope_key && r->key == p.resource_key && r->service == service &&
            same_fields(b, s->fields_at, s->fields_len, g->scope) &&
            same_fields(b, r->fields_at, r->fields_len, g->resource)) {
            p.scope = b->last_scope;
            p.resource = s->resource;
            return p;
        }
        p.resource = find_resource(b, p.resource_key, g->resource, service);
        if (p.resource != NONE)
            p.scope = find_scope(b, p.scope_key, g->scope, p.resource);
    }
    return p;
}

/* What the lengths become with `framed` more bytes of records at p. */
struct sizes {
    size_t scope, resource, request;
};

static struct sizes sizes_with(const struct batch_builder *b, const struct place *p,
                               const struct logs_group *g, size_t framed)
{
    struct sizes now = {g->scope.len + framed, g->resource.len, b->bytes};
    if (p->resource != NONE) {
        now.resource = AT(b->resources, struct resource, p->resource)->content;
        now.request -= wire_len_size(RESOURCE_LOGS, now.resource);
    }
    if (p->scope != NONE) {
        size_t before = AT(b->scopes, struct scope, p->scope)->content;
        now.scope = before + framed;
        now.resource -= wire_len_size(SCOPE_LOGS, before);
    }
    now.resource += wire_len_size(SCOPE_LOGS, now.scope);
    now.request += wire_len_size(RESOURCE_LOGS, now.resource);
    return now;
}

/* Room for all that batch_add() writes, so that it cannot fail half way. */
static int make_room(struct batch_builder *b, const struct place *p, const struct logs_group *g,
                     size_t framed)
{
    size_t log_bytes = b->log.len + framed;
    b->log.max_bytes = log_bytes > b->max_bytes ? log_bytes : b->max_bytes; /* no overshoot */
    int rc = reserve(&b->log, framed);
    if (rc == 0)
        rc = reserve(&b->runs, sizeof(struct run));
    if (rc < 0 || p->scope != NONE)
        return rc;

    rc = reserve(&b->contexts, g->resource.len + g->scope.len);
    if (rc == 0)
        rc = reserve(&b->scopes, sizeof(struct scope));
    if (rc == 0)
        rc = reserve(&b->resources, sizeof(struct resource));
    return rc == 0 ? index_reserve(b) : rc;
}

static void add_resource(struct batch_builder *b, struct place *p, const struct logs_group *g,
                         uint32_t service)
{
    p->resource = COUNT(b->resources, struct resource);
    b->resources.len += sizeof(struct resource);
    *AT(b->resources, struct resource, p->resource) = (struct resource){
        .key = p->resource_key,
        .fields_at = b->contexts.len,
        .fields_len = g->resource.len,
        .service = service,
        .first_scope = NONE,
        .last_scope = NONE,
    };
    buf_append(&b->contexts, g->resource);
    put_slot(&b->index, p->resource_key, SLOT_OF_RESOURCE(p->resource));
}

static void add_scope(struct batch_builder *b, struct place *p, const struct logs_group *g)
{
    p->scope = COUNT(b->scopes, struct scope);
    b->scopes.len += sizeof(struct scope);
    *AT(b->scopes, struct scope, p->scope) = (struct scope){
        .key = p->scope_key,
        .fields_at = b->contexts.len,
        .fields_len = g->scope.len,
        .resource = p->resource,
        .first_run = NONE,
        .last_run = NONE,
        .next = NONE,
    };
    buf_append(&b->contexts, g->scope);
    put_slot(&b->index, p->scope_key, SLOT_OF_SCOPE(p->scope));

    struct resource *r = AT(b->resources, struct resource, p->resource);
    if (r->last_scope == NONE)
        r->first_scope = p->scope;
    else
        AT(b->scopes, struct scope, r->last_scope)->next = p->scope;
    r->last_scope = p->scope;
}

/* Write the record to the log and to the scope's runs. */
static void add_record(struct batch_builder *b, uint32_t scope, struct span record,
                       struct span stamp)
{
    struct scope *s = AT(b->scopes, struct scope, scope);
    size_t start = b->log.len;
    uint8_t *at = b->log.base + start;

    *at++ = LOG_RECORDS << 3 | WIRE_LEN;
    at = wire_put_varint(at, record.len + stamp.len);
    if (record.len > 0)
        memcpy(at, record.base, record.len);
    at += record.len;
    if (stamp.len > 0)
        memcpy(at, stamp.base, stamp.len);
    b->log.len = (size_t)(at + stamp.len - b->log.base);

    size_t len = b->log.len - start;
    if (s->last_run != NONE && b->last_scope == scope) {
        AT(b->runs, struct run, s->last_run)->len += len;
        return;
    }
    uint32_t run = COUNT(b->runs, struct run);
    b->runs.len += sizeof(struct run);
    *AT(b->runs, struct run, run) = (struct run){start, len, NONE};
    if (s->last_run == NONE)
        s->first_run = run;
    else
        AT(b->runs, struct run, s->last_run)->next = run;
    s->last_run = run;
}

static void note_key(struct batch_builder *b, struct span key)
{
    assert(key.len <= LOGS_KEY_BYTES);
    if (key.len > 0)
        memcpy(b->key, key.base, key.len);
    b->key[key.len] = '\0';
    b->key_len = key.len;
}

int batch_add(struct batch_builder *b, const struct logs_group *g, struct span record,
              struct span stamp, uint32_t service)
{
    size_t framed = wire_len_size(LOG_RECORDS, record.len + stamp.len);
    struct place p = find_place(b, g, service);
    struct sizes now = sizes_with(b, &p, g, framed);
    if (b->records > 0 && (now.request > b->max_bytes || b->records >= b->max_records ||
                           !span_eq(g->key, span_of(b->key, b->key_len))))
        return ERR_TOO_BIG;
    int rc = make_room(b, &p, g, framed);
    if (rc < 0)
        return rc;

    if (b->records == 0)
        note_key(b, g->key);
    if (p.resource == NONE)
        add_resource(b, &p, g, service);
    if (p.scope == NONE)
        add_scope(b, &p, g);
    add_record(b, p.scope, record, stamp);

    AT(b->scopes, struct scope, p.scope)->content = now.scope;
    struct resource *r = AT(b->resources, struct resource, p.resource);
    r->content = now.resource;
    r->records++;
    b->bytes = now.request;
    b->records++;
    b->last_scope = p.scope;
    return 0;
}

size_t batch_builder_bytes(const struct batch_builder *b)
{
    return b->bytes;
}

uint32_t batch_builder_records(const struct batch_builder *b)
{
    return b->records;
}

void batch_builder_each_service(const struct batch_builder *b,
                                void (*fn)(void *ctx, uint32_t service, uint32_t records),
                                void *ctx)
{
    for (uint32_t i = 0; i < COUNT(b->resources, struct resource); i++) {
        const struct resource *r = AT(b->resources, struct resource, i);
        fn(ctx, r->service, r->records);
    }
}

static void write_scope(const struct batch_builder *b, const struct scope *s, struct buf *out)
{
    wire_append_len_head(out, SCOPE_LOGS, s->content);
    buf_append(out, span_in(&b->contexts, s->fields_at, s->fields_len));
    for (uint32_t i = s->first_run; i != NONE; i = AT(b->runs, struct run, i)->next) {
        const struct run *run = AT(b->runs, struct run, i);
        buf_append(out, span_in(&b->log, run->offset, run->len));
    }
}

static void write_request(const struct batch_builder *b, struct buf *out)
{
    for (uint32_t i = 0; i < COUNT(b->resources, struct resource); i++) {
        const struct resource *r = AT(b->resources, struct resource, i);
        wire_append_len_head(out, RESOURCE_LOGS, r->content);
        buf_append(out, span_in(&b->contexts, r->fields_at, r->fields_len));
        for (uint32_t j = r->first_scope; j != NONE; j = AT(b->scopes, struct scope, j)->next)
            write_scope(b, AT(b->scopes, struct scope, j), out);
    }
}

int batch_seal(struct batch_builder *b, struct batch **out)
{
    struct batch *batch;
    if (b->records == 0)
        return ERR_EMPTY;
    /* wire_append_*() want room for the longest varint, even at the very end */
    size_t key =
        b->key_len > 0 ? wire_len_size(BATCH_KEY_FIELD, b->key_len) + WIRE_VARINT_BYTES : 0;
    int rc = batch_alloc(&batch, b->bytes + WIRE_VARINT_BYTES + key,
                         COUNT(b->resources, struct resource), b->budget);
    if (rc < 0)
        return rc;

    batch->records = b->records;
    memcpy(batch->key, b->key, sizeof batch->key);
    for (uint32_t i = 0; i < batch->part_count; i++) {
        const struct resource *r = AT(b->resources, struct resource, i);
        batch->parts[i] = (struct batch_part){r->service, r->records};
    }
    write_request(b, &batch->body);
    assert(batch->body.err == 0 && batch->body.len == b->bytes);
    batch_builder_clear(b);
    *out = batch;
    return 0;
}

static void forget(struct buf *buf, size_t keep_bytes)
{
    if (buf->cap > keep_bytes)
        buf_done(buf);
    else
        buf_clear(buf);
}

void batch_builder_clear(struct batch_builder *b)
{
    forget(&b->log, b->max_bytes);
    forget(&b->contexts, KEEP_BYTES);
    forget(&b->runs, KEEP_BYTES);
    forget(&b->scopes, KEEP_BYTES);
    forget(&b->resources, KEEP_BYTES);
    if (b->index.cap > KEEP_BYTES)
        buf_done(&b->index);
    else if (b->index.len > 0)
        memset(b->index.base, 0, b->index.len);
    b->bytes = 0;
    b->records = 0;
    b->last_scope = NONE;
}

struct batch_builder *batch_builder_new(const struct batch_opts *opts)
{
    struct batch_builder *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->max_bytes = opts->max_bytes > 0 ? opts->max_bytes : BATCH_MAX_BYTES;
    b->max_records = opts->max_records > 0 ? opts->max_records : UINT32_MAX;
    b->budget = opts->budget;
    b->last_scope = NONE;
    struct buf *bufs[] = {&b->log, &b->contexts, &b->runs, &b->scopes, &b->resources, &b->index};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        bufs[i]->budget = opts->budget;
    return b;
}

void batch_builder_free(struct batch_builder *b)
{
    if (b == NULL)
        return;
    struct buf *bufs[] = {&b->log, &b->contexts, &b->runs, &b->scopes, &b->resources, &b->index};
    for (size_t i = 0; i < ARRAY_LEN(bufs); i++)
        buf_done(bufs[i]);
    free(b);
}
