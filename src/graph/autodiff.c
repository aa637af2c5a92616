/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: gradients are summed in the order of walking back, whether blocks are recomputed or not, so that both ways give
 * the same bits. Recomputed nodes are copies made on demand just before the gradient that asks for them; copies that
 * nothing reads in the end are dropped. */
#include "graph/graph.h"
#include <string.h>

typedef struct walk {
    lmf_graph   *g;
    bool         recompute, recompute_cheap, copied;
    int32_t      n_tensors;   /* of the forward pass */
    lmf_tensor **d;           /* gradient of each forward tensor, or NULL */
    lmf_tensor **again;       /* its recomputed copy, or NULL */
} walk;

void lmf_grad_add(lmf_graph *g, lmf_tensor **d_in, lmf_tensor *t)
{
    if (!t)
        return;
    if (!*d_in) {
        *d_in = t;
        return;
    }
    const lmf_op *add = lmf_op_find(g->ctx, "add");
    LMF_ASSERT(add);
    lmf_tensor *sum = lmf_node_add1(g, add, NULL, (lmf_tensor *[]){ *d_in, t }, 2);
    if (sum)
        *d_in = sum;
}

static lmf_tensor *recomputed(walk *w, lmf_tensor *t);

static lmf_node *copy_node(walk *w, const lmf_node *n)
{
    lmf_tensor *in[LMF_MAX_IN];
    for (int i = 0; i < n->n_in; i++)
        in[i] = n->in[i] && n->in[i]->node && n->in[i]->node->block == n->block ? recomputed(w, n->in[i]) : n->in[i];
    w->g->block = n->block;
    lmf_graph_at(w->g, n->file, n->line);
    lmf_node *c = lmf_node_add(w->g, n->op, n->attrs, in, n->n_in);
    if (!c)
        return NULL;
    c->recomputed = 1;
    w->copied = true;
    for (int j = 0; j < n->n_out; j++)
        w->again[n->out[j]->index] = c->out[j];
    return c;
}

/* The tensor to use in the backward pass for t: itself, or a copy computed again. */
static lmf_tensor *recomputed(walk *w, lmf_tensor *t)
{
    if (!t || t->index >= w->n_tensors || !t->node)
        return t;
    uint32_t flags = t->node->op->flags;
    bool wanted = w->recompute || (w->recompute_cheap && flags & LMF_OP_CHEAP);
    if (!(flags & LMF_OP_AGAIN) && (!wanted || t->node->block == 0))
        return t;
    for (int j = 0; j < t->node->n_out; j++)
        if (t->node->op->writes[j])
            return t;
    if (!w->again[t->index] && !copy_node(w, t->node))
        return NULL;
    return w->again[t->index];
}

static bool first_slot(const lmf_node *n, int i)
{
    for (int k = 0; k < i; k++)
        if (n->in[k] == n->in[i])
            return false;
    return true;
}

static lmf_status node_backward(walk *w, lmf_node *n)
{
    lmf_tensor *d_out[LMF_MAX_OUT], *d_in[LMF_MAX_IN], *in[LMF_MAX_IN], *out[LMF_MAX_OUT];
    bool any = false;
    for (int j = 0; j < n->n_out; j++) {
        d_out[j] = w->d[n->out[j]->index];
        any |= d_out[j] != NULL;
    }
    if (!any)
        return LMF_OK;
    w->g->block = n->block;
    lmf_graph_at(w->g, n->file, n->line);
    bool wanted = false;
    for (int i = 0; i < n->n_in; i++)
        wanted |= n->in[i] && n->in[i]->needs_grad;
    if (!wanted)
        return LMF_OK;
    if (!n->op->grad)
        return lmf_refuse(w->g, n, LMF_E_UNSUPPORTED, "has no gradient, and one is asked of it");
    for (int i = 0; i < n->n_in; i++) {
        in[i] = n->in[i] && n->in[i]->node && n->in[i]->node->block == n->block ? recomputed(w, n->in[i]) : n->in[i];
        /* a tensor that stands twice among the inputs has its sum so far in its first slot alone */
        d_in[i] = n->in[i] && first_slot(n, i) ? w->d[n->in[i]->index] : NULL;
    }
    for (int j = 0; j < n->n_out; j++)
        out[j] = recomputed(w, n->out[j]);
    if (w->g->status)
        return w->g->status;
    w->g->block = n->block;
    lmf_graph_at(w->g, n->file, n->line);
    lmf_node seen = *n;
    seen.in = in;
    seen.out = out;
    LMF_TRY(n->op->grad(w->g, &seen, d_out, d_in));
    LMF_TRY(w->g->status);
    for (int i = 0; i < n->n_in; i++) {
        if (!n->in[i])
            continue;
        if (first_slot(n, i))
            w->d[n->in[i]->index] = d_in[i];
        else
            lmf_grad_add(w->g, &w->d[n->in[i]->index], d_in[i]);
    }
    return w->g->status;
}

static void drop_dead_copies(lmf_graph *g, int32_t *n_uses)
{
    for (int32_t i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++)
            if (g->nodes[i]->in[k])
                n_uses[g->nodes[i]->in[k]->index]++;
    for (int32_t i = g->n_nodes - 1; i >= 0; i--) {
        lmf_node *n = g->nodes[i];
        bool used = !n->recomputed;
        for (int j = 0; j < n->n_out; j++)
            used |= n_uses[n->out[j]->index] > 0;
        if (used)
            continue;
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k])
                n_uses[n->in[k]->index]--;
        g->nodes[i] = NULL;
    }
    int32_t kept = 0;
    for (int32_t i = 0; i < g->n_nodes; i++)
        if (g->nodes[i])
            g->nodes[kept++] = g->nodes[i];
    g->n_nodes = kept;
}

lmf_status lmf_graph_backward(lmf_graph *g, lmf_tensor *loss, lmf_tensor *d_loss, const lmf_backward_opts *opts,
                              lmf_tensor *const *wrt, int n_wrt, lmf_tensor **grad)
{
    if (g->status || !loss || !d_loss)
        return g->status ? g->status : LMF_E_ARG;
    walk w = { .g = g, .recompute = opts && opts->recompute, .recompute_cheap = opts && opts->recompute_cheap, .n_tensors = g->n_tensors };
    int32_t n_forward = g->n_nodes;
    size_t bytes = 2 * (size_t)w.n_tensors * sizeof *w.d, use_bytes = 0;
    w.d = lmf_alloc(g->ctx, bytes);
    if (!w.d)
        return g->status = LMF_NO_MEMORY(g->ctx, bytes, "the backward pass");
    w.again = w.d + w.n_tensors;
    w.d[loss->index] = d_loss;
    lmf_status s = LMF_OK;
    int32_t *n_uses = NULL;
    for (int32_t i = n_forward - 1; i >= 0; i--)
        LMF_TRY_TO(done, node_backward(&w, g->nodes[i]));
    for (int i = 0; i < n_wrt; i++)
        grad[i] = w.d[wrt[i]->index];
    g->block = 0;
    if (w.copied) {
        use_bytes = (size_t)g->n_tensors * sizeof *n_uses;
        n_uses = lmf_alloc(g->ctx, use_bytes);
        if (!n_uses) {
            s = LMF_NO_MEMORY(g->ctx, use_bytes, "the backward pass");
            goto done;
        }
        for (int i = 0; i < n_wrt; i++)
            if (grad[i])
                n_uses[grad[i]->index]++;
        drop_dead_copies(g, n_uses);
    }
done:
    lmf_free(g->ctx, n_uses, use_bytes);
    lmf_free(g->ctx, w.d, bytes);
    if (s && !g->status)
        g->status = s;
    return s;
}
