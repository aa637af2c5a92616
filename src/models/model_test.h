/* SPDX-License-Identifier: Apache-2.0 */
/* A tiny llama of formula weights as a GGUF file and as a Hugging Face folder, with one thing wrong on demand. */
#ifndef LMF_MODELS_MODEL_TEST_H
#define LMF_MODELS_MODEL_TEST_H
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/philox.h"
#include "format/hf_json.h"
#include "graph/plan.h"
#include "models/model.h"
#include "nn/nn.h"
#include "ops/matmul/matmul.h"
#include "test.h"
#include "text/tokenizer/tokenizer_test.h"

enum { M_LAYERS = 2, M_WIDTH = 16, M_HEADS = 2, M_KV = 1, M_HEAD = 8, M_FFN = 24, M_VOCAB = 258, M_CONTEXT = 64, M_LAYER_TENSORS = 9,
       M_TENSORS = 3 + M_LAYERS * M_LAYER_TENSORS };

typedef enum fault { NO_FAULT, MISSING, MORE_ROWS, SWAPPED, FLAT, NOT_FINITE, INTEGERS, SCALAR, SIX_DIMS, NO_ROWS } fault;
typedef enum how { AS_IS, DROPPED, ZERO, MINUS_ONE, TWO_31, TWO_63, HALF, TEXT } how;
typedef struct wrong {
    const char *tensor; fault fault;  /* GGUF name */
    const char *key; how how;         /* of GGUF or config.json */
    const char *arch;                 /* instead of llama */
    int         n_tokens;             /* instead of M_VOCAB */
    int64_t     rows;                 /* of the embedding, instead of M_VOCAB */
    int         n_types;              /* entries of token_type, instead of n_tokens */
    int32_t     bos;
    const char *more_key, *more_value; /* a pair more; the value as JSON (GGUF: a number, text, true or false) */
    const char *more_tensor;          /* a tensor more, [M_WIDTH] */
    int         no_arch;              /* config.json names no class */
} wrong;

typedef struct model_tensor { char gguf[64], hf[96]; int64_t rows, cols; int number, heads; } model_tensor; /* rows 0: a vector; heads: permuted in GGUF */

static inline model_tensor model_tensor_at(int i)
{
    static const struct { const char *gguf, *hf; int64_t rows, cols; int heads; } outer[] = {
        { "token_embd", "model.embed_tokens", M_VOCAB, M_WIDTH, 0 }, { "output_norm", "model.norm", 0, M_WIDTH, 0 }, { "output", "lm_head", M_VOCAB, M_WIDTH, 0 } },
    inner[] = {
        { "attn_norm", "input_layernorm", 0, M_WIDTH, 0 }, { "attn_q", "self_attn.q_proj", M_HEADS * M_HEAD, M_WIDTH, M_HEADS },
        { "attn_k", "self_attn.k_proj", M_KV * M_HEAD, M_WIDTH, M_KV }, { "attn_v", "self_attn.v_proj", M_KV * M_HEAD, M_WIDTH, 0 },
        { "attn_output", "self_attn.o_proj", M_WIDTH, M_HEADS * M_HEAD, 0 }, { "ffn_norm", "post_attention_layernorm", 0, M_WIDTH, 0 },
        { "ffn_gate", "mlp.gate_proj", M_FFN, M_WIDTH, 0 }, { "ffn_up", "mlp.up_proj", M_FFN, M_WIDTH, 0 }, { "ffn_down", "mlp.down_proj", M_WIDTH, M_FFN, 0 } };
    model_tensor t = { .number = i };
    int l = (i - 3) / M_LAYER_TENSORS, k = i < 3 ? i : (i - 3) % M_LAYER_TENSORS;
    if (i < 3) {
        snprintf(t.gguf, sizeof t.gguf, "%s.weight", outer[k].gguf);
        snprintf(t.hf, sizeof t.hf, "%s.weight", outer[k].hf);
        t.rows = outer[k].rows, t.cols = outer[k].cols;
    } else {
        snprintf(t.gguf, sizeof t.gguf, "blk.%d.%s.weight", l, inner[k].gguf);
        snprintf(t.hf, sizeof t.hf, "model.layers.%d.%s.weight", l, inner[k].hf);
        t.rows = inner[k].rows, t.cols = inner[k].cols, t.heads = inner[k].heads;
    }
    return t;
}

/* Dims that are stored; the fault of w is in them if it is this tensor's. */
static inline int model_stored_dims(const model_tensor *t, const wrong *w, int64_t *dim)
{
    bool mine = w->tensor && strcmp(w->tensor, t->gguf) == 0;
    int64_t rows = t->number == 0 && w->rows ? w->rows : t->number == 2 && w->rows ? w->rows : t->rows;
    int n = rows ? 2 : 1;
    dim[0] = rows ? rows : t->cols, dim[1] = t->cols;
    if (!mine)
        return n;
    switch (w->fault) {
    case MORE_ROWS: dim[0]++; break;
    case SWAPPED: dim[0] = n == 2 ? t->cols : dim[0] + 8, dim[1] = rows; break;
    case FLAT: dim[0] = n == 2 ? rows * t->cols : dim[0], dim[1] = 1, n = n == 2 ? 1 : 2; break;
    case SCALAR: n = 0; break;
    case NO_ROWS: dim[0] = 0; break;
    case SIX_DIMS: dim[5] = n == 2 ? dim[1] : dim[0], dim[4] = n == 2 ? dim[0] : 1, dim[0] = dim[1] = dim[2] = dim[3] = 1, n = 6; break;
    default: break;
    }
    return n;
}

/* Element k of the stored tensor of n elements. */
static inline void model_fill(const model_tensor *t, const wrong *w, bool gguf, float *x, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        int64_t row = k / t->cols, from = row;
        if (gguf && t->heads && row < t->rows) { /* neighbours in the file are half a head apart in the graph */
            int64_t size = t->rows / t->heads, at = row % size;
            from = row - at + at / 2 + at % 2 * (size / 2);
        }
        float u = 2 * lmf_random_f32(3, 0, (uint32_t)t->number, (uint64_t)(from * t->cols + k % t->cols)) - 1;
        x[k] = t->rows ? u * 0.5f : 1 + 0.2f * u;
    }
    if (w->tensor && strcmp(w->tensor, t->gguf) == 0 && w->fault == NOT_FINITE)
        x[n - 1] = n % 2 ? INFINITY : NAN;
}

static inline void model_put_number(lmf_gguf_writer *out, const wrong *w, const char *key, uint32_t v)
{
    how h = w->key && strcmp(w->key, key) == 0 ? w->how : AS_IS;
    bool real = strstr(key, "eps") || strstr(key, "freq_base") || strstr(key, "factor");
    switch (h) {
    case AS_IS: real ? lmf_gguf_put_f32(out, key, v == 1 ? 1e-5f : (float)v) : lmf_gguf_put_u32(out, key, v); break;
    case ZERO: real ? lmf_gguf_put_f32(out, key, 0) : lmf_gguf_put_u32(out, key, 0); break;
    case MINUS_ONE: real ? lmf_gguf_put_f32(out, key, -1) : lmf_gguf_put_i32(out, key, -1); break;
    case TWO_31: real ? lmf_gguf_put_f32(out, key, 0x1p31f) : lmf_gguf_put_u32(out, key, UINT32_C(1) << 31); break;
    case TWO_63: real ? lmf_gguf_put_f32(out, key, INFINITY) : lmf_gguf_put_u64(out, key, UINT64_C(1) << 63); break;
    case HALF: lmf_gguf_put_f32(out, key, 2.5f); break;
    case TEXT: lmf_gguf_put_text(out, key, "many"); break;
    case DROPPED: break;
    }
}

static inline void model_put_more(lmf_gguf_writer *out, const wrong *w)
{
    json_t *v = w->more_key ? json_loads(w->more_value, JSON_DECODE_ANY, NULL) : NULL;
    if (json_is_boolean(v))
        lmf_gguf_put_bool(out, w->more_key, json_is_true(v));
    else if (json_is_string(v))
        lmf_gguf_put_text(out, w->more_key, json_string_value(v));
    else if (json_is_real(v))
        lmf_gguf_put_f32(out, w->more_key, (float)json_real_value(v));
    else if (v)
        lmf_gguf_put_u32(out, w->more_key, (uint32_t)json_integer_value(v));
    json_decref(v);
}

static inline lmf_status model_write_gguf(lmf_ctx *ctx, const char *path, const wrong *w)
{
    enum { MAX_TOKENS = 300 };
    static const struct { const char *key; uint32_t v; } keys[] = {
        { "llama.block_count", M_LAYERS }, { "llama.embedding_length", M_WIDTH }, { "llama.context_length", M_CONTEXT }, { "llama.attention.head_count", M_HEADS },
        { "llama.attention.head_count_kv", M_KV }, { "llama.feed_forward_length", M_FFN }, { "llama.attention.key_length", M_HEAD }, { "llama.vocab_size", M_VOCAB },
        { "llama.rope.dimension_count", M_HEAD }, { "llama.attention.layer_norm_rms_epsilon", 1 }, { "llama.rope.freq_base", 10000 } };
    test_vocab v;
    lmf_bytes token[MAX_TOKENS];
    int32_t kind[MAX_TOKENS];
    int n_tokens = w->n_tokens ? w->n_tokens : M_VOCAB;
    lmf_gguf_writer *out = NULL;
    test_vocab_init(&v, "gpt-2");
    for (int i = 256; i < n_tokens; i++) {
        char text[16];
        snprintf(text, sizeof text, "<|%d|>", i);
        test_vocab_add(&v, text, LMF_TOKEN_CONTROL, 0);
    }
    for (int i = 0; i < n_tokens; i++)
        token[i] = (lmf_bytes){ v.token[i], strlen(v.token[i]) }, kind[i] = v.kind[i];
    LMF_TRY(lmf_gguf_writer_create(ctx, path, &out));
    if (!w->arch || w->arch[0])
        lmf_gguf_put_text(out, "general.architecture", w->arch ? w->arch : "llama");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        model_put_number(out, w, keys[i].key, keys[i].v);
    if (w->key && strstr(w->key, "scaling.factor"))
        model_put_number(out, w, w->key, 2);
    model_put_more(out, w);
    lmf_gguf_put_text(out, "tokenizer.ggml.model", "gpt2");
    lmf_gguf_put_text(out, "tokenizer.ggml.pre", "gpt-2");
    lmf_gguf_put_strings(out, "tokenizer.ggml.tokens", token, (size_t)n_tokens);
    lmf_gguf_put_i32s(out, "tokenizer.ggml.token_type", kind, (size_t)(w->n_types ? w->n_types : n_tokens));
    lmf_gguf_put_i32(out, "tokenizer.ggml.bos_token_id", w->bos ? w->bos : 256);
    lmf_gguf_put_u32(out, "tokenizer.ggml.eos_token_id", 257);
    lmf_status s = LMF_OK;
    float x[1500 * M_WIDTH];
    for (int write = 0; write < 2 && !s; write++) {
        s = write ? lmf_gguf_begin(out) : LMF_OK;
        for (int i = 0; i < M_TENSORS && !s; i++) {
            model_tensor t = model_tensor_at(i);
            int64_t dim[8], n = 1;
            bool mine = w->tensor && strcmp(w->tensor, t.gguf) == 0;
            int n_dims = model_stored_dims(&t, w, dim);
            if (mine && w->fault == MISSING)
                continue;
            for (int k = 0; k < n_dims; k++)
                n *= dim[k];
            LMF_ASSERT(n <= 1500 * M_WIDTH);
            model_fill(&t, w, true, x, n);
            s = write ? lmf_gguf_write(out, x, (size_t)n * sizeof *x)
                      : lmf_gguf_add_tensor(out, t.gguf, mine && w->fault == INTEGERS ? LMF_I32 : LMF_F32, dim, n_dims);
        }
        if (w->more_tensor && !s) {
            for (int k = 0; k < M_WIDTH; k++)
                x[k] = 1;
            s = write ? lmf_gguf_write(out, x, M_WIDTH * sizeof *x) : lmf_gguf_add_tensor(out, w->more_tensor, LMF_F32, (int64_t[]){ M_WIDTH }, 1);
        }
    }
    s = s ? s : lmf_gguf_commit(out);
    lmf_gguf_writer_destroy(out);
    return s;
}

/* A value of config.json, changed if w says so; NULL: dropped. */
static inline void model_set(json_t *root, const wrong *w, const char *key, json_t *v)
{
    how h = w->key && strcmp(w->key, key) == 0 ? w->how : AS_IS;
    json_t *other = h == ZERO ? json_integer(0) : h == MINUS_ONE ? json_integer(-1) : h == TWO_31 ? json_integer((json_int_t)1 << 31) :
                    h == TWO_63 ? json_real(0x1p63) : h == HALF ? json_real(2.5) : h == TEXT ? json_string("many") : NULL;
    if (h != AS_IS)
        json_decref(v);
    if (h != DROPPED)
        json_object_set_new(root, key, h == AS_IS ? v : other);
}

static inline lmf_status model_write_json(lmf_ctx *ctx, const char *dir, const wrong *w)
{
    static const struct { const char *key; int v; } keys[] = {
        { "num_hidden_layers", M_LAYERS }, { "hidden_size", M_WIDTH }, { "max_position_embeddings", M_CONTEXT }, { "num_attention_heads", M_HEADS },
        { "num_key_value_heads", M_KV }, { "intermediate_size", M_FFN }, { "head_dim", M_HEAD }, { "vocab_size", M_VOCAB } };
    char path[600];
    json_t *c = json_pack("{s:[s],s:s,s:i,s:i,s:s}", "architectures", w->arch ? w->arch : "LlamaForCausalLM", "model_type", "llama", "bos_token_id", 256, "eos_token_id", 257,
                          "hidden_act", "silu");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        model_set(c, w, keys[i].key, json_integer(keys[i].v));
    model_set(c, w, "rms_norm_eps", json_real(1e-5));
    model_set(c, w, "rope_theta", json_real(10000));
    if (w->more_key)
        json_object_set_new(c, w->more_key, json_loads(w->more_value, JSON_DECODE_ANY, NULL));
    if (w->no_arch)
        json_object_del(c, "architectures");
    snprintf(path, sizeof path, "%s/config.json", dir);
    lmf_status s = lmf_json_save(ctx, path, c);
    json_decref(c);
    test_vocab v;
    test_vocab_init(&v, "gpt-2");
    json_t *vocab = json_object(), *added = json_array();
    for (int i = 0; i < 256; i++)
        json_object_set_new(vocab, v.token[i], json_integer(i));
    for (int i = 256; i < (w->n_tokens ? w->n_tokens : M_VOCAB); i++) {
        char text[16];
        snprintf(text, sizeof text, "<|%d|>", i);
        json_array_append_new(added, json_pack("{s:i,s:s,s:b,s:b,s:b,s:b,s:b}", "id", i, "content", text, "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1));
    }
    json_t *t = json_pack("{s:s,s:o,s:n,s:{s:s,s:b,s:b,s:b},s:n,s:n,s:{s:s,s:n,s:n,s:n,s:n,s:b,s:b,s:o,s:[]}}", "version", "1.0", "added_tokens", added, "normalizer",
                          "pre_tokenizer", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1, "post_processor", "decoder",
                          "model", "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0, "vocab", vocab, "merges");
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    s = s ? s : lmf_json_save(ctx, path, t);
    json_decref(t);
    t = json_pack("{s:s,s:s}", "bos_token", "<|256|>", "eos_token", "<|257|>");
    snprintf(path, sizeof path, "%s/tokenizer_config.json", dir);
    s = s ? s : lmf_json_save(ctx, path, t);
    json_decref(t);
    return s;
}

static inline lmf_status model_write_hf(lmf_ctx *ctx, const char *dir, const wrong *w)
{
    char path[600];
    float x[1500 * M_WIDTH];
    lmf_safetensors_writer *out = NULL;
    mkdir(dir, 0777);
    LMF_TRY(model_write_json(ctx, dir, w));
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    LMF_TRY(lmf_safetensors_writer_create(ctx, path, &out));
    int declared[M_TENSORS], n_declared = 0;
    lmf_status s = LMF_OK;
    for (int i = 0; i < M_TENSORS && !s; i++) {
        model_tensor t = model_tensor_at(i);
        int64_t dim[8];
        bool mine = w->tensor && strcmp(w->tensor, t.gguf) == 0;
        int n_dims = model_stored_dims(&t, w, dim);
        if (mine && w->fault == MISSING)
            continue;
        declared[n_declared++] = i;
        s = lmf_safetensors_add(out, t.hf, mine && w->fault == INTEGERS ? LMF_I32 : LMF_F32, dim, n_dims);
    }
    if (w->more_tensor && !s)
        s = lmf_safetensors_add(out, w->more_tensor, LMF_F32, (int64_t[]){ M_WIDTH }, 1);
    s = s ? s : lmf_safetensors_begin(out);
    for (int64_t at; !s && (at = lmf_safetensors_writer_next(out)) >= 0;) {
        if (at == n_declared) {
            for (int k = 0; k < M_WIDTH; k++)
                x[k] = 1;
            s = lmf_safetensors_write(out, x, M_WIDTH * sizeof *x);
            continue;
        }
        model_tensor t = model_tensor_at(declared[at]);
        int64_t dim[8], n = 1;
        int n_dims = model_stored_dims(&t, w, dim);
        for (int k = 0; k < n_dims; k++)
            n *= dim[k];
        model_fill(&t, w, false, x, n);
        s = lmf_safetensors_write(out, x, (size_t)n * sizeof *x);
    }
    s = s ? s : lmf_safetensors_commit(out);
    lmf_safetensors_writer_destroy(out);
    return s;
}

/* logits [n, V] of one sequence in one pass. */
static inline lmf_status model_logits(lmf_ctx *ctx, lmf_model *m, const int32_t *tok, int64_t n, float *logits)
{
    lmf_device *dev = NULL;
    lmf_graph *g = NULL;
    lmf_plan *plan = NULL;
    lmf_nn nn = { .weights = m->weights };
    int64_t two = 2;
    lmf_status s;
    LMF_TRY_TO(done, lmf_device_open(ctx, "cpu", &dev));
    LMF_TRY_TO(done, lmf_graph_create(ctx, &g));
    g->device = dev, g->config = m->config, g->user = &nn;
    lmf_batch in = { .token = lmf_graph_tensor(g, LMF_INPUT, "token", LMF_I32, 1, &n), .pos = lmf_graph_tensor(g, LMF_INPUT, "pos", LMF_I32, 1, &n),
                     .seq = lmf_graph_tensor(g, LMF_INPUT, "seq", LMF_I32, 1, &n), .q_start = lmf_graph_tensor(g, LMF_INPUT, "q_start", LMF_I32, 1, &two) };
    lmf_tensor *x = m->arch->body(g, &in, m->arch->embed(g, &in));
    lmf_graph_output(g, "logits", lmf_matmul_nt(g, x, lmf_nn_weight(g, "head", false)));
    LMF_TRY_TO(done, lmf_graph_finish(g));
    LMF_TRY_TO(done, lmf_plan_create(dev, &g, 1, NULL, &plan));
    LMF_TRY_TO(done, lmf_plan_bind(plan, (lmf_weights *[]){ m->weights }, 1));
    memcpy(lmf_plan_io(plan, 0, "token"), tok, (size_t)n * sizeof *tok);
    for (int64_t t = 0; t < n; t++)
        ((int32_t *)lmf_plan_io(plan, 0, "pos"))[t] = (int32_t)t;
    ((int32_t *)lmf_plan_io(plan, 0, "q_start"))[1] = (int32_t)n;
    LMF_TRY_TO(done, lmf_plan_run(plan, 0));
    memcpy(logits, lmf_plan_io(plan, 0, "logits"), (size_t)(n * lmf_model_config(m)->vocab) * sizeof *logits);
done:
    lmf_plan_destroy(plan);
    lmf_graph_destroy(g);
    lmf_device_close(dev);
    return s;
}

#endif
