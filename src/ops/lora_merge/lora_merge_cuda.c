/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/lora_merge/lora_merge.h"
#include "device/cuda/cuda.h"
#include "device/cuda/formats.h"

enum { ROWS = 8, FOUR = 4, COLUMNS = 4, RANKS = 16, PIECE = 64, WARPS = 4, OWN = 4 }; /* lora_merge_cuda.cu */

static const struct { const char *name, *any, *fours; } kernels[] = {
#define ROW(name, dtype) { #name, "lora_merge_" #name, "lora_merge_" #name "_fours" },
    LMF_EACH_FORMAT(ROW)
#undef ROW
};

typedef struct sizes { int n, k, r; } sizes;
static sizes sizes_of(const lmf_call *c) { return (sizes){ (int)c->in[0].dim[0], (int)c->in[0].dim[1], (int)c->in[1].dim[0] }; }

static bool small_and_dense(const lmf_call *c)
{
    for (int i = 0; i < 3; i++)
        if (!lmf_view_is_dense(&c->in[i]) || c->in[i].dim[0] > 65535 * PIECE || c->in[i].dim[1] > INT32_MAX / 2)
            return false;
    return c->in[1].dim[0] <= 65535;
}

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return LMF_CUDA_FORMAT(kernels, c->in[0].fmt) >= 0 && small_and_dense(c);
}

static bool bwd_fits(const lmf_call *c, const lmf_device *dev) { return (void)dev, small_and_dense(c); }

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_lora_merge_attrs *a = c->attrs;
    const lmf_view *w = &c->in[0];
    sizes s = sizes_of(c);
    int64_t w_bytes = (int64_t)lmf_format_bytes(w->fmt, s.k);
    bool fours = s.r % 4 == 0 && s.k % COLUMNS == 0 && ((uintptr_t)c->in[1].data | (uintptr_t)c->in[2].data) % 16 == 0;
    int rows = fours ? FOUR : ROWS, i = LMF_CUDA_FORMAT(kernels, w->fmt);
    int64_t threads = (int64_t)((s.n + rows - 1) / rows) * ((s.k + COLUMNS - 1) / COLUMNS);
    return lmf_cuda_launch(wk, "lora_merge", fours ? kernels[i].fours : kernels[i].any, lmf_cuda_blocks(threads, 128), 128, 0,
                           LMF_CUDA_ARGS(&w->data, &c->in[1].data, &c->in[2].data, &c->out[0].data, &w_bytes, &s.n, &s.k, &s.r, &a->scale));
}

static int n_pieces(const lmf_call *c) { return (int)((c->in[0].dim[0] + PIECE - 1) / PIECE); }

static size_t bwd_scratch(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return (size_t)n_pieces(c) * (size_t)lmf_view_count(&c->in[1]) * sizeof(float);
}

static lmf_status bwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_lora_merge_attrs *a = c->attrs;
    sizes s = sizes_of(c);
    int pieces = n_pieces(c);
    bool bf16 = c->in[0].dtype == LMF_BF16;
    int64_t n = lmf_view_count(&c->in[1]);
    lmf_cuda_grid grid = { lmf_cuda_blocks(s.k, 128).x, (uint32_t)pieces, (uint32_t)((s.r + RANKS - 1) / RANKS) };
    LMF_TRY(lmf_cuda_launch(wk, "lora_merge", bf16 ? "lora_merge_dq_bf16" : "lora_merge_dq_f32", lmf_cuda_blocks(s.n, WARPS * OWN),
                            32 * WARPS, 0,
                            LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &c->out[1].data, &s.n, &s.k, &s.r, &a->scale)));
    LMF_TRY(lmf_cuda_launch(wk, "lora_merge", bf16 ? "lora_merge_dp_bf16_pieces" : "lora_merge_dp_f32_pieces", grid, 128, 0,
                            LMF_CUDA_ARGS(&c->in[0].data, &c->in[2].data, &c->scratch, &s.n, &s.k, &s.r)));
    return lmf_cuda_launch(wk, "lora_merge", "lora_merge_dp", lmf_cuda_blocks(n, 256), 256, 0,
                           LMF_CUDA_ARGS(&c->scratch, &c->out[0].data, &pieces, &n, &a->scale));
}

LMF_CUDA_ROWS(lora_merge) = {
    { .name = "lora_merge_any", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .run = run }, { 0 }
};
LMF_CUDA_ROWS(lora_merge_bwd) = {
    { .name = "lora_merge_bwd_any", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = bwd_fits, .scratch = bwd_scratch, .run = bwd },
    { 0 }
};
