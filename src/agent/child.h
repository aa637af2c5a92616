/* SPDX-License-Identifier: Apache-2.0 */
/* child: a program that was started, without a shell: one socket is its standard input and output. It is a group of its own, which is
 * killed at the end, and it inherits no other descriptors. What it writes on standard error goes nowhere, or its end is kept.
 *
 *     LMF_TRY(lmf__child_start(ctx, argv, environ, false, &c));
 *     lmf__child_send(&c, text, n, &at); recv(c.fd, ...);
 *     if (!lmf__child_end(&c, until, &status)) ...      // it did not end by itself
 *
 * Owner: the caller's storage, start/end. Threads: one. */
#ifndef LMF_AGENT_CHILD_H
#define LMF_AGENT_CHILD_H
#include <sys/types.h>
#include "base/ctx.h"

typedef struct lmf_child {
    pid_t  pid;                  /* 0: none */
    int    fd, err;              /* err -1: not kept */
    char   said[1024];           /* the end of what came on standard error, NUL-ended */
    size_t n_said;
} lmf_child;

lmf_status lmf__child_start(lmf_ctx *ctx, char *const *argv, char *const *env, bool keeps_errors, lmf_child *c);
/* As much of text [n] behind *at as goes at once; at the end, or where it reads no more, *at is n. */
void       lmf__child_send(lmf_child *c, const char *text, size_t n, size_t *at);
/* What stands ready on standard error. */
void       lmf__child_listen(lmf_child *c);
/* Closes, waits until then (of lmf_tool_clock_now) for its end, kills its group and takes its status, as of waitpid. False: it had to be
 * killed. */
bool       lmf__child_end(lmf_child *c, double until, int *status);

#endif
