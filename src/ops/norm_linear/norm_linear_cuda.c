/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: matrices, norms and biases are read before the kernels in front have ended: none may be what a kernel writes. */
#include "ops/norm_linear/norm_linear.h"
#include "device/cuda/cuda.h"
#include "device/cuda/formats.h"
#include "device/cuda/linear_job.h"

enum { FEW = 8, WARPS = 4, SPLIT_ROWS = 256, X = 0, W = 1, FIRST = 2 };
enum { LINEAR, SWIGLU, ADD, N_KINDS };
enum { ONE, EIGHT, SPLIT_2, SPLIT_4, WIDE_8, N_SHAPES };                  /* kernels by rows */

typedef struct names { const char *of[N_KINDS][N_SHAPES]; } names;
static const struct { const char *name; names kernel; } formats[] = {
#define KIND(stem, name) { stem "_" name "_1", stem "_" name "_8", stem "_split_" name "_2", stem "_split_" name "_4", \
                           stem "_wide_" name "_8" }
#define ROW(name, dtype) { #name, { { KIND("norm_linear", #name), KIND("norm_swiglu", #name), KIND("linear_add", #name) } } },
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
    return m > FEW && m <= 65535 * 32 && c->in[X].dim[1] % 32 == 0 && fits(c, kind, compute);
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

LMF_CUDA_ROWS(norm_linear) = {
    { .name = "norm_linear_any_few_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = linear_few_fit, .run = linear_few },
    { .name = "norm_linear_bf16_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = linear_rows_fit, .run = linear_rows }, { 0 }
};
LMF_CUDA_ROWS(norm_swiglu) = {
    { .name = "norm_swiglu_any_few_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = swiglu_few_fit, .run = swiglu_few },
    { .name = "norm_swiglu_bf16_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = swiglu_rows_fit, .run = swiglu_rows }, { 0 }
};
LMF_CUDA_ROWS(linear_add) = {
    { .name = "linear_add_any_few_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = add_few_fit, .run = add_few },
    { .name = "linear_add_bf16_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = add_rows_fit, .run = add_rows }, { 0 }
};
