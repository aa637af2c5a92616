/* SPDX-License-Identifier: Apache-2.0 */
/* The list of system calls. Rule: what stands in no list ends the process. "soft" calls are those that ordinary libraries try and can do
 * without: they get an errno. Calls with a condition are judged by their registers alone; what lies in memory can change after the look.
 * The list is calls.inc; filter_test.c runs the filter over every number. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>
#include "sandbox/parts.h"

#if defined __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCH AUDIT_ARCH_AARCH64
#endif

enum { ALLOW = -1, X32_BIT = 0x40000000 };
typedef struct rule { int nr, action; } rule; /* action: ALLOW or an errno */

static const rule rules[] = {
#define A(name) { __NR_##name, ALLOW },
#define E(name, error) { __NR_##name, error },
#define N(number, error) { number, error },
#include "sandbox/calls.inc"
#undef A
#undef E
#undef N
};

static void put(lmf__filter *p, uint16_t code, uint32_t k, int yes, int no)
{
    if (p->n < LMF__MAX_FILTER)
        p->code[p->n] = (struct sock_filter){ code, (uint8_t)yes, (uint8_t)no, k };
    p->n++;
}

static void give(lmf__filter *p, uint32_t action) { put(p, BPF_RET | BPF_K, action, 0, 0); }
static uint32_t fails(int error) { return SECCOMP_RET_ERRNO | ((uint32_t)error & SECCOMP_RET_DATA); }
static void load_nr(lmf__filter *p) { put(p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr), 0, 0); }
static void load_at(lmf__filter *p, size_t offset) { put(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0); }
static void load_low(lmf__filter *p, int i) { load_at(p, offsetof(struct seccomp_data, args) + 8 * (unsigned)i); }
static void load_high(lmf__filter *p, int i) { load_at(p, offsetof(struct seccomp_data, args) + 8 * (unsigned)i + 4); }

/* What follows until end() is for the call nr alone. */
static int begin(lmf__filter *p, int nr)
{
    load_nr(p);
    put(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 0);
    return p->n - 1;
}
static void end(lmf__filter *p, int at, uint32_t action)
{
    give(p, action);
    if (at < LMF__MAX_FILTER)
        p->code[at].jf = (uint8_t)(p->n - at - 1);
}

/* Allowed where the low word of argument i is one of the values: an int. */
static void one_of(lmf__filter *p, int nr, int i, const uint32_t *value, int n, int error)
{
    int at = begin(p, nr);
    load_low(p, i);
    for (int k = 0; k < n; k++) {
        put(p, BPF_JMP | BPF_JEQ | BPF_K, value[k], 0, 1);
        give(p, SECCOMP_RET_ALLOW);
    }
    end(p, at, fails(error));
}
#define ONE_OF(p, nr, i, error, ...) one_of(p, nr, i, (const uint32_t[]){ __VA_ARGS__ }, \
                                            (int)(sizeof (uint32_t[]){ __VA_ARGS__ } / sizeof(uint32_t)), error)

/* Allowed where none of the bits is set in the low word of argument i. */
static void none_set(lmf__filter *p, int nr, int i, uint32_t bits, int error)
{
    int at = begin(p, nr);
    load_low(p, i);
    put(p, BPF_JMP | BPF_JSET | BPF_K, bits, 1, 0);
    give(p, SECCOMP_RET_ALLOW);
    end(p, at, fails(error));
}

/* Allowed where all 64 bits of argument i are 0; j as well unless it is -1. */
static void zero(lmf__filter *p, int nr, int i, int j, int error)
{
    int at = begin(p, nr), bad[4], n = 0;
    for (int k = 0; k < (j < 0 ? 1 : 2); k++) {
        load_low(p, k ? j : i);
        bad[n++] = p->n;
        put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0);
        load_high(p, k ? j : i);
        bad[n++] = p->n;
        put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 0);
    }
    give(p, SECCOMP_RET_ALLOW);
    for (int k = 0; k < n && bad[k] < LMF__MAX_FILTER; k++)
        p->code[bad[k]].jf = (uint8_t)(p->n - bad[k] - 1);
    end(p, at, fails(error));
}

/* Opening with O_TRUNC and without writing cuts a file that may only be read, where Landlock knows no truncation. */
static void no_cut(lmf__filter *p, int nr, int i)
{
    int at = begin(p, nr);
    load_low(p, i);
    put(p, BPF_ALU | BPF_AND | BPF_K, O_TRUNC | O_ACCMODE, 0, 0);
    put(p, BPF_JMP | BPF_JEQ | BPF_K, O_TRUNC | O_RDONLY, 2, 0);
    put(p, BPF_JMP | BPF_JEQ | BPF_K, O_TRUNC | O_ACCMODE, 1, 0);
    give(p, SECCOMP_RET_ALLOW);
    end(p, at, fails(EACCES));
}

static void only_self(lmf__filter *p, int nr, int self, bool group)
{
    int at = begin(p, nr);
    load_low(p, 0);
    put(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)self, 0, 1);
    give(p, SECCOMP_RET_ALLOW);
    if (group) {
        put(p, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1);
        give(p, SECCOMP_RET_ALLOW);
    }
    end(p, at, fails(EPERM));
}

static void conditions(lmf__filter *p, int abi)
{
    const uint32_t spaces = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
                            | CLONE_PARENT | CLONE_PTRACE | CLONE_UNTRACED;
    none_set(p, __NR_clone, 0, spaces, EPERM);
    ONE_OF(p, __NR_prctl, 0, EPERM, PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE, PR_GET_PDEATHSIG, PR_CAPBSET_READ, PR_GET_NO_NEW_PRIVS,
           PR_GET_SECCOMP);
    ONE_OF(p, __NR_ioctl, 1, ENOTTY, TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX);
    ONE_OF(p, __NR_fcntl, 1, EPERM, F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW, F_OFD_GETLK,
           F_OFD_SETLK, F_OFD_SETLKW, 1032 /* F_GETPIPE_SZ */, 1034 /* F_GET_SEALS */, F_GETOWN);
    zero(p, __NR_prlimit64, 0, 2, EPERM);
    zero(p, __NR_sendto, 4, -1, EPERM);
    none_set(p, __NR_fallocate, 1, ~0U, EOPNOTSUPP);
    ONE_OF(p, __NR_personality, 0, EPERM, 0xffffffff);
    ONE_OF(p, __NR_sched_getaffinity, 0, EPERM, 0);
    int at = begin(p, __NR_socketpair);      /* a stream can't be told an address, as a datagram can */
    load_low(p, 0);
    put(p, BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 0, 3);
    load_low(p, 1);
    put(p, BPF_ALU | BPF_AND | BPF_K, 0xf, 0, 0);
    put(p, BPF_JMP | BPF_JEQ | BPF_K, SOCK_STREAM, 1, 0);
    give(p, fails(EACCES));
    end(p, at, SECCOMP_RET_ALLOW);
    if (abi < 3) {
        ONE_OF(p, __NR_truncate, 0, EPERM, 0); /* of no path */
#ifdef __NR_open
        no_cut(p, __NR_open, 1);
#endif
        no_cut(p, __NR_openat, 2);
    }
    if (abi < 6) {
        int self = getpid();
        only_self(p, __NR_kill, self, true);
        only_self(p, __NR_tgkill, self, false);
    }
}

static bool conditional(int nr, int abi)
{
    switch (nr) {
#ifdef __NR_open
    case __NR_open:
#endif
    case __NR_openat: case __NR_truncate:
        return abi < 3;
    case __NR_kill: case __NR_tgkill:
        return abi < 6;
    default:
        return false;
    }
}

int lmf__filter_make(int abi, lmf__filter *p)
{
    p->n = 0;
#ifdef ARCH
    put(p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch), 0, 0);
    put(p, BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
    give(p, SECCOMP_RET_KILL_PROCESS);
    load_nr(p);
    put(p, BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1);
    give(p, SECCOMP_RET_KILL_PROCESS);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (conditional(rules[i].nr, abi))
            continue;
        put(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)rules[i].nr, 0, 1);
        give(p, rules[i].action == ALLOW ? SECCOMP_RET_ALLOW : fails(rules[i].action));
    }
    conditions(p, abi);
    give(p, SECCOMP_RET_KILL_PROCESS);
    return p->n > LMF__MAX_FILTER ? E2BIG : 0;
#else
    (void)abi, (void)rules;
    return ENOSYS;
#endif
}

int lmf__filter_install(const lmf__filter *p)
{
    struct sock_fprog prog = { (unsigned short)p->n, (struct sock_filter *)(uintptr_t)p->code };
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) ? errno : 0;
}
