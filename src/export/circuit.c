/* circuit: three states. */
#include "export/circuit.h"

#include "export/answer.h"

const char *circuit_state_name(enum circuit_state state)
{
    static const char *const names[] = {
        [CIRCUIT_CLOSED] = "closed",
        [CIRCUIT_OPEN] = "open",
        [CIRCUIT_HALF_OPEN] = "half_open",
    };
    return names[state];
}

/* No try before at_ms. Moves the time of an open circuit only to later. */
static void open_until(struct circuit *c, uint64_t at_ms)
{
    if (c->state != CIRCUIT_OPEN || at_ms > c->retry_at_ms)
        c->retry_at_ms = at_ms;
    c->state = CIRCUIT_OPEN;
}

bool circuit_fail(struct circuit *c, const struct circuit_failure *f, uint64_t now_ms,
                  struct rng *rng)
{
    bool was_closed = c->state == CIRCUIT_CLOSED;
    if (c->failures++ == 0)
        c->opened_ms = now_ms;
    if (f->is_asked && now_ms + f->wait_ms > c->hold_until_ms)
        c->hold_until_ms = now_ms + f->wait_ms;
    if (f->was_probe)
        c->probing = false;
    if (was_closed && !f->for_all && c->failures < CIRCUIT_FAILURES)
        return false;
    if (was_closed)
        c->probes = 0;
    /* What was sent before it opened says nothing new, unless it asks for time. */
    if (was_closed || f->was_probe) {
        c->probes++;
        open_until(c, now_ms + (f->wait_ms > 0 ? f->wait_ms : backoff_ms(rng, c->probes)));
    } else if (f->wait_ms > 0) {
        open_until(c, now_ms + f->wait_ms);
    }
    if (c->state == CIRCUIT_OPEN && c->hold_until_ms > c->retry_at_ms)
        c->retry_at_ms = c->hold_until_ms;
    return was_closed;
}

bool circuit_pass(struct circuit *c, uint64_t now_ms)
{
    bool was_closed = c->state == CIRCUIT_CLOSED;
    c->probing = false;
    if (!was_closed && now_ms < c->hold_until_ms) {
        open_until(c, c->hold_until_ms);
        return false;
    }
    c->state = CIRCUIT_CLOSED;
    c->failures = c->probes = 0;
    return !was_closed;
}

void circuit_half_open(struct circuit *c, uint64_t now_ms)
{
    if (c->state == CIRCUIT_OPEN && now_ms >= c->hold_until_ms)
        c->state = CIRCUIT_HALF_OPEN;
}

void circuit_renew(struct circuit *c, uint64_t now_ms)
{
    c->probes = 0;
    circuit_half_open(c, now_ms);
}

bool circuit_sent(struct circuit *c)
{
    bool is_probe = c->state == CIRCUIT_HALF_OPEN;
    c->probing |= is_probe;
    return is_probe;
}
