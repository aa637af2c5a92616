/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/kv_append/kv_append.h"

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *cache = &n->in[0]->v, *x = &n->in[1]->v, *seq = &n->in[2]->v, *pos = &n->in[3]->v, *page = &n->in[4]->v;
    if (!(cache->fmt->flags & LMF_FORMAT_FLOAT) || x->dtype != LMF_F32 || seq->dtype != LMF_I32 || pos->dtype != LMF_I32 || page->dtype != LMF_I32)
        return lmf_refuse(g, n, LMF_E_DTYPE, "the cache is a float type, x f32, seq, pos and page i32");
    if (cache->n_dims != 3 || x->n_dims != 2 || x->dim[1] != cache->dim[2] || seq->n_dims != 1 || pos->n_dims != 1 || page->n_dims != 2 ||
        seq->dim[0] != x->dim[0] || pos->dim[0] != x->dim[0])
        return lmf_refuse(g, n, LMF_E_SHAPE, "the cache is [n_pages, page_size, W], x [T, W], seq and pos [T], page [S, P]");
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    int64_t rows = c->in[0].dim[1], w = c->in[0].dim[2], P = c->in[4].dim[1];
    for (int64_t t = 0; t < c->in[1].dim[0]; t++) {
        int64_t s = lmf_get_int(&c->in[2], t), p = lmf_get_int(&c->in[3], t);
        if (s < 0)
            continue;
        int64_t page = p / rows < P ? lmf_get_int(&c->in[4], s * P + p / rows) : -1;
        if (page < 0 || page >= c->in[0].dim[0])
            return LMF_E_INTERNAL;
        for (int64_t i = 0; i < w; i++)
            lmf_set(&c->out[0], (page * rows + p % rows) * w + i, lmf_get(&c->in[1], t * w + i));
    }
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = 0;
    *bytes = 8 * (double)lmf_view_count(&n->in[1]->v);
}

const lmf_op lmf_op_kv_append = { .name = "kv_append", .n_in_min = 5, .n_in_max = 5, .n_out = 1, .writes = { 1 }, .infer = infer, .cost = cost, .ref = ref };

lmf_tensor *(lmf_kv_append)(lmf_graph *g, const lmf_batch *in, lmf_tensor *cache, lmf_tensor *x)
{
    return lmf_node_add1(g, &lmf_op_kv_append, NULL, (lmf_tensor *[]){ cache, x, in->seq, in->pos, in->page }, 5);
}
