/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/attribution.h"
#include "models/model_test.h"

enum { N = 13, GROUP = M_HEADS / M_KV };

static void make_ids(int32_t *id)
{
    for (int i = 0; i < N; i++)
        id[i] = (i * 37 + 5) % 256;
}

/* ---- what layer 0 must see, written down plainly ---- */
/* Row t of one head's queries or keys: norm, product, rotation. */
static void project(const lmf_model *m, const int32_t *id, const char *role, int head, double out[N][M_HEAD])
{
    const lmf_weight *e = lmf_weights_find(m->weights, "embed"), *norm = lmf_weights_find(m->weights, "layers.0.attn_norm");
    const lmf_weight *w = lmf_weights_find(m->weights, role);
    for (int t = 0; t < N; t++) {
        double h[M_WIDTH], y[M_HEAD], square = 0;
        for (int d = 0; d < M_WIDTH; d++)
            h[d] = lmf_get(&e->v, (int64_t)id[t] * M_WIDTH + d), square += h[d] * h[d];
        for (int d = 0; d < M_WIDTH; d++)
            h[d] *= lmf_get(&norm->v, d) / sqrt(square / M_WIDTH + 1e-5);
        for (int i = 0; i < M_HEAD; i++) {
            y[i] = 0;
            for (int d = 0; d < M_WIDTH; d++)
                y[i] += h[d] * lmf_get(&w->v, (int64_t)(head * M_HEAD + i) * M_WIDTH + d);
        }
        for (int i = 0; i < M_HEAD / 2; i++) {
            double turn = t * pow(10000, -2.0 * i / M_HEAD), a = y[i], b = y[i + M_HEAD / 2];
            out[t][i] = a * cos(turn) - b * sin(turn);
            out[t][i + M_HEAD / 2] = b * cos(turn) + a * sin(turn);
        }
    }
}

static void plain_map(const lmf_model *m, const int32_t *id, int head, double map[N][N])
{
    double q[N][M_HEAD], k[N][M_HEAD];
    project(m, id, "layers.0.attn.q", head, q);
    project(m, id, "layers.0.attn.k", head / GROUP, k);
    for (int t = 0; t < N; t++) {
        double sum = 0;
        for (int u = 0; u < N; u++) {
            double score = 0;
            for (int i = 0; i < M_HEAD; i++)
                score += q[t][i] * k[u][i];
            map[t][u] = u > t ? 0 : exp(score / sqrt(M_HEAD));
            sum += map[t][u];
        }
        for (int u = 0; u < N; u++)
            map[t][u] /= sum;
    }
}

static lmf_status open_model(lmf_ctx *ctx, lmf_model **m)
{
    const char *path = lmf_test_path("look.gguf");
    LMF_TRY(model_write_gguf(ctx, path, &(wrong){ 0 }));
    return lmf_model_open(ctx, path, m);
}

static void maps_are_softmax(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m;
    lmf_attribution *a;
    int32_t id[N];
    double want[N][N];
    float map[N][N];
    static float logits[N * M_VOCAB];
    make_ids(id);
    assert_ok(ctx, open_model(ctx, &m));
    assert_ok(ctx, lmf_attribution_create(ctx, m, &(lmf_attribution_opts){ .id = id, .n = N, .layer = -1, .max_bytes = 1 << 20 }, &a));
    assert_ok(ctx, lmf_attribution_run(a));
    assert_int_equal(lmf_attribution_n_layers(a), M_LAYERS);
    for (int h = 0; h < M_HEADS; h++) {
        plain_map(m, id, h, want);
        assert_ok(ctx, lmf_attribution_map(a, 0, h, &map[0][0]));
        for (int t = 0; t < N; t++)
            for (int u = 0; u < N; u++)
                assert_true(fabs((double)map[t][u] - want[t][u]) < 1e-6 && (u <= t) == (map[t][u] > 0));
    }
    assert_ok(ctx, model_logits(ctx, m, id, N, logits));
    for (int v = 0; v < M_VOCAB; v++)
        assert_true(fabsf(lmf_attribution_logits(a)[v] - logits[(N - 1) * M_VOCAB + v]) < 1e-4f);
    assert_refused(ctx, LMF_E_NOT_FOUND, "no head 2 in layer 1", lmf_attribution_map(a, 1, M_HEADS, &map[0][0]));
    assert_refused(ctx, LMF_E_NOT_FOUND, "no layer 2", lmf_attribution_mean(a, M_LAYERS, &want[0][0]));
    lmf_attribution_destroy(a);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

/* The product as it is written in the paper; any number of workers gives its bits. */
static void rollout_is_the_product(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m;
    lmf_attribution *a;
    int32_t id[N];
    double want[N][N], next[N][N], mean[N][N], got[N][N], first[N][N];
    make_ids(id);
    assert_ok(ctx, open_model(ctx, &m));
    for (int n_workers = 1; n_workers <= 3; n_workers++) {
        ctx->n_workers = n_workers;
        assert_ok(ctx, lmf_attribution_create(ctx, m, &(lmf_attribution_opts){ .id = id, .n = N, .layer = -1, .max_bytes = 1 << 20 }, &a));
        assert_ok(ctx, lmf_attribution_run(a));
        assert_ok(ctx, lmf_attribution_rollout(a, &got[0][0]));
        for (int l = 0; l < M_LAYERS; l++) {
            assert_ok(ctx, lmf_attribution_mean(a, l, &mean[0][0]));
            for (int t = 0; t < N; t++)
                for (int u = 0; u < N; u++) {
                    next[t][u] = l ? 0 : (mean[t][u] + (t == u)) / 2;
                    for (int v = 0; l && v < N; v++)
                        next[t][u] += (mean[t][v] + (t == v)) / 2 * want[v][u];
                }
            memcpy(want, next, sizeof want);
        }
        for (int t = 0; t < N; t++)
            for (int u = 0; u < N; u++)
                assert_true(fabs(got[t][u] - want[t][u]) < 1e-6);
        if (n_workers == 1)
            memcpy(first, got, sizeof first);
        assert_memory_equal(first, got, sizeof first);
        lmf_attribution_destroy(a);
    }
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m;
    lmf_attribution *a;
    int32_t id[N];
    double map[N][N];
    make_ids(id);
    assert_ok(ctx, open_model(ctx, &m));
    assert_refused(ctx, LMF_E_LIMIT, "ask for one layer",
                   lmf_attribution_create(ctx, m, &(lmf_attribution_opts){ .id = id, .n = N, .layer = -1, .max_bytes = 4096 }, &a));
    assert_refused(ctx, LMF_E_LIMIT, "1 to 64",
                   lmf_attribution_create(ctx, m, &(lmf_attribution_opts){ .id = id, .n = M_CONTEXT + 1, .layer = -1 }, &a));
    assert_refused(ctx, LMF_E_NOT_FOUND, "layers 0 to 1",
                   lmf_attribution_create(ctx, m, &(lmf_attribution_opts){ .id = id, .n = N, .layer = 2, .max_bytes = 1 << 20 }, &a));
    assert_ok(ctx, lmf_attribution_create(ctx, m, &(lmf_attribution_opts){ .id = id, .n = N, .layer = 1, .max_bytes = 1 << 20 }, &a));
    assert_int_equal(lmf_attribution_n_layers(a), 1);
    assert_int_equal(lmf_attribution_layer_at(a, 0).layer, 1);
    assert_refused(ctx, LMF_E_ARG, "layer 1 alone", lmf_attribution_rollout(a, &map[0][0]));
    lmf_attribution_destroy(a);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static lmf_status look_once(lmf_ctx *ctx, void *arg)
{
    lmf_model *m;
    lmf_attribution *a = NULL;
    int32_t id[N];
    double map[N][N];
    make_ids(id);
    LMF_TRY(lmf_model_open(ctx, arg, &m));
    lmf_status s = lmf_attribution_create(ctx, m, &(lmf_attribution_opts){ .id = id, .n = N, .layer = -1, .max_bytes = 1 << 20 }, &a);
    if (!s)
        s = lmf_attribution_run(a);
    if (!s)
        s = lmf_attribution_rollout(a, &map[0][0]);
    lmf_attribution_destroy(a);
    lmf_model_close(m);
    return s;
}

static void each_call_may_fail(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *path = lmf_test_path("look.gguf");
    assert_ok(ctx, model_write_gguf(ctx, path, &(wrong){ 0 }));
    assert_true(lmf_test_fail_each_call(look_once, (void *)(uintptr_t)path) > 20);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(attribution) = { { "maps are softmax of scaled products", maps_are_softmax },
    { "rollout is the product over layers", rollout_is_the_product }, { "what does not fit is refused", what_does_not_fit_is_refused },
    { "each call may fail", each_call_may_fail }, { 0 } };
