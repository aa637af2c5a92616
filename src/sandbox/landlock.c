/* SPDX-License-Identifier: Apache-2.0 */
/* Files by path. Rule: every right that the kernel's Landlock knows is handled, so that what no rule gives is refused; only the scratch
 * folder gets rights that change anything. The numbers are the kernel's (linux/landlock.h), whose header may be older than it. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "sandbox/parts.h"

enum {
    EXECUTE = 1 << 0, WRITE_FILE = 1 << 1, READ_FILE = 1 << 2, READ_DIR = 1 << 3, REMOVE_DIR = 1 << 4, REMOVE_FILE = 1 << 5,
    MAKE_DIR = 1 << 7, MAKE_REG = 1 << 8, MAKE_SYM = 1 << 12, REFER = 1 << 13, TRUNCATE = 1 << 14, IOCTL_DEV = 1 << 15,
    OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV /* the others are of folders */
};
struct ruleset { uint64_t fs, net, scoped; };
struct __attribute__((packed)) beneath { uint64_t access; int32_t parent; };

int lmf__landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
    return abi > 0 ? (int)abi : 0;
}

/* What is not there needs no right. */
static int allow(int set, const char *path, uint64_t rights, uint64_t handled)
{
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC), error = 0;
    if (fd < 0)
        return 0;
    if (fstat(fd, &st))
        error = errno;
    if (!S_ISDIR(st.st_mode))
        rights &= OF_FILES;
    struct beneath b = { rights & handled, fd };
    if (!error && b.access && syscall(SYS_landlock_add_rule, set, 1, &b, 0))
        error = errno;
    close(fd);
    return error;
}

int lmf__landlock_restrict(int abi, const char *scratch, const char *const *read, int n_read, const char *const *exec, int n_exec,
                           const char **what)
{
    static const char *const source[] = { "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom" };
    struct ruleset r = { .fs = MAKE_SYM * 2 - 1, .net = abi >= 4 ? 3 : 0, .scoped = abi >= 6 ? 3 : 0 };
    r.fs |= (abi >= 2 ? REFER : 0) | (abi >= 3 ? TRUNCATE : 0) | (abi >= 5 ? IOCTL_DEV : 0);
    *what = "landlock_create_ruleset";
    int set = (int)syscall(SYS_landlock_create_ruleset, &r, abi >= 6 ? 24 : abi >= 4 ? 16 : 8, 0), error = 0;
    if (set < 0)
        return errno;
    *what = "landlock_add_rule";
    error = allow(set, scratch, READ_FILE | READ_DIR | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE,
                  r.fs);
    for (int i = 0; !error && i < n_read; i++)
        error = allow(set, read[i], READ_FILE | READ_DIR, r.fs);
    for (int i = 0; !error && i < n_exec; i++)
        error = allow(set, exec[i], READ_FILE | EXECUTE, r.fs);
    for (size_t i = 0; !error && i < sizeof source / sizeof *source; i++)
        error = allow(set, source[i], READ_FILE, r.fs);
    if (!error)
        error = allow(set, "/dev/null", READ_FILE | WRITE_FILE, r.fs);
    if (!error) {
        *what = "landlock_restrict_self";
        error = syscall(SYS_landlock_restrict_self, set, 0) ? errno : 0;
    }
    close(set);
    return error;
}
