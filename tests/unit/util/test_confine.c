/* Each test gives something up in a child, which then tries what it must not and what it may. */
#include "unit/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "util/confine.h"
#include "util/span.h"

#define CHILD_MISSES 100 /* exit status: this kernel does not have it */

/* The wait status of a child that ran fn(). */
static int in_child(int (*fn)(void))
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(fn());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* 0 is what the children below end with; what they end with otherwise is the line that failed. */
#define OR_LINE(condition) \
    do { \
        if (!(condition)) \
            return __LINE__ % 99 + 1; \
    } while (0)

static void assert_child(int (*fn)(void))
{
    int status = in_child(fn);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_MISSES)
        skip();
    assert_row(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status 0x%x: line %d modulo 99",
               status, WEXITSTATUS(status) - 1);
}

/* ---- system calls ------------------------------------------------------- */

static int filter(void)
{
    int rc = confine_gain_nothing();
    return rc == 0 ? confine_calls() : rc;
}

static bool is_refused(long rc)
{
    return rc < 0 && errno == EPERM;
}

static int tries_what_is_not_listed(void)
{
    if (filter() == -ENOSYS)
        return CHILD_MISSES;
    OR_LINE(is_refused(socket(AF_PACKET, SOCK_RAW, 0)));
    OR_LINE(is_refused(socket(AF_ALG, SOCK_SEQPACKET, 0)));
    OR_LINE(is_refused(kill(getppid(), 0)));
    OR_LINE(is_refused(syscall(SYS_tgkill, getppid(), getppid(), 0)));
    OR_LINE(is_refused(listen(0, 1)));
    OR_LINE(is_refused(ioctl(0, TIOCSTI, "x")));
    OR_LINE(is_refused(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)));
    OR_LINE(is_refused(chmod("/tmp", 0777)));
    OR_LINE(is_refused(symlink("/tmp/a", "/tmp/b")));
    struct rlimit limit;
    OR_LINE(is_refused(syscall(SYS_prlimit64, getppid(), RLIMIT_NOFILE, NULL, &limit)));
    OR_LINE(syscall(10000) < 0 && errno == ENOSYS); /* a call of later kernels */
    OR_LINE(syscall(SYS_clone3, NULL, 0) < 0 && errno == ENOSYS);
    return 0;
}

static void what_is_not_listed_fails(void **state)
{
    (void)state;
    assert_child(tries_what_is_not_listed);
}

static int forks(void)
{
    if (filter() == -ENOSYS)
        return CHILD_MISSES;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    OR_LINE(pid < 0 && errno == EPERM);
    return 0;
}

static void there_are_no_children(void **state)
{
    (void)state;
    assert_child(forks);
}

static void *ask_time(void *arg)
{
    *(time_t *)arg = time(NULL);
    return NULL;
}

static int does_its_work(void)
{
    if (filter() == -ENOSYS)
        return CHILD_MISSES;
    struct addrinfo *found = NULL;
    const struct addrinfo how = {.ai_socktype = SOCK_STREAM};
    OR_LINE(getaddrinfo("localhost", "80", &how, &found) == 0);
    freeaddrinfo(found);
    pthread_t thread;
    time_t now = 0;
    OR_LINE(pthread_create(&thread, NULL, ask_time, &now) == 0);
    OR_LINE(pthread_join(thread, NULL) == 0 && now > 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    OR_LINE(fd >= 0 && close(fd) == 0);
    void *memory = malloc(64 << 20);
    OR_LINE(memory != NULL);
    free(memory);
    OR_LINE(pthread_kill(pthread_self(), 0) == 0);
    return 0;
}

static void what_the_program_does_works(void **state)
{
    (void)state;
    assert_child(does_its_work);
}

static int runs_a_program(void)
{
    char *const argv[] = {"true", NULL}, *const env[] = {NULL};
    if (filter() == -ENOSYS)
        return CHILD_MISSES;
    execve("/bin/true", argv, env);
    return 1;
}

static int traces(void)
{
    if (filter() == -ENOSYS)
        return CHILD_MISSES;
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    return 1;
}

static int becomes_root(void)
{
    if (filter() == -ENOSYS)
        return CHILD_MISSES;
    ignore_code(setuid(0));
    return 1;
}

static void *run_a_program(void *arg)
{
    char *const argv[] = {"true", NULL}, *const env[] = {NULL};
    while (!__atomic_load_n((bool *)arg, __ATOMIC_ACQUIRE))
        sched_yield();
    execve("/bin/true", argv, env);
    return NULL;
}

/* The filter comes when this thread is there already. */
static int runs_a_program_in_a_thread(void)
{
    pthread_t thread;
    bool is_filtered = false;
    OR_LINE(pthread_create(&thread, NULL, run_a_program, &is_filtered) == 0);
    if (filter() == -ENOSYS)
        return CHILD_MISSES;
    __atomic_store_n(&is_filtered, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    return 1;
}

static void what_only_others_would_do_ends_the_process(void **state)
{
    (void)state;
    int (*const children[])(void) = {runs_a_program, traces, becomes_root,
                                     runs_a_program_in_a_thread};
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        int status = in_child(children[i]);
        if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_MISSES)
            skip();
        assert_row(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "child %zu: 0x%x", i, status);
    }
}

/* ---- paths -------------------------------------------------------------- */

static char folder[] = "/tmp/lipservice-confine-XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static bool can_open(const char *path, int flags)
{
    int fd = open(path, flags, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static int opens_files(void)
{
    if (confine_paths_version() < 3) /* before it, files can be truncated anywhere */
        return CHILD_MISSES;
    int set = confine_paths_new();
    OR_LINE(set >= 0);
    OR_LINE(confine_paths_allow(set, in_folder("read"), CONFINE_READ) == 0);
    OR_LINE(confine_paths_allow(set, in_folder("write"), CONFINE_WRITE) == 0);
    OR_LINE(confine_paths_allow(set, in_folder("spool"), CONFINE_REPLACE) == 0);
    OR_LINE(confine_paths_allow(set, in_folder("file"), CONFINE_READ) == 0);
    OR_LINE(confine_paths_allow(set, in_folder("absent"), CONFINE_READ) == -ENOENT);
    OR_LINE(confine_gain_nothing() == 0);
    OR_LINE(confine_paths_enforce(set) == 0);

    OR_LINE(can_open(in_folder("read/a"), O_RDONLY) && can_open(in_folder("file"), O_RDONLY));
    OR_LINE(!can_open(in_folder("read/a"), O_RDWR) && errno == EACCES);
    OR_LINE(!can_open(in_folder("read/new"), O_WRONLY | O_CREAT) && errno == EACCES);
    OR_LINE(can_open(in_folder("write/new"), O_WRONLY | O_CREAT | O_APPEND));
    OR_LINE(!can_open(in_folder("write/new"), O_RDONLY) && errno == EACCES);
    OR_LINE(unlink(in_folder("write/new")) < 0 && errno == EACCES);
    OR_LINE(can_open(in_folder("spool/1"), O_RDWR | O_CREAT | O_EXCL));
    OR_LINE(unlink(in_folder("spool/1")) == 0);
    OR_LINE(!can_open(in_folder("other"), O_RDONLY) && errno == EACCES);
    OR_LINE(!can_open("/etc/shadow", O_RDONLY) && !can_open("/etc/passwd", O_RDONLY));
    OR_LINE(kill(getppid(), 0) < 0 || confine_paths_version() < 6);
    char *const argv[] = {"true", NULL}, *const env[] = {NULL};
    OR_LINE(execve("/bin/true", argv, env) < 0 && errno == EACCES);
    return 0;
}

static void files_elsewhere_stay_closed(void **state)
{
    (void)state;
    const char *const directories[] = {"read", "write", "spool"};
    const char *const files[] = {"read/a", "file", "other"};
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < ARRAY_LEN(directories); i++)
        assert_int_equal(mkdir(in_folder(directories[i]), 0700), 0);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        assert_true(can_open(in_folder(files[i]), O_WRONLY | O_CREAT));
    int status = in_child(opens_files);
    unlink(in_folder("write/new"));
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        unlink(in_folder(files[i]));
    for (size_t i = 0; i < ARRAY_LEN(directories); i++)
        rmdir(in_folder(directories[i]));
    rmdir(folder);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_MISSES)
        skip();
    assert_row(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status 0x%x: line %d modulo 99",
               status, WEXITSTATUS(status) - 1);
}

/* ---- privileges --------------------------------------------------------- */

static uint64_t capabilities(void)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct now[2] = {{0}};
    if (syscall(SYS_capget, &head, now) < 0)
        return UINT64_MAX;
    return now[0].effective | now[0].permitted | now[0].inheritable |
           (uint64_t)(now[1].effective | now[1].permitted | now[1].inheritable) << 32;
}

static int drops_all(void)
{
    OR_LINE(confine_gain_nothing() == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    OR_LINE(confine_hide_memory(true) == 0 && prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
    bool was_root = capabilities() & (1u << CAP_SETPCAP);
    OR_LINE(confine_drop_capabilities(false) == 0 && capabilities() == 0);
    OR_LINE(!was_root || prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) == 0);
    return 0;
}

static int keeps_low_ports(void)
{
    uint64_t had = capabilities() & (1u << CAP_NET_BIND_SERVICE);
    OR_LINE(confine_drop_capabilities(true) == 0 && capabilities() == had);
    return 0;
}

static void capabilities_go(void **state)
{
    (void)state;
    assert_child(drops_all);
    assert_child(keeps_low_ports);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_listed_fails),
        cmocka_unit_test(there_are_no_children),
        cmocka_unit_test(what_the_program_does_works),
        cmocka_unit_test(what_only_others_would_do_ends_the_process),
        cmocka_unit_test(files_elsewhere_stay_closed),
        cmocka_unit_test(capabilities_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
