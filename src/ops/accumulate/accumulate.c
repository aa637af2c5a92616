/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/accumulate/accumulate.h"
#include "base/checked.h"

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    int64_t count = 0;
    for (int i = 0; i < n->n_in; i++)
        if (!n->in[i] || n->in[i]->v.dtype != LMF_F32)
            return lmf_refuse(g, n, LMF_E_DTYPE, "acc, x and keep are f32");
    for (int i = 0; i < lmf_accumulate_n(n->n_in); i++)
        count += lmf_view_count(&n->in[lmf_accumulate_at(i)]->v);
    if (lmf_view_count(&n->in[2]->v) != 1 || (n->n_in == 3 && !lmf_same_shape(n->in[0], n->in[1])))
        return lmf_refuse(g, n, LMF_E_SHAPE, "x has the shape of acc, keep is [1]");
    if (n->n_in > 3 && (n->in[0]->v.n_dims != 1 || n->in[0]->v.dim[0] != count))
        return lmf_refuse(g, n, LMF_E_SHAPE, "all x together have %lld elements, and acc is not [%lld]", (long long)count, (long long)count);
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    double keep = lmf_get(&c->in[2], 0);
    int64_t at = 0;
    for (int i = 0; i < lmf_accumulate_n(c->n_in); i++) {
        const lmf_view *x = &c->in[lmf_accumulate_at(i)];
        for (int64_t k = 0; k < lmf_view_count(x); k++, at++)
            lmf_set(&c->out[0], at, keep == 0 ? lmf_get(x, k) : keep * lmf_get(&c->in[0], at) + lmf_get(x, k));
    }
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = (double)lmf_view_count(&n->in[0]->v);
    *bytes = 12 * *flops;
}

const lmf_op lmf_op_accumulate = { .name = "accumulate", .n_in_min = 3, .n_in_max = LMF_MAX_IN, .n_out = 1, .writes = { 1 }, .infer = infer,
                                   .cost = cost, .ref = ref };

lmf_tensor *(lmf_accumulate_all)(lmf_graph *g, lmf_tensor *acc, lmf_tensor *const *x, int n, lmf_tensor *keep)
{
    lmf_tensor *in[LMF_MAX_IN] = { acc, NULL, keep };
    LMF_ASSERT(n >= 1 && n <= LMF_ACCUMULATE_MOST);
    for (int i = 0; i < n; i++)
        in[lmf_accumulate_at(i)] = x[i];
    return lmf_node_add1(g, &lmf_op_accumulate, NULL, in, n + 2);
}

lmf_tensor *(lmf_accumulate)(lmf_graph *g, lmf_tensor *acc, lmf_tensor *x, lmf_tensor *keep)
{
    return (lmf_accumulate_all)(g, acc, &x, 1, keep);
}
