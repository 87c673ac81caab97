/*
 * echo_server: net/ alone on a port, answering with the bodies it gets.
 *
 *     echo_server [host:port]     default 127.0.0.1:4319; ends on SIGINT or SIGTERM
 *
 * Prints its CPU time at the end, for measuring with h2load and wrk.
 */
#include <stdio.h>
#include <sys/resource.h>

#include "net/listener.h"
#include "unit/net/probe.h"

struct server {
    struct probe probe;
    struct listener listener;
    uv_signal_t signals[2];
};

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    struct server *s = handle->data;
    listener_close(&s->listener, NULL);
    for (int i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&s->signals[i], NULL);
}

int main(int argc, char **argv)
{
    static struct server s;
    struct error err = {0};
    uv_loop_t *loop = uv_default_loop();

    probe_init(&s.probe);
    s.probe.service.clock = clock_real();
    const struct listener_opts opts = {
        .service = &s.probe.service,
        .addr = argc > 1 ? argv[1] : "127.0.0.1:4319",
    };
    if (listener_open(&s.listener, loop, &opts, &err) < 0) {
        fprintf(stderr, "echo_server: %s\n", err.text);
        uv_run(loop, UV_RUN_DEFAULT);
        return 69;
    }
    for (int i = 0; i < 2; i++) {
        uv_signal_init(loop, &s.signals[i]);
        s.signals[i].data = &s;
        uv_signal_start(&s.signals[i], on_signal, i == 0 ? SIGINT : SIGTERM);
    }
    char address[LISTENER_ADDR_BYTES];
    fprintf(stderr, "listening on %s\n", listener_address(&s.listener, address));
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);

    struct rusage u = {0};
    getrusage(RUSAGE_SELF, &u);
    double cpu_s = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                   (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    fprintf(stderr, "requests %d, cpu %.3f s, most memory %ld KiB, budget peak %llu, left %llu\n",
            s.probe.requests, cpu_s, u.ru_maxrss, (unsigned long long)s.probe.budget.peak,
            (unsigned long long)s.probe.budget.used);
    for (int i = 0; i < HTTP_FAULT_COUNT; i++)
        if (s.probe.service.faults[i].value > 0)
            fprintf(stderr, "fault %d: %llu\n", i,
                    (unsigned long long)s.probe.service.faults[i].value);
    return 0;
}
