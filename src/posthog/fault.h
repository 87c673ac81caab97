/*
 * fault: what an answer of the app API means, in words for the person who can mend it.
 *
 * Pure. Bytes of the peer are shown cut, and without control characters.
 */
#pragma once

#include "net/client.h"
#include "otlp/json_doc.h"
#include "posthog/client.h"

#define APP_SENTENCE_BYTES 512
#define APP_SCOPE_BYTES 48

struct app_verdict {
    enum app_fault fault;
    char text[APP_SENTENCE_BYTES], remedy[APP_SENTENCE_BYTES], scope[APP_SCOPE_BYTES];
};

struct app_asked {
    const char *host, *method, *path;
    uint32_t timeout_ms;
    size_t max_answer_bytes;
};

/* `root`: of the body where it is JSON, else nothing; is_json says which. `retry_after_ms`: of a
 * 429. */
void app_judge(struct app_verdict *v, const struct app_asked *asked,
               const struct client_result *result, bool is_json, struct json_node root,
               uint64_t retry_after_ms);

/* What an answer said, for keeping. */
void app_verdict_copy(struct app_verdict *v, const struct app_answer *a);

/* The milliseconds of a Retry-After in seconds; `otherwise` where it is none. */
uint64_t app_retry_after(struct span value, uint64_t otherwise);
