/* SPDX-License-Identifier: Apache-2.0 */
/* Every architecture against transformers and PEFT as recorded in tests/parity/family_*.json (tools/golden/families.py makes them): logits,
 * and losses and gradient norms of two AdamW steps of LoRA on all linear layers; and written in both file forms. An architecture without
 * a golden fails. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "eval/score.h"
#include "export/export.h"
#include "train/golden_test.h"

static void check_logits(lmf_ctx *ctx, const lmf_model *m, const char *name, const json_t *golden)
{
    lmf_scorer *s;
    const float *got;
    int32_t id[64], n = (int32_t)json_array_size(json_object_get(golden, "ids"));
    int64_t vocab = lmf_model_config(m)->vocab;
    double most = 1;
    assert_true(n <= 64);
    for (int32_t i = 0; i < n; i++)
        id[i] = (int32_t)json_integer_value(json_array_get(json_object_get(golden, "ids"), (size_t)i));
    assert_ok(ctx, lmf_scorer_create(ctx, m, &(lmf_scorer_opts){ .max_tok = 64, .logits = true }, &s));
    assert_ok(ctx, lmf_scorer_logits(s, id, n, &got));
    for (size_t t = 0; t < 2; t++) {
        const json_t *want = json_array_get(json_object_get(golden, "logits"), t);
        const float *row = got + (t ? n - 1 : 0) * vocab;
        assert_int_equal(json_array_size(want), vocab);
        for (int64_t v = 0; v < vocab; v++) {
            double w = json_number_value(json_array_get(want, (size_t)v));
            most = fabs(w) > most ? fabs(w) : most;
            if (!(fabs((double)row[v] - w) <= 1e-4 * most))
                fail_msg("%s: logit %lld of token %d is %.7g, transformers has %.7g", name, (long long)v, t ? n - 1 : 0, (double)row[v], w);
        }
    }
    lmf_scorer_destroy(s);
}

static void check_training(lmf_ctx *ctx, lmf_model *m, const char *name, const json_t *golden)
{
    const json_t *recipe = json_object_get(golden, "recipe");
    lmf_train_opts o = lmf_test_recipe_opts(recipe, false);
    lmf_rows rows;
    lmf_samples *samples;
    lmf_trainer *t;
    lmf_train_stats st;
    assert_ok(ctx, lmf_rows_open(ctx, lmf_test_source_path("tests/parity/train_rows.jsonl"), &rows));
    assert_ok(ctx, lmf_samples_create(&rows, &m->chat, 512, LMF_LONG_ERROR, &samples));
    assert_ok(ctx, lmf_trainer_create(ctx, "cpu", m, samples, &o, &t));
    assert_ok(ctx, lmf_trainer_load_adapter(t, lmf_test_family_adapter(golden, o.lora_r, o.lora_alpha)));
    for (size_t i = 0; i < (size_t)o.max_steps; i++) {
        double loss = json_number_value(json_array_get(json_object_get(golden, "loss"), i));
        double norm = json_number_value(json_array_get(json_object_get(golden, "grad_norm"), i));
        assert_ok(ctx, lmf_trainer_step(t, &st));
        if (!(fabs(st.loss - loss) <= 1e-5 * loss) || !(fabs(st.grad_norm - norm) <= 1e-4 * norm))
            fail_msg("%s, step %zu: loss %.9g and norm %.9g, PyTorch has %.9g and %.9g", name, i + 1, st.loss, st.grad_norm, loss, norm);
    }
    lmf_trainer_destroy(t);
    lmf_samples_destroy(samples);
    lmf_rows_close(&rows);
}

/* Both forms, opened again and compared: the logits are the same, but for what the form rounds. A case says what GGUF can't hold. */
static void check_export(lmf_ctx *ctx, const lmf_model *m, const char *name, const json_t *golden)
{
    char file[1024], folder[1024];
    lmf_export_report r;
    lmf_export_opts o = lmf_export_opts_default();
    bool gguf = !json_is_false(json_object_get(json_object_get(golden, "case"), "gguf"));
    snprintf(file, sizeof file, "%s", lmf_test_path("family.gguf"));
    snprintf(folder, sizeof folder, "%s", lmf_test_path("family"));
    o.quant = "f32";
    if (gguf)
        assert_ok(ctx, lmf_export(ctx, m, file, &o, &r));
    else
        assert_refused(ctx, LMF_E_UNSUPPORTED, "has no key", lmf_export(ctx, m, file, &o, &r));
    if (gguf && !(r.verified && r.max_dlogit <= 1e-4))
        fail_msg("%s: as GGUF its logits differ by %.3g", name, r.max_dlogit);
    o.format = LMF_EXPORT_HF;
    assert_ok(ctx, lmf_export(ctx, m, folder, &o, &r));
    if (!(r.verified && r.max_dlogit <= 1e-5))
        fail_msg("%s: as a folder its logits differ by %.3g", name, r.max_dlogit);
}

static void check_family(const char *name, const char *arch)
{
    char path[512];
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m;
    json_t *golden;
    snprintf(path, sizeof path, "tests/parity/%.200s", name);
    assert_ok(ctx, lmf_json_load(ctx, lmf_test_source_path(path), 1 << 20, LMF_JSON_SMALL, &golden));
    assert_ok(ctx, lmf_model_open(ctx, lmf_test_family_model(golden), &m));
    assert_string_equal(m->arch->name, arch);
    check_logits(ctx, m, name, golden);
    check_export(ctx, m, name, golden);
    check_training(ctx, m, name, golden);
    json_decref(golden);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static void families(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    for (const lmf_arch *const *a = ctx->tables->archs; *a; a++) {
        char begin[80];
        int n = 0;
        struct dirent *e;
        DIR *d = opendir(lmf_test_source_path("tests/parity"));
        assert_non_null(d);
        snprintf(begin, sizeof begin, "family_%.60s_", (*a)->name);
        while ((e = readdir(d)))
            if (strncmp(e->d_name, begin, strlen(begin)) == 0) {
                check_family(e->d_name, (*a)->name);
                n++;
            }
        closedir(d);
        if (n == 0)
            fail_msg("the architecture %s has no golden: tools/golden/families.py makes it", (*a)->name);
    }
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(families) = { { "as transformers and PEFT compute", families }, { 0 } };
