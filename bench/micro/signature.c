/*
 * signature: nanoseconds a line of signer_sign_text().
 *
 *     signature FILE [rounds, default 15 [lines]]
 *
 * FILE holds one record a line. The lines are shuffled with a fixed seed (sorted
 * input flatters the branch predictor) and signed in whole rounds; the best and
 * the median round are printed. Hostile lines of 8 KiB follow, unless "lines" alone are
 * asked for: twice under callgrind, with 1 round and with 2, the difference of the
 * instructions is that of a round:
 *
 *   for r in 1 2; do valgrind --tool=callgrind --toggle-collect=signer_sign_text \
 *       --callgrind-out-file=/dev/null build/bench/micro_signature FILE $r lines; done
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "pattern/signature.h"

#define MAX_ROUNDS 1000
#define HOSTILE_REPEATS 2000

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct span *read_lines(const char *path, size_t *count, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    struct span *lines = NULL;
    size_t n = 0, cap = 0, line_cap = 0;
    char *line = NULL;
    ssize_t got;
    if (f == NULL)
        return NULL;
    while ((got = getline(&line, &line_cap, f)) > 0) {
        size_t len = (size_t)got - (line[got - 1] == '\n');
        if (n == cap) {
            cap = cap == 0 ? 1024 : 2 * cap;
            lines = realloc(lines, cap * sizeof *lines);
        }
        void *copy = malloc(len + 1);
        if (lines == NULL || copy == NULL)
            abort();
        memcpy(copy, line, len);
        lines[n++] = span_of(copy, len);
        *bytes += len;
    }
    free(line);
    fclose(f);
    *count = n;
    return lines;
}

static void shuffle(struct span *lines, size_t n)
{
    uint64_t x = 88172645463325252u; /* xorshift64: the order must never change */
    for (size_t i = n; i > 1; i--) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        size_t j = x % i;
        struct span t = lines[i - 1];
        lines[i - 1] = lines[j];
        lines[j] = t;
    }
}

static void hostile(struct signer *s)
{
    static const char *const pieces[] = {
        ":",          "a:",   "\"",    "\"'",  "'a\":",    "\"a\":\"b", "k=\"",      "k = \"b\" ",
        "()",         "a",    "a ",    ",",    "1,",       "jan,",      "for user ", "..a",
        "a.b/c?d=e ", "a.",   "\x1b[", "< 1",  "\xc3\xa9", "{}[]",      "[",         "1 (2) ",
        "@a@",        "a+0x", "/a/b ", "---.", "id:x ",    "deadbeef:"};
    static uint8_t line[8192];
    double worst = 0;
    const char *which = "";
    uint64_t sum = 0;
    for (size_t p = 0; p < ARRAY_LEN(pieces); p++) {
        size_t len = strlen(pieces[p]);
        for (size_t i = 0; i < sizeof line; i++)
            line[i] = (uint8_t)pieces[p][i % len];
        uint64_t start = now_ns();
        for (int i = 0; i < HOSTILE_REPEATS; i++)
            sum += signer_sign_text(s, span_of(line, sizeof line));
        double us = (double)(now_ns() - start) / HOSTILE_REPEATS / 1000;
        printf("  8 KiB of '%s': %.2f us\n", pieces[p][0] == 0x1b ? "ESC [" : pieces[p], us);
        if (us > worst) {
            worst = us;
            which = pieces[p];
        }
    }
    printf("worst 8 KiB line: %.2f us ('%s')  (%016llx)\n", worst, which, (unsigned long long)sum);
}

int main(int argc, char **argv)
{
    static double ns[MAX_ROUNDS];
    size_t n = 0, bytes = 0;
    int rounds = argc > 2 ? atoi(argv[2]) : 15;
    struct span *lines = argc > 1 ? read_lines(argv[1], &n, &bytes) : NULL;
    struct signer *s = NULL;
    uint64_t sum = 0;

    if (n == 0 || rounds < 1 || rounds > MAX_ROUNDS || signer_new(&s) < 0) {
        fprintf(stderr, "usage: %s FILE [rounds [lines]]\n", argv[0]);
        return 1;
    }
    shuffle(lines, n);
    for (int r = 0; r < rounds; r++) {
        uint64_t start = now_ns();
        for (size_t i = 0; i < n; i++)
            sum += signer_sign_text(s, lines[i]);
        ns[r] = (double)(now_ns() - start) / (double)n;
    }
    qsort(ns, (size_t)rounds, sizeof *ns, by_value);
    printf("%zu lines of %.0f bytes: best %.0f ns, median %.0f ns a line  (%016llx)\n", n,
           (double)bytes / (double)n, ns[0], ns[rounds / 2], (unsigned long long)sum);
    if (argc < 4)
        hostile(s);
    signer_free(s);
    for (size_t i = 0; i < n; i++)
        free((void *)lines[i].base);
    free(lines);
    return 0;
}
