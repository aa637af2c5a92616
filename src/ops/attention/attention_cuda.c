/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/attention/attention.h"
#include "device/cuda/cuda.h"

enum { WARPS = 4, MOST_C = 256 };                      /* attention_cuda.cu */
typedef struct heads { int n, n_kv, size; } heads;     /* laid out as there */
typedef struct paging { const void *page; int n_pages, page_size, pages_a_seq; } paging;

static heads heads_of(const lmf_call *c)
{
    const lmf_attention_attrs *a = c->attrs;
    return (heads){ a->n_heads, a->n_kv_heads, a->head_size };
}

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    const lmf_attention_attrs *a = c->attrs;
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    return a->head_size <= MOST_C && c->in[0].dim[0] <= INT32_MAX && c->in[0].dim[1] <= INT32_MAX / 2;
}

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

LMF_CUDA_ROWS(attention) = {
    { .name = "attention_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = fits, .run = fwd }, { 0 }
};

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

LMF_CUDA_ROWS(attention_bwd) = {
    { .name = "attention_bwd_f32", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = fits, .scratch = bwd_scratch, .run = bwd }, { 0 }
};

static const char *paged_kernel(const lmf_call *c)
{
    if (c->in[1].dtype != c->in[2].dtype)
        return NULL;
    switch (c->in[1].dtype) {
    case LMF_F32: return "attention_paged_f32";
    case LMF_F16: return "attention_paged_f16";
    case LMF_BF16: return "attention_paged_bf16";
    }
    return NULL;
}

static bool paged_fits(const lmf_call *c, const lmf_device *dev)
{
    return fits(c, dev) && paged_kernel(c) && c->in[1].dim[0] <= INT32_MAX;
}

static lmf_status paged(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_attention_attrs *a = c->attrs;
    const lmf_view *in = c->in;
    heads d = heads_of(c);
    paging g = { in[5].data, (int)in[1].dim[0], (int)in[1].dim[1], (int)in[5].dim[1] };
    return lmf_cuda_launch(wk, "attention", paged_kernel(c), grid(c, d.n), 32 * WARPS, 0,
                           LMF_CUDA_ARGS(&in[0].data, &in[1].data, &in[2].data, &in[3].data, &in[4].data, &c->out[0].data, &d, &a->window,
                                         &a->scale, &g));
}

LMF_CUDA_ROWS(attention_paged) = {
    { .name = "attention_paged_any", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = paged_fits, .run = paged }, { 0 }
};
