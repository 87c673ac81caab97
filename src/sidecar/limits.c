/* sidecar_limits: descriptors, shared out before anybody can take them all. */
#include <sys/resource.h>

#include "sidecar/sidecar_state.h"
#include "util/diag.h"

/* Standard ones 3, the loop 5, listening sockets 10, the spool 5, policy files 2, exporter and
 * refused file 2, configuration and lists of directories 2: 29. A name to resolve takes 2 more for
 * a while. */
#define OWN_DESCRIPTORS 32
#define PORTS 2 /* for OTLP */
#define PAGE_SERVERS 3
#define PAGE_SHARE 16 /* of all descriptors, for a page server, up to PAGE_CONNECTIONS */
#define PAGE_LEAST 2

static uint32_t upto(uint64_t n, uint32_t most)
{
    return n < most ? (uint32_t)n : most;
}

/* The soft limit is for programs that use select(); this one does not. */
static uint64_t raise_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return UINT64_MAX; /* unknown: nothing is cut */
    const struct rlimit most = {files.rlim_max, files.rlim_max};
    if (files.rlim_cur < files.rlim_max && setrlimit(RLIMIT_NOFILE, &most) == 0)
        files = most;
    return files.rlim_cur == RLIM_INFINITY ? UINT64_MAX : files.rlim_cur;
}

void sidecar_limits_set(struct sidecar *sc)
{
    const struct config *cfg = sc->cfg;
    uint64_t limit = raise_limit();
    uint64_t pages = upto(limit / PAGE_SHARE, PAGE_CONNECTIONS);
    uint64_t upstream = cfg->posthog.concurrency > cfg->otlphttp.concurrency
                            ? cfg->posthog.concurrency
                            : cfg->otlphttp.concurrency;
    sc->page_connections = pages > PAGE_LEAST ? (uint32_t)pages : PAGE_LEAST;
    uint64_t kept = OWN_DESCRIPTORS + PAGE_SERVERS * (uint64_t)sc->page_connections + upstream;
    sc->connections =
        upto(limit > kept + PORTS ? (limit - kept) / PORTS : 1, cfg->receiver.max_connections);
    if (sc->connections < cfg->receiver.max_connections)
        diag(DIAG_WARN, "max_connections",
             "fewer connections than configured: the limit on open files is low",
             "setting=receivers.otlp.max_connections configured=%u connections=%u open_files=%llu",
             cfg->receiver.max_connections, sc->connections, (unsigned long long)limit);
}
