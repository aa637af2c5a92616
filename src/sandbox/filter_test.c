/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the filter itself, as the kernel would, over every number of a system call. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>
#include "sandbox/parts.h"
#include "test.h"

enum { KILL = -2, ALLOW = -1, NEWEST_ABI = 6, N_NUMBERS = 1024, X32_BIT = 0x40000000, MANY = 0x77777777 };
#if defined __x86_64__
static const uint32_t arch = AUDIT_ARCH_X86_64, other_arch = AUDIT_ARCH_I386;
#else
static const uint32_t arch = AUDIT_ARCH_AARCH64, other_arch = AUDIT_ARCH_ARM;
#endif

/* KILL, ALLOW or an errno. */
static int judge(const lmf__filter *p, const struct seccomp_data *call)
{
    uint32_t a = 0;
    for (int i = 0; i < p->n; i++) {
        const struct sock_filter *c = &p->code[i];
        bool yes = false;
        switch (c->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            assert_true(c->k % 4 == 0 && c->k + 4 <= sizeof *call);
            memcpy(&a, (const char *)call + c->k, 4);
            continue;
        case BPF_ALU | BPF_AND | BPF_K: a &= c->k; continue;
        case BPF_JMP | BPF_JEQ | BPF_K: yes = a == c->k; break;
        case BPF_JMP | BPF_JGE | BPF_K: yes = a >= c->k; break;
        case BPF_JMP | BPF_JSET | BPF_K: yes = (a & c->k) != 0; break;
        case BPF_RET | BPF_K:
            switch (c->k & SECCOMP_RET_ACTION_FULL) {
            case SECCOMP_RET_ALLOW: return ALLOW;
            case SECCOMP_RET_ERRNO: return (int)(c->k & SECCOMP_RET_DATA);
            case SECCOMP_RET_KILL_PROCESS: return KILL;
            default: fail_msg("instruction %d gives 0x%x", i, c->k);
            }
            break;
        default: fail_msg("instruction %d has the code 0x%x", i, c->code);
        }
        i += yes ? c->jt : c->jf;
    }
    fail_msg("the filter has no end");
    return KILL;
}

static int judge_call(const lmf__filter *p, int nr, const uint64_t args[6])
{
    struct seccomp_data d = { .nr = nr, .arch = arch };
    memcpy(d.args, args, sizeof d.args);
    return judge(p, &d);
}

typedef struct row { int nr; uint64_t args[6]; int want; } row;

static const row conditions[] = {
    { __NR_clone, { SIGCHLD }, ALLOW }, { __NR_clone, { CLONE_NEWUSER | SIGCHLD }, EPERM }, { __NR_clone, { CLONE_NEWNET }, EPERM },
    { __NR_clone, { CLONE_VM | CLONE_THREAD | CLONE_SIGHAND }, ALLOW }, { __NR_clone, { CLONE_PTRACE }, EPERM },
    { __NR_prctl, { PR_SET_NAME }, ALLOW }, { __NR_prctl, { PR_SET_DUMPABLE, 1 }, EPERM }, { __NR_prctl, { PR_SET_SECCOMP }, EPERM },
    { __NR_ioctl, { 0, TCGETS }, ALLOW }, { __NR_ioctl, { 0, TIOCSTI }, ENOTTY }, { __NR_ioctl, { TCGETS, 0 }, ENOTTY },
    { __NR_fcntl, { 0, F_SETFL }, ALLOW }, { __NR_fcntl, { 0, F_SETOWN }, EPERM }, { __NR_fcntl, { 0, F_NOTIFY }, EPERM },
    { __NR_prlimit64, { 0, 7, 0, 1 }, ALLOW }, { __NR_prlimit64, { 1 }, EPERM }, { __NR_prlimit64, { 0, 7, 1 }, EPERM },
    { __NR_prlimit64, { UINT64_C(1) << 32 }, EPERM }, { __NR_prlimit64, { 0, 0, UINT64_C(1) << 32 }, EPERM },
    { __NR_sendto, { 3, 1, 1 }, ALLOW }, { __NR_sendto, { 3, 1, 1, 0, 8 }, EPERM },
    { __NR_sendto, { 0, 0, 0, 0, UINT64_C(8) << 32 }, EPERM },
    { __NR_fallocate, { 3, 0, 1 }, ALLOW }, { __NR_fallocate, { 3, 2 }, EOPNOTSUPP },
    { __NR_personality, { 0xffffffff }, ALLOW }, { __NR_personality, { 0x40000 }, EPERM },
    { __NR_sched_getaffinity, { 0 }, ALLOW }, { __NR_sched_getaffinity, { 1 }, EPERM },
    { __NR_socketpair, { AF_UNIX, SOCK_STREAM }, ALLOW }, { __NR_socketpair, { AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC }, ALLOW },
    { __NR_socketpair, { AF_UNIX, SOCK_DGRAM }, EACCES }, { __NR_socketpair, { AF_UNIX, SOCK_SEQPACKET }, EACCES },
    { __NR_socketpair, { AF_INET, SOCK_STREAM }, EACCES },
};
static const row of_older_landlock[] = {
    { __NR_truncate, { 0 }, ALLOW }, { __NR_truncate, { 1 }, EPERM },
    { __NR_openat, { 0, 1, O_RDONLY }, ALLOW }, { __NR_openat, { 0, 1, O_WRONLY | O_TRUNC }, ALLOW },
    { __NR_openat, { 0, 1, O_RDONLY | O_TRUNC }, EACCES }, { __NR_openat, { 0, 1, O_ACCMODE | O_TRUNC }, EACCES },
#ifdef __NR_open
    { __NR_open, { 1, O_RDWR | O_TRUNC }, ALLOW }, { __NR_open, { 1, O_RDONLY | O_TRUNC }, EACCES },
#endif
    { __NR_kill, { 0 }, ALLOW }, { __NR_kill, { 1 }, EPERM }, { __NR_kill, { (uint32_t)-1 }, EPERM },
    { __NR_tgkill, { 0 }, EPERM }, { __NR_tgkill, { 1 }, EPERM },
};

static void check_rows(const lmf__filter *p, const row *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int got = judge_call(p, r[i].nr, r[i].args);
        if (got != r[i].want)
            fail_msg("row %zu, call %d: %d, not %d", i, r[i].nr, got, r[i].want);
    }
}

/* What the lists say of a number; conditional calls stand in none of them, but for those that an older Landlock needs. */
static void list(int want[N_NUMBERS])
{
    for (int i = 0; i < N_NUMBERS; i++)
        want[i] = KILL;
#define N(number, error) assert_true((number) < N_NUMBERS && want[number] == KILL), want[number] = (error);
#define E(name, error) N(__NR_##name, error)
#define A(name) N(__NR_##name, ALLOW)
#include "sandbox/calls.inc"
#undef A
#undef E
#undef N
}

static bool has_row(int nr)
{
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++)
        if (conditions[i].nr == nr)
            return true;
    return false;
}

static void every_number(void **state)
{
    static lmf__filter p;
    int want[N_NUMBERS];
    (void)state;
    assert_int_equal(lmf__filter_make(NEWEST_ABI, &p), 0);
    list(want);
    for (int nr = 0; nr < N_NUMBERS; nr++) {
        int got = judge_call(&p, nr, (const uint64_t[6]){ MANY, MANY, MANY, MANY, MANY, MANY });
        if (has_row(nr))
            assert_true(want[nr] == KILL && got > 0); /* judged by its arguments alone */
        else if (got != want[nr])
            fail_msg("call %d: %d, not %d as in the list", nr, got, want[nr]);
    }
    assert_int_equal(want[__NR_read], ALLOW);
    assert_int_equal(want[__NR_ptrace], KILL);
    assert_int_equal(judge(&p, &(struct seccomp_data){ .nr = __NR_read, .arch = other_arch }), KILL);
    assert_int_equal(judge(&p, &(struct seccomp_data){ .nr = __NR_read | X32_BIT, .arch = arch }), KILL);
    assert_int_equal(judge(&p, &(struct seccomp_data){ .nr = -1, .arch = arch }), KILL);
}

static void by_arguments(void **state)
{
    static lmf__filter p;
    const uint64_t self[6] = { (uint64_t)getpid() };
    (void)state;
    for (int abi = 1; abi <= NEWEST_ABI; abi++) {
        assert_int_equal(lmf__filter_make(abi, &p), 0);
        check_rows(&p, conditions, sizeof conditions / sizeof *conditions);
        assert_int_equal(judge_call(&p, __NR_kill, self), ALLOW);
        assert_int_equal(judge_call(&p, __NR_tgkill, self), ALLOW);
    }
    assert_int_equal(lmf__filter_make(1, &p), 0);
    check_rows(&p, of_older_landlock, sizeof of_older_landlock / sizeof *of_older_landlock);
}

LMF_TESTS(filter) = { { "every number is as listed", every_number }, { "calls judged by their arguments", by_arguments }, { 0 } };
