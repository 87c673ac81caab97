/* route: settings of TLS and proxy, copied and checked. */
#include "config/route.h"

#include "util/diag.h"

struct route config_route(const struct config_route *from)
{
    return (struct route){
        .ca_file = from->ca_file,
        .cert_file = from->cert_file,
        .key_file = from->key_file,
        .proxy_url = from->proxy_url,
        .insecure_skip_verify = from->insecure_skip_verify,
    };
}

int config_open_route(struct route *out, const struct config_route *from, const char *prefix,
                      struct error *err)
{
    *out = config_route(from);
    if (out->insecure_skip_verify)
        diag(DIAG_WARN, "insecure",
             "certificates are not verified: anybody can take the records and the key",
             "setting=%s.tls.insecure_skip_verify", prefix);
    return route_check(out, prefix, err);
}
