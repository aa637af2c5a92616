/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the blocked product serves every shape and format with the same bits for a row however many there are; the
 * rows before it are only for compute = 1 and few rows of a, where reading the weights once is all that counts. */
#include "ops/matmul/matmul.h"
#include "device/device.h"
#include "ops/matmul/matmul_gemm.h"
#include "quant/act.h"

enum { MOST_LANES = 8, LANE_ROWS = 4 };

static float *share(const lmf_call *call, int i_worker, int64_t floats) { return (float *)call->scratch + i_worker * lmf__gemm_up(floats, 16); }

/* ---- blocked ---- */
static bool blocked_fits(const lmf_call *call, const lmf_device *dev)
{
    lmf_gemm g;
    (void)dev;
    return lmf__matmul_gemm(call, &g);
}
static size_t blocked_scratch(const lmf_call *call, const lmf_device *dev)
{
    lmf_gemm g;
    return lmf__matmul_gemm(call, &g) ? (size_t)lmf__gemm_up(lmf_gemm_floats(&g), 16) * sizeof(float) * (size_t)dev->n_workers : 0;
}
static lmf_status blocked(const lmf_call *call, const lmf_worker *wk)
{
    lmf_gemm g;
    if (!lmf__matmul_gemm(call, &g))
        return LMF_E_INTERNAL;
    lmf_gemm_run(&g, wk->i_worker, wk->n_workers, share(call, wk->i_worker, lmf_gemm_floats(&g)));
    return LMF_OK;
}

/* ---- few rows, integer dots on block formats: phase 0 quantizes a, phase 1 reads each weight row once ---- */
static bool few_rows(const lmf_call *call, int64_t most, lmf_gemm *g)
{
    const lmf_matmul_attrs *t = call->attrs;
    return t->compute == 1 && t->tb && !t->ta && call->in[0].dtype == LMF_F32 && lmf__matmul_gemm(call, g) && g->m <= most;
}
static bool dot_fits(const lmf_call *call, const lmf_device *dev)
{
    lmf_gemm g;
    (void)dev;
    return few_rows(call, 32, &g) && g.m <= lmf__matmul_few(call, &g) && g.b.fmt->dot && g.k % LMF_ACT_BLOCK == 0;
}
static size_t dot_scratch(const lmf_call *call, const lmf_device *dev)
{
    const lmf_view *a = &call->in[0];
    (void)dev;
    return (size_t)(lmf_view_count(a) / LMF_ACT_BLOCK) * sizeof(lmf_act);
}
static inline void put(const lmf_gemm *g, int64_t i, int64_t j, float x)
{
    g->y[i * g->y_stride + j] = g->alpha * x + (g->c ? g->c[i * g->c_stride + j] : 0);
}
/* Columns j .. j + 15 of y, or up to end. The last 16 weight rows are read again rather than past their end: a column's bits don't
 * depend on its place. */
static void tile(const lmf_gemm *g, const lmf_act *act, int64_t j, int64_t end, size_t row_bytes)
{
    int64_t first = j < g->n - LMF_TILE ? j : g->n - LMF_TILE, blocks = g->k / LMF_ACT_BLOCK;
    end = end < first + LMF_TILE ? end : first + LMF_TILE;
    for (int64_t i = 0; i < g->m; i += 8) {
        float out[8 * LMF_TILE];
        int n = (int)(g->m - i < 8 ? g->m - i : 8);
        g->b.fmt->tile((const char *)g->b.data + (size_t)first * row_bytes, row_bytes, act + i * blocks, blocks, n, g->k, out);
        for (int r = 0; r < n; r++)
            for (int64_t c = j; c < end; c++)
                put(g, i + r, c, out[r * LMF_TILE + c - first]);
    }
}
static lmf_status dot(const lmf_call *call, const lmf_worker *wk)
{
    lmf_gemm g;
    if (!lmf__matmul_gemm(call, &g))
        return LMF_E_INTERNAL;
    lmf_act *act = call->scratch;
    int64_t blocks = g.k / LMF_ACT_BLOCK, begin, end;
    if (wk->phase == 0) {
        lmf_split(g.m * blocks, 1, wk->i_worker, wk->n_workers, &begin, &end);
        for (int64_t n; begin < end; begin += n) { /* row by row: a may be strided */
            int64_t i = begin / blocks, at = begin % blocks;
            n = blocks - at < end - begin ? blocks - at : end - begin;
            lmf_act_quantize((const float *)g.a.data + i * g.a.stride + at * LMF_ACT_BLOCK, act + begin, n * LMF_ACT_BLOCK);
        }
        return LMF_OK;
    }
    const char *w = g.b.data;
    size_t row_bytes = lmf_format_bytes(g.b.fmt, g.b.stride);
    lmf_split(g.n, LMF_GEMM_NR, wk->i_worker, wk->n_workers, &begin, &end);
    int64_t j = begin;
    if (g.b.fmt->tile && g.n >= LMF_TILE) {
        for (; j < end; j += LMF_TILE)
            tile(&g, act, j, end, row_bytes);
        return LMF_OK;
    }
    for (; j < end; j++)
        for (int64_t i = 0; i < g.m; i += 8) {
            float out[8];
            int n = (int)(g.m - i < 8 ? g.m - i : 8);
            g.b.fmt->dot(w + (size_t)j * row_bytes, act + i * blocks, blocks, n, g.k, out);
            for (int r = 0; r < n; r++)
                put(&g, i + r, j, out[r]);
        }
    return LMF_OK;
}

/* ---- few rows, formats without a dot: a weight row is unpacked in L1 and met by up to 4 rows of a ---- */
static bool lanes_fits(const lmf_call *call, const lmf_device *dev)
{
    lmf_gemm g;
    (void)dev;
    return few_rows(call, MOST_LANES, &g);
}
static size_t lanes_scratch(const lmf_call *call, const lmf_device *dev)
{
    return (size_t)lmf__gemm_up(call->in[1].dim[1], 16) * sizeof(float) * (size_t)dev->n_workers;
}
/* Two sums of LMF_VF lanes for each row, whatever n_x: a row's bits don't depend on the others. */
static inline __attribute__((always_inline)) void lanes_n(const float *w, const float *x, int64_t stride, const int n_x, int64_t k, float *out)
{
    lmf_vf s[LANE_ROWS][2] = { { { 0 } } };
    int64_t p = 0;
    for (; p + 2 * LMF_VF <= k; p += 2 * LMF_VF)
        for (int j = 0; j < n_x; j++)
            for (int h = 0; h < 2; h++)
                s[j][h] = lmf_vf_fma(lmf_vf_load(w + p + h * LMF_VF), lmf_vf_load(x + j * stride + p + h * LMF_VF), s[j][h]);
    for (int j = 0; j < n_x; j++) {
        float rest = 0;
        for (int64_t q = p; q < k; q++)
            rest += w[q] * x[j * stride + q];
        out[j] = lmf_vf_sum(s[j][0] + s[j][1]) + rest;
    }
}
static lmf_status lanes(const lmf_call *call, const lmf_worker *wk)
{
    lmf_gemm g;
    if (!lmf__matmul_gemm(call, &g))
        return LMF_E_INTERNAL;
    int64_t begin, end;
    float *room = share(call, wk->i_worker, g.k);
    lmf_split(g.n, LMF_GEMM_NR, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t j = begin; j < end; j++) {
        const float *w = lmf__gemm_row(&g.b, j, 0, g.k, g.k, room);
        for (int64_t i = 0; i < g.m; i += LANE_ROWS) {
            const float *x = (const float *)g.a.data + i * g.a.stride;
            float out[LANE_ROWS];
            int n = (int)(g.m - i < LANE_ROWS ? g.m - i : LANE_ROWS);
            switch (n) {
            case 1: lanes_n(w, x, g.a.stride, 1, g.k, out); break;
            case 2: lanes_n(w, x, g.a.stride, 2, g.k, out); break;
            case 3: lanes_n(w, x, g.a.stride, 3, g.k, out); break;
            default: lanes_n(w, x, g.a.stride, 4, g.k, out); break;
            }
            for (int r = 0; r < n; r++)
                put(&g, i + r, j, out[r]);
        }
    }
    return LMF_OK;
}

LMF_CPU_ROWS(matmul) = {
    { .name = "matmul_fwd_dot", .flags = LMF_ROW_ANY_WORKERS, .n_phases = 2, .needs = LMF_ISA_NEEDS,
      .match = dot_fits, .scratch = dot_scratch, .run = dot },
    { .name = "matmul_fwd_lanes", .flags = LMF_ROW_ANY_WORKERS, .needs = LMF_ISA_NEEDS,
      .match = lanes_fits, .scratch = lanes_scratch, .run = lanes },
    { .name = "matmul_fwd_f32_blocked", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS,
      .match = blocked_fits, .scratch = blocked_scratch, .run = blocked },
    { 0 }
};
