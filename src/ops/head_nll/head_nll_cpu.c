/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/head_nll/head_nll_rows.h"

LMF_CPU_ROWS(head_nll) = { LMF_HEAD_NLL_ROW("head_nll_fwd_f32", LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, head_nll_fits), { 0 } };
LMF_CPU_ROWS(head_nll_w) = { LMF_HEAD_NLL_ROW("head_nll_w_fwd_f32", LMF_ROW_ANY_WORKERS, head_nll_fits), { 0 } };
