/* tls: a table of blocks, and what belongs together in one. */
#include "config/tls.h"

#include <stddef.h>

static const struct {
    const char *prefix;
    size_t offset;
} blocks[CONFIG_TLS_COUNT] = {
    [CONFIG_TLS_GRPC] = {"receivers.otlp.protocols.grpc.tls",
                         offsetof(struct config, receiver.grpc_tls)},
    [CONFIG_TLS_HTTP] = {"receivers.otlp.protocols.http.tls",
                         offsetof(struct config, receiver.http_tls)},
    [CONFIG_TLS_PAGES] = {"telemetry.tls", offsetof(struct config, telemetry.tls)},
    [CONFIG_TLS_SERVER] = {"server.tls", offsetof(struct config, server.tls)},
};

const char *config_tls_prefix(enum config_tls_block b)
{
    return blocks[b].prefix;
}

const struct config_tls *config_tls(const struct config *cfg, enum config_tls_block b)
{
    return (const struct config_tls *)((const char *)cfg + blocks[b].offset);
}

bool config_tls_is_on(const struct config_tls *t)
{
    return t->cert_file[0] != '\0' || t->key_file[0] != '\0';
}

bool config_tls_is_required(const struct config_tls *t)
{
    return t->required || t->client_ca_file[0] != '\0';
}

struct tls_files config_tls_files(const struct config_tls *t)
{
    return (struct tls_files){
        .cert_file = t->cert_file,
        .key_file = t->key_file,
        .client_ca_file = t->client_ca_file,
        .client_sans = t->client_sans,
        .crl_file = t->crl_file,
        .min_version = t->min_version,
    };
}

int config_check_tls(const struct config *cfg, struct error *err)
{
    for (int b = 0; b < CONFIG_TLS_COUNT; b++) {
        const struct config_tls *t = config_tls(cfg, b);
        if (config_tls_is_required(t) && !config_tls_is_on(t))
            return err_set(err, ERR_CONFIG, "%s.cert_file: must be set with %s.%s",
                           blocks[b].prefix, blocks[b].prefix,
                           t->required ? "required" : "client_ca_file");
        if (t->client_sans[0] != '\0' && t->client_ca_file[0] == '\0')
            return err_set(err, ERR_CONFIG,
                           "%s.client_ca_file: must be set with client_sans: anybody can write a "
                           "certificate with such a name",
                           blocks[b].prefix);
        if (t->crl_file[0] != '\0' && t->client_ca_file[0] == '\0')
            return err_set(err, ERR_CONFIG, "%s.client_ca_file: must be set with crl_file",
                           blocks[b].prefix);
    }
    return 0;
}

int config_check_tls_files(const struct config *cfg, struct error *err)
{
    int rc = 0;
    for (int b = 0; b < CONFIG_TLS_COUNT && rc == 0; b++) {
        struct tls_context *c = NULL;
        struct tls_files files = config_tls_files(config_tls(cfg, b));
        if (config_tls_is_on(config_tls(cfg, b)))
            rc = tls_context_load(&c, &files, blocks[b].prefix, err);
        tls_context_unref(c);
    }
    return rc;
}
