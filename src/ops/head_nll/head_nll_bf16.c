/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: only for compute = 1. */
#define LMF_VOCAB_BF16
#include "ops/head_nll/head_nll_rows.h"

#if defined(__AMX_BF16__)
#define NAME(op) op "_fwd_bf16_amx"
#else
#define NAME(op) op "_fwd_bf16_avx512"
#endif

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    return ((const lmf_head_nll_attrs *)c->attrs)->compute == 1 && head_nll_fits(c, dev);
}

LMF_CPU_ROWS(head_nll) = { LMF_HEAD_NLL_ROW(NAME("head_nll"), LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, fits), { 0 } };
LMF_CPU_ROWS(head_nll_w) = { LMF_HEAD_NLL_ROW(NAME("head_nll_w"), LMF_ROW_ANY_WORKERS, fits), { 0 } };
