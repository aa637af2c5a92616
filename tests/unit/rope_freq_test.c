/* SPDX-License-Identifier: Apache-2.0 */
/* Rotary frequencies as config.json asks for them. Expected: transformers' ROPE_INIT_FUNCTIONS (heads of 16, theta 10000), which
 * are llama3 with factor 8, low 1, high 4, original context 256, and linear with factor 4. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "format/json.h"
#include "formula.h"
#include "models/model.h"
#include "nn/nn.h"
#include "nn/rope_freq.h"

enum { HALF_HEAD = 8, T = 3 };

/* The frequencies that the model's rope nodes get; they all share one tensor of values. */
static void frequencies(lmf_ctx *ctx, bool qwen2, json_t *rope, double freq[HALF_HEAD])
{
    char path[1024];
    const char *dir = lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2, .bias = qwen2 });
    json_t *config;
    lmf_model *m;
    lmf_graph *g;
    int64_t n = T, two = 2;
    int n_ropes = 0;
    assert_ok(ctx, lmf_path_join(ctx, path, sizeof path, dir, "config.json"));
    assert_ok(ctx, lmf_json_load(ctx, path, 1 << 16, LMF_JSON_SMALL, &config));
    json_object_set_new(rope, "rope_theta", json_real(10000));
    json_object_set_new(config, "rope_parameters", rope);
    assert_ok(ctx, lmf_json_save(ctx, path, config));
    json_decref(config);
    assert_ok(ctx, lmf_model_open(ctx, dir, &m));
    assert_ok(ctx, lmf_graph_create(ctx, &g));
    lmf_nn nn = { .weights = m->weights };
    g->config = m->config, g->user = &nn;
    lmf_batch in = { .token = lmf_graph_tensor(g, LMF_INPUT, "token", LMF_I32, 1, &n), .pos = lmf_graph_tensor(g, LMF_INPUT, "pos", LMF_I32, 1, &n),
                     .seq = lmf_graph_tensor(g, LMF_INPUT, "seq", LMF_I32, 1, &n), .q_start = lmf_graph_tensor(g, LMF_INPUT, "q_start", LMF_I32, 1, &two) };
    m->arch->body(g, &in, m->arch->embed(g, &in));
    assert_ok(ctx, g->status);
    for (int32_t i = 0; i < g->n_nodes; i++) {
        const lmf_node *node = g->nodes[i];
        if (strcmp(node->op->name, "rope"))
            continue;
        assert_true(node->in[2]->init && node->in[2]->v.dtype == LMF_F32 && lmf_view_count(&node->in[2]->v) == HALF_HEAD);
        for (int k = 0; k < HALF_HEAD; k++) {
            double f = (double)((const float *)node->in[2]->init)[k];
            assert_true(n_ropes == 0 || f == freq[k]);
            freq[k] = f;
        }
        n_ropes++;
    }
    assert_int_equal(n_ropes, 4); /* q and k of two layers */
    lmf_graph_destroy(g);
    lmf_model_close(m);
}

static void scaled_as_transformers(void **state)
{
    (void)state;
    static const double llama3[HALF_HEAD] = { 1.0, 0.3162277638912201, 0.10000000149011612, 0.006613106932491064, 0.0012499999720603228,
                                              0.00039528473280370235, 0.0001250000059371814, 3.9528473280370235e-05 },
                        linear[HALF_HEAD] = { 0.25, 0.07905694097280502, 0.02500000037252903, 0.007905694656074047, 0.0024999999441206455,
                                              0.0007905694656074047, 0.0002500000118743628, 7.905694656074047e-05 };
    lmf_ctx *ctx = lmf_test_ctx();
    for (int i = 0; i < 4; i++) {
        double got[HALF_HEAD];
        json_t *rope = i == 0 ? json_pack("{s:s, s:f, s:f, s:f, s:i}", "rope_type", "llama3", "factor", 8.0, "low_freq_factor", 1.0, "high_freq_factor", 4.0,
                                          "original_max_position_embeddings", 256) :
                       i < 3 ? json_pack("{s:s, s:f}", "rope_type", "linear", "factor", 4.0) : json_pack("{s:s}", "rope_type", "default");
        frequencies(ctx, i == 2, rope, got);
        for (int k = 0; k < HALF_HEAD; k++) {
            double want = i == 0 ? llama3[k] : i < 3 ? linear[k] : 4 * linear[k];
            if (!(fabs(got[k] - want) <= 1e-6 * want))
                fail_msg("case %d, pair %d: %.9g, not %.9g", i, k, got[k], want);
        }
    }
    lmf_test_ctx_done(ctx);
}

/* What GGUF keeps beside the base says the same. */
static void divisors(void **state)
{
    (void)state;
    const lmf_rope_spec r = { .type = "llama3", .base = 10000, .n_rot = 2 * HALF_HEAD, .factor = 8, .low = 1, .high = 4, .context = 256 };
    for (int k = 0; k < HALF_HEAD; k++) {
        double plain = pow(10000, -(double)k / HALF_HEAD), want = lmf_rope_frequency(&r, k), got = plain / lmf_rope_divisor(&r, k);
        if (!(fabs(got - want) <= 1e-6 * want))
            fail_msg("pair %d: %.9g, not %.9g", k, got, want);
    }
}

LMF_TESTS(rope_freq) = { { "scaled as transformers", scaled_as_transformers }, { "divisors", divisors }, { 0 } };
