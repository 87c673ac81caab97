/*
 * certificates: pairs of certificate and key made by OpenSSL, as PEM files in a directory of a
 * test.
 */
#pragma once

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CERTIFICATES_MAX 8

struct certificate {
    char cert_file[96], key_file[96];
    X509 *x;
    EVP_PKEY *key;
};

struct certificates {
    char dir[64];
    unsigned count;
    struct certificate all[CERTIFICATES_MAX];
};

static inline void certificates_init(struct certificates *c)
{
    *c = (struct certificates){.dir = "/tmp/lipservice-tls-XXXXXX"};
    assert(mkdtemp(c->dir) != NULL);
}

static inline void certificates_done(struct certificates *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        unlink(c->all[i].cert_file);
        unlink(c->all[i].key_file);
        X509_free(c->all[i].x);
        EVP_PKEY_free(c->all[i].key);
    }
    rmdir(c->dir);
}

static inline void certificate_extend(X509 *x, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert(extension != NULL && X509_add_ext(x, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static inline void certificate_save(const struct certificate *c)
{
    FILE *f = fopen(c->cert_file, "we");
    assert(f != NULL && PEM_write_X509(f, c->x) == 1);
    fclose(f);
    f = fopen(c->key_file, "we");
    assert(f != NULL && PEM_write_PrivateKey(f, c->key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(f);
    chmod(c->key_file, 0600);
}

/* `san`: as openssl.cnf has it, "DNS:a,IP:127.0.0.1"; NULL: none. `issuer` NULL: a CA of its own.
 * `days`: from now, may be past. */
static inline struct certificate *certificate_make(struct certificates *c, const char *san,
                                                   const struct certificate *issuer, int days)
{
    struct certificate *n = &c->all[c->count];
    assert(c->count < CERTIFICATES_MAX);
    char dir[sizeof c->dir];
    memcpy(dir, c->dir, sizeof dir);
    snprintf(n->cert_file, sizeof n->cert_file, "%s/%u.crt", dir, c->count);
    snprintf(n->key_file, sizeof n->key_file, "%s/%u.key", dir, c->count);
    n->key = EVP_EC_gen("P-256");
    n->x = X509_new();
    X509_set_version(n->x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(n->x), (long)c->count + 1);
    X509_time_adj_ex(X509_getm_notBefore(n->x), -60, 0, NULL);
    X509_time_adj_ex(X509_getm_notAfter(n->x), days, 0, NULL);
    char name[16];
    snprintf(name, sizeof name, "test %u", c->count);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(n->x), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(n->x, X509_get_subject_name(issuer != NULL ? issuer->x : n->x));
    X509_set_pubkey(n->x, n->key);
    if (issuer == NULL)
        certificate_extend(n->x, NID_basic_constraints, "critical,CA:TRUE");
    if (san != NULL)
        certificate_extend(n->x, NID_subject_alt_name, san);
    X509_sign(n->x, issuer != NULL ? issuer->key : n->key, EVP_sha256());
    certificate_save(n);
    c->count++;
    return n;
}
