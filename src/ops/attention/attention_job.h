/* SPDX-License-Identifier: Apache-2.0 */
/* attention_job: what the kernels of attention_mma_cuda.cu and attention_wgmma_cuda.cu are told; filled by attention_cuda.c. Read by C
 * and CUDA alike. */
#ifndef LMF_OPS_ATTENTION_JOB_H
#define LMF_OPS_ATTENTION_JOB_H
#include <stdint.h>

enum { LMF_ATTENTION_ROUND = 128 };              /* first and end have T rows, rounded up to all that blocks own: 64, 128 */

typedef struct lmf_attention_job {
    const void  *q, *k, *v, *d_o;                /* bf16 [T, H*C], [T, K*C] twice, [T, H*C] */
    const int   *seq, *q_start;
    int         *first, *end;                    /* row t sees keys first[t] .. t, key u is seen by rows u .. end[u] - 1 */
    int         *parts;                          /* one: how many of the sequences have rows */
    const float *lse_given;                      /* [T, H], for backward */
    float       *lse, *delta;                    /* [T, H]; for backward by warpgroups [H, rows]: lse in units of log 2 */
    void        *o, *dq, *dk, *dv;               /* of the kernel's output type */
    int          t, n_seq, n, n_kv, window;      /* rows, sequences, query heads, key heads */
    float        scale;
} lmf_attention_job;

#endif
