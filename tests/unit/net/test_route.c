#include "unit/test.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/route.h"
#include "util/span.h"

static char dir[64], cert[96], key[96], other_key[96], locked[96], junk[96];

static FILE *create(char path[96], const char *name)
{
    snprintf(path, 96, "%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    return f;
}

static void write_key(char path[96], const char *name, EVP_PKEY *k, const EVP_CIPHER *cipher)
{
    FILE *f = create(path, name);
    assert_int_equal(PEM_write_PrivateKey(f, k, cipher, (unsigned char *)"pass", 4, NULL, NULL), 1);
    fclose(f);
}

static int make_files(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/route.XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    EVP_PKEY *one = EVP_EC_gen("P-256"), *two = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_set_pubkey(x, one);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_sign(x, one, EVP_sha256());
    FILE *f = create(cert, "cert.pem");
    PEM_write_X509(f, x);
    fclose(f);
    f = create(junk, "junk.pem");
    fputs("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", f);
    fclose(f);
    write_key(key, "key.pem", one, NULL);
    write_key(other_key, "other.pem", two, NULL);
    write_key(locked, "locked.pem", one, EVP_aes_256_cbc());
    X509_free(x);
    EVP_PKEY_free(one);
    EVP_PKEY_free(two);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    const char *const paths[] = {cert, key, other_key, locked, junk};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        unlink(paths[i]);
    return rmdir(dir);
}

static void files_and_proxies(void **state)
{
    (void)state;
    const struct {
        struct route route;
        const char *said; /* NULL: it is well */
    } rows[] = {
        {{0}, NULL},
        {{.ca_file = "", .cert_file = "", .key_file = "", .proxy_url = ""}, NULL},
        {{.ca_file = cert, .cert_file = cert, .key_file = key}, NULL},
        {{.ca_file = "/nonexistent"}, "x.tls.ca_file: cannot read '/nonexistent'"},
        {{.ca_file = junk}, "x.tls.ca_file: "},
        {{.ca_file = key}, "x.tls.ca_file: "},
        {{.ca_file = dir}, "x.tls.ca_file: "},
        {{.cert_file = cert}, "x.tls.key_file: must be set as well"},
        {{.key_file = key}, "x.tls.cert_file: must be set as well"},
        {{.cert_file = "/nonexistent", .key_file = key}, "x.tls.cert_file: cannot read"},
        {{.cert_file = cert, .key_file = "/nonexistent"}, "x.tls.key_file: cannot read"},
        {{.cert_file = cert, .key_file = other_key}, "is not the key of"},
        {{.cert_file = cert, .key_file = locked}, "without a pass phrase"},
        {{.cert_file = cert, .key_file = cert}, "x.tls.key_file: "},
        {{.proxy_url = "http://proxy:3128"}, NULL},
        {{.proxy_url = "HTTPS://u:p@proxy"}, NULL},
        {{.proxy_url = "socks5h://proxy:1080"}, NULL},
        {{.proxy_url = "proxy:3128"}, "x.proxy_url: "},
        {{.proxy_url = "http://"}, "x.proxy_url: "},
        {{.proxy_url = "ftp://proxy"}, "x.proxy_url: "},
        {{.proxy_url = "http://a b"}, "x.proxy_url: "},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {{0}};
        int rc = route_check(&rows[i].route, "x", &err);
        assert_row(rc == (rows[i].said == NULL ? 0 : ERR_CONFIG), "%zu: %d %s", i, rc, err.text);
        assert_row(rows[i].said == NULL || strstr(err.text, rows[i].said) != NULL, "%zu: %s", i,
                   err.text);
    }
}

static void a_copy_owns_its_texts(void **state)
{
    (void)state;
    char ca[] = "ca", proxy[] = "http://p";
    const struct route from = {
        .ca_file = ca, .cert_file = "", .proxy_url = proxy, .insecure_skip_verify = true};
    struct route copy = {0};
    assert_int_equal(route_copy(&copy, &from), 0);
    ca[0] = proxy[0] = 'X';
    assert_string_equal(copy.ca_file, "ca");
    assert_null(copy.cert_file);
    assert_string_equal(copy.proxy_url, "http://p");
    assert_true(copy.insecure_skip_verify);
    route_done(&copy);
    assert_null(copy.ca_file);
    route_done(&copy);
}

static void the_same_route_is_the_same_in_every_member(void **state)
{
    (void)state;
    const struct route empty = {.ca_file = "", .cert_file = "", .key_file = "", .proxy_url = ""};
    const struct route rows[] = {
        {0},
        {.ca_file = "a"},
        {.ca_file = "b"},
        {.cert_file = "a"},
        {.key_file = "a"},
        {.proxy_url = "a"},
        {.insecure_skip_verify = true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_row(route_same(&rows[i], &empty) == (i == 0), "%zu", i); /* NULL is "" */
        for (size_t k = 0; k < ARRAY_LEN(rows); k++)
            assert_row(route_same(&rows[i], &rows[k]) == (i == k), "%zu %zu", i, k);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_and_proxies),
        cmocka_unit_test(a_copy_owns_its_texts),
        cmocka_unit_test(the_same_route_is_the_same_in_every_member),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
