/* api_page: the page for people, and what its key may do. */
#include "net/files.h"
#include "server/api.h"
#include "server/consulting.h"
#include "web/assets.h"

#include <string.h>

/* ---- files -------------------------------------------------------------- */

/* The fields that are not read elsewhere are kept for what may be the document. */
bool api_page_wants_fields(struct span target)
{
    return span_eq(target, SPAN("/")) || span_starts(target, SPAN("/?"));
}

static bool names(struct span list, const char *type)
{
    size_t n = strlen(type);
    for (size_t i = 0; i + n <= list.len; i++)
        if (span_ieq(span_of(list.base + i, n), span_str(type)))
            return true;
    return false;
}

/* A browser names HTML before all else; clients of the API do not. */
static bool accepts_html(struct span lines)
{
    const struct span name = SPAN("accept:");
    while (lines.len > 0) {
        size_t n = strnlen((const char *)lines.base, lines.len);
        struct span line = span_of(lines.base, n);
        if (n > name.len && span_ieq(span_of(line.base, name.len), name) &&
            names(span_skip(line, name.len), "text/html"))
            return true;
        lines = span_skip(lines, n < lines.len ? n + 1 : n);
    }
    return false;
}

int api_page_serve(struct server *s, struct http_exchange *x)
{
    const struct http_header vary = {SPAN("vary"), SPAN("accept")};
    const struct asset *a = files_find(web_server_assets, web_server_asset_count, x->head.path);
    bool is_document = a == &web_server_assets[0];
    if (a == NULL || (x->head.method != METHOD_GET && x->head.method != METHOD_HEAD))
        return 0;
    if (is_document && !accepts_html(x->head.lines))
        return 0;
    return files_answer(x, a, 200, is_document ? &vary : NULL, &s->budget);
}

/* ---- who asks ------------------------------------------------------------ */

int api_me(struct call *c)
{
    const struct key *key = c->key;
    struct json j = json_on(&c->out);
    json_begin(&j, NULL);
    json_i64(&j, "key_id", key->id);
    json_str(&j, "role", role_name(key->role));
    if (key->ends_ms == INT64_MAX)
        json_null(&j, "ends_at");
    else
        api_time(&j, "ends_at", key->ends_ms);
    json_begin(&j, "team");
    json_i64(&j, "id", key->team->id);
    json_str(&j, "name", key->team->name);
    json_bool(&j, "is_operator", key->team->is_operator);
    json_end(&j);
    json_str(&j, "version", LIPSERVICE_VERSION);
    json_bool(&j, "has_model", consulting_is_on(c->server));
    json_end(&j);
    return 200;
}
