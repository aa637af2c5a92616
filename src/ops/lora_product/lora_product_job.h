/* SPDX-License-Identifier: Apache-2.0 */
/* lora_product_job: what the kernels of lora_product_bwd are told. Read by C and CUDA alike. */
#ifndef LMF_OPS_LORA_PRODUCT_JOB_H
#define LMF_OPS_LORA_PRODUCT_JOB_H
#include <stdint.h>

enum { LMF_LORA_TILE = 64,           /* rows that a block takes at a time */
       LMF_LORA_ROWS = 16,           /* the same, where all their columns wait in shared memory */
       LMF_LORA_WARPS = 12,
       LMF_LORA_WIDE = 32,           /* columns of a piece */
       LMF_LORA_OWN = 6,              /* pieces that a warp sums up */
       LMF_LORA_RANKS = 16,          /* of a launch's slice */
       LMF_LORA_PITCH = 24 };        /* of a row of low numbers: ldmatrix meets each bank once */

typedef struct lmf_lora_job {
    const void  *x, *dy;             /* bf16 [T, K], [T, N] */
    const float *p, *q;              /* [R, K], [N, R] */
    float       *part;               /* [blocks, R up to 16s, wide]: each block's sums */
    float       *dp, *dq;
    int64_t      wide;               /* columns: those of x, then those of dy, each up to whole pieces */
    int          t, k, n, r, x_pieces, pieces, blocks, pitch; /* pitch: elements of a row of p and q in shared memory */
    int          cluster, own;       /* staged: blocks that share the pieces, and pieces that each has */
    float        scale;
} lmf_lora_job;

#endif
