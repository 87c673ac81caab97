/* posthog_list: one request after the other. */
#include "cli/posthog_list.h"

#include <stdio.h>
#include <string.h>

#define PATH_BYTES (LISTING_PATH_BYTES + LISTING_ID_BYTES + 2)

static int choose_mode(int argc, char **argv, const char *const *modes)
{
    int chosen = -1, given = 0;
    for (int m = 0; modes[m] != NULL; m++) {
        for (int i = 1; i < argc; i++) {
            if (strncmp(argv[i], "--", 2) != 0 || strcmp(argv[i] + 2, modes[m]) != 0)
                continue;
            chosen = m;
            given++;
        }
    }
    return given == 1 ? chosen : -1;
}

int posthog_open_mode(struct posthog_session *s, int argc, char **argv, const char *const *modes,
                      const struct command_flag *extra, int *mode)
{
    bool given[POSTHOG_MODES_MAX]; /* counted by choose_mode() */
    struct command_flag flags[POSTHOG_MODES_MAX + 1];
    char wanted[128] = "";
    size_t count = 0;
    *s = (struct posthog_session){.app = NULL};
    for (; modes[count] != NULL; count++) {
        flags[count] = (struct command_flag){modes[count], NULL, &given[count]};
        snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), " --%s", modes[count]);
    }
    if (extra != NULL)
        flags[count++] = *extra;
    *mode = choose_mode(argc, argv, modes);
    if (*mode < 0)
        return command_usage_error("give one of", wanted);
    if (strcmp(modes[*mode], "print") != 0)
        return posthog_open_project(s, argc, argv, flags, count, NULL);
    int code = command_load(argc, argv, flags, count, &s->cfg, NULL);
    s->has_config = code == 0;
    return code;
}

struct reading {
    bool is_over;
    struct app_verdict verdict;
};

static void on_end(void *ctx, const struct app_verdict *v)
{
    struct reading *r = ctx;
    r->verdict = *v;
    r->is_over = true;
}

struct forward {
    struct reading reading; /* first: on_end() gets it */
    void (*item)(void *ctx, struct json_node item);
    void *ctx;
};

static void on_item(void *ctx, struct json_node item)
{
    const struct forward *f = ctx;
    f->item(f->ctx, item);
}

int posthog_each(struct posthog_session *s, const char *path,
                 void (*item)(void *ctx, struct json_node item), void *ctx)
{
    struct listing listing;
    struct forward f = {.item = item, .ctx = ctx};
    int rc = listing_begin(&listing, s->app, path, on_item, on_end, &f);
    if (rc < 0)
        return command_die(rc, &(const struct error){{0}});
    posthog_wait(s, &f.reading.is_over);
    return f.reading.verdict.fault == APP_FINE ? 0 : posthog_die(&f.reading.verdict);
}

static void on_plan_item(void *ctx, struct json_node item)
{
    sync_item(ctx, item);
}

int posthog_compare(struct posthog_session *s, const char *path, struct sync *plan)
{
    const struct error none = {{0}};
    int rc = sync_begin(plan);
    int code = rc < 0 ? command_die(rc, &none) : posthog_each(s, path, on_plan_item, plan);
    return code == 0 && plan->rc < 0 ? command_die(plan->rc, &none) : code;
}

void posthog_print_plan(const struct sync *plan, bool is_done)
{
    static const char *const done[] = {[SYNC_KEEP] = "same",
                                       [SYNC_CREATE] = "created",
                                       [SYNC_CHANGE] = "changed",
                                       [SYNC_REMOVE] = "removed"};
    for (unsigned i = 0; i < plan->step_count; i++)
        printf("%-8s %s\n", is_done ? done[plan->steps[i].what] : sync_word(plan->steps[i].what),
               plan->steps[i].name);
    printf("%u of others are not touched\n", plan->others);
}

int posthog_write(struct posthog_session *s, const char *method, const char *path,
                  const struct buf *body)
{
    struct posthog_reply reply;
    int code = posthog_ask(s, method, path, body, 0, &reply);
    if (code != 0)
        code = posthog_die(&reply.verdict);
    posthog_reply_done(&reply);
    return code;
}

static int carry_out(struct posthog_session *s, const char *path, const struct sync_step *step)
{
    char item[PATH_BYTES];
    snprintf(item, sizeof item, "%s%s/", path, step->id);
    switch (step->what) {
    case SYNC_CREATE:
        return posthog_write(s, "POST", path, &step->wanted->body);
    case SYNC_CHANGE:
        return posthog_write(s, "PATCH", item, &step->wanted->change);
    case SYNC_REMOVE:
        return posthog_write(s, "DELETE", item, NULL);
    default:
        return 0;
    }
}

int posthog_carry_out(struct posthog_session *s, const char *path, struct sync *plan)
{
    int code = 0;
    for (unsigned i = 0; i < plan->step_count && code == 0; i++)
        code = carry_out(s, path, &plan->steps[i]);
    if (code != 0)
        fprintf(stderr, "lipservice: what was done before it stays; the same command goes on\n");
    return code;
}
