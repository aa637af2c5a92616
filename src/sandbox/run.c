/* SPDX-License-Identifier: Apache-2.0 */
/* The caller's side: finds the program and what it may read, starts the fresh process (inside.c), gathers output, gives the result.
 * Rule: it never forks by itself, as the caller may have threads and locks; whatever it started has ended when it returns. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/plain.h"
#include "sandbox/parts.h"

enum { POLL_MS = 50, LATE_S = 15, FIRST_FD = 10 };

void lmf_sandbox_limits_default(lmf_sandbox_limits *l)
{
    *l = (lmf_sandbox_limits){ .wall_s = 10, .cpu_s = 10, .memory_bytes = 512 << 20, .file_bytes = 16 << 20, .scratch_bytes = 64 << 20,
                               .n_files = 1000, .n_processes = 16, .n_open = 64, .output_bytes = 1 << 20 };
}

const char *lmf_sandbox_end_text(lmf_sandbox_end e)
{
    static const char *const text[] = {
        [LMF_SANDBOX_EXITED] = "exited", [LMF_SANDBOX_SIGNALLED] = "ended by a signal",
        [LMF_SANDBOX_SYSCALL] = "ended for a system call that is not allowed", [LMF_SANDBOX_WALL] = "ended at the time limit",
        [LMF_SANDBOX_CPU] = "ended at the limit of processor time", [LMF_SANDBOX_MEMORY] = "ended at the limit of memory",
        [LMF_SANDBOX_SCRATCH] = "ended for too many bytes in the scratch folder", [LMF_SANDBOX_FILES] = "ended for too many files",
        [LMF_SANDBOX_FILE_SIZE] = "ended for too large a file", [LMF_SANDBOX_STOPPED] = "stopped" };
    return (unsigned)e < sizeof text / sizeof *text ? text[e] : "?";
}

static lmf_status check_limits(lmf_ctx *ctx, const lmf_sandbox_limits *l)
{
    const struct { const char *name; double value, lo, hi; } range[] = {
        { "wall_s", l->wall_s, 0.01, 1e6 }, { "cpu_s", l->cpu_s, 0.01, 1e6 }, 
        { "memory_bytes", (double)l->memory_bytes, 1 << 20, 1e15 },
        { "file_bytes", (double)l->file_bytes, 0, 1e15 }, { "scratch_bytes", (double)l->scratch_bytes, 0, 1e15 },
        { "n_files", (double)l->n_files, 0, 1e6 }, { "n_processes", (double)l->n_processes, 1, 4096 },
        { "n_open", (double)l->n_open, 8, 65536 },
        { "output_bytes", (double)l->output_bytes, 0, 1 << 30 } };
    for (size_t i = 0; i < sizeof range / sizeof *range; i++)
        if (!(range[i].value >= range[i].lo && range[i].value <= range[i].hi))
            return LMF_FAIL(ctx, LMF_E_ARG, "the sandbox's limit %s is %g; %g to %g are possible", range[i].name, range[i].value,
                            range[i].lo, range[i].hi);
    return LMF_OK;
}

/* ---- the program and what it may read ---- */

typedef struct paths { char at[2 * LMF_SANDBOX_MAX_READ][4096]; int n; } paths;

static void add(paths *p, const char *fmt, const char *a, const char *b) __attribute__((format(printf, 2, 0)));
static void add(paths *p, const char *fmt, const char *a, const char *b)
{
    if (p->n < 2 * LMF_SANDBOX_MAX_READ) {
        int k = snprintf(p->at[p->n], sizeof p->at[0], fmt, a, b);
        p->n += k > 0 && k < (int)sizeof p->at[0];
    }
}

typedef enum binary { BINARY, SCRIPT, NEITHER, MISSING } binary;

/* What a path leads to; loader: of a dynamic program, "" for a static one. */
static binary look(const char *path, char *loader, size_t n)
{
    unsigned char head[4096] = { 0 };
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t k = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read(fd, head, sizeof head) : -1;
    *loader = 0;
    if (fd >= 0)
        close(fd);
    if (k < 0 || access(path, X_OK))
        return MISSING;
    if (k > 1 && head[0] == '#' && head[1] == '!')
        return SCRIPT;
    if (k < (ssize_t)sizeof(Elf64_Ehdr) || memcmp(head, ELFMAG, SELFMAG) || head[EI_CLASS] != ELFCLASS64)
        return NEITHER;
    Elf64_Ehdr e;
    memcpy(&e, head, sizeof e);
    for (unsigned i = 0; i < e.e_phnum; i++) {
        Elf64_Phdr h;
        if (e.e_phoff > sizeof head || e.e_phoff + (i + 1) * sizeof h > sizeof head)
            break;
        memcpy(&h, head + e.e_phoff + i * sizeof h, sizeof h);
        if (h.p_type == PT_INTERP && h.p_offset < sizeof head && h.p_filesz <= sizeof head - h.p_offset && h.p_filesz < n)
            memcpy(loader, head + h.p_offset, h.p_filesz), loader[h.p_filesz] = 0;
    }
    return BINARY;
}

/* Whether anybody may run it, as the user whom the program becomes where the caller is root. */
static bool is_open(const char *path)
{
    char real[PATH_MAX];
    struct stat st;
    if (geteuid() != 0)
        return true;
    if (strlen(path) >= sizeof real || !realpath(path, real) || stat(real, &st) || !(st.st_mode & S_IXOTH))
        return false;
    for (int i = 0; i < 2; i++) {
        if (i)
            snprintf(real, sizeof real, "%s", path);
        for (char *slash = strrchr(real, '/'); slash && slash != real; slash = strrchr(real, '/')) {
            *slash = 0;
            if (stat(real, &st) || !(st.st_mode & S_IXOTH))
                return false;
        }
    }
    return true;
}

static lmf_status find_program(lmf_ctx *ctx, const char *name, char *path, size_t n, char *loader, size_t n_loader)
{
    binary kind = MISSING, best = MISSING;
    bool closed = false;
    const char *dirs = strchr(name, '/') ? NULL : getenv("PATH");
    if (strchr(name, '/')) {
        snprintf(path, n, "%s", name);
        kind = best = look(path, loader, n_loader);
    } else {
        for (const char *at = dirs && *dirs ? dirs : "/usr/local/bin:/usr/bin:/bin"; kind != BINARY && *at;) {
            size_t k = strcspn(at, ":");
            snprintf(path, n, "%.*s/%s", (int)k, at, name);
            kind = k ? look(path, loader, n_loader) : MISSING; /* scripts, as of version managers, are passed over */
            if (kind == BINARY && !is_open(path)) /* and what root alone can reach */
                kind = MISSING, closed = true;
            best = kind < best ? kind : best;
            at += k + (at[k] != 0);
        }
    }
    if (kind == BINARY)
        return LMF_OK;
    if (closed)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "as root the program runs as a user of its own, who can't reach any %.200s of PATH: "
                        "install one that everybody may run", name);
    if (best == SCRIPT)
        return LMF_FAIL(ctx, LMF_E_ARG, "%.200s is a script; the sandbox takes the program that runs it, such as /usr/bin/python3", name);
    if (best == NEITHER)
        return LMF_FAIL(ctx, LMF_E_ARG, "%.200s is no program for 64-bit Linux", name);
    return LMF_FAIL(ctx, LMF_E_ARG, "there is no program %.200s that can be run", name);
}

static void parent(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = 0;
}

/* The system's libraries, those beside the program where it is installed, and its own settings. */
static void readable(const char *program, const char *real, paths *p)
{
    static const char *const always[] = { "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache",
                                          "/etc/localtime", "/usr/share/zoneinfo" };
    const char *base = strrchr(real, '/');
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        add(p, "%s%s", always[i], "");
    for (int i = 0; i < 2; i++) {
        char prefix[4096];
        snprintf(prefix, sizeof prefix, "%s", i ? real : program);
        parent(prefix);
        parent(prefix);
        add(p, "%s/%s", prefix, "lib");
        add(p, "%s/%s", prefix, "lib64");
        add(p, "%s/%s", prefix, "pyvenv.cfg");
    }
    add(p, "/etc/%s%s", base ? base + 1 : real, "");
}

/* ---- the fresh process ---- */

typedef struct run {
    lmf_ctx   *ctx;
    const lmf_sandbox_job *job;
    lmf_sandbox_result *r;
    pid_t      pid, group;      /* of the fresh process; of the program once it started */
    int        out[2], err[2], control[2], in, talk; /* talk: our end of its input, where that goes on; -1 */
    bool       talks;
    lmf_buf    spec;
    bool       started;         /* the program did */
    char       bwrap[4096], self[PATH_MAX]; /* tier B */
} run;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void shut(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* Above those that the fresh process gets. */
static int high(int fd)
{
    int to = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FD) : -1;
    if (fd >= 0)
        close(fd);
    return to;
}

static lmf_status open_pipes(run *u)
{
    int *pair[] = { u->out, u->err, u->control };
    bool ok = lmf_shim(u->ctx, LMF_SITE_OPEN) == 0;
    for (int i = 0; ok && i < 3; i++) {
        ok = i < 2 ? pipe2(pair[i], O_CLOEXEC) == 0 : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair[i]) == 0;
        for (int k = 0; ok && k < 2; k++)
            ok = (pair[i][k] = high(pair[i][k])) >= 0;
        if (ok && i < 2)
            ok = fcntl(pair[i][0], F_SETFL, O_NONBLOCK) == 0;
    }
    if (ok && u->talks) {
        int ends[2];
        ok = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0;
        if (ok)
            u->talk = high(ends[0]), u->in = high(ends[1]);
        ok = ok && u->talk >= 0 && shutdown(u->talk, SHUT_RD) == 0;
    } else if (ok && u->job->n_in == 0) {
        u->in = high(open("/dev/null", O_RDONLY | O_CLOEXEC));
    } else if (ok) {
        u->in = high((int)memfd_create("stdin", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        size_t at = 0;
        while (u->in >= 0 && at < u->job->n_in) {
            ssize_t k = write(u->in, (const char *)u->job->in + at, u->job->n_in - at);
            if (k < 0 && errno != EINTR)
                break;
            at += k > 0 ? (size_t)k : 0;
        }
        ok = u->in >= 0 && at == u->job->n_in && lseek(u->in, 0, SEEK_SET) == 0
          && fcntl(u->in, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0;
    }
    return ok && u->in >= 0 ? LMF_OK : LMF_FAIL(u->ctx, LMF_E_IO, "no pipes for the sandbox: %s", strerror(errno));
}

/* The fresh process within namespaces of its own. As root it keeps what it needs to become another user. */
static void wrap(run *u, const char **argv)
{
    static const char *const spaces[] = { "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent",
                                          "--new-session", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--chdir",
                                          "/", "--bind" };
    int n = 0;
    argv[n++] = "bwrap";
    if (geteuid() == 0)
        argv[n++] = "--cap-add", argv[n++] = "ALL";
    else
        argv[n++] = "--unshare-user";
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        argv[n++] = spaces[i];
    argv[n++] = u->r->scratch, argv[n++] = u->r->scratch, argv[n++] = "--", argv[n++] = u->self, argv[n++] = LMF__SANDBOX_ENTRY;
    argv[n] = NULL;
}

static lmf_status start(run *u)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    const char *argv[32] = { "lmfast-sandbox", LMF__SANDBOX_ENTRY };
    char *env[] = { NULL };
    const char *helper = u->job->helper ? u->job->helper : "/proc/self/exe", *program = helper;
    if (u->job->tier == LMF_SANDBOX_TIER_B) {
        u->self[0] = 0;
        if (!realpath(helper, u->self))
            return LMF_FAIL(u->ctx, LMF_E_IO, "can't start the sandbox's process %.200s: %s", helper, strerror(errno));
        program = u->bwrap;
        wrap(u, argv);
    }
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, u->in, 0);
    posix_spawn_file_actions_adddup2(&actions, u->out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, u->err[1], 2);
    posix_spawn_file_actions_adddup2(&actions, u->control[1], LMF__SANDBOX_FD);
    posix_spawn_file_actions_addclosefrom_np(&actions, LMF__SANDBOX_FD + 1);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    int error = lmf_shim(u->ctx, LMF_SITE_OPEN);
    if (!error)
        error = posix_spawn(&u->pid, program, &actions, &attr, (char *const *)(uintptr_t)argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    if (error) {
        u->pid = 0;
        return LMF_FAIL(u->ctx, LMF_E_IO, "can't start the sandbox's process %.200s: %s", program, strerror(error));
    }
    shut(&u->out[1]), shut(&u->err[1]), shut(&u->control[1]), shut(&u->in);
    return LMF_OK;
}

static lmf_status put_strings(lmf_buf *b, const char *const *s, uint32_t *n, uint32_t max)
{
    *n = 0;
    for (; s && s[*n]; ++*n) {
        if (*n >= max)
            return LMF_FAIL(b->ctx, LMF_E_ARG, "more than %u arguments or paths for the sandbox", max);
        LMF_TRY(lmf_buf_append(b, s[*n], strlen(s[*n]) + 1));
    }
    return LMF_OK;
}

static lmf_status put_paths(lmf_buf *b, const paths *p, uint32_t *n)
{
    for (int i = 0; i < p->n; i++, ++*n)
        LMF_TRY(lmf_buf_append(b, p->at[i], strlen(p->at[i]) + 1));
    return LMF_OK;
}

/* The job as inside.c reads it. program NULL: only what is needed to try the features. */
static lmf_status make_spec(run *u, const lmf__sandbox_test *test, const char *program, const char *loader, bool check)
{
    lmf__sandbox_head head = { .check = check, .limits = u->job->limits };
    paths *p = lmf_new(u->ctx, paths);
    char real[4096] = "";
    if (!p)
        return LMF_NO_MEMORY(u->ctx, sizeof *p, "paths for the sandbox");
    for (int i = 0; u->job->tier == LMF_SANDBOX_TIER_B && i < LMF__N_SPACES; i++)
        head.space[i] = lmf__space_number(i);
    if (test)
        head.deny = test->deny, head.skip = test->skip, head.landlock_cap = test->landlock_cap;
    lmf_status s = lmf_buf_append(&u->spec, &head, sizeof head);
    if (!s)
        s = lmf_buf_append(&u->spec, u->r->scratch, strlen(u->r->scratch) + 1);
    if (!s)
        s = lmf_buf_append(&u->spec, program ? program : "", program ? strlen(program) + 1 : 1);
    if (!s)
        s = put_strings(&u->spec, u->job->argv, &head.n_argv, LMF_SANDBOX_MAX_ARGS - 1);
    if (!s)
        s = put_strings(&u->spec, u->job->read, &head.n_read, LMF_SANDBOX_MAX_READ);
    if (!s && program && (strlen(program) >= sizeof real || !realpath(program, real)))
        s = LMF_FAIL(u->ctx, LMF_E_ARG, "%.200s: %s", program, strerror(errno));
    if (!s && program) {
        readable(program, real, p);
        s = put_paths(&u->spec, p, &head.n_read);
    }
    p->n = 0;
    add(p, "%s%s", real, "");
    if (*loader)
        add(p, "%s%s", loader, "");
    if (!s && program)
        s = put_paths(&u->spec, p, &head.n_exec);
    lmf_delete(u->ctx, p);
    head.n_bytes = (uint32_t)(u->spec.n - sizeof head);
    if (!s)
        memcpy(u->spec.data, &head, sizeof head);
    return s;
}

static lmf_status send_spec(run *u)
{
    for (size_t at = 0; at < u->spec.n;) {
        ssize_t k = send(u->control[0], u->spec.data + at, u->spec.n - at, MSG_NOSIGNAL);
        if (k < 0 && errno != EINTR && u->job->tier == LMF_SANDBOX_TIER_B)
            return LMF_OK; /* what bubblewrap wrote says more */
        if (k < 0 && errno != EINTR)
            return LMF_FAIL(u->ctx, LMF_E_IO, "the sandbox's process ended at once (%s); is its program one that calls lmf_sandbox_main?",
                            strerror(errno));
        at += k > 0 ? (size_t)k : 0;
    }
    return LMF_OK;
}

/* What is there of a stream; *fd becomes -1 at its end. */
static lmf_status gather(int *fd, lmf_buf *to, uint64_t *n)
{
    char text[1 << 14];
    for (int turn = 0; turn < 64; turn++) {
        ssize_t k = read(*fd, text, sizeof text);
        if (k < 0 && (errno == EAGAIN || errno == EINTR))
            return LMF_OK;
        if (k <= 0) {
            shut(fd);
            return LMF_OK;
        }
        *n += (uint64_t)k;
        size_t room = to->max - to->n;
        if (room)
            LMF_TRY(lmf_buf_append(to, text, (size_t)k < room ? (size_t)k : room));
    }
    return LMF_OK;
}

static bool take_word(run *u, lmf__sandbox_word *w)
{
    for (size_t at = 0; at < sizeof *w;) {
        ssize_t k = recv(u->control[0], (char *)w + at, sizeof *w - at, 0);
        if (k <= 0 && !(k < 0 && errno == EINTR))
            return false;
        at += k > 0 ? (size_t)k : 0;
    }
    w->name[sizeof w->name - 1] = w->text[sizeof w->text - 1] = 0;
    return true;
}

static lmf_status refuse(lmf_ctx *ctx, const lmf__sandbox_word *w)
{
    return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "the sandbox does not hold here, so nothing was run: %s: %s (lmfast sandbox check says all)",
                    w->name, w->text);
}

/* Bubblewrap ended before the fresh process spoke; what it wrote says why. */
static lmf_status no_spaces(run *u)
{
    char shown[256];
    for (int i = 0; i < 20 && u->err[0] >= 0; i++) {
        poll(&(struct pollfd){ u->err[0], POLLIN, 0 }, 1, POLL_MS);
        LMF_TRY(gather(&u->err[0], &u->r->err, &u->r->n_err));
    }
    return LMF_FAIL(u->ctx, LMF_E_UNSUPPORTED, "the sandbox's tier B does not hold here, so nothing was run: namespaces: %s",
                    lmf_plain_text(lmf_buf_str(&u->r->err), shown, sizeof shown));
}

/* Until the fresh process said how it ended and both streams did. */
static lmf_status attend(run *u)
{
    lmf_sandbox_result *r = u->r;
    double late = now() + u->job->limits.wall_s + LATE_S;
    bool done = false, told = false;
    while (!done || u->out[0] >= 0 || u->err[0] >= 0) {
        struct pollfd p[3] = { { u->control[0], POLLIN, 0 }, { u->out[0], POLLIN, 0 }, { u->err[0], POLLIN, 0 } };
        if (done)
            p[0].fd = -1;
        poll(p, 3, POLL_MS);
        if (p[1].revents)
            LMF_TRY(gather(&u->out[0], &r->out, &r->n_out));
        if (p[2].revents)
            LMF_TRY(gather(&u->err[0], &r->err, &r->n_err));
        if (!done && p[0].revents) {
            lmf__sandbox_word w = { 0 };
            if (!take_word(u, &w) && !u->started && u->job->tier == LMF_SANDBOX_TIER_B)
                return no_spaces(u);
            if (w.kind == 0)
                return LMF_FAIL(u->ctx, LMF_E_IO, "the sandbox's own process ended before it said how the program did");
            if (w.kind == 'r')
                return refuse(u->ctx, &w);
            u->started |= w.kind == 's';
            if (w.kind == 's' && u->job->tier == LMF_SANDBOX_TIER_A) /* else a number of its own namespace */
                u->group = (pid_t)w.code;
            done = w.kind == 'd';
            if (done)
                r->end = (lmf_sandbox_end)w.end, r->code = w.code, r->wall_s = w.wall_s, r->cpu_s = w.cpu_s, r->peak_bytes = w.peak_bytes;
        }
        if (!done && !told && u->job->stop && u->job->stop(u->job->stop_user)) {
            told = true;
            shutdown(u->control[0], SHUT_WR);
            late = now() + LATE_S;
        }
        if (now() > late)
            return LMF_FAIL(u->ctx, LMF_E_IO, "the sandbox's own process does not answer; it was killed");
    }
    return LMF_OK;
}

/* Whatever led here, nothing of it goes on. */
static void finish(run *u)
{
    bool killed = false;
    shut(&u->talk), shut(&u->control[0]);     /* the fresh process ends what it started, and itself */
    for (double until = now() + LATE_S; u->pid;) {
        int status;
        pid_t pid = waitpid(u->pid, &status, killed ? 0 : WNOHANG);
        if (pid == u->pid || (pid < 0 && errno != EINTR))
            break;
        if (!killed && now() > until) {
            if (u->group > 0)
                kill(-u->group, SIGKILL);
            kill(u->pid, SIGKILL);
            killed = true;
        }
        if (!killed)
            poll(NULL, 0, 1);
    }
    shut(&u->out[0]), shut(&u->out[1]), shut(&u->err[0]), shut(&u->err[1]), shut(&u->control[1]), shut(&u->in);
    lmf_buf_clear(&u->spec);
}

/* Tier B's program, or why there is none. */
static lmf_status find_bwrap(run *u)
{
    char loader[4096];
    if (u->job->tier == LMF_SANDBOX_TIER_B
        && find_program(u->ctx, u->job->bwrap ? u->job->bwrap : "bwrap", u->bwrap, sizeof u->bwrap, loader, sizeof loader))
        return LMF_FAIL(u->ctx, LMF_E_UNSUPPORTED, "the sandbox's tier B does not hold here, so nothing was run: namespaces: there is no "
                        "bubblewrap (%.200s)", u->job->bwrap ? u->job->bwrap : "bwrap");
    return LMF_OK;
}

static void begin(run *u, lmf_ctx *ctx, const lmf_sandbox_job *job, lmf_sandbox_result *r)
{
    *u = (run){ .ctx = ctx, .job = job, .r = r, .out = { -1, -1 }, .err = { -1, -1 }, .control = { -1, -1 }, .in = -1,
                .talk = -1 };
    memset(r, 0, sizeof *r);
    r->ctx = ctx;
    lmf_buf_init(&u->spec, ctx, LMF__SANDBOX_MAX_SPEC);
    lmf_buf_init(&r->out, ctx, (size_t)job->limits.output_bytes);
    lmf_buf_init(&r->err, ctx, (size_t)job->limits.output_bytes);
}

/* Up to the program's start: the fresh process has its job. finish() follows, whatever comes of it. */
static lmf_status launch(run *u, const lmf__sandbox_test *test, const char *program, const char *loader)
{
    const lmf_sandbox_job *job = u->job;
    LMF_TRY(find_bwrap(u));
    LMF_TRY(lmf__scratch_open(u->ctx, u->r->scratch, sizeof u->r->scratch));
    for (int i = 0; i < job->n_files; i++)
        LMF_TRY(lmf__scratch_put(u->ctx, u->r->scratch, &job->files[i]));
    LMF_TRY(make_spec(u, test, program, loader, false));
    LMF_TRY(open_pipes(u));
    LMF_TRY(start(u));
    return send_spec(u);
}

static lmf_status check_job(lmf_ctx *ctx, const lmf_sandbox_job *job, char *program, size_t n, char *loader, size_t n_loader)
{
    if (!job->argv || !job->argv[0])
        return LMF_FAIL(ctx, LMF_E_ARG, "no program was given to the sandbox");
    LMF_TRY(check_limits(ctx, &job->limits));
    return find_program(ctx, job->argv[0], program, n, loader, n_loader);
}

lmf_status lmf__sandbox_run(lmf_ctx *ctx, const lmf_sandbox_job *job, const lmf__sandbox_test *test, lmf_sandbox_result *r)
{
    char program[4096], loader[4096];
    run u;
    memset(r, 0, sizeof *r);
    LMF_TRY(check_job(ctx, job, program, sizeof program, loader, sizeof loader));
    begin(&u, ctx, job, r);
    lmf_status s = launch(&u, test, program, loader);
    if (!s)
        s = attend(&u);
    finish(&u);
    if (!s)
        s = lmf__scratch_list(r);
    if (s)
        lmf_sandbox_result_clear(r);
    return s;
}

lmf_status lmf_sandbox_run(lmf_ctx *ctx, const lmf_sandbox_job *job, lmf_sandbox_result *r) { return lmf__sandbox_run(ctx, job, NULL, r); }

static void free_left(lmf_sandbox_result *r)
{
    for (int i = 0; i < r->n_left; i++)
        lmf_free(r->ctx, r->left[i].name, strlen(r->left[i].name) + 1);
    r->n_left = 0, r->left_cut = false;
}

void lmf_sandbox_result_clear(lmf_sandbox_result *r)
{
    if (!r->ctx)
        return;
    lmf__scratch_remove(r->scratch);
    free_left(r);
    lmf_free(r->ctx, r->left, (size_t)r->cap_left * sizeof *r->left);
    lmf_buf_clear(&r->out);
    lmf_buf_clear(&r->err);
    memset(r, 0, sizeof *r);
}

/* ---- a program that goes on ---- */

struct lmf_sandbox_live {
    run                u;
    lmf_sandbox_job    job;
    lmf_sandbox_result r;
};

/* A word of the fresh process: whether the program started, or how it ended. */
static lmf_status hear(lmf_sandbox_live *l)
{
    lmf__sandbox_word w = { 0 };
    char shown[256];
    if (!take_word(&l->u, &w) || (w.kind != 's' && w.kind != 'r' && w.kind != 'd')) {
        if (!l->u.started && l->job.tier == LMF_SANDBOX_TIER_B)
            return no_spaces(&l->u);
        return LMF_FAIL(l->u.ctx, LMF_E_IO, "the sandbox's own process ended before it said how the program did");
    }
    if (w.kind == 'r')
        return refuse(l->u.ctx, &w);
    if (w.kind == 's') {
        l->u.started = true;
        l->u.group = l->job.tier == LMF_SANDBOX_TIER_A ? (pid_t)w.code : 0;
        return LMF_OK;
    }
    LMF_TRY(gather(&l->u.err[0], &l->r.err, &l->r.n_err));
    lmf_plain_text(lmf_buf_str(&l->r.err), shown, sizeof shown);
    return LMF_FAIL(l->u.ctx, LMF_E_IO, "the program %s%s%s", lmf_sandbox_end_text((lmf_sandbox_end)w.end),
                    *shown ? "; it had written: " : "", shown);
}

lmf_status lmf_sandbox_start(lmf_ctx *ctx, const lmf_sandbox_job *job, lmf_sandbox_live **out)
{
    char program[4096], loader[4096];
    *out = NULL;
    LMF_TRY(check_job(ctx, job, program, sizeof program, loader, sizeof loader));
    lmf_sandbox_live *l = lmf_new(ctx, lmf_sandbox_live);
    if (!l)
        return LMF_NO_MEMORY(ctx, sizeof *l, "a sandbox");
    l->job = *job;
    begin(&l->u, ctx, &l->job, &l->r);
    l->u.talks = true;
    lmf_status s = launch(&l->u, NULL, program, loader);
    for (double late = now() + LATE_S; !s && !l->u.started;) {
        struct pollfd p = { l->u.control[0], POLLIN, 0 };
        if (poll(&p, 1, POLL_MS) > 0)
            s = hear(l);
        else if (now() > late)
            s = LMF_FAIL(ctx, LMF_E_IO, "the sandbox's own process does not answer; it was killed");
    }
    l->job.files = NULL, l->job.argv = NULL, l->job.read = NULL; /* the caller's, no longer needed */
    if (s)
        lmf_sandbox_end_live(l);
    else
        *out = l;
    return s;
}

lmf_status lmf_sandbox_talk(lmf_sandbox_live *l, const void *in, size_t n, double seconds,
                            bool (*take)(void *user, const char *p, size_t n), void *user)
{
    run *u = &l->u;
    char text[1 << 14];
    size_t at = 0;
    for (double until = now() + seconds;;) {
        struct pollfd p[4] = { { u->out[0], POLLIN, 0 }, { u->control[0], POLLIN, 0 }, { u->err[0], POLLIN, 0 },
                               { at < n ? u->talk : -1, POLLOUT, 0 } };
        double left = until - now();
        if (left <= 0)
            return LMF_FAIL(u->ctx, LMF_E_LIMIT, "the program did not answer within %.3g seconds", seconds);
        poll(p, 4, left < POLL_MS * 1e-3 ? (int)(left * 1000) + 1 : POLL_MS);
        if (p[0].revents) {
            ssize_t k = read(u->out[0], text, sizeof text);
            if (k == 0)
                shut(&u->out[0]);
            if (k > 0 && take(user, text, (size_t)k))
                return LMF_OK;
        } else if (p[1].revents) { /* once what it wrote is read */
            LMF_TRY(hear(l));
        }
        if (p[2].revents)
            LMF_TRY(gather(&u->err[0], &l->r.err, &l->r.n_err));
        if (p[3].revents) {
            ssize_t k = send(u->talk, (const char *)in + at, n - at, MSG_NOSIGNAL | MSG_DONTWAIT);
            at = k > 0 ? at + (size_t)k : k < 0 && errno != EAGAIN && errno != EINTR ? n : at; /* it is ending: its word comes */
        }
    }
}

lmf_status lmf_sandbox_look(lmf_sandbox_live *l, const lmf_sandbox_result **r)
{
    free_left(&l->r);
    *r = &l->r;
    return lmf__scratch_list(&l->r);
}

void lmf_sandbox_end_live(lmf_sandbox_live *l)
{
    if (!l)
        return;
    finish(&l->u);
    lmf_sandbox_result_clear(&l->r);
    lmf_delete(l->u.ctx, l);
}

/* One trial of a tier: facts are added; *holds: all that are needed do. */
static lmf_status try_tier(lmf_ctx *ctx, const lmf_sandbox_job *job, lmf_sandbox_report *out, bool *holds)
{
    lmf_sandbox_result r;
    run u;
    begin(&u, ctx, job, &r);
    lmf_status s = find_bwrap(&u);
    if (!s)
        s = lmf__scratch_open(ctx, r.scratch, sizeof r.scratch);
    if (!s)
        s = make_spec(&u, NULL, NULL, "", true);
    if (!s)
        s = open_pipes(&u);
    if (!s)
        s = start(&u);
    if (!s)
        s = send_spec(&u);
    *holds = !s;
    for (int n = 0; !s; n++) {
        lmf__sandbox_word w = { 0 };
        if (!take_word(&u, &w))
            s = n == 0 && job->tier == LMF_SANDBOX_TIER_B ? no_spaces(&u)
              : LMF_FAIL(ctx, LMF_E_IO, "the sandbox's own process ended during its trials");
        if (s || w.kind == 'e')
            break;
        if (w.kind == 'r')
            s = refuse(ctx, &w);
        if (!s && out->n < LMF_SANDBOX_MAX_FACTS && (job->tier == LMF_SANDBOX_TIER_A || !w.holds || !strcmp(w.name, "namespaces"))) {
            lmf_sandbox_fact *f = &out->fact[out->n++];
            f->holds = w.holds, f->needed = w.needed && job->tier == LMF_SANDBOX_TIER_A;
            memcpy(f->name, w.name, sizeof f->name);
            memcpy(f->text, w.text, sizeof f->text);
        }
        *holds = *holds && !s && (w.holds || !w.needed);
    }
    *holds = *holds && !s;
    finish(&u);
    lmf_sandbox_result_clear(&r);
    return s;
}

lmf_status lmf_sandbox_check(lmf_ctx *ctx, const char *helper, const char *bwrap, lmf_sandbox_report *out)
{
    static const char *const none[] = { NULL };
    lmf_sandbox_job job = { .argv = none, .helper = helper, .bwrap = bwrap };
    memset(out, 0, sizeof *out);
    lmf_sandbox_limits_default(&job.limits);
    LMF_TRY(try_tier(ctx, &job, out, &out->tier_a));
    job.tier = LMF_SANDBOX_TIER_B;
    lmf_status s = try_tier(ctx, &job, out, &out->tier_b);
    if (s == LMF_E_UNSUPPORTED && out->n < LMF_SANDBOX_MAX_FACTS) {
        lmf_sandbox_fact *f = &out->fact[out->n++];
        const char *why = strstr(lmf_error(ctx), "namespaces: ");
        snprintf(f->name, sizeof f->name, "namespaces");
        snprintf(f->text, sizeof f->text, "%.199s", why ? why + strlen("namespaces: ") : lmf_error(ctx));
        s = LMF_OK;
    }
    return s;
}
