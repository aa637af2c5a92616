/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: only for compute = 1, whose promise this row can keep (with compute 0 a row of y has its bits whatever the workers and the
 * other rows), and not where bf16 is at hand (matmul_bf16.c). */
#include "ops/matmul/matmul.h"
#include "base/cpu.h"
#include "device/onednn/onednn.h"

enum { LEAST = 128 }; /* m, n and k: below, making ready costs more than it saves, and thin products are better read where they lie */

/* Leading dims as one: elements from row to row, or -1. */
static int64_t row_stride(const lmf_view *v)
{
    int64_t stride = -1, rows = 1;
    if (v->dim[v->n_dims - 1] > 1 && v->stride[v->n_dims - 1] != 1)
        return -1;
    for (int i = v->n_dims - 2; i >= 0; rows *= v->dim[i], i--) {
        if (v->dim[i] == 1)
            continue;
        if (stride < 0)
            stride = v->stride[i];
        else if (v->stride[i] != stride * rows)
            return -1;
    }
    return stride < 0 ? v->dim[v->n_dims - 1] : stride;
}
static int64_t inner(const lmf_view *v) { return v->dim[v->n_dims - 1]; }

static bool arrange(const lmf_call *call, const lmf_device *dev, lmf_dnn_gemm *g, size_t *scratch)
{
    const lmf_matmul_attrs *t = call->attrs;
    const lmf_view *a = &call->in[0], *b = &call->in[1], *c = call->n_in > 2 && call->in[2].n_dims ? &call->in[2] : NULL, *y = &call->out[0];
    int64_t a_row = row_stride(a), b_row = row_stride(b), y_row = row_stride(y), c_row = c ? row_stride(c) : 0;
    *g = (lmf_dnn_gemm){ .m = lmf_view_rows(y), .n = inner(y), .k = t->tb ? inner(b) : lmf_view_rows(b), .y_stride = y_row, .has_c = c != NULL,
                         .alpha = t->alpha, .n_workers = dev->n_workers };
    if (t->compute != 1 || y->dtype != LMF_F32 || g->m < LEAST || g->n < LEAST || g->k < LEAST || a_row < 0 || b_row < 0 || y_row < 0 ||
        c_row < 0)
        return false;
    if (c && (c->n_dims > 1 || y->n_dims == 1))
        g->c_stride = c_row;
    g->a_stride[t->ta] = a_row, g->a_stride[!t->ta] = 1;
    g->b_stride[t->tb] = b_row, g->b_stride[!t->tb] = 1;
    return lmf_dnn_supports(g, scratch);
}

/* Measured with AVX2 on one Zen core, 256 x 576 x 576: 96 GFLOP/s against 92 of our blocked row where b is [K, N], 90 against
 * 91 where it is [N, K]. */
static bool f32_fits(const lmf_call *call, const lmf_device *dev)
{
    lmf_dnn_gemm g;
    size_t bytes;
    const lmf_matmul_attrs *t = call->attrs;
    bool bf16 = dev->ctx->cpu_features & (LMF_CPU_AMX_BF16 | LMF_CPU_AVX512_BF16_FAST);
    return !bf16 && !t->tb && call->in[0].dtype == LMF_F32 && call->in[1].dtype == LMF_F32 && arrange(call, dev, &g, &bytes);
}
static size_t f32_scratch(const lmf_call *call, const lmf_device *dev)
{
    lmf_dnn_gemm g;
    size_t bytes;
    return arrange(call, dev, &g, &bytes) ? bytes : 0;
}
static lmf_status f32_prepare(lmf_call *call, lmf_device *dev)
{
    lmf_dnn_gemm g;
    size_t bytes;
    if (!arrange(call, dev, &g, &bytes))
        return LMF_FAIL(dev->ctx, LMF_E_INTERNAL, "matmul: oneDNN took this product and does no longer");
    return lmf_dnn_create(dev->ctx, &g, (lmf_dnn **)&call->prep);
}
static void f32_release(lmf_call *call)
{
    lmf_dnn_destroy(call->prep);
    call->prep = NULL;
}
static lmf_status f32_run(const lmf_call *call, const lmf_worker *wk)
{
    (void)wk;
    return lmf_dnn_run(call->prep, call->in[0].data, call->in[1].data, call->n_in > 2 ? call->in[2].data : NULL, call->out[0].data, call->scratch);
}

LMF_ONEDNN_ROWS(matmul) = {
    { .name = "matmul_fwd_f32_onednn", .flags = LMF_ROW_WHOLE, .needs = LMF_CPU_AVX2, .match = f32_fits, .scratch = f32_scratch,
      .prepare = f32_prepare, .release = f32_release, .run = f32_run },
    { 0 }
};
