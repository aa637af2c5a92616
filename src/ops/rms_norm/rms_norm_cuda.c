/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/rms_norm/rms_norm.h"
#include "device/cuda/cuda.h"

static const uint16_t fwd_f32[] = { LMF_F32, LMF_F32, LMF_F32, LMF_F32 };
static const uint16_t bwd_f32[] = { LMF_F32, LMF_F32, LMF_F32, LMF_F32, LMF_F32, LMF_F32 };
enum { PIECE = 256 };

static int64_t width(const lmf_call *c) { return c->in[1].dim[0]; }
static bool is_grouped(const lmf_call *c) { return width(c) != c->in[0].dim[c->in[0].n_dims - 1]; }
static int64_t n_pieces(const lmf_call *c) { return (lmf_rms_norm_rows(c) + PIECE - 1) / PIECE; }

static bool fwd_fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return (is_grouped(c) ? lmf_view_is_dense(&c->in[0]) : lmf_cuda_row_stride(&c->in[0]) >= 0) && lmf_view_is_dense(&c->in[1]) &&
           lmf_view_is_dense(&c->out[0]) && width(c) <= INT32_MAX / 2 && lmf_rms_norm_rows(c) <= INT32_MAX;
}

static bool bwd_fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    return width(c) <= INT32_MAX / 2 && n_pieces(c) <= 65535;
}

static uint32_t threads(int d) { return d > 512 ? 512 : d > 128 ? 256 : 128; }

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_rms_norm_attrs *a = c->attrs;
    int64_t stride = is_grouped(c) ? width(c) : lmf_cuda_row_stride(&c->in[0]);
    int d = (int)width(c);
    return lmf_cuda_launch(wk, "rms_norm", "rms_norm_fwd_f32", lmf_cuda_blocks(lmf_rms_norm_rows(c), 1), threads(d), 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &c->out[0].data, &c->out[1].data, &stride, &d, &a->eps));
}

static size_t bwd_scratch(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return (size_t)(n_pieces(c) * width(c)) * sizeof(float);
}

static lmf_status bwd(const lmf_call *c, const lmf_worker *wk)
{
    int64_t rows = lmf_rms_norm_rows(c);
    int d = (int)width(c), pieces = (int)n_pieces(c);
    void *const *x = &c->in[0].data, *const *w = &c->in[1].data, *const *rstd = &c->in[2].data, *const *dy = &c->in[3].data;
    lmf_cuda_grid columns = lmf_cuda_blocks(d, 128), both = { columns.x, (uint32_t)pieces, 1 };
    LMF_TRY(lmf_cuda_launch(wk, "rms_norm", "rms_norm_bwd_f32_dx", lmf_cuda_blocks(rows, 1), threads(d), 0,
                            LMF_CUDA_ARGS(x, w, rstd, dy, &c->out[0].data, &d)));
    LMF_TRY(lmf_cuda_launch(wk, "rms_norm", "rms_norm_bwd_f32_dw_pieces", both, 128, 0,
                            LMF_CUDA_ARGS(x, rstd, dy, &c->scratch, &rows, &d)));
    return lmf_cuda_launch(wk, "rms_norm", "rms_norm_bwd_f32_dw", columns, 128, 0,
                           LMF_CUDA_ARGS(&c->scratch, &c->out[1].data, &pieces, &d));
}

/* ---- bf16 ---- */
static const uint16_t fwd_bf16[] = { LMF_BF16, LMF_F32, LMF_BF16, LMF_F32 };
static const uint16_t bwd_bf16[] = { LMF_BF16, LMF_F32, LMF_F32, LMF_BF16, LMF_BF16, LMF_F32 };
static const uint16_t dx_bf16[] = { LMF_BF16, LMF_F32, LMF_F32, LMF_BF16, LMF_BF16, LMF_BF16 };
enum { WARPS = 4 };

static lmf_cuda_grid warps(const lmf_call *c) { return lmf_cuda_blocks(lmf_rms_norm_rows(c), WARPS); }

static lmf_status fwd16(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_rms_norm_attrs *a = c->attrs;
    int64_t stride = is_grouped(c) ? width(c) : lmf_cuda_row_stride(&c->in[0]), rows = lmf_rms_norm_rows(c);
    int d = (int)width(c);
    return lmf_cuda_launch(wk, "rms_norm", d % 4 || stride % 4 ? "rms_norm_fwd_bf16_1" : "rms_norm_fwd_bf16_4", warps(c), 32 * WARPS, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &c->out[0].data, &c->out[1].data, &stride, &rows, &d, &a->eps));
}

static lmf_status dx16(const lmf_call *c, const lmf_worker *wk)
{
    int64_t rows = lmf_rms_norm_rows(c);
    int d = (int)width(c);
    const void *onto = c->n_in > 4 && c->in[4].n_dims ? c->in[4].data : NULL;
    return lmf_cuda_launch(wk, "rms_norm", d % 4 ? "rms_norm_dx_bf16_1" : "rms_norm_dx_bf16_4", warps(c), 32 * WARPS, 0,
                           LMF_CUDA_ARGS(&c->in[0].data, &c->in[1].data, &c->in[2].data, &c->in[3].data, &onto, &c->out[0].data, &rows,
                                         &d));
}

static lmf_status bwd16(const lmf_call *c, const lmf_worker *wk)
{
    int64_t rows = lmf_rms_norm_rows(c);
    int d = (int)width(c), pieces = (int)n_pieces(c);
    lmf_cuda_grid columns = lmf_cuda_blocks(d, 128), both = { columns.x, (uint32_t)pieces, 1 };
    LMF_TRY(dx16(c, wk));
    LMF_TRY(lmf_cuda_launch(wk, "rms_norm", "rms_norm_bwd_bf16_dw_pieces", both, 128, 0,
                            LMF_CUDA_ARGS(&c->in[0].data, &c->in[2].data, &c->in[3].data, &c->scratch, &rows, &d)));
    return lmf_cuda_launch(wk, "rms_norm", "rms_norm_bwd_f32_dw", columns, 128, 0,
                           LMF_CUDA_ARGS(&c->scratch, &c->out[1].data, &pieces, &d));
}

static bool dx_fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].n_dims && !lmf_view_is_dense(&c->in[i]))
            return false;
    return width(c) <= INT32_MAX / 2 && lmf_rms_norm_rows(c) <= INT32_MAX;
}

LMF_CUDA_ROWS(rms_norm) = {
    { .name = "rms_norm_fwd_bf16", .dtypes = fwd_bf16, .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fwd_fits,
      .run = fwd16 },
    { .name = "rms_norm_fwd_f32", .dtypes = fwd_f32, .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fwd_fits, .run = fwd },
    { 0 }
};
LMF_CUDA_ROWS(rms_norm_dx) = {
    { .name = "rms_norm_dx_bf16", .dtypes = dx_bf16, .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = dx_fits,
      .run = dx16 },
    { 0 }
};
LMF_CUDA_ROWS(rms_norm_bwd) = {
    { .name = "rms_norm_bwd_bf16", .dtypes = bwd_bf16, .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = bwd_fits,
      .scratch = bwd_scratch, .run = bwd16 },
    { .name = "rms_norm_bwd_f32", .dtypes = bwd_f32, .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = bwd_fits, .scratch = bwd_scratch, .run = bwd },
    { 0 }
};
