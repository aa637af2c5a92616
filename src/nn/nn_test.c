/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/nn.h"
#include <string.h>
#include "graph/plan.h"
#include "test.h"

enum { T = 3, K = 4, N = 2, R = 1 };

static void add(lmf_ctx *ctx, lmf_weights *w, const char *name, int64_t rows, int64_t cols, float value)
{
    lmf_weight *t;
    assert_ok(ctx, lmf_weights_add(w, name, LMF_F32, rows ? 2 : 1, rows ? (int64_t[]){ rows, cols } : &cols, NULL, false, &t));
    for (int64_t i = 0; i < lmf_view_count(&t->v); i++)
        lmf_set(&t->v, i, value);
}

/* y[0][0] of lmf_linear on a row of ones in block `layer`. */
static float linear_of(lmf_ctx *ctx, lmf_weights *w, const lmf_params *params, int layer, const char *role)
{
    lmf_graph *g;
    lmf_device *dev;
    lmf_plan *p;
    lmf_nn nn = { .weights = w, .params = params, .lora_scale = 2 };
    assert_ok(ctx, lmf_graph_create(ctx, &g));
    g->user = &nn;
    lmf_graph_block(g, layer);
    lmf_tensor *x = lmf_graph_tensor(g, LMF_INPUT, "x", LMF_F32, 2, (int64_t[]){ T, K });
    lmf_graph_output(g, "y", lmf_linear(g, x, role));
    float y = -1;
    if (!lmf_graph_finish(g)) {
        assert_ok(ctx, lmf_device_open(ctx, "cpu", &dev));
        assert_ok(ctx, lmf_plan_create(dev, &g, 1, NULL, &p));
        assert_ok(ctx, lmf_plan_bind(p, &w, 1));
        for (int i = 0; i < T * K; i++)
            ((float *)lmf_plan_io(p, 0, "x"))[i] = 1;
        float *flat = lmf_plan_io(p, 0, "train.p");
        for (int64_t i = 0; flat && i < params->n_total; i++)
            flat[i] = 1;
        assert_ok(ctx, lmf_plan_run(p, 0));
        y = *(float *)lmf_plan_io(p, 0, "y");
        lmf_plan_destroy(p);
        lmf_device_close(dev);
    }
    lmf_graph_destroy(g);
    return y;
}

static void finds_weights_by_role(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_weights *w;
    assert_ok(ctx, lmf_weights_create(ctx, &w));
    add(ctx, w, "layers.3.up", N, K, 2);
    add(ctx, w, "layers.4.up", N, K, 3);
    add(ctx, w, "layers.4.up_bias", 0, N, 100);
    add(ctx, w, "up", N, K, 5);
    lmf_param pair[] = { { "layers.3.up.lora_a", 0, R * K, { R, K }, 2, true }, { "layers.3.up.lora_b", R * K, N * R, { N, R }, 2, true } };
    lmf_params params = { pair, 2, R * K + N * R, R * K + N * R };
    assert_true(linear_of(ctx, w, NULL, 3, "up") == 2 * K);
    assert_true(linear_of(ctx, w, NULL, 4, "up") == 3 * K + 100);
    assert_true(linear_of(ctx, w, NULL, -1, "up") == 5 * K);
    assert_true(linear_of(ctx, w, &params, 3, "up") == 2 * K + 2 * K); /* scale 2 times B (A x) = 2 * 1 * K */
    assert_true(linear_of(ctx, w, &params, 4, "up") == 3 * K + 100);   /* no pair here */
    assert_true(linear_of(ctx, w, NULL, 5, "up") == -1);
    assert_non_null(strstr(lmf_error(ctx), "\"layers.5.up\""));
    lmf_weights_destroy(w);
    lmf_test_ctx_done(ctx);
}

/* Trainable parts come before the model's own tensor of the name, and want a gradient; an optional weight may be absent. */
static void params_stand_over_weights(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_weights *w;
    lmf_graph *g;
    assert_ok(ctx, lmf_weights_create(ctx, &w));
    add(ctx, w, "norm", 0, K, 2);
    add(ctx, w, "head", N, K, 2);
    lmf_param item = { "norm", 0, K, { K }, 1, false };
    lmf_params params = { &item, 1, K, 0 };
    lmf_nn nn = { .weights = w, .params = &params };
    assert_ok(ctx, lmf_graph_create(ctx, &g));
    g->user = &nn;
    lmf_tensor *norm = lmf_nn_weight(g, "norm", false), *head = lmf_nn_weight(g, "head", false);
    assert_true(norm && norm->needs_grad && norm->v.cls == LMF_STATE && norm->base == lmf_graph_find(g, "train.p"));
    assert_true(head && !head->needs_grad && head->v.cls == LMF_WEIGHT);
    assert_ptr_equal(lmf_nn_weight(g, "norm", false), norm);
    assert_null(lmf_nn_weight(g, "none", true));
    assert_int_equal(g->status, LMF_OK);
    assert_null(lmf_nn_weight(g, "none", false));
    assert_refused(ctx, LMF_E_NOT_FOUND, "no tensor \"none\"", g->status);
    lmf_graph_destroy(g);
    lmf_weights_destroy(w);
    lmf_test_ctx_done(ctx);
}

static void sets_refuse_mistakes(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_weights *w;
    int64_t n = 4;
    assert_ok(ctx, lmf_weights_create(ctx, &w));
    assert_ok(ctx, lmf_weights_add(w, "a", LMF_F32, 1, &n, NULL, false, NULL));
    assert_refused(ctx, LMF_E_EXISTS, "\"a\"", lmf_weights_add(w, "a", LMF_F32, 1, &n, NULL, false, NULL));
    assert_refused(ctx, LMF_E_SHAPE, "0 dimensions", lmf_weights_add(w, "b", LMF_F32, 0, &n, NULL, false, NULL));
    assert_refused(ctx, LMF_E_SHAPE, "6 dimensions", lmf_weights_add(w, "b", LMF_F32, 6, (int64_t[]){ 1, 1, 1, 1, 1, 1 }, NULL, false, NULL));
    assert_refused(ctx, LMF_E_DTYPE, "data type 999", lmf_weights_add(w, "b", 999, 1, &n, NULL, false, NULL));
    assert_null(lmf_weights_find(w, "b"));
    assert_int_equal(w->n, 1);
    lmf_weights_destroy(w);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(nn) = {
    { "finds weights by role", finds_weights_by_role },
    { "params stand over weights", params_stand_over_weights },
    { "sets refuse mistakes", sets_refuse_mistakes },
    { 0 }
};
