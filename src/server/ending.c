/*
 * ending: the end of a server, in steps. Who waits for a policy is answered, connections are asked
 * to close, and what was acknowledged is written to the database. What is not in it when the time
 * is over is in the journal, and is read by the next start. A second signal ends at once.
 */
#include <signal.h>
#include <unistd.h>

#include "server/consulting.h"
#include "server/poll.h"
#include "server/server.h"
#include "util/confine.h"
#include "util/diag.h"

#define TICK_MS 50
#define HANG_S 2 /* later than shutdown.timeout: a system call does not return */

static const int awaited[] = {SIGTERM, SIGINT};

void server_early(void)
{
    static const int ignored[] = {SIGPIPE, SIGXFSZ, SIGUSR1, SIGUSR2, SIGHUP};
    ignore_code(confine_hide_memory(true)); /* keys will be read; `sandbox: off` takes it back */
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
}

static void end(struct server *s)
{
    s->phase = SERVER_ENDED;
    uv_stop(&s->loop);
}

static void on_tick(uv_timer_t *timer)
{
    struct server *s = container_of(timer, struct server, drain_timer);
    bool is_late = clock_now_ms(s->clock) - s->drain_began_ms >= s->cfg->shutdown_timeout_ms;
    if (listener_is_quiet(&s->listener))
        intake_flush_now(s);
    if (is_late || (listener_is_quiet(&s->listener) && intake_is_flushed(s)))
        end(s);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct server *s = handle->data;
    if (s->phase >= SERVER_DRAINING) {
        diag(DIAG_WARN, "stopping", "second signal: ending at once", "signal=%d", number);
        end(s);
        return;
    }
    s->phase = SERVER_DRAINING;
    s->drain_began_ms = clock_now_ms(s->clock);
    alarm(s->cfg->shutdown_timeout_ms / 1000 + HANG_S); /* its default action ends the process */
    diag(DIAG_INFO, "stopping", "draining; once more ends at once", "signal=%d timeout_ms=%u",
         number, s->cfg->shutdown_timeout_ms);
    s->service.draining = true;
    poll_end(s);
    consulting_end(s);
    listener_drain_sessions(&s->listener);
    listener_stop_accepting(&s->listener);
    uv_timer_start(&s->drain_timer, on_tick, 0, TICK_MS);
}

int ending_start(struct server *s, struct error *err)
{
    int rc = uv_timer_init(&s->loop, &s->drain_timer);
    for (size_t i = 0; i < ARRAY_LEN(awaited) && rc == 0; i++) {
        rc = uv_signal_init(&s->loop, &s->signals[i]);
        s->signals[i].data = s;
        if (rc == 0)
            rc = uv_signal_start(&s->signals[i], on_signal, awaited[i]);
    }
    return rc == 0 ? 0 : err_set(err, ERR_UNAVAILABLE, "signals: %s", uv_strerror(rc));
}

void ending_stop(struct server *s)
{
    for (size_t i = 0; i < ARRAY_LEN(awaited); i++)
        uv_close((uv_handle_t *)&s->signals[i], NULL);
    uv_close((uv_handle_t *)&s->drain_timer, NULL);
}
