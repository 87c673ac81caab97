/*
 * server: the role that adds up the counts of a fleet and hands out policies.
 *
 *     server_early() -> server_start() -> server_run() -> server_stop()
 *                                         until SIGTERM or SIGINT, and then drained
 *
 *     sidecars --reports--> intake -> receipts (disk) -> rollup (memory) -> flush -> store
 *     sidecars <--policies-- registry (memory)  <- API <- people, the proposal
 *
 * One loop on one thread; the database has a thread of its own (server/worker.h), the journal of
 * reports libuv's pool (server/receipts.h).
 *
 * Blocking   start opens files and reads the journal; run is the event loop.
 */
#pragma once

#include "config/config.h"
#include "util/err.h"

struct server;

/* The first thing of a run: from here on no stray signal ends the process. */
void server_early(void);

/* ERR_CONFIG, ERR_UNAVAILABLE (a port, the directory, the database), ERR_NOMEM. On failure nothing
 * is left. Fills in cfg->server.directory where it is empty. The configuration must outlive the
 * server. */
MUST_CHECK int server_start(struct server **out, struct config *cfg, struct error *err);
void server_run(struct server *s);
void server_stop(struct server *s);
