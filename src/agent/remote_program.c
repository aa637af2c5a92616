/* SPDX-License-Identifier: Apache-2.0 */
/* A program as a server: a message a line, both ways. Rule: it is read while it is written to, so that neither waits for the other; what it
 * does not read yet waits in order. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "agent/child.h"
#include "agent/frames.h"
#include "agent/remote.h"
#include "agent/tool.h"
#include "base/arena.h"
#include "base/plain.h"

enum { MAX_WORDS = 256, MAX_WAITING = 1 << 25 };
static const double GRACE_S = 1;    /* for its own end, once its input has ended */

typedef struct program {
    lmf_remote_link link;
    lmf_ctx        *ctx;
    lmf_remote_opts o;
    lmf_child       child;
    lmf_frames      frames;
    lmf_buf         out;          /* from at on it waits to be read */
    size_t          at;
    lmf_arena       arena;
} program;

/* ---- the command ---- */

/* Blanks part words; '...' and "..." hold them together, and a backslash, but for within '...', takes what follows as it is. */
static lmf_status split(lmf_arena *a, const char *command, char **argv, int cap)
{
    char *to = lmf_arena_alloc(a, strlen(command) + 1);
    int n = 0;
    if (!to)
        return LMF_NO_MEMORY(a->ctx, strlen(command), "a command");
    for (const char *p = command + strspn(command, " \t\n"); *p; p += strspn(p, " \t\n")) {
        char quote = 0;
        if (n == cap - 1)
            return LMF_FAIL(a->ctx, LMF_E_LIMIT, "a command has more than %d words", cap - 1);
        argv[n++] = to;
        for (; *p && (quote || !strchr(" \t\n", *p)); p++) {
            if (quote ? *p == quote : *p == '\'' || *p == '"')
                quote = quote ? 0 : *p;
            else if (*p == '\\' && quote != '\'' && p[1])
                *to++ = *++p;
            else
                *to++ = *p;
        }
        *to++ = 0;
        if (quote)
            return LMF_FAIL(a->ctx, LMF_E_ARG, "a quote (%c) has no end in \"%.200s\"", quote, command);
    }
    argv[n] = NULL;
    return n && argv[0][0] ? LMF_OK : LMF_FAIL(a->ctx, LMF_E_ARG, "a server of tools is a command or an address, and this is empty");
}

/* No secret of the user's goes to a program for being in the environment. */
static void environment(lmf_arena *a, char **env)
{
    static const char *const names[] = { "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "LC_ALL", "TMPDIR", NULL };
    int n = 0;
    for (int i = 0; names[i]; i++) {
        const char *value = getenv(names[i]);
        char *text = value ? lmf_arena_printf(a, "%s=%s", names[i], value) : NULL;
        if (text)
            env[n++] = text;
    }
    env[n] = NULL;
}

/* ---- its end ---- */

static void end(program *p, double grace, int *status)
{
    if (p->child.pid)
        lmf__child_end(&p->child, lmf_tool_clock_now() + grace, status);
}

static lmf_status ended(program *p)
{
    int status = 0;
    char plain[500], how[40];
    lmf_child *c = &p->child;
    poll(&(struct pollfd){ c->err, POLLIN, 0 }, 1, 50); /* what it said last may still come */
    lmf__child_listen(c);
    const char *said = c->n_said > 400 ? c->said + c->n_said - 400 : c->said;
    lmf_plain_text(said, plain, sizeof plain);
    if (lmf__child_end(c, lmf_tool_clock_now() + GRACE_S, &status) && WIFEXITED(status))
        snprintf(how, sizeof how, "with status %d", WEXITSTATUS(status));
    else
        snprintf(how, sizeof how, "by a signal");
    return LMF_FAIL(p->ctx, LMF_E_IO, "it has ended %s%s%s", how, plain[0] ? "; on standard error it had written: " : "", plain);
}

static void close_program(lmf_remote_link *l)
{
    program *p = (program *)(void *)l;
    int status;
    end(p, GRACE_S, &status);
    lmf__frames_clear(&p->frames);
    lmf_buf_clear(&p->out);
    lmf_arena_clear(&p->arena);
    lmf_delete(p->ctx, p);
}

/* ---- messages ---- */

/* Whether one of the messages that stand ready is the answer. */
static bool hand_over(program *p, lmf_remote_take take, void *user)
{
    const char *text;
    size_t n;
    while (lmf__frames_next(&p->frames, &text, &n))
        if (take(user, text, n))
            return true;
    return false;
}

static lmf_status put_line(program *p, const lmf_remote_message *m)
{
    if (p->at == p->out.n)
        lmf_buf_truncate(&p->out, p->at = 0);
    LMF_TRY(lmf_buf_append(&p->out, m->text, m->n));
    return lmf_buf_putc(&p->out, '\n');
}

/* Writes what waits, reads what is there. *eof: no more comes. */
static lmf_status turn(program *p, int wait_ms, bool *eof)
{
    char bytes[1 << 14];
    struct pollfd f[2] = { { p->child.fd, (short)(POLLIN | (p->at < p->out.n ? POLLOUT : 0)), 0 }, { p->child.err, POLLIN, 0 } };
    int rc = poll(f, 2, wait_ms);
    if (rc < 0 && errno != EINTR)
        return LMF_FAIL(p->ctx, LMF_E_IO, "it can't be waited for: %s", strerror(errno));
    if (rc > 0 && f[1].revents)
        lmf__child_listen(&p->child);
    if (rc > 0 && (f[0].revents & POLLOUT) && p->at < p->out.n)
        lmf__child_send(&p->child, p->out.data, p->out.n, &p->at);
    if (rc > 0 && (f[0].revents & (POLLIN | POLLHUP | POLLERR))) {
        ssize_t k = recv(p->child.fd, bytes, sizeof bytes, MSG_DONTWAIT);
        *eof = k == 0 || (k < 0 && errno != EINTR && errno != EAGAIN);
        if (k > 0)
            return lmf__frames_push(&p->frames, bytes, (size_t)k);
    }
    return LMF_OK;
}

static lmf_status ask(lmf_remote_link *l, const lmf_remote_message *m, double until, lmf_remote_take take, void *user, bool *dead)
{
    program *p = (program *)(void *)l;
    bool eof = false, late = false;
    int status;
    lmf_status s = put_line(p, m);
    while (!s && !late) {
        double left = until - lmf_tool_clock_now();
        late = left <= 0;
        if (p->o.stopped && p->o.stopped(p->o.user))
            return LMF_FAIL(p->ctx, LMF_E_CANCELLED, "stopped by the user");
        if (!late)
            s = turn(p, left > 0.1 ? 100 : (int)(left * 1000) + 1, &eof);
        if (!s && hand_over(p, take, user))
            return LMF_OK;
        if (!s && p->frames.broken)
            s = LMF_FAIL(p->ctx, LMF_E_LIMIT, "a message is longer than %d bytes", LMF_FRAMES_MAX);
        if (!s && eof)
            s = ended(p);
    }
    *dead = s != LMF_OK; /* a line is lost, or what comes can't be told apart any more */
    if (*dead)
        end(p, 0, &status);
    return s ? s : LMF_E_LIMIT;
}

static void tell(lmf_remote_link *l, const lmf_remote_message *m, double until)
{
    program *p = (program *)(void *)l;
    double left;
    if (!p->child.pid || put_line(p, m))
        return;
    lmf__child_send(&p->child, p->out.data, p->out.n, &p->at);
    while (p->at < p->out.n && (left = until - lmf_tool_clock_now()) > 0 &&
           poll(&(struct pollfd){ p->child.fd, POLLOUT, 0 }, 1, left > 1 ? 1000 : (int)(left * 1000) + 1) > 0)
        lmf__child_send(&p->child, p->out.data, p->out.n, &p->at);
}

static const lmf_remote_door door = { ask, tell, close_program, .cancels = false };

lmf_status lmf__remote_program(lmf_ctx *ctx, const char *command, const lmf_remote_opts *o, lmf_remote_link **out)
{
    char *argv[MAX_WORDS], *env[16];
    program *p = lmf_new(ctx, program);
    *out = NULL;
    if (!p)
        return LMF_NO_MEMORY(ctx, sizeof *p, "a server");
    *p = (program){ .link = { &door }, .ctx = ctx, .o = *o, .child = { .fd = -1, .err = -1 } };
    lmf_arena_init(&p->arena, ctx, 1 << 22);
    lmf__frames_init(&p->frames, ctx, LMF_FRAMES_LINES);
    lmf_buf_init(&p->out, ctx, MAX_WAITING);
    lmf_status s = split(&p->arena, command, argv, MAX_WORDS);
    if (!s) {
        environment(&p->arena, env);
        s = lmf__child_start(ctx, argv, env, true, &p->child);
    }
    if (s)
        close_program(&p->link);
    else
        *out = &p->link;
    return s;
}
