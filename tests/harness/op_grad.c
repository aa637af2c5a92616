/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: gradients are judged in f64. Every float tensor of the graph becomes f64 and every node runs its reference, so a
 * wrong formula can't hide behind rounding; the kernels of backward ops are compared with their references elsewhere. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/philox.h"
#include "op_harness.h"

static const lmf_format f64 = { .dtype = LMF_F64, .block = 1, .block_bytes = 8, .flags = LMF_FORMAT_FLOAT, .name = "f64" };

/* All tensors of a graph in f64, by lmf_tensor.index. */
typedef struct shadow {
    lmf_case  *c;
    lmf_arena  arena;
    lmf_graph *g;
    lmf_view  *v;
} shadow;

static bool shadow_open(lmf_case *c, lmf_graph *g, shadow *s)
{
    *s = (shadow){ .c = c, .g = g };
    lmf_arena_init(&s->arena, c->h->ctx, (size_t)4 << 30);
    s->v = lmf_arena_array(&s->arena, (size_t)g->n_tensors, sizeof *s->v);
    for (int i = 0; s->v && i < g->n_tensors; i++) {
        const lmf_tensor *t = g->tensors[i];
        lmf_view *v = &s->v[i];
        *v = t->v;
        if (t->v.fmt->flags & LMF_FORMAT_FLOAT)
            v->dtype = LMF_F64, v->fmt = &f64;
        if (t->base) { /* made later than its owner, so that has its address */
            int64_t off = t->base_offset / t->v.fmt->block_bytes * v->fmt->block_bytes;
            v->data = (char *)s->v[t->base->index].data + off;
        } else {
            size_t bytes = lmf_view_span(v);
            v->data = lmf_arena_alloc(&s->arena, bytes + 64);
            if (v->data)
                memset(v->data, 0xff, bytes);
        }
        if (!v->data)
            return lmf_harness_check(c->h, c, "gradient", NULL, false, "out of memory");
    }
    return lmf_harness_check(c->h, c, "gradient", NULL, s->v != NULL, "out of memory");
}

static void shadow_close(shadow *s) { lmf_arena_clear(&s->arena); }

/* Leaves as the case gives them: leaf k of the graph is the k-th input that is there. */
static void shadow_leaves(shadow *s)
{
    int at = 0;
    for (int i = 0; i < s->c->n_in; i++) {
        const lmf_case_tensor *t = &s->c->in[i];
        if (t->absent)
            continue;
        lmf_view *v = &s->v[at++];
        if (v->dtype == LMF_F64)
            for (int64_t e = 0; e < lmf_view_count(v); e++)
                lmf_set(v, e, lmf_get(&t->v, e));
        else if (t->bytes)
            memcpy(v->data, t->v.data, t->bytes);
    }
}

static lmf_view *leaf_of(shadow *s, int i)
{
    int at = 0;
    for (int k = 0; k < i; k++)
        at += !s->c->in[k].absent;
    return &s->v[at];
}

static bool shadow_run(shadow *s, int first, int last)
{
    for (int i = first; i < last; i++) {
        const lmf_node *n = s->g->nodes[i];
        lmf_view v[LMF_MAX_IN + LMF_MAX_OUT] = { 0 };
        for (int k = 0; k < n->n_in + n->n_out; k++) {
            const lmf_tensor *t = k < n->n_in ? n->in[k] : n->out[k - n->n_in];
            if (t)
                v[k] = s->v[t->index];
        }
        lmf_call call = { .row = &lmf_kernel_ref, .ref = n->op->ref, .attrs = n->attrs, .in = v, .out = v + n->n_in,
                          .n_in = n->n_in, .n_out = n->n_out };
        lmf_status st = n->op->ref ? n->op->ref(&call) : LMF_E_UNSUPPORTED;
        if (st)
            return lmf_harness_check(s->c->h, s->c, "gradient", n->op->name, false, "the reference in f64: %s", lmf_status_name(st));
    }
    return true;
}

/* loss = sum of r * out[0], r fixed and normal. */
enum { STREAM_R = 900, STREAM_PICK = 901, STREAM_DIR = 902, STREAM_SUM = 903 };
static double weight_at(int64_t e) { return lmf_case_normal(7, STREAM_R, (uint64_t)e); }

static bool forward_loss(shadow *s, const lmf_node *fwd, double *loss)
{
    if (!shadow_run(s, 0, 1))
        return false;
    const lmf_view *y = &s->v[fwd->out[0]->index];
    *loss = 0;
    for (int64_t e = 0; e < lmf_view_count(y); e++)
        *loss += weight_at(e) * lmf_get(y, e);
    return true;
}

/* Derivative of the loss along u (element `only`, or all elements with signs) by central differences. */
static bool numeric(shadow *s, const lmf_node *fwd, int i, int64_t only, double h, double *out)
{
    double side[2];
    for (int k = 0; k < 2; k++) {
        shadow_leaves(s);
        lmf_view *x = leaf_of(s, i);
        for (int64_t e = only < 0 ? 0 : only; e < (only < 0 ? lmf_view_count(x) : only + 1); e++) {
            double u = only >= 0 || lmf_random_u32(7, 0, STREAM_DIR, (uint64_t)e) & 1 ? 1 : -1;
            lmf_set(x, e, lmf_get(x, e) + (k ? -h : h) * u);
        }
        if (!forward_loss(s, fwd, &side[k]))
            return false;
    }
    *out = (side[0] - side[1]) / (2 * h);
    return true;
}

static double rms_of(const lmf_view *v)
{
    double sum = 0;
    int64_t n = lmf_view_count(v);
    for (int64_t e = 0; e < n; e++)
        sum += lmf_get(v, e) * lmf_get(v, e);
    return n ? sqrt(sum / (double)n) : 0;
}

/* Single elements, then the direction of all elements at once, which no wrong element escapes. */
static bool check_input(shadow *s, shadow *probe, const lmf_node *fwd, int i, const lmf_view *d)
{
    lmf_case *c = s->c;
    const lmf_view *x = &c->in[i].v;
    int64_t n = lmf_view_count(x);
    double tol = c->tol > 0 ? c->tol : 2e-5, g_rms = rms_of(d), x_rms = rms_of(x), h = 1e-4 * (x_rms > 0 ? x_rms : 1), want, dot = 0;
    int64_t n_pick = (int64_t)(4e7 / (c->flops + 1e4)), all = n;
    n_pick = n_pick < 4 ? 4 : n_pick > 40 ? 40 : n_pick;
    for (int64_t p = 0; p < (all < n_pick ? all : n_pick); p++) {
        int64_t e = all <= n_pick ? p : (int64_t)(lmf_random_u32(7, 0, STREAM_PICK, (uint64_t)p) % (uint64_t)n);
        if (!numeric(probe, fwd, i, e, h, &want))
            return false;
        double got = lmf_get(d, e), allowed = tol * (fabs(want) + g_rms) + 1e-10;
        if (!lmf_harness_check(c->h, c, "gradient", NULL, fabs(got - want) <= allowed, "d %s element %lld is %.9g, by differences %.9g (allowed %.2g)",
                               c->in[i].name, (long long)e, got, want, allowed))
            return false;
    }
    for (int64_t e = 0; e < n; e++)
        dot += (lmf_random_u32(7, 0, STREAM_DIR, (uint64_t)e) & 1 ? 1 : -1) * lmf_get(d, e);
    if (n == 0 || !numeric(probe, fwd, i, -1, h / sqrt((double)n), &want))
        return n == 0;
    double allowed = tol * (fabs(want) + g_rms * sqrt((double)n)) + 1e-10;
    return lmf_harness_check(c->h, c, "gradient", NULL, fabs(dot - want) <= allowed, "d %s along a direction is %.9g, by differences %.9g (allowed %.2g)",
                             c->in[i].name, dot, want, allowed);
}

/* The graph of node and gradient. sum_so_far: d_in starts as a tensor of its own, to which the share must be added. */
static bool grad_graph(lmf_case *c, bool sum_so_far, lmf_graph **g, lmf_node **node, lmf_tensor **d_out, lmf_tensor **d_in, lmf_tensor **start)
{
    char name[48];
    lmf_tensor *outs[LMF_MAX_OUT] = { 0 };
    lmf_status s = lmf_case_graph(c, true, g, node);
    if (!s) {
        const lmf_view *y = &(*node)->out[0]->v;
        outs[0] = *d_out = lmf_graph_tensor(*g, LMF_INPUT, "d_out.0", y->dtype, y->n_dims, y->dim);
    }
    for (int i = 0; i < c->n_in && !s && sum_so_far; i++) {
        if (!c->in[i].grad)
            continue;
        snprintf(name, sizeof name, "d_in.%d", i);
        start[i] = d_in[i] = lmf_graph_tensor(*g, LMF_STATE, name, c->in[i].v.dtype, c->in[i].v.n_dims, c->in[i].v.dim);
    }
    if (!s && !(*g)->status)
        s = c->op->grad(LMF_AT(*g), *node, outs, d_in);
    if (!s)
        s = (*g)->status;
    return lmf_harness_check(c->h, c, "gradient", NULL, !s, "%s: %s", lmf_status_name(s), lmf_error(c->h->ctx));
}

static double start_at(int i, int64_t e) { return lmf_case_normal(11, STREAM_SUM + (uint32_t)i, (uint64_t)e); }

/* Runs the graph with d_out = the loss's weights and the sums so far set; d[i] are views of the results. */
static bool run_gradient(lmf_case *c, shadow *s, const lmf_tensor *d_out, lmf_tensor *const *start)
{
    lmf_view *r = &s->v[d_out->index];
    shadow_leaves(s);
    for (int64_t e = 0; e < lmf_view_count(r); e++)
        lmf_set(r, e, weight_at(e));
    for (int i = 0; i < c->n_in; i++)
        for (int64_t e = 0; start[i] && e < lmf_view_count(&s->v[start[i]->index]); e++)
            lmf_set(&s->v[start[i]->index], e, start_at(i, e));
    return shadow_run(s, 0, s->g->n_nodes);
}

static bool check_sum_so_far(lmf_case *c, const shadow *plain, lmf_tensor *const *d_plain)
{
    lmf_graph *g = NULL;
    lmf_node *node;
    lmf_tensor *d_out = NULL, *d_in[LMF_MAX_IN] = { 0 }, *start[LMF_MAX_IN] = { 0 };
    shadow s = { 0 };
    bool ok = grad_graph(c, true, &g, &node, &d_out, d_in, start);
    if (ok) {
        ok = shadow_open(c, g, &s) && run_gradient(c, &s, d_out, start);
        for (int i = 0; i < c->n_in && ok; i++) {
            if (!c->in[i].grad)
                continue;
            const lmf_view *a = &plain->v[d_plain[i]->index], *b = &s.v[d_in[i]->index];
            int64_t e = 0, n = lmf_view_count(a);
            while (e < n && fabs(lmf_get(b, e) - lmf_get(a, e) - start_at(i, e)) <= 1e-6 * (1 + fabs(lmf_get(a, e))))
                e++;
            ok = lmf_harness_check(c->h, c, "gradient", NULL, e == n, "d %s element %lld: %.9g was not added to the sum so far", c->in[i].name,
                                   (long long)e, e < n ? lmf_get(a, e) : 0);
        }
        shadow_close(&s);
    }
    lmf_graph_destroy(g);
    return ok;
}

static bool wants_gradient(const lmf_case *c)
{
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].grad)
            return true;
    return false;
}

void lmf_case_gradient(lmf_case *c)
{
    lmf_graph *g = NULL;
    lmf_node *fwd;
    lmf_tensor *d_out = NULL, *d_in[LMF_MAX_IN] = { 0 }, *none[LMF_MAX_IN] = { 0 };
    shadow s = { 0 }, probe = { 0 };
    if (!wants_gradient(c) || !lmf_harness_check(c->h, c, "gradient", NULL, c->op->grad != NULL, "an input is marked ! and the op has no gradient"))
        return;
    bool ok = grad_graph(c, false, &g, &fwd, &d_out, d_in, none);
    for (int i = 0; i < c->n_in && ok; i++)
        if (c->in[i].grad)
            ok = lmf_harness_check(c->h, c, "gradient", NULL, d_in[i] && lmf_view_count(&d_in[i]->v) == lmf_view_count(&c->in[i].v),
                                   "no gradient of its shape flows to %s", c->in[i].name);
    if (ok) {
        ok = shadow_open(c, g, &s) && run_gradient(c, &s, d_out, none) && shadow_open(c, g, &probe);
        for (int i = 0; i < c->n_in && ok; i++)
            if (c->in[i].grad)
                ok = check_input(&s, &probe, fwd, i, &s.v[d_in[i]->index]);
        if (ok)
            check_sum_so_far(c, &s, d_in);
        if (s.c)
            shadow_close(&s);
        if (probe.c)
            shadow_close(&probe);
    }
    lmf_graph_destroy(g);
}

/* Outputs in place as the node left them: its expansion begins again with the same leaves. */
static bool keep_written(lmf_case *c, const lmf_node *node, shadow *s, lmf_view *kept)
{
    for (int j = 0; j < c->op->n_out; j++) {
        kept[j] = s->v[node->out[j]->index];
        size_t bytes = lmf_view_span(&kept[j]);
        void *copy = c->op->writes[j] ? lmf_arena_alloc(&s->arena, bytes + 64) : kept[j].data;
        if (!copy)
            return lmf_harness_check(c->h, c, "expand", NULL, false, "out of memory");
        if (c->op->writes[j])
            memcpy(copy, kept[j].data, bytes);
        kept[j].data = copy;
    }
    shadow_leaves(s);
    return true;
}

void lmf_case_expand(lmf_case *c)
{
    lmf_graph *g = NULL;
    lmf_node *node;
    lmf_tensor *out[LMF_MAX_OUT] = { 0 };
    if (!c->op->expand)
        return;
    lmf_status st = lmf_case_graph(c, false, &g, &node);
    for (int j = 0; j < c->op->n_out && !st; j++) /* it stands before what the node has written */
        if (c->op->writes[j])
            node->out[j]->base->now = node->in[c->op->writes[j] - 1]->version;
    if (!st)
        st = c->op->expand(LMF_AT(g), node, out);
    if (!st)
        st = g->status;
    if (lmf_harness_check(c->h, c, "expand", NULL, !st && out[0], "%s: %s", lmf_status_name(st), lmf_error(c->h->ctx))) {
        shadow s;
        lmf_view kept[LMF_MAX_OUT];
        if (shadow_open(c, g, &s)) {
            shadow_leaves(&s);
            bool ok = shadow_run(&s, 0, 1) && keep_written(c, node, &s, kept) && shadow_run(&s, 1, g->n_nodes);
            for (int j = 0; j < c->op->n_out && ok; j++)
                if (out[j])
                    ok = lmf_case_compare(c, "expand", NULL, j, &s.v[out[j]->index], &kept[j], NULL);
        }
        shadow_close(&s);
    }
    lmf_graph_destroy(g);
}
