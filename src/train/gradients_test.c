/* SPDX-License-Identifier: Apache-2.0 */
/* Against PyTorch's outputs in tests/parity/gradients_*.json (tools/golden/gradients.py makes them): every gradient of the first step
 * and the losses of ten AdamW steps. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "train/golden_test.h"

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
    lmf_train_opts o = lmf_test_recipe_opts(json_object_get(root, "recipe"), full);
    assert_ok(ctx, lmf_model_open(ctx, lmf_test_formula_model(f), &m));
    if (json_is_true(json_object_get(json_object_get(root, "recipe"), "nf4")))
        assert_ok(ctx, lmf_model_to_4bit(m, &(lmf_in_4bit){ 0 }));
    assert_ok(ctx, lmf_rows_open(ctx, lmf_test_source_path("tests/parity/train_rows.jsonl"), &rows));
    assert_ok(ctx, lmf_samples_create(&rows, &m->chat, 512, LMF_LONG_ERROR, &samples));
    assert_ok(ctx, lmf_trainer_create(ctx, "cpu", m, samples, &o, &t));
    if (!full)
        assert_ok(ctx, lmf_trainer_load_adapter(t, lmf_test_formula_adapter(f->seed, f->n_layers, o.lora_r, o.lora_alpha)));
    for (size_t i = 0; i < (size_t)o.max_steps; i++) {
        double loss = json_number_value(json_array_get(json_object_get(root, "loss"), i)), norm = json_number_value(json_array_get(json_object_get(root, "grad_norm"), i));
        assert_ok(ctx, lmf_trainer_step(t, &st));
        if (i == 0)
            lmf_test_gradients(t, json_object_get(root, "gradients"));
        double loose = o.optimizer == LMF_OPTIMIZER_ADAMW_8BIT ? 10 : 1; /* a last bit may change a code */
        if (!(fabs(st.loss - loss) <= loose * 1e-5 * loss) || !(fabs(st.grad_norm - norm) <= loose * 1e-4 * norm))
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

static void llama_dropout(void **state)
{
    (void)state;
    replay("tests/parity/gradients_llama_dropout.json", &(lmf_formula){ .seed = 1, .n_layers = 2 }, false);
}

static void llama_nf4(void **state)
{
    (void)state;
    replay("tests/parity/gradients_llama_nf4.json", &(lmf_formula){ .seed = 1, .n_layers = 2 }, false);
}

static void llama_sgd(void **state)
{
    (void)state;
    replay("tests/parity/gradients_llama_sgd.json", &(lmf_formula){ .seed = 1, .n_layers = 2 }, false);
}

static void llama_adamw_8bit(void **state)
{
    (void)state;
    replay("tests/parity/gradients_llama_adamw_8bit.json", &(lmf_formula){ .seed = 1, .n_layers = 2 }, false);
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
                         { "LoRA with dropout, PEFT with the same masks", llama_dropout },
                         { "LoRA on bitsandbytes' NF4", llama_nf4 }, { "LoRA by SGD", llama_sgd },
                         { "LoRA by bitsandbytes' AdamW8bit", llama_adamw_8bit },
                         { "all weights of a qwen2 with its biases", qwen2_full }, { "LoRA on a qwen2", qwen2_lora }, { 0 } };
