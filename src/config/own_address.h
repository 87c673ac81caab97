/*
 * own_address: whether a URL leads back to one of our own listeners.
 *
 * Names and numbers are compared, without DNS: the usual names of this machine, and the
 * listeners' addresses. A container's own host name is not recognised.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Is `url` (http or https) one of the listeners' addresses, each "host:port"? */
bool own_address_leads_here(const char *url, const char *const *listeners, size_t count);
