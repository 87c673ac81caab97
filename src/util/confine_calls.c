/*
 * confine_calls: the seccomp filter, made of three tables. src/sidecar/README.md says how the
 * first one was found.
 *
 * The kernel keeps a bitmap of the calls that are allowed whatever their arguments, so that the
 * length of the list costs nothing (Linux 5.11 and later).
 */
#include "util/confine.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/span.h"

#if defined(__x86_64__) && !defined(__ILP32__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCH AUDIT_ARCH_AARCH64
#endif

#ifndef ARCH
int confine_calls(void)
{
    return -ENOSYS; /* the numbers of this processor's calls are not known here */
}
#else

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

#define NEWEST_KNOWN 450      /* set_mempolicy_home_node, Linux 5.17: the headers of Debian 12 */
#define OTHER_ABI 0x40000000u /* x32, which numbers calls anew */

/* Calls that not every processor or header has. */
#define CALL(name) __NR_##name

static const uint16_t allowed[] = {
    /* files that are open, and memory */
    CALL(read),
    CALL(write),
    CALL(readv),
    CALL(writev),
    CALL(pread64),
    CALL(pwrite64),
    CALL(preadv),
    CALL(pwritev),
    CALL(lseek),
    CALL(close),
    CALL(close_range),
    CALL(fstat),
    CALL(fcntl),
    CALL(dup),
    CALL(dup3),
    CALL(fsync),
    CALL(fdatasync),
    CALL(ftruncate),
    CALL(fallocate),
    CALL(flock),
    CALL(fstatfs),
    CALL(statfs),
    CALL(fadvise64),
    CALL(sendfile),
    CALL(mmap),
    CALL(munmap),
    CALL(mremap),
    CALL(mprotect),
    CALL(madvise),
    CALL(brk),
    CALL(mincore),
    /* by name: Landlock decides */
    CALL(openat),
    CALL(newfstatat),
    CALL(statx),
    CALL(faccessat),
    CALL(faccessat2),
    CALL(readlinkat),
    CALL(getdents64),
    CALL(mkdirat),
    CALL(unlinkat),
    CALL(renameat),
    CALL(renameat2),
    CALL(getcwd),
    CALL(inotify_init1),
    CALL(inotify_add_watch),
    CALL(inotify_rm_watch),
    /* sockets; no more of them listen */
    CALL(accept),
    CALL(accept4),
    CALL(bind),
    CALL(connect),
    CALL(getsockname),
    CALL(getpeername),
    CALL(getsockopt),
    CALL(setsockopt),
    CALL(shutdown),
    CALL(socketpair),
    CALL(sendto),
    CALL(recvfrom),
    CALL(sendmsg),
    CALL(recvmsg),
    CALL(sendmmsg),
    CALL(recvmmsg),
    CALL(pipe2),
    CALL(eventfd2),
    /* waiting */
    CALL(epoll_create1),
    CALL(epoll_ctl),
    CALL(epoll_pwait),
    CALL(ppoll),
    CALL(pselect6),
    CALL(nanosleep),
    CALL(clock_nanosleep),
    CALL(futex),
    CALL(restart_syscall),
    /* threads and signals of this process; tgkill stands below */
    CALL(set_robust_list),
    CALL(get_robust_list),
    CALL(rseq),
    CALL(set_tid_address),
    CALL(exit),
    CALL(exit_group),
    CALL(sched_yield),
    CALL(sched_getaffinity),
    CALL(membarrier),
    CALL(rt_sigaction),
    CALL(rt_sigprocmask),
    CALL(rt_sigtimedwait),
    CALL(rt_sigreturn),
    CALL(sigaltstack),
    CALL(setitimer),
#ifndef __GLIBC__
    CALL(tkill), /* how musl raises a signal; Landlock keeps it within the process */
#endif
    /* questions */
    CALL(getpid),
    CALL(gettid),
    CALL(getppid),
    CALL(getuid),
    CALL(geteuid),
    CALL(getgid),
    CALL(getegid),
    CALL(uname),
    CALL(sysinfo),
    CALL(getrandom),
    CALL(getrusage),
    CALL(getcpu),
    CALL(clock_gettime),
    CALL(clock_getres),
    CALL(gettimeofday),
    CALL(times),
    CALL(getrlimit),
#ifdef __NR_open /* the names of older processors for the same */
    CALL(open),
    CALL(stat),
    CALL(lstat),
    CALL(access),
    CALL(readlink),
    CALL(getdents),
    CALL(mkdir),
    CALL(unlink),
    CALL(rename),
    CALL(dup2),
    CALL(pipe),
    CALL(eventfd),
    CALL(poll),
    CALL(select),
    CALL(epoll_create),
    CALL(epoll_wait),
    CALL(inotify_init),
    CALL(alarm),
    CALL(time),
    CALL(arch_prctl),
#endif
#ifdef __NR_epoll_pwait2
    CALL(epoll_pwait2),
#endif
};

/* Nothing that was compiled into this program makes these. */
static const uint16_t fatal[] = {
    CALL(execve),
    CALL(execveat),
    CALL(ptrace),
    CALL(process_vm_readv),
    CALL(process_vm_writev),
    CALL(init_module),
    CALL(finit_module),
    CALL(delete_module),
    CALL(kexec_load),
    CALL(bpf),
    CALL(mount),
    CALL(umount2),
    CALL(pivot_root),
    CALL(chroot),
    CALL(setns),
    CALL(unshare),
    CALL(reboot),
    CALL(swapon),
    CALL(perf_event_open),
    CALL(userfaultfd),
    CALL(keyctl),
    CALL(add_key),
    CALL(request_key),
    CALL(setuid),
    CALL(setgid),
    CALL(setresuid),
    CALL(setresgid),
    CALL(setreuid),
    CALL(setregid),
    CALL(capset),
    CALL(io_uring_setup),
};

#define VALUES_MAX 6

/* Allowed where an argument is one of the values; with has_bits where it has all bits of the
 * first. The lower 32 bits of the argument are what the kernel takes it for. */
struct argument {
    uint16_t call;
    uint8_t place, count;
    bool has_bits;
    uint32_t values[VALUES_MAX];
};

static const struct argument arguments[] = {
    {CALL(clone), 0, 1, true, {CLONE_THREAD}}, /* threads, no processes */
    {CALL(socket),
     0,
     4,
     false,
     {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}}, /* the last two resolve names */
    {CALL(ioctl), 1, 5, false, {FIONBIO, FIOCLEX, FIONREAD, TCGETS, TIOCGWINSZ}},
    {CALL(prctl), 0, 3, false, {PR_SET_NAME, PR_GET_NAME, PR_SET_VMA}},
    {CALL(prlimit64), 0, 1, false, {0}}, /* its own */
};

/* ---- the program -------------------------------------------------------- */

#define SPACE 600 /* instructions; the tables need about half */

struct program {
    struct sock_filter code[SPACE];
    uint16_t len;
};

static void add(struct program *p, struct sock_filter instruction)
{
    if (p->len < SPACE)
        p->code[p->len] = instruction;
    p->len++; /* beyond SPACE: refused at the end */
}

static void load(struct program *p, size_t offset)
{
    add(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void give(struct program *p, uint32_t action)
{
    add(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

static void give_if(struct program *p, unsigned compare, uint32_t value, uint32_t action)
{
    add(p, (struct sock_filter)BPF_JUMP((uint16_t)(BPF_JMP | compare | BPF_K), value, 0, 1));
    give(p, action);
}

static void give_if_argument(struct program *p, const struct argument *a)
{
    uint8_t skipped = (uint8_t)(2 * a->count + 2);
    add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, a->call, 0, skipped));
    load(p, offsetof(struct seccomp_data, args) + a->place * sizeof(uint64_t));
    for (uint8_t i = 0; i < a->count; i++)
        give_if(p, a->has_bits ? BPF_JSET : BPF_JEQ, a->values[i], SECCOMP_RET_ALLOW);
    give(p, SECCOMP_RET_ERRNO | EPERM);
}

static void write_program(struct program *p)
{
    const struct argument own_threads = {CALL(tgkill), 0, 1, false, {(uint32_t)getpid()}};
    load(p, offsetof(struct seccomp_data, arch));
    add(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0));
    give(p, SECCOMP_RET_KILL_PROCESS);
    load(p, offsetof(struct seccomp_data, nr));
    give_if(p, BPF_JGE, OTHER_ABI, SECCOMP_RET_ERRNO | ENOSYS); /* -1: a tracer left the call out */
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
        give_if(p, BPF_JEQ, allowed[i], SECCOMP_RET_ALLOW);
    for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
        give_if(p, BPF_JEQ, fatal[i], SECCOMP_RET_KILL_PROCESS);
    for (size_t i = 0; i < ARRAY_LEN(arguments); i++)
        give_if_argument(p, &arguments[i]);
    give_if_argument(p, &own_threads);
    give_if(p, BPF_JEQ, CALL(clone3), SECCOMP_RET_ERRNO | ENOSYS); /* hides its flags from us */
    give_if(p, BPF_JGT, NEWEST_KNOWN, SECCOMP_RET_ERRNO | ENOSYS);
    give(p, SECCOMP_RET_ERRNO | EPERM);
}

int confine_calls(void)
{
    struct program p = {.len = 0};
    write_program(&p);
    if (p.len > SPACE)
        return -E2BIG;
    const struct sock_fprog filter = {p.len, p.code};
    /* TSYNC: for all threads. LOG: refusals go to the kernel's audit log, where there is one. */
    unsigned flags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG;
    long rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
    if (rc > 0)
        return -EBUSY; /* a thread that has a filter of its own */
    return rc < 0 ? -errno : 0;
}
#endif
