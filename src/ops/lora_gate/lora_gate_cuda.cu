/* SPDX-License-Identifier: Apache-2.0 */
#include "device/cuda/kernel.cuh"

/* One block a row. */
LMF_KERNEL_EARLY(lora_gate_fwd_f32)(const float *u, const int *seq, const int *adapter, float *y, int64_t stride, int width, int rank)
{
    LMF_AFTER();
    int s = seq[blockIdx.x], slot = s < 0 ? -1 : adapter[s];
    for (int i = threadIdx.x; i < width; i += blockDim.x)
        y[(int64_t)blockIdx.x * width + i] = i / rank == slot ? u[blockIdx.x * stride + i] : 0.0f;
}
