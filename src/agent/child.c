/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the group is killed while its leader is not yet waited for, so that the number is nobody else's. */
#include "agent/child.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "agent/tool.h"

static int spawn(lmf_child *c, char *const *argv, char *const *env, int io, int err)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, io, 0);
    posix_spawn_file_actions_adddup2(&actions, io, 1);
    if (err >= 0)
        posix_spawn_file_actions_adddup2(&actions, err, 2);
    else
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
#if defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 34)
    posix_spawn_file_actions_addclosefrom_np(&actions, 3); /* every descriptor of ours closes at exec; this holds for those of others,
        too */
#endif
#endif
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    int bad = posix_spawnp(&c->pid, argv[0], &actions, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    return bad;
}

lmf_status lmf__child_start(lmf_ctx *ctx, char *const *argv, char *const *env, bool keeps_errors, lmf_child *c)
{
    int pair[2] = { -1, -1 }, err[2] = { -1, -1 };
    *c = (lmf_child){ .fd = -1, .err = -1 };
    LMF_TRY(lmf_shim(ctx, LMF_SITE_OPEN) ? LMF_FAIL(ctx, LMF_E_IO, "%.200s can't be started", argv[0]) : LMF_OK);
    int bad = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) || (keeps_errors && pipe2(err, O_CLOEXEC)) ? errno : 0;
    if (!bad)
        bad = spawn(c, argv, env, pair[1], err[1]);
    if (pair[1] >= 0)
        close(pair[1]);
    if (err[1] >= 0)
        close(err[1]);
    if (!bad) {
        c->fd = pair[0], c->err = err[0];
        if (c->err >= 0)
            fcntl(c->err, F_SETFL, O_NONBLOCK);
        return LMF_OK;
    }
    if (pair[0] >= 0)
        close(pair[0]);
    if (err[0] >= 0)
        close(err[0]);
    c->pid = 0;
    return LMF_FAIL(ctx, LMF_E_IO, "%.200s can't be started: %s", argv[0], strerror(bad));
}

void lmf__child_send(lmf_child *c, const char *text, size_t n, size_t *at)
{
    ssize_t k = send(c->fd, text + *at, n - *at, MSG_NOSIGNAL | MSG_DONTWAIT);
    *at = k > 0 ? *at + (size_t)k : k < 0 && errno != EINTR && errno != EAGAIN ? n : *at; /* it need not read them */
}

void lmf__child_listen(lmf_child *c)
{
    char bytes[4096];
    ssize_t n;
    while (c->err >= 0 && (n = read(c->err, bytes, sizeof bytes)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        size_t room = sizeof c->said - 1, k = n < 0 ? 0 : (size_t)n;
        if (n < 0)
            break;
        const char *from = k > room ? bytes + (k - room) : bytes;
        k = k > room ? room : k;
        size_t keep = c->n_said + k > room ? room - k : c->n_said;
        memmove(c->said, c->said + c->n_said - keep, keep);
        memcpy(c->said + keep, from, k);
        c->n_said = keep + k;
        c->said[c->n_said] = 0;
    }
    if (c->err >= 0)
        close(c->err), c->err = -1;
}

bool lmf__child_end(lmf_child *c, double until, int *status)
{
    siginfo_t info;
    bool ended = false;
    int rc;
    if (!c->pid)
        return true;
    close(c->fd);
    do {
        info = (siginfo_t){ 0 };
        rc = waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT);
        ended = rc == 0 && info.si_pid;
        if (!ended && (rc == 0 || errno == EINTR))
            poll(NULL, 0, 5);
    } while (!ended && (rc == 0 || errno == EINTR) && lmf_tool_clock_now() < until);
    kill(-c->pid, SIGKILL);
    while (waitpid(c->pid, status, 0) < 0 && errno == EINTR)
        ;
    lmf__child_listen(c);
    if (c->err >= 0)
        close(c->err);
    *c = (lmf_child){ .fd = -1, .err = -1 };
    return ended;
}
