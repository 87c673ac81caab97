/*
 * record_clock: the time by which records are decided, which is their own.
 *
 * Windows, budgets and limits a second go by when records were written and not by when they
 * arrived: a batch of five seconds is five seconds, and a replay of captured requests decides
 * as the program did. It stands at the newest time that a record had and never goes back for
 * records that come late. A sender's clock may be wrong, so the wall clock bounds it:
 *
 *     ahead   never: a time in the future counts as now
 *     behind  when all clocks are slow it lags; but from the least lag that there was it falls
 *             back by RECORD_CLOCK_SLACK_MS at most. Over any longer time it goes on as fast as
 *             the wall clock does, whatever records say, and one that stands still costs
 *             that much once
 *     old     a time before RECORD_CLOCK_OLDEST_MS counts as none
 *
 * While the queue presses there is no slack: what is shed depends on time that passes.
 *
 * Units      milliseconds since 1970.
 * Blocking   never.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* More than batches of most exporters are long (1 to 10 s). */
#define RECORD_CLOCK_SLACK_MS 15000
/* What was captured some days ago still runs by its own times when it is sent now; a budget is
 * overrun by as much at most. */
#define RECORD_CLOCK_OLDEST_MS (UINT64_C(7) * 24 * 3600 * 1000)
/* The wall clock was set back by more: this one follows. By less: it waits. */
#define RECORD_CLOCK_STEP_MS 5000

/* All zero at first. */
struct record_clock {
    uint64_t now_ms; /* 0: no record has come */
    uint64_t wall_ms, least_lag_ms;
};

/* The wall clock says unix_ms; a request begins. */
static inline void record_clock_begin(struct record_clock *c, uint64_t unix_ms, bool presses)
{
    c->wall_ms = unix_ms;
    if (c->now_ms > unix_ms + RECORD_CLOCK_STEP_MS)
        *c = (struct record_clock){unix_ms, unix_ms, 0};
    uint64_t most_ms = c->least_lag_ms + (presses ? 0 : RECORD_CLOCK_SLACK_MS);
    if (c->now_ms != 0 && unix_ms > most_ms && c->now_ms < unix_ms - most_ms)
        c->now_ms = unix_ms - most_ms;
}

/* A record has come, of that time; 0: it has none. Returns the time to decide it by. */
static inline uint64_t record_clock_move(struct record_clock *c, uint64_t record_ns)
{
    uint64_t ms = record_ns / 1000000;
    if (record_ns == 0 || ms > c->wall_ms || c->wall_ms - ms > RECORD_CLOCK_OLDEST_MS)
        ms = c->wall_ms;
    bool is_first = c->now_ms == 0;
    if (ms > c->now_ms)
        c->now_ms = ms;
    uint64_t lag_ms = c->wall_ms > c->now_ms ? c->wall_ms - c->now_ms : 0;
    if (is_first || lag_ms < c->least_lag_ms)
        c->least_lag_ms = lag_ms;
    return c->now_ms;
}
