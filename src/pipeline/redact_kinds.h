/*
 * redact_kinds: what the detectors of redaction find, each with the name that settings, metrics
 * and placeholders have for it.
 */
#pragma once

#include <stdint.h>

/* A kind that is on is sound by itself; phone and ip are right in form far more often than in
 * fact. ATTRIBUTE is found by the name of an attribute and not in text. */
/* clang-format off */
#define REDACT_KIND_MAP(X) \
    X(EMAIL,            "email",            1) \
    X(CARD,             "card",             1) \
    X(IBAN,             "iban",             1) \
    X(SSN,              "ssn",              1) \
    X(PHONE,            "phone",            0) \
    X(IP,               "ip",               0) \
    X(JWT,              "jwt",              1) \
    X(PRIVATE_KEY,      "private_key",      1) \
    X(BEARER,           "bearer",           1) \
    X(BASIC,            "basic",            1) \
    X(URL_PASSWORD,     "url_password",     1) \
    X(ASSIGNED,         "assigned",         1) \
    X(POSTHOG_PERSONAL, "posthog_personal", 1) \
    X(POSTHOG_SECRET,   "posthog_secret",   1) \
    X(POSTHOG_OAUTH,    "posthog_oauth",    1) \
    X(AWS_KEY,          "aws_key",          1) \
    X(GOOGLE_KEY,       "google_key",       1) \
    X(GITHUB,           "github",           1) \
    X(GITLAB,           "gitlab",           1) \
    X(STRIPE,           "stripe",           1) \
    X(SLACK,            "slack",            1) \
    X(OPENAI,           "openai",           1) \
    X(ANTHROPIC,        "anthropic",        1) \
    X(NPM,              "npm",              1) \
    X(SENDGRID,         "sendgrid",         1) \
    X(PYPI,             "pypi",             1) \
    X(DIGITALOCEAN,     "digitalocean",     1) \
    X(SHOPIFY,          "shopify",          1) \
    X(DATABRICKS,       "databricks",       1) \
    X(HUGGINGFACE,      "huggingface",      1) \
    X(GRAFANA,          "grafana",          1) \
    X(LINEAR,           "linear",           1) \
    X(VAULT,            "vault",            1) \
    X(ATTRIBUTE,        "attribute",        1)
/* clang-format on */

#define X(name, text, on) REDACT_##name,
enum redact_kind { REDACT_KIND_MAP(X) REDACT_KIND_COUNT };
#undef X

#define REDACT_USUAL_BIT(name, text, on) | (uint64_t)(on) << REDACT_##name
#define REDACT_KINDS_USUAL (UINT64_C(0) REDACT_KIND_MAP(REDACT_USUAL_BIT))
#define REDACT_KINDS_ALL ((UINT64_C(1) << REDACT_KIND_COUNT) - 1)

_Static_assert(REDACT_KIND_COUNT < 40, "kinds and the patterns of a user are bits of one word");
