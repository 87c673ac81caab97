/*
 * host: which names a server answers to.
 *
 * A web page may have its own name resolved to an address of the visitor's machine (DNS
 * rebinding); its script then reads from a server there as if it were the page's own. The Host of
 * such a request is the page's name, and no name of ours.
 *
 * Ours are: addresses, "localhost" and what ends in ".localhost", and the names that are listed.
 * Where records are sent, and off loopback, also names without a dot, such as those of containers
 * and of services in one namespace: no public DNS gives them to anybody.
 */
#pragma once

#include <stdbool.h>

#include "util/span.h"

/* Is an address of the configuration ("localhost:4317") on loopback? */
bool host_is_loopback(const char *addr);

/* `host` as the request has it, with or without its port; empty: HTTP/1.0 without one. `listed`:
 * names between commas; NULL: none. */
enum host_names {
    HOST_LISTED,   /* of names only those that are listed */
    HOST_UNDOTTED, /* and names without a dot */
};
bool host_is_ours(struct span host, enum host_names names, const char *listed);

/* uri-host [ ":" port ] (RFC 9110 7.2, RFC 3986 3.2.2), by its characters. */
bool host_is_sound(struct span host);
