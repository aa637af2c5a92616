/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/add/add.h"
#include "device/cuda/cuda.h"

enum { PIECE = 256 };

static int64_t width(const lmf_view *v) { return v->dim[v->n_dims - 1]; }

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (lmf_cuda_row_stride(&c->in[i]) < 0)
            return false;
    return lmf_view_is_dense(&c->out[0]) && width(&c->in[0]) <= INT32_MAX / 2 && lmf_view_rows(&c->in[0]) <= INT32_MAX;
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_view *a = &c->in[0], *b = &c->in[1];
    int64_t rows = lmf_view_rows(a), a_stride = lmf_cuda_row_stride(a), b_stride = lmf_view_rows(b) == rows ? lmf_cuda_row_stride(b) : 0;
    int n = (int)width(a);
    lmf_cuda_grid grid = { (uint32_t)rows, (uint32_t)((n + 1023) / 1024 < 64 ? (n + 1023) / 1024 : 64), 1 };
    static const char *const kernels[2][2] = { { "add_fwd_f32", "add_fwd_f32_bf16" }, { "add_fwd_bf16_f32", "add_fwd_bf16" } };
    return lmf_cuda_launch(wk, "add", kernels[a->dtype == LMF_BF16][b->dtype == LMF_BF16], grid, 256, 0,
                           LMF_CUDA_ARGS(&a->data, &b->data, &c->out[0].data, &a_stride, &b_stride, &n));
}

static bool f32_fits(const lmf_call *c, const lmf_device *dev)
{
    return c->in[0].dtype == LMF_F32 && c->in[1].dtype == LMF_F32 && fits(c, dev);
}

LMF_CUDA_ROWS(add) = {
    { .name = "add_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = f32_fits, .run = fwd },
    { .name = "add_fwd_bf16", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .run = fwd },
    { 0 }
};

static int64_t n_pieces(const lmf_call *c)
{
    int64_t rows = lmf_view_rows(&c->in[0]);
    return rows > PIECE ? (rows + PIECE - 1) / PIECE : 1;
}

static bool sum_fits(const lmf_call *c, const lmf_device *dev) { return fits(c, dev) && n_pieces(c) <= 65535; }

static size_t sum_scratch(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return n_pieces(c) > 1 ? (size_t)(n_pieces(c) * width(&c->in[0])) * sizeof(float) : 0;
}

static lmf_status sum(const lmf_call *c, const lmf_worker *wk)
{
    int64_t rows = lmf_view_rows(&c->in[0]), stride = lmf_cuda_row_stride(&c->in[0]);
    int n = (int)width(&c->in[0]), pieces = (int)n_pieces(c);
    void *const *y = &c->out[0].data, *const *part = pieces > 1 ? &c->scratch : y;
    lmf_cuda_grid columns = lmf_cuda_blocks(n, 128), both = { columns.x, (uint32_t)pieces, 1 };
    const char *kernel = c->in[0].dtype == LMF_BF16 ? "sum_rows_bf16_pieces" : "sum_rows_f32_pieces";
    LMF_TRY(lmf_cuda_launch(wk, "add", kernel, both, 128, 0, LMF_CUDA_ARGS(&c->in[0].data, part, &rows, &stride, &n)));
    if (pieces == 1)
        return LMF_OK;
    return lmf_cuda_launch(wk, "add", "sum_rows_f32", columns, 128, 0, LMF_CUDA_ARGS(part, y, &pieces, &n));
}

LMF_CUDA_ROWS(sum_rows) = {
    { .name = "sum_rows_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = sum_fits, .scratch = sum_scratch, .run = sum },
    { 0 }
};
