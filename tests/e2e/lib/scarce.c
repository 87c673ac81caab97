/*
 * scarce: preloaded into the program, makes one allocation fail.
 *
 * SCARCE_FILE is four numbers of 64 bits, mapped: allocations so far, the number of the one that
 * fails (0: none), how many after it fail too, and how many have failed. The test reads and writes
 * them in the file.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *at, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static struct {
    _Atomic uint64_t count, fails_at, more, failed;
} * shared;

static int fails(void)
{
    if (shared == NULL)
        return 0;
    uint64_t n = ++shared->count, at = shared->fails_at;
    if (at == 0 || n < at || n > at + shared->more)
        return 0;
    shared->failed++;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *at, size_t size)
{
    return fails() ? NULL : __libc_realloc(at, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    void *at = fails() ? NULL : __libc_memalign(alignment, size);
    if (at == NULL)
        return ENOMEM;
    *out = at;
    return 0;
}

__attribute__((constructor)) static void scarce_begin(void)
{
    const char *path = getenv("SCARCE_FILE");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *at =
        fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (at != MAP_FAILED)
        shared = at;
}
