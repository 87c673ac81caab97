/* cli: a table of verbs. */
#include "cli.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app.h"
#include "cli_admin.h"
#include "cli_explain.h"
#include "cli_help.h"
#include "cli_reload.h"
#include "cli_replay.h"
#include "cli_shadow.h"
#include "cli_signature.h"
#include "cli_spool.h"
#include "cli_tap.h"
#include "cli_top.h"
#include "cli_validate.h"
#include "config/config.h"
#include "net/client.h"
#include "util/diag.h"

#define SETS_MAX 128
#define HEALTHCHECK_TIMEOUT_MS 3000

struct options {
    struct config_input input;
    const char *sets[SETS_MAX];
};

int cli_usage_error(const char *text, const char *what)
{
    fprintf(stderr, "lipservice: %s%s\n`lipservice --help` tells the commands, `lipservice settings` the settings\n",
            text, what);
    return EXIT_USAGE;
}

static int exit_code(int rc)
{
    switch (rc) {
    case ERR_CONFIG:
        return EXIT_CONFIG;
    case ERR_UNAVAILABLE:
        return EXIT_UNAVAILABLE;
    default:
        return EXIT_BUG;
    }
}

int cli_die(int rc, const struct error *err)
{
    fprintf(stderr, "lipservice: %s\n", err->text[0] != '\0' ? err->text : err_text(rc));
    return exit_code(rc);
}

#define OWN_FLAGS 0x100 /* what getopt_long() returns for a verb's own, from here */

/* 0, or the exit code. */
static int parse_options(int argc, char **argv, const struct cli_flag *flags, size_t flag_count,
                         struct options *o, int *first)
{
    struct option longs[CLI_FLAGS_MAX + 3] = {
        {"config", required_argument, NULL, 'c'},
        {"set", required_argument, NULL, 's'},
    };
    for (size_t i = 0; i < flag_count; i++)
        longs[i + 2] = (struct option){flags[i].name,
                                       flags[i].value != NULL ? required_argument : no_argument,
                                       NULL, OWN_FLAGS + (int)i};
    *o = (struct options){.input = {.env = environ}};
    o->input.sets = o->sets;
    optind = 1;
    opterr = 0;
    int c;
    while ((c = getopt_long(argc, argv, first == NULL ? "+:c:" : ":c:", longs, NULL)) != -1) {
        if (c == 'c') {
            o->input.file = optarg;
        } else if (c == 's' && o->input.set_count < SETS_MAX) {
            o->sets[o->input.set_count++] = optarg;
        } else if (c >= OWN_FLAGS && flags[c - OWN_FLAGS].value != NULL) {
            *flags[c - OWN_FLAGS].value = optarg;
        } else if (c >= OWN_FLAGS) {
            *flags[c - OWN_FLAGS].given = true;
        } else {
            return cli_usage_error(c == ':' ? "a value is missing after " : "unknown option ",
                                   argv[optind - 1]);
        }
    }
    if (first != NULL)
        *first = optind;
    return first == NULL && optind < argc ? cli_usage_error("unexpected argument ", argv[optind]) : 0;
}

static int load_options(const struct options *o, struct config *cfg)
{
    struct error err = {{0}};
    int rc = config_load(cfg, &o->input, &err);
    return rc < 0 ? cli_die(rc, &err) : 0;
}

int cli_load(int argc, char **argv, const struct cli_flag *flags, size_t flag_count,
             struct config *cfg, int *first)
{
    struct options o;
    int code = parse_options(argc, argv, flags, flag_count, &o, first);
    return code != 0 ? code : load_options(&o, cfg);
}

int cli_rules(struct rules **out, const struct config *cfg, const char *policy_file)
{
    struct policy_notes notes;
    struct error err = {{0}};
    if (policy_file[0] == '\0') {
        *out = rules_ref(cfg->sampling.rules);
        return 0;
    }
    int rc = policy_file_load(out, policy_file, config_visit_yaml, cfg->sampling.rules, &notes, &err);
    return rc < 0 ? cli_die(rc, &err) : 0;
}

static int load(int argc, char **argv, struct config *cfg)
{
    return cli_load(argc, argv, NULL, 0, cfg, NULL);
}

static int run(int argc, char **argv)
{
    static struct options o;
    static struct config cfg;
    static struct app app;
    struct error err = {{0}};
    char quoted[DIAG_QUOTE_BYTES];
    const char *variable;
    app_signals_early();
    int code = parse_options(argc, argv, NULL, 0, &o, NULL);
    if (code == 0)
        code = load_options(&o, &cfg);
    if (code != 0)
        return code;
    struct diag_opts log = {cfg.telemetry.log_level, cfg.telemetry.log_json};
    diag_setup(&log);
    for (size_t at = 0; (variable = config_unknown_variable(environ, &at)) != NULL;)
        diag(DIAG_WARN, "unknown_variable", "no setting has this name; it is not read", "variable=%s",
             diag_quote(quoted, span_of(variable, strcspn(variable, "="))));
    int rc = app_start(&app, &cfg, &o.input, &err);
    if (rc == 0) {
        rc = app_run(&app);
        app_stop(&app);
    } else {
        code = cli_die(rc, &err);
    }
    config_done(&cfg);
    return code;
}

static int print_config(int argc, char **argv)
{
    static struct config cfg;
    struct buf out = {0};
    int code = load(argc, argv, &cfg);
    if (code != 0)
        return code;
    if (config_print(&cfg, &out) == 0)
        fwrite(out.base, 1, out.len, stdout);
    buf_done(&out);
    config_done(&cfg);
    return EXIT_OK;
}

/* ---- healthcheck ------------------------------------------------------- */

struct check {
    struct client *client;
    int status;
    const char *text;
};

static void on_checked(void *ctx, const struct client_result *r)
{
    struct check *c = ctx;
    c->status = r->err == 0 ? r->status : r->err;
}

static int healthcheck(int argc, char **argv)
{
    static struct config cfg;
    char url[CONFIG_TEXT_BYTES];
    uv_loop_t loop;
    struct check check = {.status = ERR_UNAVAILABLE};
    int code = load(argc, argv, &cfg);
    if (code != 0)
        return code;
    admin_reach(url, cfg.telemetry.health_endpoint, "/readyz");
    struct client_opts opts = {"lipservice-healthcheck", HEALTHCHECK_TIMEOUT_MS, 1};
    struct client_request request = {
        .method = "GET",
        .url = url,
        .timeout_ms = HEALTHCHECK_TIMEOUT_MS,
        .ctx = &check,
        .done = on_checked,
    };
    if (uv_loop_init(&loop) < 0 || client_open(&check.client, &loop, &opts) < 0 ||
        client_send(check.client, &request, NULL) < 0)
        return EXIT_BUG;
    while (check.status == ERR_UNAVAILABLE && uv_run(&loop, UV_RUN_ONCE) != 0)
        continue;
    client_close(check.client);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    config_done(&cfg);
    if (check.status == 200)
        return EXIT_OK;
    fprintf(stderr, "lipservice: not ready: %s: %s\n", url,
            check.status > 0                  ? "it is starting or stopping"
            : check.status == ERR_UNAVAILABLE ? "nobody answers there"
                                              : err_text(check.status));
    return EXIT_UNAVAILABLE;
}

/* ---- help -------------------------------------------------------------- */

static int version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("lipservice %s (libuv %s, libcurl %s)\n", LIPSERVICE_VERSION, uv_version_string(),
           client_library());
    return EXIT_OK;
}

static int help(int argc, char **argv)
{
    if (argc < 2)
        help_overview();
    else if (!help_command(argv[1]))
        return cli_usage_error("unknown command ", argv[1]);
    return EXIT_OK;
}

static int settings(int argc, char **argv)
{
    if (argc > 1)
        return cli_usage_error("unexpected argument ", argv[1]);
    help_settings();
    return EXIT_OK;
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} verbs[] = {
    /* clang-format off */
    {"run",          run},
    {"validate",     cli_validate},
    {"print-config", print_config},
    {"settings",     settings},
    {"healthcheck",  healthcheck},
    {"reload",       cli_reload},
    {"explain",      cli_explain},
    {"replay",       cli_replay},
    {"tap",          cli_tap},
    {"top",          cli_top},
    {"signature",    cli_signature},
    {"shadow",       cli_shadow},
    {"spool",        cli_spool},
    {"version",      version},
    {"--version",    version},
    {"help",         help},
    {"--help",       help},
    {"-h",           help},
    /* clang-format on */
};

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

int cli_main(int argc, char **argv)
{
    if (argc < 2 || (argv[1][0] == '-' && strcmp(argv[1], "--version") != 0 && !is_help(argv[1])))
        return run(argc, argv); /* options only: run */
    if (argc == 3 && is_help(argv[2]) && strcmp(argv[1], "signature") != 0 && help_command(argv[1]))
        return EXIT_OK; /* signature has more to say */
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
    return cli_usage_error("unknown command ", argv[1]);
}
