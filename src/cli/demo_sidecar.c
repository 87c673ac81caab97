/* demo_sidecar: fork, a pipe for "it listens", and settings put before those of the user. */
#include "cli/demo_sidecar.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/run.h"
#include "sidecar/sidecar.h"
#include "util/confine.h"

/* What `lipservice shadow` compares with: half as much again is dropped, and nothing that is rare.
 */
#define SECOND_POLICY "version: 1\nseverity_rates: {DEBUG: 0.02, INFO: 0.1, WARN: 0.25}\n"

static int write_policy(struct demo_sidecar *d)
{
    snprintf(d->policy, sizeof d->policy, "/tmp/lipservice-demo-XXXXXX");
    int fd = mkstemp(d->policy);
    if (fd < 0) {
        d->policy[0] = '\0';
        return -errno;
    }
    ssize_t n = write(fd, SECOND_POLICY, sizeof SECOND_POLICY - 1);
    close(fd);
    return n == sizeof SECOND_POLICY - 1 ? 0 : -ENOSPC;
}

static void forget_policy(struct demo_sidecar *d)
{
    if (d->policy[0] != '\0')
        unlink(d->policy);
    d->policy[0] = '\0';
}

/* Where kept records would go to standard output, among our own lines, they go nowhere. */
static bool has_exporter(const struct config *cfg)
{
    return cfg->posthog.api_key[0] != '\0' || cfg->otlphttp.endpoint[0] != '\0' ||
           cfg->otlphttp.logs_endpoint[0] != '\0' || cfg->file.path[0] != '\0';
}

static int run_child(const struct demo_sidecar *d, const struct command_options *o,
                     const struct config *cfg, pid_t parent, int started)
{
    static struct command_options own;
    static char shadow[80];
    sidecar_early();
    setpgid(0, 0);
    if (confine_end_with_parent() < 0 || getppid() != parent)
        return EXIT_UNAVAILABLE;
    own = (struct command_options){.input = o->input};
    own.input.sets = own.sets;
    own.input.set_count = 0;
    own.sets[own.input.set_count++] = "telemetry.log.level=warn";
    if (!has_exporter(cfg))
        own.sets[own.input.set_count++] = "exporters.file.path=/dev/null";
    snprintf(shadow, sizeof shadow, "shadow.policy_file=%s", d->policy);
    if (d->policy[0] != '\0')
        own.sets[own.input.set_count++] = shadow;
    for (unsigned i = 0; i < o->input.set_count && own.input.set_count < COMMAND_SETS_MAX; i++)
        own.sets[own.input.set_count++] = o->sets[i];
    return run_sidecar(&own, started);
}

/* Whether it listens: else it has ended, and has said why. */
static bool await_start(int started)
{
    char byte;
    ssize_t n;
    do
        n = read(started, &byte, 1);
    while (n < 0 && errno == EINTR);
    return n == 1;
}

static int refuse(struct demo_sidecar *d, const char *what)
{
    fprintf(stderr, "lipservice: demo: %s: %s\n", what, strerror(errno));
    forget_policy(d);
    d->pid = 0;
    return EXIT_UNAVAILABLE;
}

int demo_sidecar_start(struct demo_sidecar *d, const struct command_options *o,
                       const struct config *cfg, bool *is_child)
{
    int ends[2];
    pid_t parent = getpid();
    *d = (struct demo_sidecar){0};
    *is_child = false;
    if (!cfg->observe && cfg->shadow.policy_file[0] == '\0' && write_policy(d) < 0)
        return refuse(d, "no file in /tmp for its second policy");
    if (pipe(ends) < 0)
        return refuse(d, "no pipe");
    fflush(NULL);
    d->pid = fork();
    if (d->pid == 0) {
        close(ends[0]);
        *is_child = true;
        return run_child(d, o, cfg, parent, ends[1]);
    }
    close(ends[1]);
    bool is_up = d->pid > 0 && await_start(ends[0]);
    close(ends[0]);
    if (d->pid < 0)
        return refuse(d, "no process");
    if (is_up)
        return 0;
    int code = demo_sidecar_stop(d);
    return code != 0 ? code : EXIT_UNAVAILABLE;
}

int demo_sidecar_stop(struct demo_sidecar *d)
{
    int status = 0;
    if (d->pid == 0)
        return 0;
    kill(d->pid, SIGTERM);
    while (waitpid(d->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    d->pid = 0;
    forget_policy(d);
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_BUG;
}
