/* SPDX-License-Identifier: Apache-2.0 */
/* vocab_job: what the kernels of device/cuda/vocab.cuh are told; filled by device/cuda/vocab.h. Read by C and CUDA alike. */
#ifndef LMF_DEVICE_CUDA_VOCAB_JOB_H
#define LMF_DEVICE_CUDA_VOCAB_JOB_H
#include <stdint.h>

/* Bytes of dynamic shared memory of a product in bf16, by mma and by warpgroups. */
enum { LMF_VOCAB_SHARED = 61440, LMF_VOCAB_WG_SHARED = 3 * 32768 + 1024,
       LMF_VOCAB_WIDE_SHARED = 4 * 49152 + 1024 + 128 }; /* vocab_wide */

typedef struct lmf_vocab_job {
    const void  *x;          /* [T, D] f32, or bf16 for products in bf16 */
    const void  *w;          /* [V, D], rows w_bytes apart */
    const int   *target;     /* [T], or NULL: no row is skipped for its target */
    const float *weight;     /* [T] or NULL: all count */
    const float *u;          /* [T] d loss / d logp times sign, for dx and dw */
    const float *lse_given;  /* [T] or NULL: worked out */
    float   *logp, *lse;     /* [T] or NULL; logp gets sign * logp */
    void    *dx;             /* [T, D] of x's type, or NULL */
    float   *dw;             /* [V, D] or NULL */
    float   *loss;           /* [1] or NULL: sum of weight * logp */
    int     *live;           /* [T + 1] number of rows that count, then their indexes in order */
    float   *logits;         /* [rows, v_stride] of the chunk in work */
    void    *x16, *w16;      /* [rows, D] of the chunk and [V, D] in bf16, for products in bf16 */
    float   *part;           /* [n_parts, rows, D] sums of dx over parts of V */
    int64_t  w_bytes, v_stride, v_part; /* v_part: rows of w a part */
    int      t, d, v, begin, rows, n_parts; /* begin: the chunk's first among live */
    float   *ref, *sum;      /* vocab_wide: [rows] and [n_subs, rows] */
    int      sub_tiles, n_subs;  /* vocab_wide: tiles of w a block, and blocks */
    int      x_is_bf16;
    float    scale, sign;
} lmf_vocab_job;

#endif
