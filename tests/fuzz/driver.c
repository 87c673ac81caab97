/*
 * driver: a main() for fuzz targets where libFuzzer is not linked in.
 *
 * Runs every file of the directories (and every file) named on the command
 * line once through LLVMFuzzerTestOneInput(), in order of name, so that a
 * corpus is part of the ordinary test run with any compiler. A target finds
 * faults by crashing; the exit status is 0 when all inputs went through, 1
 * when something could not be read or there was nothing to run.
 *
 * An input is handed over in a block of exactly its size, so that a sanitizer
 * sees the first byte read past its end.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_BYTES 4096
#define MAX_INPUT_BYTES (16u << 20) /* a corpus file larger than this is a mistake */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run_file(const char *path, off_t size)
{
    int rc = -1;
    if (size < 0 || size > (off_t)MAX_INPUT_BYTES) {
        fprintf(stderr, "%s: too large for a fuzz input\n", path);
        return -1;
    }
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    if (f == NULL || data == NULL || fread(data, 1, (size_t)size, f) != (size_t)size) {
        fprintf(stderr, "%s: cannot be read\n", path);
    } else {
        LLVMFuzzerTestOneInput(data, (size_t)size);
        rc = 1;
    }
    free(data);
    if (f != NULL)
        fclose(f);
    return rc;
}

/* The number of inputs run, or -1. */
static int run_path(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    if (S_ISREG(st.st_mode))
        return run_file(path, st.st_size);
    if (!S_ISDIR(st.st_mode))
        return 0;

    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    if (n < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    int ran = 0;
    for (int i = 0; i < n; i++) {
        char full[PATH_BYTES];
        int len = snprintf(full, sizeof full, "%s/%s", path, names[i]->d_name);
        int rc = -1;
        if (names[i]->d_name[0] == '.')
            rc = 0;
        else if (len < (int)sizeof full && stat(full, &st) == 0 && S_ISREG(st.st_mode))
            rc = run_file(full, st.st_size);
        free(names[i]);
        if (rc < 0)
            ran = -1;
        else if (ran >= 0)
            ran += rc;
    }
    free(names);
    return ran;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int ran = run_path(argv[i]);
        if (ran < 0)
            return 1;
        total += ran;
    }
    if (total == 0) {
        fprintf(stderr, "usage: %s corpus-directory...   (no input was found)\n", argv[0]);
        return 1;
    }
    printf("%d inputs\n", total);
    return 0;
}
