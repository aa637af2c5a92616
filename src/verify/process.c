/* SPDX-License-Identifier: Apache-2.0 */
/* A program of the user's that judges: it gets a line of JSON for each answer, {"answer", "reference", "row", "tokens"}, and writes one
 * line back, {"score": 0.5} or the number alone. It is started by the shell with the first answer and lives as long as the run.
 * Rule: lines and answers to them go in turn; a program that was late, died, or wrote what is no score is ended, and the next answer starts
 * it anew, so that no line is taken for the answer to another. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/plain.h"
#include "verify/verify.h"

enum { MAX_REPLY = 1 << 16, MAX_REQUEST = 1 << 26, SHOWN = 200 };
extern char **environ;

typedef struct process {
    const char *command;
    double      timeout_s;
    pid_t       pid;         /* 0: not started */
    int         fd;          /* its input and output */
    lmf_buf     reply;       /* what came of the line */
} process;

static void stop(process *p)
{
    if (!p->pid)
        return;
    close(p->fd);
    kill(-p->pid, SIGKILL); /* its group: what a shell started, too */
    while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    p->pid = 0;
}

static lmf_status start(lmf_ctx *ctx, process *p)
{
    int pair[2];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    sigset_t none, all;
    char *const argv[] = { "sh", "-c", (char *)(uintptr_t)p->command, NULL };
    LMF_TRY(lmf_shim(ctx, LMF_SITE_OPEN));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return LMF_FAIL(ctx, LMF_E_IO, "can't start \"%.200s\": %s", p->command, strerror(errno));
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pair[1], 0);
    posix_spawn_file_actions_adddup2(&actions, pair[1], 1);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF); /* Ctrl-C is the run's */
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    int bad = posix_spawn(&p->pid, "/bin/sh", &actions, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&actions);
    close(pair[1]);
    p->fd = pair[0];
    if (!bad)
        return LMF_OK;
    close(pair[0]);
    p->pid = 0;
    return LMF_FAIL(ctx, LMF_E_IO, "can't start \"%.200s\": %s", p->command, strerror(bad));
}

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Until the socket can be read or written; LMF_E_IO where that takes too long. */
static lmf_status wait_for(lmf_ctx *ctx, const process *p, short events, double until)
{
    struct pollfd f = { p->fd, events, 0 };
    for (;;) {
        double left = until - now_seconds();
        int n = left > 0 ? poll(&f, 1, (int)(left * 1000) + 1) : 0;
        if (n > 0)
            return LMF_OK;
        if (n == 0)
            return LMF_FAIL(ctx, LMF_E_IO, "\"%.200s\" has not answered within %g seconds (--reward-timeout)", p->command, p->timeout_s);
        if (errno != EINTR)
            return LMF_FAIL(ctx, LMF_E_IO, "\"%.200s\": %s", p->command, strerror(errno));
    }
}

static lmf_status gone(lmf_ctx *ctx, process *p)
{
    int status = 0;
    pid_t got;
    while ((got = waitpid(p->pid, &status, 0)) < 0 && errno == EINTR)
        ;
    close(p->fd);
    kill(-p->pid, SIGKILL);
    p->pid = 0;
    if (got > 0 && WIFSIGNALED(status))
        return LMF_FAIL(ctx, LMF_E_IO, "\"%.200s\" ended by signal %d and gave no score", p->command, WTERMSIG(status));
    return LMF_FAIL(ctx, LMF_E_IO, "\"%.200s\" ended with status %d and gave no score", p->command,
        WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static lmf_status exchange(lmf_ctx *ctx, process *p, const char *line, size_t n)
{
    double until = now_seconds() + p->timeout_s;
    char part[4096];
    lmf_buf_truncate(&p->reply, 0);
    if (recv(p->fd, part, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "\"%.200s\" wrote more than one line for one answer", p->command);
    for (size_t at = 0; at < n;) {
        LMF_TRY(wait_for(ctx, p, POLLOUT, until));
        ssize_t k = send(p->fd, line + at, n - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k < 0 && (errno == EPIPE || errno == ECONNRESET))
            return gone(ctx, p);
        if (k < 0 && errno != EINTR && errno != EAGAIN)
            return LMF_FAIL(ctx, LMF_E_IO, "can't write to \"%.200s\": %s", p->command, strerror(errno));
        at += k > 0 ? (size_t)k : 0;
    }
    for (;;) {
        LMF_TRY(wait_for(ctx, p, POLLIN, until));
        ssize_t k = recv(p->fd, part, sizeof part, MSG_DONTWAIT);
        if (k == 0 || (k < 0 && errno == ECONNRESET))
            return gone(ctx, p);
        if (k < 0 && errno != EINTR && errno != EAGAIN)
            return LMF_FAIL(ctx, LMF_E_IO, "can't read from \"%.200s\": %s", p->command, strerror(errno));
        if (k > 0 && lmf_buf_append(&p->reply, part, (size_t)k))
            return LMF_FAIL(ctx, LMF_E_LIMIT, "\"%.200s\" wrote over %d bytes for one answer", p->command, MAX_REPLY);
        const char *end = k > 0 ? memchr(p->reply.data, '\n', p->reply.n) : NULL;
        if (end && end + 1 < p->reply.data + p->reply.n)
            return LMF_FAIL(ctx, LMF_E_FORMAT, "\"%.200s\" wrote more than one line for one answer", p->command);
        if (end)
            return LMF_OK;
    }
}

/* The score that a reply gives. False: none. */
static bool read_score(const lmf_buf *reply, double *score)
{
    json_t *j = json_loadb(reply->data, reply->n, JSON_DECODE_ANY, NULL);
    const json_t *number = json_is_object(j) ? json_object_get(j, "score") : j;
    bool ok = json_is_number(number);
    *score = ok ? json_number_value(number) : 0;
    json_decref(j);
    return ok;
}

static lmf_status write_request(lmf_ctx *ctx, const lmf_verify_in *in, lmf_buf *out)
{
    json_t *answer = json_stringn(in->text, in->n); /* NULL: not UTF-8 */
    json_t *j = json_pack("{s:o?, s:s?, s:O*, s:i}", "answer", answer, "reference", in->reference, "row", (json_t *)(uintptr_t)in->row,
                          "tokens", (int)in->n_tok);
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    if (!text)
        return LMF_NO_MEMORY(ctx, in->n, "a reward's question");
    lmf_buf_puts(out, text);
    free(text); /* allowed: jansson's own */
    return lmf_buf_putc(out, '\n');
}

static lmf_status score(lmf_ctx *ctx, void *state, const lmf_verify_in *in, double *out)
{
    process *p = state;
    lmf_buf line;
    char shown[SHOWN + 1];
    lmf_buf_init(&line, ctx, MAX_REQUEST);
    lmf_status s = write_request(ctx, in, &line);
    if (!s && !p->pid)
        s = start(ctx, p);
    if (!s)
        s = exchange(ctx, p, lmf_buf_str(&line), line.n);
    lmf_buf_clear(&line);
    if (!s && !read_score(&p->reply, out))
        s = LMF_FAIL(ctx, LMF_E_FORMAT, "\"%.200s\" wrote no score, {\"score\": NUMBER} or a number, but: %s", p->command,
                     lmf_plain_text(lmf_buf_str(&p->reply), shown, sizeof shown));
    if (s)
        stop(p);
    return s;
}

static void close_process(lmf_ctx *ctx, void *state)
{
    process *p = state;
    stop(p);
    lmf_buf_clear(&p->reply);
    lmf_delete(ctx, p);
}

static lmf_status open_process(lmf_ctx *ctx, const char *argument, const lmf_verify_opts *opts, void **state)
{
    process *p = lmf_new(ctx, process);
    if (!p)
        return LMF_NO_MEMORY(ctx, sizeof *p, "a reward");
    p->command = argument, p->timeout_s = opts->timeout_s;
    lmf_buf_init(&p->reply, ctx, MAX_REPLY);
    *state = p;
    return LMF_OK;
}

const lmf_verifier lmf_verifier_process = { .name = "process", .summary = "what a program of yours says of the answer",
    .argument = "a command for the shell, which reads a line of JSON an answer and writes a line with its score", .needs_argument = true,
    .open = open_process, .close = close_process, .score = score };
