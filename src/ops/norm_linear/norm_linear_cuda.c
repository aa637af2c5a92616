/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: matrices, norms and biases are read before the kernels in front have ended: none may be what a kernel writes. */
#include "ops/norm_linear/norm_linear.h"
#include "device/cuda/cuda.h"
#include "ops/norm_linear/norm_linear_job.h"

enum { FEW = 8, WARPS = 4, X = 0, W = 1, FIRST = 2 };
enum { LINEAR, SWIGLU, ADD, N_KINDS };

static const struct { uint16_t dtype; int word; const char *kernel[N_KINDS][2]; } formats[] = {
#define ROW(dtype, word, name) \
    { dtype, word, { { "norm_linear_" name "_1", "norm_linear_" name "_8" }, { "norm_swiglu_" name "_1", "norm_swiglu_" name "_8" }, \
                     { "linear_add_" name "_1", "linear_add_" name "_8" } } }
    ROW(LMF_F32, 16, "f32"), ROW(LMF_F16, 16, "f16"), ROW(LMF_BF16, 16, "bf16"), ROW(LMF_Q4_0, 2, "q4_0"), ROW(LMF_Q4_1, 4, "q4_1"),
    ROW(LMF_Q8_0, 2, "q8_0"),
#undef ROW
};
enum { N_FORMATS = sizeof formats / sizeof *formats };

static int format_index(uint16_t dtype)
{
    for (int i = 0; i < N_FORMATS; i++)
        if (formats[i].dtype == dtype)
            return i;
    return -1;
}

static int64_t row_bytes(const lmf_view *v) { return (int64_t)lmf_format_bytes(v->fmt, v->dim[1]); }
static bool is_fixed(const lmf_view *v) { return v->cls == LMF_WEIGHT || v->cls == LMF_INPUT || v->cls == LMF_CONST; }

static bool fits(const lmf_call *c, const lmf_device *dev, int n_matrices, int compute)
{
    const lmf_view *x = &c->in[X];
    int f = format_index(c->in[FIRST].dtype);
    int64_t n = 0;
    if (!lmf_cuda_tries(dev, 1) || compute != 1 || f < 0 || x->dim[0] > FEW || x->dim[1] % 8 || x->dim[1] > INT32_MAX / 2)
        return false;
    for (int i = 0; i < c->n_in; i++) {
        const lmf_view *v = &c->in[i];
        bool matrix = i >= FIRST && i < FIRST + n_matrices, residual = n_matrices == 1 && i == W;
        if (!v->n_dims)
            continue;
        if (!lmf_view_is_dense(v) || (i >= W && !residual && !is_fixed(v)) ||
            (matrix && (v->dtype != formats[f].dtype || row_bytes(v) % formats[f].word || v->dim[0] < 1)))
            return false;
        n += matrix ? v->dim[0] : 0;
    }
    return n <= INT32_MAX / 2;
}

static int compute_of(const lmf_call *c) { return ((const lmf_norm_linear_attrs *)c->attrs)->compute; }
static bool linear_fits(const lmf_call *c, const lmf_device *dev) { return fits(c, dev, 3, compute_of(c)); }
static bool swiglu_fits(const lmf_call *c, const lmf_device *dev) { return fits(c, dev, 2, compute_of(c)); }
static bool add_fits(const lmf_call *c, const lmf_device *dev)
{
    return fits(c, dev, 1, ((const lmf_linear_add_attrs *)c->attrs)->compute);
}

/* n: columns that warps own. */
static lmf_status launch(const lmf_call *c, const lmf_worker *wk, int kind, int n_matrices, int64_t n, lmf_norm_linear_job *j)
{
    j->x = c->in[X].data, j->m = (int)c->in[X].dim[0], j->k = (int)c->in[X].dim[1];
    for (int i = 0; i < n_matrices; i++) {
        const lmf_view *w = &c->in[FIRST + i], *b = FIRST + n_matrices + i < c->n_in ? &c->in[FIRST + n_matrices + i] : NULL;
        j->part[i] = (lmf_norm_linear_part){ .w = w->data, .bias = b && b->n_dims ? b->data : NULL, .y = c->out[i < c->n_out ? i : 0].data,
                                             .w_bytes = row_bytes(w), .n = (int)w->dim[0] };
    }
    return lmf_cuda_launch(wk, "norm_linear", formats[format_index(c->in[FIRST].dtype)].kernel[kind][j->m > 1],
                           lmf_cuda_blocks(j->m ? n : 0, WARPS), 32 * WARPS, 0, LMF_CUDA_ARGS(j));
}

static lmf_status linear(const lmf_call *c, const lmf_worker *wk)
{
    lmf_norm_linear_job j = { .norm = c->in[W].data, .eps = ((const lmf_norm_linear_attrs *)c->attrs)->eps };
    return launch(c, wk, LINEAR, 3, c->in[FIRST].dim[0] + c->in[FIRST + 1].dim[0] + c->in[FIRST + 2].dim[0], &j);
}

static lmf_status swiglu(const lmf_call *c, const lmf_worker *wk)
{
    lmf_norm_linear_job j = { .norm = c->in[W].data, .eps = ((const lmf_norm_linear_attrs *)c->attrs)->eps };
    return launch(c, wk, SWIGLU, 2, c->in[FIRST].dim[0], &j);
}

static lmf_status add(const lmf_call *c, const lmf_worker *wk)
{
    lmf_norm_linear_job j = { .r = c->in[W].data };
    return launch(c, wk, ADD, 1, c->in[FIRST].dim[0], &j);
}

LMF_CUDA_ROWS(norm_linear) = {
    { .name = "norm_linear_any_few_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = linear_fits, .run = linear }, { 0 }
};
LMF_CUDA_ROWS(norm_swiglu) = {
    { .name = "norm_swiglu_any_few_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = swiglu_fits, .run = swiglu }, { 0 }
};
LMF_CUDA_ROWS(linear_add) = {
    { .name = "linear_add_any_few_rows", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = add_fits, .run = add }, { 0 }
};
