/* api_tero: Tero's policies are put, looked at, and handed out to those who sync them. */
#include "otlp/policy_sync.h"
#include "policy/tero.h"
#include "server/tero_rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define FRAME_BYTES 4096                  /* of an answer around the policies */
#define STATUS_ERRORS 16                  /* of one policy that are stored */
#define ERROR_BYTES 512                   /* of one of them */
#define COUNT_MOST INT64_C(1000000000000) /* of one report: sums cannot overflow */
#define PROTOBUF_TYPE "application/x-protobuf"

/* The members of a JSON object that is nothing but them: without its braces. */
static struct span inside(const struct buf *document)
{
    struct span text = span_trim(buf_span(document));
    return text.len < 2 ? (struct span){0} : span_of(text.base + 1, text.len - 2);
}

/* ---- put and look ----------------------------------------------------------- */

/* The first policy that is invalid; false: there is none. */
static bool find_invalid(const struct tero *t, size_t *at, struct tero_count *out)
{
    for (*at = 0; tero_count(t, *at, out); ++*at)
        if (out->errors > 0)
            return true;
    return false;
}

static int check(struct call *c)
{
    struct tero *t = NULL;
    struct tero_count bad;
    struct error err = {{0}};
    size_t at;
    int status = 0;
    int rc = tero_new(&t, buf_span(&c->body), 1, NULL, &err);
    if (rc == ERR_CONFIG || rc == ERR_MALFORMED)
        return api_detail(c, 422, "%s", err.text);
    if (rc < 0)
        return api_detail(c, 503, "no memory for these policies now");
    if (find_invalid(t, &at, &bad)) {
        struct span why = tero_error(t, at, 0);
        status =
            api_detail(c, 422, "policy \"%.*s\": %.*s", (int)(bad.id.len < 128 ? bad.id.len : 128),
                       (const char *)bad.id.base, (int)why.len, (const char *)why.base);
    }
    tero_free(t);
    return status;
}

/* In the form of proto3, which all clients read; as it was put where that has no field for it. */
static int in_proto3(struct buf *out, struct json_node root, struct span document)
{
    struct buf wire = {.max_bytes = POLICY_SYNC_BYTES};
    struct error err;
    int rc = policy_sync_to_protobuf(&wire, POLICY_SYNC_RESPONSE, root, &err);
    if (rc == 0)
        rc = policy_sync_to_json(out, POLICY_SYNC_RESPONSE, buf_span(&wire), NULL);
    buf_done(&wire);
    if (rc < 0 || out->len <= 2) { /* an empty list is left out of protobuf */
        buf_clear(out);
        buf_append(out, document);
    }
    return out->err;
}

int api_tero_put(struct call *c, struct store *s)
{
    struct buf served = {.max_bytes = 4 * POLICY_SYNC_BYTES};
    struct span document = buf_span(&c->body);
    int64_t version = 0;
    int status = check(c);
    if (status != 0)
        return status;
    int rc = in_proto3(&served, c->root, document);
    if (rc == ERR_NOMEM)
        status = api_detail(c, 503, "no memory for these policies now");
    else if (rc < 0 || served.len + FRAME_BYTES > API_ANSWER_BYTES ||
             document.len + FRAME_BYTES > API_ANSWER_BYTES)
        status = api_detail(c, 413, "the policies are more than %zu bytes of an answer",
                            API_ANSWER_BYTES - FRAME_BYTES);
    else if ((rc = tero_set_put(c, s, document, buf_span(&served), &version)) < 0)
        status = api_store_failed(c, rc);
    buf_done(&served);
    if (status != 0)
        return status;
    struct json j = json_on(&c->out);
    json_begin(&j, NULL);
    json_i64(&j, "version", version);
    json_end(&j);
    return 200;
}

int api_tero_get(struct call *c, struct store *s)
{
    struct tero_set set;
    int rc = tero_set_read(&set, s, c->key->team->id, false);
    if (rc < 0)
        return api_store_failed(c, rc);
    struct json j = json_on(&c->out);
    json_begin(&j, NULL);
    json_i64(&j, "version", set.version);
    json_str(&j, "hash", set.hash);
    if (set.version > 0)
        api_time(&j, "created_at", set.created_ms);
    buf_append_byte(&c->out, ',');
    buf_append(&c->out, inside(&set.document));
    json_end(&j);
    tero_set_done(&set);
    return 200;
}

static int write_status(void *ctx, const struct store_value *row)
{
    struct json *j = ctx;
    json_begin(j, NULL);
    json_text(j, "policy_id", row[0].text);
    json_i64(j, "match_hits", row[1].number);
    json_i64(j, "match_misses", row[2].number);
    buf_append(json_value(j, "errors"), row[3].text);
    json_text(j, "instance", row[4].text);
    if (row[5].kind == STORE_NULL)
        json_null(j, "seen_at");
    else
        api_time(j, "seen_at", row[5].number);
    json_end(j);
    return 0;
}

int api_tero_statuses(struct call *c, struct store *s)
{
    const struct store_value v = store_int(c->key->team->id);
    return api_list(c, s,
                    "SELECT policy_id, hits, misses, errors, instance, seen_ms FROM tero_statuses "
                    "WHERE team_id = $1 ORDER BY policy_id",
                    &v, 1, write_status);
}

/* ---- sync ------------------------------------------------------------------- */

/* service.instance.id of the client's resource_attributes. */
static struct span instance_of(struct json_node root)
{
    struct json_node metadata = policy_sync_get(root, "client_metadata");
    struct json_each each = json_each(policy_sync_get(metadata, "resource_attributes"));
    while (json_next(&each))
        if (span_eq(json_string(json_get(each.value, "key")), SPAN("service.instance.id"))) {
            struct span text =
                json_string(policy_sync_get(json_get(each.value, "value"), "string_value"));
            return text.len > 0 && text.len <= API_PARAM_BYTES ? text : SPAN("");
        }
    return SPAN("");
}

static bool read_count(struct json_node status, const char *name, int64_t *out)
{
    struct json_node n = policy_sync_get(status, name);
    *out = 0;
    return json_kind(n) == JSON_NULL ||
           (policy_sync_integer(n, out) && *out >= 0 && *out <= COUNT_MOST);
}

/* Cut where a character ends. */
static struct span shorten(struct span text)
{
    size_t n = text.len < ERROR_BYTES ? text.len : ERROR_BYTES;
    while (n < text.len && n > 0 && (text.base[n] & 0xc0) == 0x80)
        n--;
    return span_of(text.base, n);
}

static int add_status(struct call *c, struct store *s, struct json_node node, struct span instance)
{
    struct buf errors = {.max_bytes = STATUS_ERRORS * (6 * ERROR_BYTES + 8)};
    struct json j = json_on(&errors);
    struct json_each each = json_each(json_get(node, "errors"));
    struct tero_status status = {.policy_id = json_string(json_get(node, "id")),
                                 .instance = instance};
    if (json_kind(node) != JSON_OBJECT || status.policy_id.len == 0)
        return api_detail(c, 422, "policy_statuses: an object with an id is wanted");
    if (!read_count(node, "match_hits", &status.hits) ||
        !read_count(node, "match_misses", &status.misses))
        return api_detail(c, 422,
                          "policy_statuses: match_hits, match_misses: whole numbers from 0");
    json_begin_list(&j, NULL);
    for (int i = 0; i < STATUS_ERRORS && json_next(&each); i++)
        if (json_kind(each.value) == JSON_STRING)
            json_text(&j, NULL, shorten(json_string(each.value)));
    json_end_list(&j);
    status.errors = buf_span(&errors);
    int rc = errors.err != 0 ? errors.err : tero_status_add(c, s, &status);
    buf_done(&errors);
    return rc < 0 ? api_store_failed(c, rc) : 0;
}

/* 0, or the status of a refusal, of which nothing is stored. */
static int add_statuses(struct call *c, struct store *s)
{
    struct json_node list = policy_sync_get(c->root, "policy_statuses");
    struct json_each each = json_each(list);
    struct span instance = instance_of(c->root);
    int status = 0;
    if (json_kind(list) != JSON_NULL && json_kind(list) != JSON_ARRAY)
        return api_detail(c, 422, "policy_statuses: must be a list");
    if (!json_next(&each))
        return 0;
    int rc = store_begin(s);
    if (rc < 0)
        return api_store_failed(c, rc);
    do {
        status = add_status(c, s, each.value, instance);
    } while (status == 0 && json_next(&each));
    rc = store_end(s, status == 0 ? 0 : ERR_EMPTY);
    return status != 0 ? status : rc < 0 ? api_store_failed(c, rc) : 0;
}

static void write_response(struct call *c, const struct tero_set *set)
{
    char now[32];
    struct json j = json_on(&c->out);
    snprintf(now, sizeof now, "%" PRId64 "000000", c->now_ms);
    json_begin(&j, NULL);
    json_str(&j, "hash", set->hash);
    json_str(&j, "sync_timestamp_unix_nano", now);
    json_u64(&j, "recommended_sync_interval_seconds",
             c->server->cfg->server.sync_interval_ms / 1000);
    json_u64(&j, "sync_type", 1);
    buf_append_byte(&c->out, ',');
    buf_append(&c->out, inside(&set->document));
    json_end(&j);
}

/* What was written, as protobuf. */
static int in_protobuf(struct call *c)
{
    struct buf wire = {.max_bytes = API_ANSWER_BYTES};
    struct json_doc *doc = NULL;
    struct json_node root;
    struct error err = {{0}};
    int rc = c->out.err != 0 ? c->out.err : json_doc_new(&doc, buf_span(&c->out), NULL, &root);
    if (rc == 0)
        rc = policy_sync_to_protobuf(&wire, POLICY_SYNC_RESPONSE, root, &err);
    json_doc_free(doc);
    if (rc == 0) {
        buf_clear(&c->out);
        buf_append(&c->out, buf_span(&wire));
        c->content_type = PROTOBUF_TYPE;
    }
    buf_done(&wire);
    return rc == ERR_CONFIG
               ? api_detail(c, 406, "%s; ask with content-type application/json", err.text)
           : rc < 0 ? api_detail(c, 503, "no memory for this answer now")
                    : 200;
}

int api_tero_sync(struct call *c, struct store *s)
{
    struct tero_set set;
    int status = add_statuses(c, s);
    if (status != 0)
        return status;
    int rc = tero_set_read(&set, s, c->key->team->id, true);
    if (rc < 0)
        return api_store_failed(c, rc);
    snprintf(c->etag, sizeof c->etag, "\"%s\"", set.hash);
    bool is_same = c->match != NULL && http_has_tag(span_str(c->match), span_str(c->etag)) &&
                   !json_is_true(policy_sync_get(c->root, "full_sync"));
    status = is_same ? 304 : 200;
    if (!is_same)
        write_response(c, &set);
    if (!is_same && c->is_protobuf)
        status = in_protobuf(c);
    tero_set_done(&set);
    return status;
}
