/* SPDX-License-Identifier: Apache-2.0 */
/* Hymba-1.5B as a table and a body: attention beside a Mamba scan in every layer, 128 learned meta tokens before each sequence,
 * sliding windows but for three layers, keys and values shared between neighbours. The scan, the convolution and the attention that
 * always sees the meta tokens are shape rules alone. Dong et al. 2024, arXiv 2411.13676; nvidia/Hymba-1.5B-Base.
 *
 * The meta tokens need no input of their own: they are ordinary rows at positions 0 to 127 with token -1, whose embedding is zero, and
 * rows from 128 on lie outside the table of positions, whose row is zero there. The recurrent state's row is lmf_batch.slot. */
#include "arch_test.h"
#include <math.h>
#include "ops/add/add.h"
#include "ops/embed/embed.h"
#include "ops/kv_append/kv_append.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/rope/rope.h"
#include "ops/swiglu/swiglu.h"

enum { LAYERS = 32, META = 128, WINDOW = 1024, TAPS = 4 };
typedef struct hymba_config { lmf_config_base base; int32_t n_heads, n_kv_heads, head_size, ffn, inner, n_state, dt_rank; } hymba_config;

/* ---- private ops: shape rules and gradients ---- */
static lmf_status like_inputs(lmf_graph *g, lmf_node *n) /* gradients: out[j] is like in[j] */
{
    (void)g;
    for (int j = 0; j < n->n_out; j++)
        lmf_out_like(n, j, n->in[j], LMF_F32);
    return LMF_OK;
}
static lmf_status like_last(lmf_graph *g, lmf_node *n) /* gradients of the weights, which are inputs 4 and 5 */
{
    (void)g;
    for (int j = 0; j < n->n_out; j++)
        lmf_out_like(n, j, n->in[4 + j], LMF_F32);
    return LMF_OK;
}

/* conv(x [T, I], w [I, taps], seq, q_start): depthwise and causal within a sequence. */
static lmf_status conv_infer(lmf_graph *g, lmf_node *n)
{
    if (n->in[1]->v.n_dims != 2 || n->in[1]->v.dim[0] != n->in[0]->v.dim[1] || n->in[2]->v.dim[0] != n->in[0]->v.dim[0])
        return lmf_refuse(g, n, LMF_E_SHAPE, "x is [T, I], w [I, taps], seq [T]");
    lmf_out_like(n, 0, n->in[0], LMF_F32);
    return LMF_OK;
}
static const lmf_op conv_bwd = { .name = "conv_bwd", .n_in_min = 5, .n_in_max = 5, .n_out = 2, .infer = like_inputs, .ref = arch_never_runs };
static lmf_status conv_grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    lmf_node *b = lmf_node_add(g, &conv_bwd, NULL, (lmf_tensor *[]){ n->in[0], n->in[1], n->in[2], n->in[3], d_out[0] }, 5);
    for (int i = 0; b && i < 2; i++)
        if (n->in[i]->needs_grad)
            lmf_grad_add(g, &d_in[i], b->out[i]);
    return g->status;
}
static const lmf_op conv = { .name = "conv", .n_in_min = 4, .n_in_max = 4, .n_out = 1, .infer = conv_infer, .grad = conv_grad, .ref = arch_never_runs };

/* conv_slot(state [slots, taps - 1, I] in place, x, w, seq, q_start, slot) -> state, y */
static lmf_status conv_slot_infer(lmf_graph *g, lmf_node *n)
{
    if (n->in[0]->v.dim[2] != n->in[1]->v.dim[1])
        return lmf_refuse(g, n, LMF_E_SHAPE, "state is [slots, taps - 1, I], x [T, I]");
    lmf_out_like(n, 1, n->in[1], LMF_F32);
    return LMF_OK;
}
static const lmf_op conv_slot = { .name = "conv_slot", .n_in_min = 6, .n_in_max = 6, .n_out = 2, .writes = { 1 }, .infer = conv_slot_infer, .ref = arch_never_runs };

/* scan(x [T, I], dt [T, I], b [T, N], c [T, N], a [I, N], d [I], seq, q_start) -> y [T, I] */
static lmf_status scan_infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *x = &n->in[0]->v, *b = &n->in[2]->v, *a = &n->in[4]->v;
    if (!lmf_same_shape(n->in[0], n->in[1]) || !lmf_same_shape(n->in[2], n->in[3]) || a->dim[0] != x->dim[1] || a->dim[1] != b->dim[1])
        return lmf_refuse(g, n, LMF_E_SHAPE, "x and dt are [T, I], b and c [T, N], a is [I, N]");
    lmf_out_like(n, 0, n->in[0], LMF_F32);
    return LMF_OK;
}
/* two ops, since one has at most 4 results */
static const lmf_op scan_bwd = { .name = "scan_bwd", .n_in_min = 9, .n_in_max = 9, .n_out = 4, .infer = like_inputs, .ref = arch_never_runs };
static const lmf_op scan_bwd_w = { .name = "scan_bwd_w", .n_in_min = 9, .n_in_max = 9, .n_out = 2, .infer = like_last, .ref = arch_never_runs };
static lmf_status scan_grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    lmf_tensor *in[9];
    memcpy(in, n->in, 8 * sizeof *in);
    in[8] = d_out[0];
    lmf_node *b = lmf_node_add(g, &scan_bwd, NULL, in, 9), *w = lmf_node_add(g, &scan_bwd_w, NULL, in, 9);
    for (int i = 0; b && w && i < 6; i++)
        if (n->in[i]->needs_grad)
            lmf_grad_add(g, &d_in[i], i < 4 ? b->out[i] : w->out[i - 4]);
    return g->status;
}
static const lmf_op scan = { .name = "scan", .n_in_min = 8, .n_in_max = 8, .n_out = 1, .infer = scan_infer, .grad = scan_grad, .ref = arch_never_runs };

/* scan_slot(state [slots, I, N] in place, x, dt, b, c, a, d, seq, q_start, slot) -> state, y */
static lmf_status scan_slot_infer(lmf_graph *g, lmf_node *n)
{
    if (n->in[0]->v.dim[1] != n->in[1]->v.dim[1] || n->in[0]->v.dim[2] != n->in[3]->v.dim[1])
        return lmf_refuse(g, n, LMF_E_SHAPE, "state is [slots, I, N], x [T, I], b [T, N]");
    lmf_out_like(n, 1, n->in[1], LMF_F32);
    return LMF_OK;
}
static const lmf_op scan_slot = { .name = "scan_slot", .n_in_min = 10, .n_in_max = 10, .n_out = 2, .writes = { 1 }, .infer = scan_slot_infer, .ref = arch_never_runs };

/* Attention in a window that always sees the first `sink` keys: what the present one has, with one attribute more. */
typedef struct sink_attrs { int32_t n_heads, n_kv_heads, head_size, window, sink; float scale; } sink_attrs;
static const lmf_field sink_fields[] = {
    { "n_heads", LMF_FIELD_I32, offsetof(sink_attrs, n_heads), "", 1, 4096 }, { "n_kv_heads", LMF_FIELD_I32, offsetof(sink_attrs, n_kv_heads), "", 1, 4096 },
    { "head_size", LMF_FIELD_I32, offsetof(sink_attrs, head_size), "", 1, 4096 }, { "window", LMF_FIELD_I32, offsetof(sink_attrs, window), "rows", 0, 1 << 30 },
    { "sink", LMF_FIELD_I32, offsetof(sink_attrs, sink), "rows", 0, 1 << 30 }, { "scale", LMF_FIELD_F32, offsetof(sink_attrs, scale), "", 1e-6, 1e6 }, { 0 } };
static lmf_status sink_infer(lmf_graph *g, lmf_node *n)
{
    const sink_attrs *a = n->attrs;
    lmf_view *k = &n->in[1]->v;
    if (n->in[0]->v.dim[1] != a->n_heads * a->head_size || k->dim[k->n_dims - 1] != a->n_kv_heads * a->head_size)
        return lmf_refuse(g, n, LMF_E_SHAPE, "q is [T, H*C], keys and values end in K*C");
    lmf_out_like(n, 0, n->in[0], LMF_F32);
    return LMF_OK;
}
static const lmf_op sink_bwd = { .name = "sink_bwd", .n_in_min = 6, .n_in_max = 6, .n_out = 3, .infer = like_inputs, .ref = arch_never_runs };
static lmf_status sink_grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in)
{
    lmf_node *b = lmf_node_add(g, &sink_bwd, NULL, (lmf_tensor *[]){ n->in[0], n->in[1], n->in[2], n->in[3], n->in[4], d_out[0] }, 6);
    for (int i = 0; b && i < 3; i++)
        if (n->in[i]->needs_grad)
            lmf_grad_add(g, &d_in[i], b->out[i]);
    return g->status;
}
static const lmf_op sink = { .name = "sink", .n_in_min = 5, .n_in_max = 6, .n_out = 1, .attr_bytes = sizeof(sink_attrs), .fields = sink_fields, .infer = sink_infer, .grad = sink_grad,
                             .ref = arch_never_runs };

/* ---- the architecture ---- */
static const lmf_hparam hparams[] = {
    { "n_layers", "num_hidden_layers", NULL, LMF_HPARAM_I32, offsetof(hymba_config, base.n_layers), 0, true },
    { "width", "hidden_size", NULL, LMF_HPARAM_I32, offsetof(hymba_config, base.width), 0, true },
    { "vocab", "vocab_size", NULL, LMF_HPARAM_I32, offsetof(hymba_config, base.vocab), 0, true },
    { "context", "max_position_embeddings", NULL, LMF_HPARAM_I32, offsetof(hymba_config, base.context), 8192, false },
    { "n_heads", "num_attention_heads", NULL, LMF_HPARAM_I32, offsetof(hymba_config, n_heads), 0, true },
    { "n_kv_heads", "num_key_value_heads", NULL, LMF_HPARAM_I32, offsetof(hymba_config, n_kv_heads), 0, true },
    { "head_size", "kq_head_dim", NULL, LMF_HPARAM_I32, offsetof(hymba_config, head_size), 0, true },
    { "ffn", "intermediate_size", NULL, LMF_HPARAM_I32, offsetof(hymba_config, ffn), 0, true },
    { "n_state", "mamba_d_state", NULL, LMF_HPARAM_I32, offsetof(hymba_config, n_state), 16, false },
    { "dt_rank", "mamba_dt_rank", NULL, LMF_HPARAM_I32, offsetof(hymba_config, dt_rank), 100, false },
    { 0 }
};

#define L(role) "layers.{l}." role
#define HF(name) "model.layers.{l}." name ".weight"
#define IN(role, part, shape_text, flag) \
    { L(role), HF("mamba.in_proj"), NULL, shape_text, .hf_form = LMF_FORM_SLICE, .hf_part = part, .parts = "I,I,H*C,K*C,K*C", .flags = flag }
#define X(role, part, shape_text) { L(role), HF("mamba.x_proj"), NULL, shape_text, .hf_form = LMF_FORM_SLICE, .hf_part = part, .parts = "R,N,N" }
static const lmf_weight_row weights[] = {
    { "embed", "model.embed_tokens.weight", NULL, "V,D" },
    { "meta", "model.memory_tokens", NULL, "M,D" },
    { L("norm"), HF("input_layernorm"), NULL, "D", .flags = LMF_ROW_NO_QUANT },
    IN("ssm.x", 0, "I,D", 0), IN("ssm.gate", 1, "I,D", 0), IN("attn.q", 2, "H*C,D", 0),
    IN("attn.k", 3, "K*C,D", LMF_ROW_OPTIONAL), IN("attn.v", 4, "K*C,D", LMF_ROW_OPTIONAL), /* a layer that reuses its neighbour's has none */
    { L("ssm.conv"), HF("mamba.conv1d"), NULL, "I,W" },
    X("ssm.dt_low", 0, "R,I"), X("ssm.b", 1, "N,I"), X("ssm.c", 2, "N,I"),
    { L("ssm.dt"), HF("mamba.dt_proj"), NULL, "I,R" },
    { L("ssm.dt_bias"), "model.layers.{l}.mamba.dt_proj.bias", NULL, "I", .flags = LMF_ROW_NO_QUANT },
    { L("ssm.a"), "model.layers.{l}.mamba.A_log", NULL, "I,N", .flags = LMF_ROW_NO_QUANT },
    { L("ssm.d"), "model.layers.{l}.mamba.D", NULL, "I", .flags = LMF_ROW_NO_QUANT },
    { L("attn.norm"), HF("mamba.pre_avg_layernorm1"), NULL, "H*C", .flags = LMF_ROW_NO_QUANT },
    { L("ssm.norm"), HF("mamba.pre_avg_layernorm2"), NULL, "I", .flags = LMF_ROW_NO_QUANT },
    { L("attn.o"), HF("mamba.out_proj"), NULL, "D,I" },
    { L("mlp_norm"), HF("pre_ffn_layernorm"), NULL, "D", .flags = LMF_ROW_NO_QUANT },
    { L("mlp.gate"), HF("moe.experts.0.gate_proj"), NULL, "F,D" },
    { L("mlp.up"), HF("moe.experts.0.up_proj"), NULL, "F,D" },
    { L("mlp.down"), HF("moe.experts.0.down_proj"), NULL, "D,F" },
    { "norm", "model.final_layernorm.weight", NULL, "D", .flags = LMF_ROW_NO_QUANT },
    { 0 }
};

static int64_t dim(const void *config, char letter)
{
    const hymba_config *c = config;
    switch (letter) {
    case 'V': return c->base.vocab;
    case 'D': return c->base.width;
    case 'F': return c->ffn;
    case 'H': return c->n_heads;
    case 'K': return c->n_kv_heads;
    case 'C': return c->head_size;
    case 'I': return c->inner;
    case 'N': return c->n_state;
    case 'R': return c->dt_rank;
    case 'M': return META;
    case 'W': return TAPS;
    }
    return -1;
}

static lmf_status check(lmf_ctx *ctx, void *config)
{
    hymba_config *c = config;
    c->inner = 2 * c->base.width;
    return c->n_heads * c->head_size == c->inner ? LMF_OK : LMF_FAIL(ctx, LMF_E_FORMAT, "both branches must be of one width");
}

static bool is_global(int l) { return l == 0 || l == 15 || l == 31; }
static bool has_kv(int l) { return l % 2 == 0; } /* the other of a pair reads its neighbour's */

static lmf_layer_state state_of(const void *config, int layer)
{
    const hymba_config *c = config;
    return (lmf_layer_state){ .kv_width = has_kv(layer) ? 2 * (int64_t)c->n_kv_heads * c->head_size : 0,
                              .window = is_global(layer) ? 0 : WINDOW, .recurrent_bytes = (int64_t)c->inner * (c->n_state + TAPS - 1) * 4 };
}

static lmf_tensor *embed(lmf_graph *g, const lmf_batch *in)
{
    return lmf_add(g, lmf_embed(g, in->token, lmf_nn_weight(g, "embed", false)), lmf_embed(g, in->pos, lmf_nn_weight(g, "meta", false)));
}

static lmf_tensor *slot_state(lmf_graph *g, const lmf_batch *in, int l, const char *role, int64_t a, int64_t b)
{
    char name[64];
    snprintf(name, sizeof name, "layers.%d.%s", l, role);
    return lmf_graph_tensor(g, LMF_STATE, name, LMF_F32, 3, (int64_t[]){ in->slot->v.dim[0], a, b });
}

static lmf_tensor *mamba(lmf_graph *g, const lmf_batch *in, lmf_tensor *h, int l)
{
    const hymba_config *c = g->config;
    lmf_tensor *x = lmf_linear(g, h, "ssm.x"), *w = lmf_nn_weight(g, "ssm.conv", false);
    if (in->slot) {
        lmf_node *n = lmf_node_add(g, &conv_slot, NULL, (lmf_tensor *[]){ slot_state(g, in, l, "conv_state", TAPS - 1, c->inner), x, w, in->seq, in->q_start, in->slot }, 6);
        x = n ? n->out[1] : NULL;
    } else {
        x = lmf_node_add1(g, &conv, NULL, (lmf_tensor *[]){ x, w, in->seq, in->q_start }, 4);
    }
    lmf_tensor *dt = lmf_linear(g, lmf_linear(g, x, "ssm.dt_low"), "ssm.dt"), *b = lmf_linear(g, x, "ssm.b"), *cc = lmf_linear(g, x, "ssm.c");
    lmf_tensor *a = lmf_nn_weight(g, "ssm.a", false), *d = lmf_nn_weight(g, "ssm.d", false), *y;
    if (in->slot) {
        lmf_node *n = lmf_node_add(g, &scan_slot, NULL, (lmf_tensor *[]){ slot_state(g, in, l, "ssm_state", c->inner, c->n_state), x, dt, b, cc, a, d, in->seq, in->q_start, in->slot }, 10);
        y = n ? n->out[1] : NULL;
    } else {
        y = lmf_node_add1(g, &scan, NULL, (lmf_tensor *[]){ x, dt, b, cc, a, d, in->seq, in->q_start }, 8);
    }
    return lmf_swiglu(g, lmf_linear(g, h, "ssm.gate"), y);
}

static lmf_tensor *body(lmf_graph *g, const lmf_batch *in, lmf_tensor *x)
{
    const hymba_config *c = g->config;
    int64_t half = c->head_size / 2;
    float freq[64];
    for (int64_t i = 0; i < half; i++)
        freq[i] = (float)pow(10000, -(double)i / (double)half);
    lmf_tensor *f = lmf_graph_const(g, "rope_freq", LMF_F32, 1, &half, freq);
    lmf_rope_attrs rope = { .head_size = c->head_size, .n_rot = c->head_size, .scale = 1 };
    lmf_attention_attrs full = { c->n_heads, c->n_kv_heads, c->head_size, 0, 1 / sqrtf((float)c->head_size) };
    sink_attrs windowed = { c->n_heads, c->n_kv_heads, c->head_size, WINDOW, META, full.scale };
    lmf_kv kv = { NULL, NULL };
    for (int l = 0; l < c->base.n_layers; l++) {
        lmf_graph_block(g, l);
        lmf_tensor *h = lmf_rms_norm(g, x, lmf_nn_weight(g, "norm", false), 1e-6f), *q = lmf_rope(g, lmf_linear(g, h, "attn.q"), in->pos, f, rope);
        if (has_kv(l))
            kv = lmf_nn_kv(g, in, lmf_rope(g, lmf_linear(g, h, "attn.k"), in->pos, f, rope), lmf_linear(g, h, "attn.v"));
        lmf_tensor *o = is_global(l) ? lmf_nn_attend(g, in, q, kv, full)
                                     : lmf_node_add1(g, &sink, &windowed, (lmf_tensor *[]){ q, kv.k, kv.v, in->seq, in->page ? in->pos : in->q_start, in->page }, 6);
        o = lmf_rms_norm(g, o, lmf_nn_weight(g, "attn.norm", false), 1e-6f);
        lmf_tensor *s = lmf_rms_norm(g, mamba(g, in, h, l), lmf_nn_weight(g, "ssm.norm", false), 1e-6f);
        x = lmf_add(g, x, lmf_linear(g, lmf_add(g, o, s), "attn.o"));
        h = lmf_rms_norm(g, x, lmf_nn_weight(g, "mlp_norm", false), 1e-6f);
        x = lmf_add(g, x, lmf_linear(g, lmf_swiglu(g, lmf_linear(g, h, "mlp.gate"), lmf_linear(g, h, "mlp.up")), "mlp.down"));
    }
    lmf_graph_block(g, -1);
    return lmf_rms_norm(g, x, lmf_nn_weight(g, "norm", false), 1e-6f);
}

static void head(const void *config, lmf_head_spec *s) { (void)config, *s = (lmf_head_spec){ "embed", 1 }; }

static const lmf_arch hymba = {
    .name = "hymba", .hf_class = (const char *const[]){ "HymbaForCausalLM", NULL }, .hf_model_type = "hymba", .config_bytes = sizeof(hymba_config), .hparams = hparams,
    .weights = weights, .dim = dim, .check = check, .state = state_of, .embed = embed, .body = body, .head = head,
};

static void plans_for_serving_and_training(void **state)
{
    static arch_case a;
    hymba_config c = { .base = { LAYERS, 1600, 32001, 8192 }, .n_heads = 25, .n_kv_heads = 5, .head_size = 128, .ffn = 5504, .n_state = 16, .dt_rank = 100 };
    (void)state;
    memset(&a, 0, sizeof a);
    a = (arch_case){ .ctx = lmf_test_ctx(), .arch = &hymba, .config = &c };
    arch_fill(&a);
    assert_true(a.params.n_total > 1400000000 && a.params.n_total < 1700000000);
    arch_prove(&a, true);
    lmf_weights_destroy(a.weights);
    lmf_test_ctx_done(a.ctx);
}

/* in_proj holds five parts of three widths: each row's place, and tables that can't be. */
static void unequal_parts_have_their_place(void **state)
{
    hymba_config c = { .base = { LAYERS, 1600, 32001, 8192 }, .n_heads = 25, .n_kv_heads = 5, .head_size = 128, .inner = 3200, .n_state = 16, .dt_rank = 100 };
    static const struct { const char *role; int64_t rows, first, all; } want[] = {
        { L("ssm.x"), 3200, 0, 10880 }, { L("ssm.gate"), 3200, 3200, 10880 }, { L("attn.q"), 3200, 6400, 10880 }, { L("attn.k"), 640, 9600, 10880 },
        { L("attn.v"), 640, 10240, 10880 }, { L("ssm.dt_low"), 100, 0, 132 }, { L("ssm.b"), 16, 100, 132 }, { L("ssm.c"), 16, 116, 132 }, { "norm", 1600, 0, 1600 } };
    int64_t first, all;
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const lmf_weight_row *row = weights;
        while (strcmp(row->role, want[i].role))
            row++;
        assert_true(lmf_row_slice(&hymba, &c, row, want[i].rows, &first, &all));
        assert_int_equal(first, want[i].first);
        assert_int_equal(all, want[i].all);
    }
    lmf_weight_row bad = { .hf_form = LMF_FORM_SLICE, .hf_part = 3, .parts = "R,N,N" };
    assert_false(lmf_row_slice(&hymba, &c, &bad, 16, &first, &all)); /* there is no fourth part */
    bad.hf_part = 1;
    assert_false(lmf_row_slice(&hymba, &c, &bad, 17, &first, &all)); /* of another width */
    bad = (lmf_weight_row){ .hf_form = LMF_FORM_SLICE, .hf_part = 3, .hf_n_parts = 3 };
    assert_false(lmf_row_slice(&hymba, &c, &bad, 16, &first, &all));
}

LMF_TESTS(arch_hymba) = {
    { "plans for serving and training", plans_for_serving_and_training },
    { "unequal parts have their place", unequal_parts_have_their_place },
    { 0 }
};
