/* senders: a hash table with chains. */
#include "server/senders.h"

#include <stdlib.h>

#include "util/hash.h"

#define SLOTS_MIN 256

struct sender {
    struct sender *next;
    const struct service *service;
    uint64_t hash;
    uint64_t sequence; /* the last that is stored; 0: none */
    uint64_t pending;  /* that is being stored; 0: none */
    int64_t seen_ms;
    size_t instance_len, boot_len;
    char names[]; /* both, side by side */
};

void senders_init(struct senders *s, struct budget *budget)
{
    *s = (struct senders){.budget = budget};
}

static void free_one(struct senders *s, struct sender *one)
{
    budget_give(s->budget, sizeof *one + one->instance_len + one->boot_len);
    free(one);
    s->count--;
}

void senders_done(struct senders *s)
{
    for (uint32_t i = 0; i < s->slot_count; i++) {
        for (struct sender *one = s->slots[i], *next; one != NULL; one = next) {
            next = one->next;
            free_one(s, one);
        }
    }
    budget_give(s->budget, s->slot_count * sizeof *s->slots);
    free(s->slots);
    senders_init(s, s->budget);
}

static int grow(struct senders *s)
{
    uint32_t count = s->slot_count == 0 ? SLOTS_MIN : s->slot_count * 2;
    if (s->count < s->slot_count)
        return 0;
    if (budget_take(s->budget, count * sizeof *s->slots) < 0)
        return ERR_FULL;
    struct sender **slots = calloc(count, sizeof *slots);
    if (slots == NULL) {
        budget_give(s->budget, count * sizeof *s->slots);
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i < s->slot_count; i++) {
        for (struct sender *one = s->slots[i], *next; one != NULL; one = next) {
            next = one->next;
            one->next = slots[one->hash & (count - 1)];
            slots[one->hash & (count - 1)] = one;
        }
    }
    budget_give(s->budget, s->slot_count * sizeof *s->slots);
    free(s->slots);
    s->slots = slots;
    s->slot_count = count;
    return 0;
}

static bool is_of(const struct sender *one, const struct service *service, struct span instance,
                  struct span boot)
{
    return one->service == service && span_eq(span_of(one->names, one->instance_len), instance) &&
           span_eq(span_of(one->names + one->instance_len, one->boot_len), boot);
}

static int find(struct senders *s, const struct service *service, struct span instance,
                struct span boot, struct sender **out)
{
    uint64_t hash =
        hash_mix(hash_mix(hash64(instance), hash64(boot)), (uint64_t)(uintptr_t)service);
    int rc = grow(s);
    if (rc < 0)
        return rc;
    struct sender **slot = &s->slots[hash & (s->slot_count - 1)];
    for (struct sender *one = *slot; one != NULL; one = one->next) {
        if (one->hash == hash && is_of(one, service, instance, boot)) {
            *out = one;
            return 0;
        }
    }
    size_t bytes = sizeof **out + instance.len + boot.len;
    if (budget_take(s->budget, bytes) < 0)
        return ERR_FULL;
    struct sender *one = calloc(1, bytes);
    if (one == NULL) {
        budget_give(s->budget, bytes);
        return ERR_NOMEM;
    }
    *one = (struct sender){.next = *slot,
                           .service = service,
                           .hash = hash,
                           .instance_len = instance.len,
                           .boot_len = boot.len};
    memcpy(one->names, instance.base, instance.len);
    memcpy(one->names + instance.len, boot.base, boot.len);
    *slot = one;
    s->count++;
    *out = one;
    return 0;
}

int senders_begin(struct senders *s, const struct service *service, struct span instance,
                  struct span boot, uint64_t sequence, int64_t now_ms, enum sender_verdict *verdict,
                  struct sender **out)
{
    struct sender *one;
    int rc = find(s, service, instance, boot, &one);
    if (rc < 0)
        return rc;
    one->seen_ms = now_ms;
    *verdict = sequence <= one->sequence ? SENDER_REPEATED
               : one->pending != 0       ? SENDER_BUSY
                                         : SENDER_NEW;
    s->repeats += *verdict == SENDER_REPEATED;
    if (*verdict == SENDER_NEW) {
        one->pending = sequence;
        *out = one;
    }
    return 0;
}

void senders_commit(struct senders *s, struct sender *sender)
{
    s->gaps += sender->pending - sender->sequence - 1;
    sender->sequence = sender->pending;
    sender->pending = 0;
}

void senders_cancel(struct senders *s, struct sender *sender)
{
    (void)s;
    sender->pending = 0;
}

int senders_restore(struct senders *s, const struct service *service, struct span instance,
                    struct span boot, uint64_t sequence, int64_t seen_ms)
{
    struct sender *one;
    int rc = find(s, service, instance, boot, &one);
    if (rc < 0)
        return rc;
    one->sequence = sequence;
    one->seen_ms = seen_ms;
    return 0;
}

void senders_forget(struct senders *s, int64_t now_ms)
{
    for (uint32_t i = 0; i < s->slot_count; i++) {
        struct sender **at = &s->slots[i];
        while (*at != NULL) {
            struct sender *one = *at;
            if (one->pending != 0 || now_ms - one->seen_ms < SENDERS_KEEP_MS) {
                at = &one->next;
                continue;
            }
            *at = one->next;
            free_one(s, one);
        }
    }
}
