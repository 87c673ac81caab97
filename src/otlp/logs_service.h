/*
 * logs_service: another service.name for all of a request.
 *
 * Errors: ERR_FULL and others of the buf: no memory. Blocking: never. Cost: a copy.
 */
#pragma once

#include "util/buf.h"
#include "util/err.h"
#include "util/span.h"

/* Append to *out the sound request, with `name` as the service.name of every Resource, and as the
 * only one. */
MUST_CHECK int logs_set_service(struct span request, struct span name, struct buf *out);
