/* decode_pool: a line of tasks, and one job with a decoder and an account of its own. */
#include "receiver/decode_pool.h"

#include <stdlib.h>

/* The rest of the account is left to others while a job is at work. */
#define JOB_SHARE 0.75

struct decode_pool {
    struct budget *account;
    struct list waiting;
    uint32_t waiting_count;

    struct decode_task *task; /* whose job it is; NULL: of nobody any more */
    bool is_busy, is_closing;
    uv_work_t job;
    uint64_t granted; /* of the account */
    struct budget *body_budget;
    uint64_t body_bytes; /* of that one, for the body */

    uv_idle_t turn; /* while what a job has made is taken in parts */
    int open_handles;

    /* Between the job and the loop. */
    uv_async_t async; /* the job asks */
    uv_mutex_t lock;
    uv_cond_t answered;
    bool is_refusing; /* closing, for the job */
    uint64_t asked;   /* bytes; 0: none, or the answer has been given */
    bool is_granted;

    /* The job's, while it is busy. */
    struct decoder *decoder;
    struct budget budget; /* what it may use */
    uint64_t held;        /* of `granted` */
    bool can_never_fit;
    struct buf body;
    struct decode_request request;
    struct decode_logs logs;
    size_t inflated_bytes;
    int rc;
    struct error err;
};

/* ---- memory for the job ---- */

/* On the pool: its account has too little. */
static bool ask(void *ctx, uint64_t missing)
{
    struct decode_pool *p = ctx;
    bool is_granted = false;
    if ((double)(p->held + missing) > JOB_SHARE * (double)p->account->limit) {
        p->can_never_fit = true;
        return false;
    }
    uv_mutex_lock(&p->lock);
    if (!p->is_refusing) {
        p->asked = missing;
        uv_async_send(&p->async);
        while (p->asked > 0)
            uv_cond_wait(&p->answered, &p->lock);
        is_granted = p->is_granted;
    }
    uv_mutex_unlock(&p->lock);
    if (is_granted) {
        p->budget.used -= missing;
        p->held += missing;
    }
    return is_granted;
}

static void on_asked(uv_async_t *async)
{
    struct decode_pool *p = container_of(async, struct decode_pool, async);
    uv_mutex_lock(&p->lock);
    if (p->asked > 0) { /* whose task was forgotten gets no more */
        p->is_granted = p->task != NULL && !p->is_closing && budget_take(p->account, p->asked) == 0;
        p->granted += p->is_granted ? p->asked : 0;
        p->asked = 0;
        uv_cond_signal(&p->answered);
    }
    uv_mutex_unlock(&p->lock);
}

/* ---- the job ---- */

/* On the pool: nothing of the loop's is touched. */
static void on_job(uv_work_t *job)
{
    struct decode_pool *p = container_of(job, struct decode_pool, job);
    p->decoder = decoder_new(&p->budget);
    p->rc = p->decoder == NULL ? ERR_NOMEM
                               : decoder_inflate(p->decoder, &p->request, &p->logs.request,
                                                 &p->logs.source, &p->err);
    if (p->rc == 0) {
        p->inflated_bytes = p->logs.request.len;
        p->rc = decoder_logs(p->decoder, &p->logs, &p->err);
    }
    if (p->rc == ERR_FULL && p->can_never_fit)
        p->rc = ERR_TOO_BIG;
}

static void start_next(struct decode_pool *p);

/* What was granted and is not in use any more. */
static void give_back(struct decode_pool *p)
{
    uint64_t unused = p->budget.limit - p->budget.used;
    if (unused > p->granted)
        unused = p->granted; /* the rest is the body's */
    p->budget.used += unused;
    p->granted -= unused;
    budget_give(p->account, unused);
}

static void free_when_closed(struct decode_pool *p)
{
    if (p->is_busy || p->open_handles > 0)
        return;
    uv_cond_destroy(&p->answered);
    uv_mutex_destroy(&p->lock);
    free(p);
}

static void on_turn(uv_idle_t *turn);

static void end(struct decode_pool *p)
{
    logs_mended_done(&p->logs.mended);
    decoder_free(p->decoder);
    buf_done(&p->body);
    budget_give(p->account, p->granted);
    budget_give(p->body_budget, p->body_bytes);
    p->is_busy = false;
    if (p->is_closing)
        free_when_closed(p);
    else
        start_next(p);
}

/* One turn's part of what came of the job. */
static void go_on(struct decode_pool *p)
{
    struct decode_task *t = p->task;
    if (t != NULL && p->rc == 0 && !p->is_closing && t->part(t, &p->logs)) {
        uv_idle_start(&p->turn, on_turn);
        return;
    }
    uv_idle_stop(&p->turn);
    t = p->task; /* which was forgotten, perhaps */
    p->task = NULL;
    if (t != NULL) {
        t->is_running = false;
        t->done(t, p->rc, &p->logs, p->inflated_bytes, &p->err);
    }
    end(p);
}

static void on_turn(uv_idle_t *turn)
{
    go_on(container_of(turn, struct decode_pool, turn));
}

static void on_job_done(uv_work_t *job, int status)
{
    struct decode_pool *p = container_of(job, struct decode_pool, job);
    (void)status; /* it is not cancelled */
    give_back(p); /* what follows needs memory too */
    go_on(p);
}

static void begin(struct decode_pool *p, struct decode_task *t)
{
    struct buf *from = t->request.body;
    p->task = t;
    t->is_running = p->is_busy = true;
    p->granted = p->held = 0;
    p->can_never_fit = false;
    p->body_budget = from->budget;
    p->body_bytes = from->cap;
    /* Nothing is granted yet: all of it but the body is in use. */
    budget_init(&p->budget, p->account->limit + from->cap);
    p->budget.used = p->budget.limit;
    p->budget.reclaim = ask;
    p->budget.ctx = p;
    p->body = (struct buf){.budget = NULL};
    buf_move(&p->body, from);
    p->body.budget = &p->budget;
    p->request = t->request;
    p->request.body = &p->body;
    p->logs = (struct decode_logs){.is_json = t->is_json,
                                   .looks = t->looks,
                                   .may_mend = t->may_mend,
                                   .mended = {.budget = &p->budget}};
    p->inflated_bytes = 0;
    p->err = (struct error){{0}};
    if (uv_queue_work(p->async.loop, &p->job, on_job, on_job_done) < 0)
        abort(); /* it fails only without a job */
}

/* ---- the line ---- */

static void start_next(struct decode_pool *p)
{
    if (p->is_busy || list_is_empty(&p->waiting))
        return;
    struct decode_task *t = container_of(p->waiting.next, struct decode_task, node);
    list_remove(&t->node);
    p->waiting_count--;
    begin(p, t);
}

int decode_pool_add(struct decode_pool *p, struct decode_task *t)
{
    if (p->waiting_count >= DECODE_WAITING_MAX)
        return ERR_FULL;
    list_append(&p->waiting, &t->node);
    p->waiting_count++;
    start_next(p);
    return 0;
}

void decode_pool_forget(struct decode_pool *p, struct decode_task *t)
{
    if (t->is_running) { /* its job goes on, for nobody, until it needs more memory */
        p->task = NULL;
        t->is_running = false;
    } else if (t->node.next != NULL && !list_is_empty(&t->node)) {
        list_remove(&t->node);
        p->waiting_count--;
    }
}

/* ---- life ---- */

int decode_pool_open(struct decode_pool **out, uv_loop_t *loop, struct budget *account)
{
    struct decode_pool *p = calloc(1, sizeof *p);
    if (p == NULL)
        return ERR_NOMEM;
    int rc = uv_mutex_init(&p->lock);
    if (rc == 0 && (rc = uv_cond_init(&p->answered)) < 0)
        uv_mutex_destroy(&p->lock);
    if (rc == 0)
        rc = uv_async_init(loop, &p->async, on_asked);
    if (rc < 0) {
        free(p);
        return rc;
    }
    uv_idle_init(loop, &p->turn);
    p->async.data = p->turn.data = p;
    p->open_handles = 2;
    p->account = account;
    list_init(&p->waiting);
    *out = p;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct decode_pool *p = handle->data;
    p->open_handles--;
    free_when_closed(p);
}

void decode_pool_close(struct decode_pool *p)
{
    if (p == NULL)
        return;
    p->is_closing = true;
    uv_mutex_lock(&p->lock);
    p->is_refusing = true;
    uv_mutex_unlock(&p->lock);
    on_asked(&p->async);
    bool has_parts = uv_is_active((const uv_handle_t *)&p->turn);
    uv_close((uv_handle_t *)&p->async, on_closed);
    uv_close((uv_handle_t *)&p->turn, on_closed);
    if (has_parts) /* no turn follows */
        go_on(p);
}
