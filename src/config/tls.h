/* tls: settings of TLS on our own ports as net's struct tls_files. */
#pragma once

#include "config/config.h"
#include "net/tls_context.h"
#include "util/err.h"

/* Each block of settings of that kind. */
enum config_tls_block {
    CONFIG_TLS_GRPC,
    CONFIG_TLS_HTTP,
    CONFIG_TLS_PAGES,
    CONFIG_TLS_SERVER,
    CONFIG_TLS_COUNT
};
#define CONFIG_TLS_SIDECAR_COUNT CONFIG_TLS_SERVER /* before it: the sidecar's */

/* "receivers.otlp.protocols.grpc.tls" */
const char *config_tls_prefix(enum config_tls_block b);

const struct config_tls *config_tls(const struct config *cfg, enum config_tls_block b);

/* A certificate or a key is set. */
bool config_tls_is_on(const struct config_tls *t);

/* Clear text is refused: that is asked for, or who speaks it could not be asked for the certificate
 * that clients need. */
bool config_tls_is_required(const struct config_tls *t);

/* The same files; its texts are borrowed. */
struct tls_files config_tls_files(const struct config_tls *t);

/* Settings that need another one. ERR_CONFIG. */
MUST_CHECK int config_check_tls(const struct config *cfg, struct error *err);

/* Read the files and see that they can be used. ERR_CONFIG. */
MUST_CHECK int config_check_tls_files(const struct config *cfg, struct error *err);
