/* main: three open descriptors, then cli. */
#include <fcntl.h>
#include <unistd.h>

#include "cli/cli.h"

/* A descriptor that the caller had closed would be given to the next socket or file,
 * which would then be read as standard input or be written our log. Standard output cannot be
 * written then, so that nothing which was lost there counts as delivered. */
static int open_standard(void)
{
    static const int flags[] = {O_RDONLY, O_RDONLY, O_WRONLY};
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", flags[fd]) != fd) /* the lowest that is free */
            return -1;
    return 0;
}

int main(int argc, char **argv)
{
    return open_standard() < 0 ? 69 : cli_main(argc, argv);
}
