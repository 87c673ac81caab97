/*
 * door: who may speak on an OTLP port, seen at the head of a request and before its body.
 *
 *     origin   a web page that is not allowed may send as anybody may, but not read the answer
 *     host     on loopback: is it a name of ours? (net/host.h)
 *     key      receivers.otlp.auth: one of the keys of the file? (receiver/auth.h)
 *     project  auth.upstream_key: whose project key goes on with the records?
 *
 * A key of the file that names an upstream key decides the last. Else the project key is looked
 * for where PostHog has it, but a bearer that was a key of the file is none.
 *
 * Ownership: texts of the options are the caller's and outlive the door.
 * Blocking: never. No key is ever logged.
 */
#pragma once

#include <stdbool.h>

#include "net/http.h"
#include "receiver/auth.h"
#include "receiver/client_key.h"
#include "receiver/cors.h"
#include "util/metric.h"

#define DOOR_ORIGINS_TOLD 16 /* reported, each once; what comes then is counted */

struct door_opts {
    enum upstream_key upstream_key;
    const char *hosts; /* between commas, beside our own */
    struct cors cors;
};

struct door {
    struct door_opts opts;
    struct auth_keys *keys;       /* owned; NULL: none are asked for */
    char key[LOGS_KEY_BYTES + 1]; /* the project key that is configured */
    bool has_told_of_key;
    unsigned told;
    uint64_t told_of[DOOR_ORIGINS_TOLD]; /* hashes of origins */
    struct metric preflights, refused_preflights;
};

enum door_verdict { DOOR_OPEN, DOOR_NO_KEY, DOOR_WRONG_KEY, DOOR_NO_PROJECT, DOOR_NO_MEMORY };

/* What a request that may enter brings; in its arena. */
struct door_pass {
    struct span upstream_key; /* empty: ours */
    struct span service;      /* empty: what the records say */
};

void door_init(struct door *d, const struct door_opts *opts);
void door_done(struct door *d);

/* From now on these keys, which the door owns. */
void door_set_keys(struct door *d, struct auth_keys *keys);

/* Take the origin out of a head whose page may not read the answer. */
void door_check_origin(const struct door *d, struct http_head *head);

/* May a preflight's request come? If not that is counted, and told once. */
bool door_check_preflight(struct door *d, const struct http_head *head);

bool door_knows_host(const struct door *d, const struct http_head *head, bool on_loopback);

enum door_verdict door_enter(struct door *d, struct http_exchange *x, struct door_pass *out);
