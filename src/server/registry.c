/* registry: teams in a list, keys in buckets by their digest, services in a hash table. */
#include "server/registry.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/hash.h"

#define SLOTS_MIN 64

static const struct {
    const char *name;
    enum role role;
} roles[] = {
    {"report", ROLE_REPORT}, {"read", ROLE_READ}, {"write", ROLE_WRITE}, {"admin", ROLE_ADMIN}};

const char *role_name(enum role role)
{
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (roles[i].role == role)
            return roles[i].name;
    return "none";
}

bool role_parse(struct span name, enum role *out)
{
    for (size_t i = 0; i < ARRAY_LEN(roles); i++) {
        if (span_eq(name, span_str(roles[i].name))) {
            *out = roles[i].role;
            return true;
        }
    }
    return false;
}

static void *take(struct registry *r, size_t bytes)
{
    if (budget_take(r->budget, bytes) < 0)
        return NULL;
    void *at = calloc(1, bytes);
    if (at == NULL)
        budget_give(r->budget, bytes);
    return at;
}

static void give(struct registry *r, void *at, size_t bytes)
{
    if (at != NULL)
        budget_give(r->budget, bytes);
    free(at);
}

void registry_init(struct registry *r, struct budget *budget)
{
    *r = (struct registry){.budget = budget};
    for (size_t i = 0; i < ARRAY_LEN(r->keys); i++)
        list_init(&r->keys[i]);
}

/* ---- teams -------------------------------------------------------------- */

static size_t team_bytes(size_t name_len)
{
    return sizeof(struct team) + name_len + 1;
}

int registry_add_team(struct registry *r, int64_t id, struct span name, bool is_operator)
{
    if (r->team_count == REGISTRY_TEAMS_MAX)
        return ERR_FULL;
    struct team *t = take(r, team_bytes(name.len));
    if (t == NULL)
        return ERR_FULL;
    t->id = id;
    t->is_operator = is_operator;
    memcpy(t->name, name.base, name.len);
    r->teams[r->team_count++] = t;
    return 0;
}

struct team *registry_team(const struct registry *r, int64_t id)
{
    for (uint32_t i = 0; i < r->team_count; i++)
        if (r->teams[i]->id == id)
            return r->teams[i];
    return NULL;
}

/* ---- keys --------------------------------------------------------------- */

static struct list *bucket_of(struct registry *r, const uint8_t sha256[DIGEST_SHA256_BYTES])
{
    return &r->keys[(sha256[0] | sha256[1] << 8) % REGISTRY_KEY_BUCKETS];
}

int registry_add_key(struct registry *r, const struct key *key)
{
    if (key->team->keys >= REGISTRY_KEYS_MAX)
        return ERR_FULL;
    struct key *k = take(r, sizeof *k);
    if (k == NULL)
        return ERR_FULL;
    *k = *key;
    token_bucket_init(&k->rate, r->requests_per_second);
    k->team->keys++;
    list_append(bucket_of(r, k->sha256), &k->link);
    return 0;
}

static void free_key(struct registry *r, struct key *k)
{
    k->team->keys--;
    list_remove(&k->link);
    give(r, k, sizeof *k);
}

/* A digest of a random key needs no comparison in constant time: who could measure it would have
 * to find keys by their digests. */
struct key *registry_find_key(struct registry *r, struct span shown, int64_t now_ms)
{
    uint8_t sha256[DIGEST_SHA256_BYTES];
    if (shown.len == 0 || digest_sha256(shown, sha256) < 0)
        return NULL;
    LIST_EACH (at, bucket_of(r, sha256)) {
        struct key *k = container_of(at, struct key, link);
        if (memcmp(k->sha256, sha256, sizeof sha256) == 0)
            return k->ends_ms > now_ms ? k : NULL;
    }
    return NULL;
}

struct key *registry_key(struct registry *r, int64_t id)
{
    for (size_t i = 0; i < ARRAY_LEN(r->keys); i++)
        LIST_EACH (at, &r->keys[i]) {
            struct key *k = container_of(at, struct key, link);
            if (k->id == id)
                return k;
        }
    return NULL;
}

void registry_end_key(struct registry *r, int64_t id, int64_t ends_ms)
{
    struct key *k = registry_key(r, id);
    if (k != NULL && ends_ms < k->ends_ms)
        k->ends_ms = ends_ms;
}

/* ---- services ----------------------------------------------------------- */

static uint64_t hash_of(const struct team *team, struct span name)
{
    return hash_mix(hash64(name), (uint64_t)team->id);
}

static struct service **slot_of(struct service **slots, uint32_t count, uint64_t hash,
                                const struct team *team, struct span name)
{
    for (uint32_t i = (uint32_t)hash & (count - 1);; i = (i + 1) & (count - 1))
        if (slots[i] == NULL || (slots[i]->hash == hash && slots[i]->team == team &&
                                 span_eq(span_of(slots[i]->name, slots[i]->name_len), name)))
            return &slots[i];
}

struct service *registry_find_service(const struct registry *r, const struct team *team,
                                      struct span name)
{
    return r->slot_count == 0
               ? NULL
               : *slot_of(r->services, r->slot_count, hash_of(team, name), team, name);
}

struct service *registry_next_service(const struct registry *r, uint32_t *at)
{
    while (*at < r->slot_count && r->services[*at] == NULL)
        ++*at;
    return *at < r->slot_count ? r->services[(*at)++] : NULL;
}

struct service *registry_service(const struct registry *r, int64_t id)
{
    struct service *s;
    for (uint32_t at = 0; (s = registry_next_service(r, &at)) != NULL;)
        if (s->id == id)
            return s;
    return NULL;
}

/* Half of the slots stay empty. */
static int make_room(struct registry *r)
{
    uint32_t count = r->slot_count == 0 ? SLOTS_MIN : r->slot_count * 2;
    if (r->service_count * 2 < r->slot_count)
        return 0;
    struct service **slots = take(r, count * sizeof(struct service *));
    if (slots == NULL)
        return ERR_FULL;
    for (uint32_t i = 0; i < r->slot_count; i++) {
        struct service *s = r->services[i];
        if (s != NULL)
            *slot_of(slots, count, s->hash, s->team, span_of(s->name, s->name_len)) = s;
    }
    give(r, r->services, r->slot_count * sizeof(struct service *));
    r->services = slots;
    r->slot_count = count;
    return 0;
}

int registry_add_service(struct registry *r, struct team *team, struct span name, int64_t id,
                         struct service **out)
{
    if (team->services >= r->max_services || make_room(r) < 0)
        return ERR_FULL;
    struct service *s = take(r, sizeof *s + name.len);
    if (s == NULL)
        return ERR_FULL;
    s->id = id;
    s->team = team;
    s->hash = hash_of(team, name);
    s->name_len = name.len;
    memcpy(s->name, name.base, name.len);
    list_init(&s->waiters);
    *slot_of(r->services, r->slot_count, s->hash, team, name) = s;
    r->service_count++;
    team->services++;
    *out = s;
    return 0;
}

int registry_set_policy(struct registry *r, struct service *s, int64_t version,
                        struct span document)
{
    struct buf body = {.budget = r->budget};
    if (buf_reserve_exact(&body, document.len) < 0)
        return body.err;
    buf_append(&body, document);
    buf_done(&s->policy.body);
    s->policy.body = body;
    s->policy.version = version;
    snprintf(s->policy.etag, sizeof s->policy.etag, "\"v%" PRId64 "-%016" PRIx64 "\"", version,
             hash64(document));
    return 0;
}

void registry_done(struct registry *r)
{
    struct service *s;
    for (uint32_t at = 0; (s = registry_next_service(r, &at)) != NULL;) {
        buf_done(&s->policy.body);
        give(r, s, sizeof *s + s->name_len);
    }
    give(r, r->services, r->slot_count * sizeof(struct service *));
    for (size_t i = 0; i < ARRAY_LEN(r->keys); i++)
        LIST_EACH (at, &r->keys[i])
            free_key(r, container_of(at, struct key, link));
    for (uint32_t i = 0; i < r->team_count; i++)
        give(r, r->teams[i], team_bytes(strlen(r->teams[i]->name)));
    registry_init(r, r->budget);
}

bool registry_note_version(struct service *s, uint64_t hash)
{
    for (size_t i = 0; i < ARRAY_LEN(s->versions); i++)
        if (s->versions[i] == hash)
            return false;
    s->versions[s->next_version] = hash;
    s->next_version = (uint8_t)((s->next_version + 1) % ARRAY_LEN(s->versions));
    return true;
}
