/* posthog verify: what the running sidecar has sent, held against what PostHog stored. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/admin.h"
#include "cli/posthog.h"
#include "posthog/check.h"
#include "posthog/verify.h"

#define EXIT_DIFFERS 1

struct verb {
    struct posthog_session session;
    struct check check;
    struct verify verify;
    struct verify_opts opts;
    const char *hours, *admin;
    bool as_json;
};

static void on_done(void *ctx)
{
    *(bool *)ctx = true;
}

/* ---- what was sent ----------------------------------------------------- */

static uint64_t whole(struct json_node n)
{
    uint64_t value = 0;
    return json_whole(n, &value) ? value : 0;
}

/* The whole numbers of a list, as far as there is room. */
static size_t numbers(struct json_node list, uint64_t *out, size_t room)
{
    struct json_each each = json_each(list);
    size_t n = 0;
    while (n < room && json_next(&each))
        out[n++] = whole(each.value);
    return n;
}

static void read_service(struct verb *v, struct json_node service)
{
    struct ledger_check *c = &v->verify.check;
    struct check_service *s = ledger_check_add(c, json_string(json_get(service, "service")));
    struct json_each minutes = json_each(json_get(service, "minutes"));
    uint64_t cell[3];
    if (s == NULL)
        return;
    s->lost = whole(json_get(service, "lost"));
    s->untold = whole(json_get(service, "of_other_times"));
    s->quota_sent = whole(json_get(service, "quota_sent"));
    while (json_next(&minutes))
        if (numbers(minutes.value, cell, ARRAY_LEN(cell)) == ARRAY_LEN(cell))
            ledger_check_sent(c, s, cell[0], (uint32_t)cell[1], (uint32_t)cell[2],
                              v->opts.settled_s);
}

static void read_canaries(struct verb *v, struct json_node canaries)
{
    struct json_each each = json_each(canaries);
    for (size_t i = 0; i < CANARIES_MAX && json_next(&each); i++) {
        struct canary *c = &v->verify.canaries[i];
        c->sent_s = whole(each.value);
        snprintf(c->id, sizeof c->id, "%.*s", (int)each.key.len, (const char *)each.key.base);
    }
}

static void read_page(struct verb *v, struct json_node page, uint32_t hours)
{
    struct ledger_check *c = &v->verify.check;
    struct json_each quotas = json_each(json_get(page, "quota"));
    struct json_each services = json_each(json_get(page, "services"));
    uint64_t span[2];
    ledger_check_init(c, NULL, whole(json_get(page, "now_s")), hours);
    v->opts.settled_s = whole(json_get(page, "settled_s"));
    c->start_s = whole(json_get(page, "start_s"));
    c->doubtful = whole(json_get(page, "doubtful"));
    while (c->quota_count < LEDGER_CHECK_QUOTAS && json_next(&quotas))
        if (numbers(quotas.value, span, ARRAY_LEN(span)) == ARRAY_LEN(span)) {
            c->quotas[c->quota_count].from_s = span[0];
            c->quotas[c->quota_count++].to_s = span[1];
        }
    read_canaries(v, json_get(page, "canaries"));
    struct json_each days = json_each(json_get(page, "days"));
    struct day_totals *d = &v->verify.days;
    while (d->count < DAYS_MAX && json_next(&days))
        if (numbers(days.value, span, ARRAY_LEN(span)) == ARRAY_LEN(span))
            d->list[d->count++] = (struct day_total){span[0], (double)span[1], -1};
    while (json_next(&services))
        read_service(v, services.value);
}

/* Ask the running one. 0, or the exit code. */
static int ask_sidecar(struct verb *v, uint32_t hours)
{
    struct buf target = {0};
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    struct json_doc *doc = NULL;
    struct json_node page;
    if (out == NULL)
        return EXIT_BUG;
    buf_printf(&target, "/api/minutes?hours=%u", hours);
    int code = admin_ask(&v->session.cfg, v->admin, &target, (struct span){0}, out);
    fclose(out);
    buf_done(&target);
    int rc = code == 0 ? json_doc_new(&doc, span_of(text, len), NULL, &page) : 0;
    if (rc < 0)
        code = command_die(rc, &(struct error){"the admin page gives no such document"});
    else if (code == 0)
        read_page(v, page, hours);
    json_doc_free(doc);
    free(text);
    return code;
}

/* ---- what is stored ---------------------------------------------------- */

/* Project, quota and rules: what differences may come from. 0, or the exit code. */
static int look_for_causes(struct verb *v)
{
    bool is_over = false;
    const struct config *cfg = &v->session.cfg;
    const struct check_opts opts = {
        .app = v->session.app,
        .token = cfg->posthog.api_key,
        .ingestion_host = cfg->posthog.host,
        .project_id = cfg->app.project_id,
        .ctx = &is_over,
        .done = on_done,
    };
    if (check_start(&v->check, &opts) < 0)
        return EXIT_BUG;
    posthog_wait(&v->session, &is_over);
    if (v->check.project.outcome == PROJECT_UNASKED)
        return posthog_die(&v->check.project.fault);
    if (app_project(v->session.app) == APP_ID_NONE)
        return command_die(ERR_CONFIG, &(struct error){"the project is not known: `lipservice "
                                                       "posthog check` says why"});
    verify_take_causes(&v->verify, &v->check.gathered);
    return 0;
}

static int look_at_stored(struct verb *v)
{
    bool is_over = false;
    struct buf out = {0};
    v->opts.app = v->session.app;
    v->opts.may_query = project_may(&v->check.project, "query:read");
    v->opts.may_bill = project_may(&v->check.project, "billing:read");
    v->opts.ctx = &is_over;
    v->opts.done = on_done;
    if (verify_start(&v->verify, &v->opts) < 0) {
        printf("nothing was sent in that time\n");
        return EXIT_OK;
    }
    posthog_wait(&v->session, &is_over);
    (v->as_json ? verify_write_json : verify_write_text)(&v->verify, &out);
    fwrite(out.base, 1, out.len, stdout);
    buf_done(&out);
    if (v->verify.fault.fault != APP_FINE)
        return posthog_die(&v->verify.fault);
    return verify_is_good(&v->verify) ? EXIT_OK : EXIT_DIFFERS;
}

int posthog_verify(int argc, char **argv)
{
    struct verb *v = calloc(1, sizeof *v);
    if (v == NULL)
        return EXIT_BUG;
    v->hours = "1";
    const struct command_flag flags[] = {{.name = "json", .given = &v->as_json},
                                         {.name = "hours", .value = &v->hours},
                                         {.name = "admin", .value = &v->admin}};
    char *end;
    int code = posthog_open(&v->session, argc, argv, flags, ARRAY_LEN(flags), NULL);
    unsigned long hours = strtoul(v->hours, &end, 10);
    if (code == 0 && (*end != '\0' || hours < 1 || hours > 24))
        code = command_usage_error("--hours: not a number from 1 to 24: ", v->hours);
    if (code == 0)
        code = ask_sidecar(v, (uint32_t)hours);
    if (code == 0)
        code = look_for_causes(v);
    if (code == 0)
        code = look_at_stored(v);
    verify_stop(&v->verify);
    posthog_close(&v->session);
    free(v);
    return code;
}
