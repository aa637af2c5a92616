/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: matrices, norms and biases are read before the kernels in front have ended: none may be what a kernel writes. */
#include "ops/norm_linear/norm_linear.h"
#include "base/checked.h"
#include "device/cuda/blas.h"
#include "device/cuda/formats.h"
#include "device/cuda/linear_job.h"

enum { FEW = 8, WARPS = 4, SPLIT_ROWS = 256, X = 0, W = 1, FIRST = 2 };
enum { MMA_ROWS = 3 };                                                    /* from here on the matrix units are faster */
enum { LINEAR, SWIGLU, ADD, N_KINDS };
enum { ONE, EIGHT, SPLIT_2, SPLIT_4, WIDE_8, N_SHAPES };                  /* kernels by rows */

typedef struct names { const char *of[N_KINDS][N_SHAPES]; } names;
static const struct { const char *name; names kernel; const char *unpack; } formats[] = {
#define KIND(stem, name) { stem "_" name "_1", stem "_" name "_8", stem "_split_" name "_2", stem "_split_" name "_4", \
                           stem "_wide_" name "_8" }
#define ROW(name, dtype) { #name, { { KIND("norm_linear", #name), KIND("norm_swiglu", #name), KIND("linear_add", #name) } }, \
                           "norm_linear_unpack_" #name },
    LMF_EACH_EIGHT(ROW)
#undef ROW
#undef KIND
};

static int64_t row_bytes(const lmf_view *v) { return (int64_t)lmf_format_bytes(v->fmt, v->dim[1]); }
static bool is_fixed(const lmf_view *v) { return v->cls == LMF_WEIGHT || v->cls == LMF_INPUT || v->cls == LMF_CONST; }
static int n_matrices(int kind) { return kind == LINEAR ? 3 : kind == SWIGLU ? 2 : 1; }

static bool fits(const lmf_call *c, int kind, int compute)
{
    const lmf_view *x = &c->in[X];
    const lmf_format *fmt = c->in[FIRST].fmt;
    int n_m = n_matrices(kind);
    int64_t n = 0;
    if (compute != 1 || LMF_CUDA_FORMAT(formats, fmt) < 0 || x->dim[1] % 8 || x->dim[1] > INT32_MAX / 2)
        return false;
    for (int i = 0; i < c->n_in; i++) {
        const lmf_view *v = &c->in[i];
        bool matrix = i >= FIRST && i < FIRST + n_m, residual = kind == ADD && i == W;
        if (!v->n_dims)
            continue;
        if (!lmf_view_is_dense(v) || (i >= W && !residual && !is_fixed(v)) ||
            (matrix && (v->dtype != fmt->dtype || row_bytes(v) % lmf_cuda_word(fmt) || v->dim[0] < 1)))
            return false;
        n += matrix ? v->dim[0] : 0;
    }
    return n <= INT32_MAX / 2;
}

static bool few_fit(const lmf_call *c, int kind, int compute) { return c->in[X].dim[0] <= FEW && fits(c, kind, compute); }

/* On the matrix units. */
static bool rows_fit(const lmf_call *c, int kind, int compute)
{
    int64_t m = c->in[X].dim[0];
    return m >= MMA_ROWS && m <= 65535 * 32 && c->in[X].dim[1] % 32 == 0 && fits(c, kind, compute);
}

static int compute_of(const lmf_call *c) { return ((const lmf_norm_linear_attrs *)c->attrs)->compute; }
static int add_compute(const lmf_call *c) { return ((const lmf_linear_add_attrs *)c->attrs)->compute; }
static bool linear_few_fit(const lmf_call *c, const lmf_device *dev) { return (void)dev, few_fit(c, LINEAR, compute_of(c)); }
static bool swiglu_few_fit(const lmf_call *c, const lmf_device *dev) { return (void)dev, few_fit(c, SWIGLU, compute_of(c)); }
static bool add_few_fit(const lmf_call *c, const lmf_device *dev) { return (void)dev, few_fit(c, ADD, add_compute(c)); }
static bool linear_rows_fit(const lmf_call *c, const lmf_device *dev) { return (void)dev, rows_fit(c, LINEAR, compute_of(c)); }
static bool swiglu_rows_fit(const lmf_call *c, const lmf_device *dev) { return (void)dev, rows_fit(c, SWIGLU, compute_of(c)); }
static bool add_rows_fit(const lmf_call *c, const lmf_device *dev) { return (void)dev, rows_fit(c, ADD, add_compute(c)); }

static lmf_linear_job job_of(const lmf_call *c, int kind)
{
    lmf_linear_job j = { .x = c->in[X].data, .m = (int)c->in[X].dim[0], .k = (int)c->in[X].dim[1], .alpha = 1 };
    int n_m = n_matrices(kind);
    if (kind == ADD)
        j.r = c->in[W].data;
    else
        j.norm = c->in[W].data, j.eps = ((const lmf_norm_linear_attrs *)c->attrs)->eps;
    for (int i = 0; i < n_m; i++) {
        const lmf_view *w = &c->in[FIRST + i], *b = FIRST + n_m + i < c->n_in ? &c->in[FIRST + n_m + i] : NULL;
        j.part[i] = (lmf_linear_part){ .w = w->data, .bias = b && b->n_dims ? b->data : NULL, .y = c->out[i < c->n_out ? i : 0].data,
                                       .w_bytes = row_bytes(w), .n = (int)w->dim[0] };
    }
    return j;
}

static const char *name_of(const lmf_call *c, int kind, int shape)
{
    return formats[LMF_CUDA_FORMAT(formats, c->in[FIRST].fmt)].kernel.of[kind][shape];
}

static lmf_status few(const lmf_call *c, const lmf_worker *wk, int kind)
{
    lmf_linear_job j = job_of(c, kind);
    int64_t n = j.part[0].n + (kind == LINEAR ? (int64_t)j.part[1].n + j.part[2].n : 0);
    return lmf_cuda_launch(wk, "norm_linear", name_of(c, kind, j.m > 1 ? EIGHT : ONE), lmf_cuda_blocks(j.m ? n : 0, WARPS), 32 * WARPS, 0,
                           LMF_CUDA_ARGS(&j));
}

static lmf_status rows(const lmf_call *c, const lmf_worker *wk, int kind)
{
    lmf_linear_job j = job_of(c, kind);
    int shape = j.m <= 16 ? SPLIT_2 : j.m <= SPLIT_ROWS ? SPLIT_4 : WIDE_8, tall = shape == SPLIT_2 ? 16 : shape == SPLIT_4 ? 32 : 64;
    int width = shape == WIDE_8 ? LMF_WIDE_COLUMNS : LMF_SPLIT_COLUMNS;
    lmf_cuda_grid grid = { .y = (uint32_t)((j.m + tall - 1) / tall), .z = 1 };
    for (int i = 0; i < (kind == LINEAR ? 3 : 1); i++)
        grid.x += (uint32_t)((j.part[i].n + width - 1) / width);
    return lmf_cuda_launch(wk, "norm_linear_rows", name_of(c, kind, shape), grid, shape == WIDE_8 ? LMF_WIDE_THREADS : LMF_SPLIT_THREADS, 0,
                           LMF_CUDA_ARGS(&j));
}

static lmf_status linear_few(const lmf_call *c, const lmf_worker *wk) { return few(c, wk, LINEAR); }
static lmf_status swiglu_few(const lmf_call *c, const lmf_worker *wk) { return few(c, wk, SWIGLU); }
static lmf_status add_few(const lmf_call *c, const lmf_worker *wk) { return few(c, wk, ADD); }
static lmf_status linear_rows(const lmf_call *c, const lmf_worker *wk) { return rows(c, wk, LINEAR); }
static lmf_status swiglu_rows(const lmf_call *c, const lmf_worker *wk) { return rows(c, wk, SWIGLU); }
static lmf_status add_rows(const lmf_call *c, const lmf_worker *wk) { return rows(c, wk, ADD); }

/* ---- many rows: products by cuBLASLt, norm_linear_blas_cuda.cu around them ---- */
enum { BLAS_ROWS = 129, BLAS_ROWS_OF_LARGE = 33, LARGE = 1 << 22 };       /* measured: before, one kernel is faster than several */
typedef struct products { lmf_ctx *ctx; void *of[3]; } products;
typedef struct rooms { size_t x, w, gates, all; } rooms;                  /* scratch: x, matrices, what is gated, the library's */

static int n_products(const lmf_call *c, int kind) { return kind == SWIGLU && c->in[FIRST].dtype != LMF_BF16 ? 1 : n_matrices(kind); }

static rooms rooms_of(const lmf_call *c, int kind)
{
    int64_t m = c->in[X].dim[0], k = c->in[X].dim[1], n = 0;
    for (int i = 0; i < n_matrices(kind); i++)
        n += c->in[FIRST + i].dim[0];
    rooms r = { .x = lmf_align_up((size_t)(m * k) * sizeof(uint16_t), 256) };
    r.w = c->in[FIRST].dtype == LMF_BF16 ? 0 : lmf_align_up((size_t)(n * k) * sizeof(uint16_t), 256);
    r.gates = kind == SWIGLU ? lmf_align_up((size_t)(m * n) * sizeof(uint16_t), 256) : 0;
    r.all = r.x + r.w + r.gates + LMF_CUDA_PRODUCT_WORKSPACE;
    return r;
}

static bool blas_fit(const lmf_call *c, int kind, int compute, const lmf_device *dev)
{
    int64_t m = c->in[X].dim[0], k = c->in[X].dim[1], n = 0;
    if (m < BLAS_ROWS_OF_LARGE || m > INT32_MAX || k % 32 || !lmf_cuda_has_blas(dev) || !fits(c, kind, compute))
        return false;
    for (int i = 0; i < n_matrices(kind); n += c->in[FIRST + i++].dim[0])
        if (c->in[FIRST + i].dim[0] % 8)
            return false;
    if (m < BLAS_ROWS && n * k < LARGE)
        return false;
    return kind != ADD || c->n_in <= FIRST + 1 || !c->in[FIRST + 1].n_dims;
}

static void blas_release(lmf_call *c)
{
    products *p = c->prep;
    for (int i = 0; p && i < 3; i++)
        lmf_cuda_product_destroy(p->of[i]);
    if (p)
        lmf_delete(p->ctx, p);
    c->prep = NULL;
}

/* Where matrix i of the call is in bf16, and where its product goes, n the columns before it. */
static const void *blas_matrix(const lmf_call *c, int kind, int i, int64_t n)
{
    rooms r = rooms_of(c, kind);
    return r.w ? (char *)c->scratch + r.x + (size_t)(n * c->in[X].dim[1]) * sizeof(uint16_t) : c->in[FIRST + i].data;
}
static void *blas_result(const lmf_call *c, int kind, int i)
{
    rooms r = rooms_of(c, kind);
    size_t one = (size_t)(c->in[X].dim[0] * c->in[FIRST].dim[0]) * sizeof(uint16_t);
    return kind == SWIGLU ? (char *)c->scratch + r.x + r.w + (size_t)i * one : c->out[i].data;
}

static lmf_status blas_prepare(lmf_call *c, lmf_device *dev, int kind)
{
    lmf_linear_job j = job_of(c, kind);
    products *p = lmf_new(dev->ctx, products);
    if (!p)
        return LMF_NO_MEMORY(dev->ctx, sizeof *p, "products of a layer");
    p->ctx = dev->ctx;
    c->prep = p;
    int64_t before = 0;
    for (int i = 0; i < n_products(c, kind); i++) {
        const lmf_linear_part *part = &j.part[i];
        int64_t n = n_products(c, kind) == 1 && kind == SWIGLU ? 2 * (int64_t)part->n : part->n;
        const void *w = blas_matrix(c, kind, i, before), *y = blas_result(c, kind, i), *bias = kind == LINEAR ? part->bias : NULL;
        uintptr_t all = (uintptr_t)c->scratch | (uintptr_t)w | (uintptr_t)y | (uintptr_t)j.r | (uintptr_t)bias | 256;
        lmf_cuda_product_spec spec = { .m = j.m, .n = n, .k = j.k, .tb = 1, .a_stride = j.k, .b_stride = j.k, .y_stride = n,
            .add_stride = n, .dtype = LMF_BF16, .y_dtype = kind == SWIGLU ? LMF_BF16 : LMF_F32, .add = kind == ADD ? 1 : bias ? 2 : 0,
            .alignment = all & (~all + 1) };
        lmf_status s = lmf_cuda_product_create(dev, &spec, &p->of[i]);
        if (s) {
            blas_release(c);
            return s;
        }
        before += part->n;
    }
    return LMF_OK;
}

static lmf_status blas(const lmf_call *c, const lmf_worker *wk, int kind)
{
    const products *p = c->prep;
    lmf_linear_job j = job_of(c, kind);
    rooms r = rooms_of(c, kind);
    char *x = c->scratch, *w = x + r.x, *gates = w + r.w, *rest = gates + r.gates;
    int64_t before = 0, n = j.part[0].n, eights = ((int64_t)j.part[0].n + j.part[1].n + j.part[2].n) * (j.k / 8);
    LMF_TRY(lmf_cuda_launch(wk, "norm_linear_blas", "norm_linear_round_x", lmf_cuda_blocks(j.m, 4), 128, 0,
                            LMF_CUDA_ARGS(&j.x, &j.norm, &x, &j.m, &j.k, &j.eps)));
    if (r.w)
        LMF_TRY(lmf_cuda_launch(wk, "norm_linear_blas", formats[LMF_CUDA_FORMAT(formats, c->in[FIRST].fmt)].unpack,
                                lmf_cuda_blocks(eights, 256), 256, 0, LMF_CUDA_ARGS(&j, &w)));
    for (int i = 0; i < n_products(c, kind); i++) {
        const void *add = kind == ADD ? j.r : j.part[i].bias;
        LMF_TRY(lmf_cuda_product_run(wk, p->of[i], x, blas_matrix(c, kind, i, before), add, blas_result(c, kind, i), 1.0f, rest));
        before += j.part[i].n;
    }
    if (kind != SWIGLU)
        return LMF_OK;
    int64_t stride = n_products(c, kind) == 1 ? 2 * n : n;
    void *up = gates + (size_t)(n_products(c, kind) == 1 ? n : (int64_t)j.m * n) * sizeof(uint16_t);
    return lmf_cuda_launch(wk, "norm_linear_blas", "norm_linear_gate", lmf_cuda_blocks((int64_t)j.m * (n / 8), 256), 256, 0,
                           LMF_CUDA_ARGS(&gates, &up, &j.part[0].bias, &j.part[1].bias, &j.part[0].y, &j.m, &j.part[0].n, &stride));
}

#define BLAS_ROW(stem, kind, compute)                                                                                \
    static bool stem##_blas_fit(const lmf_call *c, const lmf_device *dev) { return blas_fit(c, kind, compute(c), dev); } \
    static size_t stem##_scratch(const lmf_call *c, const lmf_device *dev) { return (void)dev, rooms_of(c, kind).all; } \
    static lmf_status stem##_prepare(lmf_call *c, lmf_device *dev) { return blas_prepare(c, dev, kind); }             \
    static lmf_status stem##_blas(const lmf_call *c, const lmf_worker *wk) { return blas(c, wk, kind); }
BLAS_ROW(linear, LINEAR, compute_of)
BLAS_ROW(swiglu, SWIGLU, compute_of)
BLAS_ROW(add, ADD, add_compute)
#define BLAS(op, stem)                                                                                               \
    { .name = op "_bf16_cublaslt", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = stem##_blas_fit,              \
      .scratch = stem##_scratch, .prepare = stem##_prepare, .release = blas_release, .run = stem##_blas }

LMF_CUDA_ROWS(norm_linear) = {
    BLAS("norm_linear", linear),
    { .name = "norm_linear_bf16_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = linear_rows_fit, .run = linear_rows },
    { .name = "norm_linear_any_few_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = linear_few_fit, .run = linear_few }, { 0 }
};
LMF_CUDA_ROWS(norm_swiglu) = {
    BLAS("norm_swiglu", swiglu),
    { .name = "norm_swiglu_bf16_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = swiglu_rows_fit, .run = swiglu_rows },
    { .name = "norm_swiglu_any_few_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = swiglu_few_fit, .run = swiglu_few }, { 0 }
};
LMF_CUDA_ROWS(linear_add) = {
    BLAS("linear_add", add),
    { .name = "linear_add_bf16_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = add_rows_fit, .run = add_rows },
    { .name = "linear_add_any_few_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = add_few_fit, .run = add_few }, { 0 }
};
