/* follow: a small table, in which the newest error of a bucket has the place. */
#include "pipeline/follow.h"

void follow_init(struct follow *f, uint32_t lines, uint64_t window_ms, uint32_t per_second)
{
    *f = (struct follow){.lines = lines, .window_ms = window_ms};
    token_bucket_init(&f->bucket, per_second);
}

void follow_begin(struct follow *f, uint64_t instance, uint64_t now_ms)
{
    if (f->lines == 0)
        return;
    if (token_bucket_level(&f->bucket, now_ms) == 0) {
        f->limited++;
        return;
    }
    f->slots[instance % FOLLOW_SLOTS].instance = instance;
    f->slots[instance % FOLLOW_SLOTS].until_ms = now_ms + f->window_ms;
    f->slots[instance % FOLLOW_SLOTS].lines = f->lines;
    f->until_ms = now_ms + f->window_ms;
}

bool follow_may(struct follow *f, uint64_t instance, uint64_t now_ms)
{
    uint64_t at = instance % FOLLOW_SLOTS;
    if (f->slots[at].instance != instance || now_ms > f->slots[at].until_ms ||
        f->slots[at].lines == 0)
        return false;
    token_bucket_level(&f->bucket, now_ms);
    if (f->bucket.tokens > -(double)f->lines) /* a trace that was begun is finished on credit */
        return true;
    f->limited++;
    f->slots[at].lines = 0;
    return false;
}

void follow_took(struct follow *f, uint64_t instance)
{
    f->slots[instance % FOLLOW_SLOTS].lines--;
    f->bucket.tokens -= 1;
}
