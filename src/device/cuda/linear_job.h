/* SPDX-License-Identifier: Apache-2.0 */
/* linear_job: what kernels of linear layers are told: up to three matrices for one x. Read by C and CUDA alike. */
#ifndef LMF_DEVICE_CUDA_LINEAR_JOB_H
#define LMF_DEVICE_CUDA_LINEAR_JOB_H
#include <stdint.h>

typedef struct lmf_linear_part {
    const void  *w;                              /* [n, k] in any format, w_bytes from row to row */
    const float *bias;                           /* [n], or NULL */
    float       *y;                              /* [m, n] */
    int64_t      w_bytes;
    int          n;
} lmf_linear_part;

typedef struct lmf_linear_job {
    const float *x, *norm, *r;                   /* [m, k]; [k] of the norm; [m, n] that is added, or NULL */
    lmf_linear_part part[3];                     /* n 0: none */
    int          m, k;
    float        eps, alpha;                     /* of the norm; y = alpha x W^T + bias + r */
} lmf_linear_job;

enum { LMF_SPLIT_THREADS = 256, LMF_SPLIT_COLUMNS = 16,  /* linear.cuh: a block's columns of each matrix */
       LMF_WIDE_THREADS = 256, LMF_WIDE_COLUMNS = 128 };
#endif
