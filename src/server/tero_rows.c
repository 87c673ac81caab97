/* tero_rows: two tables. */
#include "server/tero_rows.h"

#include <inttypes.h>
#include <stdio.h>

#include "util/digest.h"

#define EMPTY "{\"policies\":[]}"

void tero_set_done(struct tero_set *set)
{
    buf_done(&set->document);
}

static int hash_of(char out[TERO_HASH_BYTES], struct span document)
{
    uint8_t sha256[DIGEST_SHA256_BYTES];
    int rc = digest_sha256(document, sha256);
    for (size_t i = 0; rc == 0 && i < TERO_HASH_BYTES / 2; i++)
        snprintf(out + 2 * i, 3, "%02x", sha256[i]);
    return rc;
}

static int take_set(void *ctx, const struct store_value *row)
{
    struct tero_set *set = ctx;
    set->version = row[0].number;
    set->created_ms = row[1].number;
    snprintf(set->hash, sizeof set->hash, "%.*s", (int)row[2].text.len,
             (const char *)row[2].text.base);
    buf_append(&set->document, row[3].text);
    return set->document.err;
}

int tero_set_read(struct tero_set *out, struct store *s, int64_t team, bool as_served)
{
    const struct store_value v = store_int(team);
    *out = (struct tero_set){0};
    int rc = as_served ? store_run(s,
                                   "SELECT version, created_ms, hash, served FROM tero_sets "
                                   "WHERE team_id = $1",
                                   &v, 1, take_set, out)
                       : store_run(s,
                                   "SELECT version, created_ms, hash, document FROM tero_sets "
                                   "WHERE team_id = $1",
                                   &v, 1, take_set, out);
    if (rc == 0 && out->version == 0) {
        buf_append(&out->document, SPAN(EMPTY));
        rc = hash_of(out->hash, SPAN(EMPTY));
    }
    if (rc < 0)
        tero_set_done(out);
    return rc;
}

static int put_rows(struct call *c, struct store *s)
{
    const struct store_value team = store_int(c->key->team->id);
    struct json_each each = json_each(json_get(c->root, "policies"));
    int rc = store_run(s, "DELETE FROM tero_statuses WHERE team_id = $1", &team, 1, NULL, NULL);
    while (rc == 0 && json_next(&each)) {
        const struct store_value v[] = {team, store_text(json_string(json_get(each.value, "id")))};
        rc = store_run(s, "INSERT INTO tero_statuses (team_id, policy_id) VALUES ($1, $2)", v,
                       ARRAY_LEN(v), NULL, NULL);
    }
    return rc;
}

int tero_set_put(struct call *c, struct store *s, struct span document, struct span served,
                 int64_t *version)
{
    char hash[TERO_HASH_BYTES], detail[48];
    int rc = hash_of(hash, served);
    if (rc == 0)
        rc = store_begin(s);
    if (rc < 0)
        return rc;
    const struct store_value v[] = {store_int(c->key->team->id), store_str(hash),
                                    store_text(document), store_text(served), store_int(c->now_ms)};
    rc = store_number(s,
                      "INSERT INTO tero_sets (team_id, version, hash, document, served, "
                      "created_ms) VALUES ($1, 1, $2, $3, $4, $5) ON CONFLICT (team_id) "
                      "DO UPDATE SET version = tero_sets.version + 1, hash = excluded.hash, "
                      "document = excluded.document, served = excluded.served, "
                      "created_ms = excluded.created_ms RETURNING version",
                      v, ARRAY_LEN(v), version);
    if (rc == 0)
        rc = put_rows(c, s);
    if (rc == 0) {
        int n = snprintf(detail, sizeof detail, "version %" PRId64, *version);
        rc = api_audit(c, s, "tero.put", SPAN("policies"), span_of(detail, (size_t)n));
    }
    return store_end(s, rc);
}

int tero_status_add(struct call *c, struct store *s, const struct tero_status *status)
{
    const struct store_value v[] = {store_int(c->key->team->id), store_text(status->policy_id),
                                    store_int(status->hits),     store_int(status->misses),
                                    store_text(status->errors),  store_text(status->instance),
                                    store_int(c->now_ms)};
    return store_run(s,
                     "UPDATE tero_statuses SET hits = hits + $3, misses = misses + $4, "
                     "errors = CASE WHEN $5 = '[]' THEN errors ELSE $5 END, instance = $6, "
                     "seen_ms = $7 WHERE team_id = $1 AND policy_id = $2",
                     v, ARRAY_LEN(v), NULL, NULL);
}
