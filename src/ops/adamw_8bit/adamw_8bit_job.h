/* SPDX-License-Identifier: Apache-2.0 */
/* adamw_8bit_job: what the kernel is told. Read by C and CUDA alike. */
#ifndef LMF_OPS_ADAMW_8BIT_JOB_H
#define LMF_OPS_ADAMW_8BIT_JOB_H
#include <stdint.h>

typedef struct lmf_adamw_8bit_job {
    float         map_m[256], map_v[256]; /* quant/dynamic8.h, signed and unsigned */
    float        *p, *s;                  /* [n]; [2, blocks] */
    uint8_t      *m, *v;                  /* [n] codes */
    const float  *g, *norm, *hyper;       /* [n], [1]; lr, beta1, beta2, eps, decay, bias1, bias2, max norm */
    int64_t       n, blocks;
} lmf_adamw_8bit_job;

#endif
