/* SPDX-License-Identifier: Apache-2.0 */
/* head_kl_job: what head_kl's kernel is told besides the products of both heads. Read by C and CUDA alike. */
#ifndef LMF_OPS_HEAD_KL_JOB_H
#define LMF_OPS_HEAD_KL_JOB_H

typedef struct lmf_head_kl_job {
    const float *mix;                     /* [1], or NULL: 1 */
    float temperature, beta, log_beta, log_rest; /* logarithms of beta and 1 - beta */
} lmf_head_kl_job;

#endif
