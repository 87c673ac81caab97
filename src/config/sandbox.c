/*
 * sandbox: which files, which calls.
 *
 * Files are allowed by directory, because a reload reads them again after they were replaced
 * by renaming, and a log is made anew after its rotation. A directory that belongs to everybody
 * (/etc, /tmp) is not allowed as a whole for a file in it.
 */
#include "config/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export/disk.h"
#include "util/confine.h"
#include "util/diag.h"

/* Sanitizers make calls of their own and write code at run time; they only lose the first two. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) || \
    __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

#define LOW_PORTS 1024 /* the first that needs no capability */

/* What names, certificates and time need, wherever a distribution has it. /proc: its entries are
 * made anew for each look-up, so /proc/self cannot be allowed alone; Landlock closes what other
 * processes keep for themselves in there. */
static const char *const system_paths[] = {
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf",
    "/etc/pki/ca-trust",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/usr/share/crypto-policies",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/run/systemd/resolve",
    "/run/NetworkManager",
    "/run/resolvconf",
    "/proc",
    "/sys/devices/system/cpu",
    "/dev/urandom",
    "/dev/random",
};

/* Variables that name other places to OpenSSL. */
static const char *const path_variables[] = {"SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF",
                                             "OPENSSL_MODULES"};

static const char *const shared_directories[] = {
    "/",    "/etc",  "/dev",  "/proc", "/sys",     "/usr",     "/var",
    "/run", "/home", "/root", "/tmp",  "/var/tmp", "/var/lib", "/var/spool",
    "/opt", "/srv",  "/mnt",  "/lib",  "/dev/shm"};
#define FOR_LOGS "/var/log" /* files in it are made anew by whoever rotates them */

static bool is_shared(const char *directory)
{
    for (size_t i = 0; i < ARRAY_LEN(shared_directories); i++)
        if (strcmp(directory, shared_directories[i]) == 0)
            return true;
    return false;
}

/* ---- paths -------------------------------------------------------------- */

/* The directory of a path, without symbolic links; the caller's to free. NULL: there is none. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = slash == NULL   ? strdup(".")
                 : slash == path ? strdup("/")
                                 : strndup(path, (size_t)(slash - path));
    char *real = name == NULL ? NULL : realpath(name, NULL);
    free(name);
    return real;
}

/* What cannot be allowed is missed by whoever opens it, and he says so. */
static void allow(struct sandbox *s, const char *path, enum confine_access access)
{
    if (path == NULL || confine_paths_allow(s->set, path, access) < 0)
        return;
    buf_append_str(&s->roots, path);
    buf_append_byte(&s->roots, '\0');
}

static void allow_beside(struct sandbox *s, const char *path, enum confine_access access)
{
    char *directory = directory_of(path);
    if (directory != NULL && !is_shared(directory))
        allow(s, directory, access);
    free(directory);
}

/* A file that is read: with its directory, and where a link leads that it is. */
static void allow_read(struct sandbox *s, const char *path)
{
    char *real = realpath(path, NULL);
    allow(s, real, CONFINE_READ);
    allow_beside(s, path, CONFINE_READ);
    if (real != NULL)
        allow_beside(s, real, CONFINE_READ);
    free(real);
}

/* Made here as its opener makes it, because a rule needs something to stand on. What is there is
 * also read: does it end with a whole line? */
static void allow_append(struct sandbox *s, const char *path)
{
    if (strcmp(path, "-") == 0)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd >= 0)
        close(fd);
    char *real = realpath(path, NULL);
    allow(s, real, CONFINE_READ);
    allow(s, real, CONFINE_WRITE);
    allow_beside(s, path, CONFINE_WRITE);
    free(real);
}

/* A directory that was removed is made again, where its parent is for that. */
static void allow_directory(struct sandbox *s, const char *path)
{
    ignore_code(disk_make_directory(path)); /* its opener says why not */
    char *real = realpath(path, NULL), *parent = real == NULL ? NULL : directory_of(real);
    allow(s, real, CONFINE_REPLACE);
    if (parent != NULL && access(parent, W_OK) == 0)
        allow_beside(s, real, CONFINE_REPLACE);
    free(parent);
    free(real);
}

static void on_file(void *ctx, const char *key, const char *path, enum config_file use)
{
    struct sandbox *s = ctx;
    (void)key;
    if (use == CONFIG_FILE_READ)
        allow_read(s, path);
    else if (use == CONFIG_FILE_APPEND)
        allow_append(s, path);
    else if (s->directories & 1u << use)
        allow_directory(s, path);
}

/* Network managers put a new /etc/resolv.conf in the place of the old one. Where it is neither a
 * link nor mounted, all of /etc is allowed, so that names go on being found; not to root, who
 * could read the passwords there. */
static bool is_resolver_replaced(void)
{
    struct stat file, etc;
    return getuid() != 0 && lstat("/etc/resolv.conf", &file) == 0 && stat("/etc", &etc) == 0 &&
           S_ISREG(file.st_mode) && file.st_dev == etc.st_dev;
}

static int restrict_paths(struct sandbox *s, const struct config *cfg)
{
    s->set = confine_paths_new();
    if (s->set < 0)
        return s->set;
    for (size_t i = 0; i < ARRAY_LEN(system_paths); i++)
        allow(s, system_paths[i], CONFINE_READ);
    for (size_t i = 0; i < ARRAY_LEN(path_variables); i++)
        allow(s, getenv(path_variables[i]), CONFINE_READ);
    if (is_resolver_replaced())
        allow(s, "/etc", CONFINE_READ);
    allow(s, "/etc/lipservice", CONFINE_READ); /* a file may be put there later */
    allow(s, "/dev/null", CONFINE_READ);
    allow(s, "/dev/null", CONFINE_WRITE);
    if (IS_SANITIZED)
        allow(s, "/proc/self/exe", CONFINE_READ); /* the names of functions in reports */
    config_visit_files(cfg, on_file, s);
    return confine_paths_enforce(s->set);
}

/* ---- a reload ----------------------------------------------------------- */

struct outside {
    const struct sandbox *sandbox;
    struct error *err;
    int rc;
};

static bool is_covered(const struct sandbox *s, const char *real)
{
    struct span rest = buf_span(&s->roots);
    while (rest.len > 0) {
        const char *root = (const char *)rest.base;
        size_t n = strlen(root);
        if (strncmp(real, root, n) == 0 && (real[n] == '/' || real[n] == '\0' || n == 1))
            return true;
        rest = span_skip(rest, n + 1);
    }
    return false;
}

static void check_file(void *ctx, const char *key, const char *path, enum config_file use)
{
    struct outside *o = ctx;
    char *real = realpath(path, NULL);
    if (real == NULL)
        real = directory_of(path); /* it is made there, or its opener misses it */
    if (o->rc == 0 && use <= CONFIG_FILE_APPEND && strcmp(path, "-") != 0 && real != NULL &&
        !is_covered(o->sandbox, real))
        o->rc = err_set(o->err, ERR_CONFIG,
                        "%s: '%.200s' is not where the sandbox of this process ends: files beside "
                        "those of the start can be named; else a restart is needed",
                        key, path);
    free(real);
}

int sandbox_check_files(const struct sandbox *s, const struct config *next, struct error *err)
{
    struct outside o = {s, err, 0};
    if (s->landlock)
        config_visit_files(next, check_file, &o);
    return o.rc;
}

/* ---- start -------------------------------------------------------------- */

bool sandbox_is_low_port(const char *endpoint)
{
    const char *colon = strrchr(endpoint, ':');
    int port = colon == NULL ? 0 : atoi(colon + 1);
    return port > 0 && port < LOW_PORTS;
}

static void note(int rc, const char *what)
{
    if (rc < 0)
        diag(DIAG_WARN, "sandbox_missing",
             "this kernel, or what runs the program, does not have it", "part=%s error=\"%s\"",
             what, strerror(-rc));
}

int sandbox_start(struct sandbox *s, const struct config *cfg)
{
    if (getuid() == 0)
        diag(DIAG_WARN, "running_as_root", "any other user will do, and can do less harm",
             "setting=sandbox value=%s", cfg->sandbox ? "on" : "off");
    if (!cfg->sandbox) {
        note(confine_hide_memory(false), "memory");
        return 0;
    }
    note(confine_gain_nothing(), "no_new_privs");
    note(confine_drop_capabilities(s->has_low_ports), "capabilities");
    if (!IS_SANITIZED)
        ignore_code(confine_no_new_code()); /* Linux 6.3: too young to speak of */
    int rc = restrict_paths(s, cfg);
    s->landlock = rc == 0 ? confine_paths_version() : 0;
    note(rc, "landlock");
    return s->roots.err;
}

void sandbox_close(const struct sandbox *s, const struct config *cfg)
{
    if (!cfg->sandbox)
        return;
    int rc = IS_SANITIZED ? 0 : confine_calls();
    note(rc, "seccomp");
    diag(DIAG_INFO, "sandbox", "what is not needed was given up", "landlock=%d seccomp=%s",
         s->landlock,
         IS_SANITIZED ? "not_with_sanitizers"
         : rc < 0     ? "none"
                      : "on");
}

void sandbox_release(struct sandbox *s)
{
    buf_done(&s->roots);
}
