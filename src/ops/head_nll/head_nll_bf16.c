/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: only for compute = 1. */
#define LMF_VOCAB_BF16
#include "ops/head_nll/head_nll_rows.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    lmf_vocab h = head_nll_vocab(c);
    return ((const lmf_head_nll_attrs *)c->attrs)->compute == 1 && head_nll_fits(c, dev) && lmf_gemm_bf16_pays(&(lmf_gemm){ .m = h.t, .n = h.v, .k = h.d });
}

LMF_CPU_ROWS(head_nll) = { LMF_HEAD_NLL_ROW("head_nll_fwd_" LMF_BF16_SET, LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, fits), { 0 } };
LMF_CPU_ROWS(head_nll_w) = { LMF_HEAD_NLL_ROW("head_nll_w_fwd_" LMF_BF16_SET, LMF_ROW_ANY_WORKERS, fits), { 0 } };
