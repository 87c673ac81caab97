/* print: verbs that print what the program knows of itself. */
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "cli/command.h"
#include "cli/verbs.h"
#include "net/client.h"
#include "sidecar/reference.h"
#include "util/buf.h"

int verb_print_config(int argc, char **argv)
{
    static struct config cfg;
    struct buf out = {0};
    int code = command_load(argc, argv, NULL, 0, &cfg, NULL);
    if (code != 0)
        return code;
    if (config_print(&cfg, &out) == 0)
        fwrite(out.base, 1, out.len, stdout);
    buf_done(&out);
    config_done(&cfg);
    return EXIT_OK;
}

int verb_settings(int argc, char **argv)
{
    struct buf out = {0};
    bool is_markdown = argc > 1 && strcmp(argv[1], "--markdown") == 0;
    if (argc > 1 + is_markdown)
        return command_usage_error("unexpected argument ", argv[1 + is_markdown]);
    if (is_markdown)
        config_reference_markdown(&out);
    else
        config_reference(&out);
    if (out.err == 0)
        fwrite(out.base, 1, out.len, stdout);
    buf_done(&out);
    return EXIT_OK;
}

int verb_metrics(int argc, char **argv)
{
    struct buf out = {0};
    bool is_markdown = argc == 2 && strcmp(argv[1], "--markdown") == 0;
    if (argc > 1 && !is_markdown)
        return command_usage_error("unexpected argument ", argv[1]);
    (is_markdown ? reference_write : reference_metrics)(&out);
    if (out.err == 0)
        fwrite(out.base, 1, out.len, stdout);
    buf_done(&out);
    return EXIT_OK;
}

int verb_limits(int argc, char **argv)
{
    struct buf out = {0};
    if (argc > 1)
        return command_usage_error("unexpected argument ", argv[1]);
    reference_limits(&out);
    if (out.err == 0)
        fwrite(out.base, 1, out.len, stdout);
    buf_done(&out);
    return EXIT_OK;
}

int verb_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("lipservice %s (libuv %s, libcurl %s)\n", LIPSERVICE_VERSION, uv_version_string(),
           client_library());
    return EXIT_OK;
}
