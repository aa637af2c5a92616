/* SPDX-License-Identifier: Apache-2.0 */
/* norm_linear_job: what the kernels of norm_linear_cuda.cu are told; filled by norm_linear_cuda.c. Read by C and CUDA alike. */
#ifndef LMF_OPS_NORM_LINEAR_JOB_H
#define LMF_OPS_NORM_LINEAR_JOB_H
#include <stdint.h>

typedef struct lmf_norm_linear_part {
    const void  *w;                              /* [n, k], w_bytes from row to row */
    const float *bias;                           /* [n], or NULL */
    float       *y;                              /* [m, n] */
    int64_t      w_bytes;
    int          n;
} lmf_norm_linear_part;

typedef struct lmf_norm_linear_job {
    const float *x, *norm, *r;                   /* [m, k]; [k]; [m, n] of linear_add */
    lmf_norm_linear_part part[3];                /* n 0: none */
    int          m, k;
    float        eps;
} lmf_norm_linear_job;

#endif
