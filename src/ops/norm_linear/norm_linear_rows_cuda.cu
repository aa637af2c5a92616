/* SPDX-License-Identifier: Apache-2.0 */
/* More than 8 rows: device/cuda/linear.cuh. */
#include "device/cuda/linear.cuh"

#define KERNEL(name, threads, body) LMF_KERNEL_BOUNDED(name, threads)(lmf_linear_job j) { body(j); }
#define SPLIT(name, dtype, NT)                                                                                       \
    KERNEL(norm_linear_split_##name##_##NT, LMF_SPLIT_THREADS, (lmf_linear_split_parts<dtype, NT, true>))            \
    KERNEL(norm_swiglu_split_##name##_##NT, LMF_SPLIT_THREADS, (lmf_linear_split_swiglu<dtype, NT>))                 \
    KERNEL(linear_add_split_##name##_##NT, LMF_SPLIT_THREADS, (lmf_linear_split_parts<dtype, NT, false>))
#define WIDE(name, dtype, NT)                                                                                        \
    KERNEL(norm_linear_wide_##name##_##NT, LMF_WIDE_THREADS, (lmf_linear_wide_parts<dtype, NT, true>))               \
    KERNEL(norm_swiglu_wide_##name##_##NT, LMF_WIDE_THREADS, (lmf_linear_wide_swiglu<dtype, NT>))                    \
    KERNEL(linear_add_wide_##name##_##NT, LMF_WIDE_THREADS, (lmf_linear_wide_parts<dtype, NT, false>))
#define EACH(name, dtype) SPLIT(name, dtype, 2) SPLIT(name, dtype, 4) WIDE(name, dtype, 8)
LMF_EACH_EIGHT(EACH)
