/* SPDX-License-Identifier: Apache-2.0 */
/* cuda: what a row of <op>_cuda.c may use. <op>_cuda.cu holds LMF_KERNEL functions and nothing else; the build makes one
 * fatbin a .cu and puts it into liblmfast-cuda.so under the file's stem ("rms_norm"), from where it is loaded on first use.
 * A row gets device pointers in lmf_view.data and launches by name:
 *
 *     static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
 *     {
 *         int64_t n = lmf_view_count(&c->in[0]);
 *         return lmf_cuda_launch(wk, "add", "add_fwd_f32", lmf_cuda_blocks(n, 256), 256, 0,
 *                                LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &c->out[0].data, &n));
 *     }
 *     LMF_CUDA_ROWS(add) = { { .name = "add_fwd_f32", .needs = 75, .match = fits, .run = fwd }, { 0 } };
 *
 * A row's run is called twice when a program is made: once to look up (and load) its kernels, with no effect on the device,
 * then to be captured. So it touches the device through these functions only, and its launches depend on shapes and
 * attributes alone. needs is the least compute capability. No row allocates or waits. */
#ifndef LMF_DEVICE_CUDA_CUDA_H
#define LMF_DEVICE_CUDA_CUDA_H
#include "device/cuda/map.h"
#include "device/device.h"

#define LMF_CUDA_ROWS(op) const lmf_kernel lmf_cuda_rows_##op[]
/* Addresses of the arguments in the kernel's order; they are read during the call. */
#define LMF_CUDA_ARGS(...) (const void *[]){ __VA_ARGS__ }

typedef struct lmf_cuda_grid {
    uint32_t x, y, z;            /* blocks; one of them 0: nothing is launched */
    uint32_t cluster;            /* blocks along z that read each other's shared memory: 2, 4 or 8, from sm_90 on; 0: none */
} lmf_cuda_grid;

/* block: threads, at most 1024. shared: bytes of dynamic shared memory, past 48 KiB too. */
lmf_status lmf_cuda_launch(const lmf_worker *wk, const char *module, const char *kernel, lmf_cuda_grid grid, uint32_t block,
                           uint32_t shared, const void *const *args);
lmf_status lmf_cuda_fill(const lmf_worker *wk, void *dst, int byte, size_t n_bytes);
lmf_status lmf_cuda_copy(const lmf_worker *wk, void *dst, const void *src, size_t n_bytes); /* device to device */

/* A tensor of bf16 for the copy engine: dims innermost first, strides in bytes of all but the first (multiples of 16), and the box that a
 * copy takes, whose rows are 64 elements and lie swizzled (wgmma.cuh). What a box has past the tensor's end becomes zeros. */
lmf_status lmf_cuda_map_make(const lmf_worker *wk, lmf_cuda_map *out, const void *at, uint32_t n_dims, const uint64_t *dim,
                             const uint64_t *stride, const uint32_t *box);

/* Products of warpgroups (wgmma.cuh): for Hopper alone, where this plug-in was built with code for 90a. */
bool lmf_cuda_has_wgmma(const lmf_device *dev);

/* Blocks for n items of `each` a block, at most 2^31 - 1. */
static inline lmf_cuda_grid lmf_cuda_blocks(int64_t n, int64_t each)
{
    int64_t blocks = (n + each - 1) / each;
    return (lmf_cuda_grid){ (uint32_t)(blocks > 0x7fffffff ? 0x7fffffff : blocks), 1, 1 };
}
/* Elements between two rows (all dims but the innermost taken as one), or -1 where that is not one number. */
static inline int64_t lmf_cuda_row_stride(const lmf_view *v)
{
    int64_t stride = -1, rows = 1;
    for (int i = v->n_dims - 2; i >= 0; rows *= v->dim[i], i--) {
        if (v->dim[i] == 0)
            return v->dim[v->n_dims - 1];
        if (v->dim[i] == 1)
            continue;
        if (stride < 0)
            stride = v->stride[i];
        else if (v->stride[i] != stride * rows)
            return -1;
    }
    return stride < 0 ? v->dim[v->n_dims - 1] : stride;
}

#endif
