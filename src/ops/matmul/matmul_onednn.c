/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: only for compute = 1, whose promise these rows can keep (with compute 0 a row of y has its bits whatever the workers
 * and the other rows), and only above FEW rows, below which that promise is about bits too. scratch holds a and b in bf16
 * where the row is bf16, then oneDNN's own. */
#include "ops/matmul/matmul.h"
#include "base/checked.h"
#include "base/cpu.h"
#include "base/half.h"
#include "base/team.h"
#include "device/onednn/onednn.h"

static const double MIN_WORK = 128.0 * 128 * 128;      /* m * n * k: below, making ready costs more than it saves */
enum { FEW = 16 };
static const size_t MOST_SCRATCH = (size_t)64 << 20;   /* bytes of unpacked operands: a head of 100,000 rows stays with our own */

typedef struct layout { lmf_dnn_gemm g; size_t a_bytes, b_bytes, dnn_bytes; } layout; /* scratch: a, b, oneDNN's */

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

static bool arrange(const lmf_call *call, const lmf_device *dev, bool bf16, layout *l)
{
    const lmf_matmul_attrs *t = call->attrs;
    const lmf_view *a = &call->in[0], *b = &call->in[1], *c = call->n_in > 2 && call->in[2].n_dims ? &call->in[2] : NULL, *y = &call->out[0];
    int64_t a_row = row_stride(a), b_row = row_stride(b), y_row = row_stride(y), c_row = c ? row_stride(c) : 0;
    *l = (layout){ .g = { .m = lmf_view_rows(y), .n = inner(y), .k = t->tb ? inner(b) : lmf_view_rows(b), .y_stride = y_row, .has_c = c != NULL,
                          .alpha = t->alpha, .bf16 = bf16, .n_workers = dev->n_workers } };
    lmf_dnn_gemm *g = &l->g;
    if (t->compute != 1 || g->m <= FEW || (double)g->m * (double)g->n * (double)g->k < MIN_WORK || a_row < 0 || b_row < 0 || y_row < 0 || c_row < 0)
        return false;
    if (c && (c->n_dims > 1 || y->n_dims == 1))
        g->c_stride = c_row;
    if (bf16) {
        a_row = inner(a), b_row = inner(b); /* of the dense copies */
        l->a_bytes = lmf_align_up((size_t)(g->m * g->k) * 2, 64);
        l->b_bytes = lmf_align_up((size_t)(g->n * g->k) * 2, 64);
    }
    g->a_stride[t->ta] = a_row, g->a_stride[!t->ta] = 1;
    g->b_stride[t->tb] = b_row, g->b_stride[!t->tb] = 1;
    return l->a_bytes + l->b_bytes <= MOST_SCRATCH && lmf_dnn_supports(g, &l->dnn_bytes);
}

/* Measured with AVX2 on one Zen core, 256 x 576 x 576: 96 GFLOP/s against 92 of our blocked row where b is [K, N], 90 against
 * 91 where it is [N, K]. */
static bool f32_fits(const lmf_call *call, const lmf_device *dev)
{
    layout l;
    const lmf_matmul_attrs *t = call->attrs;
    return !t->tb && call->in[0].dtype == LMF_F32 && call->in[1].dtype == LMF_F32 && arrange(call, dev, false, &l);
}
static size_t f32_scratch(const lmf_call *call, const lmf_device *dev)
{
    layout l;
    return arrange(call, dev, false, &l) ? l.dnn_bytes : 0;
}
static lmf_status f32_prepare(lmf_call *call, lmf_device *dev)
{
    layout l;
    if (!arrange(call, dev, false, &l))
        return LMF_FAIL(dev->ctx, LMF_E_INTERNAL, "matmul: oneDNN took this product and does no longer");
    return lmf_dnn_create(dev->ctx, &l.g, (lmf_dnn **)&call->prep);
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

/* ---- bf16: any format is unpacked to bf16 first, by all workers ---- */
typedef struct narrow { layout l; lmf_dnn *product; lmf_ctx *ctx; } narrow;

static bool bf16_fits(const lmf_call *call, const lmf_device *dev)
{
    layout l;
    return call->in[0].fmt->unpack && call->in[1].fmt->unpack && arrange(call, dev, true, &l);
}
static size_t bf16_scratch(const lmf_call *call, const lmf_device *dev)
{
    layout l;
    return arrange(call, dev, true, &l) ? l.a_bytes + l.b_bytes + l.dnn_bytes : 0;
}
static lmf_status bf16_prepare(lmf_call *call, lmf_device *dev)
{
    narrow *p = lmf_new(dev->ctx, narrow);
    if (!p)
        return LMF_NO_MEMORY(dev->ctx, sizeof *p, "a product in bf16");
    p->ctx = dev->ctx;
    lmf_status s = arrange(call, dev, true, &p->l) ? lmf_dnn_create(dev->ctx, &p->l.g, &p->product)
                                                   : LMF_FAIL(dev->ctx, LMF_E_INTERNAL, "matmul: oneDNN took this product and does no longer");
    if (s)
        lmf_delete(dev->ctx, p);
    else
        call->prep = p;
    return s;
}
static void bf16_release(lmf_call *call)
{
    narrow *p = call->prep;
    lmf_dnn_destroy(p->product);
    lmf_delete(p->ctx, p);
    call->prep = NULL;
}

/* Rows of v as dense bf16, this worker's share of them. */
static void to_bf16(const lmf_view *v, uint16_t *dst, int i_worker, int n_workers)
{
    enum { PIECE = 1024 }; /* a multiple of every block */
    int64_t begin, end, n = inner(v), stride = row_stride(v);
    float room[PIECE];
    lmf_split(lmf_view_rows(v), 1, i_worker, n_workers, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        const char *row = (const char *)v->data + lmf_format_bytes(v->fmt, r * stride);
        for (int64_t at = 0; at < n; at += PIECE) {
            int64_t some = n - at < PIECE ? n - at : PIECE;
            const float *x = v->dtype == LMF_F32 ? (const float *)row + at : room;
            if (v->dtype != LMF_F32)
                v->fmt->unpack(row + lmf_format_bytes(v->fmt, at), room, some);
            for (int64_t i = 0; i < some; i++)
                dst[r * n + at + i] = lmf_f32_to_bf16(x[i]);
        }
    }
}
static void unpack_share(void *arg, int i_worker, int n_workers)
{
    const lmf_call *call = arg;
    const narrow *p = call->prep;
    to_bf16(&call->in[0], call->scratch, i_worker, n_workers);
    to_bf16(&call->in[1], (uint16_t *)((char *)call->scratch + p->l.a_bytes), i_worker, n_workers);
}
static lmf_status bf16_run(const lmf_call *call, const lmf_worker *wk)
{
    const narrow *p = call->prep;
    char *b = (char *)call->scratch + p->l.a_bytes;
    (void)wk;
    lmf_dnn_team(p->product, unpack_share, (void *)(uintptr_t)call);
    return lmf_dnn_run(p->product, call->scratch, b, call->n_in > 2 ? call->in[2].data : NULL, call->out[0].data, b + p->l.b_bytes);
}

#define BF16_ROW(row_name, bits) { .name = row_name, .flags = LMF_ROW_WHOLE, .needs = bits, .match = bf16_fits, .scratch = bf16_scratch, \
                                   .prepare = bf16_prepare, .release = bf16_release, .run = bf16_run }

LMF_ONEDNN_ROWS(matmul) = {
    BF16_ROW("matmul_fwd_bf16_onednn_amx", LMF_CPU_AVX512 | LMF_CPU_AMX_BF16),
    BF16_ROW("matmul_fwd_bf16_onednn_avx512", LMF_CPU_AVX512 | LMF_CPU_AVX512_BF16),
    { .name = "matmul_fwd_f32_onednn", .flags = LMF_ROW_WHOLE, .needs = LMF_CPU_AVX2, .match = f32_fits, .scratch = f32_scratch,
      .prepare = f32_prepare, .release = f32_release, .run = f32_run },
    { 0 }
};
