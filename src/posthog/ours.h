/*
 * ours: how what lipservice has made in a project is told from what others have.
 *
 * What can be tagged carries the tag; what has no tags is told by the beginning of its name. What
 * carries neither is never changed.
 */
#pragma once

#include "otlp/json_doc.h"

#define POSTHOG_TAG "lipservice"
#define POSTHOG_PREFIX "[lipservice] "

static inline bool posthog_is_ours(struct json_node item)
{
    struct json_each each = json_each(json_get(item, "tags"));
    while (json_next(&each))
        if (span_eq(json_string(each.value), SPAN(POSTHOG_TAG)))
            return true;
    return span_starts(json_string(json_get(item, "name")), SPAN(POSTHOG_PREFIX));
}
