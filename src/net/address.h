/*
 * address: is it one of the public internet?
 *
 * Where a user names the URL that we ask (webhooks), it must not lead to what only we can reach:
 * ourselves, the private network, the cloud's metadata. Looked at when the name is resolved and the
 * socket is made, so that a name that changes its mind is no way around.
 */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

/* False for loopback, private, link-local, shared (RFC 6598), multicast, reserved and documentation
 * ranges of IPv4 and IPv6, for IPv4 inside of IPv6 that is such, and for other families. */
bool address_is_public(const struct sockaddr *address);
