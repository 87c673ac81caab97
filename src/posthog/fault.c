/* fault: one function a kind of fault, each a sentence and a remedy. */
#include "posthog/fault.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SHOWN_BYTES 200 /* of what the other side says */

static const char *const words[] = {
#define X(name, word) [APP_##name] = word,
    APP_FAULTS(X)
#undef X
};

const char *app_fault_word(enum app_fault fault)
{
    return words[fault];
}

/* What may be printed of a peer's text. */
static const char *shown(char out[SHOWN_BYTES + 1], struct span text)
{
    size_t n = text.len < SHOWN_BYTES ? text.len : SHOWN_BYTES;
    for (size_t i = 0; i < n; i++)
        out[i] = text.base[i] >= ' ' && text.base[i] <= '~' ? (char)text.base[i] : '?';
    out[n] = '\0';
    return out;
}

/* Logs routes say {"error"}, the others {"detail"}. */
static struct span detail_of(struct json_node root)
{
    struct span text = json_string(json_get(root, "detail"));
    if (text.len == 0)
        text = json_string(json_get(root, "error"));
    while (text.len > 0 && text.base[text.len - 1] == '.')
        text.len--;
    return text;
}

__attribute__((format(printf, 3, 4))) static void say(struct app_verdict *v, enum app_fault fault,
                                                      const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    v->fault = fault;
    vsnprintf(v->text, sizeof v->text, fmt, ap);
    va_end(ap);
}

__attribute__((format(printf, 2, 3))) static void cure(struct app_verdict *v, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(v->remedy, sizeof v->remedy, fmt, ap);
    va_end(ap);
}

static void judge_no_answer(struct app_verdict *v, const struct app_asked *a,
                            const struct client_result *r)
{
    char text[SHOWN_BYTES + 1];
    shown(text, span_str(r->text));
    if (r->err == ERR_UNTRUSTED) {
        say(v, APP_UNTRUSTED, "TLS with %s failed: %s", a->host, text);
        cure(v, "set exporters.posthog.tls.ca_file where the server has a certificate of its own");
    } else if (r->err == UV_ETIMEDOUT) {
        say(v, APP_SILENT, "%s did not answer %s within %u s", a->host, a->path,
            a->timeout_ms / 1000);
        cure(v, "try again; for a query ask for a shorter time");
    } else if (r->err == ERR_IO) {
        say(v, APP_SILENT, "%s broke off before it answered: %s", a->host, text);
        cure(v, "try again, and look what stands between");
    } else {
        say(v, APP_UNREACHABLE, "%s cannot be reached: %s", a->host, text);
        cure(v, "check posthog.app_host, name resolution, and proxies");
    }
}

/* "API key missing required scope 'logs:write'" */
static bool judge_scope(struct app_verdict *v, struct span detail)
{
    static const char before[] = "scope '";
    const uint8_t *at =
        detail.len > 0 ? memmem(detail.base, detail.len, before, sizeof before - 1) : NULL;
    if (at == NULL)
        return false;
    struct span scope = span_skip(detail, (size_t)(at - detail.base) + sizeof before - 1);
    size_t n = 0;
    while (n < scope.len && n < APP_SCOPE_BYTES - 1 &&
           (isalnum(scope.base[n]) || strchr(":_*", scope.base[n]) != NULL))
        n++;
    if (n == 0 || n == scope.len || scope.base[n] != '\'')
        return false;
    memcpy(v->scope, scope.base, n);
    v->scope[n] = '\0';
    say(v, APP_NO_SCOPE, "the personal API key lacks the scope %s", v->scope);
    cure(v, "add the scope %s to the key in PostHog under Settings, Personal API keys", v->scope);
    return true;
}

static void judge_forbidden(struct app_verdict *v, const struct app_asked *a, struct json_node root)
{
    struct span detail = detail_of(root);
    char text[SHOWN_BYTES + 1];
    if (judge_scope(v, detail))
        return;
    say(v, APP_FORBIDDEN, "PostHog forbids %s %s: %s", a->method, a->path,
        detail.len > 0 ? shown(text, detail) : "without a reason");
    cure(v,
         "let the key's owner have access to it, or let the key not be limited to other projects");
}

static void judge_key(struct app_verdict *v, const struct app_asked *a)
{
    bool is_us = strstr(a->host, "://us.posthog.com") != NULL;
    bool is_eu = strstr(a->host, "://eu.posthog.com") != NULL;
    say(v, APP_BAD_KEY, "%s does not know the personal API key", a->host);
    if (is_us || is_eu)
        cure(v,
             "make a new key under Settings, Personal API keys; if the project is in the %s, set "
             "exporters.posthog.host to https://%s.i.posthog.com",
             is_us ? "EU" : "US", is_us ? "eu" : "us");
    else
        cure(v, "make a new key in that PostHog under Settings, Personal API keys");
}

static void judge_refused(struct app_verdict *v, const struct app_asked *a,
                          const struct client_result *r, struct json_node root)
{
    char text[SHOWN_BYTES + 1], attr[SHOWN_BYTES + 1];
    struct span field = json_string(json_get(root, "attr")), detail = detail_of(root);
    say(v, APP_REFUSED, "PostHog refuses %s %s (%d): %s%s%s", a->method, a->path, r->status,
        shown(attr, field), field.len > 0 ? ": " : "",
        detail.len > 0 ? shown(text, detail) : "without a reason");
    cure(v, "this is a fault of the request; a newer version of this program may know better");
}

/* A status that is no success. */
static void judge_status(struct app_verdict *v, const struct app_asked *a,
                         const struct client_result *r, struct json_node root, uint64_t retry_ms)
{
    char text[SHOWN_BYTES + 1];
    if (r->status >= 500) {
        struct span detail = detail_of(root);
        say(v, APP_BROKEN, "PostHog failed at %s %s (%d)%s%s", a->method, a->path, r->status,
            detail.len > 0 ? ": " : "", shown(text, detail));
        cure(v, "try again later; for a query ask for a shorter time");
    } else if (r->status == 401) {
        judge_key(v, a);
    } else if (r->status == 403) {
        judge_forbidden(v, a, root);
    } else if (r->status == 404) {
        say(v, APP_NOT_FOUND, "%s has no %s", a->host, a->path);
        cure(v,
             "check posthog.project_id; some functions exist only in PostHog Cloud, or in a newer "
             "PostHog");
    } else if (r->status == 429) {
        say(v, APP_THROTTLED, "PostHog's limit of requests is reached");
        cure(v, "try again in %llu s", (unsigned long long)(retry_ms + 999) / 1000);
    } else if (r->status >= 300 && r->status < 400) {
        say(v, APP_ELSEWHERE, "%s answers with a redirect (%d) to '%s', which is not followed",
            a->host, r->status, shown(text, r->location));
        cure(v, "set posthog.app_host to the host that PostHog's pages have");
    } else {
        judge_refused(v, a, r, root);
    }
}

void app_judge(struct app_verdict *v, const struct app_asked *asked, const struct client_result *r,
               bool is_json, struct json_node root, uint64_t retry_after_ms)
{
    *v = (struct app_verdict){.fault = APP_FINE};
    bool is_good = r->err == 0 && r->status >= 200 && r->status < 300;
    if (r->err != 0) {
        judge_no_answer(v, asked, r);
    } else if (!is_good) {
        judge_status(v, asked, r, root, retry_after_ms);
    } else if (!is_json && r->body.len >= asked->max_answer_bytes) {
        say(v, APP_TOO_LONG, "the answer to %s has more than %zu bytes", asked->path,
            asked->max_answer_bytes);
        cure(v, "ask for less");
    } else if (!is_json && r->body.len > 0) {
        say(v, APP_NOT_JSON, "%s answers %s with something else than JSON", asked->host,
            asked->path);
        cure(v, "set posthog.app_host to the host that PostHog's pages have");
    }
}

void app_verdict_copy(struct app_verdict *v, const struct app_answer *a)
{
    v->fault = a->fault;
    snprintf(v->text, sizeof v->text, "%s", a->text);
    snprintf(v->remedy, sizeof v->remedy, "%s", a->remedy);
    snprintf(v->scope, sizeof v->scope, "%s", a->scope);
}

uint64_t app_retry_after(struct span value, uint64_t otherwise)
{
    uint64_t seconds = 0;
    for (size_t i = 0; i < value.len; i++) {
        if (!isdigit(value.base[i]) || seconds > APP_PAUSE_MAX_MS)
            return otherwise;
        seconds = seconds * 10 + (value.base[i] - '0');
    }
    if (value.len == 0)
        return otherwise;
    return seconds * 1000 < APP_PAUSE_MAX_MS ? seconds * 1000 : APP_PAUSE_MAX_MS;
}
