/* SPDX-License-Identifier: Apache-2.0 */
/* head_topk_job: what head_topk's kernel is told besides the product. Read by C and CUDA alike. */
#ifndef LMF_OPS_HEAD_TOPK_JOB_H
#define LMF_OPS_HEAD_TOPK_JOB_H
#include <stdint.h>

typedef struct lmf_head_topk_job {
    const int32_t *id;                    /* [T, K] */
    const float   *logp, *rest;           /* [T, K], [T] */
    float         *top;                   /* [rows, K] of the chunk: the tokens' logits, as f32 has them */
    int64_t        k;
    float          temperature, beta;
} lmf_head_topk_job;

#endif
