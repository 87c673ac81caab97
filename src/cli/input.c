/* input: a map, or one read to the end. */
#include "cli/input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/err.h"

static int read_pipe(int fd, struct buf *out)
{
    ssize_t n;
    do {
        int rc = buf_reserve(out, 65536);
        if (rc < 0)
            return rc;
        n = read(fd, out->base + out->len, out->cap - out->len);
        if (n > 0)
            out->len += (size_t)n;
    } while (n > 0);
    return n < 0 ? ERR_IO : 0;
}

int input_open(struct input *in, const char *path, struct error *err)
{
    struct stat st;
    *in = (struct input){0};
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 || fstat(fd, &st) < 0 ? ERR_IO : 0;
    if (rc == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        in->map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (in->map == MAP_FAILED) {
            in->map = NULL;
            rc = ERR_IO;
        } else {
            in->text = span_of(in->map, (size_t)st.st_size);
        }
    } else if (rc == 0) {
        rc = read_pipe(fd, &in->read);
        in->text = buf_span(&in->read);
    }
    if (rc < 0) {
        rc = err_set(err, ERR_IO, "cannot read '%.200s': %s", path, strerror(errno));
        input_close(in);
    }
    if (fd >= 0)
        close(fd);
    return rc;
}

void input_close(struct input *in)
{
    if (in->map != NULL)
        munmap(in->map, in->text.len);
    buf_done(&in->read);
    *in = (struct input){0};
}
