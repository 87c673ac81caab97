/*
 * queue: parcels in order, bounded by the memory that they hold. First in,
 * first out; halves of a split parcel go back to the front.
 */
#pragma once

#include "export/parcel.h"

struct queue {
    struct list parcels;
    size_t bytes; /* of the parcels here, as parcel_bytes() said when they came */
    uint32_t count;
    uint32_t logs; /* of them */
};

static inline void queue_init(struct queue *q)
{
    *q = (struct queue){0};
    list_init(&q->parcels);
}

static inline void queue_push(struct queue *q, struct parcel *p)
{
    list_append(&q->parcels, &p->link);
    q->bytes += parcel_bytes(p);
    q->count++;
    q->logs += p->signal == SIGNAL_LOGS;
}

static inline void queue_push_front(struct queue *q, struct parcel *p)
{
    list_prepend(&q->parcels, &p->link);
    q->bytes += parcel_bytes(p);
    q->count++;
    q->logs += p->signal == SIGNAL_LOGS;
}

/* Of a queue that is not empty; it stays there. */
static inline const struct parcel *queue_first(const struct queue *q)
{
    return container_of(q->parcels.next, struct parcel, link);
}

/* The oldest, or NULL. */
static inline struct parcel *queue_pop(struct queue *q)
{
    if (list_is_empty(&q->parcels))
        return NULL;
    struct parcel *p = container_of(q->parcels.next, struct parcel, link);
    list_remove(&p->link);
    q->bytes -= parcel_bytes(p);
    q->count--;
    q->logs -= p->signal == SIGNAL_LOGS;
    return p;
}
