/*
 * confine: the process gives up, for good, what it does not need: privileges, files, system calls.
 *
 *     confine_gain_nothing()          no execve() or file mode gives more than there is now
 *     confine_drop_capabilities()     what root may do beyond its own files
 *     confine_paths_*()               Landlock: which files can be opened
 *     confine_calls()                 seccomp: which system calls can be made
 *
 * The first three hold for the calling thread and for those that it makes later, so they come
 * before any other thread; the last one holds for all threads that there are.
 *
 * Errors     0, or a negative errno: -ENOSYS, -EOPNOTSUPP or -EINVAL where this kernel has no such
 *            thing.
 * Blocking   paths are looked up.
 */
#pragma once

#include <stdbool.h>

#include "util/err.h"

MUST_CHECK int confine_gain_nothing(void);

/* Empty all sets, the bounding set included; with keep_low_ports CAP_NET_BIND_SERVICE stays where
 * it was there. */
MUST_CHECK int confine_drop_capabilities(bool keep_low_ports);

/* Other processes of this user can neither read the memory nor attach, and there is no core dump;
 * false makes it as usual. */
MUST_CHECK int confine_hide_memory(bool is_hidden);

/* SIGTERM comes when the parent is gone. */
MUST_CHECK int confine_end_with_parent(void);

/* Memory that was not mapped as code does not become code (Linux 6.3). */
MUST_CHECK int confine_no_new_code(void);

enum confine_access {
    CONFINE_READ,    /* a file, or all below a directory */
    CONFINE_WRITE,   /* a file, or files in the directory, which are made where they are missing */
    CONFINE_REPLACE, /* both, and files and directories are made, renamed and removed */
};

/* A set of paths: a descriptor, or a negative code. */
MUST_CHECK int confine_paths_new(void);
/* -ENOENT and the like where there is no such path. Symbolic links are followed. */
MUST_CHECK int confine_paths_allow(int set, const char *path, enum confine_access access);
/* From here on nothing else can be opened, and no process outside be signalled or traced. What is
 * open stays so. The descriptor is closed in any case. */
MUST_CHECK int confine_paths_enforce(int set);

/* The version of Landlock here; 0: none. */
int confine_paths_version(void);

/*
 * From here on a call that this program has no use for fails with EPERM, one that is newer than
 * the list with ENOSYS, for which C libraries have a second way. Calls that only somebody else's
 * code would make in this process (execve, ptrace and so on) end it at once with SIGSYS.
 */
MUST_CHECK int confine_calls(void);
