/* posthog rules: the part of the policy that PostHog's drop rules can say. */
#include <stdio.h>

#include "cli/posthog_list.h"
#include "config/config.h"
#include "posthog/drop_rules.h"
#include "util/json.h"

#define RULES_PATH "logs/sampling_rules/"

enum mode { PRINT, DIFF, APPLY, REMOVE };

static struct drop_rules_opts opts_of(const struct config *cfg)
{
    return (struct drop_rules_opts){
        .severity_from_text = cfg->sampling.severity_from_text,
        .has_budget = config_target(cfg).unit != GOVERNOR_NONE,
        .has_context = cfg->sampling.context_bytes > 0,
    };
}

/* As it is created; to change one, without the name. Disabled: a person looks first. */
static void write_rule(struct buf *out, const struct drop_rule *r, bool with_name)
{
    struct json j = json_on(out);
    json_begin(&j, NULL);
    if (with_name)
        json_str(&j, "name", r->name);
    json_str(&j, "rule_type", "path_drop");
    json_bool(&j, "enabled", false);
    buf_append(json_value(&j, "config"), buf_span(&r->config));
    json_end(&j);
}

static void write_notes(struct json *j, const char *key, const struct drop_rules *d, bool warnings)
{
    json_begin_list(j, key);
    for (unsigned i = 0; i < d->note_count; i++) {
        if (d->notes[i].is_warning != warnings)
            continue;
        json_begin(j, NULL);
        json_str(j, "what", d->notes[i].what);
        json_str(j, "why", d->notes[i].why);
        json_end(j);
    }
    json_end_list(j);
}

static int print_rules(const struct drop_rules *d)
{
    struct buf out = {0};
    struct json j = json_on(&out);
    json_begin(&j, NULL);
    json_begin_list(&j, "rules");
    for (unsigned i = 0; i < d->count; i++)
        write_rule(json_value(&j, NULL), &d->rules[i], true);
    json_end_list(&j);
    write_notes(&j, "warnings", d, true);
    write_notes(&j, "not_said", d, false);
    json_end(&j);
    json_line(&j);
    int rc = out.err;
    if (rc == 0 && fwrite(out.base, 1, out.len, stdout) != out.len)
        rc = ERR_IO;
    buf_done(&out);
    return rc < 0 ? command_die(rc, &(const struct error){{0}}) : 0;
}

static void print_notes(const struct drop_rules *d)
{
    for (unsigned i = 0; i < d->note_count; i++)
        printf("%-8s %s: %s\n", d->notes[i].is_warning ? "mind" : "not", d->notes[i].what,
               d->notes[i].why);
}

static int want_all(struct sync *plan, const struct drop_rules *d)
{
    int rc = 0;
    for (unsigned i = 0; i < d->count && rc == 0; i++) {
        struct buf body = {0}, change = {0};
        write_rule(&body, &d->rules[i], true);
        write_rule(&change, &d->rules[i], false);
        rc = sync_want(plan, d->rules[i].name, &body, &change);
    }
    return rc;
}

static int on_list(struct posthog_session *s, const struct drop_rules *d, enum mode mode)
{
    static const char *const members[] = {"rule_type", "config", NULL};
    struct sync plan = {.members = members};
    int rc = mode == REMOVE ? 0 : want_all(&plan, d);
    int code = rc < 0 ? command_die(rc, &(const struct error){{0}})
                      : posthog_compare(s, RULES_PATH, &plan);
    if (code == 0 && mode != DIFF)
        code = posthog_carry_out(s, RULES_PATH, &plan);
    if (code == 0) {
        posthog_print_plan(&plan, mode != DIFF);
        if (mode != REMOVE)
            print_notes(d);
    }
    sync_done(&plan);
    return code;
}

static int with_rules(struct posthog_session *s, enum mode mode)
{
    struct rules *rules;
    struct drop_rules d;
    const struct drop_rules_opts opts = opts_of(&s->cfg);
    int code = command_rules(&rules, &s->cfg, s->cfg.sampling.policy_file);
    if (code != 0)
        return code;
    int rc = drop_rules_of(&d, rules, &opts);
    rules_unref(rules);
    if (rc < 0)
        return command_die(rc, &(const struct error){{0}});
    code = mode == PRINT ? print_rules(&d) : on_list(s, &d, mode);
    drop_rules_done(&d);
    return code;
}

int posthog_rules(int argc, char **argv)
{
    static const char *const modes[] = {
        [PRINT] = "print", [DIFF] = "diff", [APPLY] = "apply", [REMOVE] = "remove", NULL};
    struct posthog_session s;
    int mode;
    int code = posthog_open_mode(&s, argc, argv, modes, NULL, &mode);
    if (code == 0)
        code = with_rules(&s, (enum mode)mode);
    posthog_close(&s);
    return code;
}
