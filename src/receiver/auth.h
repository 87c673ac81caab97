/*
 * auth: who may send. A file names the keys; a request shows one of them.
 *
 *     shop: 0d1f5b...                  a name, and the key
 *     phone:
 *       key: 9c41a0...
 *       service: phone-app             its records are of this service, whatever they say
 *       upstream_key: phc_...          they go on with this project key
 *
 * A key stands in `x-api-key`, or is the token of `Authorization: Bearer`. The first of them that
 * a request has is the one that counts.
 *
 * Ownership: texts are copied. Keys are wiped when they are freed, and never logged: what is
 * logged is the name. Blocking: never.
 */
#pragma once

#include <stdint.h>

#include "net/http.h"
#include "otlp/logs.h"
#include "policy/document.h"
#include "util/err.h"
#include "util/secret.h"

#define AUTH_KEYS_MAX 256     /* each is compared with what a request shows: 16 KiB a microsecond */
#define AUTH_KEY_BYTES_MIN 16 /* fewer can be guessed */
#define AUTH_FILE_BYTES (256u << 10)
#define AUTH_NAME_BYTES 64
#define AUTH_SERVICE_BYTES 256

struct auth_key {
    struct secret key;
    char name[AUTH_NAME_BYTES];
    char service[AUTH_SERVICE_BYTES];      /* "": what the records say */
    char upstream_key[LOGS_KEY_BYTES + 1]; /* "": as auth.upstream_key says */
};

struct auth_keys {
    unsigned count;
    struct auth_key keys[AUTH_KEYS_MAX];
};

enum auth_verdict { AUTH_YES, AUTH_NO_KEY, AUTH_WRONG_KEY };

/* Read the file's text; `name` is for messages. ERR_CONFIG with a sentence, ERR_NOMEM. */
MUST_CHECK int auth_read(struct auth_keys **out, policy_visit_fn *visit, const char *name,
                         struct span text, struct error *err);

/* Accepts NULL. */
void auth_free(struct auth_keys *a);

/* *who is then the key; borrowed. */
enum auth_verdict auth_check(const struct auth_keys *a, const struct http_head *head,
                             const struct auth_key **who);
