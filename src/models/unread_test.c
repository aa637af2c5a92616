/* SPDX-License-Identifier: Apache-2.0 */
/* What a file holds beyond what was read: each kind refused by name in both file forms; what is known to change nothing opens. */
#include "model_test.h"

typedef struct row { wrong w; const char *words; } row; /* words NULL: opens */

static void try_rows(const row *rows, size_t n, bool hf)
{
    for (size_t i = 0; i < n; i++) {
        const wrong *w = &rows[i].w;
        lmf_ctx *ctx = lmf_test_ctx();
        lmf_model *m;
        const char *path = lmf_test_path(hf ? "more" : "more.gguf");
        assert_ok(ctx, hf ? model_write_hf(ctx, path, w) : model_write_gguf(ctx, path, w));
        lmf_status s = lmf_model_open(ctx, path, &m);
        const char *what = w->more_key ? w->more_key : w->more_tensor ? w->more_tensor : "no class";
        if (!rows[i].words && s)
            fail_msg("%s = %s: %s", what, w->more_value ? w->more_value : "", lmf_error(ctx));
        if (rows[i].words && (!s || !strstr(lmf_error(ctx), rows[i].words)))
            fail_msg("%s = %s: \"%s\" does not say \"%s\"", what, w->more_value ? w->more_value : "", s ? lmf_error(ctx) : "it opens", rows[i].words);
        lmf_model_close(m);
        lmf_test_ctx_done(ctx);
    }
}

static void gguf_keys_and_tensors(void **state)
{
    static const row rows[] = {
        { { .more_key = "llama.rope.scaling.factor", .more_value = "4.0" }, "factor of 4 but no type" },
        { { .more_key = "llama.rope.scaling.factor", .more_value = "1.0" }, NULL },
        { { .more_key = "llama.rope.scaling.type", .more_value = "\"yarn\"" }, "\"yarn\" is not supported" },
        { { .more_key = "llama.rope.scaling.type", .more_value = "\"a name that is longer than any type of scaling\"" }, "at most 32" },
        { { .more_key = "llama.expert_count", .more_value = "8" }, "llama.expert_count is 8" },
        { { .more_key = "llama.expert_count", .more_value = "0" }, NULL },
        { { .more_key = "llama.attention.sliding_window", .more_value = "32" }, "sliding_window is 32" },
        { { .more_key = "llama.attention.value_length", .more_value = "4" }, "value_length is 4" },
        { { .more_key = "llama.attention.value_length", .more_value = "8" }, NULL },
        { { .more_key = "llama.attention.causal", .more_value = "true" }, NULL },
        { { .more_key = "llama.attention.causal", .more_value = "false" }, "llama.attention.causal is 0" },
        { { .more_key = "llama.rope.scaling.attn_factor", .more_value = "1.0" }, NULL },
        { { .more_key = "llama.rope.scaling.attn_factor", .more_value = "0.0" }, "attn_factor is 0" },
        { { .more_key = "llama.logit_scale", .more_value = "0.5" }, "llama.logit_scale is 0.5" },
        { { .more_key = "llama.pooling", .more_value = "\"cls\"" }, "llama.pooling is \"cls\"" },
        { { .more_key = "llama.rope.scale_linear", .more_value = "2.0" }, "scale_linear is 2" },
        { { .more_key = "llama.rope.scaling.original_context_length", .more_value = "4096" }, NULL },
        { { .more_key = "llamas.expert_count", .more_value = "8" }, NULL }, /* of another name space */
        { { .more_tensor = "blk.0.attn_q_norm.weight" }, "\"blk.0.attn_q_norm.weight\"" },
        { { .more_tensor = "blk.0.attn_q_norm.weight" }, "a layer has attn_norm.weight, attn_q.weight" },
        { { .more_tensor = "blk.2.attn_norm.weight" }, "is of layer 2, but the configuration says 2 layers" },
        { { .more_tensor = "output_norm.bias" }, "\"output_norm.bias\"" },
        { { .key = "llama.block_count", .how = DROPPED, .more_key = "llama.block_count", .more_value = "1" }, "is of layer 1, but the configuration says 1 layers" },
    };
    (void)state;
    try_rows(rows, sizeof rows / sizeof *rows, false);
}

static void hf_keys_and_tensors(void **state)
{
    static const row rows[] = {
        { { .no_arch = 1 }, NULL }, /* goes by model_type */
        { { .more_key = "partial_rotary_factor", .more_value = "0.5" }, "partial_rotary_factor is 0.5" },
        { { .more_key = "partial_rotary_factor", .more_value = "1.0" }, NULL },
        { { .more_key = "partial_rotary_factor", .more_value = "0" }, "partial_rotary_factor is 0" },
        { { .more_key = "is_causal", .more_value = "false" }, "is_causal is false" },
        { { .more_key = "is_causal", .more_value = "true" }, NULL },
        { { .more_key = "rope_scaling", .more_value = "{\"type\": \"linear\", \"factor\": 4.0, \"attention_factor\": 0}" },
            "attention_factor is 0" },
        { { .more_key = "attention_bias", .more_value = "true" }, "attention_bias is true, but the tensors" },
        { { .more_key = "mlp_bias", .more_value = "true" }, "mlp_bias is true" },
        { { .more_key = "attention_bias", .more_value = "false" }, NULL },
        { { .more_key = "quantization_config", .more_value = "{\"quant_method\": \"gptq\", \"bits\": 4}" }, "packed by gptq" },
        { { .more_key = "num_local_experts", .more_value = "8" }, "num_local_experts is 8" },
        { { .more_key = "sliding_window", .more_value = "32" }, "sliding_window is 32" },
        { { .more_key = "sliding_window", .more_value = "64" }, NULL }, /* the whole context */
        { { .more_key = "layer_types", .more_value = "[\"full_attention\", \"full_attention\"]" }, NULL },
        { { .more_key = "layer_types", .more_value = "[\"full_attention\", \"sliding_attention\"]" }, "layer_types is" },
        { { .more_key = "logits_scaling", .more_value = "8.0" }, "logits_scaling is 8" },
        { { .more_key = "rope_scaling", .more_value = "{\"factor\": 4.0}" }, "factor of 4 but no type" },
        { { .more_key = "rope_scaling", .more_value = "{\"type\": \"dynamic\", \"factor\": 4.0}" }, "\"dynamic\" is not supported" },
        { { .key = "rope_theta", .how = DROPPED, .more_key = "rope_scaling", .more_value = "{\"type\": \"yarn\", \"factor\": 4.0}" }, "\"yarn\" is not supported" },
        { { .more_key = "rope_scaling", .more_value = "{\"type\": \"linear\", \"factor\": 4.0}" }, NULL },
        { { .more_key = "rope_scaling", .more_value = "{\"type\": \"linear\"}" }, "\"linear\" has no factor" },
        { { .more_key = "rope_scaling", .more_value = "{\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0}" },
            "\"llama3\" has no high_freq_factor" },
        { { .more_key = "rope_scaling", .more_value = "{\"type\": \"linear\", \"rope_type\": \"llama3\", \"factor\": 4.0}" },
            "contradicts itself: rope_type is \"llama3\", type is \"linear\"" },
        { { .key = "rms_norm_eps", .how = DROPPED }, "config.json has no \"rms_norm_eps\"" },
        { { .more_key = "rope_scaling", .more_value = "{\"type\": \"linear\", \"factor\": 4.0, \"mrope_section\": [2, 1, 1]}" }, "rope_parameters.mrope_section" },
        { { .more_key = "rope_parameters", .more_value = "{\"rope_theta\": 500000.0, \"rope_type\": \"default\"}" }, "contradicts itself: rope_theta" },
        { { .more_key = "use_cache", .more_value = "true" }, NULL },
        { { .more_key = "_attn_implementation", .more_value = "\"sdpa\"" }, NULL },
        { { .more_key = "is_decoder", .more_value = "false" }, NULL },
        { { .more_tensor = "model.layers.0.self_attn.rotary_emb.inv_freq" }, NULL },
        { { .more_tensor = "model.layers.0.self_attn.q_norm.weight" }, "q_norm.weight" },
        { { .more_tensor = "model.layers.0.self_attn.q_proj.bias" }, "attention_bias is false or not given" },
        { { .more_tensor = "model.layers.2.input_layernorm.weight" }, "is of layer 2, but" },
        { { .more_key = "tie_word_embeddings", .more_value = "true" }, "\"lm_head.weight\" is tied" },
    };
    (void)state;
    try_rows(rows, sizeof rows / sizeof *rows, true);
}

/* Writers of tied models keep one of the two names. */
static void tied_under_either_name(void **state)
{
    (void)state;
    for (int hf = 0; hf < 2; hf++)
        for (int i = 0; i < 2; i++) {
            lmf_ctx *ctx = lmf_test_ctx();
            lmf_model *m;
            const char *path = lmf_test_path(hf ? "tied" : "tied.gguf");
            wrong w = { .tensor = i ? "token_embd.weight" : "output.weight", .fault = MISSING };
            assert_ok(ctx, hf ? model_write_hf(ctx, path, &w) : model_write_gguf(ctx, path, &w));
            assert_ok(ctx, lmf_model_open(ctx, path, &m));
            const lmf_weight *e = lmf_weights_find(m->weights, "embed"), *h = lmf_weights_find(m->weights, "head");
            assert_true(e && h && e->v.data == h->v.data);
            assert_string_equal(lmf_model_head(m).role, "embed");
            model_tensor t = model_tensor_at(i ? 2 : 0); /* the bytes are those of the tensor that is there */
            float x[M_VOCAB * M_WIDTH];
            model_fill(&t, &(wrong){ 0 }, !hf, x, M_VOCAB * M_WIDTH);
            assert_memory_equal(e->v.data, x, sizeof x);
            lmf_model_close(m);
            lmf_test_ctx_done(ctx);
        }
}

LMF_TESTS(unread) = {
    { "GGUF keys and tensors", gguf_keys_and_tensors },
    { "config.json keys and tensors", hf_keys_and_tensors },
    { "tied under either name", tied_under_either_name },
    { 0 }
};
