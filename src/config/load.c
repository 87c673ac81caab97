/* load: a configuration out of defaults, file, environment and --set, and its life. */
#include "config/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "config/check.h"
#include "config/options.h"
#include "util/secret.h"

#define VARIABLE_PREFIX "LIPSERVICE_"
#define KEY_BYTES 256          /* a dotted key, longer than any setting */
#define ARENA_BYTES (4u << 20) /* notes and headers: a few times the largest file */

static int set_defaults(struct config *cfg, struct error *err)
{
    int rc = 0;
    for (const struct option *o = config_options; o->key != NULL && rc == 0; o++)
        if (o->kind->parse != NULL)
            rc = config_set(cfg, o->key, o->fallback, err);
    return rc;
}

static int read_file(const char *path, struct buf *out, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_CONFIG, "cannot read '%s': %s", path, strerror(errno));
    int rc = 0;
    ssize_t n = 0;
    do {
        rc = buf_reserve(out, 4096);
        if (rc < 0)
            break;
        n = read(fd, out->base + out->len, out->cap - out->len);
        if (n > 0)
            out->len += (size_t)n;
    } while (n > 0);
    if (rc < 0)
        rc = err_set(err, ERR_CONFIG, "'%s' is larger than %u bytes", path, CONFIG_FILE_BYTES);
    else if (n < 0)
        rc = err_set(err, ERR_CONFIG, "cannot read '%s': %s", path, strerror(errno));
    close(fd);
    return rc;
}

static int load_file(struct config *cfg, const struct config_input *in, struct error *err)
{
    const char *path = in->file;
    if (path == NULL && access(CONFIG_DEFAULT_FILE, R_OK) == 0)
        path = CONFIG_DEFAULT_FILE;
    if (path == NULL)
        return 0;
    snprintf(cfg->source, sizeof cfg->source, "%s", path);
    struct buf text = {.max_bytes = CONFIG_FILE_BYTES};
    int rc = read_file(path, &text, err);
    if (rc == 0)
        rc = config_read_yaml(cfg, path, buf_span(&text), "", in->env, err);
    secret_wipe(text.base, text.len);
    buf_done(&text);
    return rc;
}

/* The value of NAME in env, or NULL. Empty counts as absent: compose files and manifests pass a
 * variable that is not set as an empty one. */
static const char *env_get(char **env, const char *name)
{
    size_t n = strlen(name);
    for (; env != NULL && *env != NULL; env++)
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=' && (*env)[n + 1] != '\0')
            return *env + n + 1;
    return NULL;
}

/* batch.max_age: LIPSERVICE_BATCH_MAX_AGE. Returns out. */
static const char *variable_of(char out[KEY_BYTES], const char *key)
{
    size_t at = sizeof VARIABLE_PREFIX - 1;
    memcpy(out, VARIABLE_PREFIX, at);
    for (; *key != '\0'; key++)
        out[at++] = *key == '.' ? '_' : (char)toupper((unsigned char)*key);
    out[at] = '\0';
    return out;
}

static bool is_variable_of(const struct option *o, const char *variable, size_t len)
{
    char name[KEY_BYTES];
    return o->kind->parse != NULL && strlen(variable_of(name, o->key)) == len &&
           memcmp(variable, name, len) == 0;
}

/* Kubernetes sets these in every pod, when there is a service named lipservice. */
static bool is_service_link(const char *variable)
{
    return strncmp(variable, "LIPSERVICE_SERVICE_", 19) == 0 ||
           strncmp(variable, "LIPSERVICE_PORT", 15) == 0;
}

const char *config_unknown_variable(char **env, size_t *at)
{
    while (env != NULL && env[*at] != NULL) {
        const char *variable = env[(*at)++];
        const struct option *o = config_options;
        size_t n = strcspn(variable, "=");
        if (strncmp(variable, VARIABLE_PREFIX, sizeof VARIABLE_PREFIX - 1) != 0 ||
            is_service_link(variable))
            continue;
        while (o->key != NULL && !is_variable_of(o, variable, n))
            o++;
        if (o->key == NULL)
            return variable;
    }
    return NULL;
}

static int load_environment(struct config *cfg, char **env, struct error *err)
{
    static const struct {
        const char *name, *key;
    } known[] = {
        {"POSTHOG_HOST", "exporters.posthog.host"},
        {"POSTHOG_PROJECT_TOKEN", "exporters.posthog.api_key"},
        {"POSTHOG_API_KEY", "exporters.posthog.api_key"},
        {"POSTHOG_PERSONAL_API_KEY", "posthog.personal_api_key"},
    };
    struct error inner = {{0}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        const char *value = env_get(env, known[i].name);
        if (value != NULL && config_set(cfg, known[i].key, value, &inner) < 0)
            return err_set(err, ERR_CONFIG, "environment: %s: %.400s", known[i].name, inner.text);
    }
    for (const struct option *o = config_options; o->key != NULL; o++) {
        char name[KEY_BYTES];
        const char *value = o->kind->parse == NULL ? NULL : env_get(env, variable_of(name, o->key));
        if (value != NULL && config_set(cfg, o->key, value, &inner) < 0)
            return err_set(err, ERR_CONFIG, "environment: %s: %.400s", name, inner.text);
    }
    return 0;
}

static int load_sets(struct config *cfg, const struct config_input *in, struct error *err)
{
    for (unsigned i = 0; i < in->set_count; i++) {
        const char *set = in->sets[i], *equals = strchr(set, '=');
        char key[KEY_BYTES];
        size_t n = equals == NULL ? 0 : (size_t)(equals - set);
        if (n == 0 || n >= sizeof key)
            return err_set(err, ERR_CONFIG, "--set %.100s: not of the form key.path=value", set);
        memcpy(key, set, n);
        key[n] = '\0';
        const struct option *o = option_find(key);
        if (o == NULL && !option_is_section(key))
            return err_set(err, ERR_CONFIG, "--set %.100s: no such setting", key);
        bool is_yaml =
            o == NULL || o->kind->parse == NULL || (o->kind->is_list && equals[1] == '[');
        int rc = is_yaml ? config_read_yaml(cfg, "--set", span_str(equals + 1), key, in->env, err)
                         : config_set(cfg, key, equals + 1, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int config_load(struct config *cfg, const struct config_input *in, struct error *err)
{
    *cfg = (struct config){0};
    arena_init(&cfg->arena, ARENA_BYTES, NULL);
    int rc = rules_new(&cfg->sampling.rules);
    if (rc == 0)
        rc = set_defaults(cfg, err);
    if (rc == 0)
        rc = load_file(cfg, in, err);
    if (rc == 0)
        rc = load_environment(cfg, in->env, err);
    if (rc == 0)
        rc = load_sets(cfg, in, err);
    if (rc == 0)
        rc = option_check_bounds(cfg, err);
    if (rc == 0)
        rc = config_check(cfg, err);
    if (rc == 0)
        rc = config_build_rules(cfg, err);
    if (rc < 0)
        config_done(cfg);
    return rc;
}

void config_adopt(struct config *next, const struct config *now, struct buf *stale)
{
    for (const struct option *o = config_options; o->key != NULL; o++) {
        char *to = (char *)next + o->offset;
        const char *from = (const char *)now + o->offset;
        if (o->is_live || memcmp(to, from, o->size) == 0)
            continue;
        buf_printf(stale, "%s%s", stale->len > 0 ? ", " : "", o->key);
        memcpy(to, from, o->size);
    }
}

static void wipe_secrets(struct config *cfg)
{
    for (const struct option *o = config_options; o->key != NULL; o++)
        if (o->kind == &value_secret)
            secret_wipe((char *)cfg + o->offset, o->size);
    for (unsigned i = 0; i < cfg->otlphttp.header_count; i++)
        secret_wipe((char *)cfg->otlphttp.headers[i], strlen(cfg->otlphttp.headers[i]));
}

void config_done(struct config *cfg)
{
    wipe_secrets(cfg);
    rules_unref(cfg->sampling.rules);
    cfg->sampling.rules = NULL;
    arena_done(&cfg->arena);
}
