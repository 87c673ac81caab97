/* json_object: any bytes as one object. Its members are shown once each, with those inside of them
 * or without; who has enough is asked no more; a text over the limit is refused. */
#include <assert.h>

#include "otlp/json_object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_BYTES 65536

struct seen {
    unsigned outer, inner, most;
};

static bool on_member(void *arg, const struct json_member *m)
{
    struct seen *seen = arg;
    assert(m->kind <= JSON_OBJECT && (m->kind == JSON_STRING || m->text.len == 0));
    assert(m->kind != JSON_UINT || m->number > INT64_MAX);
    assert(m->kind != JSON_BOOL || m->number <= 1);
    if (m->outer.base == NULL)
        seen->outer++;
    else
        seen->inner++;
    return seen->outer + seen->inner < seen->most;
}

static int visit(struct json_object *j, struct span text, struct seen *seen, bool is_nested)
{
    return is_nested ? json_object_visit_nested(j, text, on_member, seen)
                     : json_object_visit(j, text, on_member, seen);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct json_object *room, *little;
    struct span text = span_of(data, size);
    struct seen flat = {.most = UINT32_MAX}, nested = flat, one = {.most = 1}, none = {0};
    if (size == 0 || size > TEXT_BYTES)
        return 0;
    if (room == NULL)
        assert(json_object_new(&room, TEXT_BYTES) == 0 && json_object_new(&little, 1) == 0);
    int rc = visit(room, text, &flat, false);
    assert(rc == 0 || rc == ERR_MALFORMED);
    assert(visit(room, text, &nested, true) == rc && nested.outer == flat.outer);
    assert(flat.inner == 0 && (rc == 0 || flat.outer + nested.inner == 0));
    for (int is_nested = 0; is_nested < 2; is_nested++) {
        one = (struct seen){.most = 1};
        assert(visit(room, text, &one, is_nested != 0) == rc);
        assert(one.outer == (flat.outer > 0) && one.inner == 0);
    }
    assert(visit(little, text, &none, false) == (size > 1 ? ERR_TOO_BIG : ERR_MALFORMED));
    assert(none.outer == 0);
    json_object_free(NULL);
    return 0;
}
