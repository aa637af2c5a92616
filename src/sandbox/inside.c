/* SPDX-License-Identifier: Apache-2.0 */
/* The fresh process: one thread, started by run.c, with stdin, stdout and stderr of the program and a socket to the caller. It tries
 * escapes in children under the rules, starts the program under the same ones, watches it, ends all that it started, and says how it went.
 * Rule: whatever fails before execve is a refusal. The program's group is the only one that it can be in; as long as its first process is
 * not waited for, the group's number is nobody else's, so it is killed before that. A closed socket is a caller that is gone. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "sandbox/parts.h"

enum { UP = 3, TICK_MS = 20, MAX_STRINGS = LMF_SANDBOX_MAX_ARGS + 4 * LMF_SANDBOX_MAX_READ, FIRST_UID = 0x70000000, GRACE_MS = 2000 };

typedef struct inside {
    lmf__sandbox_head head;
    const char *scratch, *program, *argv[LMF_SANDBOX_MAX_ARGS + 1], *read[2 * LMF_SANDBOX_MAX_READ + 1], *exec[LMF_SANDBOX_MAX_READ + 1];
    pid_t       monitor;
    int         abi;
    unsigned    uid;            /* that the program gets; the caller's own unless that is root */
    int64_t     n_others;       /* processes and threads that this user has already */
    lmf__filter filter;         /* made before memory is limited */
    bool        alone;          /* as an escape: no other process may be started */
} inside;

static _Noreturn void leave(int code) { _exit(code); /* allowed: a process of its own, which shares nothing with the caller */ }

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void say(lmf__sandbox_word *w, const char *fmt, ...) LMF_PRINTF(2, 3);
static void say(lmf__sandbox_word *w, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(w->text, sizeof w->text, fmt, ap);
    va_end(ap);
}

static void tell(int fd, const lmf__sandbox_word *w)
{
    ssize_t n;
    do
        n = send(fd, w, sizeof *w, MSG_NOSIGNAL | MSG_EOR);
    while (n < 0 && errno == EINTR);
}

/* ---- the features, one function each: 0, or -1 with the reason in w ---- */

static int failed(lmf__sandbox_word *w, const char *call)
{
    say(w, "%s: %s", call, strerror(errno));
    return -1;
}

static int put_proc(inside *in, lmf__sandbox_word *w)
{
    struct stat st;
    (void)in;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    if (stat("/proc/self/status", &st) || access(path, R_OK))
        return failed(w, path);
    say(w, "processes can be watched");
    return 0;
}

static int put_subreaper(inside *in, lmf__sandbox_word *w)
{
    (void)in;
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
        return failed(w, "prctl(PR_SET_CHILD_SUBREAPER)");
    say(w, "processes whose parent died come to the sandbox");
    return 0;
}

static int put_pidfd(inside *in, lmf__sandbox_word *w)
{
    (void)in;
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (fd < 0)
        return failed(w, "pidfd_open");
    close(fd);
    say(w, "a process can be waited for by descriptor");
    return 0;
}

static int put_close_range(inside *in, lmf__sandbox_word *w)
{
    (void)in;
    if (syscall(SYS_close_range, UP + 1, ~0U, 0))
        return failed(w, "close_range");
    say(w, "no descriptor is inherited");
    return 0;
}

static int put_rlimit(inside *in, lmf__sandbox_word *w)
{
    const lmf_sandbox_limits *l = &in->head.limits;
    rlim_t cpu = (rlim_t)l->cpu_s + ((double)(int64_t)l->cpu_s < l->cpu_s);
    rlim_t n = in->alone ? 1 : (rlim_t)(in->n_others + l->n_processes);
    const struct { int what; const char *name; rlim_t soft, hard; } limit[] = {
        { RLIMIT_AS, "RLIMIT_AS", (rlim_t)l->memory_bytes, (rlim_t)l->memory_bytes }, { RLIMIT_CPU, "RLIMIT_CPU", cpu, cpu + 1 },
        { RLIMIT_FSIZE, "RLIMIT_FSIZE", (rlim_t)l->file_bytes, (rlim_t)l->file_bytes }, { RLIMIT_NPROC, "RLIMIT_NPROC", n, n },
        { RLIMIT_NOFILE, "RLIMIT_NOFILE", (rlim_t)l->n_open, (rlim_t)l->n_open }, { RLIMIT_CORE, "RLIMIT_CORE", 0, 0 },
        { RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", 0, 0 }, { RLIMIT_MSGQUEUE, "RLIMIT_MSGQUEUE", 0, 0 },
        { RLIMIT_SIGPENDING, "RLIMIT_SIGPENDING", 256, 256 }, { RLIMIT_STACK, "RLIMIT_STACK", 8 << 20, 8 << 20 } };
    for (size_t i = 0; i < sizeof limit / sizeof *limit; i++) {
        struct rlimit had, r = { limit[i].soft, limit[i].hard };
        if (getrlimit((__rlimit_resource_t)limit[i].what, &had))
            return failed(w, limit[i].name);
        r.rlim_max = r.rlim_max < had.rlim_max ? r.rlim_max : had.rlim_max;
        r.rlim_cur = r.rlim_cur < r.rlim_max ? r.rlim_cur : r.rlim_max;
        if (setrlimit((__rlimit_resource_t)limit[i].what, &r))
            return failed(w, limit[i].name);
    }
    say(w, "memory, time, file size, processes, descriptors");
    return 0;
}

/* Root's processes are not counted (RLIMIT_NPROC), and its files are everybody's: the program runs as a user that nobody is. */
static int put_identity(inside *in, lmf__sandbox_word *w)
{
    if (geteuid() != 0) {
        say(w, "user %u, not root", (unsigned)geteuid());
        return 0;
    }
    if (in->uid == 0) {
        say(w, "root of a user namespace alone");
        return 0;
    }
    const unsigned u = in->uid;
    if (syscall(SYS_setgroups, 0, NULL) || syscall(SYS_setresgid, u, u, u) || syscall(SYS_setresuid, u, u, u))
        return failed(w, "as root the program is to run as a user of its own; setresuid");
    if (in->program && access(in->program, X_OK)) {
        say(w, "as root the program runs as a user of its own, who can't reach %.90s (%s): take one that everybody may run", in->program,
            strerror(errno));
        return -1;
    }
    say(w, "user %u instead of root", in->uid);
    return 0;
}

static int put_capabilities(inside *in, lmf__sandbox_word *w)
{
    (void)in;
    struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct none[2] = { 0 };
    for (unsigned long c = 0; c < 64; c++)
        if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) && errno == EINVAL)
            break; /* EPERM: not ours to drop, and without effect (no_new_privs) */
    if (syscall(SYS_capset, &head, none))
        return failed(w, "capset");
    if (syscall(SYS_capget, &head, none) || none[0].effective || none[0].permitted || none[1].effective || none[1].permitted) {
        say(w, "privileges are left after capset");
        return -1;
    }
    say(w, "no privileges");
    return 0;
}

static int put_pdeathsig(inside *in, lmf__sandbox_word *w)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0))
        return failed(w, "prctl(PR_SET_PDEATHSIG)");
    if (getppid() != in->monitor)
        leave(1);
    say(w, "ends with the sandbox's own process");
    return 0;
}

static int put_no_new_privs(inside *in, lmf__sandbox_word *w)
{
    (void)in;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return failed(w, "prctl(PR_SET_NO_NEW_PRIVS)");
    say(w, "set-user-ID programs have no effect");
    return 0;
}

static int n_of(const char *const *list)
{
    int n = 0;
    while (list[n])
        n++;
    return n;
}

static int put_landlock(inside *in, lmf__sandbox_word *w)
{
    const char *what;
    errno = 0;
    if (in->abi == 0)
        return failed(w, "landlock_create_ruleset (Linux 5.13 with Landlock among its security modules is needed)");
    errno = lmf__landlock_restrict(in->abi, in->scratch, in->read, n_of(in->read), in->exec, n_of(in->exec), &what);
    if (errno)
        return failed(w, what);
    say(w, "ABI %d: %s", in->abi, in->abi >= 6 ? "files, TCP, abstract sockets, signals" : in->abi >= 4 ? "files, TCP" : "files");
    return 0;
}

static int put_seccomp(inside *in, lmf__sandbox_word *w)
{
    errno = lmf__filter_install(&in->filter);
    if (errno)
        return failed(w, "seccomp(SECCOMP_SET_MODE_FILTER)");
    say(w, "system calls by list");
    return 0;
}

static const struct feature { const char *name; int (*put)(inside *in, lmf__sandbox_word *w); } features[LMF__N_FEATURES] = {
    [LMF__F_PROC] = { "proc", put_proc }, [LMF__F_SUBREAPER] = { "subreaper", put_subreaper }, [LMF__F_PIDFD] = { "pidfd", put_pidfd },
    [LMF__F_CLOSE_RANGE] = { "close_range", put_close_range }, [LMF__F_RLIMIT] = { "rlimit", put_rlimit },
    [LMF__F_IDENTITY] = { "identity", put_identity }, [LMF__F_CAPABILITIES] = { "capabilities", put_capabilities },
    [LMF__F_PDEATHSIG] = { "pdeathsig", put_pdeathsig }, [LMF__F_NO_NEW_PRIVS] = { "no_new_privs", put_no_new_privs },
    [LMF__F_LANDLOCK] = { "landlock", put_landlock }, [LMF__F_SECCOMP] = { "seccomp", put_seccomp } };

static int put(inside *in, int f, lmf__sandbox_word *w)
{
    snprintf(w->name, sizeof w->name, "%s", features[f].name);
    w->needed = 1;
    w->holds = features[f].put(in, w) == 0;
    return w->holds ? 0 : -1;
}

const char *const lmf__space[LMF__N_SPACES] = { "/proc/self/ns/pid", "/proc/self/ns/net", "/proc/self/ns/ipc", "/proc/self/ns/mnt" };

uint64_t lmf__space_number(int i)
{
    struct stat st;
    return stat(lmf__space[i], &st) ? 0 : (uint64_t)st.st_ino;
}

static int look_at_spaces(const inside *in, lmf__sandbox_word *w)
{
    snprintf(w->name, sizeof w->name, "namespaces");
    for (int i = 0; i < LMF__N_SPACES; i++)
        if (in->head.space[i] && (lmf__space_number(i) == 0 || lmf__space_number(i) == in->head.space[i])) {
            say(w, "%s is the caller's", lmf__space[i]);
            return -1;
        }
    if (getppid() > 1) {
        say(w, "its numbers of processes are not its own");
        return -1;
    }
    w->holds = 1;
    say(w, "processes, network, messages, mounts of its own");
    return 0;
}

/* In a child: its own group, and all that stands behind PIDFD. skip: bits of features. */
static int restrict_self(inside *in, uint32_t skip, lmf__sandbox_word *w)
{
    snprintf(w->name, sizeof w->name, "scratch folder");
    if (setpgid(0, 0))
        return failed(w, "setpgid");
    if (chdir(in->scratch))
        return failed(w, in->scratch);
    errno = lmf__filter_make(in->abi, &in->filter);
    if (errno)
        return failed(w, "the list of system calls");
    for (int f = LMF__F_CLOSE_RANGE; f < LMF__N_FEATURES; f++)
        if (!(skip & 1U << f) && put(in, f, w))
            return -1;
    return 0;
}

/* ---- escapes that are tried ---- */

static const char *const lethal[] = { "ptrace", "io_uring_setup", "unshare", "mount", "bpf", "x32 call", "i386 call", NULL };

static void try_lethal(int i)
{
    switch (i) {
    case 0: syscall(SYS_ptrace, 16 /* PTRACE_ATTACH */, getppid(), 0, 0); break;
    case 1: syscall(SYS_io_uring_setup, 1, NULL); break;
    case 2: syscall(SYS_unshare, CLONE_NEWUSER); break;
    case 3: syscall(SYS_mount, "none", ".", "tmpfs", 0, NULL); break;
    case 4: syscall(SYS_bpf, 0, NULL, 0); break;
#ifdef __x86_64__
    case 5: syscall(0x40000000 + SYS_getppid); break;
    case 6: {
        long r = 20; /* getpid */
        __asm__ volatile("int $0x80" : "+a"(r) : : "memory", "r8", "r9", "r10", "r11");
        break;
    }
#endif
    default: raise(SIGSYS); /* no other ABI here */
    }
}

/* NULL: none worked. */
static const char *try_escapes(const inside *in)
{
    static const int family[] = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_VSOCK, AF_ALG, AF_BLUETOOTH };
    static const int type[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET };
    static const char *const outside[] = { "/etc/passwd", "/proc/self/environ", "/proc/1/cmdline", "/dev/shm", "/", "..", "/tmp", "/sys" };
    char path[64];
    int fd = open("probe", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1 || unlink("probe"))
        return "the scratch folder can't be written";
    close(fd);
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        if (open(outside[i], O_RDONLY | O_CLOEXEC) >= 0)
            return outside[i];
    snprintf(path, sizeof path, "../lmfast-probe-%d", (int)getpid());
    if (open(path, O_CREAT | O_WRONLY | O_EXCL | O_CLOEXEC, 0600) >= 0) {
        unlink(path);
        return "a file was made beside the scratch folder";
    }
    if (mkdir(path, 0700) == 0)
        return "a folder was made beside the scratch folder";
    snprintf(path, sizeof path, "/proc/%d/environ", (int)in->monitor);
    if (open(path, O_RDONLY | O_CLOEXEC) >= 0)
        return "the environment of another process was read";
    for (size_t i = 0; i < 4 * sizeof family / sizeof *family; i++)
        if (socket(family[i / 4], type[i % 4], 0) >= 0)
            return "a socket was opened";
    if (kill(in->monitor, 0) == 0 || errno == ESRCH || kill(1, 0) == 0)
        return "another process could get a signal";
    if (setsid() >= 0 || setpgid(0, getppid()) == 0)
        return "it left its group of processes";
    long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid >= 0)
        return pid ? "a namespace was made" : (leave(0), "");
    pid = fork();
    if (pid >= 0)
        return pid ? "a process was started past the limit" : (leave(0), "");
    if (setresuid(0, 0, 0) == 0 && in->uid != 0)
        return "it became root again";
    return NULL;
}

/* One child under the rules: word from it, or from how it ended. which < 0: the escapes that get an errno. */
static int probe(inside *in, int which, lmf__sandbox_word *w)
{
    int pair[2], status = 0;
    memset(w, 0, sizeof *w);
    snprintf(w->name, sizeof w->name, "escapes");
    w->needed = 1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return failed(w, "socketpair");
    pid_t pid = fork();
    if (pid < 0) {
        failed(w, "fork");
        close(pair[0]), close(pair[1]);
        return -1;
    }
    if (pid == 0) {
        dup3(pair[1], UP, O_CLOEXEC);
        in->alone = which < 0;
        if (restrict_self(in, in->head.skip, w) == 0) {
            if (which >= 0)
                try_lethal(which);
            const char *way = which < 0 ? try_escapes(in) : lethal[which];
            snprintf(w->name, sizeof w->name, "escapes");
            w->holds = !way;
            say(w, way ? "an escape worked: %s" : "files, sockets, signals, processes: none worked", way);
        }
        write(UP, w, sizeof *w); /* a socket may not be sent to any more, but written */
        leave(0);
    }
    close(pair[1]);
    ssize_t n = recv(pair[0], w, sizeof *w, 0);
    while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
        ;
    close(pair[0]);
    if (n == (ssize_t)sizeof *w && (which < 0 || !w->holds))
        return w->holds ? 0 : -1;
    snprintf(w->name, sizeof w->name, "%s", which < 0 ? "escapes" : lethal[which]);
    w->holds = which >= 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
    say(w, w->holds ? "ended when tried" : "trying escapes ended with wait status 0x%x", (unsigned)status);
    return w->holds ? 0 : -1;
}

/* ---- the program ---- */

static int64_t status_number(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    int64_t v = 0;
    for (at = at ? at + strlen(key) : ""; *at == ' ' || *at == '\t'; at++)
        ;
    for (; *at >= '0' && *at <= '9' && v < INT64_MAX / 16; at++)
        v = 10 * v + (*at - '0');
    return v;
}

static size_t slurp(const char *path, char *text, size_t n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t k = fd >= 0 ? read(fd, text, n - 1) : 0;
    if (fd >= 0)
        close(fd);
    text[k > 0 ? k : 0] = 0;
    return k > 0 ? (size_t)k : 0;
}

/* What all processes below pid hold in memory, by the kernel's list of children; budget bounds the walk. */
static int64_t held_below(int pid, int *budget, int depth)
{
    char path[64], text[4096];
    int64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    slurp(path, text, sizeof text);
    for (const char *at = text; *at && *budget > 0;) {
        int64_t child = 0;
        for (; *at >= '0' && *at <= '9'; at++)
            child = 10 * child + (*at - '0');
        while (*at == ' ')
            at++;
        if (child <= 0 || child > INT32_MAX)
            break;
        char of[4096];
        --*budget;
        snprintf(path, sizeof path, "/proc/%d/status", (int)child);
        slurp(path, of, sizeof of);
        sum += (status_number(of, "RssAnon:") + status_number(of, "RssShmem:")) * 1024;
        if (depth < 64)
            sum += held_below((int)child, budget, depth + 1);
    }
    return sum;
}

/* Processes and threads of this user. */
static int64_t count_others(void)
{
    char text[4096];
    int64_t n = 0;
    int dir = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (;;) {
        long k = dir >= 0 ? syscall(SYS_getdents64, dir, text, sizeof text) : 0;
        if (k <= 0)
            break;
        for (long at = 0; at < k;) {
            const unsigned char *e = (const unsigned char *)text + at;
            const char *name = (const char *)e + 19;
            struct stat st;
            char path[64];
            at += e[16] | e[17] << 8;
            if (*name < '0' || *name > '9')
                continue;
            snprintf(path, sizeof path, "/proc/%.20s/task", name);
            if (stat(path, &st) == 0 && st.st_uid == getuid() && st.st_nlink > 2)
                n += (int64_t)st.st_nlink - 2;
        }
    }
    if (dir >= 0)
        close(dir);
    return n;
}

static double cpu_of(const struct rusage *u)
{
    return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) + 1e-6 * (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec);
}

static lmf_sandbox_end end_of(const siginfo_t *info, const struct rusage *use, const lmf_sandbox_limits *l, int *code)
{
    double cpu = cpu_of(use);
    *code = info->si_status;
    if (info->si_code == CLD_EXITED)
        return LMF_SANDBOX_EXITED;
    return info->si_status == SIGSYS ? LMF_SANDBOX_SYSCALL : info->si_status == SIGXFSZ ? LMF_SANDBOX_FILE_SIZE
         : info->si_status == SIGXCPU || (info->si_status == SIGKILL && cpu >= l->cpu_s) ? LMF_SANDBOX_CPU : LMF_SANDBOX_SIGNALLED;
}

/* LMF_SANDBOX_EXITED: its first process ended; anything else: why it is to be ended. */
static lmf_sandbox_end watch(const inside *in, int pidfd, double start)
{
    const lmf_sandbox_limits *l = &in->head.limits;
    for (;;) {
        struct pollfd p[2] = { { pidfd, POLLIN, 0 }, { LMF__SANDBOX_FD, POLLIN, 0 } };
        int budget = 4096;
        int64_t n_files = 0, n_bytes = 0;
        double left = l->wall_s - (now() - start);
        if (left <= 0)
            return LMF_SANDBOX_WALL;
        poll(p, 2, left < TICK_MS * 1e-3 ? (int)(left * 1000) + 1 : TICK_MS);
        if (p[0].revents)
            return LMF_SANDBOX_EXITED;
        if (p[1].revents)
            return LMF_SANDBOX_STOPPED;
        if (held_below(in->monitor, &budget, 0) > l->memory_bytes)
            return LMF_SANDBOX_MEMORY;
        lmf__scratch_usage(in->scratch, l->n_files, &n_files, &n_bytes);
        if (n_files > l->n_files)
            return LMF_SANDBOX_FILES;
        if (n_bytes > l->scratch_bytes)
            return LMF_SANDBOX_SCRATCH;
    }
}

/* Ends and waits for everything below this process. */
static void end_all(pid_t group, pid_t first, struct rusage *use)
{
    int status;
    struct rusage r;
    kill(-group, SIGKILL);
    for (;;) {
        pid_t pid = wait4(-1, &status, __WALL, &r);
        if (pid == first)
            *use = r;
        if (pid < 0 && errno != EINTR)
            break;
    }
}

static _Noreturn void become(inside *in)
{
    static const char *const empty[] = { NULL };
    lmf__sandbox_word w = { .kind = 'r' };
    sigset_t none;
    sigemptyset(&none);
    for (int s = 1; s < 65; s++)
        signal(s, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    in->alone = false;
    if (restrict_self(in, 0, &w) == 0) {
        execve(in->program, (char *const *)(uintptr_t)in->argv, (char *const *)(uintptr_t)empty);
        snprintf(w.name, sizeof w.name, "program");
        say(&w, "execve %.100s: %s", in->program, strerror(errno));
    }
    write(UP, &w, sizeof w);
    leave(126);
}

static int run_program(inside *in)
{
    lmf__sandbox_word w = { .kind = 'r', .name = "process" };
    int pair[2], pidfd = -1;
    siginfo_t info = { 0 };
    struct rusage use = { 0 };
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return failed(&w, "socketpair"), tell(LMF__SANDBOX_FD, &w), 1;
    double start = now();
    pid_t pid = fork();
    if (pid == 0) {
        dup3(pair[1], UP, O_CLOEXEC);
        become(in);
    }
    close(pair[1]);
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    if (pid < 0)
        return failed(&w, "fork"), tell(LMF__SANDBOX_FD, &w), 1;
    setpgid(pid, pid);
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    ssize_t n = recv(pair[0], &w, sizeof w, 0);      /* 0: execve closed it */
    if (n != 0 || pidfd < 0) {
        if (pidfd < 0)
            failed(&w, "pidfd_open");
        end_all(pid, pid, &use);
        w.kind = 'r';
        tell(LMF__SANDBOX_FD, &w);
        return 1;
    }
    w = (lmf__sandbox_word){ .kind = 's', .code = pid };
    tell(LMF__SANDBOX_FD, &w);
    w.end = watch(in, pidfd, start);
    if (w.end != LMF_SANDBOX_EXITED)
        kill(-pid, SIGKILL);
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
        ;
    end_all(pid, pid, &use);
    if (w.end == LMF_SANDBOX_EXITED)
        w.end = (int32_t)end_of(&info, &use, &in->head.limits, &w.code);
    w.kind = 'd';
    w.wall_s = now() - start;
    w.cpu_s = cpu_of(&use);
    w.peak_bytes = (int64_t)use.ru_maxrss * 1024;
    tell(LMF__SANDBOX_FD, &w);
    return 0;
}

/* ---- entry ---- */

/* Each feature in a child of its own, with what it stands on. */
static void check_feature(inside *in, int f)
{
    lmf__sandbox_word w = { .kind = 'f', .needed = 1 };
    int pair[2];
    snprintf(w.name, sizeof w.name, "%s", features[f].name);
    say(&w, "trying it failed");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0) {
        pid_t pid = fork();
        if (pid == 0) {
            dup3(pair[1], UP, O_CLOEXEC);
            if (f >= LMF__F_LANDLOCK)
                prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            if (f == LMF__F_SECCOMP)
                lmf__filter_make(in->abi, &in->filter);
            put(in, f, &w);
            write(UP, &w, sizeof w);
            leave(0);
        }
        close(pair[1]);
        lmf__sandbox_word got;
        if (pid > 0 && recv(pair[0], &got, sizeof got, 0) == (ssize_t)sizeof got)
            w = got;
        while (pid > 0 && waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
            ;
        close(pair[0]);
    }
    tell(LMF__SANDBOX_FD, &w);
}

static int check(inside *in)
{
    lmf__sandbox_word w = { .kind = 'f', .needed = 1 };
    if (in->head.space[0]) {
        look_at_spaces(in, &w);
        tell(LMF__SANDBOX_FD, &w);
    }
    for (int f = 0; f < LMF__N_FEATURES; f++)
        check_feature(in, f);
    for (int i = -1; i < 0 || lethal[i]; i++) {
        probe(in, i, &w);
        w.kind = 'f';
        tell(LMF__SANDBOX_FD, &w);
    }
    w = (lmf__sandbox_word){ .kind = 'e' };
    tell(LMF__SANDBOX_FD, &w);
    return 0;
}

static bool receive(void *to, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = read(LMF__SANDBOX_FD, (char *)to + at, n - at);
        if (k <= 0 && !(k < 0 && errno == EINTR))
            return false;
        at += k > 0 ? (size_t)k : 0;
    }
    return true;
}

static bool take_strings(const char **at, const char *end, const char **out, uint32_t n, uint32_t max)
{
    if (n > max)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        const char *nul = memchr(*at, 0, (size_t)(end - *at));
        if (!nul)
            return false;
        out[i] = *at;
        *at = nul + 1;
    }
    return true;
}

static bool receive_job(inside *in)
{
    if (!receive(&in->head, sizeof in->head) || in->head.n_bytes > LMF__SANDBOX_MAX_SPEC)
        return false;
    char *text = mmap(NULL, (size_t)in->head.n_bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (text == MAP_FAILED || !receive(text, in->head.n_bytes))
        return false;
    const char *at = text, *end = text + in->head.n_bytes;
    return take_strings(&at, end, &in->scratch, 1, 1) && take_strings(&at, end, &in->program, 1, 1)
        && take_strings(&at, end, in->argv, in->head.n_argv, LMF_SANDBOX_MAX_ARGS)
        && take_strings(&at, end, in->read, in->head.n_read, 2 * LMF_SANDBOX_MAX_READ)
        && take_strings(&at, end, in->exec, in->head.n_exec, LMF_SANDBOX_MAX_READ);
}

/* The scratch folder, and what was put into it, become the program's. Nothing hostile ran yet. */
static bool give_scratch(const inside *in)
{
    DIR *d = opendir(in->scratch);
    struct dirent *e;
    bool ok = d != NULL;
    while (ok && (e = readdir(d)))
        if (strcmp(e->d_name, ".."))
            ok = fchownat(dirfd(d), e->d_name, in->uid, in->uid, AT_SYMLINK_NOFOLLOW) == 0;
    if (d)
        closedir(d);
    return ok;
}

/* A user that nobody else is; 0 where there is none but root, in a container's user namespace. */
static unsigned choose_uid(void)
{
    char text[256];
    unsigned uid = FIRST_UID + (unsigned)getpid();
    slurp("/proc/self/uid_map", text, sizeof text);
    int64_t first = status_number(text, ""), outside = 0;
    const char *at = text + strspn(text, " ");
    at += strspn(at, "0123456789");
    outside = status_number(at, " ");
    return first == 0 && outside == 0 ? uid : 0;
}

/* Apart from its caller, and with its paths and rules off the stack: it may be small (ulimit -s 64). */
static __attribute__((noinline)) int main_inside(void)
{
    inside *in = mmap(NULL, sizeof *in, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    lmf__sandbox_word w = { .kind = 'r' };
    if (in == MAP_FAILED || !receive_job(in))
        return 2;
    in->monitor = getpid();
    in->program = *in->program ? in->program : NULL;
    signal(SIGPIPE, SIG_IGN);
    umask(077);
    setsid();
    if (in->head.deny && lmf__feature_deny(in->head.deny)) {
        say(&w, "a feature could not be taken away for a test");
        tell(LMF__SANDBOX_FD, &w);
        return 1;
    }
    errno = 0;
    in->abi = lmf__landlock_abi();
    if (in->head.landlock_cap && in->abi > (int)in->head.landlock_cap)
        in->abi = (int)in->head.landlock_cap;
    in->uid = geteuid() ? geteuid() : choose_uid();
    in->n_others = geteuid() || !in->uid ? count_others() : 0;
    if (geteuid() == 0 && in->uid && !give_scratch(in))
        in->uid = 0;
    if (in->head.check)
        return check(in);
    if (in->head.space[0] && look_at_spaces(in, &w)) {
        tell(LMF__SANDBOX_FD, &w);
        return 1;
    }
    for (int f = LMF__F_PROC; f <= LMF__F_CLOSE_RANGE; f++)
        if (put(in, f, &w)) {
            tell(LMF__SANDBOX_FD, &w);
            return 1;
        }
    for (int i = -1; i < 0 || lethal[i]; i++)
        if (probe(in, i, &w)) {
            w.kind = 'r';
            tell(LMF__SANDBOX_FD, &w);
            return 1;
        }
    return run_program(in);
}

int lmf_sandbox_main(int argc, char **argv)
{
    return argc == 2 && strcmp(argv[1], LMF__SANDBOX_ENTRY) == 0 ? main_inside() : -1;
}
