/* state: four texts behind a seed, and a job that stores them. */
#include "sidecar/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sidecar/sidecar_state.h"
#include "sidecar/state_file.h"
#include "util/diag.h"
#include "util/saved.h"

struct state {
    struct sidecar *sc;
    struct disk disk;
    struct buf before; /* what was read, until it is restored */
    struct buf guard;  /* likewise, of what PostHog counts */
    uint64_t seed;     /* of this process, and the next */
    bool is_restored;  /* all parts are there: it may be written */
    uv_timer_t timer;
    bool has_timer;
    uv_work_t job;
    bool is_busy;
    struct buf body; /* the pool's while it is busy */
    struct state_stats stats;
    int rc, said; /* of the last write; the failure that was logged last */
};

/* ---- writing ----------------------------------------------------------- */

static int save_history(struct sidecar *sc, struct buf *out)
{
    struct census c;
    struct history *h = history_of(sc);
    if (h == NULL)
        return 0;
    int rc = history_take(sc, &c);
    if (rc < 0)
        return rc;
    history_feed(h, &c, clock_unix_ns(sc->clock));
    history_save(h, &c, out);
    census_done(&c);
    return out->err;
}

static int fill(struct state *s)
{
    struct sidecar *sc = s->sc;
    struct buf *out = &s->body;
    buf_clear(out);
    out->budget = &sc->budget;
    out->max_bytes = STATE_BYTES;
    saved_put_u64(out, s->seed);
    size_t at = saved_put_later(out);
    pipeline_save(sc->pipeline, clock_unix_ns(sc->clock), out);
    saved_set_later(out, at, (uint32_t)(out->len - at));
    at = saved_put_later(out);
    int rc = save_history(sc, out);
    saved_set_later(out, at, (uint32_t)(out->len - at));
    at = saved_put_later(out);
    versions_save(versioning_list(sc), out);
    saved_set_later(out, at, (uint32_t)(out->len - at));
    at = saved_put_later(out);
    guarding_save(sc, out);
    saved_set_later(out, at, (uint32_t)(out->len - at));
    return rc < 0 ? rc : out->err;
}

/* A failure is logged once for each kind, and when it is over. */
static void note(struct state *s, int rc)
{
    metric_inc(rc < 0 ? &s->stats.failed : &s->stats.written);
    if (rc >= 0)
        s->stats.written_ms = clock_now_ms(s->sc->clock);
    if (rc == s->said)
        return;
    if (rc < 0)
        diag(DIAG_WARN, "state_not_written", "what is known would be new after a restart",
             "directory=%s error=\"%s\"", s->sc->cfg->state.directory, err_text(rc));
    else
        diag(DIAG_INFO, "state_written", "what is known is kept again", "directory=%s",
             s->sc->cfg->state.directory);
    s->said = rc;
}

/* On the pool: nothing of the loop's is touched. */
static void on_job(uv_work_t *job)
{
    struct state *s = container_of(job, struct state, job);
    s->rc = state_file_write(&s->disk, buf_span(&s->body));
}

static void on_job_done(uv_work_t *job, int status)
{
    struct state *s = container_of(job, struct state, job);
    s->is_busy = false;
    buf_done(&s->body);
    note(s, status < 0 ? status : s->rc);
}

static void on_timer(uv_timer_t *timer)
{
    struct state *s = container_of(timer, struct state, timer);
    if (s->is_busy)
        return; /* a slow disk: the next time */
    int rc = fill(s);
    if (rc == 0)
        s->is_busy = uv_queue_work(&s->sc->loop, &s->job, on_job, on_job_done) == 0;
    if (!s->is_busy)
        buf_done(&s->body);
    if (rc < 0)
        note(s, rc);
}

/* ---- reading ----------------------------------------------------------- */

static void read_before(struct state *s)
{
    const char *why;
    s->before.budget = &s->sc->budget;
    int rc = state_file_read(&s->disk, &s->before, &why);
    if (rc == ERR_MALFORMED)
        diag(DIAG_WARN, "state_put_aside", "the start goes on without what was known",
             "directory=%s aside=" STATE_ASIDE " reason=\"%s\"", s->sc->cfg->state.directory, why);
    else if (rc < 0 && rc != ERR_EMPTY)
        diag(DIAG_WARN, "state_not_read", "the start goes on without what was known",
             "directory=%s error=\"%s\"", s->sc->cfg->state.directory, err_text(rc));
    struct saved seed = {.left = buf_span(&s->before)};
    s->seed = saved_u64(&seed);
}

int state_start(struct sidecar *sc, struct error *err)
{
    const char *dir = sc->cfg->state.directory;
    if (dir[0] == '\0')
        return 0;
    struct state *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->sc = sc;
    sc->state = s;
    int rc = disk_open(&s->disk, dir, true);
    if (rc < 0) {
        s->disk.ops = NULL;
        return err_set(err, ERR_UNAVAILABLE, "state.directory: cannot use '%.200s': %s", dir,
                       strerror(-rc));
    }
    rc = s->disk.ops->lock(s->disk.self, STATE_LOCK);
    if (rc < 0)
        return err_set(err, ERR_UNAVAILABLE, "state.directory: '%.200s' %s", dir,
                       rc == -EAGAIN ? "is used by another process" : strerror(-rc));
    read_before(s);
    return 0;
}

struct state_stats state_stats(const struct sidecar *sc)
{
    return sc->state == NULL ? (struct state_stats){{0}} : sc->state->stats;
}

uint64_t state_seed(const struct sidecar *sc, uint64_t fresh)
{
    if (sc->state == NULL)
        return fresh;
    if (sc->state->before.len == 0)
        sc->state->seed = fresh;
    return sc->state->seed;
}

static int restore_history(struct sidecar *sc, struct span text)
{
    struct census c;
    struct history *h = history_of(sc);
    if (h == NULL || text.len == 0)
        return 0;
    int rc = history_take(sc, &c);
    if (rc < 0)
        return rc;
    census_sort(&c);
    rc = history_restore(h, &c, text, clock_unix_ns(sc->clock));
    census_done(&c);
    return rc;
}

/* What is wrong with one part leaves the others. */
static void restore_parts(struct state *s)
{
    struct sidecar *sc = s->sc;
    struct saved all = {.left = buf_span(&s->before)};
    saved_u64(&all); /* the seed */
    const struct span patterns = saved_span(&all), history = saved_span(&all),
                      versions = saved_span(&all), guard = saved_span(&all);
    int rcs[] = {all.is_bad ? ERR_MALFORMED : 0,
                 pipeline_restore(sc->pipeline, clock_unix_ns(sc->clock), patterns),
                 restore_history(sc, history), versions_read(versioning_list(sc), versions)};
    for (size_t i = 0; i < ARRAY_LEN(rcs); i++)
        if (rcs[i] < 0)
            diag(DIAG_WARN, "state_in_part", "a part of what was known is missing",
                 "part=%zu error=\"%s\"", i, err_text(rcs[i]));
    s->guard.budget = &sc->budget;
    buf_append(&s->guard, guard);
    struct census c;
    const struct census_want nothing_more = {0};
    if (census_take(sc->pipeline, &nothing_more, &c) == 0)
        diag(DIAG_INFO, "state_restored", "what was known is known", "patterns=%llu versions=%u",
             (unsigned long long)c.patterns_held, versions_count(versioning_list(sc)));
}

int state_restore(struct sidecar *sc, struct error *err)
{
    struct state *s = sc->state;
    uint32_t ms = sc->cfg->state.interval_ms;
    (void)err;
    if (s == NULL)
        return 0;
    if (s->before.len > 0)
        restore_parts(s);
    buf_done(&s->before);
    s->is_restored = true;
    s->has_timer = true;
    uv_timer_init(&sc->loop, &s->timer);
    return uv_timer_start(&s->timer, on_timer, ms, ms);
}

void state_take_guard(struct sidecar *sc, struct buf *out)
{
    if (sc->state != NULL)
        buf_move(out, &sc->state->guard);
}

/* ---- the end ----------------------------------------------------------- */

void state_stop(struct sidecar *sc)
{
    struct state *s = sc->state;
    if (s == NULL)
        return;
    if (s->has_timer)
        uv_close((uv_handle_t *)&s->timer, NULL);
    while (s->is_busy)
        uv_run(&sc->loop, UV_RUN_ONCE);
    if (s->is_restored && sc->phase != SIDECAR_STARTING) {
        int rc = fill(s);
        note(s, rc < 0 ? rc : state_file_write(&s->disk, buf_span(&s->body)));
    }
    buf_done(&s->body);
}

void state_release(struct sidecar *sc)
{
    if (sc->state == NULL)
        return;
    buf_done(&sc->state->before);
    buf_done(&sc->state->guard);
    if (sc->state->disk.ops != NULL)
        disk_close(&sc->state->disk);
    free(sc->state);
    sc->state = NULL;
}
