/* route: checks of PEM files, by OpenSSL's readers. */
#include "net/route.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/secret.h"

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

int route_no_pass_phrase(char *out, int size, int writing, void *user)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)user;
    return -1;
}

static int open_file(FILE **out, const char *path, const char *prefix, const char *key,
                     struct error *err)
{
    *out = fopen(path, "re");
    if (*out == NULL)
        return err_set(err, ERR_CONFIG, "%s.tls.%s: cannot read '%.200s': %s", prefix, key, path,
                       strerror(errno));
    return 0;
}

static int read_certificate(X509 **out, const char *path, const char *prefix, const char *key,
                            struct error *err)
{
    FILE *f;
    int rc = open_file(&f, path, prefix, key, err);
    if (rc < 0)
        return rc;
    *out = PEM_read_X509(f, NULL, route_no_pass_phrase, NULL);
    fclose(f);
    ERR_clear_error();
    return *out != NULL ? 0
                        : err_set(err, ERR_CONFIG, "%s.tls.%s: '%.200s' holds no PEM certificate",
                                  prefix, key, path);
}

static int read_key(EVP_PKEY **out, const char *path, const char *prefix, struct error *err)
{
    FILE *f;
    int rc = open_file(&f, path, prefix, "key_file", err);
    if (rc < 0)
        return rc;
    *out = PEM_read_PrivateKey(f, NULL, route_no_pass_phrase, NULL);
    fclose(f);
    ERR_clear_error();
    return *out != NULL
               ? 0
               : err_set(err, ERR_CONFIG,
                         "%s.tls.key_file: '%.200s' holds no PEM key without a pass phrase", prefix,
                         path);
}

static int check_pair(const struct route *r, const char *prefix, struct error *err)
{
    X509 *certificate = NULL;
    EVP_PKEY *key = NULL;
    int rc = read_certificate(&certificate, r->cert_file, prefix, "cert_file", err);
    if (rc == 0)
        rc = read_key(&key, r->key_file, prefix, err);
    if (rc == 0 && X509_check_private_key(certificate, key) != 1)
        rc = err_set(err, ERR_CONFIG, "%s.tls.key_file: '%.200s' is not the key of '%.200s'",
                     prefix, r->key_file, r->cert_file);
    ERR_clear_error();
    X509_free(certificate);
    EVP_PKEY_free(key);
    return rc;
}

static int check_proxy(const char *url, const char *prefix, struct error *err)
{
    static const char *const schemes[] = {"http://", "https://", "socks5://", "socks5h://"};
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t n = strlen(schemes[i]);
        if (strncasecmp(url, schemes[i], n) == 0 && url[n] != '\0' && strpbrk(url, " \r\n") == NULL)
            return 0;
    }
    /* Not shown: it may hold a password. */
    return err_set(err, ERR_CONFIG,
                   "%s.proxy_url: not a URL that begins with http://, https:// or socks5://",
                   prefix);
}

int route_check(const struct route *r, const char *prefix, struct error *err)
{
    int rc = 0;
    if (is_set(r->ca_file)) {
        X509 *ca = NULL;
        rc = read_certificate(&ca, r->ca_file, prefix, "ca_file", err);
        X509_free(ca);
    }
    if (rc == 0 && is_set(r->cert_file) != is_set(r->key_file))
        rc = err_set(err, ERR_CONFIG,
                     "%s.tls.%s: must be set as well: certificate and key go together", prefix,
                     is_set(r->cert_file) ? "key_file" : "cert_file");
    if (rc == 0 && is_set(r->cert_file))
        rc = check_pair(r, prefix, err);
    if (rc == 0 && is_set(r->proxy_url))
        rc = check_proxy(r->proxy_url, prefix, err);
    return rc;
}

int route_copy(struct route *out, const struct route *from)
{
    const char *const texts[] = {from->ca_file, from->cert_file, from->key_file, from->proxy_url};
    char *copies[4] = {NULL};
    bool ok = true;
    for (size_t i = 0; i < 4; i++)
        ok &= !is_set(texts[i]) || (copies[i] = strdup(texts[i])) != NULL;
    struct route r = {copies[0], copies[1], copies[2], copies[3], from->insecure_skip_verify};
    if (!ok) {
        route_done(&r);
        return ERR_NOMEM;
    }
    *out = r;
    return 0;
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

bool route_same(const struct route *a, const struct route *b)
{
    return same_text(a->ca_file, b->ca_file) && same_text(a->cert_file, b->cert_file) &&
           same_text(a->key_file, b->key_file) && same_text(a->proxy_url, b->proxy_url) &&
           a->insecure_skip_verify == b->insecure_skip_verify;
}

void route_done(struct route *r)
{
    free((char *)r->ca_file);
    free((char *)r->cert_file);
    free((char *)r->key_file);
    secret_free((char *)r->proxy_url); /* it may hold a password */
    *r = (struct route){0};
}
