/* SPDX-License-Identifier: Apache-2.0 */
/* head_topk_bucket: one bucket of both distributions (head_topk.h). Read by C and CUDA alike. */
#ifndef LMF_OPS_HEAD_TOPK_BUCKET_H
#define LMF_OPS_HEAD_TOPK_BUCKET_H
#include <math.h>
#ifdef __CUDACC__
#define LMF_BUCKET_BOTH __host__ __device__
#else
#define LMF_BUCKET_BOTH
#endif

/* A bucket's share of D from both log-probabilities, and its slope d D / d log s, of which s times the slope less s times the sum of s
 * slope is the gradient by the logits. For row files and reference. */
LMF_BUCKET_BOTH static inline double lmf__bucket(double beta, double ls, double lt, double *slope)
{
    double s = exp(ls), t = exp(lt);
    if (beta == 0) {
        *slope = -exp(fmin(lt - ls, 80.0));
        return t > 0 ? t * (lt - ls) : 0;
    }
    if (beta == 1)
        return s * (*slope = ls - lt);
    double top = fmax(ls, lt), lm = top + log(beta * exp(lt - top) + (1 - beta) * exp(ls - top));
    *slope = (1 - beta) * (ls - lm);
    return (t > 0 ? beta * t * (lt - lm) : 0) + s * *slope;
}

#endif
