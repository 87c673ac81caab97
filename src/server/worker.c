/* worker: two lists and a mutex. */
#include "server/worker.h"

#include <stdlib.h>

#define STACK_BYTES (1u << 20) /* SQLite and the log; more under a sanitizer */

struct worker {
    uv_thread_t thread;
    uv_mutex_t mutex;
    uv_cond_t wake;
    uv_async_t async;
    struct store *store;
    struct list line, finished; /* under the mutex, as are the next two */
    unsigned waiting;
    bool is_over;
};

static struct work *next(struct worker *w)
{
    struct work *work = NULL;
    uv_mutex_lock(&w->mutex);
    while (list_is_empty(&w->line) && !w->is_over)
        uv_cond_wait(&w->wake, &w->mutex);
    if (!list_is_empty(&w->line)) {
        work = container_of(w->line.next, struct work, link);
        list_remove(&work->link);
        w->waiting--;
    }
    uv_mutex_unlock(&w->mutex);
    return work;
}

static void on_thread(void *arg)
{
    struct worker *w = arg;
    struct work *work;
    while ((work = next(w)) != NULL) {
        work->rc = work->run(work, w->store);
        uv_mutex_lock(&w->mutex);
        list_append(&w->finished, &work->link);
        uv_mutex_unlock(&w->mutex);
        uv_async_send(&w->async);
    }
}

static void finish(struct worker *w)
{
    struct list all;
    list_init(&all);
    uv_mutex_lock(&w->mutex);
    while (!list_is_empty(&w->finished)) {
        struct list *first = w->finished.next;
        list_remove(first);
        list_append(&all, first);
    }
    uv_mutex_unlock(&w->mutex);
    LIST_EACH (at, &all) {
        struct work *work = container_of(at, struct work, link);
        list_remove(at);
        work->done(work);
    }
}

static void on_finished(uv_async_t *async)
{
    finish(container_of(async, struct worker, async));
}

int worker_add(struct worker *w, struct work *work, bool is_ours)
{
    int rc = 0;
    uv_mutex_lock(&w->mutex);
    if (w->waiting >= WORKER_LINE_MAX && !is_ours) {
        rc = ERR_FULL;
    } else {
        list_append(&w->line, &work->link);
        w->waiting++;
        uv_cond_signal(&w->wake);
    }
    uv_mutex_unlock(&w->mutex);
    return rc;
}

static void on_closed(uv_handle_t *handle)
{
    struct worker *w = container_of((uv_async_t *)handle, struct worker, async);
    uv_mutex_destroy(&w->mutex);
    uv_cond_destroy(&w->wake);
    free(w);
}

int worker_open(struct worker **out, uv_loop_t *loop, struct store *store)
{
    const uv_thread_options_t how = {UV_THREAD_HAS_STACK_SIZE, STACK_BYTES};
    struct worker *w = calloc(1, sizeof *w);
    if (w == NULL)
        return ERR_NOMEM;
    w->store = store;
    list_init(&w->line);
    list_init(&w->finished);
    int rc = uv_mutex_init(&w->mutex);
    if (rc < 0)
        goto free_worker;
    rc = uv_cond_init(&w->wake);
    if (rc < 0)
        goto destroy_mutex;
    rc = uv_async_init(loop, &w->async, on_finished);
    if (rc < 0)
        goto destroy_wake;
    rc = uv_thread_create_ex(&w->thread, &how, on_thread, w);
    if (rc < 0)
        uv_close((uv_handle_t *)&w->async, on_closed); /* which frees all of it */
    else
        *out = w;
    return rc;

destroy_wake:
    uv_cond_destroy(&w->wake);
destroy_mutex:
    uv_mutex_destroy(&w->mutex);
free_worker:
    free(w);
    return rc;
}

void worker_close(struct worker *w)
{
    if (w == NULL)
        return;
    uv_mutex_lock(&w->mutex);
    w->is_over = true;
    uv_cond_signal(&w->wake);
    uv_mutex_unlock(&w->mutex);
    uv_thread_join(&w->thread);
    finish(w);
    uv_close((uv_handle_t *)&w->async, on_closed);
}
