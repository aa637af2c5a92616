/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/plan.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/philox.h"
#include "ops/add/add.h"
#include "ops/embed/embed.h"
#include "ops/head_nll/head_nll.h"
#include "ops/matmul/matmul.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/swiglu/swiglu.h"
#include "test.h"

enum { T = 5, D = 6, F = 10, V = 12, LAYERS = 3 };

typedef struct built { lmf_graph *g; lmf_tensor *wrt[8], *grad[8]; int n; int line; } built;

static lmf_tensor *param(built *b, const char *name, int64_t rows, int64_t cols)
{
    lmf_tensor *t = lmf_graph_tensor(b->g, LMF_STATE, name, LMF_F32, rows ? 2 : 1, rows ? (int64_t[]){ rows, cols } : &cols);
    if (t)
        t->needs_grad = true;
    return b->wrt[b->n++] = t;
}

/* Residual blocks in which a tensor stands twice in one op, results fan out, and one weight serves all layers. */
static lmf_status build(lmf_ctx *ctx, lmf_backward_opts opts, built *b)
{
    memset(b, 0, sizeof *b);
    LMF_TRY(lmf_graph_create(ctx, &b->g));
    lmf_graph *g = b->g;
    int64_t t = T, d = D, one = 1;
    lmf_tensor *x = lmf_graph_tensor(g, LMF_INPUT, "x", LMF_F32, 2, (int64_t[]){ t, d });
    lmf_tensor *norm = param(b, "norm", 0, D), *up = param(b, "up", F, D), *down = param(b, "down", D, F), *head = param(b, "head", V, D);
    x = lmf_matmul_nt(g, x, param(b, "in", D, D));
    for (int l = 0; l < LAYERS; l++) {
        lmf_graph_block(g, l);
        lmf_tensor *h = lmf_rms_norm(g, x, norm, 1e-5f), *u = lmf_matmul_nt(g, h, up);
        lmf_tensor *s = lmf_swiglu(g, u, u);          /* twice the same input */
        x = lmf_add(g, x, lmf_matmul_nt(g, s, down)); /* x fans out */
        x = lmf_add(g, lmf_add(g, x, x), x);          /* twice, behind a later use whose gradient comes first */
    }
    lmf_graph_block(g, -1);
    lmf_tensor *loss = lmf_head_nll(g, x, head, lmf_graph_tensor(g, LMF_INPUT, "target", LMF_I32, 1, &t), lmf_graph_tensor(g, LMF_INPUT, "weight", LMF_F32, 1, &t),
                                    (lmf_head_nll_attrs){ .scale = 1 }, NULL);
    lmf_tensor *d_loss = lmf_graph_const(g, "d_loss", LMF_F32, 1, &one, (float[]){ 1 });
    lmf_graph_output(g, "loss", loss);
    LMF_TRY(lmf_graph_backward(g, loss, d_loss, &opts, b->wrt, b->n, b->grad));
    for (int i = 0; i < b->n; i++) {
        char name[32];
        snprintf(name, sizeof name, "grad%d", i);
        lmf_graph_output(g, name, b->grad[i]);
    }
    return lmf_graph_finish(g);
}

static double value(uint32_t tensor, int64_t k) { return 2.0 * (double)lmf_random_f32(11, 0, tensor, (uint64_t)k) - 1; }

static void fill(const built *b, lmf_plan *p)
{
    float *x = lmf_plan_io(p, 0, "x"), *w = lmf_plan_io(p, 0, "weight");
    int32_t *target = lmf_plan_io(p, 0, "target");
    for (int64_t k = 0; k < T * D; k++)
        x[k] = (float)value(100, k);
    for (int64_t k = 0; k < T; k++)
        target[k] = (int32_t)(k * 5 % V), w[k] = 0.2f;
    for (int i = 0; i < b->n; i++)
        for (int64_t k = 0; k < lmf_view_count(&b->wrt[i]->v); k++)
            ((float *)lmf_plan_io(p, 0, b->wrt[i]->name))[k] = (float)(0.6 * value((uint32_t)i, k) + (i == 0));
}

static lmf_plan *planned(lmf_ctx *ctx, lmf_device *dev, const built *b)
{
    lmf_plan *p;
    assert_ok(ctx, lmf_plan_create(dev, (lmf_graph *[]){ b->g }, 1, NULL, &p));
    assert_ok(ctx, lmf_plan_bind(p, NULL, 0));
    fill(b, p);
    return p;
}

static double loss_at(lmf_ctx *ctx, lmf_plan *p)
{
    assert_ok(ctx, lmf_plan_run(p, 0));
    return (double)*(float *)lmf_plan_io(p, 0, "loss");
}

/* Central differences of a few elements of each parameter, in f32: 1e-2 of the largest gradient. */
static void gradients_are_right(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    built b;
    assert_ok(ctx, build(ctx, (lmf_backward_opts){ 0 }, &b));
    assert_ok(ctx, lmf_device_open(ctx, "cpu", &dev));
    lmf_plan *p = planned(ctx, dev, &b);
    for (int i = 0; i < b.n; i++) {
        char name[32];
        float g[T * V * D], most = 0, *w = lmf_plan_io(p, 0, b.wrt[i]->name);
        int64_t n = lmf_view_count(&b.wrt[i]->v);
        snprintf(name, sizeof name, "grad%d", i);
        loss_at(ctx, p);
        assert_true(n <= T * V * D);
        memcpy(g, lmf_plan_io(p, 0, name), (size_t)n * sizeof *g);
        for (int64_t k = 0; k < n; k++)
            most = fmaxf(most, fabsf(g[k]));
        assert_true(most > 0);
        for (int64_t k = 0; k < n; k += 1 + n / 7) {
            float kept = w[k], h = 2e-3f;
            w[k] = kept + h;
            double up = loss_at(ctx, p);
            w[k] = kept - h;
            double down = loss_at(ctx, p), slope = (up - down) / (2.0 * (double)h);
            w[k] = kept;
            if (fabs(slope - (double)g[k]) > 1e-2 * (double)most + 2e-4)
                fail_msg("%s[%lld]: gradient %g, differences say %g", b.wrt[i]->name, (long long)k, (double)g[k], slope);
        }
    }
    lmf_plan_destroy(p);
    lmf_device_close(dev);
    lmf_graph_destroy(b.g);
    lmf_test_ctx_done(ctx);
}

static void gives_equal_bits(lmf_backward_opts opts)
{
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    built b[2];
    lmf_plan *p[2];
    assert_ok(ctx, lmf_device_open(ctx, "cpu", &dev));
    for (int r = 0; r < 2; r++) {
        assert_ok(ctx, build(ctx, r ? opts : (lmf_backward_opts){ 0 }, &b[r]));
        p[r] = planned(ctx, dev, &b[r]);
        loss_at(ctx, p[r]);
    }
    for (int i = 0; i < b[0].n; i++) {
        char name[32];
        snprintf(name, sizeof name, "grad%d", i);
        if (memcmp(lmf_plan_io(p[0], 0, name), lmf_plan_io(p[1], 0, name), (size_t)lmf_view_count(&b[0].wrt[i]->v) * sizeof(float)))
            fail_msg("the gradient of %s has other bits when blocks are recomputed", b[0].wrt[i]->name);
    }
    int n_copies = 0, n_dead = 0;
    for (int i = 0; i < b[1].g->n_nodes; i++) {
        const lmf_node *n = b[1].g->nodes[i];
        bool used = false;
        for (int k = i + 1; k < b[1].g->n_nodes; k++)
            for (int j = 0; j < b[1].g->nodes[k]->n_in; j++)
                for (int o = 0; o < n->n_out; o++)
                    used |= b[1].g->nodes[k]->in[j] == n->out[o];
        n_copies += n->recomputed;
        assert_true(!n->recomputed || opts.recompute || n->op->flags & LMF_OP_CHEAP);
        n_dead += n->recomputed && !used;
    }
    assert_true(n_copies >= LAYERS && n_dead == 0);
    assert_true(b[1].g->n_nodes == b[0].g->n_nodes + n_copies);
    for (int r = 0; r < 2; r++) {
        lmf_plan_destroy(p[r]);
        lmf_graph_destroy(b[r].g);
    }
    lmf_device_close(dev);
    lmf_test_ctx_done(ctx);
}

static void recompute_gives_equal_bits(void **state)
{
    (void)state;
    gives_equal_bits((lmf_backward_opts){ .recompute = true });
    gives_equal_bits((lmf_backward_opts){ .recompute_cheap = true });
}

/* Long enough that what is kept between forward and backward pass counts. */
static void recompute_takes_less_memory(void **state)
{
    enum { ROWS = 64, WIDE = 64, TENSOR = ROWS * WIDE * 4 };
    static const lmf_backward_opts opts[] = { { 0 }, { .recompute = true }, { .recompute_cheap = true } };
    size_t step[3];
    (void)state;
    for (int r = 0; r < 3; r++) {
        lmf_ctx *ctx = lmf_test_ctx();
        lmf_device *dev;
        lmf_graph *g;
        lmf_plan *p;
        int64_t one = 1, rows = ROWS;
        assert_ok(ctx, lmf_device_open(ctx, "null", &dev));
        assert_ok(ctx, lmf_graph_create(ctx, &g));
        lmf_tensor *x = lmf_graph_tensor(g, LMF_INPUT, "x", LMF_F32, 2, (int64_t[]){ rows, 64 }), *grad;
        lmf_tensor *w = lmf_graph_tensor(g, LMF_STATE, "w", LMF_F32, 2, (int64_t[]){ 64, 64 }), *norm = lmf_graph_tensor(g, LMF_WEIGHT, "n", LMF_F32, 1, (int64_t[]){ 64 });
        w->needs_grad = true;
        for (int l = 0; l < 12; l++) {
            lmf_graph_block(g, l);
            lmf_tensor *h = lmf_matmul_nt(g, lmf_rms_norm(g, x, norm, 1e-5f), w);
            x = lmf_add(g, x, lmf_matmul_nt(g, lmf_swiglu(g, h, h), w));
        }
        lmf_graph_block(g, -1);
        lmf_tensor *loss = lmf_head_nll(g, x, w, lmf_graph_tensor(g, LMF_INPUT, "t", LMF_I32, 1, &rows),
                                        lmf_graph_tensor(g, LMF_INPUT, "tw", LMF_F32, 1, &rows), (lmf_head_nll_attrs){ .scale = 1 }, NULL);
        assert_ok(ctx, lmf_graph_backward(g, loss, lmf_graph_const(g, "d", LMF_F32, 1, &one, (float[]){ 1 }), &opts[r], &w, 1, &grad));
        lmf_graph_output(g, "g", grad);
        assert_ok(ctx, lmf_graph_finish(g));
        assert_ok(ctx, lmf_plan_create(dev, &g, 1, NULL, &p));
        step[r] = lmf_plan_memory(p)->step;
        lmf_plan_destroy(p);
        lmf_graph_destroy(g);
        lmf_device_close(dev);
        lmf_test_ctx_done(ctx);
    }
    if (step[1] * 2 > step[0]) /* 12 blocks */
        fail_msg("recomputing takes %zu bytes, keeping %zu", step[1], step[0]);
    /* of a block's five tensors (x, norm, h, swiglu, product) two are forgotten; one copy at a time is alive */
    if (step[2] + 2 * 11 * TENSOR > step[0])
        fail_msg("recomputing norms and activations takes %zu bytes, keeping %zu", step[2], step[0]);
}

static void refuses_a_missing_gradient(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_graph *g;
    int64_t t = T, one = 1;
    char where[64];
    lmf_tensor *grad = NULL;
    assert_null(lmf_op_find(ctx, "sum_rows")->grad);
    assert_ok(ctx, lmf_graph_create(ctx, &g));
    lmf_tensor *w = lmf_graph_tensor(g, LMF_STATE, "w", LMF_F32, 2, (int64_t[]){ D, D });
    w->needs_grad = true;
    lmf_tensor *x = lmf_matmul_nt(g, lmf_graph_tensor(g, LMF_INPUT, "x", LMF_F32, 2, (int64_t[]){ t, D }), w);
    int line = __LINE__ + 1;
    lmf_tensor *s = lmf_sum_rows(g, x), *y = lmf_add(g, x, s);
    lmf_tensor *loss = lmf_head_nll(g, y, w, lmf_graph_tensor(g, LMF_INPUT, "t", LMF_I32, 1, &t), lmf_graph_tensor(g, LMF_INPUT, "tw", LMF_F32, 1, &t),
                                    (lmf_head_nll_attrs){ .scale = 1 }, NULL);
    assert_refused(ctx, LMF_E_UNSUPPORTED, "sum_rows([5, 6] f32): has no gradient",
                   lmf_graph_backward(g, loss, lmf_graph_const(g, "d", LMF_F32, 1, &one, (float[]){ 1 }), NULL, &w, 1, &grad));
    snprintf(where, sizeof where, "autodiff_test.c:%d)", line);
    assert_non_null(strstr(lmf_error(ctx), where));
    assert_int_equal(lmf_graph_finish(g), LMF_E_UNSUPPORTED);
    lmf_graph_destroy(g);
    lmf_test_ctx_done(ctx);
}

static void no_gradient_where_none_flows(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_graph *g;
    int64_t t = T, one = 1;
    lmf_tensor *grad[2];
    assert_ok(ctx, lmf_graph_create(ctx, &g));
    lmf_tensor *w = lmf_graph_tensor(g, LMF_STATE, "w", LMF_F32, 2, (int64_t[]){ D, D }), *idle = lmf_graph_tensor(g, LMF_STATE, "idle", LMF_F32, 2, (int64_t[]){ D, D });
    w->needs_grad = idle->needs_grad = true;
    lmf_tensor *x = lmf_matmul_nt(g, lmf_graph_tensor(g, LMF_INPUT, "x", LMF_F32, 2, (int64_t[]){ t, D }), w);
    lmf_tensor *loss = lmf_head_nll(g, x, w, lmf_graph_tensor(g, LMF_INPUT, "t", LMF_I32, 1, &t), lmf_graph_tensor(g, LMF_INPUT, "tw", LMF_F32, 1, &t),
                                    (lmf_head_nll_attrs){ .scale = 1 }, NULL);
    assert_ok(ctx, lmf_graph_backward(g, loss, lmf_graph_const(g, "d", LMF_F32, 1, &one, (float[]){ 1 }), NULL, (lmf_tensor *[]){ w, idle }, 2, grad));
    assert_non_null(grad[0]);
    assert_null(grad[1]);
    lmf_graph_destroy(g);
    lmf_test_ctx_done(ctx);
}

static lmf_status build_both(lmf_ctx *ctx, void *arg)
{
    built b;
    lmf_status s = build(ctx, arg ? *(const lmf_backward_opts *)arg : (lmf_backward_opts){ 0 }, &b);
    lmf_graph_destroy(b.g);
    return s;
}

static void every_call_may_fail(void **state)
{
    (void)state;
    assert_true(lmf_test_fail_each_call(build_both, NULL) >= 4);
    assert_true(lmf_test_fail_each_call(build_both, &(lmf_backward_opts){ .recompute = true }) >= 4);
    assert_true(lmf_test_fail_each_call(build_both, &(lmf_backward_opts){ .recompute_cheap = true }) >= 4);
}

LMF_TESTS(autodiff) = {
    { "gradients are right", gradients_are_right },
    { "recompute gives equal bits", recompute_gives_equal_bits },
    { "recompute takes less memory", recompute_takes_less_memory },
    { "refuses a missing gradient", refuses_a_missing_gradient },
    { "no gradient where none flows", no_gradient_where_none_flows },
    { "every call may fail", every_call_may_fail },
    { 0 }
};
