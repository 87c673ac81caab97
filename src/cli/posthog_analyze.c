/* posthog analyze: how many rows there are and where, then slices of them, three at a time. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/admin.h"
#include "cli/posthog_analyze.h"
#include "config/money.h"
#include "config/pipeline.h"
#include "posthog/documents.h"
#include "util/json.h"

#define AT_ONCE 3
#define ANSWER_BYTES (64u << 20) /* of 2,000 rows; one is read at a time */
#define PAGE_ROWS 2000
#define SCAN_ROWS 200000.0 /* so few are all read: no more than the slices would be */
#define BUCKETS 500
#define SETTLED_MS 60000 /* later rows may not be visible yet */
#define CURSOR_BYTES 512
#define WARM_BYTES 200000 /* of a POST: less than an admin page takes (net/page.h) */

static int die(int rc)
{
    return command_die(rc, &(const struct error){{0}});
}

/* ---- requests ---------------------------------------------------------- */

static uint64_t spent_ms(const struct analyze *a)
{
    return clock_now_ms(clock_real()) - a->began_ms;
}

static bool has_more(const struct analyze *a)
{
    return a->requests < ANALYZE_REQUESTS_MAX && spent_ms(a) < a->time_ms;
}

static void range(struct json *j, uint64_t from_ns, uint64_t to_ns)
{
    char from[ROW_TIME_BYTES], to[ROW_TIME_BYTES];
    json_begin(j, "dateRange");
    json_str(j, "date_from", row_time_text(from, from_ns));
    json_str(j, "date_to", row_time_text(to, to_ns));
    json_end(j);
}

/* Asked and waited for; what failed is printed. */
static int ask(struct analyze *a, const char *path, uint64_t buckets, struct posthog_reply *reply)
{
    struct buf body = {0};
    struct json j = json_on(&body);
    json_begin(&j, NULL);
    json_begin(&j, "query");
    range(&j, a->slices.from_ns, a->slices.to_ns);
    if (buckets > 0)
        json_u64(&j, "targetBuckets", buckets);
    json_end(&j);
    json_end(&j);
    a->requests++;
    int code = posthog_ask(&a->session, "POST", path, &body, ANSWER_BYTES, reply);
    buf_done(&body);
    return code == 0 ? 0 : posthog_die(&reply->verdict);
}

/* One question for rows, of those that are under way. */
struct flight {
    struct work *work;
    struct slice slice;
    bool is_again; /* it was too short, and is asked to the end */
};

struct work {
    struct analyze *a;
    struct slice *todo; /* drawn, in an order in which any part is a sample */
    uint32_t todo_count, next, flying, done;
    char cursor[CURSOR_BYTES]; /* of a scan of all rows; "": at the beginning */
    bool is_scan, is_over, has_cursor;
    bool is_too_slow;  /* a scan, which would not come to its end */
    uint64_t asked_ms; /* spent before its first page */
    int code;
    struct flight flights[AT_ONCE];
    struct flight *free[AT_ONCE];
    uint32_t free_count;
};

static void go_on(struct work *w);

static void read_rows(struct work *w, struct flight *f, struct json_node root)
{
    struct json_node rows = json_get(root, "results");
    int n = analysis_slice(w->a->analysis, f->slice.stratum, rows);
    if (n < 0 && w->code == 0)
        w->code = die(n);
    struct span cursor = json_string(json_get(root, "nextCursor"));
    w->has_cursor = cursor.len > 0 && cursor.len < CURSOR_BYTES && n > 0;
    snprintf(w->cursor, sizeof w->cursor, "%.*s", (int)cursor.len,
             cursor.len > 0 ? (const char *)cursor.base : "");
    w->done++;
}

static void on_rows(void *ctx, const struct app_answer *answer);

static int ask_rows(struct flight *f)
{
    struct work *w = f->work;
    struct buf body = {0};
    struct json j = json_on(&body);
    json_begin(&j, NULL);
    json_begin(&j, "query");
    range(&j, f->slice.from_ns, f->slice.to_ns);
    json_str(&j, "orderBy", "earliest");
    json_u64(&j, "limit", w->is_scan ? PAGE_ROWS : SLICE_ROWS);
    if (w->is_scan && w->cursor[0] != '\0')
        json_str(&j, "after", w->cursor);
    json_end(&j);
    json_end(&j);
    const struct app_request r = {
        .method = "POST",
        .path = "logs/query/",
        .body = buf_span(&body),
        .max_answer_bytes = ANSWER_BYTES,
        .ctx = f,
        .done = on_rows,
    };
    w->a->requests++;
    int rc = body.err != 0 ? body.err : app_send(w->a->session.app, &r, NULL);
    buf_done(&body);
    return rc;
}

/* In a gap of the rows: there are more behind it. */
static bool is_short(const struct work *w, const struct flight *f, struct json_node root)
{
    uint32_t n = 0;
    struct json_each each = json_each(json_get(root, "results"));
    while (json_next(&each))
        n++;
    return !w->is_scan && !f->is_again && n < SLICE_ROWS && f->slice.to_ns < w->a->slices.to_ns;
}

/* After its first page: a scan that is cut would have read the oldest rows only, which are no
 * sample of all. */
static bool cannot_end(const struct work *w)
{
    uint64_t now = spent_ms(w->a), page = now - w->asked_ms;
    return w->is_scan && w->done == 0 && now + page * (w->todo_count - 2) > w->a->time_ms;
}

static void on_rows(void *ctx, const struct app_answer *answer)
{
    struct flight *f = ctx;
    struct work *w = f->work;
    if (answer->fault != APP_FINE && w->code == 0) {
        struct app_verdict v = {.fault = answer->fault};
        snprintf(v.text, sizeof v.text, "%s", answer->text);
        snprintf(v.remedy, sizeof v.remedy, "%s", answer->remedy);
        analyze_hide_bar(w->a);
        w->code = posthog_die(&v);
    }
    if (answer->fault == APP_FINE && has_more(w->a) && is_short(w, f, answer->root)) {
        f->is_again = true;
        f->slice.to_ns = w->a->slices.to_ns;
        if (ask_rows(f) == 0)
            return;
    }
    w->flying--;
    w->free[w->free_count++] = f;
    w->is_too_slow = w->is_too_slow || cannot_end(w);
    if (answer->fault == APP_FINE && w->code == 0)
        read_rows(w, f, answer->root);
    analyze_show_bar(w->a, w->done, w->todo_count);
    go_on(w);
}

static bool wants_more(const struct work *w)
{
    if (w->code != 0 || w->is_too_slow || w->next == w->todo_count)
        return false;
    return w->is_scan ? w->flying == 0 && (w->next == 0 || w->has_cursor) : w->flying < AT_ONCE;
}

static void go_on(struct work *w)
{
    while (wants_more(w) && has_more(w->a)) {
        struct flight *f = w->free[--w->free_count];
        *f = (struct flight){.work = w, .slice = w->todo[w->next]};
        int rc = ask_rows(f);
        if (rc < 0) {
            w->free[w->free_count++] = f;
            w->code = die(rc);
            break;
        }
        w->next++;
        w->flying++;
    }
    w->a->is_cut |= wants_more(w) && !has_more(w->a);
    w->is_over = w->flying == 0;
}

/* ---- the plan ---------------------------------------------------------- */

static void shuffle(struct slice *list, uint32_t count, struct rng *rng)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t k = (uint32_t)rng_upto(rng, i - 1);
        struct slice other = list[k];
        list[k] = list[i - 1];
        list[i - 1] = other;
    }
}

/* One slice of each stratum, in any order, and then another. */
static int plan_slices(struct work *w)
{
    struct rng rng;
    rng_init(&rng);
    w->todo = calloc(SLICES_STRATA * SLICES_PER_STRATUM, sizeof *w->todo);
    if (w->todo == NULL)
        return ERR_NOMEM;
    for (uint32_t n = 0; n < SLICES_PER_STRATUM; n++) {
        for (uint32_t h = 0; h < SLICES_STRATA; h++)
            w->todo[w->todo_count++] = slices_draw(&w->a->slices, h, &rng);
        shuffle(w->todo + n * SLICES_STRATA, SLICES_STRATA, &rng);
    }
    return analysis_begin(w->a->analysis, w->a->slices.sizes, SLICES_STRATA);
}

static int plan_scan(struct work *w)
{
    uint32_t pages = (uint32_t)(w->a->slices.rows / PAGE_ROWS) + 2;
    w->is_scan = true;
    w->asked_ms = spent_ms(w->a);
    w->todo = calloc(pages, sizeof *w->todo);
    if (w->todo == NULL)
        return ERR_NOMEM;
    w->todo_count = pages;
    for (uint32_t i = 0; i < pages; i++)
        w->todo[i] = (struct slice){0, w->a->slices.from_ns, w->a->slices.to_ns};
    return analysis_begin(w->a->analysis, &w->a->slices.rows, 1);
}

static int know_services(struct analyze *a, struct json_node answer)
{
    struct json_each each = json_each(json_get(answer, "services"));
    while (json_next(&each)) {
        double rows;
        struct span name = json_string(json_get(each.value, "service_name"));
        if (!json_number(json_get(each.value, "log_count"), &rows))
            continue;
        int rc = analysis_service(a->analysis, name, rows);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* 1: it is a scan, and too slow; what it has read is no use. */
static int read_by(struct analyze *a, struct json_node services, int (*plan)(struct work *w))
{
    struct work w = {.a = a};
    for (uint32_t i = 0; i < AT_ONCE; i++)
        w.free[w.free_count++] = &w.flights[i];
    int rc = plan(&w);
    if (rc == 0)
        rc = know_services(a, services);
    if (rc == 0) {
        go_on(&w);
        posthog_wait(&a->session, &w.is_over);
        analyze_hide_bar(a);
    }
    a->is_complete = w.is_scan && !a->is_cut && !w.is_too_slow;
    if (a->is_complete && rc == 0)
        analysis_is_complete(a->analysis);
    free(w.todo);
    return w.code != 0 ? w.code : rc < 0 ? die(rc) : w.is_too_slow;
}

static int open_analysis(struct analyze *a);

static int read_all(struct analyze *a, struct json_node services)
{
    int code = a->slices.rows <= SCAN_ROWS ? read_by(a, services, plan_scan) : 1;
    if (code != 1)
        return code;
    analysis_free(a->analysis);
    a->analysis = NULL;
    code = open_analysis(a);
    return code != 0 ? code : read_by(a, services, plan_slices);
}

/* ---- what PostHog counts ------------------------------------------------ */

struct guarding {
    struct analyze *a;
    bool is_over;
};

/* Without it nothing is guarded, and it is said. */
static void on_guarded(void *ctx, struct guarded *g, const struct app_verdict *v)
{
    struct guarding *reading = ctx;
    (void)g;
    if (v->fault != APP_FINE)
        snprintf(reading->a->unguarded, sizeof reading->a->unguarded, "%s", v->text);
    reading->is_over = true;
}

static int read_guard(struct analyze *a)
{
    struct guarding reading = {.a = a};
    a->guarded = calloc(1, sizeof *a->guarded);
    if (a->guarded == NULL)
        return die(ERR_NOMEM);
    if (a->session.cfg.guard.alerts == GUARD_OFF)
        return 0;
    a->requests += GUARD_KIND_COUNT;
    int rc = guarded_begin(a->guarded, a->session.app, true, false, on_guarded, &reading);
    if (rc < 0)
        return die(rc);
    posthog_wait(&a->session, &reading.is_over);
    return 0;
}

/* ---- the verb ---------------------------------------------------------- */

static int open_analysis(struct analyze *a)
{
    const struct config *cfg = &a->session.cfg;
    const struct analysis_opts opts = {
        .pipeline = config_pipeline(cfg),
        .rules = a->rules,
        .guard = a->guarded->guard,
    };
    int rc = analysis_new(&a->analysis, &opts);
    return rc < 0 ? die(rc) : 0;
}

static void read_terms(struct analyze *a)
{
    struct posthog_reply reply;
    struct bill bill = {.is_known = false};
    a->terms = config_money(&a->session.cfg);
    if (!project_may(&a->session.project, "billing:read"))
        return;
    a->requests++;
    if (posthog_ask(&a->session, "GET", "/api/billing/?include_forecasting=true", NULL, 0,
                    &reply) == 0)
        bill_read(&bill, reply.root);
    posthog_reply_done(&reply);
    if (bill.is_known)
        a->terms = bill.terms;
}

static int count_rows(struct analyze *a, struct posthog_reply *services)
{
    struct posthog_reply reply;
    uint64_t to_ns = clock_unix_ns(clock_real()) - SETTLED_MS * UINT64_C(1000000);
    uint64_t from_ns = to_ns - (uint64_t)(a->hours * 3600 * 1e9);
    a->slices.from_ns = from_ns;
    a->slices.to_ns = to_ns;
    int code = ask(a, "logs/count-ranges/", BUCKETS, &reply);
    int rc = code == 0 ? slices_read(&a->slices, reply.root, from_ns, to_ns) : 0;
    posthog_reply_done(&reply);
    if (rc == ERR_NOMEM)
        return die(rc);
    if (rc < 0) {
        fprintf(stderr, "lipservice: logs/count-ranges/ was answered with no counts\n");
        return EXIT_UNAVAILABLE;
    }
    if (code == 0 && a->slices.rows <= 0) {
        fprintf(stderr, "lipservice: there are no logs of the last %.4g hours in project %u\n",
                a->hours, a->session.project.id);
        return EXIT_UNAVAILABLE;
    }
    return code != 0 ? code : ask(a, "logs/services/", 0, services);
}

static int on_examples(void *ctx, struct span request, uint32_t rows)
{
    struct analyze *a = ctx;
    struct buf target = {0};
    FILE *nowhere = fopen("/dev/null", "we");
    buf_append_str(&target, "/api/warm");
    int code = nowhere == NULL || target.err != 0
                   ? die(ERR_NOMEM)
                   : admin_ask(&a->session.cfg, a->admin, &target, request, nowhere);
    if (nowhere != NULL)
        fclose(nowhere);
    buf_done(&target);
    a->known += code == 0 ? rows : 0;
    return code;
}

static int analyze(struct analyze *a)
{
    struct posthog_reply services = {.doc = NULL};
    a->began_ms = clock_now_ms(clock_real());
    a->bar_percent = isatty(STDERR_FILENO) == 1 && !a->json ? 0 : -1;
    int code = command_rules(&a->rules, &a->session.cfg, "");
    if (code == 0)
        code = read_guard(a);
    if (code == 0)
        code = open_analysis(a);
    if (code == 0)
        code = count_rows(a, &services);
    if (code == 0)
        read_terms(a);
    if (code == 0)
        code = read_all(a, services.root);
    posthog_reply_done(&services);
    if (code != 0)
        return code;
    int rc = analysis_finish(a->analysis, &a->slices, &a->result);
    if (rc == 0)
        code = analyze_write_policy(a);
    if (rc == 0 && code == 0 && a->warms)
        code = analysis_examples(a->analysis, WARM_BYTES, on_examples, a);
    if (rc == 0 && code == 0)
        rc = analyze_report(a);
    return rc < 0 ? die(rc) : code;
}

int posthog_analyze(int argc, char **argv)
{
    struct analyze a = {.policy_file = "lipservice-policy.json"};
    const char *hours = "24", *minutes = "5";
    const struct command_flag flags[] = {
        {"hours", &hours, NULL}, {"minutes", &minutes, NULL}, {"write", &a.policy_file, NULL},
        {"json", NULL, &a.json}, {"warm", NULL, &a.warms},    {"admin", &a.admin, NULL}};
    int code = posthog_open_project(&a.session, argc, argv, flags, ARRAY_LEN(flags), NULL);
    if (code == 0) {
        char *end;
        a.hours = strtod(hours, &end);
        if (end == hours || *end != '\0' || !(a.hours >= 0.1 && a.hours <= ANALYZE_HOURS_MAX))
            code = command_usage_error("--hours: not from 0.1 to 720: ", hours);
        double most = strtod(minutes, &end);
        if (end == minutes || *end != '\0' || !(most >= 0.01 && most <= ANALYZE_MINUTES))
            code = command_usage_error("--minutes: not from 0.01 to 5: ", minutes);
        a.time_ms = (uint64_t)(most * 60000);
    }
    if (code == 0)
        code = analyze(&a);
    analysis_free(a.analysis);
    if (a.guarded != NULL)
        guard_unref(a.guarded->guard);
    free(a.guarded);
    rules_unref(a.rules);
    slices_done(&a.slices);
    posthog_close(&a.session);
    return code;
}
