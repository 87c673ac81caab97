/*
 * hang: preloaded into the program, makes one system call wait while a file exists, as on a
 * disk or a name server that does not answer.
 *
 *     HANG_CALL   which one: a name of the list below
 *     HANG_WHILE  the file; HANG_WHILE.seen is made when the first call waits
 *     HANG_PATH   of write(): only to this file
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static void hang(const char *call)
{
    const char *which = getenv("HANG_CALL"), *file = getenv("HANG_WHILE");
    char seen[512];
    if (which == NULL || file == NULL || strcmp(which, call) != 0 || access(file, F_OK) != 0)
        return;
    snprintf(seen, sizeof seen, "%s.seen", file);
    close(open(seen, O_WRONLY | O_CREAT, 0600));
    while (access(file, F_OK) == 0)
        nanosleep(&(struct timespec){0, 10000000}, NULL);
}

#define HANGS(type, name, parameters, arguments) \
    type name parameters \
    { \
        type(*real) parameters = (type(*) parameters)dlsym(RTLD_NEXT, #name); \
        hang(#name); \
        return real arguments; \
    }

HANGS(int, epoll_create1, (int flags), (flags))
HANGS(int, fdatasync, (int fd), (fd))
HANGS(int, flock, (int fd, int how), (fd, how))
HANGS(int, getaddrinfo,
      (const char *name, const char *port, const struct addrinfo *how, struct addrinfo **out),
      (name, port, how, out))

ssize_t write(int fd, const void *bytes, size_t n)
{
    static ssize_t (*real)(int, const void *, size_t);
    const char *path = getenv("HANG_PATH");
    char link[64], target[512] = "";
    if (real == NULL)
        real = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (path != NULL && readlink(link, target, sizeof target - 1) > 0 && strcmp(target, path) == 0)
        hang("write");
    return real(fd, bytes, n);
}
