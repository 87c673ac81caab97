/*
 * poll: a policy is handed out at once, or when it changes.
 *
 *     GET /api/v1/policies/{service_name}
 *     If-None-Match: "v17-9f3c2a1b00000000"
 *     Prefer: wait=240                          (RFC 7240)
 *
 * Who has the present version waits until there is another one, up to the time that it names, less
 * a part by chance, so that those who began together do not come back together. Then 304. A
 * service that is not known yet is waited for as well. At the end of the process all are answered.
 *
 * Bounded work: POLL_TURN answers in a turn of the loop.
 */
#pragma once

#include "server/api.h"

#define POLL_TURN 256

MUST_CHECK int poll_start(struct server *s, struct error *err);
void poll_stop(struct server *s);

/* A service has another policy; a service is known. */
void poll_wake(struct server *s, struct service *service);
void poll_welcome(struct server *s, struct service *service);

/* Answer all that wait, as it stands: the server ends. */
void poll_end(struct server *s);

/* Its client has left: it waits no more. */
void poll_leave(struct call *c);

/* The policy that older servers give to a service without one. */
extern const char poll_default_document[];
