/*
 * The spool on a real directory: kill -9 at random, a kill at every system call (strace),
 * a disk that is really full, a second process, links.
 *
 * The same program is the writer that is killed: test_export_spool_real --writer DIR FRAMES
 * appends and syncs, and writes the id of each stored frame to standard output.
 */
#include "unit/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "export/spool.h"

#define KILLS 20
#define FRAME_BYTES 3000
#define STRACE_FRAMES 12
#define IDS (1u << 20)

static const struct spool_opts *options(void)
{
    static struct spool_opts opts = {.segment_bytes = 16384};
    opts.clock = clock_real();
    return &opts;
}

/* As the journal does it. */
static int open_dir(struct spool **out, const char *dir, const struct spool_opts *opts,
                    struct error *err)
{
    struct disk disk;
    struct error why = {{0}};
    int rc = disk_open(&disk, dir, true);
    if (rc < 0)
        return err_set(err, ERR_IO, "spool directory %s: %s", dir, strerror(-rc));
    rc = spool_open(out, &disk, opts, &why);
    if (rc < 0)
        err_set(err, rc, "spool directory %.200s: %.200s", dir,
                why.text[0] != '\0' ? why.text : err_text(rc));
    return rc;
}

static int append(struct spool *s, uint64_t *id)
{
    struct spool_stats st;
    uint8_t bytes[FRAME_BYTES];
    spool_stats(s, &st);
    memset(bytes, (int)(st.next_id % 251), sizeof bytes);
    const struct span payload = span_of(bytes, sizeof bytes);
    return spool_append(s, &payload, 1, 1, 1, id);
}

/* Two frames a sync, read and settle some, checkpoint now and then: "s 17" is said when 17 is
 * stored, "d 17" before it is settled. */
static int writer(const char *dir, unsigned long frames)
{
    struct spool *s;
    struct error err = {{0}};
    struct buf payload = {0};
    if (open_dir(&s, dir, options(), &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    for (unsigned long i = 0; i < frames; i++) {
        uint64_t ids[2];
        struct spool_frame f;
        if (append(s, &ids[0]) < 0 || append(s, &ids[1]) < 0 || spool_sync(s) < 0)
            return 3;
        dprintf(STDOUT_FILENO, "s %llu\ns %llu\n", (unsigned long long)ids[0],
                (unsigned long long)ids[1]);
        if (spool_next(s, &f, &payload) == 0) {
            dprintf(STDOUT_FILENO, "d %llu\n", (unsigned long long)f.id);
            spool_settle(s, f.id);
        }
        if (i % 5 == 4)
            ignore_code(spool_checkpoint(s));
    }
    buf_done(&payload);
    spool_close(s);
    return 0;
}

/* ---- what was promised, and what is there ------------------------------- */

struct promises {
    uint8_t stored[IDS], delivered[IDS];
};

static void note(struct promises *p, const char *line)
{
    char what;
    unsigned long long id;
    if (sscanf(line, "%c %llu", &what, &id) == 2 && id < IDS)
        (what == 's' ? p->stored : p->delivered)[id] = 1;
}

/* Read everything: all that was stored and not delivered, with its bytes. */
static void check(const char *dir, const struct promises *p)
{
    struct spool *s;
    struct spool_frame f;
    struct error err = {{0}};
    struct buf payload = {0};
    static uint8_t seen[IDS];
    uint64_t last = 0;
    int rc = open_dir(&s, dir, options(), &err);
    assert_row(rc == 0, "%s", err.text);
    memset(seen, 0, sizeof seen);
    while ((rc = spool_next(s, &f, &payload)) == 0) {
        assert_true(f.id > last && f.id < IDS);
        assert_int_equal(payload.len, FRAME_BYTES);
        for (size_t i = 0; i < payload.len; i++)
            assert_int_equal(payload.base[i], f.id % 251);
        seen[last = f.id] = 1;
        spool_settle(s, f.id);
    }
    assert_int_equal(rc, ERR_EMPTY);
    for (size_t i = 0; i < IDS; i++)
        assert_row(!p->stored[i] || p->delivered[i] || seen[i],
                   "frame %zu was promised and is gone", i);
    spool_close(s);
    buf_done(&payload);
}

static void make_dir(char dir[64])
{
    snprintf(dir, 64, "/tmp/lipservice_spool_XXXXXX");
    assert_non_null(mkdtemp(dir));
}

static void remove_dir(const char *dir)
{
    char path[512];
    DIR *d = opendir(dir);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        unlink(path);
    }
    if (d != NULL)
        closedir(d);
    rmdir(dir);
}

/* Run argv, note what it says; kill it after that many lines (0: let it end). Its status. */
static int run(char *const argv[], struct promises *p, unsigned kill_after)
{
    int out[2], status = 0;
    unsigned lines = 0;
    char line[128];
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
        setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* it cannot be where strace is */
        execvp(argv[0], argv);
        _exit(127);
    }
    close(out[1]);
    FILE *in = fdopen(out[0], "r");
    while (fgets(line, sizeof line, in) != NULL) {
        if (strchr(line, '\n') == NULL)
            break; /* torn by the kill */
        note(p, line);
        if (++lines == kill_after)
            kill(pid, SIGKILL);
    }
    fclose(in);
    waitpid(pid, &status, 0);
    return status;
}

static char self[4096];

static void killed_at_random(void **state)
{
    (void)state;
    struct promises *p = calloc(1, sizeof *p);
    char dir[64];
    make_dir(dir);
    srand(1);
    for (int i = 0; i < KILLS; i++) {
        char *argv[] = {self, "--writer", dir, "100000", NULL};
        int status = run(argv, p, 1 + (unsigned)rand() % 300);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        if (i % 5 == 4) { /* between, the writer itself goes on from what it finds */
            check(dir, p);
            memset(p, 0, sizeof *p); /* all of it is settled now */
        }
    }
    remove_dir(dir);
    free(p);
}

/* ---- a kill at every system call ---------------------------------------- */

static bool strace_works(void)
{
    return system("strace -f -o /dev/null -e trace=none true >/dev/null 2>&1") == 0;
}

static void killed_at_every_call(void **state)
{
    (void)state;
    static const char *const calls[] = {
        "pwritev",   "pwrite64", "fdatasync",          "fsync",   "openat", "fallocate",
        "ftruncate", "unlinkat", "renameat,renameat2", "pread64", "mkdir",  "flock"};
    if (!strace_works()) {
        print_message("skipped: strace is not installed, or ptrace is not permitted\n");
        skip();
    }
    unsigned runs = 0, kills = 0;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        for (unsigned n = 1;; n++) {
            struct promises *p = calloc(1, sizeof *p);
            char dir[64], base[64], trace[128], inject[128], frames[16];
            make_dir(base);
            snprintf(dir, sizeof dir, "%.50s/d", base);
            snprintf(trace, sizeof trace, "trace=%s", calls[i]);
            snprintf(inject, sizeof inject, "inject=%s:signal=KILL:when=%u", calls[i], n);
            snprintf(frames, sizeof frames, "%d", STRACE_FRAMES);
            char *argv[] = {"strace", "-f", "-o",       "/dev/null", "-e",   trace, "-e",
                            inject,   self, "--writer", dir,         frames, NULL};
            int status = run(argv, p, 0);
            bool killed = WIFSIGNALED(status) || WEXITSTATUS(status) == 128 + SIGKILL;
            assert_row(killed || WEXITSTATUS(status) == 0, "%s %u: status %d", calls[i], n, status);
            check(dir, p);
            remove_dir(dir);
            remove_dir(base);
            free(p);
            runs++;
            kills += killed;
            if (!killed)
                break;
        }
    }
    print_message("%u kills in %u runs\n", kills, runs);
    assert_true(kills > 40);
}

/* ---- a full disk -------------------------------------------------------- */

static uint64_t now_ms(void)
{
    return clock_now_ms(clock_real());
}

static void a_full_disk_is_survived(void **state)
{
    (void)state;
    struct promises *p = calloc(1, sizeof *p);
    struct spool *s;
    struct error err = {{0}};
    struct spool_stats st;
    char dir[64], ballast[128];
    uint64_t id, ids[64];
    size_t pending = 0;
    int rc = 0;
    make_dir(dir);
    if (mount("tmpfs", dir, "tmpfs", 0, "size=64m") < 0) {
        print_message("skipped: no tmpfs may be mounted: %s\n", strerror(errno));
        rmdir(dir);
        free(p);
        skip();
    }
    snprintf(ballast, sizeof ballast, "%s/ballast", dir);
    int fd = open(ballast, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(posix_fallocate(fd, 0, 40 << 20), 0);
    close(fd);
    struct spool_opts opts = {.segment_bytes = 1 << 20, .clock = clock_real()};
    assert_int_equal(open_dir(&s, dir, &opts, &err), 0);
    while (rc == 0) {
        rc = append(s, &id);
        if (rc == 0)
            ids[pending++] = id;
        if (rc == 0 && pending == ARRAY_LEN(ids))
            rc = spool_sync(s);
        if (rc == 0 && pending == ARRAY_LEN(ids))
            while (pending > 0)
                p->stored[ids[--pending]] = 1;
    }
    assert_int_equal(rc, ERR_DISK_FULL);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(append(s, &id), ERR_DISK_FULL);
    spool_stats(s, &st);
    assert_int_equal(st.broken, ERR_DISK_FULL);
    for (size_t i = 0; i < pending; i++)
        p->stored[ids[i]] = ids[i] < spool_stored(s);
    unlink(ballast);
    uint64_t began = now_ms();
    assert_int_equal(append(s, &id), 0); /* at once */
    assert_int_equal(spool_sync(s), 0);
    assert_true(now_ms() - began < 1000);
    p->stored[id] = 1;
    spool_stats(s, &st);
    assert_int_equal(st.broken, 0);
    spool_close(s);

    opts.segment_bytes = 16384;
    check(dir, p);
    assert_int_equal(umount(dir), 0);
    rmdir(dir);
    free(p);
}

/* A file that may not grow is a disk without room, on a file system that cannot reserve. */
static void a_file_limit_is_a_full_disk(void **state)
{
    (void)state;
    struct spool *s;
    struct error err = {{0}};
    struct rlimit was, less;
    char dir[64];
    uint64_t id;
    make_dir(dir);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &was);
    less = was;
    less.rlim_cur = 10000;
    assert_int_equal(open_dir(&s, dir, options(), &err), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
    assert_int_equal(append(s, &id), ERR_DISK_FULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_int_equal(append(s, &id), 0);
    assert_int_equal(spool_sync(s), 0);
    spool_close(s);
    remove_dir(dir);
}

/* ---- removed under it --------------------------------------------------- */

enum removal { WHOLE_DIRECTORY, SEGMENTS, MOVED, REPLACED };

static void take_away(enum removal how, const char *dir, const char *elsewhere)
{
    char path[512];
    DIR *d;
    if (how == MOVED || how == REPLACED)
        assert_int_equal(rename(dir, elsewhere), 0);
    if (how == REPLACED)
        assert_int_equal(mkdir(dir, 0700), 0);
    if (how == WHOLE_DIRECTORY)
        remove_dir(dir);
    for (d = how == SEGMENTS ? opendir(dir) : NULL; d != NULL;) {
        const struct dirent *e = readdir(d);
        if (e == NULL) {
            closedir(d);
            break;
        }
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (strstr(e->d_name, ".seg") != NULL)
            unlink(path);
    }
}

/* Whoever removes the files gets no success for what would be stored in them; what is still open
 * is read, and what is stored from then on is found by the next process. */
static void what_is_removed_is_noticed(void **state)
{
    (void)state;
    for (int how = WHOLE_DIRECTORY; how <= REPLACED; how++)
        for (int reads = 0; reads < 2; reads++) {
            struct spool *s;
            struct spool_frame f;
            struct spool_stats st;
            struct error err = {{0}};
            struct buf payload = {0};
            struct promises *p = calloc(1, sizeof *p);
            char dir[64], elsewhere[80];
            uint64_t id, read = 0;
            int rc;
            make_dir(dir);
            snprintf(elsewhere, sizeof elsewhere, "%s.moved", dir);
            assert_int_equal(open_dir(&s, dir, options(), &err), 0);
            for (int i = 0; i < 12; i++) /* three segments, of four frames or five */
                assert_int_equal(append(s, &id), 0);
            assert_int_equal(spool_sync(s), 0);
            for (int i = 0; i < 2 && reads; i++, read++)
                assert_int_equal(spool_next(s, &f, &payload), 0);
            take_away((enum removal)how, dir, elsewhere);
            assert_int_equal(append(s, &id), 0);
            assert_int_equal(spool_sync(s), ERR_IO); /* not stored: nobody would find it */
            spool_stats(s, &st);
            assert_int_equal(st.broken, ERR_IO);
            assert_int_equal(st.broken_by, -ENOENT);
            assert_int_equal(append(s, &id), 0); /* it begins anew */
            assert_int_equal(spool_sync(s), 0);
            p->stored[id] = 1;
            for (; (rc = spool_next(s, &f, &payload)) == 0; read++)
                p->delivered[f.id] = f.id == id;
            assert_int_equal(rc, ERR_EMPTY);
            spool_stats(s, &st);
            uint64_t lost = st.lost_frames[SPOOL_LOST_DAMAGED];
            assert_int_equal(read + lost, 13);
            assert_true(how == MOVED || how == REPLACED ? lost == 0 : lost < 12);
            assert_true(p->delivered[id]);
            p->delivered[id] = 0; /* but not settled: the next process reads it */
            /* What is in hand and will not be found is counted apart. */
            assert_int_equal(st.nameless_records, how == SEGMENTS ? st.nameless_records : read - 1);
            spool_close(s);
            buf_done(&payload);
            check(dir, p);
            remove_dir(dir);
            remove_dir(elsewhere);
            free(p);
        }
}

/* ---- who else is there -------------------------------------------------- */

static void a_second_process_is_told(void **state)
{
    (void)state;
    struct spool *s, *other;
    struct error err = {{0}};
    char dir[64];
    make_dir(dir);
    assert_int_equal(open_dir(&s, dir, options(), &err), 0);
    assert_int_equal(open_dir(&other, dir, options(), &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, dir));
    assert_non_null(strstr(err.text, "another process"));
    spool_close(s);
    assert_int_equal(open_dir(&s, dir, options(), &err), 0);
    spool_close(s);
    assert_int_equal(open_dir(&s, "/proc/nothing/here", options(), &err), ERR_IO);
    remove_dir(dir);
}

static void links_and_pipes_are_left_alone(void **state)
{
    (void)state;
    struct spool *s;
    struct error err = {{0}};
    struct stat st;
    struct spool_stats stats;
    char dir[64], path[128], outside[64];
    uint64_t id;
    make_dir(dir);
    snprintf(outside, sizeof outside, "/tmp/lipservice_outside_XXXXXX");
    int fd = mkstemp(outside);
    assert_int_equal(write(fd, "precious", 8), 8);
    snprintf(path, sizeof path, "%s/0000000000000003.seg", dir);
    assert_int_equal(symlink(outside, path), 0);
    snprintf(path, sizeof path, "%s/position", dir);
    assert_int_equal(symlink(outside, path), 0);
    snprintf(path, sizeof path, "%s/0000000000000001.seg", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(path, sizeof path, "%s/0000000000000002.seg", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(open_dir(&s, dir, options(), &err), 0);
    spool_stats(s, &stats);
    assert_int_equal(stats.damaged_segments, 3);
    assert_int_equal(append(s, &id), 0);
    assert_int_equal(spool_sync(s), 0);
    spool_close(s);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 8);
    close(fd);
    assert_int_equal(lstat(path, &st), 0); /* all of them are still there */
    rmdir(path);
    unlink(outside);
    remove_dir(dir);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--writer") == 0)
        return writer(argv[2], strtoul(argv[3], NULL, 10));
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_at_random),
        cmocka_unit_test(killed_at_every_call),
        cmocka_unit_test(a_full_disk_is_survived),
        cmocka_unit_test(a_file_limit_is_a_full_disk),
        cmocka_unit_test(what_is_removed_is_noticed),
        cmocka_unit_test(a_second_process_is_told),
        cmocka_unit_test(links_and_pipes_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
