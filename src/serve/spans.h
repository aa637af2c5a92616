/* SPDX-License-Identifier: Apache-2.0 */
/* spans: what a request's trace tells (observe/trace.h): the request itself, the tool of MCP that it runs, and below it the guard, and for
 * each answer its time in the queue, in its prompt, in its text. Names are OpenTelemetry's for generative AI, in GEN_AI_ of spans.c.
 * Owner: nothing is kept beyond the tracer's queue. Threads: the loop's. */
#ifndef LMF_SERVE_SPANS_H
#define LMF_SERVE_SPANS_H
#include "serve/generation.h"

/* Begins the trace of a request: in that of its traceparent, if it has one. */
void lmf__spans_begin(lmf_generation *g);
/* Its end, once: status of HTTP, 499 where the client went away; why: a sentence where it failed, else NULL. */
void lmf__spans_end(lmf_generation *g, int status, const char *why);
/* A request that was refused before there was anything of it. */
void lmf__spans_refused(lmf_exchange *x, const lmf_fault *f);

#endif
