/* auth: a table of keys, and a look at two headers. */
#include "receiver/auth.h"

#include <stdlib.h>

#include "receiver/client_key.h"

struct reading {
    struct auth_keys *keys;
    struct error *err;
};

static int refuse(struct reading *r, const struct json_member *m, const char *why)
{
    /* Names and members are no secrets, values are. */
    return err_set(r->err, ERR_CONFIG, "%.*s%s%.*s: %s", (int)m->outer.len,
                   (const char *)m->outer.base, m->outer.len > 0 ? "." : "", (int)m->key.len,
                   (const char *)m->key.base, why);
}

static struct auth_key *find(struct auth_keys *a, struct span name)
{
    for (unsigned i = 0; i < a->count; i++)
        if (span_eq(name, span_str(a->keys[i].name)))
            return &a->keys[i];
    return NULL;
}

static int add(struct reading *r, const struct json_member *m)
{
    struct auth_keys *a = r->keys;
    if (m->key.len == 0 || m->key.len >= AUTH_NAME_BYTES)
        return refuse(r, m, "a name has from 1 to 63 bytes");
    if (find(a, m->key) != NULL)
        return refuse(r, m, "this name was given before");
    if (a->count == AUTH_KEYS_MAX)
        return refuse(r, m, "one key too many: 256 are the most");
    memcpy(a->keys[a->count++].name, m->key.base, m->key.len);
    return 0;
}

static int set_key(struct reading *r, struct auth_key *k, const struct json_member *m)
{
    struct secret key;
    for (size_t i = 0; i < m->text.len; i++)
        if (m->text.base[i] <= ' ' || m->text.base[i] > '~')
            return refuse(r, m, "a key is of printable ASCII without blanks");
    if (m->text.len < AUTH_KEY_BYTES_MIN || !secret_set(&key, m->text))
        return refuse(r, m, "a key has from 16 to 255 characters");
    for (unsigned i = 0; i < r->keys->count; i++)
        if (secret_eq(&key, &r->keys->keys[i].key))
            return refuse(r, m, "this key was given before, under another name");
    k->key = key;
    secret_wipe(&key, sizeof key);
    return 0;
}

static int set_service(struct reading *r, struct auth_key *k, const struct json_member *m)
{
    if (m->text.len == 0 || m->text.len >= AUTH_SERVICE_BYTES)
        return refuse(r, m, "a service's name has from 1 to 255 bytes");
    memcpy(k->service, m->text.base, m->text.len);
    return 0;
}

static int set_upstream_key(struct reading *r, struct auth_key *k, const struct json_member *m)
{
    if (!client_key_is_sound(m->text))
        return refuse(r, m, "a project key has up to 64 printable characters");
    memcpy(k->upstream_key, m->text.base, m->text.len);
    return 0;
}

static int on_member(void *arg, const struct json_member *m, struct error *err)
{
    static const struct {
        const char *key;
        int (*set)(struct reading *r, struct auth_key *k, const struct json_member *m);
    } members[] = {{"key", set_key}, {"service", set_service}, {"upstream_key", set_upstream_key}};
    struct reading *r = arg;
    r->err = err;
    if (m->outer.len == 0) {
        int rc = add(r, m);
        if (rc < 0 || m->kind == JSON_OBJECT)
            return rc;
        if (m->kind != JSON_STRING)
            return refuse(r, m, "a key is a text: put it in quotes");
        return set_key(r, &r->keys->keys[r->keys->count - 1], m);
    }
    struct auth_key *k = find(r->keys, m->outer);
    for (size_t i = 0; i < ARRAY_LEN(members) && k != NULL; i++) {
        if (!span_eq(m->key, span_str(members[i].key)))
            continue;
        if (m->kind != JSON_STRING)
            return refuse(r, m, "a text is wanted here: put it in quotes");
        return members[i].set(r, k, m);
    }
    return refuse(r, m, "no such member: key, service and upstream_key are");
}

int auth_read(struct auth_keys **out, policy_visit_fn *visit, const char *name, struct span text,
              struct error *err)
{
    static const struct secret none;
    struct auth_keys *a = calloc(1, sizeof *a);
    struct reading r = {a, err};
    if (a == NULL)
        return ERR_NOMEM;
    int rc = visit(name, text, on_member, &r, err);
    if (rc == 0 && a->count == 0)
        rc = err_set(err, ERR_CONFIG, "%s: no keys: nobody could send", name);
    for (unsigned i = 0; i < a->count && rc == 0; i++)
        if (secret_eq(&a->keys[i].key, &none))
            rc = err_set(err, ERR_CONFIG, "%s: %s: without a key", name, a->keys[i].name);
    if (rc < 0) {
        auth_free(a);
        return rc == ERR_NOMEM ? rc : ERR_CONFIG;
    }
    *out = a;
    return 0;
}

void auth_free(struct auth_keys *a)
{
    if (a == NULL)
        return;
    secret_wipe(a, sizeof *a);
    free(a);
}

enum auth_verdict auth_check(const struct auth_keys *a, const struct http_head *head,
                             const struct auth_key **who)
{
    struct secret shown;
    struct span text = head->api_key.len > 0 ? head->api_key : http_bearer(head);
    const struct auth_key *found = NULL;
    if (text.len == 0)
        return AUTH_NO_KEY;
    if (!secret_set(&shown, text))
        return AUTH_WRONG_KEY;
    for (unsigned i = 0; i < a->count; i++) /* all of them, whichever it is */
        found = secret_eq(&shown, &a->keys[i].key) ? &a->keys[i] : found;
    secret_wipe(&shown, sizeof shown);
    if (found == NULL)
        return AUTH_WRONG_KEY;
    *who = found;
    return AUTH_YES;
}
