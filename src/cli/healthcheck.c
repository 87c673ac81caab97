/* healthcheck: one look at /readyz. */
#include <stdio.h>
#include <uv.h>

#include "cli/admin.h"
#include "cli/command.h"
#include "cli/verbs.h"
#include "net/client.h"

#define HEALTHCHECK_TIMEOUT_MS 3000

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

int verb_healthcheck(int argc, char **argv)
{
    static struct config cfg;
    char url[CONFIG_TEXT_BYTES];
    uv_loop_t loop;
    struct check check = {.status = ERR_UNAVAILABLE};
    int code = command_load(argc, argv, NULL, 0, &cfg, NULL);
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
            : check.status == ERR_UNAVAILABLE ? "nothing answers there"
                                              : err_text(check.status));
    return EXIT_UNAVAILABLE;
}
