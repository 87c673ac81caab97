/*
 * service_versions: the last versions of one service, as its Resources say them (service.version).
 *
 * What a report needs to say since when a version is there. Looked at once a Resource, by hash;
 * what is shown is redacted by whoever adds it.
 *
 * Limits     SERVICE_VERSIONS of a service: a further one takes the place of the one that was added
 *            first. A text is cut at SERVICE_VERSION_BYTES, at the end of a character.
 * Blocking   never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "util/span.h"

#define SERVICE_VERSIONS 4       /* while one takes the place of another, and one more */
#define SERVICE_VERSION_BYTES 64 /* a hash of git has 40 digits */

struct service_version {
    uint64_t hash; /* of the text as it came */
    uint64_t first_ns;
    uint8_t len;
    char text[SERVICE_VERSION_BYTES];
};

struct service_versions {
    struct service_version of[SERVICE_VERSIONS];
    uint8_t count, next; /* next: the place of the next one */
};

bool service_versions_has(const struct service_versions *v, uint64_t hash);
void service_versions_add(struct service_versions *v, uint64_t hash, struct span shown,
                          uint64_t unix_ns);

/* Those of another table that are not in this one, as far as there is room. */
void service_versions_merge(struct service_versions *to, const struct service_versions *more);

static inline struct span service_version_text(const struct service_version *v)
{
    return span_of(v->text, v->len);
}
