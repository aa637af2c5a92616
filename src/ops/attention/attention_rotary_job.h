/* SPDX-License-Identifier: Apache-2.0 */
/* attention_rotary_job: what the kernels of attention_rotary_cuda.cu are told; filled by attention_paged_cuda.c. Read by C and CUDA. */
#ifndef LMF_OPS_ATTENTION_ROTARY_JOB_H
#define LMF_OPS_ATTENTION_ROTARY_JOB_H
#include <stdint.h>

typedef struct lmf_attention_rotary_job {
    const float *q, *k, *v, *freq;               /* [T, n*size], [T, n_kv*size] twice, [size/2] */
    void        *k_cache, *v_cache;              /* [n_pages, page_size, n_kv*size] */
    const int   *seq, *pos, *q_start, *page;
    float       *o;                              /* [T, n*size]; of attention_rotate_*: rotated q */
    int          n, n_kv, size, window;          /* query heads, key heads, channels a head */
    int          n_pages, page_size, pages_a_seq;
    float        scale, rope_scale;
} lmf_attention_rotary_job;

#endif
