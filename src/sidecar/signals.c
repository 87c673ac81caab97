/*
 * sidecar_signals: one thread waits for signals, so that they are heard and the end comes in time
 * whatever the loop or a thread of the pool is waiting for.
 *
 * The loop is woken by an async handle and does the work. A stop also sets a deadline on this
 * thread: when the process has not ended END_GRACE_MS after the time that the drain may take,
 * a thread is in a system call that does not return (a pipe without a reader, a disk that
 * hangs), and the process is ended from here.
 */
#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "sidecar/sidecar.h"
#include "sidecar/sidecar_state.h"
#include "util/confine.h"
#include "util/diag.h"

#define END_GRACE_MS 1000 /* with shutdown.timeout less than the 10 s of container engines */
#define LAST_LINE_S 1
#define STACK_BYTES (256u << 10) /* diag() alone takes 20 KiB; more under a sanitizer */

/* These must not lose what was acknowledged: a full disk quota
 * (SIGXFSZ; the call says EFBIG), a peer that left, a log rotation that is configured for
 * another program. */
static const int ignored[] = {SIGPIPE, SIGXFSZ, SIGUSR1, SIGUSR2, SIGALRM};
static const int awaited[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};

void sidecar_early(void)
{
    sigset_t set;
    ignore_code(confine_hide_memory(true)); /* keys will be read; `sandbox: off` takes it back */
    for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGHUP); /* waits until it can be heard, instead of ending the start */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* ---- the thread --------------------------------------------------------- */

/* The next signal, 0 when the time has come, or -1: look again. */
static int await(uint64_t end_ns)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(awaited); i++)
        sigaddset(&set, awaited[i]);
    if (end_ns == 0)
        return sigwaitinfo(&set, NULL);
    uint64_t now = uv_hrtime(), left = end_ns > now ? end_ns - now : 0;
    const struct timespec ts = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
    int number = sigtimedwait(&set, NULL, &ts);
    return number < 0 && errno == EAGAIN ? 0 : number;
}

/* The loop stands still, so its counts do, too. The log may be on the disk that hangs: then the
 * end is SIGALRM's. */
static void end_now(struct sidecar *sc)
{
    signal(SIGALRM, SIG_DFL);
    alarm(LAST_LINE_S);
    if (sc->phase != SIDECAR_STARTING && !sc->is_ledger_logged)
        diag(DIAG_WARN, "stopping", "a system call does not return: ended without it",
             "grace_ms=%d", END_GRACE_MS);
    sidecar_log_ledger(sc);
    _exit(0); /* exit() would wait for the pool's threads */
}

static void on_thread(void *arg)
{
    struct sidecar *sc = arg;
    struct sidecar_signals *s = &sc->signals;
    uint64_t end_ns = 0; /* 0: the end was not asked for */
    for (;;) {
        int number = await(end_ns);
        if (s->is_over)
            return;
        if (number == 0 || (number > 0 && number != SIGHUP && sc->is_ledger_logged))
            end_now(sc);
        if (number < 0)
            continue;
        if (number == SIGHUP) {
            s->reloads++;
        } else {
            bool is_first = s->stops == 0;
            if (is_first)
                s->drain_ms = s->timeout_ms;
            s->number = number;
            s->stops++;
            uint64_t ms = (is_first ? (uint64_t)s->drain_ms : 0) + END_GRACE_MS;
            uint64_t at = uv_hrtime() + ms * 1000000;
            end_ns = end_ns == 0 || at < end_ns ? at : end_ns;
        }
        uv_async_send(&s->async);
    }
}

/* ---- the loop ----------------------------------------------------------- */

static void on_signals(uv_async_t *async)
{
    struct sidecar *sc = container_of(async, struct sidecar, signals.async);
    struct sidecar_signals *s = &sc->signals;
    uint32_t reloads = s->reloads;
    if (s->reloads_done != reloads)                            /* many at once are one */
        ignore_code(sidecar_reload(sc, &(struct error){{0}})); /* it has logged why not */
    s->reloads_done = reloads;
    for (; s->stops_done != s->stops; s->stops_done++)
        drain_begin(sc, s->number);
}

int sidecar_signals_start(struct sidecar *sc, struct error *err)
{
    struct sidecar_signals *s = &sc->signals;
    const uv_thread_options_t how = {UV_THREAD_HAS_STACK_SIZE, STACK_BYTES};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(awaited); i++)
        sigaddset(&set, awaited[i]);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* threads that are made later inherit it */
    s->timeout_ms = sc->cfg->shutdown_timeout_ms;
    int rc = uv_async_init(&sc->loop, &s->async, on_signals);
    if (rc == 0)
        rc = uv_thread_create_ex(&s->thread, &how, on_thread, sc);
    s->is_waiting = rc == 0;
    return rc == 0 ? 0
                   : err_set(err, ERR_UNAVAILABLE, "no thread for signals: %s", uv_strerror(rc));
}

void sidecar_signals_stop(struct sidecar *sc)
{
    uv_close((uv_handle_t *)&sc->signals.async, NULL);
}

/* Not earlier: until here something may be stuck. */
void sidecar_signals_release(struct sidecar *sc)
{
    struct sidecar_signals *s = &sc->signals;
    if (!s->is_waiting)
        return;
    s->is_over = true;
    pthread_kill(s->thread, SIGTERM);
    uv_thread_join(&s->thread);
    s->is_waiting = false;
}
