/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the reference is in f32, too: a code hangs on the last bit of what it codes. bitsandbytes is what it is compared with. */
#include "ops/adamw_8bit/adamw_8bit.h"

enum { P, M, V, S, G, NORM, HYPER, N_IN };

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    for (int i = 0; i < N_IN; i++)
        if (n->in[i]->v.dtype != (i == M || i == V ? LMF_I8 : LMF_F32))
            return lmf_refuse(g, n, LMF_E_DTYPE, "m and v are i8, all others f32");
    int64_t count = lmf_view_count(&n->in[P]->v), blocks = (count + LMF_ADAMW_8BIT_BLOCK - 1) / LMF_ADAMW_8BIT_BLOCK;
    if (!lmf_same_shape(n->in[P], n->in[M]) || !lmf_same_shape(n->in[P], n->in[V]) || !lmf_same_shape(n->in[P], n->in[G]))
        return lmf_refuse(g, n, LMF_E_SHAPE, "p, m, v and g have one shape");
    if (lmf_view_count(&n->in[S]->v) != 2 * blocks)
        return lmf_refuse(g, n, LMF_E_SHAPE, "s has two scales for each block of 256");
    if (lmf_view_count(&n->in[NORM]->v) != 1 || lmf_view_count(&n->in[HYPER]->v) != LMF_ADAMW_8BIT_HYPER)
        return lmf_refuse(g, n, LMF_E_SHAPE, "norm is [1] and hyper [%d]", LMF_ADAMW_8BIT_HYPER);
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    float h[LMF_ADAMW_8BIT_HYPER], norm = (float)lmf_get(&c->in[NORM], 0);
    lmf_maps8 map;
    if (!isfinite(norm))
        return LMF_OK;
    for (int i = 0; i < LMF_ADAMW_8BIT_HYPER; i++)
        h[i] = (float)lmf_get(&c->in[HYPER], i);
    lmf_dynamic8_map(true, map.m), lmf_dynamic8_map(false, map.v);
    float clip = h[LMF_ADAMW_8BIT_MAX_NORM] > 0 ? fminf(1, h[LMF_ADAMW_8BIT_MAX_NORM] / (norm + 1e-6f)) : 1;
    int64_t count = lmf_view_count(&c->in[P]), blocks = lmf_view_count(&c->in[S]) / 2;
    for (int64_t b = 0, at = 0; b < blocks; b++, at += LMF_ADAMW_8BIT_BLOCK) {
        int64_t n = count - at < LMF_ADAMW_8BIT_BLOCK ? count - at : LMF_ADAMW_8BIT_BLOCK;
        float p[LMF_ADAMW_8BIT_BLOCK], g[LMF_ADAMW_8BIT_BLOCK], sm = (float)lmf_get(&c->in[S], b), sv = (float)lmf_get(&c->in[S],
            blocks + b);
        uint8_t m[LMF_ADAMW_8BIT_BLOCK], v[LMF_ADAMW_8BIT_BLOCK];
        for (int64_t i = 0; i < n; i++) {
            p[i] = (float)lmf_get(&c->in[P], at + i), g[i] = (float)lmf_get(&c->in[G], at + i);
            m[i] = (uint8_t)(int8_t)lmf_get_int(&c->in[M], at + i), v[i] = (uint8_t)(int8_t)lmf_get_int(&c->in[V], at + i);
        }
        lmf_adamw_8bit_block(&map, h, clip, g, n, p, m, v, &sm, &sv);
        for (int64_t i = 0; i < n; i++) {
            lmf_set(&c->out[0], at + i, (double)p[i]);
            lmf_set(&c->out[1], at + i, (int8_t)m[i]), lmf_set(&c->out[2], at + i, (int8_t)v[i]);
        }
        lmf_set(&c->out[3], b, (double)sm), lmf_set(&c->out[3], blocks + b, (double)sv);
    }
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = 60 * (double)lmf_view_count(&n->in[P]->v);
    *bytes = 16 * (double)lmf_view_count(&n->in[P]->v);
}

const lmf_op lmf_op_adamw_8bit = { .name = "adamw_8bit", .n_in_min = N_IN, .n_in_max = N_IN, .n_out = 4, .writes = { 1, 2, 3, 4 },
                                   .infer = infer, .cost = cost, .ref = ref };

lmf_tensor *(lmf_adamw_8bit)(lmf_graph *g, lmf_tensor *p, lmf_tensor *m, lmf_tensor *v, lmf_tensor *s, lmf_tensor *grad, lmf_tensor *norm,
                             lmf_tensor *hyper)
{
    return lmf_node_add1(g, &lmf_op_adamw_8bit, NULL, (lmf_tensor *[]){ p, m, v, s, grad, norm, hyper }, N_IN);
}
