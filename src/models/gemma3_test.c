/* SPDX-License-Identifier: Apache-2.0 */
/* Gemma 3 by every spelling of its configuration that writers use, with transformers' logits from tests/parity; and what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "eval/score.h"
#include "export/export.h"
#include "formula.h"
#include "format/json.h"
#include "models/model.h"

static json_t *golden_of(lmf_ctx *ctx, const char *name)
{
    char path[128];
    json_t *golden;
    snprintf(path, sizeof path, "tests/parity/%s.json", name);
    assert_ok(ctx, lmf_json_load(ctx, lmf_test_source_path(path), 1 << 20, LMF_JSON_SMALL, &golden));
    return golden;
}

/* The golden's folder with its configuration changed: what the patch has is laid over it, object by object. */
static const char *folder_with(const json_t *golden, const char *patch)
{
    json_t *all = json_deep_copy(golden), *change = json_loads(patch, 0, NULL);
    assert_non_null(change);
    assert_int_equal(json_object_update_recursive(json_object_get(all, "config"), change), 0);
    const char *dir = lmf_test_family_model(all);
    json_decref(change);
    json_decref(all);
    return dir;
}

/* The last row of logits for the golden's ids; the golden's own where m is NULL. */
static void last_logits(lmf_ctx *ctx, const lmf_model *m, const json_t *golden, double *to, size_t n)
{
    const json_t *ids = json_object_get(golden, "ids"), *want = json_array_get(json_object_get(golden, "logits"), 1);
    lmf_scorer *s;
    const float *got;
    int32_t id[64];
    size_t n_ids = json_array_size(ids);
    assert_true(n_ids <= 64 && n == json_array_size(want));
    for (size_t i = 0; i < n_ids; i++)
        id[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    for (size_t i = 0; !m && i < n; i++)
        to[i] = json_number_value(json_array_get(want, i));
    if (!m)
        return;
    assert_ok(ctx, lmf_scorer_create(ctx, m, &(lmf_scorer_opts){ .max_tok = 64, .logits = true }, &s));
    assert_ok(ctx, lmf_scorer_logits(s, id, (int32_t)n_ids, &got));
    for (size_t i = 0; i < n; i++)
        to[i] = (double)got[(n_ids - 1) * n + i];
    lmf_scorer_destroy(s);
}

enum { VOCAB = 300 };

static double gap(lmf_ctx *ctx, const char *path, const json_t *golden)
{
    lmf_model *m;
    size_t n = json_array_size(json_array_get(json_object_get(golden, "logits"), 1));
    double a[VOCAB], b[VOCAB], most = 0;
    assert_true(n <= VOCAB);
    assert_ok(ctx, lmf_model_open(ctx, path, &m));
    assert_string_equal(m->arch->name, "gemma3");
    last_logits(ctx, m, golden, a, n);
    last_logits(ctx, NULL, golden, b, n);
    for (size_t i = 0; i < n; i++)
        most = fabs(a[i] - b[i]) > most ? fabs(a[i] - b[i]) : most;
    lmf_model_close(m);
    return most;
}

#define OLD_ROPE "\"rope_parameters\": null, \"rope_theta\": 5000.0, \"rope_local_base_freq\": 100.0"
#define LINEAR "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 4.0}"

static void spellings(void **state)
{
    (void)state;
    static const struct { const char *patch; bool same; } rows[] = {
        { "{}", true },
        { "{\"layer_types\": null}", true },
        { "{\"layer_types\": null, \"sliding_window_pattern\": null}", true }, /* then _sliding_window_pattern */
        { "{\"layer_types\": null, \"sliding_window_pattern\": 3}", false },
        { "{\"sliding_window_pattern\": null, \"_sliding_window_pattern\": null}", true },
        { "{" OLD_ROPE ", " LINEAR "}", true },
        { "{" OLD_ROPE "}", false },
        { "{\"rope_parameters\": null, \"rope_theta\": 5000.0, " LINEAR "}", false }, /* the local base is 10000 then */
        { "{\"architectures\": null}", true },
        { "{\"model_type\": \"gemma3\"}", true },
        { "{\"hidden_activation\": null, \"hidden_act\": \"gelu\"}", true }, /* which nobody reads */
        { "{\"sliding_window\": 10}", false },
        { "{\"query_pre_attn_scalar\": 31}", false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        json_t *golden = golden_of(ctx, "family_gemma3_0");
        double d = gap(ctx, folder_with(golden, rows[i].patch), golden);
        if ((d < 1e-4) != rows[i].same)
            fail_msg("row %zu, %s: logits differ by %.3g", i, rows[i].patch, d);
        json_decref(golden);
        lmf_test_ctx_done(ctx);
    }
}

static void refusals(void **state)
{
    (void)state;
    static const struct { const char *patch, *words; } rows[] = {
        { "{\"layer_types\": [\"full_attention\"]}", "1 items for 4 layers" },
        { "{\"layer_types\": null, \"sliding_window_pattern\": 0}", "sliding_window_pattern is 0" },
        { "{\"sliding_window\": null}", "layer 0 is a sliding_attention, but there is no sliding_window" },
        { "{\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"yarn\"}}}", "\"yarn\" of full layers" },
        { "{\"rope_parameters\": {\"sliding_attention\": {\"rope_type\": \"linear\", \"factor\": 2.0}}}",
          "\"linear\" of layers with a window is not supported" },
        { "{\"rope_parameters\": {\"sliding_attention\": {\"rope_type\": \"linear\", \"factor\": null}}}",
          "\"linear\" of layers with a window" },
        { "{\"rope_parameters\": {\"full_attention\": {\"factor\": null}}}", "the rope scaling \"linear\" has no factor" },
        { "{\"rope_parameters\": {\"sliding_attention\": {\"factor\": 2.0}}}", "rope_parameters.sliding_attention.factor is 2.0" },
        { "{\"rope_parameters\": {\"full_attention\": {\"mrope_section\": [1]}}}", "rope_parameters.full_attention.mrope_section" },
        { "{\"rope_parameters\": {\"full_attention\": {\"type\": \"yarn\"}}}", "contradicts itself: rope_type" },
        { "{\"rope_theta\": 6000.0}", "contradicts itself: rope_theta is 6000.0, rope_parameters.full_attention.rope_theta" },
        { "{\"rope_local_base_freq\": 6000.0}", "contradicts itself: rope_local_base_freq" },
        { "{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8.0}}", "contradicts itself: rope_scaling.factor" },
        { "{\"hidden_activation\": \"gelu\"}", "the activation \"gelu\" is not supported; gelu_pytorch_tanh is" },
        { "{\"vision_config\": {\"image_size\": 896}}", "vision_config" },
        { "{\"architectures\": [\"Gemma3ForConditionalGeneration\"]}", "\"Gemma3ForConditionalGeneration\", which is not supported" },
        { "{\"final_logit_softcapping\": 30.0}", "final_logit_softcapping is 30.0" },
        { "{\"attn_logit_softcapping\": 50.0}", "attn_logit_softcapping is 50.0" },
        { "{\"use_bidirectional_attention\": true}", "use_bidirectional_attention is true" },
        { "{\"attention_bias\": true}", "attention_bias is true" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        lmf_model *m;
        json_t *golden = golden_of(ctx, "family_gemma3_0");
        lmf_status s = lmf_model_open(ctx, folder_with(golden, rows[i].patch), &m);
        if (!s || !strstr(lmf_error(ctx), rows[i].words))
            fail_msg("row %zu, %s: \"%s\" does not say \"%s\"", i, rows[i].patch, s ? lmf_error(ctx) : "it opens", rows[i].words);
        json_decref(golden);
        lmf_test_ctx_done(ctx);
    }
}

/* A GGUF file without a window has none, whatever the period: as one whose layers are all full. */
static void gguf_without_window(void **state)
{
    static const char key[] = "gemma3.attention.sliding_window";
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    json_t *golden = golden_of(ctx, "family_gemma3_0");
    lmf_export_opts o = lmf_export_opts_default();
    lmf_export_report r;
    lmf_model *m;
    char path[1024], *bytes;
    size_t n_bytes;
    snprintf(path, sizeof path, "%s", lmf_test_path("window.gguf"));
    assert_ok(ctx, lmf_model_open(ctx, folder_with(golden, "{}"), &m));
    o.quant = "f32";
    assert_ok(ctx, lmf_export(ctx, m, path, &o, &r));
    lmf_model_close(m);
    assert_ok(ctx, lmf_file_read(ctx, path, 8 << 20, &bytes, &n_bytes));
    int n_found = 0;
    for (size_t i = 8; i + sizeof key < n_bytes; i++)
        if (memcmp(bytes + i, key, sizeof key - 1) == 0 && bytes[i - 8] == sizeof key - 1) {
            bytes[i] = 'x'; /* of no architecture */
            n_found++;
        }
    assert_int_equal(n_found, 1);
    assert_ok(ctx, lmf_file_write(ctx, path, bytes, n_bytes));
    lmf_free(ctx, bytes, n_bytes + 1);
    assert_ok(ctx, lmf_model_open(ctx, path, &m));
    double a[VOCAB], b[VOCAB];
    size_t n = json_array_size(json_array_get(json_object_get(golden, "logits"), 1));
    for (int l = 0; l < 4; l++)
        assert_int_equal(m->arch->state(m->config, l).window, 0);
    last_logits(ctx, m, golden, a, n);
    lmf_model_close(m);
    assert_ok(ctx, lmf_model_open(ctx, folder_with(golden, "{\"layer_types\": [\"full_attention\", \"full_attention\", "
                                                           "\"full_attention\", \"full_attention\"]}"), &m));
    last_logits(ctx, m, golden, b, n);
    lmf_model_close(m);
    for (size_t i = 0; i < n; i++)
        assert_true(a[i] == b[i]);
    json_decref(golden);
    lmf_test_ctx_done(ctx);
}

/* Layers that follow no period, and scores by a number of their own: a folder holds them, a GGUF file does not. */
static void what_gguf_lacks(void **state)
{
    static const struct { const char *patch, *words; } rows[] = {
        { "{\"layer_types\": [\"full_attention\", \"sliding_attention\", \"sliding_attention\", \"full_attention\"]}",
          "follow no period" },
        { "{\"query_pre_attn_scalar\": 64}",
          "query_pre_attn_scalar is 64, for which a GGUF file of gemma3 has no key; its readers take 32" },
        { "{\"layer_types\": [\"sliding_attention\", \"sliding_attention\", \"sliding_attention\", \"full_attention\"]}", NULL },
        { "{\"layer_types\": [\"sliding_attention\", \"sliding_attention\", \"sliding_attention\", \"sliding_attention\"]}", NULL },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        json_t *golden = golden_of(ctx, "family_gemma3_0");
        lmf_export_opts o = lmf_export_opts_default();
        lmf_export_report r;
        lmf_model *m;
        o.quant = "f32";
        assert_ok(ctx, lmf_model_open(ctx, folder_with(golden, rows[i].patch), &m));
        char path[1024];
        snprintf(path, sizeof path, "%s", lmf_test_path("lacks.gguf"));
        if (rows[i].words) {
            assert_refused(ctx, LMF_E_UNSUPPORTED, rows[i].words, lmf_export(ctx, m, path, &o, &r));
        } else {
            assert_ok(ctx, lmf_export(ctx, m, path, &o, &r));
            assert_true(r.verified && r.max_dlogit <= 1e-4);
        }
        snprintf(path, sizeof path, "%s", lmf_test_path("lacks"));
        o.format = LMF_EXPORT_HF;
        assert_ok(ctx, lmf_export(ctx, m, path, &o, &r));
        assert_true(r.verified && r.max_dlogit <= 1e-5);
        lmf_model_close(m);
        json_decref(golden);
        lmf_test_ctx_done(ctx);
    }
}

LMF_TESTS(gemma3) = {
    { "every spelling of the configuration", spellings },
    { "what is refused", refusals },
    { "a GGUF file without a window", gguf_without_window },
    { "what a GGUF file lacks", what_gguf_lacks },
    { 0 }
};
