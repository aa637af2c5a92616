/* SPDX-License-Identifier: Apache-2.0 */
/* GPT-2 as a table and a body: fused q, k, v stored transposed (Conv1D), learned positions, layer_norm with bias, gelu, tied head.
 * layer_norm is a shape rule alone here. A tiny one is read from a Hugging Face folder that is written as GPT-2's files are. */
#include "arch_test.h"
#include <math.h>
#include "../../src/models/model_test.h"
#include "ops/add/add.h"
#include "ops/embed/embed.h"
#include "ops/gelu/gelu.h"

static lmf_status norm_infer(lmf_graph *g, lmf_node *n)
{
    if (n->in[0]->v.n_dims != 2 || n->in[1]->v.dim[0] != n->in[0]->v.dim[1])
        return lmf_refuse(g, n, LMF_E_SHAPE, "x is [T, D], w and b are [D]");
    lmf_out_like(n, 0, n->in[0], LMF_F32);
    for (int j = 1; j < n->n_out; j++)
        lmf_out_like(n, j, n->in[1], LMF_F32);
    return LMF_OK;
}

static const lmf_op norm_bwd = { .name = "layer_norm_bwd", .n_in_min = 3, .n_in_max = 3, .n_out = 3, .infer = norm_infer, .ref = arch_never_runs };

static lmf_status norm_grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    lmf_node *b = lmf_node_add(g, &norm_bwd, NULL, (lmf_tensor *[]){ n->in[0], n->in[1], d_out[0] }, 3);
    for (int i = 0; b && i < 3; i++)
        if (n->in[i]->needs_grad)
            lmf_grad_add(g, &d_in[i], b->out[i]);
    return g->status;
}

static const lmf_op norm = { .name = "layer_norm", .n_in_min = 3, .n_in_max = 3, .n_out = 1, .flags = LMF_OP_CHEAP, .infer = norm_infer, .grad = norm_grad, .ref = arch_never_runs };

typedef struct gpt2_config { lmf_config_base base; int32_t n_heads; } gpt2_config;

static const lmf_hparam hparams[] = {
    { "n_layers", "n_layer", "{arch}.block_count", LMF_HPARAM_I32, offsetof(gpt2_config, base.n_layers), 0, true },
    { "width", "n_embd", "{arch}.embedding_length", LMF_HPARAM_I32, offsetof(gpt2_config, base.width), 0, true },
    { "vocab", "vocab_size", NULL, LMF_HPARAM_I32, offsetof(gpt2_config, base.vocab), 0, false },
    { "context", "n_positions", "{arch}.context_length", LMF_HPARAM_I32, offsetof(gpt2_config, base.context), 1024, false },
    { "n_heads", "n_head", "{arch}.attention.head_count", LMF_HPARAM_I32, offsetof(gpt2_config, n_heads), 0, true },
    { 0 }
};

#define L(role) "layers.{l}." role
#define HF(name) "transformer.h.{l}." name
#define GGUF(name) "blk.{l}." name
#define FUSED(role, part, suffix, shape, turned) \
    { L(role), HF("attn.c_attn." suffix), GGUF("attn_qkv." suffix), shape, .hf_form = LMF_FORM_SLICE | (turned), .gguf_form = LMF_FORM_SLICE, .hf_part = part, .hf_n_parts = 3 }
static const lmf_weight_row weights[] = {
    { "embed", "transformer.wte.weight", "token_embd.weight", "V,D" },
    { "positions", "transformer.wpe.weight", "position_embd.weight", "P,D" },
    { L("attn_norm"), HF("ln_1.weight"), GGUF("attn_norm.weight"), "D", .flags = LMF_ROW_NO_QUANT },
    { L("attn_norm_bias"), HF("ln_1.bias"), GGUF("attn_norm.bias"), "D", .flags = LMF_ROW_NO_QUANT },
    FUSED("attn.q", 0, "weight", "D,D", LMF_FORM_TRANSPOSED), FUSED("attn.k", 1, "weight", "D,D", LMF_FORM_TRANSPOSED), FUSED("attn.v", 2, "weight", "D,D", LMF_FORM_TRANSPOSED),
    FUSED("attn.q_bias", 0, "bias", "D", 0), FUSED("attn.k_bias", 1, "bias", "D", 0), FUSED("attn.v_bias", 2, "bias", "D", 0),
    { L("attn.o"), HF("attn.c_proj.weight"), GGUF("attn_output.weight"), "D,D", .hf_form = LMF_FORM_TRANSPOSED },
    { L("attn.o_bias"), HF("attn.c_proj.bias"), GGUF("attn_output.bias"), "D", .flags = LMF_ROW_NO_QUANT },
    { L("mlp_norm"), HF("ln_2.weight"), GGUF("ffn_norm.weight"), "D", .flags = LMF_ROW_NO_QUANT },
    { L("mlp_norm_bias"), HF("ln_2.bias"), GGUF("ffn_norm.bias"), "D", .flags = LMF_ROW_NO_QUANT },
    { L("mlp.up"), HF("mlp.c_fc.weight"), GGUF("ffn_up.weight"), "F,D", .hf_form = LMF_FORM_TRANSPOSED },
    { L("mlp.up_bias"), HF("mlp.c_fc.bias"), GGUF("ffn_up.bias"), "F", .flags = LMF_ROW_NO_QUANT },
    { L("mlp.down"), HF("mlp.c_proj.weight"), GGUF("ffn_down.weight"), "D,F", .hf_form = LMF_FORM_TRANSPOSED },
    { L("mlp.down_bias"), HF("mlp.c_proj.bias"), GGUF("ffn_down.bias"), "D", .flags = LMF_ROW_NO_QUANT },
    { "norm", "transformer.ln_f.weight", "output_norm.weight", "D", .flags = LMF_ROW_NO_QUANT },
    { "norm_bias", "transformer.ln_f.bias", "output_norm.bias", "D", .flags = LMF_ROW_NO_QUANT },
    { "head", NULL, NULL, "V,D", .tied = "embed" },
    { 0 }
};

static int64_t dim(const void *config, char letter)
{
    const gpt2_config *c = config;
    return letter == 'V' ? c->base.vocab : letter == 'D' ? c->base.width : letter == 'F' ? 4 * (int64_t)c->base.width : letter == 'P' ? c->base.context : -1;
}

static lmf_status check(lmf_ctx *ctx, void *config)
{
    gpt2_config *c = config;
    return c->base.width % c->n_heads ? LMF_FAIL(ctx, LMF_E_FORMAT, "width %d, heads %d", c->base.width, c->n_heads) : LMF_OK;
}

static lmf_layer_state state_of(const void *config, int layer)
{
    const gpt2_config *c = config;
    (void)layer;
    return (lmf_layer_state){ .kv_width = 2 * (int64_t)c->base.width };
}

static lmf_tensor *layer_norm(lmf_graph *g, lmf_tensor *x, const char *role, const char *bias)
{
    return lmf_node_add1(g, &norm, NULL, (lmf_tensor *[]){ x, lmf_nn_weight(g, role, false), lmf_nn_weight(g, bias, false) }, 3);
}

static lmf_tensor *embed(lmf_graph *g, const lmf_batch *in)
{
    return lmf_add(g, lmf_embed(g, in->token, lmf_nn_weight(g, "embed", false)), lmf_embed(g, in->pos, lmf_nn_weight(g, "positions", false)));
}

static lmf_tensor *body(lmf_graph *g, const lmf_batch *in, lmf_tensor *x)
{
    const gpt2_config *c = g->config;
    int32_t size = c->base.width / c->n_heads;
    lmf_attention_attrs attn = { c->n_heads, c->n_heads, size, 0, 1 / sqrtf((float)size) };
    for (int l = 0; l < c->base.n_layers; l++) {
        lmf_graph_block(g, l);
        lmf_tensor *h = layer_norm(g, x, "attn_norm", "attn_norm_bias");
        lmf_tensor *o = lmf_nn_attention(g, in, lmf_linear(g, h, "attn.q"), lmf_linear(g, h, "attn.k"), lmf_linear(g, h, "attn.v"), attn);
        x = lmf_add(g, x, lmf_linear(g, o, "attn.o"));
        h = layer_norm(g, x, "mlp_norm", "mlp_norm_bias");
        x = lmf_add(g, x, lmf_linear(g, lmf_gelu(g, lmf_linear(g, h, "mlp.up")), "mlp.down"));
    }
    lmf_graph_block(g, -1);
    return layer_norm(g, x, "norm", "norm_bias");
}

static void head(const void *config, lmf_head_spec *s) { (void)config, *s = (lmf_head_spec){ "embed", 1 }; }

static const lmf_arch gpt2 = {
    .name = "gpt2", .hf_class = (const char *const[]){ "GPT2LMHeadModel", NULL }, .gguf_arch = (const char *const[]){ "gpt2", NULL }, .hf_model_type = "gpt2",
    .config_bytes = sizeof(gpt2_config), .hparams = hparams, .weights = weights, .dim = dim, .check = check, .state = state_of, .embed = embed, .body = body, .head = head,
};

static void plans_for_serving_and_training(void **state)
{
    static arch_case a;
    gpt2_config c = { { 12, 768, 50257, 1024 }, 12 };
    (void)state;
    memset(&a, 0, sizeof a);
    a = (arch_case){ .ctx = lmf_test_ctx(), .arch = &gpt2, .config = &c };
    arch_fill(&a);
    assert_int_equal(a.params.n_total, 124439808); /* the number that everyone knows */
    arch_prove(&a, false);
    lmf_weights_destroy(a.weights);
    lmf_test_ctx_done(a.ctx);
}

enum { TD = 8, TL = 2, TP = 16 };

/* Element of a stored tensor by its name's number, so that any mix-up shows. */
static float element(int tensor, int64_t k) { return (float)(tensor * 1000 + k); }

static lmf_status write_folder(lmf_ctx *ctx, const char *dir, int64_t fused)
{
    static const struct { const char *name; int64_t rows, cols; } inner[] = {
        { "ln_1.weight", 0, TD }, { "ln_1.bias", 0, TD }, { "attn.c_attn.weight", TD, 3 * TD }, { "attn.c_attn.bias", 0, 3 * TD }, { "attn.c_proj.weight", TD, TD },
        { "attn.c_proj.bias", 0, TD }, { "ln_2.weight", 0, TD }, { "ln_2.bias", 0, TD }, { "mlp.c_fc.weight", TD, 4 * TD }, { "mlp.c_fc.bias", 0, 4 * TD },
        { "mlp.c_proj.weight", 4 * TD, TD }, { "mlp.c_proj.bias", 0, TD } },
    outer[] = { { "wte.weight", M_VOCAB, TD }, { "wpe.weight", TP, TD }, { "ln_f.weight", 0, TD }, { "ln_f.bias", 0, TD } };
    enum { N_IN = 12, N_OUT = 4 };
    char path[600], name[96];
    float x[M_VOCAB * TD];
    lmf_safetensors_writer *out = NULL;
    mkdir(dir, 0777);
    LMF_TRY(model_write_json(ctx, dir, &(wrong){ 0 }));
    json_t *c = json_pack("{s:[s],s:s,s:i,s:i,s:i,s:i,s:i}", "architectures", "GPT2LMHeadModel", "model_type", "gpt2", "n_layer", TL, "n_embd", TD, "n_head", 2, "n_positions", TP,
                          "vocab_size", M_VOCAB);
    snprintf(path, sizeof path, "%s/config.json", dir);
    lmf_status s = lmf_json_save(ctx, path, c);
    json_decref(c);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    s = s ? s : lmf_safetensors_writer_create(ctx, path, &out);
    for (int write = 0; write < 2 && !s; write++) {
        s = write ? lmf_safetensors_begin(out) : LMF_OK;
        for (int i = 0; i < N_OUT + TL * N_IN && !s; i++) {
            bool is_inner = i >= N_OUT;
            int k = is_inner ? (i - N_OUT) % N_IN : i;
            int64_t rows = is_inner ? inner[k].rows : outer[k].rows, cols = is_inner ? inner[k].cols : outer[k].cols;
            if (is_inner && (k == 2 || k == 3) && fused)
                cols = fused;
            if (is_inner)
                snprintf(name, sizeof name, "transformer.h.%d.%s", (i - N_OUT) / N_IN, inner[k].name);
            else
                snprintf(name, sizeof name, "transformer.%s", outer[k].name);
            int64_t n = (rows ? rows : 1) * cols;
            for (int64_t e = 0; e < n; e++)
                x[e] = element(i, e);
            s = write ? lmf_safetensors_write(out, x, (size_t)n * sizeof *x)
                      : lmf_safetensors_add(out, name, LMF_F32, rows ? (int64_t[]){ rows, cols } : &cols, rows ? 2 : 1);
        }
    }
    s = s ? s : lmf_safetensors_commit(out);
    lmf_safetensors_writer_destroy(out);
    return s;
}

static void reads_fused_transposed_weights(void **state)
{
    static const char *const part[] = { "q", "k", "v" };
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_arch *archs[] = { &gpt2, NULL };
    lmf_tables tables = *ctx->tables;
    lmf_model *m;
    tables.archs = archs;
    ctx->tables = &tables; /* one file more: the list is the build's, not the loader's */
    const char *dir = lmf_test_path("gpt2"), *bad = lmf_test_path("gpt2");
    assert_ok(ctx, write_folder(ctx, dir, 0));
    assert_ok(ctx, lmf_model_open(ctx, dir, &m));
    for (int l = 0; l < TL; l++)
        for (int p = 0; p < 3; p++) {
            char name[64];
            snprintf(name, sizeof name, "layers.%d.attn.%s", l, part[p]);
            const lmf_weight *w = lmf_weights_find(m->weights, name);
            assert_true(w && w->v.n_dims == 2 && w->v.dim[0] == TD && w->v.dim[1] == TD);
            for (int64_t i = 0; i < TD; i++)
                for (int64_t k = 0; k < TD; k++)
                    assert_true(lmf_get(&w->v, i * TD + k) == (double)element(4 + l * 12 + 2, k * 3 * TD + p * TD + i));
            snprintf(name, sizeof name, "layers.%d.attn.%s_bias", l, part[p]);
            w = lmf_weights_find(m->weights, name);
            assert_true(w && w->v.n_dims == 1 && w->v.dim[0] == TD);
            for (int64_t i = 0; i < TD; i++)
                assert_true(lmf_get(&w->v, i) == (double)element(4 + l * 12 + 3, p * TD + i));
        }
    const lmf_weight *down = lmf_weights_find(m->weights, "layers.1.mlp.down");
    assert_true(down && lmf_get(&down->v, 1 * 4 * TD + 3) == (double)element(4 + 12 + 10, 3 * TD + 1));
    assert_ptr_equal(lmf_weights_find(m->weights, "head")->v.data, lmf_weights_find(m->weights, "embed")->v.data);
    lmf_model_close(m);
    assert_ok(ctx, write_folder(ctx, bad, 2 * TD)); /* two parts where three are due: not a byte past the end is read */
    assert_refused(ctx, LMF_E_SHAPE, "wants [8, 24] f32", lmf_model_open(ctx, bad, &m));
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(arch_gpt2) = {
    { "plans for serving and training", plans_for_serving_and_training },
    { "reads fused transposed weights", reads_fused_transposed_weights },
    { 0 }
};
