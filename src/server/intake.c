/*
 * intake: a report, from its body to the numbers of the database.
 *
 *     checked -> its service and sender known -> written to disk -> added up, answered
 *     every server.flush_interval: all that was added up becomes rows, and its file is removed
 */
#include "server/api.h"
#include "server/poll.h"
#include "server/report_sums.h"
#include "util/diag.h"

#define FLUSH_SOON_MS 50 /* services that are seen together become rows together */
#define FLUSH_RETRY_MS 1000
#define FORGET_MS 600000 /* between looks for rows that are too old */
#define FORGET_MORE_MS 1000

/* ---- one report --------------------------------------------------------- */

static int answer_accepted(struct call *c, enum report_fate fate)
{
    char message[REPORT_NAME_BYTES + 64];
    struct json j = json_on(&c->out);
    struct span name = c->report.service;
    snprintf(message, sizeof message, "counts of %.*s are %s", (int)name.len,
             (const char *)name.base, fate == REPORT_REPEATED ? "known" : "stored");
    metric_inc(&c->server->reports[fate]);
    json_begin(&j, NULL);
    json_str(&j, "status", "accepted");
    json_str(&j, "message", message);
    json_null(&j, "analysis_run_id");
    json_end(&j);
    return 202;
}

static int refuse(struct call *c, enum report_fate fate, int status, const char *why)
{
    metric_inc(&c->server->reports[fate]);
    return api_detail(c, status, "%s", why);
}

/* The numbers of a report that is on disk. ERR_FULL: not one of them. */
static int add_up(struct server *s, struct service *service, const struct report_body *report,
                  int64_t now_ms, struct receipt_place place)
{
    uint64_t records;
    int rc = report_sums_add(&s->rollup, service, report, now_ms, place, &records);
    if (rc == 0)
        metric_add(&s->records, records);
    return rc;
}

static void on_stored(struct receipt *receipt, int rc)
{
    struct call *c = container_of(receipt, struct call, receipt);
    struct server *s = c->server;
    if (rc == 0)
        rc = add_up(s, c->service, &c->report, c->now_ms, receipt->place);
    if (rc < 0) {
        if (c->sender != NULL)
            senders_cancel(&s->senders, c->sender);
        c->status =
            refuse(c, REPORT_UNSTORED, 503, "the report could not be stored: send it again");
        intake_flush_soon(s);
    } else {
        if (c->sender != NULL)
            senders_commit(&s->senders, c->sender);
        c->status = answer_accepted(c, REPORT_ACCEPTED);
        if (receipts_stats(s->receipts).bytes > s->cfg->server.journal_bytes / 2)
            intake_flush_soon(s);
    }
    api_answer(c);
}

/* Its service, learned where it is new. NULL: there are too many. */
static struct service *find_service(struct server *s, struct team *team, struct span name)
{
    struct service *service = registry_find_service(&s->registry, team, name);
    if (service != NULL)
        return service;
    if (registry_add_service(&s->registry, team, name, 0, &service) < 0)
        return NULL;
    service->is_fresh = s->has_fresh = true;
    poll_welcome(s, service);
    intake_flush_soon(s);
    return service;
}

/* May it be taken? 0, or the status of the answer. */
static int begin_sender(struct call *c)
{
    struct server *s = c->server;
    const struct report_body *r = &c->report;
    enum sender_verdict verdict = SENDER_NEW;
    if (r->sequence == 0)
        return 0;
    if (senders_begin(&s->senders, c->service, r->instance, r->boot, r->sequence, c->now_ms,
                      &verdict, &c->sender) < 0)
        return refuse(c, REPORT_REFUSED, 503, "no memory for another sender");
    if (verdict == SENDER_BUSY)
        return refuse(c, REPORT_REFUSED, 503, "a report of this sender is being stored");
    return verdict == SENDER_REPEATED ? answer_accepted(c, REPORT_REPEATED) : 0;
}

int intake_report(struct call *c)
{
    struct server *s = c->server;
    struct error err = {{0}};
    if (report_body_read(&c->report, c->root, &err) < 0)
        return refuse(c, REPORT_INVALID, 422, err.text);
    if (c->report.team != 0 && (int64_t)c->report.team != c->key->team->id)
        return refuse(c, REPORT_INVALID, 403, "this key is of another team");
    c->service = find_service(s, c->key->team, c->report.service);
    if (c->service == NULL)
        return refuse(c, REPORT_REFUSED, 429, "this team has too many services");
    int status = begin_sender(c);
    if (status != 0)
        return status;
    c->receipt.team = (uint64_t)c->key->team->id;
    c->receipt.unix_ms = (uint64_t)c->now_ms;
    c->receipt.done = on_stored;
    buf_move(&c->receipt.body, &c->body);
    if (receipts_add(s->receipts, &c->receipt) == 0)
        return 0;
    if (c->sender != NULL)
        senders_cancel(&s->senders, c->sender);
    return refuse(c, REPORT_REFUSED, 503, "the journal of reports is full");
}

/* ---- what the last process left ------------------------------------------ */

/* A number below the last that the database has may be one that it has not: the last was sent to
 * another server. The flush finds out. */
static int replay_body(struct server *s, struct team *team, int64_t unix_ms, struct json_node root,
                       struct receipt_place place)
{
    struct error err = {{0}};
    struct report_body report;
    enum sender_verdict verdict = SENDER_NEW;
    struct sender *sender = NULL;
    if (report_body_read(&report, root, &err) < 0)
        return 0; /* a later version is stricter: it was not counted */
    struct service *service = find_service(s, team, report.service);
    if (service == NULL)
        return ERR_FULL;
    int rc = report.sequence == 0
                 ? 0
                 : senders_begin(&s->senders, service, report.instance, report.boot,
                                 report.sequence, unix_ms, &verdict, &sender);
    if (rc == 0)
        rc = add_up(s, service, &report, unix_ms, place);
    if (rc == 0 && sender != NULL)
        senders_commit(&s->senders, sender);
    return rc;
}

int intake_replay(void *ctx, uint64_t team_id, uint64_t unix_ms, struct span body,
                  struct receipt_place place)
{
    struct server *s = ctx;
    struct json_doc *doc = NULL;
    struct json_node root;
    struct team *team = registry_team(&s->registry, (int64_t)team_id);
    if (team == NULL)
        return 0;
    int rc = json_doc_new(&doc, body, &s->budget, &root);
    if (rc == 0)
        rc = replay_body(s, team, (int64_t)unix_ms, root, place);
    json_doc_free(doc);
    return rc == ERR_MALFORMED ? 0 : rc;
}

/* ---- flush -------------------------------------------------------------- */

static void schedule_flush(struct server *s, uint64_t ms);

static int run_flush(struct work *w, struct store *store)
{
    struct server *s = container_of(w, struct server, flushing.work);
    return flush_write(&s->flushing.flush, store);
}

void intake_note_elsewhere(struct server *s, struct flush *f)
{
    metric_add(&s->elsewhere, f->elsewhere);
    if (f->unread > 0)
        diag(DIAG_ERROR, "counted_twice",
             "reports that another server has counted could not be read from the journal",
             "reports=%llu", (unsigned long long)f->unread);
    f->elsewhere = f->unread = 0;
}

static void on_flushed(struct work *w)
{
    struct server *s = container_of(w, struct server, flushing.work);
    s->flushing.is_running = false;
    s->flushing.last_rc = w->rc;
    if (w->rc == 0) {
        flush_settle(&s->flushing.flush);
        rollup_done(&s->flushing.flush.batch);
        s->flushing.has_batch = false;
        s->flushing.last_ok_ms = clock_now_ms(s->clock);
        receipts_forget(s->receipts, s->flushing.flush.place);
        intake_note_elsewhere(s, &s->flushing.flush);
    } else {
        s->flushing.failed++;
        diag(DIAG_ERROR, "flush_failed",
             "counts could not be written to the database; they wait in the journal",
             "error=\"%s\"", err_text(w->rc));
    }
    if (s->phase >= SERVER_DRAINING)
        return;
    schedule_flush(s, w->rc < 0               ? FLUSH_RETRY_MS
                      : s->flushing.is_wanted ? FLUSH_SOON_MS
                                              : s->cfg->server.flush_interval_ms);
    s->flushing.is_wanted = false;
}

static void start_flush(struct server *s)
{
    struct flush *f = &s->flushing.flush;
    f->attempt = ++s->flushing.attempts;
    f->now_ms = server_unix_ms(s);
    f->name = s->replica;
    f->max_patterns = s->cfg->server.max_patterns;
    f->receipts = s->receipts;
    s->flushing.work = (struct work){.run = run_flush, .done = on_flushed};
    s->flushing.is_running = true;
    ignore_code(worker_add(s->worker, &s->flushing.work, true)); /* ours are taken */
}

/* Nothing is being written: what was answered is added up, and in files before this turn. */
static void on_turn(void *ctx)
{
    struct server *s = ctx;
    s->flushing.flush.place = receipts_turn(s->receipts);
    rollup_take(&s->flushing.flush.batch, &s->rollup);
    s->flushing.has_batch = true;
    start_flush(s);
}

static void begin_flush(struct server *s)
{
    if (s->flushing.is_running)
        s->flushing.is_wanted = true;
    else if (s->flushing.has_batch)
        start_flush(s);
    else if (!rollup_is_empty(&s->rollup))
        receipts_ask_turn(s->receipts);
    else
        schedule_flush(s, s->cfg->server.flush_interval_ms);
}

static void on_flush_due(uv_timer_t *timer)
{
    begin_flush(container_of(timer, struct server, flush_timer));
}

static void schedule_flush(struct server *s, uint64_t ms)
{
    uv_timer_start(&s->flush_timer, on_flush_due, ms, 0);
}

void intake_flush_soon(struct server *s)
{
    if (s->phase == SERVER_STARTING)
        return;
    if (s->flushing.is_running)
        s->flushing.is_wanted = true;
    else if (!s->flushing.has_batch && uv_timer_get_due_in(&s->flush_timer) > FLUSH_SOON_MS)
        schedule_flush(s, FLUSH_SOON_MS);
}

bool intake_is_flushed(const struct server *s)
{
    return !s->flushing.is_running && !s->flushing.has_batch && rollup_is_empty(&s->rollup) &&
           receipts_is_idle(s->receipts);
}

void intake_flush_now(struct server *s)
{
    if (!s->flushing.is_running && receipts_is_idle(s->receipts) &&
        (s->flushing.has_batch || !rollup_is_empty(&s->rollup)))
        begin_flush(s);
}

/* ---- retention ---------------------------------------------------------- */

static int run_forget(struct work *w, struct store *store)
{
    struct server *s = container_of(w, struct server, forgetting.work);
    return flush_forget(&s->forgetting.retention, store, &s->forgetting.is_done);
}

static void on_forget_due(uv_timer_t *timer);

static void on_forgotten(struct work *w)
{
    struct server *s = container_of(w, struct server, forgetting.work);
    s->forgetting.is_running = false;
    if (s->phase < SERVER_DRAINING)
        uv_timer_start(&s->forget_timer, on_forget_due,
                       s->forgetting.is_done ? FORGET_MS : FORGET_MORE_MS, 0);
}

static void on_forget_due(uv_timer_t *timer)
{
    struct server *s = container_of(timer, struct server, forget_timer);
    senders_forget(&s->senders, server_unix_ms(s));
    s->forgetting.retention = (struct flush_retention){
        server_unix_ms(s), s->cfg->server.keep_minutes_ms, s->cfg->server.keep_hours_ms,
        (int64_t)s->cfg->server.keep_days * 86400000};
    s->forgetting.work = (struct work){.run = run_forget, .done = on_forgotten};
    s->forgetting.is_running = true;
    ignore_code(worker_add(s->worker, &s->forgetting.work, true)); /* ours are taken */
}

/* ---- life --------------------------------------------------------------- */

int intake_start(struct server *s, struct error *err)
{
    const struct receipts_opts opts = {
        .directory = s->cfg->server.directory,
        .max_bytes = s->cfg->server.journal_bytes,
        .turn = on_turn,
        .ctx = s,
        .budget = &s->budget,
    };
    rollup_init(&s->rollup, &s->budget);
    rollup_init(&s->flushing.flush.batch, &s->budget);
    uv_timer_init(&s->loop, &s->flush_timer);
    uv_timer_init(&s->loop, &s->forget_timer);
    schedule_flush(s, s->cfg->server.flush_interval_ms);
    uv_timer_start(&s->forget_timer, on_forget_due, FORGET_MORE_MS, 0);
    s->flushing.last_ok_ms = clock_now_ms(s->clock);
    return receipts_open(&s->receipts, &s->loop, &opts, err);
}

void intake_stop(struct server *s)
{
    uv_close((uv_handle_t *)&s->flush_timer, NULL);
    uv_close((uv_handle_t *)&s->forget_timer, NULL);
}

void intake_release(struct server *s)
{
    receipts_close(s->receipts);
    rollup_done(&s->rollup);
    rollup_done(&s->flushing.flush.batch);
}
