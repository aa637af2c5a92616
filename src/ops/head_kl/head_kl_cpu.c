/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/head_kl/head_kl_rows.h"

LMF_CPU_ROWS(head_kl) = { LMF_HEAD_KL_ROW("head_kl_fwd_f32", LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, head_kl_fits), { 0 } };
LMF_CPU_ROWS(head_kl_w) = { LMF_HEAD_KL_ROW("head_kl_w_fwd_f32", LMF_ROW_ANY_WORKERS, head_kl_fits), { 0 } };
