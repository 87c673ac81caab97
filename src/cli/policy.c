/* policy: the versions of the running one's policy, by its admin page. */
#include "cli/verbs.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/answer.h"
#include "cli/command.h"
#include "cli/policy_conformance.h"
#include "cli/term.h"
#include "util/json.h"

/* What was asked for. */
struct asked {
    const struct config *cfg;
    const char *argument; /* NULL: none */
    const char *admin, *by, *why, *with;
    struct conformance files;
    bool json, shadow;
};

static double number(struct json_node n, const char *key)
{
    double value = 0;
    json_number(json_get(n, key), &value);
    return value;
}

static void print_span(int width, struct span s)
{
    printf("%-*.*s", width, (int)s.len, s.len > 0 ? (const char *)s.base : "");
}

/* Text of people and of other programs: cut to the line, nothing of it moves the cursor. */
static void print_line(struct span text, unsigned used)
{
    struct buf cut = {0};
    unsigned width = term_width(STDOUT_FILENO);
    term_add(&cut, text, width > used ? width - used : 200);
    printf("%.*s\n", (int)cut.len, cut.len > 0 ? (const char *)cut.base : "");
    buf_done(&cut);
}

/* ---- list -------------------------------------------------------------- */

static void say_version(struct json_node v)
{
    struct json_node saving = json_get(v, "saving");
    char when[32];
    time_t s = (time_t)number(v, "created_unix_s");
    struct tm tm;
    strftime(when, sizeof when, "%Y-%m-%d %H:%M", gmtime_r(&s, &tm));
    printf("%7.0f  ", number(v, "version"));
    print_span(9, json_string(json_get(v, "state")));
    printf(" %s  ", when);
    print_span(10, json_string(json_get(v, "by")));
    printf(" %8.0f %10.3f GB %9.2f  ", number(v, "changes"), number(saving, "bytes_a_month") / 1e9,
           number(saving, "money_a_month"));
    print_line(json_string(json_get(v, "why")), 84);
}

static void say_list(struct json_node root)
{
    struct json_each each = json_each(json_get(root, "versions"));
    struct span apply = json_string(json_get(root, "apply"));
    printf(
        "policy.apply: %.*s; savings are a month's, beside what was in force when it was made\n\n"
        "%7s  %-9s %-16s  %-10s %8s %13s %9s  %s\n",
        (int)apply.len, (const char *)apply.base, "version", "state", "made (UTC)", "by", "changes",
        "bytes", "money", "why");
    while (json_next(&each))
        say_version(each.value);
}

/* ---- one --------------------------------------------------------------- */

static void say_document(struct json_node root)
{
    struct span text = json_string(json_get(root, "document"));
    fwrite(text.base, 1, text.len, stdout);
}

static void say_diff(struct json_node root)
{
    struct span text = json_string(json_get(root, "diff"));
    if (text.len == 0)
        printf("the same rates\n");
    fwrite(text.base, 1, text.len, stdout);
}

static void say_made(struct json_node root)
{
    struct span none = json_string(json_get(root, "none"));
    struct span note = json_string(json_get(root, "note"));
    struct span state = json_string(json_get(root, "state"));
    if (none.len > 0) {
        printf("no proposal: %.*s\n", (int)none.len, (const char *)none.base);
        return;
    }
    printf("version %.0f is %.*s\n", number(root, "version"), (int)state.len,
           (const char *)state.base);
    if (note.len > 0)
        printf("%.*s\n", (int)note.len, (const char *)note.base);
}

static void say_changes(struct json_node root)
{
    struct json_each each = json_each(json_get(root, "changes"));
    while (json_next(&each)) {
        struct json_node r = each.value;
        struct span protected_by = json_string(json_get(r, "protected_by"));
        struct buf line = {0};
        print_span(22, json_string(json_get(r, "pattern")));
        print_span(6, json_string(json_get(r, "severity")));
        printf("%8.4g -> %-8.4g %10.3f GB %8.2f  ", number(r, "rate_now"),
               number(r, "rate_proposed"), number(r, "bytes_a_month") / 1e9,
               number(r, "money_a_month"));
        answer_append_name(&line, json_string(json_get(r, "service")));
        buf_append_byte(&line, ' ');
        json_write_string(&line, json_string(json_get(r, "template")));
        print_line(buf_span(&line), 70);
        buf_clear(&line);
        buf_append_str(&line, "    ");
        buf_append(&line, json_string(json_get(r, "why")));
        if (protected_by.len > 0) {
            buf_append_str(&line, "; protected: ");
            buf_append(&line, protected_by);
        }
        print_line(buf_span(&line), 0);
        buf_done(&line);
    }
}

static void say_proposal(struct json_node root)
{
    say_made(root);
    if (json_string(json_get(root, "none")).len == 0)
        say_version(root);
}

/* ---- questions --------------------------------------------------------- */

static int ask(const struct asked *given, struct buf *target, struct span body,
               void (*say)(struct json_node root))
{
    return answer_ask(given->cfg, given->admin, buf_span(target), body, given->json ? NULL : say);
}

static int get(const struct asked *given, const char *version, const char *as,
               void (*say)(struct json_node root))
{
    struct buf target = {0};
    buf_append_str(&target, "/api/policies");
    admin_add_query(&target, "version", version);
    admin_add_query(&target, "as", as);
    admin_add_query(&target, "with", given->with);
    int code = ask(given, &target, (struct span){0}, say);
    buf_done(&target);
    return code;
}

static void begin_wish(const struct asked *given, struct json *j)
{
    const char *user = getenv("USER");
    const char *by = given->by != NULL ? given->by : user != NULL && user[0] != '\0' ? user : "cli";
    json_begin(j, NULL);
    json_str(j, "by", by);
}

static int post(const struct asked *given, const char *path, struct json *j,
                void (*say)(struct json_node root))
{
    struct buf target = {0};
    json_end(j);
    buf_append_str(&target, path);
    int code = j->out->err != 0 ? EXIT_BUG : ask(given, &target, buf_span(j->out), say);
    buf_done(&target);
    buf_done(j->out);
    return code;
}

static int list(const struct asked *given)
{
    return get(given, NULL, NULL, say_list);
}

static int propose(const struct asked *given)
{
    struct buf body = {0};
    struct json j = json_on(&body);
    json_begin(&j, NULL);
    return post(given, "/api/policies/propose", &j, say_proposal);
}

static int show(const struct asked *given)
{
    return get(given, given->argument, "yaml", say_document);
}

static int changes(const struct asked *given)
{
    return get(given, given->argument, NULL, say_changes);
}

static int diff(const struct asked *given)
{
    return get(given, given->argument, "diff", say_diff);
}

/* The version of the argument, which is a number; 0: it is none. */
static uint64_t version_of(const char *argument)
{
    char *end;
    unsigned long long n = strtoull(argument, &end, 10);
    return *end == '\0' && argument[0] != '-' ? n : 0;
}

static int change(const struct asked *given, const char *path)
{
    struct buf body = {0};
    struct json j = json_on(&body);
    if (version_of(given->argument) == 0)
        return command_usage_error("a version is a number: ", given->argument);
    begin_wish(given, &j);
    json_u64(&j, "version", version_of(given->argument));
    if (given->shadow)
        json_bool(&j, "shadow", true);
    return post(given, path, &j, say_made);
}

static int apply(const struct asked *given)
{
    return change(given, "/api/policies/apply");
}

static int rollback(const struct asked *given)
{
    return change(given, "/api/policies/rollback");
}

static int draft(const struct asked *given)
{
    struct buf body = {0}, text = {0};
    struct json j = json_on(&body);
    int code = answer_read_file(&text, given->argument);
    if (code == 0) {
        begin_wish(given, &j);
        json_text(&j, "document", buf_span(&text));
        json_str(&j, "why", given->why != NULL ? given->why : "");
        code = post(given, "/api/policies/draft", &j, say_made);
    }
    buf_done(&text);
    return code;
}

/* Asks nothing of the running one: it works on files alone. */
static int conformance(const struct asked *given)
{
    const struct conformance *f = &given->files;
    if (f->policies == NULL || f->input == NULL || f->output == NULL || f->stats == NULL)
        return command_usage_error("policy conformance: all of --policies, --input, --output and "
                                   "--stats are needed",
                                   "");
    return policy_conformance(f);
}

/* ---- the verb ---------------------------------------------------------- */

static const struct {
    const char *name;
    bool has_argument;
    int (*run)(const struct asked *given);
} commands[] = {
    {"list", false, list},        {"propose", false, propose}, {"show", true, show},
    {"changes", true, changes},   {"diff", true, diff},        {"apply", true, apply},
    {"rollback", true, rollback}, {"draft", true, draft},      {"conformance", false, conformance},
};

int verb_policy(int argc, char **argv)
{
    static struct config cfg;
    struct asked given = {.cfg = &cfg};
    const struct command_flag flags[] = {
        {.name = "json", .given = &given.json},
        {.name = "shadow", .given = &given.shadow},
        {.name = "by", .value = &given.by},
        {.name = "why", .value = &given.why},
        {.name = "with", .value = &given.with},
        {.name = "admin", .value = &given.admin},
        {.name = "policies", .value = &given.files.policies},
        {.name = "input", .value = &given.files.input},
        {.name = "output", .value = &given.files.output},
        {.name = "stats", .value = &given.files.stats},
    };
    int first, code = command_load(argc, argv, flags, ARRAY_LEN(flags), &cfg, &first);
    if (code != 0)
        return code;
    size_t i = 0;
    const char *name = first < argc ? argv[first] : "list";
    while (i < ARRAY_LEN(commands) && strcmp(commands[i].name, name) != 0)
        i++;
    int arguments = argc - first - 1;
    given.argument = arguments == 1 ? argv[first + 1] : NULL;
    if (i == ARRAY_LEN(commands))
        code = command_usage_error("policy: no such command: ", name);
    else if (commands[i].has_argument && arguments != 1)
        code = command_usage_error("policy: one version, or a file, is wanted after ", name);
    else if (!commands[i].has_argument && arguments > 0)
        code = command_usage_error("unexpected argument ", argv[first + 1]);
    else
        code = commands[i].run(&given);
    config_done(&cfg);
    return code;
}
