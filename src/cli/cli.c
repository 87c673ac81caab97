/* cli: one table of verbs: what runs, and what `--help` says of it. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/verbs.h"

#define ADMIN_TEXT \
    "  --admin URL       where its admin page is; else telemetry.admin.endpoint says\n"

static int help(int argc, char **argv);

static const struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *arguments;
    const char *what;            /* NULL: --help does not list it */
    const char *options;         /* NULL: only those that all have */
    bool reads_no_configuration; /* nor takes --config and --set */
    bool has_own_help;           /* prints its --help itself */
} verbs[] = {
    {"run", verb_run, "", "receive and forward until SIGTERM or Ctrl-C (the default)",
     "SIGHUP reads the configuration again and opens log files anew. A second Ctrl-C ends at "
     "once.\n\n"},
    {"demo", verb_demo, "[--endpoint URL] [--seconds N] [--rate N] [--seed N]",
     "varied traffic against a sidecar of its own, to look at with top, tap, shadow, explain",
     "What its sidecar keeps goes where the configuration says, and nowhere without a key. It "
     "ends\n"
     "with what was saved, and with the ledger.\n\n"
     "  --endpoint URL    to a running one instead, http://localhost:4318\n"
     "  --seconds N       end after so long; else with Ctrl-C\n"
     "  --rate N          records a second, 300\n"
     "  --seed N          of the records, 1\n" ADMIN_TEXT},
    {"server", verb_server, "",
     "the policy server of a fleet: counts, policies, keys, until SIGTERM",
     "The settings are server.*; its manual is src/server/README.md. The first start prints the "
     "key of\n"
     "the first admin.\n\n"},
    {"healthcheck", verb_healthcheck, "", "is the running one ready? exit code 0, or 69", NULL},
    {"reload", verb_reload, "",
     "the running one reads its configuration again: exit code 0, or 78 and why not",
     "The same as SIGHUP, for containers without a shell. It reads the files and the environment "
     "that\n"
     "it was started with; those given here only say where its admin page is.\n\n" ADMIN_TEXT},
    {"validate", verb_validate, "", "say what is wrong with the configuration, or that nothing is",
     NULL},
    {"print-config", verb_print_config, "", "the configuration in force, secrets redacted", NULL},
    {"settings", verb_settings, "[--markdown]", "every setting with its default and meaning",
     "  --markdown        as a document, with what a reload applies\n", true},
    {"metrics", verb_metrics, "[--markdown]", "every metric with its type and meaning",
     "  --markdown        the reference of ports, pages and metrics\n", true},
    {"limits", verb_limits, "", "every limit with what happens beyond it", NULL, true},
    {"top", verb_top, "[--once] [--sort volume|now|kept|saved|severity] [--reverse] [--interval T]",
     "patterns of the running one, by volume, kept share and saved bytes",
     "  --once            one frame of plain text\n"
     "  --sort ORDER      volume (default), now, kept, saved or severity; --reverse turns it "
     "round\n"
     "  --interval T      between frames, 1s\n" ADMIN_TEXT},
    {"tap", verb_tap,
     "[--dropped|--kept] [--service GLOB] [--severity LEVEL[+]] [--pattern ID] [--grep TEXT]...",
     "a sample of what the running one decides, with reasons",
     "  --dropped|--kept  only these\n"
     "  --service GLOB    * is any run of characters\n"
     "  --severity LEVEL  warn, or warn+ for it and above\n"
     "  --pattern ID      lps1:..., of a pattern or a family\n"
     "  --grep TEXT       bodies that hold it, exactly as given\n"
     "  --rate N          lines a second at most, 100\n"
     "  --limit N         end after so many lines\n"
     "  --json            as JSON lines\n" ADMIN_TEXT},
    {"shadow", verb_shadow, "[--limit N] [--json]",
     "what observing or a second policy would do, beside what is done",
     "  --limit N         patterns, 25\n"
     "  --json\n" ADMIN_TEXT},
    {"whatif", verb_whatif,
     "[--span 1h|24h] [--set sampling.KEY=VALUE]... [--policy FILE] [--json]",
     "what the last hour or day would have cost under other rates, a budget or a policy",
     "Asks the running one, and changes nothing. The settings may be "
     "sampling.severity_rates.LEVEL,\n"
     "sampling.pattern_rates.ID, sampling.global_rate, sampling.first.* and sampling.budget.*.\n\n"
     "  --span 1h|24h     1h\n"
     "  --policy FILE     a policy file, in place of the rates in force; - is standard input\n"
     "  --json\n" ADMIN_TEXT},
    {"policy", verb_policy,
     "list | propose | show N | changes N | diff N | apply N | rollback N | draft FILE | "
     "conformance",
     "versions of the running one's policy: what is proposed, in force, and was",
     "  list              who made which, when and why, what it saves, which is in force\n"
     "  propose           rates from the counts of the last day, as a new version\n"
     "  show N            its document, a policy file\n"
     "  changes N         patterns whose rate it changes, with money and why\n"
     "  diff N            beside what is in force, or --with M\n"
     "  apply N           in force; --shadow: only counted, beside what is done (shadow)\n"
     "  rollback N        a new version with the content of that one, in force\n"
     "  draft FILE        a policy file as a version that waits; - is standard input\n"
     "  conformance       Tero's policies on a request in a file: --policies FILE --input FILE\n"
     "                    --output FILE --stats FILE; nothing of the running one is asked\n\n"
     "  --by NAME         who; else USER\n"
     "  --why TEXT        of a draft\n"
     "  --json\n" ADMIN_TEXT},
    {"explain", verb_explain, "[--live] [--json] [--service NAME] [--severity LEVEL] [TEXT]",
     "why a record would be kept or dropped, rule by rule",
     "Reads one line as argument, else OTLP JSON or lines on standard input.\n\n"
     "  --live            ask the running one: the rules in force, and what it has counted\n"
     "  --service NAME    of lines; none\n"
     "  --severity LEVEL  of lines\n"
     "  --json\n" ADMIN_TEXT},
    {"redact", verb_redact, "[--text] [FILE]",
     "what redaction finds in lines or OTLP, and what it leaves of them",
     "FILE: lines of text, an OTLP protobuf request, or OTLP JSON; without one standard input.\n"
     "Each hit is a line: LINE:COLUMN: KIND, or RECORD: WHERE NAME:COLUMN: KIND, columns in bytes\n"
     "from 1; behind them the changed line or record. redaction.mode does not count here.\n\n"
     "  --text            only the lines or records, all of them\n"},
    {"signature", verb_signature,
     "[--explain | --bytes] [--families] [--mode lps1|py-sdk|backend] < LINES",
     "pattern ids of the lines on standard input", "More of it: lipservice signature --help\n",
     true, true},
    {"replay", verb_replay, "[--json] [--policy FILE] [--cost-per-gb N] [--seed N] FILE...",
     "what captured OTLP would cost under this configuration",
     "FILE: an OTLP protobuf request, or OTLP JSON documents, one or many; - is standard input.\n\n"
     "  --policy FILE     a policy file, beside the configuration\n"
     "  --cost-per-gb N   money for 10^9 metered bytes; else cost.per_gb\n"
     "  --seed N          of hash tables; changes no verdict\n"
     "  --json\n"},
    {"posthog", verb_posthog, "COMMAND", "what PostHog itself knows and stores, by its app API",
     "More of it: lipservice posthog --help\n", true, true},
    {"spool", verb_spool, "inspect|verify|export [--json] DIR",
     "what waits in a durable queue's directory: look, verify, take out",
     "  inspect           segments, frames, records, age, damage\n"
     "  verify            the same, with every byte proved; exit code 65 when something is "
     "damaged\n"
     "  export            all that is not delivered, as OTLP JSON lines\n"
     "  --json            of inspect and verify\n",
     true},
    {"version", verb_version, "", NULL, "", true},
    {"help", help, "", NULL, "", true},
};

/* Other words for them. */
static const struct {
    const char *word, *name;
} aliases[] = {{"--version", "version"}, {"--help", "help"}, {"-h", "help"}};

static const struct verb *find(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
        if (strcmp(word, aliases[i].word) == 0)
            word = aliases[i].name;
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (strcmp(word, verbs[i].name) == 0)
            return &verbs[i];
    return NULL;
}

static void print_overview(void)
{
    printf(
        "lipservice " LIPSERVICE_VERSION
        ", an OTLP log proxy: point an application's OTLP exporter at\n"
        "http://localhost:4318 (gRPC: http://localhost:4317). Noisy patterns are sampled, errors "
        "never,\n"
        "and what is kept goes to PostHog with POSTHOG_API_KEY=phc_..., else to standard output.\n"
        "\n"
        "usage: lipservice [COMMAND] [--config FILE] [--set KEY=VALUE]...\n"
        "       lipservice COMMAND --help | --version\n"
        "\n");
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (verbs[i].what != NULL)
            printf("  %-13s %s\n", verbs[i].name, verbs[i].what);
    printf(
        "\n"
        "A setting comes from " CONFIG_DEFAULT_FILE " or --config, from LIPSERVICE_ and its key\n"
        "in capitals with dots as underscores, and from --set; the later wins. Files are read "
        "again\n"
        "on SIGHUP or `lipservice reload`.\n"
        "\n"
        "Exit codes: 0, 64 usage, 65 a damaged spool, 69 a port, a directory or the other side is\n"
        "not available, 70 a bug, 78 configuration.\n");
}

static void print_help(const struct verb *v)
{
    printf("lipservice %s: %s\n\nusage: lipservice %s %s\n\n%s%s", v->name, v->what, v->name,
           v->arguments, v->options != NULL ? v->options : "",
           v->reads_no_configuration ? "" : COMMAND_COMMON_TEXT);
}

static int help(int argc, char **argv)
{
    const struct verb *v = argc < 2 ? NULL : find(argv[1]);
    if (argc >= 2 && (v == NULL || v->what == NULL))
        return command_usage_error("unknown command ", argv[1]);
    if (v != NULL)
        print_help(v);
    else
        print_overview();
    return EXIT_OK;
}

int cli_main(int argc, char **argv)
{
    const struct verb *v = argc < 2 ? NULL : find(argv[1]);
    if (argc < 2 || (argv[1][0] == '-' && v == NULL))
        return verb_run(argc, argv); /* options only: run */
    if (v == NULL)
        return command_usage_error("unknown command ", argv[1]);
    const struct verb *asked = argc == 3 ? find(argv[2]) : NULL;
    if (asked != NULL && asked->run == help && argv[2][0] == '-' && v->what != NULL &&
        !v->has_own_help) {
        print_help(v);
        return EXIT_OK;
    }
    return v->run(argc - 1, argv + 1);
}
