/*
 * registry: teams, keys and services, as the loop knows them.
 *
 * A copy of what the database has, so that a request is authenticated, a report is placed and a
 * policy is handed out without it. What changes is changed in the database first, then here.
 * Services that a report names are here at once, with id 0 until they are stored.
 *
 * Limits     teams REGISTRY_TEAMS_MAX, keys of one team REGISTRY_KEYS_MAX, services of one team
 *            as configured.
 * Memory     drawn from the budget. Nothing but keys is freed before registry_done().
 * Blocking   never.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/budget.h"
#include "util/buf.h"
#include "util/digest.h"
#include "util/err.h"
#include "util/list.h"
#include "util/span.h"
#include "util/token_bucket.h"

#define REGISTRY_TEAMS_MAX 1000
#define REGISTRY_KEYS_MAX 1000
#define REGISTRY_KEY_BUCKETS 1024

enum role { ROLE_REPORT = 1, ROLE_READ = 2, ROLE_WRITE = 4, ROLE_ADMIN = 8 };
#define ROLE_ANY (ROLE_REPORT | ROLE_READ | ROLE_WRITE | ROLE_ADMIN)

const char *role_name(enum role role);
bool role_parse(struct span name, enum role *out);

struct team {
    int64_t id;
    bool is_operator;
    uint32_t services, keys;
    char name[]; /* with a NUL */
};

struct key {
    struct list link; /* in its bucket */
    int64_t id;
    struct team *team;
    enum role role;
    uint8_t sha256[DIGEST_SHA256_BYTES];
    int64_t ends_ms; /* INT64_MAX: it does not */
    struct token_bucket rate;
    uint32_t in_line; /* of its requests, waiting for the database */
};

/* What is handed out: encoded once. */
struct served_policy {
    int64_t version;
    char etag[48]; /* with its quotes */
    struct buf body;
};

struct service {
    atomic_int_least64_t id; /* 0: not stored yet; set on the loop, read by the worker as well */
    struct team *team;
    uint64_t hash;
    struct {
        uint64_t attempt; /* the flush that has listed it last */
        int64_t id, patterns;
    } storing;            /* the worker's own: see server/flush.h */
    uint64_t versions[8]; /* hashes of those that were noted last */
    uint8_t next_version;
    bool is_fresh; /* learned here, and other servers may know more: server/follow.c */
    struct served_policy policy;
    struct list waiters; /* server/poll.h */
    size_t name_len;
    char name[];
};

struct registry {
    struct budget *budget;
    uint32_t max_services;
    double requests_per_second;
    struct team *teams[REGISTRY_TEAMS_MAX];
    uint32_t team_count;
    struct list keys[REGISTRY_KEY_BUCKETS];
    struct service **services; /* open addressing */
    uint32_t slot_count, service_count;
};

void registry_init(struct registry *r, struct budget *budget);
void registry_done(struct registry *r);

/* ERR_FULL: there are too many, or no memory is left. */
MUST_CHECK int registry_add_team(struct registry *r, int64_t id, struct span name,
                                 bool is_operator);
struct team *registry_team(const struct registry *r, int64_t id); /* NULL: none */

MUST_CHECK int registry_add_key(struct registry *r, const struct key *key);
/* The key that was shown; NULL: none, or its time is over. */
struct key *registry_find_key(struct registry *r, struct span shown, int64_t now_ms);
struct key *registry_key(struct registry *r, int64_t id);
/* It ends then; at once where that is over. */
void registry_end_key(struct registry *r, int64_t id, int64_t ends_ms);

/* NULL: not known. */
struct service *registry_find_service(const struct registry *r, const struct team *team,
                                      struct span name);
struct service *registry_service(const struct registry *r, int64_t id);
/* Known from here on. ERR_FULL: the team has too many; ERR_NOMEM. `id` 0: not stored. */
MUST_CHECK int registry_add_service(struct registry *r, struct team *team, struct span name,
                                    int64_t id, struct service **out);

/* What is handed out from here on. ERR_FULL, ERR_NOMEM: what was stays. */
MUST_CHECK int registry_set_policy(struct registry *r, struct service *s, int64_t version,
                                   struct span document);

/* True: that version of a service was not noted lately. */
bool registry_note_version(struct service *s, uint64_t hash);

/* The next service from *at on; NULL: there are no more. */
struct service *registry_next_service(const struct registry *r, uint32_t *at);
