/* service_versions: a ring of four. */
#include "pipeline/service_versions.h"

#include <string.h>

bool service_versions_has(const struct service_versions *v, uint64_t hash)
{
    for (uint8_t i = 0; i < v->count; i++)
        if (v->of[i].hash == hash)
            return true;
    return false;
}

void service_versions_add(struct service_versions *v, uint64_t hash, struct span shown,
                          uint64_t unix_ns)
{
    struct service_version *at = &v->of[v->next];
    size_t n = shown.len;
    if (n > SERVICE_VERSION_BYTES)
        for (n = SERVICE_VERSION_BYTES; n > 0 && (shown.base[n] & 0xc0) == 0x80;)
            n--; /* not inside a character */
    *at = (struct service_version){.hash = hash, .first_ns = unix_ns, .len = (uint8_t)n};
    if (n > 0)
        memcpy(at->text, shown.base, n);
    v->next = (uint8_t)((v->next + 1) % SERVICE_VERSIONS);
    v->count += v->count < SERVICE_VERSIONS;
}

void service_versions_merge(struct service_versions *to, const struct service_versions *more)
{
    for (uint8_t i = 0; i < more->count && to->count < SERVICE_VERSIONS; i++) {
        const struct service_version *v = &more->of[i];
        if (!service_versions_has(to, v->hash))
            service_versions_add(to, v->hash, service_version_text(v), v->first_ns);
    }
}
