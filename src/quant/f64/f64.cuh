/* SPDX-License-Identifier: Apache-2.0 */
/* f64 on CUDA: device/cuda/unpack.cuh. */
#ifndef LMF_QUANT_F64_F64_CUH
#define LMF_QUANT_F64_F64_CUH
#include "device/cuda/unpack.cuh"

template <> __device__ __forceinline__ float lmf_load<LMF_F64>(const void *row, int64_t i) { return (float)((const double *)row)[i]; }

#endif
