/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: a kernel without a feature. The calls that bring it fail as they would there, by a filter of the process itself. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "sandbox/parts.h"

static const struct denial { int feature, nr, option, error; } denials[] = { /* option: the first argument; -1: any */
    { LMF__F_SUBREAPER, __NR_prctl, PR_SET_CHILD_SUBREAPER, EINVAL }, { LMF__F_PIDFD, __NR_pidfd_open, -1, ENOSYS },
    { LMF__F_CLOSE_RANGE, __NR_close_range, -1, ENOSYS }, { LMF__F_RLIMIT, __NR_prlimit64, -1, EPERM },
    { LMF__F_IDENTITY, __NR_setresuid, -1, EPERM }, { LMF__F_CAPABILITIES, __NR_capset, -1, EPERM },
    { LMF__F_PDEATHSIG, __NR_prctl, PR_SET_PDEATHSIG, EINVAL }, { LMF__F_NO_NEW_PRIVS, __NR_prctl, PR_SET_NO_NEW_PRIVS, EINVAL },
    { LMF__F_LANDLOCK, __NR_landlock_create_ruleset, -1, ENOSYS }, { LMF__F_SECCOMP, __NR_seccomp, -1, EINVAL },
    { LMF__F_PROC, __NR_faccessat, -1, ENOENT }, { LMF__F_PROC, __NR_faccessat2, -1, ENOENT },
#ifdef __NR_access
    { LMF__F_PROC, __NR_access, -1, ENOENT },
#endif
};

int lmf__feature_deny(uint32_t features)
{
    struct sock_filter code[64];
    unsigned short n = 0;
    for (size_t i = 0; i < sizeof denials / sizeof *denials; i++) {
        const struct denial *d = &denials[i];
        if (!(features & 1U << d->feature))
            continue;
        code[n++] = (struct sock_filter){ BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr) };
        code[n++] = (struct sock_filter){ BPF_JMP | BPF_JEQ | BPF_K, 0, d->option < 0 ? 1 : 3, (uint32_t)d->nr };
        if (d->option >= 0) {
            code[n++] = (struct sock_filter){ BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, args) };
            code[n++] = (struct sock_filter){ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, (uint32_t)d->option };
        }
        code[n++] = (struct sock_filter){ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | (uint32_t)d->error };
    }
    code[n++] = (struct sock_filter){ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW };
    struct sock_fprog prog = { n, code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
        return errno;
    return 0;
}
