/* policy_conformance: one request through tero, grouped again, and written with the counts. */
#include "cli/policy_conformance.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/input.h"
#include "otlp/fields.h"
#include "otlp/json.h"
#include "otlp/json_write.h"
#include "otlp/wire.h"
#include "policy/tero.h"
#include "util/clock.h"
#include "util/rng.h"

#define ARENA_BYTES (64u << 20)    /* what lies around the records of the request */
#define REQUEST_BYTES (256u << 20) /* of the request as JSON, as protobuf, and of each result */

struct run {
    struct tero *tero;
    struct arena arena;
    struct buf json, request; /* as it came */
    struct buf out, resource_logs, scope_logs, piece;
    struct buf resource, scope; /* that the last record stood in */
    uint32_t resource_index, scope_index;
    bool has_group;
};

/* ---- grouping ----------------------------------------------------------------- */

/* proto3 in its shortest form: without numbers that are 0 and texts that are empty. Elements of
 * `list` and the value in `value` (0: none) stay, for these say something by being there. */
static void append_short(struct buf *out, struct span message, uint32_t list, uint32_t value)
{
    struct wire w;
    struct wire_field f;
    wire_init(&w, message);
    while (wire_next(&w, &f)) {
        bool is_zero = f.type == WIRE_LEN ? f.bytes.len == 0 : f.type != WIRE_GROUP && f.value == 0;
        if (!is_zero || f.number == list || f.number == value)
            buf_append(out, f.whole);
    }
}

/* What is around records: the message in field 1, a Resource or a scope, and the schema's URL. */
static void append_around(struct buf *out, struct span fields, uint32_t list, struct buf *inner)
{
    struct wire w;
    struct wire_field f;
    buf_clear(inner);
    wire_init(&w, fields);
    while (wire_next(&w, &f)) {
        if (f.number == RESOURCE_LOGS_RESOURCE && f.type == WIRE_LEN)
            append_short(inner, f.bytes, list, 0);
        else if (f.type != WIRE_LEN || f.bytes.len > 0)
            buf_append(out, f.whole);
    }
    if (inner->len > 0)
        wire_append_len(out, RESOURCE_LOGS_RESOURCE, buf_span(inner));
}

static void end_scope(struct run *r)
{
    if (r->scope_logs.len > 0)
        wire_append_len(&r->resource_logs, RESOURCE_LOGS_SCOPE_LOGS, buf_span(&r->scope_logs));
    buf_clear(&r->scope_logs);
}

static void end_resource(struct run *r)
{
    end_scope(r);
    if (r->resource_logs.len > 0)
        wire_append_len(&r->out, REQUEST_RESOURCE_LOGS, buf_span(&r->resource_logs));
    buf_clear(&r->resource_logs);
}

static void note(struct buf *kept, struct span now)
{
    buf_clear(kept);
    buf_append(kept, now);
}

/* Records that stood together stay together where their surroundings are still the same. */
static void append_record(struct run *r, const struct logs_group *g, const struct tero_record *now)
{
    bool is_resource = r->has_group && r->resource_index == g->resource_index &&
                       span_eq(buf_span(&r->resource), now->resource);
    bool is_scope =
        is_resource && r->scope_index == g->scope_index && span_eq(buf_span(&r->scope), now->scope);
    if (!is_resource) {
        end_resource(r);
        append_around(&r->resource_logs, now->resource, RESOURCE_ATTRIBUTES, &r->piece);
    } else if (!is_scope) {
        end_scope(r);
    }
    if (!is_scope)
        append_around(&r->scope_logs, now->scope, SCOPE_ATTRIBUTES, &r->piece);
    buf_clear(&r->piece);
    append_short(&r->piece, now->record, LOG_RECORD_ATTRIBUTES, LOG_RECORD_BODY);
    wire_append_len(&r->scope_logs, SCOPE_LOGS_LOG_RECORDS, buf_span(&r->piece));
    note(&r->resource, now->resource);
    note(&r->scope, now->scope);
    r->resource_index = g->resource_index;
    r->scope_index = g->scope_index;
    r->has_group = true;
}

static struct buf *result(struct run *r, size_t i)
{
    struct buf *all[] = {&r->out,   &r->resource_logs, &r->scope_logs, &r->resource,
                         &r->scope, &r->json,          &r->request,    &r->piece};
    return i < ARRAY_LEN(all) ? all[i] : NULL;
}

static int on_record(void *ctx, const struct logs_group *g, struct span record)
{
    struct run *r = ctx;
    struct tero_record now = {g->resource, g->scope, record};
    int rc = tero_apply(r->tero, &now, clock_now_ms(clock_real()));
    if (rc < 0 || rc == TERO_DROPPED)
        return rc < 0 ? rc : 0;
    append_record(r, g, &now);
    return 0;
}

/* ---- files --------------------------------------------------------------------- */

static int read_policies(struct run *r, const char *path, struct error *err)
{
    struct input in = {0};
    struct rng seed;
    struct error why = {{0}};
    int rc = input_open(&in, path, err);
    if (rc == 0) {
        rng_init(&seed);
        rc = tero_new(&r->tero, in.text, seed.state, NULL, &why);
        if (rc < 0)
            err_set(err, rc, "%s: %s", path, why.text[0] != '\0' ? why.text : err_text(rc));
    }
    input_close(&in);
    return rc;
}

static int read_request(struct run *r, const char *path, struct error *err)
{
    struct input in = {0};
    struct json_decoder *decoder = json_decoder_new(NULL);
    struct logs_count count;
    struct error why = {{0}};
    int rc = decoder == NULL ? ERR_NOMEM : input_open(&in, path, err);
    if (rc == 0) {
        rc = buf_reserve_exact(&r->json, in.text.len + JSON_PADDING_BYTES);
        buf_append(&r->json, in.text);
        if (rc == 0)
            rc = json_logs_decode(decoder, &r->json, &r->request, &count, NULL, &why);
        if (rc < 0)
            err_set(err, rc, "%s: %s", path, why.text[0] != '\0' ? why.text : err_text(rc));
    }
    input_close(&in);
    json_decoder_free(decoder);
    return rc;
}

static int write_file(const char *path, struct buf *text, struct error *err)
{
    buf_append_byte(text, '\n');
    if (text->err < 0)
        return text->err;
    FILE *f = fopen(path, "we");
    bool is_bad = f == NULL || fwrite(text->base, 1, text->len, f) != text->len;
    if (f != NULL && fclose(f) != 0)
        is_bad = true;
    return is_bad ? err_set(err, ERR_IO, "cannot write '%s': %s", path, strerror(errno)) : 0;
}

static int write_all(struct run *r, const struct conformance *files, struct error *err)
{
    struct buf text = {0};
    int rc = json_write_logs(&text, buf_span(&r->out));
    if (rc == 0)
        rc = write_file(files->output, &text, err);
    buf_clear(&text);
    struct json j = json_on(&text);
    tero_write_stats(r->tero, &j);
    if (rc == 0)
        rc = write_file(files->stats, &text, err);
    buf_done(&text);
    return rc;
}

/* ---- the whole -------------------------------------------------------------------- */

static int evaluate(struct run *r)
{
    struct buf *b;
    int rc = logs_each(buf_span(&r->request), 0, &r->arena, on_record, r);
    end_resource(r);
    for (size_t i = 0; rc == 0 && (b = result(r, i)) != NULL; i++)
        rc = b->err;
    return rc;
}

int policy_conformance(const struct conformance *files)
{
    struct run r = {0};
    struct error err = {{0}};
    struct buf *b;
    arena_init(&r.arena, ARENA_BYTES, NULL);
    for (size_t i = 0; (b = result(&r, i)) != NULL; i++)
        b->max_bytes = REQUEST_BYTES;
    int rc = read_policies(&r, files->policies, &err);
    if (rc == 0)
        rc = read_request(&r, files->input, &err);
    if (rc == 0)
        rc = evaluate(&r);
    if (rc == 0)
        rc = write_all(&r, files, &err);
    tero_free(r.tero);
    arena_done(&r.arena);
    for (size_t i = 0; (b = result(&r, i)) != NULL; i++)
        buf_done(b);
    return rc < 0 ? command_die(rc, &err) : EXIT_OK;
}
