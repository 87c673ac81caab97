/*
 * llm: what is asked of a language model, and its answer, in the two forms that are spoken.
 *
 *     OpenAI and all who follow it (vLLM, llama.cpp, Ollama)   POST {endpoint}/chat/completions
 *     Anthropic                                                POST {endpoint}/v1/messages
 *
 * A 200 proves nothing: the text that an answer has is the caller's to check.
 *
 * Blocking   never. Pure.
 */
#pragma once

#include <stdbool.h>

#include "util/buf.h"
#include "util/err.h"
#include "util/span.h"

#define LLM_TOKENS \
    4096 /* of an answer, at most: 50 patterns with a sentence each have about 2,500 */

struct llm_request {
    bool as_anthropic;
    bool is_plain; /* without the fields that some endpoints refuse: the schema, newer names */
    const char *model;
    struct span schema, system, user; /* schema: JSON */
};

const char *llm_path(bool as_anthropic);

/* Failures are the buf's. */
void llm_write(struct buf *out, const struct llm_request *r);

/* Append the text of an answer of 200. ERR_MALFORMED: there is none, and *why says so. */
MUST_CHECK int llm_read(struct buf *out, bool as_anthropic, struct span body, const char **why);
