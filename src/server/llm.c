/* llm: requests and answers of language models. */
#include "server/llm.h"

#include "otlp/json_doc.h"
#include "util/json.h"

const char *llm_path(bool as_anthropic)
{
    return as_anthropic ? "/v1/messages" : "/chat/completions";
}

static void write_message(struct json *j, const char *role, struct span text)
{
    json_begin(j, NULL);
    json_str(j, "role", role);
    json_text(j, "content", text);
    json_end(j);
}

static void write_openai(struct json *j, const struct llm_request *r)
{
    json_u64(j, r->is_plain ? "max_tokens" : "max_completion_tokens", LLM_TOKENS);
    json_begin_list(j, "messages");
    write_message(j, "system", r->system);
    write_message(j, "user", r->user);
    json_end_list(j);
    if (r->is_plain)
        return;
    json_begin(j, "response_format");
    json_str(j, "type", "json_schema");
    json_begin(j, "json_schema");
    json_str(j, "name", "rates");
    json_bool(j, "strict", true);
    buf_append(json_value(j, "schema"), r->schema);
    json_end(j);
    json_end(j);
}

static void write_anthropic(struct json *j, const struct llm_request *r)
{
    json_u64(j, "max_tokens", LLM_TOKENS);
    json_text(j, "system", r->system);
    json_begin_list(j, "messages");
    write_message(j, "user", r->user);
    json_end_list(j);
    if (r->is_plain)
        return;
    json_begin(j, "output_config");
    json_begin(j, "format");
    json_str(j, "type", "json_schema");
    buf_append(json_value(j, "schema"), r->schema);
    json_end(j);
    json_end(j);
}

void llm_write(struct buf *out, const struct llm_request *r)
{
    struct json j = json_on(out);
    json_begin(&j, NULL);
    json_str(&j, "model", r->model);
    if (r->as_anthropic)
        write_anthropic(&j, r);
    else
        write_openai(&j, r);
    json_end(&j);
}

/* ---- answers ---------------------------------------------------------------- */

static int none(const char **why, const char *says)
{
    *why = says;
    return ERR_MALFORMED;
}

/* Why it ended there, where that is no end of an answer; NULL: it is one, or nothing is said. */
static const char *bad_end(struct span reason)
{
    static const struct {
        const char *reason, *says;
    } ends[] = {
        {"length", "its answer was cut off"},      {"max_tokens", "its answer was cut off"},
        {"content_filter", "it refused"},          {"refusal", "it refused"},
        {"pause_turn", "it gave no whole answer"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        if (span_eq(reason, span_str(ends[i].reason)))
            return ends[i].says;
    return NULL;
}

static int read_openai(struct buf *out, struct json_node root, const char **why)
{
    struct json_each choices = json_each(json_get(root, "choices"));
    if (!json_next(&choices))
        return none(why, "its answer has no choices");
    struct json_node message = json_get(choices.value, "message");
    const char *end = bad_end(json_string(json_get(choices.value, "finish_reason")));
    if (json_string(json_get(message, "refusal")).len > 0)
        return none(why, "it refused");
    if (end != NULL)
        return none(why, end);
    buf_append(out, json_string(json_get(message, "content")));
    return 0;
}

static int read_anthropic(struct buf *out, struct json_node root, const char **why)
{
    struct json_each parts = json_each(json_get(root, "content"));
    const char *end = bad_end(json_string(json_get(root, "stop_reason")));
    if (end != NULL)
        return none(why, end);
    while (json_next(&parts))
        if (span_eq(json_string(json_get(parts.value, "type")), SPAN("text")))
            buf_append(out, json_string(json_get(parts.value, "text")));
    return 0;
}

int llm_read(struct buf *out, bool as_anthropic, struct span body, const char **why)
{
    struct json_doc *doc;
    struct json_node root;
    int rc = json_doc_new(&doc, body, out->budget, &root);
    if (rc == ERR_MALFORMED)
        return none(why, "its answer is no JSON");
    if (rc < 0)
        return rc;
    size_t before = out->len;
    rc = as_anthropic ? read_anthropic(out, root, why) : read_openai(out, root, why);
    json_doc_free(doc);
    if (rc == 0 && out->err == 0 && out->len == before)
        return none(why, "its answer is empty");
    return rc < 0 ? rc : out->err;
}
