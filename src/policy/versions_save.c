/* versions_save: the list of versions, written and read again. */
#include <string.h>

#include "policy/versions.h"
#include "util/saved.h"

void versions_save(const struct versions *v, struct buf *out)
{
    uint32_t count = versions_count(v);
    saved_put_u32(out, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct version *it = versions_at(v, i);
        saved_put_u32(out, it->number);
        saved_put_u8(out, (uint8_t)it->state);
        saved_put_u64(out, it->created_unix_s);
        saved_put_span(out, span_str(it->by));
        saved_put_span(out, span_str(it->why));
        saved_put_double(out, it->saving_bytes);
        saved_put_double(out, it->saving_money);
        saved_put_double(out, it->saving_share);
        saved_put_u32(out, it->changes);
        saved_put_u32(out, it->base);
        saved_put_u8(out, it->is_from_outside);
        saved_put_span(out, it->document);
    }
}

static void read_text(struct saved *s, char *out, size_t size)
{
    struct span text = saved_span(s);
    s->is_bad |= text.len >= size;
    if (s->is_bad)
        return;
    if (text.len > 0)
        memcpy(out, text.base, text.len);
    out[text.len] = '\0';
}

int versions_read(struct versions *v, struct span text)
{
    struct saved s = {.left = text};
    int rc = 0;
    for (uint32_t n = saved_u32(&s); n > 0 && !s.is_bad && rc == 0; n--) {
        struct version it = {.number = saved_u32(&s)};
        it.state = (enum version_state)saved_u8(&s);
        it.created_unix_s = saved_u64(&s);
        read_text(&s, it.by, sizeof it.by);
        read_text(&s, it.why, sizeof it.why);
        it.saving_bytes = saved_double(&s);
        it.saving_money = saved_double(&s);
        it.saving_share = saved_double(&s);
        it.changes = saved_u32(&s);
        it.base = saved_u32(&s);
        it.is_from_outside = saved_u8(&s) != 0;
        it.document = saved_span(&s);
        if (!s.is_bad)
            rc = versions_restore(v, &it);
    }
    return s.is_bad ? ERR_MALFORMED : rc;
}
