/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/attention/attention.h"
#include "device/cuda/cuda.h"
#include "ops/attention/attention_job.h"

enum { WARPS = 4, MOST_C = 256 };                      /* attention_cuda.cu */
typedef struct heads { int n, n_kv, size; } heads;     /* laid out as there */

static heads heads_of(const lmf_call *c)
{
    const lmf_attention_attrs *a = c->attrs;
    return (heads){ a->n_heads, a->n_kv_heads, a->head_size };
}

static bool shapes_fit(const lmf_call *c)
{
    const lmf_attention_attrs *a = c->attrs;
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    return a->cap == 0 && a->head_size <= MOST_C && c->in[0].dim[0] <= INT32_MAX && c->in[0].dim[1] <= INT32_MAX / 2;
}
static bool fits(const lmf_call *c, const lmf_device *dev) { return (void)dev, c->in[0].dtype == LMF_F32 && shapes_fit(c); }

static lmf_cuda_grid grid(const lmf_call *c, int n_heads)
{
    return (lmf_cuda_grid){ (uint32_t)c->in[0].dim[0], (uint32_t)((n_heads + WARPS - 1) / WARPS), 1 };
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_attention_attrs *a = c->attrs;
    const lmf_view *in = c->in;
    heads d = heads_of(c);
    return lmf_cuda_launch(wk, "attention", "attention_fwd_f32", grid(c, d.n), 32 * WARPS, 0,
                           LMF_CUDA_ARGS(&in[0].data, &in[1].data, &in[2].data, &in[3].data, &in[4].data, &c->out[0].data, &c->out[1].data, &d,
                                         &a->window, &a->scale));
}

static size_t bwd_scratch(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return (size_t)c->in[0].dim[0] * (size_t)heads_of(c).n * sizeof(float);
}

static lmf_status bwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_attention_attrs *a = c->attrs;
    const lmf_view *in = c->in;
    heads d = heads_of(c);
    LMF_TRY(lmf_cuda_launch(wk, "attention", "attention_bwd_f32_delta", grid(c, d.n), 32 * WARPS, 0,
                            LMF_CUDA_ARGS(&in[3].data, &in[5].data, &c->scratch, &d)));
    LMF_TRY(lmf_cuda_launch(wk, "attention", "attention_bwd_f32_dq", grid(c, d.n), 32 * WARPS, 0,
                            LMF_CUDA_ARGS(&in[0].data, &in[1].data, &in[2].data, &in[4].data, &in[5].data, &c->scratch, &in[6].data, &in[7].data,
                                          &c->out[0].data, &d, &a->window, &a->scale)));
    return lmf_cuda_launch(wk, "attention", "attention_bwd_f32_dkv", grid(c, d.n_kv), 32 * WARPS, 0,
                           LMF_CUDA_ARGS(&in[0].data, &in[1].data, &in[2].data, &in[4].data, &in[5].data, &c->scratch, &in[6].data, &in[7].data,
                                         &c->out[1].data, &c->out[2].data, &d, &a->window, &a->scale));
}

/* ---- compute 1: attention_mma_cuda.cu ---- */
enum { MMA_PAD = 8, MMA_THREADS = 128 };

static bool mma_fits(const lmf_call *c, const lmf_device *dev)
{
    const lmf_attention_attrs *a = c->attrs;
    int C = a->head_size;
    (void)dev;
    return a->compute == 1 && (C == 64 || C == 96 || C == 128) && shapes_fit(c) && c->in[0].dim[0] <= INT32_MAX / 4;
}

/* attention_wgmma_cuda.cu */
enum { WG_TILE = 64 * 128, WG_STAGES = 3, WG_ROWS = 128, WG_KEYS = 64 };

static bool wgmma_fits(const lmf_call *c, const lmf_device *dev)
{
    return ((const lmf_attention_attrs *)c->attrs)->head_size == 64 && lmf_cuda_has_wgmma(dev) && mma_fits(c, dev);
}

static size_t up(size_t n) { return (n + 255) / 256 * 256; }

/* Takes n bytes of scratch; base NULL: only counts. */
static void *take(char *base, size_t *at, size_t n)
{
    void *p = base ? base + *at : NULL;
    *at += up(n);
    return p;
}

/* The job of a call with scratch laid out from c->scratch (NULL: to measure): factors in bf16 where they are not, ranges of keys and
 * rows, delta; for kernels of warpgroups delta and lse by head. */
static lmf_attention_job mma_job(const lmf_call *c, bool backward, bool groups, size_t *bytes)
{
    const lmf_attention_attrs *a = c->attrs;
    const lmf_view *in = c->in, *seq = &in[backward ? 6 : 3];
    size_t t = (size_t)in[0].dim[0], rows = (t + LMF_ATTENTION_ROUND - 1) / LMF_ATTENTION_ROUND * LMF_ATTENTION_ROUND;
    size_t q = t * (size_t)in[0].dim[1] * sizeof(uint16_t), k = t * (size_t)in[1].dim[1] * sizeof(uint16_t);
    lmf_attention_job j = { .seq = seq[0].data, .q_start = seq[1].data, .t = (int)t, .n_seq = (int)seq[1].dim[0] - 1, .n = a->n_heads,
                            .n_kv = a->n_kv_heads, .window = a->window, .scale = a->scale };
    char *base = c->scratch;
    bool there = in[0].dtype == LMF_BF16;
    *bytes = 0;
    j.q = there ? in[0].data : take(base, bytes, q), j.k = there ? in[1].data : take(base, bytes, k);
    j.v = there ? in[2].data : take(base, bytes, k);
    j.first = take(base, bytes, rows * sizeof(int)), j.end = take(base, bytes, rows * sizeof(int));
    j.parts = take(base, bytes, sizeof(int));
    if (!backward) {
        j.o = c->out[0].data, j.lse = c->out[1].data;
        return j;
    }
    size_t facts = (groups ? rows : t) * (size_t)a->n_heads * sizeof(float);
    j.d_o = there ? in[5].data : take(base, bytes, q), j.delta = take(base, bytes, facts);
    j.lse = groups ? take(base, bytes, facts) : NULL;
    j.lse_given = in[4].data, j.dq = c->out[0].data, j.dk = c->out[1].data, j.dv = c->out[2].data;
    return j;
}

static size_t mma_scratch(const lmf_call *c, bool backward, bool groups)
{
    lmf_call measured = *c;
    size_t bytes;
    measured.scratch = NULL;
    mma_job(&measured, backward, groups, &bytes);
    return bytes;
}
static size_t mma_fwd_scratch(const lmf_call *c, const lmf_device *dev) { return (void)dev, mma_scratch(c, false, false); }
static size_t mma_bwd_scratch(const lmf_call *c, const lmf_device *dev) { return (void)dev, mma_scratch(c, true, false); }
static size_t wgmma_bwd_scratch(const lmf_call *c, const lmf_device *dev) { return (void)dev, mma_scratch(c, true, true); }

static lmf_status mma_round(const lmf_worker *wk, const lmf_view *x, const void *to)
{
    int64_t n = lmf_view_count(x);
    if (to == x->data)
        return LMF_OK;
    return lmf_cuda_launch(wk, "attention_mma", "attention_mma_round", lmf_cuda_blocks(n / 8, 256), 256, 0,
                           LMF_CUDA_ARGS(&x->data, &to, &n));
}

/* Factors and ranges: what both directions begin with. */
static lmf_status mma_begin(const lmf_call *c, const lmf_worker *wk, const lmf_attention_job *j)
{
    const void *to[] = { j->q, j->k, j->v };
    for (int i = 0; i < 3; i++)
        LMF_TRY(mma_round(wk, &c->in[i], to[i]));
    return lmf_cuda_launch(wk, "attention_mma", "attention_mma_ranges", lmf_cuda_blocks(j->t, LMF_ATTENTION_ROUND),
                           LMF_ATTENTION_ROUND, 0, LMF_CUDA_ARGS(j));
}

/* lines: rows of a tile that lie in shared memory; more: bytes behind them. */
static lmf_status mma_launch(const lmf_call *c, const lmf_worker *wk, const char *const *names, int rows, int n_heads, int lines, int more,
                             const lmf_attention_job *j)
{
    int C = ((const lmf_attention_attrs *)c->attrs)->head_size;
    lmf_cuda_grid grid = { ((uint32_t)j->t + (uint32_t)rows - 1) / (uint32_t)rows, (uint32_t)n_heads, 1 };
    uint32_t shared = (uint32_t)(lines * (C + MMA_PAD) * (int)sizeof(uint16_t) + more);
    return lmf_cuda_launch(wk, "attention_mma", names[C / 32 - 2], grid, MMA_THREADS, shared, LMF_CUDA_ARGS(j));
}

static lmf_status mma_fwd(const lmf_call *c, const lmf_worker *wk)
{
    static const char *const names[2][3] = { { "attention_mma_fwd_f32_64", "attention_mma_fwd_f32_96", "attention_mma_fwd_f32_128" },
                                             { "attention_mma_fwd_bf16_64", "attention_mma_fwd_bf16_96", "attention_mma_fwd_bf16_128" } };
    int C = ((const lmf_attention_attrs *)c->attrs)->head_size;
    size_t bytes;
    lmf_attention_job j = mma_job(c, false, false, &bytes);
    LMF_TRY(mma_begin(c, wk, &j));
    return mma_launch(c, wk, names[c->in[0].dtype == LMF_BF16], C == 64 ? 128 : 64, j.n, 4 * 64, 0, &j);
}

/* own: tiles that a block owns; each: rows or keys of it, a warpgroup for 64. */
static lmf_status wgmma_launch(const lmf_worker *wk, const char *name, int each, int n_heads, int own, int more, const lmf_attention_job *j)
{
    lmf_cuda_grid grid = lmf_cuda_blocks(((int64_t)j->t + each - 1) / each * n_heads, 1);
    uint32_t shared = (uint32_t)((own + 2 * WG_STAGES) * WG_TILE + more + 1024); /* tiles lie on 1,024 */
    return lmf_cuda_launch(wk, "attention_wgmma", name, grid, (uint32_t)(2 * each), shared, LMF_CUDA_ARGS(j));
}

static lmf_status wgmma_fwd(const lmf_call *c, const lmf_worker *wk)
{
    size_t bytes;
    lmf_attention_job j = mma_job(c, false, false, &bytes);
    LMF_TRY(mma_begin(c, wk, &j));
    const char *name = c->in[0].dtype == LMF_BF16 ? "attention_wgmma_fwd_bf16" : "attention_wgmma_fwd_f32";
    return wgmma_launch(wk, name, WG_ROWS, j.n, WG_ROWS / 64, 0, &j);
}

/* What the kernels of the backward pass are told, and all that they need first but delta. */
static lmf_status mma_bwd_begin(const lmf_call *c, const lmf_worker *wk, bool groups, lmf_attention_job *j)
{
    size_t bytes;
    *j = mma_job(c, true, groups, &bytes);
    LMF_TRY(mma_begin(c, wk, j));
    return mma_round(wk, &c->in[5], j->d_o);
}

static lmf_status wgmma_bwd(const lmf_call *c, const lmf_worker *wk)
{
    bool type = c->in[0].dtype == LMF_BF16;
    lmf_attention_job j;
    LMF_TRY(mma_bwd_begin(c, wk, true, &j));
    int64_t n = ((int64_t)j.t + LMF_ATTENTION_ROUND - 1) / LMF_ATTENTION_ROUND * LMF_ATTENTION_ROUND * j.n; /* eight threads each */
    LMF_TRY(lmf_cuda_launch(wk, "attention_wgmma", type ? "attention_wgmma_facts_bf16" : "attention_wgmma_facts_f32",
                            lmf_cuda_blocks(n, 32), 256, 0, LMF_CUDA_ARGS(&j, &c->in[3].data, &c->in[5].data)));
    LMF_TRY(wgmma_launch(wk, type ? "attention_wgmma_dq_bf16" : "attention_wgmma_dq_f32", WG_ROWS, j.n, 2 * WG_ROWS / 64, 0, &j));
    return wgmma_launch(wk, type ? "attention_wgmma_dkv_bf16" : "attention_wgmma_dkv_f32", WG_KEYS, j.n_kv, 2 * WG_KEYS / 64,
                        WG_STAGES * 1024, &j);
}

static lmf_status mma_bwd(const lmf_call *c, const lmf_worker *wk)
{
    static const char *const dq[2][3] = { { "attention_mma_dq_f32_64", "attention_mma_dq_f32_96", "attention_mma_dq_f32_128" },
                                          { "attention_mma_dq_bf16_64", "attention_mma_dq_bf16_96", "attention_mma_dq_bf16_128" } };
    static const char *const dkv[2][3] = { { "attention_mma_dkv_f32_64", "attention_mma_dkv_f32_96", "attention_mma_dkv_f32_128" },
                                           { "attention_mma_dkv_bf16_64", "attention_mma_dkv_bf16_96", "attention_mma_dkv_bf16_128" } };
    int type = c->in[0].dtype == LMF_BF16;
    int C = ((const lmf_attention_attrs *)c->attrs)->head_size, step = 32, rows = C == 64 ? 128 : 64;
    lmf_attention_job j;
    LMF_TRY(mma_bwd_begin(c, wk, false, &j));
    int64_t n = (int64_t)j.t * j.n;
    LMF_TRY(lmf_cuda_launch(wk, "attention_mma", type ? "attention_mma_delta_bf16" : "attention_mma_delta_f32",
                            lmf_cuda_blocks(n, MMA_THREADS / 32), MMA_THREADS, 0,
                            LMF_CUDA_ARGS(&c->in[3].data, &c->in[5].data, &j.delta, &n, &C)));
    LMF_TRY(mma_launch(c, wk, dq[type], rows, j.n, 2 * rows + 4 * step, 0, &j));
    return mma_launch(c, wk, dkv[type], rows, j.n_kv, 2 * rows + 4 * step, 2 * 3 * step * (int)sizeof(float), &j);
}

LMF_CUDA_ROWS(attention) = {
    { .name = "attention_fwd_bf16_wgmma", .flags = LMF_ROW_ANY_WORKERS, .needs = 90, .match = wgmma_fits, .scratch = mma_fwd_scratch,
      .run = wgmma_fwd },
    { .name = "attention_fwd_bf16", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = mma_fits, .scratch = mma_fwd_scratch,
      .run = mma_fwd },
    { .name = "attention_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .run = fwd }, { 0 }
};
LMF_CUDA_ROWS(attention_bwd) = {
    { .name = "attention_bwd_bf16_wgmma", .flags = LMF_ROW_ANY_WORKERS, .needs = 90, .match = wgmma_fits, .scratch = wgmma_bwd_scratch,
      .run = wgmma_bwd },
    { .name = "attention_bwd_bf16", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = mma_fits, .scratch = mma_bwd_scratch,
      .run = mma_bwd },
    { .name = "attention_bwd_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .scratch = bwd_scratch, .run = bwd }, { 0 }
};
