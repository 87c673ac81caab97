/* sidecar_access: the file of keys, and what the operator is told about open ports. */
#include <string.h>

#include "net/host.h"
#include "receiver/auth.h"
#include "sidecar/sidecar_state.h"
#include "util/diag.h"

/* ---- receivers.otlp.auth.keys_file -------------------------------------- */

static void warn_of_mode(const struct sidecar *sc, unsigned mode)
{
    char path[DIAG_QUOTE_BYTES];
    if ((mode & 077) != 0)
        diag(DIAG_WARN, "keys_file_readable", "other users may read the file of keys: chmod 600",
             "file=%s mode=%04o", diag_quote(path, span_str(sc->cfg->receiver.keys_file)), mode);
}

static void put_in_force(struct sidecar *sc, struct auth_keys *keys)
{
    char path[DIAG_QUOTE_BYTES];
    unsigned count = keys->count;
    receiver_set_auth(sc->receiver, keys);
    metric_inc(&sc->keys.installed);
    diag(DIAG_INFO, "keys_file", "the file of keys is in force", "file=%s keys=%u",
         diag_quote(path, span_str(sc->cfg->receiver.keys_file)), count);
}

static void on_changed(void *ctx, int rc, struct span text, const struct error *why)
{
    struct sidecar *sc = ctx;
    struct auth_keys *keys = NULL;
    struct error err = *why;
    char quoted[DIAG_QUOTE_BYTES];
    if (rc == 0)
        rc = auth_read(&keys, config_visit_yaml, sc->cfg->receiver.keys_file, text, &err);
    if (rc == 0) {
        put_in_force(sc, keys);
        return;
    }
    metric_inc(&sc->keys.refused);
    diag(DIAG_WARN, "keys_file_refused", "the last good keys stay", "reason=%s",
         diag_quote(quoted, span_str(err.text[0] != '\0' ? err.text : err_text(rc))));
}

int access_start(struct sidecar *sc, struct error *err)
{
    const char *path = sc->cfg->receiver.keys_file;
    struct buf text = {0};
    struct auth_keys *keys = NULL;
    struct error inner = {{0}};
    unsigned mode = 0;
    if (path[0] == '\0')
        return 0;
    int rc = watch_read(path, AUTH_FILE_BYTES, &text, &mode, &inner);
    if (rc == 0)
        rc = auth_read(&keys, config_visit_yaml, path, buf_span(&text), &inner);
    if (rc == 0) {
        const struct watch_opts opts = {
            .path = path, .max_bytes = AUTH_FILE_BYTES, .ctx = sc, .changed = on_changed};
        warn_of_mode(sc, mode);
        put_in_force(sc, keys);
        rc = watch_open(&sc->keys.watch, &sc->loop, &opts, buf_span(&text));
    } else if (rc != ERR_NOMEM) {
        rc = err_set(err, ERR_CONFIG, "receivers.otlp.auth.keys_file: %.400s", inner.text);
    }
    if (text.base != NULL)
        secret_wipe(text.base, text.cap);
    buf_done(&text);
    return rc;
}

void access_reload(struct sidecar *sc)
{
    if (sc->keys.watch != NULL)
        watch_again(sc->keys.watch);
}

void access_stop(struct sidecar *sc)
{
    watch_close(sc->keys.watch);
    sc->keys.watch = NULL;
}

/* ---- open ports --------------------------------------------------------- */

/* What is missing of TLS and keys; NULL: nothing. Where clear text is taken too, TLS is missing. */
static const char *missing(const struct config_tls *tls, bool has_keys)
{
    bool has_tls = config_tls_is_required(tls);
    if (has_tls) /* with a CA of clients, their certificates are keys */
        return has_keys || tls->client_ca_file[0] != '\0' ? NULL : "auth";
    return has_keys ? "tls" : "tls,auth";
}

void access_warn(const struct sidecar *sc)
{
    const struct config *cfg = sc->cfg;
    bool has_keys = cfg->receiver.keys_file[0] != '\0';
    bool has_admin_key = cfg->telemetry.admin_api_key[0] != '\0';
    /* Health says nothing that anybody could use, and probes of Kubernetes bring no key. */
    const struct {
        const char *setting, *addr, *missing, *text;
    } ports[] = {
        {"receivers.otlp.protocols.grpc.endpoint", cfg->receiver.grpc_endpoint,
         missing(&cfg->receiver.grpc_tls, has_keys), "whoever reaches this port may send logs"},
        {"receivers.otlp.protocols.http.endpoint", cfg->receiver.http_endpoint,
         missing(&cfg->receiver.http_tls, has_keys), "whoever reaches this port may send logs"},
        {"telemetry.metrics.endpoint", cfg->telemetry.metrics_endpoint,
         missing(&cfg->telemetry.tls, false), "whoever reaches this port may read the metrics"},
        {"telemetry.admin.endpoint", cfg->telemetry.admin_endpoint,
         missing(&cfg->telemetry.tls, has_admin_key),
         "what this port shows of logs is open to others"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ports) && !cfg->allow_insecure; i++) {
        char addr[DIAG_QUOTE_BYTES];
        if (ports[i].addr[0] == '\0' || ports[i].missing == NULL || host_is_loopback(ports[i].addr))
            continue;
        diag(DIAG_WARN, "insecure_port",
             strcmp(ports[i].missing, "tls") == 0 ? "what goes over this port is not encrypted, or "
                                                    "need not be"
                                                  : ports[i].text,
             "setting=%s address=%s missing=%s silence=\"allow_insecure: true\"", ports[i].setting,
             diag_quote(addr, span_str(ports[i].addr)), ports[i].missing);
    }
}
