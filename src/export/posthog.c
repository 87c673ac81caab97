/* posthog: what is particular about PostHog as an upstream. */
#include "export/posthog.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define KEY_BYTES_MAX 64 /* capture's own limit */

int posthog_url(char out[UPSTREAM_URL_BYTES], const char *host, enum signal signal,
                struct error *err)
{
    /* An app host routes /i/v1/logs to a login page that answers 200: nothing would
     * arrive without a sign of it. */
    static const struct {
        const char *app, *ingestion;
    } hosts[] = {
        {"us.posthog.com", "us.i.posthog.com"},
        {"eu.posthog.com", "eu.i.posthog.com"},
        {"app.posthog.com", "us.i.posthog.com"},
    };
    const char *scheme = "https://", *rest = host;
    if (strncasecmp(host, "https://", 8) == 0)
        rest = host + 8;
    else if (strncasecmp(host, "http://", 7) == 0)
        scheme = "http://", rest = host + 7;
    else if (strstr(host, "://") != NULL)
        return err_set(err, ERR_CONFIG, "'%s': PostHog is reached by http:// or https://", host);

    size_t len = strcspn(rest, "/");
    if (len == 0 || rest[len + strspn(rest + len, "/")] != '\0' || strpbrk(rest, " ?#@") != NULL)
        return err_set(err, ERR_CONFIG, "'%s' is not a host such as https://us.i.posthog.com",
                       host);
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        if (len == strlen(hosts[i].app) && strncasecmp(rest, hosts[i].app, len) == 0) {
            rest = hosts[i].ingestion;
            len = strlen(rest);
        }
    }
    int n = snprintf(out, UPSTREAM_URL_BYTES, "%s%.*s/i/v1/%s", scheme, (int)len, rest,
                     signal_name(signal));
    return n < UPSTREAM_URL_BYTES ? 0 : err_set(err, ERR_CONFIG, "the host is too long");
}

int posthog_check_key(const char *key, struct error *err)
{
    if (strncmp(key, "phx_", 4) == 0)
        return err_set(err, ERR_CONFIG,
                       "this is a personal API key (phx_...); PostHog takes logs "
                       "with the project API key (phc_...) of the project settings");
    if (strlen(key) > KEY_BYTES_MAX)
        return err_set(err, ERR_CONFIG, "a project API key has at most %d characters",
                       KEY_BYTES_MAX);
    for (const char *c = key; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~')
            return err_set(err, ERR_CONFIG,
                           "a project API key holds no spaces or special characters");
    return 0;
}
