/* SPDX-License-Identifier: Apache-2.0 */
/* accumulate_job: what the kernel of accumulate is told. Read by C and CUDA alike. */
#ifndef LMF_OPS_ACCUMULATE_JOB_H
#define LMF_OPS_ACCUMULATE_JOB_H
#include <stdint.h>

enum { LMF_ACCUMULATE_PARTS = 14 };

typedef struct lmf_accumulate_job {
    const float *x[LMF_ACCUMULATE_PARTS], *keep;
    float       *acc;
    int64_t      begin[LMF_ACCUMULATE_PARTS + 1]; /* of each x in acc, and the end */
} lmf_accumulate_job;

#endif
