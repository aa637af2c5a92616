/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: only for compute = 1. */
#define LMF_VOCAB_BF16
#include "ops/head_topk/head_topk_rows.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    topk o = head_topk_of(c);
    lmf_gemm g = { .m = o.h.t, .n = o.h.v, .k = o.h.d };
    return ((const lmf_head_topk_attrs *)c->attrs)->compute == 1 && head_topk_fits(c, dev) && lmf_gemm_bf16_pays(&g);
}

LMF_CPU_ROWS(head_topk) = { LMF_HEAD_TOPK_ROW("head_topk_fwd_" LMF_BF16_SET, LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, fits), { 0 } };
LMF_CPU_ROWS(head_topk_w) = { LMF_HEAD_TOPK_ROW("head_topk_w_fwd_" LMF_BF16_SET, LMF_ROW_ANY_WORKERS, fits), { 0 } };
