/* confine: privileges and paths. Landlock has no wrappers in C libraries. */
#include "util/confine.h"

#include <errno.h>
#include <signal.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Later than the headers of Debian 12, which know version 2. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14) /* version 3 */
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15) /* version 5 */
#endif
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif
#ifndef PR_MDWE_REFUSE_EXEC_GAIN
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif
#define SCOPE_ABSTRACT_SOCKETS (1ULL << 0) /* version 6, as the next */
#define SCOPE_SIGNALS (1ULL << 1)

/* struct landlock_ruleset_attr of version 6. Earlier kernels are told of its beginning only. */
struct ruleset {
    uint64_t fs, net, scoped;
};

#define FS_VERSION_1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
#define READ_FS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITE_FS \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_TRUNCATE)
#define REPLACE_FS \
    (READ_FS | WRITE_FS | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
     LANDLOCK_ACCESS_FS_REMOVE_DIR)
#define OF_A_FILE \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)

static int code(long rc)
{
    return rc < 0 ? -errno : (int)rc;
}

int confine_gain_nothing(void)
{
    return code(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

int confine_hide_memory(bool is_hidden)
{
    return code(prctl(PR_SET_DUMPABLE, is_hidden ? 0 : 1, 0, 0, 0));
}

int confine_end_with_parent(void)
{
    return code(prctl(PR_SET_PDEATHSIG, SIGTERM));
}

int confine_no_new_code(void)
{
    return code(prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0));
}

/* ---- capabilities ------------------------------------------------------- */

int confine_drop_capabilities(bool keep_low_ports)
{
    struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3] = {{0}};
    int rc = code(syscall(SYS_capget, &head, now));
    if (rc < 0)
        return rc;
    uint32_t kept = keep_low_ports ? now[0].effective & (1u << CAP_NET_BIND_SERVICE) : 0;
    if (now[0].effective & (1u << CAP_SETPCAP)) /* the bounding set only matters to execve() */
        for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
            if (cap != CAP_NET_BIND_SERVICE || kept == 0)
                prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); /* falls with the inheritable set */
    const struct __user_cap_data_struct left[_LINUX_CAPABILITY_U32S_3] = {{kept, kept, 0}};
    return code(syscall(SYS_capset, &head, left));
}

/* ---- paths -------------------------------------------------------------- */

int confine_paths_version(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return version < 0 ? 0 : (int)version;
}

/* What this kernel can forbid. */
static uint64_t known_fs(int version)
{
    uint64_t fs = FS_VERSION_1;
    if (version >= 2)
        fs |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3)
        fs |= LANDLOCK_ACCESS_FS_TRUNCATE;
    if (version >= 5)
        fs |= LANDLOCK_ACCESS_FS_IOCTL_DEV;
    return fs;
}

int confine_paths_new(void)
{
    int version = confine_paths_version();
    if (version == 0)
        return -ENOSYS;
    const struct ruleset all = {
        .fs = known_fs(version),
        .scoped = version >= 6 ? SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS : 0,
    };
    size_t size = version >= 6 ? sizeof all : version >= 4 ? 2 * sizeof(uint64_t) : sizeof all.fs;
    return code(syscall(SYS_landlock_create_ruleset, &all, size, 0));
}

int confine_paths_allow(int set, const char *path, enum confine_access access)
{
    static const uint64_t allowed[] = {
        [CONFINE_READ] = READ_FS, [CONFINE_WRITE] = WRITE_FS, [CONFINE_REPLACE] = REPLACE_FS};
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = code(fstat(fd, &st));
    struct landlock_path_beneath_attr beneath = {
        .allowed_access = allowed[access] & known_fs(confine_paths_version()),
        .parent_fd = fd,
    };
    if (!S_ISDIR(st.st_mode))
        beneath.allowed_access &= OF_A_FILE;
    if (rc == 0)
        rc = code(syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0));
    close(fd);
    return rc;
}

int confine_paths_enforce(int set)
{
    int rc = code(syscall(SYS_landlock_restrict_self, set, 0));
    close(set);
    return rc;
}
