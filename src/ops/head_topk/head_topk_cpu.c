/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/head_topk/head_topk_rows.h"

LMF_CPU_ROWS(head_topk) = { LMF_HEAD_TOPK_ROW("head_topk_fwd_f32", LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, head_topk_fits), { 0 } };
LMF_CPU_ROWS(head_topk_w) = { LMF_HEAD_TOPK_ROW("head_topk_w_fwd_f32", LMF_ROW_ANY_WORKERS, head_topk_fits), { 0 } };
