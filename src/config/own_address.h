/*
 * own_address: does a URL lead back to our own door?
 *
 * By name and number only, without DNS: this machine by the names that it has
 * everywhere, or the very address of a listener. A container's own name is not
 * seen through.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Is `url` (http or https) one of the listeners' addresses, each "host:port"? */
bool own_address_leads_here(const char *url, const char *const *listeners, size_t count);
