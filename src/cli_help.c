/* cli_help: a table of commands; the settings are config.c's. */
#include "cli_help.h"

#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "util/buf.h"

#define ADMIN_TEXT "  --admin URL       where its admin page is; else telemetry.admin.endpoint says\n"
#define COMMON_TEXT \
    "  --config FILE     instead of " CONFIG_DEFAULT_FILE "\n" \
    "  --set KEY=VALUE   a setting, stronger than file and environment; any number of times\n"

static const struct {
    const char *name, *arguments, *what;
    const char *options; /* NULL: only those that all have */
    bool reads_no_configuration;
} commands[] = {
    {"run", "", "receive and forward until SIGTERM or Ctrl-C (the default)",
     "SIGHUP reads the configuration again and opens log files anew. A second Ctrl-C ends at once.\n\n"},
    {"healthcheck", "", "is the running one ready? exit code 0, or 69", NULL},
    {"reload", "", "the running one reads its configuration again: exit code 0, or 78 and why not",
     "The same as SIGHUP, for containers without a shell. It reads the files and the environment that\n"
     "it was started with; those given here only say where its admin page is.\n\n" ADMIN_TEXT},
    {"validate", "", "say what is wrong with the configuration, or that nothing is", NULL},
    {"print-config", "", "the configuration in force, secrets redacted", NULL},
    {"settings", "", "every setting with its default and meaning", "", true},
    {"top", "[--once] [--sort volume|now|kept|saved|severity] [--reverse] [--interval T]",
     "patterns of the running one, by volume, kept share and saved bytes",
     "  --once            one frame of plain text\n"
     "  --sort ORDER      volume (default), now, kept, saved or severity; --reverse turns it round\n"
     "  --interval T      between frames, 1s\n" ADMIN_TEXT},
    {"tap", "[--dropped|--kept] [--service GLOB] [--severity LEVEL[+]] [--pattern ID] [--grep TEXT]...",
     "a sample of what the running one decides, with reasons",
     "  --dropped|--kept  only these\n"
     "  --service GLOB    * is any run of characters\n"
     "  --severity LEVEL  warn, or warn+ for it and above\n"
     "  --pattern ID      lps1:..., of a pattern or a family\n"
     "  --grep TEXT       bodies that hold it, exactly as given\n"
     "  --rate N          lines a second at most, 100\n"
     "  --limit N         end after so many lines\n"
     "  --json            as JSON lines\n" ADMIN_TEXT},
    {"shadow", "[--limit N] [--json]", "what observing or a second policy would do, beside what is done",
     "  --limit N         patterns, 25\n"
     "  --json\n" ADMIN_TEXT},
    {"explain", "[--live] [--json] [--service NAME] [--severity LEVEL] [TEXT]",
     "why a record would be kept or dropped, rule by rule",
     "Reads one line as argument, else OTLP JSON or lines on standard input.\n\n"
     "  --live            ask the running one: the rules in force, and what it has counted\n"
     "  --service NAME    of lines; unknown_service\n"
     "  --severity LEVEL  of lines\n"
     "  --json\n" ADMIN_TEXT},
    {"signature", "[--explain | --bytes] [--families] [--mode lps1|py-sdk|backend] < LINES",
     "pattern ids of the lines on standard input",
     "More of it: lipservice signature --help\n", true},
    {"replay", "[--json] [--policy FILE] [--cost-per-gb N] [--seed N] FILE...",
     "what captured OTLP would cost under this configuration",
     "FILE: an OTLP protobuf request, or OTLP JSON documents, one or many; - is standard input.\n\n"
     "  --policy FILE     a policy file, beside the configuration\n"
     "  --cost-per-gb N   money for 10^9 metered bytes; else cost.per_gb\n"
     "  --seed N          of hash tables; changes no verdict\n"
     "  --json\n"},
    {"spool", "inspect|verify|export [--json] DIR",
     "what waits in a durable queue's directory: look, verify, take out",
     "  inspect           segments, frames, records, age, damage\n"
     "  verify            the same, with every byte proved; exit code 65 when something is damaged\n"
     "  export            all that is not delivered, as OTLP JSON lines\n"
     "  --json            of inspect and verify\n", true},
};

void help_overview(void)
{
    printf("lipservice " LIPSERVICE_VERSION ", an OTLP log proxy: point an application's OTLP exporter at\n"
           "http://localhost:4318 (gRPC: http://localhost:4317). Noisy patterns are sampled, errors never,\n"
           "and what is kept goes to PostHog with POSTHOG_API_KEY=phc_..., else to standard output.\n"
           "\n"
           "usage: lipservice [COMMAND] [--config FILE] [--set KEY=VALUE]...\n"
           "       lipservice COMMAND --help | --version\n"
           "\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        printf("  %-13s %s\n", commands[i].name, commands[i].what);
    printf("\n"
           "A setting comes from " CONFIG_DEFAULT_FILE " or --config, from LIPSERVICE_ and its key\n"
           "in capitals with dots as underscores, and from --set; the later wins. Files are read again\n"
           "on SIGHUP or `lipservice reload`.\n"
           "\n"
           "Exit codes: 0, 64 usage, 65 a damaged spool, 69 a port, a directory or the other side is\n"
           "not available, 70 a bug, 78 configuration.\n");
}

bool help_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) != 0)
            continue;
        printf("lipservice %s: %s\n\nusage: lipservice %s %s\n\n%s%s", name, commands[i].what, name,
               commands[i].arguments, commands[i].options != NULL ? commands[i].options : "",
               commands[i].reads_no_configuration ? "" : COMMON_TEXT);
        return true;
    }
    return false;
}

void help_settings(void)
{
    struct buf out = {0};
    config_reference(&out);
    if (out.err == 0)
        fwrite(out.base, 1, out.len, stdout);
    buf_done(&out);
}
