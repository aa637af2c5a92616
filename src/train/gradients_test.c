/* SPDX-License-Identifier: Apache-2.0 */
/* Against PyTorch's outputs in tests/parity/gradients_*.json (tools/golden/gradients.py makes them): every gradient of the first step
 * and the losses of ten AdamW steps. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "format/json.h"
#include "formula.h"
#include "train/params.h"
#include "train/trainer_internal.h"

enum { MAX_COUNT = 264 * 64 };

static double number(const json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }

static void hf_name(const lmf_trainer *t, const lmf_param *p, char *text, size_t n)
{
    char role[160];
    int layer;
    size_t len = strlen(p->name);
    const lmf_weight_row *row = lmf_model_row(t->model, p->name, &layer);
    if (t->opts.full) {
        assert_ok(t->ctx, lmf_model_name(t->ctx, row->hf, layer, "", text, n));
        return;
    }
    snprintf(role, sizeof role, "%.*s", (int)(len - strlen(".lora_a")), p->name);
    assert_true(lmf_lora_path(t->model, role, text, n));
    len = strlen(text);
    snprintf(text + len, n - len, ".lora_%c.weight", p->name[strlen(p->name) - 1] == 'a' ? 'A' : 'B');
}

static void check_gradient(lmf_trainer *t, const lmf_param *p, const json_t *want)
{
    static float g[MAX_COUNT];
    double norm = 0, dot[2] = { 0 }, size = sqrt((double)p->count);
    assert_true(p->count <= MAX_COUNT);
    assert_ok(t->ctx, lmf_trainer_gradient(t, p->name, g, p->count));
    for (int64_t k = 0; k < p->count; k++) {
        norm += (double)g[k] * (double)g[k];
        for (uint32_t j = 0; j < 2; j++)
            dot[j] += (double)g[k] * (double)lmf_test_signed(7, j, 0xd0, (uint64_t)k);
    }
    double wanted = number(want, "norm"), tolerance = 1e-4 * wanted + 1e-7;
    if (fabs(sqrt(norm) - wanted) > tolerance)
        fail_msg("%s: the gradient's norm is %.9g, PyTorch's %.9g", p->name, sqrt(norm), wanted);
    for (size_t j = 0; j < 2; j++)
        if (fabs(dot[j] - json_number_value(json_array_get(json_object_get(want, "dots"), j))) > tolerance)
            fail_msg("%s: the gradient times random vector %zu is %.9g, not %.9g", p->name, j, dot[j],
                     json_number_value(json_array_get(json_object_get(want, "dots"), j)));
    for (size_t j = 0; j < json_array_size(json_object_get(want, "at")); j++) {
        int64_t at = json_integer_value(json_array_get(json_object_get(want, "at"), j));
        double v = json_number_value(json_array_get(json_object_get(want, "values"), j));
        if (fabs((double)g[at] - v) > 1e-4 * fabs(v) + 1e-4 * wanted / size + 1e-9)
            fail_msg("%s: gradient %lld is %.9g, not %.9g", p->name, (long long)at, (double)g[at], v);
    }
}

static void check_gradients(lmf_trainer *t, const json_t *all)
{
    char name[256];
    assert_int_equal(t->params.n, json_object_size(all));
    for (int i = 0; i < t->params.n; i++) {
        hf_name(t, &t->params.items[i], name, sizeof name);
        const json_t *want = json_object_get(all, name);
        if (!want)
            fail_msg("PyTorch has no gradient of %s", name);
        check_gradient(t, &t->params.items[i], want);
    }
}

static lmf_train_opts options(const json_t *recipe, bool full)
{
    const json_t *o = json_object_get(recipe, "opts");
    lmf_train_opts opts = lmf_train_opts_default();
    opts.full = full;
    opts.lora_r = (int32_t)number(recipe, "r");
    opts.lora_alpha = number(recipe, "alpha");
    opts.batch_size = (int32_t)number(o, "batch");
    opts.grad_accum = 1;
    opts.max_steps = (int64_t)number(o, "steps");
    opts.lr = number(o, "lr");
    opts.beta1 = number(o, "beta1");
    opts.beta2 = number(o, "beta2");
    opts.eps = number(o, "eps");
    opts.weight_decay = number(o, "wd");
    opts.max_grad_norm = number(o, "clip");
    opts.schedule = LMF_SCHEDULE_CONSTANT;
    opts.warmup_steps = 0;
    opts.shuffle = false;
    opts.compute = 0;
    return opts;
}

static void replay(const char *golden, const lmf_formula *f, bool full)
{
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m;
    lmf_rows rows;
    lmf_samples *samples;
    lmf_trainer *t;
    lmf_train_stats st;
    json_t *root;
    assert_ok(ctx, lmf_json_load(ctx, lmf_test_source_path(golden), 1 << 20, LMF_JSON_SMALL, &root));
    lmf_train_opts o = options(json_object_get(root, "recipe"), full);
    assert_ok(ctx, lmf_model_open(ctx, lmf_test_formula_model(f), &m));
    assert_ok(ctx, lmf_rows_open(ctx, lmf_test_source_path("tests/parity/train_rows.jsonl"), &rows));
    assert_ok(ctx, lmf_samples_create(&rows, &m->chat, 512, LMF_LONG_ERROR, &samples));
    assert_ok(ctx, lmf_trainer_create(ctx, "cpu", m, samples, &o, &t));
    if (!full)
        assert_ok(ctx, lmf_trainer_load_adapter(t, lmf_test_formula_adapter(f->seed, f->n_layers, o.lora_r, o.lora_alpha)));
    for (size_t i = 0; i < (size_t)o.max_steps; i++) {
        double loss = json_number_value(json_array_get(json_object_get(root, "loss"), i)), norm = json_number_value(json_array_get(json_object_get(root, "grad_norm"), i));
        assert_ok(ctx, lmf_trainer_step(t, &st));
        if (i == 0)
            check_gradients(t, json_object_get(root, "gradients"));
        if (!(fabs(st.loss - loss) <= 1e-5 * loss) || !(fabs(st.grad_norm - norm) <= 1e-4 * norm))
            fail_msg("step %zu: loss %.9g and norm %.9g, PyTorch has %.9g and %.9g", i + 1, st.loss, st.grad_norm, loss, norm);
    }
    json_decref(root);
    lmf_trainer_destroy(t);
    lmf_samples_destroy(samples);
    lmf_rows_close(&rows);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static void llama_full(void **state)
{
    (void)state;
    replay("tests/parity/gradients_llama_full.json", &(lmf_formula){ .seed = 1, .n_layers = 2 }, true);
}

static void llama_tied_full(void **state)
{
    (void)state;
    replay("tests/parity/gradients_llama_tied_full.json", &(lmf_formula){ .seed = 1, .n_layers = 2, .tied = true }, true);
}

static void llama_lora(void **state)
{
    (void)state;
    replay("tests/parity/gradients_llama_lora.json", &(lmf_formula){ .seed = 1, .n_layers = 2 }, false);
}

static void qwen2_full(void **state)
{
    (void)state;
    replay("tests/parity/gradients_qwen2_full.json", &(lmf_formula){ .seed = 1, .n_layers = 2, .bias = true }, true);
}

static void qwen2_lora(void **state)
{
    (void)state;
    replay("tests/parity/gradients_qwen2_lora.json", &(lmf_formula){ .seed = 1, .n_layers = 2, .bias = true }, false);
}

LMF_TESTS(gradients) = { { "all weights of a llama, and ten steps", llama_full }, { "tied embeddings", llama_tied_full }, { "LoRA, and ten steps", llama_lora },
                         { "all weights of a qwen2 with its biases", qwen2_full }, { "LoRA on a qwen2", qwen2_lora }, { 0 } };
