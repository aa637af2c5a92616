/* SPDX-License-Identifier: Apache-2.0 */
/* Too long an answer costs: nothing up to MOST - SOFT tokens, then evenly down to -1 at MOST and beyond. DAPO's soft punishment (Yu et al.
 * 2025, arXiv 2503.14476, equation 13). */
#include "base/number.h"
#include "verify/verify.h"

typedef struct limits { int64_t most, soft; } limits;

static lmf_status open_limits(lmf_ctx *ctx, const char *argument, const lmf_verify_opts *opts, void **state)
{
    limits l = { 0 };
    const char *p = argument;
    (void)opts;
    bool ok = lmf_number_read(&p, &l.most);
    if (ok && *p == ',')
        p++, ok = lmf_number_read(&p, &l.soft);
    if (!ok || *p || l.most < 1 || l.soft > l.most)
        return LMF_FAIL(ctx, LMF_E_ARG, "length:%.64s: give MOST,SOFT in tokens, such as 256,64, SOFT at most MOST", argument);
    limits *own = lmf_new(ctx, limits);
    if (!own)
        return LMF_NO_MEMORY(ctx, sizeof *own, "a reward");
    *own = l, *state = own;
    return LMF_OK;
}

static void close_limits(lmf_ctx *ctx, void *state) { lmf_delete(ctx, (limits *)state); }

static lmf_status score(lmf_ctx *ctx, void *state, const lmf_verify_in *in, double *out)
{
    const limits *l = state;
    (void)ctx;
    int64_t over = in->n_tok - (l->most - l->soft);
    *out = over <= 0 ? 0 : in->n_tok > l->most ? -1 : -(double)over / (double)l->soft;
    return LMF_OK;
}

const lmf_verifier lmf_verifier_length = { .name = "length", .summary = "0, and down to -1 where an answer is too long",
    .argument = "MOST,SOFT in tokens: from 0 at MOST - SOFT down to -1 at MOST", .needs_argument = true, .open = open_limits,
    .close = close_limits, .score = score };
