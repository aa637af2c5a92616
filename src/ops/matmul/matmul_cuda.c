/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: with compute 0 only the tiled kernel serves, whose rows depend on nothing but themselves; few_rows and the library's
 * products sum in another order. scratch holds a in the product's type where it is not, then b, then a row c in y's type where it is not,
 * then the library's workspace. */
#include "ops/matmul/matmul.h"
#include "base/checked.h"
#include "device/cuda/blas.h"
#include "device/cuda/formats.h"

static const struct { const char *name, *unpack, *round, *few_rows; } formats[] = {
#define ROW(name, dtype) { #name, "matmul_unpack_" #name, "matmul_round_" #name, "matmul_fwd_" #name "_few_rows" },
    LMF_EACH_FORMAT(ROW)
#undef ROW
};
static const struct { const char *name, *one, *eight; } eights[] = { /* matmul_few_cuda.cu */
#define ROW(name, dtype) { #name, "matmul_few_" #name "_1", "matmul_few_" #name "_8" },
    LMF_EACH_EIGHT(ROW)
#undef ROW
};
enum { FEW = 8, TILE = 64 };

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
        if (LMF_CUDA_FORMAT(formats, v->fmt) < 0 || lmf_cuda_row_stride(v) < 0 || lmf_cuda_row_stride(v) % v->fmt->block ||
            lmf_view_rows(v) > INT32_MAX || inner(v) > INT32_MAX / 2)
            return false;
    }
    return (!has_c(c) || lmf_cuda_row_stride(&c->in[2]) >= 0) && lmf_view_is_dense(&c->out[0]) && sizes_of(c).m <= (int64_t)TILE * 65535;
}

static bool few_fits(const lmf_call *c, const lmf_device *dev)
{
    const lmf_matmul_attrs *t = c->attrs;
    return t->compute == 1 && !t->ta && t->tb && c->in[0].dtype == LMF_F32 && t->y == LMF_F32 && fits(c, dev) && sizes_of(c).m <= FEW;
}

/* b in whole words, eight elements a lane: matmul_few_cuda.cu. */
static bool words_fit(const lmf_call *c, const lmf_device *dev)
{
    if (!few_fits(c, dev) || LMF_CUDA_FORMAT(eights, c->in[1].fmt) < 0)
        return false;
    const lmf_view *b = &c->in[1];
    sizes s = sizes_of(c);
    /* parts of STATE begin anywhere */
    return b->cls != LMF_STATE && c->in[0].cls != LMF_STATE && s.k % 8 == 0 && s.n <= INT32_MAX &&
           row_bytes(b) % lmf_cuda_word(b->fmt) == 0 &&
           lmf_cuda_row_stride(&c->in[0]) % 4 == 0;
}

static lmf_status few_words(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_matmul_attrs *t = c->attrs;
    const lmf_view *a = &c->in[0], *b = &c->in[1];
    sizes s = sizes_of(c);
    const void *add = has_c(c) ? c->in[2].data : NULL;
    int64_t a_stride = lmf_cuda_row_stride(a), b_bytes = row_bytes(b);
    int m = (int)s.m, n = (int)s.n, k = (int)s.k, i = LMF_CUDA_FORMAT(eights, b->fmt);
    return lmf_cuda_launch(wk, "matmul_few", m == 1 ? eights[i].one : eights[i].eight, lmf_cuda_blocks(m ? n : 0, 4), 128, 0,
                           LMF_CUDA_ARGS(&a->data, &b->data, &add, &c->out[0].data, &m, &n, &k, &a_stride, &b_bytes, &s.c_stride, &t->alpha));
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
    return lmf_cuda_launch(wk, "matmul", formats[LMF_CUDA_FORMAT(formats, v->fmt)].unpack, lmf_cuda_blocks(lmf_view_rows(v), 1), 256, 0,
                           LMF_CUDA_ARGS(&v->data, &dst, &bytes, &n));
}

static lmf_status tiled(const lmf_call *c, const lmf_worker *wk)
{
    static const char *const kernels[2][2][2] = {
        { { "matmul_fwd_f32_nn", "matmul_fwd_f32_nt" }, { "matmul_fwd_f32_tn", "matmul_fwd_f32_tt" } },
        { { "matmul_fwd_bf16_nn", "matmul_fwd_bf16_nt" }, { "matmul_fwd_bf16_tn", "matmul_fwd_bf16_tt" } } };
    const lmf_matmul_attrs *t = c->attrs;
    sizes s = sizes_of(c);
    const void *a, *b, *add = has_c(c) ? c->in[2].data : NULL;
    int64_t a_stride, b_stride;
    LMF_TRY(as_f32(wk, &c->in[0], c->scratch, &a, &a_stride));
    LMF_TRY(as_f32(wk, &c->in[1], (char *)c->scratch + unpacked_bytes(&c->in[0]), &b, &b_stride));
    lmf_cuda_grid grid = { (uint32_t)((s.n + TILE - 1) / TILE), (uint32_t)((s.m + TILE - 1) / TILE), 1 };
    return lmf_cuda_launch(wk, "matmul", kernels[t->y == LMF_BF16][t->ta != 0][t->tb != 0], grid, 256, 0,
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
    return lmf_cuda_launch(wk, "matmul", formats[LMF_CUDA_FORMAT(formats, b->fmt)].few_rows, lmf_cuda_blocks(m ? s.n : 0, 4), 128, 0,
                           LMF_CUDA_ARGS(&a->data, &b->data, &add, &c->out[0].data, &m, &s.n, &k, &a_stride, &b_bytes, &s.c_stride, &t->alpha));
}

/* ---- in bf16, by cuBLASLt ---- */
static size_t rounded_bytes(const lmf_view *v)
{
    return v->dtype == LMF_BF16 ? 0 : lmf_align_up((size_t)lmf_view_count(v) * sizeof(uint16_t), 256);
}

/* One row for all, added to a y in bf16: the library wants it in that type. */
static size_t row_c_bytes(const lmf_call *c)
{
    return has_c(c) && c->in[2].dtype != c->out[0].dtype ? lmf_align_up((size_t)lmf_view_count(&c->in[2]) * sizeof(uint16_t), 256) : 0;
}

static size_t round_scratch(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return rounded_bytes(&c->in[0]) + rounded_bytes(&c->in[1]) + row_c_bytes(c) + LMF_CUDA_PRODUCT_WORKSPACE;
}

static bool blas_fits(const lmf_call *c, const lmf_device *dev)
{
    const lmf_matmul_attrs *t = c->attrs;
    sizes s;
    if (t->compute != 1 || dev->features < 80 || !lmf_cuda_has_blas(dev) || !fits(c, dev))
        return false;
    s = sizes_of(c);
    for (int i = 0; i < 2; i++)
        if (lmf_cuda_row_stride(&c->in[i]) % 8 || inner(&c->in[i]) % 8)
            return false;
    int each = t->y == LMF_BF16 ? 8 : 4; /* sixteen bytes */
    return s.m > FEW && s.n >= 8 && s.k >= 8 && s.n % each == 0 && (!has_c(c) || s.c_stride % each == 0);
}

/* Where operand i lies for the product: itself, or rounded in scratch. */
static const void *operand(const lmf_call *c, int i)
{
    size_t at = i ? rounded_bytes(&c->in[0]) : 0;
    return rounded_bytes(&c->in[i]) ? (char *)c->scratch + at : c->in[i].data;
}

static char *behind_operands(const lmf_call *c) { return (char *)c->scratch + rounded_bytes(&c->in[0]) + rounded_bytes(&c->in[1]); }
static const void *addend(const lmf_call *c) { return !has_c(c) ? NULL : row_c_bytes(c) ? behind_operands(c) : c->in[2].data; }

static lmf_status blas_prepare(lmf_call *c, lmf_device *dev)
{
    const lmf_matmul_attrs *t = c->attrs;
    sizes s = sizes_of(c);
    uintptr_t all = (uintptr_t)operand(c, 0) | (uintptr_t)operand(c, 1) | (uintptr_t)c->out[0].data |
                    (uintptr_t)addend(c) | 256;
    lmf_cuda_product_spec spec = { .m = s.m, .n = s.n, .k = s.k, .ta = t->ta, .tb = t->tb, .dtype = LMF_BF16, .y_dtype = c->out[0].dtype,
                                   .y_stride = s.n, .add = !has_c(c) ? 0 : s.c_stride ? 1 : 2, .add_stride = s.c_stride, .alignment = all & (~all + 1) };
    spec.a_stride = rounded_bytes(&c->in[0]) ? inner(&c->in[0]) : lmf_cuda_row_stride(&c->in[0]);
    spec.b_stride = rounded_bytes(&c->in[1]) ? inner(&c->in[1]) : lmf_cuda_row_stride(&c->in[1]);
    return lmf_cuda_product_create(dev, &spec, &c->prep);
}

static void blas_release(lmf_call *c) { lmf_cuda_product_destroy(c->prep); }

static lmf_status blas(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_matmul_attrs *t = c->attrs;
    for (int i = 0; i < 2; i++) {
        const lmf_view *v = &c->in[i];
        const void *dst = operand(c, i);
        int64_t bytes = row_bytes(v), rows = lmf_view_rows(v), n = inner(v);
        if (rounded_bytes(v))
            LMF_TRY(lmf_cuda_launch(wk, "matmul", formats[LMF_CUDA_FORMAT(formats, v->fmt)].round,
                                    lmf_cuda_blocks(rows * (n / 8), 256), 256, 0,
                                    LMF_CUDA_ARGS(&v->data, &dst, &bytes, &rows, &n)));
    }
    if (row_c_bytes(c)) {
        const void *dst = addend(c);
        int64_t bytes = 0, rows = 1, n = lmf_view_count(&c->in[2]);
        LMF_TRY(lmf_cuda_launch(wk, "matmul", "matmul_round_f32", lmf_cuda_blocks(n / 8, 256), 256, 0,
                                LMF_CUDA_ARGS(&c->in[2].data, &dst, &bytes, &rows, &n)));
    }
    return lmf_cuda_product_run(wk, c->prep, operand(c, 0), operand(c, 1), addend(c), c->out[0].data, t->alpha,
                                behind_operands(c) + row_c_bytes(c));
}

LMF_CUDA_ROWS(matmul) = {
    { .name = "matmul_fwd_any_few_rows_in_words", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = words_fit, .run = few_words },
    { .name = "matmul_fwd_any_few_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = few_fits, .run = few_rows },
    { .name = "matmul_fwd_bf16_cublaslt", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = blas_fits, .scratch = round_scratch,
      .prepare = blas_prepare, .release = blas_release, .run = blas },
    { .name = "matmul_fwd_any_tiled", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .scratch = scratch, .run = tiled },
    { 0 }
};
