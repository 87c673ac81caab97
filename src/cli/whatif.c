/* whatif: the question goes to the admin page, the answer is a short table. */
#include "cli/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/admin.h"
#include "cli/answer.h"
#include "cli/command.h"
#include "cli/term.h"
#include "otlp/json_doc.h"
#include "util/json.h"

#define SAMPLING "sampling."

/* The settings of sampling are the question's; the others are of the configuration. */
static void part_sets(const struct command_options *all, struct command_options *own,
                      const char *asked[COMMAND_SETS_MAX], unsigned *count)
{
    *own = *all;
    own->input.sets = own->sets;
    own->input.set_count = 0;
    for (unsigned i = 0; i < all->input.set_count; i++) {
        if (strncmp(all->sets[i], SAMPLING, sizeof SAMPLING - 1) == 0)
            asked[(*count)++] = all->sets[i];
        else
            own->sets[own->input.set_count++] = all->sets[i];
    }
}

/* 0, or the exit code. */
static int write_question(struct buf *out, const char *span, const char *policy,
                          const char *const *asked, unsigned count)
{
    struct json j = json_on(out);
    json_begin(&j, NULL);
    json_str(&j, "span", span);
    if (policy != NULL) {
        struct buf text = {0};
        int code = answer_read_file(&text, policy);
        if (code != 0)
            return code;
        json_text(&j, "document", buf_span(&text));
        buf_done(&text);
    }
    json_begin(&j, "set");
    for (unsigned i = 0; i < count; i++) {
        const char *equals = strchr(asked[i], '=');
        if (equals == NULL)
            return command_usage_error("--set: not of the form key=value: ", asked[i]);
        json_key(&j, span_of(asked[i], (size_t)(equals - asked[i])));
        json_str(&j, NULL, equals + 1);
    }
    json_end(&j);
    json_end(&j);
    return out->err == 0 ? 0 : EXIT_BUG;
}

static double number(struct json_node n, const char *key)
{
    double value = 0;
    json_number(json_get(n, key), &value);
    return value;
}

static void say_side(const char *name, double records, double bytes, double money)
{
    printf("%-10s %14.0f %14.3f MB %12.2f\n", name, records, bytes / 1e6, money);
}

static void say_row(struct json_node row, unsigned width)
{
    struct buf line = {0}, cut = {0};
    const struct span id = json_string(json_get(row, "pattern"));
    const struct span severity = json_string(json_get(row, "severity"));
    buf_printf(&line, "%.*s %-5.*s %7.3g%% -> %6.3g%%  ", (int)id.len, (const char *)id.base,
               (int)severity.len, (const char *)severity.base, number(row, "share_now") * 100,
               number(row, "share_then") * 100);
    answer_append_name(&line, json_string(json_get(row, "service")));
    buf_append_byte(&line, ' ');
    json_write_string(&line, json_string(json_get(row, "template")));
    term_add(&cut, buf_span(&line), width > 0 ? width : 1000);
    printf("%.*s\n", (int)cut.len, (const char *)cut.base);
    buf_done(&line);
    buf_done(&cut);
}

static void say(struct json_node root)
{
    struct json_node month = json_get(root, "month");
    const struct span currency = json_string(json_get(month, "currency"));
    unsigned width = term_width(STDOUT_FILENO);
    printf("the last %.0f s, of which %.0f are known; money is %.*s a month%s%s\n\n",
           number(root, "span_s"), number(root, "known_s"), (int)currency.len,
           (const char *)currency.base,
           json_is_true(json_get(month, "is_assumed")) ? ", prices are assumed" : "",
           json_is_true(json_get(root, "observing"))
               ? "; observing: \"now\" is what enforcing would keep"
               : "");
    printf("%-10s %14s %17s %12s\n", "", "records", "bytes", "a month");
    say_side("received", number(root, "received"), number(root, "received_bytes"),
             number(month, "without"));
    say_side("now", number(root, "kept_now"), number(root, "kept_bytes_now"), number(month, "now"));
    say_side("then", number(root, "kept_then"), number(root, "kept_bytes_then"),
             number(month, "then"));
    double saving = number(month, "saving");
    printf("\n%s %.2f %.*s a month\n", saving < 0 ? "costs" : "saves",
           saving < 0 ? -saving : saving, (int)currency.len, (const char *)currency.base);
    struct json_each each = json_each(json_get(root, "rows"));
    for (bool is_first = true; json_next(&each); is_first = false) {
        if (is_first)
            printf("\nlargest changes: the share that is kept\n");
        say_row(each.value, width);
    }
}

int verb_whatif(int argc, char **argv)
{
    static struct config cfg;
    static struct command_options all, own;
    const char *admin = NULL, *span = "1h", *policy = NULL, *asked[COMMAND_SETS_MAX];
    bool json = false;
    unsigned count = 0;
    const struct command_flag flags[] = {
        {.name = "json", .given = &json},
        {.name = "span", .value = &span},
        {.name = "policy", .value = &policy},
        {.name = "admin", .value = &admin},
    };
    int code = command_parse(argc, argv, flags, ARRAY_LEN(flags), &all, NULL);
    if (code != 0)
        return code;
    part_sets(&all, &own, asked, &count);
    code = command_load_options(&own, &cfg);
    if (code != 0)
        return code;
    struct buf question = {0};
    code = write_question(&question, span, policy, asked, count);
    if (code == 0)
        code = answer_ask(&cfg, admin, SPAN("/api/whatif"), buf_span(&question), json ? NULL : say);
    buf_done(&question);
    config_done(&cfg);
    return code;
}
