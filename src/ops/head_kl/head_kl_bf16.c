/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: only for compute = 1. */
#define LMF_VOCAB_BF16
#include "ops/head_kl/head_kl_rows.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    kl_heads h = head_kl_heads(c);
    lmf_gemm student = { .m = h.student.t, .n = h.student.v, .k = h.student.d };
    return ((const lmf_head_kl_attrs *)c->attrs)->compute == 1 && head_kl_fits(c, dev) && lmf_gemm_bf16_pays(&student);
}

LMF_CPU_ROWS(head_kl) = { LMF_HEAD_KL_ROW("head_kl_fwd_" LMF_BF16_SET, LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, fits), { 0 } };
LMF_CPU_ROWS(head_kl_w) = { LMF_HEAD_KL_ROW("head_kl_w_fwd_" LMF_BF16_SET, LMF_ROW_ANY_WORKERS, fits), { 0 } };
