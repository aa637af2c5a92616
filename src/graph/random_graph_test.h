/* SPDX-License-Identifier: Apache-2.0 */
/* Random straight-line graphs of the ops that exist, for tests of planner and devices: random shapes, results used several times
 * or never, sums kept in place in STATE and in STEP tensors. The same seed gives the same graph. */
#ifndef LMF_GRAPH_RANDOM_GRAPH_TEST_H
#define LMF_GRAPH_RANDOM_GRAPH_TEST_H
#include <stdio.h>
#include <string.h>
#include "base/philox.h"
#include "graph/plan.h"
#include "ops/accumulate/accumulate.h"
#include "ops/add/add.h"
#include "ops/attention/attention.h"
#include "ops/matmul/matmul.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/scale_by/scale_by.h"
#include "ops/swiglu/swiglu.h"
#include "test.h"

enum { POOL = 128 };
typedef struct random_graph {
    lmf_ctx     *ctx;
    lmf_graph   *g;
    lmf_weights *weights;
    uint64_t     seed, i;
    lmf_tensor  *pool[POOL];         /* what later ops may read */
    int          n_pool, n_leaves;
} random_graph;

static inline uint32_t pick(random_graph *r, uint32_t n) { return lmf_random_u32(r->seed, 0, 17, r->i++) % n; }

static inline lmf_tensor *leaf(random_graph *r, int cls, int n_dims, int64_t a, int64_t b)
{
    static const char *const kind[] = { [LMF_WEIGHT] = "w", [LMF_STATE] = "s", [LMF_INPUT] = "x" };
    uint16_t dtype = cls == LMF_WEIGHT && n_dims == 2 ? (const uint16_t[]){ LMF_F32, LMF_F16, LMF_BF16 }[pick(r, 3)] : LMF_F32;
    char name[32];
    snprintf(name, sizeof name, "%s%d", kind[cls], r->n_leaves++);
    if (cls == LMF_WEIGHT) {
        lmf_weight *w;
        if (lmf_weights_add(r->weights, name, dtype, n_dims, (int64_t[]){ a, b }, NULL, false, &w))
            return NULL;
        for (int64_t k = 0; k < lmf_view_count(&w->v); k++)
            lmf_set(&w->v, k, lmf_random_f32(r->seed, 1, (uint32_t)r->n_leaves, (uint64_t)k) - 0.5);
    }
    return lmf_graph_tensor(r->g, cls, name, dtype, n_dims, (int64_t[]){ a, b });
}

static inline void keep(random_graph *r, lmf_tensor *t)
{
    if (t && r->n_pool < POOL)
        r->pool[r->n_pool++] = t;
}

/* A tensor of the pool shaped like t, t itself among them. */
static inline lmf_tensor *like(random_graph *r, lmf_tensor *t)
{
    for (int k = 0; k < 8; k++) {
        lmf_tensor *u = r->pool[pick(r, (uint32_t)r->n_pool)];
        if (lmf_same_shape(t, u))
            return u;
    }
    return t;
}

static inline void add_attention(random_graph *r, lmf_tensor *x)
{
    char name[2][32];
    int64_t t = x->v.dim[0], d = x->v.dim[1], two = 2;
    snprintf(name[0], sizeof name[0], "seq%lld", (long long)t);
    snprintf(name[1], sizeof name[1], "q_start%lld", (long long)t);
    lmf_tensor *seq = lmf_graph_find(r->g, name[0]), *start = lmf_graph_find(r->g, name[1]);
    lmf_batch in = { .seq = seq ? seq : lmf_graph_tensor(r->g, LMF_INPUT, name[0], LMF_I32, 1, &t),
                     .q_start = start ? start : lmf_graph_tensor(r->g, LMF_INPUT, name[1], LMF_I32, 1, &two) };
    lmf_tensor *q = lmf_matmul_nt(r->g, x, leaf(r, LMF_WEIGHT, 2, 8, d));
    lmf_tensor *k = lmf_matmul_nt(r->g, x, leaf(r, LMF_WEIGHT, 2, 4, d));
    lmf_tensor *v = lmf_matmul_nt(r->g, x, leaf(r, LMF_WEIGHT, 2, 4, d));
    keep(r, lmf_attention(r->g, &in, q, k, v, (lmf_attention_attrs){ 2, 1, 4, 0, 0.5f }));
}

static inline void sum_in_place(random_graph *r, lmf_tensor *x)
{
    lmf_tensor *acc = NULL;
    int at = -1;
    if (pick(r, 2)) { /* one that is there: its old version leaves the pool */
        at = (int)pick(r, (uint32_t)r->n_pool);
        acc = r->pool[at];
        if (acc == x || !lmf_same_shape(acc, x) || (acc->v.cls != LMF_STATE && acc->v.cls != LMF_STEP))
            return;
    } else {
        acc = leaf(r, LMF_STATE, 2, x->v.dim[0], x->v.dim[1]);
    }
    lmf_tensor *go_on = lmf_graph_find(r->g, "go_on"), *y = NULL;
    y = lmf_accumulate(r->g, acc, x, go_on ? go_on : lmf_graph_tensor(r->g, LMF_INPUT, "go_on", LMF_F32, 1, (int64_t[]){ 1 }));
    if (at >= 0 && y)
        r->pool[at] = y;
    else
        keep(r, y);
}

static inline void add_op(random_graph *r)
{
    lmf_tensor *x = r->pool[pick(r, (uint32_t)r->n_pool)];
    int64_t d = x->v.dim[1];
    switch (pick(r, 9)) {
    case 0: keep(r, lmf_add(r->g, x, like(r, x))); break;
    case 1: keep(r, lmf_add(r->g, x, leaf(r, LMF_WEIGHT, 1, d, 0))); break;
    case 2: keep(r, lmf_rms_norm(r->g, x, leaf(r, LMF_WEIGHT, 1, d, 0), 1e-5f)); break;
    case 3: keep(r, lmf_swiglu(r->g, x, like(r, x))); break;
    case 4: case 5: keep(r, lmf_matmul_nt(r->g, x, leaf(r, LMF_WEIGHT, 2, 1 + pick(r, 60), d))); break;
    case 6: keep(r, lmf_scale_by(r->g, x, leaf(r, LMF_INPUT, 1, 1, 0), pick(r, 2) ? like(r, x) : NULL)); break;
    case 7: add_attention(r, x); break;
    case 8: sum_in_place(r, x); break;
    }
}

/* Fresh results that are still current, some of them as outputs; at least one. */
static inline void add_outputs(random_graph *r)
{
    char name[32];
    int n = 0;
    for (int k = r->n_pool - 1; k >= 0; k--) {
        lmf_tensor *t = r->pool[k];
        if (t->v.cls != LMF_STEP || t->base || (n && pick(r, 3)))
            continue;
        snprintf(name, sizeof name, "y%d", n++);
        lmf_graph_output(r->g, name, t);
    }
    if (n == 0)
        lmf_graph_output(r->g, "y0", lmf_add(r->g, r->pool[0], r->pool[0]));
}

static inline lmf_status random_graph_make(lmf_ctx *ctx, uint64_t seed, random_graph *r)
{
    *r = (random_graph){ .ctx = ctx, .seed = seed };
    LMF_TRY(lmf_weights_create(ctx, &r->weights));
    LMF_TRY(lmf_graph_create(ctx, &r->g));
    int64_t rows = 1 + pick(r, 9);
    for (int k = 0; k < 3; k++)
        keep(r, leaf(r, LMF_INPUT, 2, k ? rows : 1 + pick(r, 9), 1 + pick(r, 40)));
    for (int n = 3 + (int)pick(r, 38); n > 0 && !r->g->status; n--)
        add_op(r);
    add_outputs(r);
    return lmf_graph_finish(r->g);
}

static inline void random_graph_clear(random_graph *r)
{
    lmf_graph_destroy(r->g);
    lmf_weights_destroy(r->weights);
}

/* Inputs and states of a bound plan. */
static inline void random_graph_fill(const random_graph *r, lmf_plan *p)
{
    for (int i = 0; i < r->g->n_tensors; i++) {
        const lmf_tensor *t = r->g->tensors[i];
        float *x = t->v.cls == LMF_INPUT || (t->v.cls == LMF_STATE && !t->base) ? lmf_plan_io(p, 0, t->name) : NULL;
        for (int64_t k = 0; x && k < lmf_view_count(&t->v); k++)
            if (t->v.dtype == LMF_I32) /* seq is all 0; q_start is 0 and the number of rows, which its name says */
                ((int32_t *)x)[k] = strncmp(t->name, "q_start", 7) == 0 && k == 1 ? atoi(t->name + 7) : 0;
            else
                x[k] = lmf_random_f32(r->seed, 2, (uint32_t)i, (uint64_t)k) - 0.5f;
    }
}

#endif
