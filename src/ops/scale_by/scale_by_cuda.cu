/* SPDX-License-Identifier: Apache-2.0 */
#include "device/cuda/kernel.cuh"

LMF_KERNEL_EARLY(scale_by_fwd_f32)(const float *x, const float *s, const float *c, float *y, int64_t n)
{
    LMF_AFTER();
    float f = s[0];
    for (int64_t i = lmf_grid_first(); i < n; i += lmf_grid_step())
        y[i] = c ? fmaf(x[i], f, c[i]) : x[i] * f;
}

/* Eight neighbours a thread; the last of them alone. */
LMF_KERNEL(scale_by_fwd_bf16)(const __nv_bfloat16 *x, const float *s, const __nv_bfloat16 *c, __nv_bfloat16 *y, int64_t n)
{
    float f = s[0];
    for (int64_t i = lmf_grid_first() * 8; i < n; i += lmf_grid_step() * 8) {
        float a[8], b[8] = { 0 };
        if (i + 8 > n) {
            for (int64_t e = i; e < n; e++)
                lmf_write(y + e, fmaf(lmf_read(x + e), f, c ? lmf_read(c + e) : 0.0f));
            return;
        }
        lmf_read_n<8>(x + i, a);
        if (c)
            lmf_read_n<8>(c + i, b);
#pragma unroll
        for (int v = 0; v < 8; v++)
            a[v] = fmaf(a[v], f, b[v]);
        lmf_write_n<8>(y + i, a);
    }
}
