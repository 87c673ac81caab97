/* posthog: what is particular about PostHog as an upstream. */
#include "export/posthog.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "net/url.h"

#define KEY_BYTES_MAX 64 /* capture's own limit */

const char *posthog_ingestion_host(struct span authority)
{
    /* An app host routes /i/v1/logs to a login page that answers 200: nothing would
     * arrive without a sign of it. */
    static const struct {
        const char *app, *ingestion;
    } hosts[] = {
        {"us.posthog.com", "us.i.posthog.com"},  {"eu.posthog.com", "eu.i.posthog.com"},
        {"app.posthog.com", "us.i.posthog.com"}, {"posthog.com", "us.i.posthog.com"},
        {"www.posthog.com", "us.i.posthog.com"},
    };
    size_t port = authority.len; /* https' own says nothing */
    if (port > 4 && span_eq(span_skip(authority, port - 4), SPAN(":443")))
        authority.len -= 4;
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
        if (span_ieq(authority, span_str(hosts[i].app)))
            return hosts[i].ingestion;
    return NULL;
}

/* Does it lead to the same path elsewhere, and not to a page for people? */
static bool is_same_path(struct span location, const char *url)
{
    struct span to = location, from = span_str(url);
    const uint8_t *a = memmem(to.base, to.len, "://", 3),
                  *b = memmem(from.base, from.len, "://", 3);
    if (a == NULL || b == NULL)
        return false;
    to = span_skip(to, (size_t)(a + 3 - to.base));
    from = span_skip(from, (size_t)(b + 3 - from.base));
    a = memchr(to.base, '/', to.len);
    b = memchr(from.base, '/', from.len);
    return a != NULL && b != NULL && memchr(to.base, '@', to.len) == NULL &&
           span_eq(span_skip(to, (size_t)(a - to.base)), span_skip(from, (size_t)(b - from.base)));
}

void posthog_right_host(char *out, size_t size, const char *url, struct span location)
{
    struct span host = url_authority(url);
    const char *ingestion = posthog_ingestion_host(host);
    bool is_cloud =
        host.len > 14 && span_ieq(span_skip(host, host.len - 14), SPAN(".i.posthog.com"));
    const char *path = (const char *)host.base + host.len;
    if (ingestion != NULL)
        snprintf(out, size, "%s", ingestion);
    else if (is_cloud && strncmp(path, "/i/v1/", 6) != 0)
        snprintf(out, size, "https://%.*s/i", (int)host.len, (const char *)host.base);
    else if (is_same_path(location, url))
        snprintf(out, size, "%.*s", (int)location.len, (const char *)location.base);
    else if (!is_cloud && host.len > 12 &&
             span_ieq(span_skip(host, host.len - 12), SPAN(".posthog.com")))
        snprintf(out, size, "us.i.posthog.com or eu.i.posthog.com");
    else
        snprintf(out, size, "%s", "");
}

/* The scheme (https:// where there is none) and the host in a setting. */
static int read_host(const char *text, const char **scheme, struct span *host, struct error *err)
{
    const char *rest = text;
    *scheme = "https://";
    if (strncasecmp(text, "https://", 8) == 0)
        rest = text + 8;
    else if (strncasecmp(text, "http://", 7) == 0)
        *scheme = "http://", rest = text + 7;
    else if (strstr(text, "://") != NULL)
        return err_set(err, ERR_CONFIG, "'%s': PostHog is reached by http:// or https://", text);
    size_t len = strcspn(rest, "/");
    if (len == 0 || rest[len + strspn(rest + len, "/")] != '\0' || strpbrk(rest, " ?#@") != NULL)
        return err_set(err, ERR_CONFIG, "'%s' is not a host such as https://us.i.posthog.com",
                       text);
    *host = span_of(rest, len);
    return 0;
}

static int write_url(char out[UPSTREAM_URL_BYTES], const char *scheme, struct span host,
                     const char *path, struct error *err)
{
    int n = snprintf(out, UPSTREAM_URL_BYTES, "%s%.*s%s", scheme, (int)host.len,
                     (const char *)host.base, path);
    return n < UPSTREAM_URL_BYTES ? 0 : err_set(err, ERR_CONFIG, "the host is too long");
}

static int ingestion_url(char out[UPSTREAM_URL_BYTES], const char *host, const char *path,
                         struct error *err)
{
    const char *scheme;
    struct span authority;
    int rc = read_host(host, &scheme, &authority, err);
    if (rc < 0)
        return rc;
    const char *ingestion = posthog_ingestion_host(authority);
    return write_url(out, scheme, ingestion != NULL ? span_str(ingestion) : authority, path, err);
}

int posthog_url(char out[UPSTREAM_URL_BYTES], const char *host, enum signal signal,
                struct error *err)
{
    char path[32];
    snprintf(path, sizeof path, "/i/v1/%s", signal_name(signal));
    return ingestion_url(out, host, path, err);
}

int posthog_ingestion_url(char out[UPSTREAM_URL_BYTES], const char *host, struct error *err)
{
    return ingestion_url(out, host, "", err);
}

int posthog_app_url(char out[UPSTREAM_URL_BYTES], const char *app_host, const char *ingestion_host,
                    struct error *err)
{
    static const struct {
        const char *ingestion, *app;
    } clouds[] = {{"us.i.posthog.com", "us.posthog.com"}, {"eu.i.posthog.com", "eu.posthog.com"}};
    const char *scheme;
    struct span authority;
    int rc = read_host(app_host[0] != '\0' ? app_host : ingestion_host, &scheme, &authority, err);
    if (rc < 0)
        return rc;
    const char *ingestion = posthog_ingestion_host(authority);
    struct span host = ingestion != NULL ? span_str(ingestion) : authority;
    for (size_t i = 0; i < ARRAY_LEN(clouds); i++)
        if (span_ieq(host, span_str(clouds[i].ingestion)))
            authority = span_str(clouds[i].app);
    return write_url(out, scheme, authority, "", err);
}

int posthog_check_key(const char *key, struct error *err)
{
    if (strncmp(key, "phx_", 4) == 0)
        return err_set(err, ERR_CONFIG,
                       "this is a personal API key (phx_...); PostHog takes logs "
                       "with the project API key (phc_...) of the project settings");
    if (strpbrk(key, "${") != NULL)
        return err_set(err, ERR_CONFIG,
                       "this is no key but a variable that nothing has replaced; in the "
                       "configuration file ${env:NAME} is replaced by the variable NAME");
    if (strlen(key) > KEY_BYTES_MAX)
        return err_set(err, ERR_CONFIG, "a project API key has at most %d characters",
                       KEY_BYTES_MAX);
    for (const char *c = key; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~')
            return err_set(err, ERR_CONFIG,
                           "a project API key holds no spaces or special characters");
    return 0;
}
