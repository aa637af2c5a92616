/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: with compute 0 only the tiled kernel serves, whose rows depend on nothing but themselves; few_rows sums in another
 * order. scratch holds a in f32 where it is not, then b. */
#include "ops/matmul/matmul.h"
#include "base/checked.h"
#include "device/cuda/cuda.h"

static const struct { uint16_t dtype; const char *unpack, *few_rows; } formats[] = {
#define ROW(dtype, name) { dtype, "matmul_unpack_" name, "matmul_fwd_" name "_few_rows" }
    ROW(LMF_F32, "f32"), ROW(LMF_F16, "f16"), ROW(LMF_BF16, "bf16"), ROW(LMF_F64, "f64"),
    ROW(LMF_Q4_0, "q4_0"), ROW(LMF_Q4_1, "q4_1"), ROW(LMF_Q8_0, "q8_0"),
#undef ROW
};
enum { N_FORMATS = sizeof formats / sizeof *formats, FEW = 8, TILE = 64 };

static int format_index(uint16_t dtype)
{
    for (int i = 0; i < N_FORMATS; i++)
        if (formats[i].dtype == dtype)
            return i;
    return -1;
}

static int64_t inner(const lmf_view *v) { return v->dim[v->n_dims - 1]; }
static int64_t row_bytes(const lmf_view *v) { return lmf_cuda_row_stride(v) / v->fmt->block * v->fmt->block_bytes; }
static bool has_c(const lmf_call *c) { return c->n_in > 2 && c->in[2].n_dims; }

typedef struct sizes { int64_t m, n, k, c_stride; } sizes;
static sizes sizes_of(const lmf_call *c)
{
    const lmf_matmul_attrs *t = c->attrs;
    const lmf_view *a = &c->in[0], *b = &c->in[1];
    sizes s = { t->ta ? inner(a) : lmf_view_rows(a), t->tb ? lmf_view_rows(b) : inner(b), t->ta ? lmf_view_rows(a) : inner(a), 0 };
    if (has_c(c) && (c->in[2].n_dims > 1 || c->out[0].n_dims == 1))
        s.c_stride = lmf_cuda_row_stride(&c->in[2]); /* else one row for all */
    return s;
}

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < 2; i++) {
        const lmf_view *v = &c->in[i];
        if (format_index(v->dtype) < 0 || lmf_cuda_row_stride(v) < 0 || lmf_cuda_row_stride(v) % v->fmt->block ||
            lmf_view_rows(v) > INT32_MAX || inner(v) > INT32_MAX / 2)
            return false;
    }
    return (!has_c(c) || lmf_cuda_row_stride(&c->in[2]) >= 0) && lmf_view_is_dense(&c->out[0]) && sizes_of(c).m <= (int64_t)TILE * 65535;
}

static bool few_fits(const lmf_call *c, const lmf_device *dev)
{
    const lmf_matmul_attrs *t = c->attrs;
    return t->compute == 1 && !t->ta && t->tb && c->in[0].dtype == LMF_F32 && fits(c, dev) && sizes_of(c).m <= FEW;
}

static size_t unpacked_bytes(const lmf_view *v)
{
    return v->dtype == LMF_F32 ? 0 : lmf_align_up((size_t)lmf_view_count(v) * sizeof(float), 256);
}

static size_t scratch(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return unpacked_bytes(&c->in[0]) + unpacked_bytes(&c->in[1]);
}

/* v as f32: itself, or unpacked to dst. */
static lmf_status as_f32(const lmf_worker *wk, const lmf_view *v, void *dst, const void **data, int64_t *stride)
{
    *data = v->data;
    *stride = lmf_cuda_row_stride(v);
    if (v->dtype == LMF_F32)
        return LMF_OK;
    int64_t bytes = row_bytes(v);
    int n = (int)inner(v);
    *data = dst;
    *stride = n;
    return lmf_cuda_launch(wk, "matmul", formats[format_index(v->dtype)].unpack, lmf_cuda_blocks(lmf_view_rows(v), 1), 256, 0,
                           LMF_CUDA_ARGS(&v->data, &dst, &bytes, &n));
}

static lmf_status tiled(const lmf_call *c, const lmf_worker *wk)
{
    static const char *const kernels[2][2] = { { "matmul_fwd_f32_nn", "matmul_fwd_f32_nt" }, { "matmul_fwd_f32_tn", "matmul_fwd_f32_tt" } };
    const lmf_matmul_attrs *t = c->attrs;
    sizes s = sizes_of(c);
    const void *a, *b, *add = has_c(c) ? c->in[2].data : NULL;
    int64_t a_stride, b_stride;
    LMF_TRY(as_f32(wk, &c->in[0], c->scratch, &a, &a_stride));
    LMF_TRY(as_f32(wk, &c->in[1], (char *)c->scratch + unpacked_bytes(&c->in[0]), &b, &b_stride));
    lmf_cuda_grid grid = { (uint32_t)((s.n + TILE - 1) / TILE), (uint32_t)((s.m + TILE - 1) / TILE), 1 };
    return lmf_cuda_launch(wk, "matmul", kernels[t->ta != 0][t->tb != 0], grid, 256, 0,
                           LMF_CUDA_ARGS(&a, &b, &add, &c->out[0].data, &s.m, &s.n, &s.k, &a_stride, &b_stride, &s.c_stride, &t->alpha));
}

static lmf_status few_rows(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_matmul_attrs *t = c->attrs;
    const lmf_view *a = &c->in[0], *b = &c->in[1];
    sizes s = sizes_of(c);
    const void *add = has_c(c) ? c->in[2].data : NULL;
    int64_t a_stride = lmf_cuda_row_stride(a), b_bytes = row_bytes(b);
    int m = (int)s.m, k = (int)s.k;
    return lmf_cuda_launch(wk, "matmul", formats[format_index(b->dtype)].few_rows, lmf_cuda_blocks(m ? s.n : 0, 4), 128, 0,
                           LMF_CUDA_ARGS(&a->data, &b->data, &add, &c->out[0].data, &m, &s.n, &k, &a_stride, &b_bytes, &s.c_stride, &t->alpha));
}

LMF_CUDA_ROWS(matmul) = {
    { .name = "matmul_fwd_any_few_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = few_fits, .run = few_rows },
    { .name = "matmul_fwd_any_tiled", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .scratch = scratch, .run = tiled },
    { 0 }
};
