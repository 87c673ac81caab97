/* posthog dashboard, posthog alerts: what lipservice puts on charts there. */
#include <stdio.h>
#include <string.h>

#include "cli/posthog_list.h"
#include "config/money.h"
#include "pipeline/stamp.h"
#include "posthog/documents.h"
#include "posthog/ours.h"
#include "posthog/panels.h"
#include "util/json.h"

#define DASHBOARDS_MAX 64 /* of ours: more than one only after stops in the middle */
#define ALERTS_MAX 20     /* of a project, says PostHog */
#define PATH_BYTES 128
#define DASHBOARD_ANSWER_BYTES (4u << 20)

enum mode { PRINT, APPLY, REMOVE };
static const char *const modes[] = {
    [PRINT] = "print", [APPLY] = "apply", [REMOVE] = "remove", NULL};

static int die(int rc)
{
    return command_die(rc, &(const struct error){{0}});
}

static int print_and_free(struct buf *out)
{
    int rc = out->err;
    if (rc == 0 && fwrite(out->base, 1, out->len, stdout) != out->len)
        rc = ERR_IO;
    buf_done(out);
    return rc < 0 ? die(rc) : 0;
}

/* ---- the dashboard ------------------------------------------------------ */

/* Prices of the bill where the key may see it, else those that are assumed. */
static struct money_terms terms_of(struct posthog_session *s)
{
    struct posthog_reply reply;
    struct bill bill = {.is_known = false};
    if (s->app == NULL || !project_may(&s->project, "billing:read"))
        return config_money(&s->cfg);
    if (posthog_ask(s, "GET", "/api/billing/?include_forecasting=true", NULL, 0, &reply) == 0)
        bill_read(&bill, reply.root);
    posthog_reply_done(&reply);
    return bill.is_known ? bill.terms : config_money(&s->cfg);
}

struct dashboards {
    const char *digest;
    unsigned count, more; /* more: without room here */
    int same;             /* which of them is as it should be; -1: none */
    char ids[DASHBOARDS_MAX][LISTING_ID_BYTES];
};

static void on_dashboard(void *ctx, struct json_node item)
{
    struct dashboards *d = ctx;
    struct span text = json_string(json_get(item, "description"));
    if (!posthog_is_ours(item) || json_is_true(json_get(item, "deleted")))
        return;
    if (d->count == DASHBOARDS_MAX) {
        d->more++;
        return;
    }
    if (d->same < 0 && text.len > 0 &&
        memmem(text.base, text.len, d->digest, strlen(d->digest)) != NULL)
        d->same = (int)d->count;
    listing_id(item, "id", d->ids[d->count++]);
}

static int delete_softly(struct posthog_session *s, const char *kind, const char *id)
{
    char path[PATH_BYTES];
    struct buf body = {0};
    buf_append_str(&body, "{\"deleted\":true}");
    snprintf(path, sizeof path, "%s/%s/", kind, id);
    int code = body.err != 0 ? die(body.err) : posthog_write(s, "PATCH", path, &body);
    buf_done(&body);
    return code;
}

/* Its insights first: after a stop in between they are found through it again. Insights that a user
 * added to it stay. */
static int remove_dashboard(struct posthog_session *s, const char *id)
{
    char path[PATH_BYTES], insight_id[LISTING_ID_BYTES];
    struct posthog_reply reply;
    snprintf(path, sizeof path, "dashboards/%s/", id);
    int code = posthog_ask(s, "GET", path, NULL, DASHBOARD_ANSWER_BYTES, &reply);
    if (code != 0)
        posthog_die(&reply.verdict);
    struct json_each each = json_each(json_get(reply.root, "tiles"));
    while (code == 0 && json_next(&each)) {
        struct json_node insight = json_get(each.value, "insight");
        listing_id(insight, "id", insight_id);
        if (insight_id[0] != '\0' && panels_is_tile(json_string(json_get(insight, "name"))))
            code = delete_softly(s, "insights", insight_id);
    }
    posthog_reply_done(&reply);
    return code != 0 ? code : delete_softly(s, "dashboards", id);
}

static int create_dashboard(struct posthog_session *s, const struct panels_opts *opts)
{
    char id[LISTING_ID_BYTES];
    struct buf body = {0};
    struct posthog_reply reply;
    panels_template(&body, opts);
    if (body.err != 0) {
        int rc = body.err;
        buf_done(&body);
        return die(rc);
    }
    int code = posthog_ask(s, "POST", "dashboards/create_from_template_json/", &body,
                           DASHBOARD_ANSWER_BYTES, &reply);
    buf_done(&body);
    if (code != 0)
        posthog_die(&reply.verdict);
    else
        printf("created  %s/project/%u/dashboard/%s\n", app_host(s->app), s->project.id,
               listing_id(reply.root, "id", id));
    posthog_reply_done(&reply);
    return code;
}

static int settle_dashboards(struct posthog_session *s, const struct panels_opts *opts,
                             enum mode mode)
{
    char digest[PANELS_DIGEST_BYTES];
    struct dashboards d = {.digest = panels_digest(opts, digest), .same = -1};
    int code = posthog_each(s, "dashboards/", on_dashboard, &d);
    if (mode == REMOVE)
        d.same = -1;
    if (code == 0 && mode == APPLY && d.same < 0)
        code = create_dashboard(s, opts);
    for (unsigned i = 0; i < d.count && code == 0; i++) {
        if ((int)i == d.same) {
            printf("same     %s/project/%u/dashboard/%s\n", app_host(s->app), s->project.id,
                   d.ids[i]);
            continue;
        }
        code = remove_dashboard(s, d.ids[i]);
        if (code == 0)
            printf("removed  dashboard %s\n", d.ids[i]);
    }
    if (code == 0 && d.more > 0)
        printf("%u more of ours are there: repeat the command\n", d.more);
    return code;
}

int posthog_dashboard(int argc, char **argv)
{
    struct posthog_session s;
    struct buf out = {0};
    int mode;
    int code = posthog_open_mode(&s, argc, argv, modes, NULL, &mode);
    if (code == 0) {
        struct panels_opts opts = {
            .terms = terms_of(&s),
            .currency = s.cfg.cost.currency,
            .has_patterns = (s.cfg.sampling.stamps >> STAMP_PATTERN & 1) != 0,
        };
        if (mode != PRINT) {
            code = settle_dashboards(&s, &opts, (enum mode)mode);
        } else {
            panels_template(&out, &opts);
            buf_append_byte(&out, '\n');
            code = print_and_free(&out);
        }
    }
    posthog_close(&s);
    return code;
}

/* ---- alerts ------------------------------------------------------------- */

static int print_alerts(const struct sync *plan)
{
    struct buf out = {0};
    struct json j = json_on(&out);
    json_begin_list(&j, NULL);
    for (unsigned i = 0; i < plan->wanted_count; i++)
        buf_append(json_value(&j, NULL), buf_span(&plan->wanted[i].body));
    json_end_list(&j);
    json_line(&j);
    return print_and_free(&out);
}

/* Nothing is begun that cannot be ended. */
static int check_room(const struct sync *plan)
{
    struct error err = {{0}};
    unsigned more = 0;
    for (unsigned i = 0; i < plan->step_count; i++)
        more += plan->steps[i].what == SYNC_CREATE;
    if (more == 0 || plan->ours + plan->others + more <= ALERTS_MAX)
        return 0;
    return command_die(err_set(&err, ERR_CONFIG,
                               "PostHog takes at most %d alerts of a project: %u are there, and %u "
                               "would be added",
                               ALERTS_MAX, plan->ours + plan->others, more),
                       &err);
}

struct switching {
    unsigned count;
    char ids[ALERTS_MAX][LISTING_ID_BYTES];
};

static void on_alert(void *ctx, struct json_node item)
{
    struct switching *w = ctx;
    if (posthog_is_ours(item) && !json_is_true(json_get(item, "enabled")) && w->count < ALERTS_MAX)
        listing_id(item, "id", w->ids[w->count++]);
}

static int enable_alerts(struct posthog_session *s)
{
    struct switching w = {.count = 0};
    struct buf body = {0};
    buf_append_str(&body, "{\"enabled\":true}");
    int code = posthog_each(s, "logs/alerts/", on_alert, &w);
    for (unsigned i = 0; i < w.count && code == 0; i++) {
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "logs/alerts/%s/", w.ids[i]);
        code = posthog_write(s, "PATCH", path, &body);
    }
    if (code == 0)
        printf("%u enabled; an alert without a destination reaches no one: add one in PostHog\n",
               w.count);
    buf_done(&body);
    return code;
}

static int settle_alerts(struct posthog_session *s, struct sync *plan, bool enables)
{
    int code = posthog_compare(s, "logs/alerts/", plan);
    if (code == 0)
        code = check_room(plan);
    if (code == 0)
        code = posthog_carry_out(s, "logs/alerts/", plan);
    if (code == 0)
        posthog_print_plan(plan, true);
    return code == 0 && enables ? enable_alerts(s) : code;
}

int posthog_alerts(int argc, char **argv)
{
    static const char *const members[] = {"filters", NULL};
    struct posthog_session s;
    struct sync plan = {.members = members};
    bool enables = false;
    int mode;
    const struct command_flag enable = {"enable", NULL, &enables};
    int code = posthog_open_mode(&s, argc, argv, modes, &enable, &mode);
    if (code == 0 && mode != REMOVE) {
        int rc = panels_want_alerts(&plan);
        code = rc < 0 ? die(rc) : 0;
    }
    if (code == 0)
        code = mode == PRINT ? print_alerts(&plan) : settle_alerts(&s, &plan, enables);
    sync_done(&plan);
    posthog_close(&s);
    return code;
}
