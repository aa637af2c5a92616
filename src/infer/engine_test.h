/* SPDX-License-Identifier: Apache-2.0 */
/* A tiny llama for tests of infer/: a GGUF of formula weights with a byte vocabulary, and an independent answer to compare with: the
 * whole sequence in one pass over this step's own rows, without pages, buckets or chunks. */
#ifndef LMF_INFER_ENGINE_TEST_H
#define LMF_INFER_ENGINE_TEST_H
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/philox.h"
#include "infer/engine.h"
#include "nn/nn.h"
#include "ops/matmul/matmul.h"
#include "text/tokenizer/tokenizer_test.h"

enum { TINY_LAYERS = 2, TINY_WIDTH = 32, TINY_HEADS = 4, TINY_KV_HEADS = 2, TINY_HEAD = 8, TINY_FFN = 48, TINY_CONTEXT = 320, TINY_VOCAB = 258,
       TINY_EOS = 257 };

typedef struct tiny_delta { /* added to a matrix: scale * b [N, r] a [r, K] */
    const char *gguf;
    const float *a, *b;
    int r;
    float scale;
} tiny_delta;
typedef struct tiny_spec { float norm; const tiny_delta *delta; int n_delta; } tiny_spec; /* norm: of the last norm's weights; 0: 1 */

/* Weight i of the tensor that is made as number `stream`. */
static inline float tiny_weight(uint32_t stream, int64_t i, float size) { return size * (2 * lmf_random_f32(7, 1, stream, (uint64_t)i) - 1); }

static inline lmf_status tiny_tensor(lmf_gguf_writer *w, lmf_ctx *ctx, const tiny_spec *spec, const char *name, uint32_t stream, int64_t rows, int64_t cols)
{
    int64_t n = (rows ? rows : 1) * cols;
    float *x = lmf_alloc(ctx, (size_t)n * sizeof *x);
    if (!x)
        return LMF_NO_MEMORY(ctx, n * 4, "a tensor");
    bool last_norm = strcmp(name, "output_norm.weight") == 0;
    for (int64_t i = 0; i < n; i++)
        x[i] = rows ? tiny_weight(stream, i, rows == TINY_VOCAB ? 1.0f : 0.4f) : last_norm && spec->norm != 0 ? spec->norm : 1 + tiny_weight(stream, i, 0.2f);
    for (int d = 0; d < spec->n_delta; d++)
        for (int64_t i = 0; strcmp(spec->delta[d].gguf, name) == 0 && i < n; i++)
            for (int r = 0; r < spec->delta[d].r; r++)
                x[i] += spec->delta[d].scale * spec->delta[d].b[i / cols * spec->delta[d].r + r] * spec->delta[d].a[r * cols + i % cols];
    lmf_status s = lmf_gguf_write(w, x, (size_t)n * sizeof *x);
    lmf_free(ctx, x, (size_t)n * sizeof *x);
    return s;
}

static inline lmf_status tiny_write(lmf_ctx *ctx, const char *path, const tiny_spec *spec)
{
    static const struct { const char *name; int64_t rows, cols; bool layered; } tensors[] = {
        { "token_embd.weight", TINY_VOCAB, TINY_WIDTH, false }, { "output_norm.weight", 0, TINY_WIDTH, false },
        { "attn_norm.weight", 0, TINY_WIDTH, true }, { "ffn_norm.weight", 0, TINY_WIDTH, true },
        { "attn_q.weight", TINY_HEADS * TINY_HEAD, TINY_WIDTH, true }, { "attn_k.weight", TINY_KV_HEADS * TINY_HEAD, TINY_WIDTH, true },
        { "attn_v.weight", TINY_KV_HEADS * TINY_HEAD, TINY_WIDTH, true }, { "attn_output.weight", TINY_WIDTH, TINY_HEADS * TINY_HEAD, true },
        { "ffn_gate.weight", TINY_FFN, TINY_WIDTH, true }, { "ffn_up.weight", TINY_FFN, TINY_WIDTH, true }, { "ffn_down.weight", TINY_WIDTH, TINY_FFN, true } };
    static const struct { const char *key; uint32_t v; } ints[] = {
        { "llama.block_count", TINY_LAYERS }, { "llama.embedding_length", TINY_WIDTH }, { "llama.context_length", TINY_CONTEXT },
        { "llama.attention.head_count", TINY_HEADS }, { "llama.attention.head_count_kv", TINY_KV_HEADS }, { "llama.feed_forward_length", TINY_FFN },
        { "tokenizer.ggml.eos_token_id", TINY_EOS } };
    static const char template[] = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
                                   "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    test_vocab v;
    lmf_bytes token[TINY_VOCAB];
    int32_t kind[TINY_VOCAB];
    char name[80];
    lmf_gguf_writer *w = NULL;
    test_vocab_init(&v, "gpt-2");
    test_vocab_add(&v, "<|im_start|>", LMF_TOKEN_CONTROL, 0);
    test_vocab_add(&v, "<|im_end|>", LMF_TOKEN_CONTROL, 0);
    for (int i = 0; i < TINY_VOCAB; i++) {
        token[i] = (lmf_bytes){ v.token[i], strlen(v.token[i]) };
        kind[i] = v.kind[i];
    }
    lmf_status s = lmf_gguf_writer_create(ctx, path, &w);
    if (!s) {
        lmf_gguf_put_text(w, "general.architecture", "llama");
        for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
            lmf_gguf_put_u32(w, ints[i].key, ints[i].v);
        lmf_gguf_put_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5F);
        lmf_gguf_put_text(w, "tokenizer.ggml.model", "gpt2");
        lmf_gguf_put_text(w, "tokenizer.ggml.pre", "gpt-2");
        lmf_gguf_put_strings(w, "tokenizer.ggml.tokens", token, TINY_VOCAB);
        lmf_gguf_put_i32s(w, "tokenizer.ggml.token_type", kind, TINY_VOCAB);
        lmf_gguf_put_text(w, "tokenizer.chat_template", template);
    }
    for (int write = 0; write < 2 && !s; write++) {
        uint32_t stream = 0;
        if (write)
            s = lmf_gguf_begin(w);
        for (size_t i = 0; i < sizeof tensors / sizeof *tensors && !s; i++)
            for (int l = 0; l < (tensors[i].layered ? TINY_LAYERS : 1) && !s; l++, stream++) {
                int64_t rows = tensors[i].rows, cols = tensors[i].cols;
                if (tensors[i].layered)
                    snprintf(name, sizeof name, "blk.%d.%s", l, tensors[i].name);
                else
                    snprintf(name, sizeof name, "%s", tensors[i].name);
                s = write ? tiny_tensor(w, ctx, spec, name, stream, rows, cols)
                          : lmf_gguf_add_tensor(w, name, LMF_F32, rows ? (int64_t[]){ rows, cols } : &cols, rows ? 2 : 1);
            }
    }
    if (!s)
        s = lmf_gguf_commit(w);
    lmf_gguf_writer_destroy(w);
    return s;
}

/* A tiny model, opened; the file lies in the test's folder. */
static inline lmf_model *tiny_open(lmf_ctx *ctx, const char *name, const tiny_spec *spec)
{
    static const tiny_spec plain = { 0 };
    lmf_model *m;
    const char *path = lmf_test_path(name);
    assert_ok(ctx, tiny_write(ctx, path, spec ? spec : &plain));
    assert_ok(ctx, lmf_model_open(ctx, path, &m));
    return m;
}

static inline lmf_engine *tiny_engine(lmf_ctx *ctx, const lmf_model *m, int max_seqs, int chunk, int page_size)
{
    lmf_engine *e;
    lmf_engine_opts o = lmf_engine_opts_default();
    o.max_seqs = max_seqs, o.prefill_chunk = chunk, o.page_size = page_size, o.compute = 0, o.score = true;
    assert_ok(ctx, lmf_engine_create(ctx, m, &o, &e));
    return e;
}

/* Token i of the prompt that is number k. */
static inline int32_t tiny_token(int k, int i) { return (int32_t)lmf_random_u32(99, 0, (uint32_t)k, (uint64_t)i) & 255; }
static inline void tiny_prompt(int32_t *tok, int k, int n)
{
    for (int i = 0; i < n; i++)
        tok[i] = tiny_token(k, i);
}

/* logits [n, V] of the whole sequence in one pass. */
static inline void tiny_logits(lmf_ctx *ctx, const lmf_model *m, const int32_t *tok, int64_t n, float *logits)
{
    lmf_device *dev;
    lmf_graph *g;
    lmf_plan *plan;
    lmf_nn nn = { .weights = m->weights };
    int64_t two = 2;
    assert_ok(ctx, lmf_device_open(ctx, "cpu", &dev));
    assert_ok(ctx, lmf_graph_create(ctx, &g));
    g->device = dev;
    g->config = m->config;
    g->user = &nn;
    lmf_batch in = { .token = lmf_graph_tensor(g, LMF_INPUT, "token", LMF_I32, 1, &n), .pos = lmf_graph_tensor(g, LMF_INPUT, "pos", LMF_I32, 1, &n),
                     .seq = lmf_graph_tensor(g, LMF_INPUT, "seq", LMF_I32, 1, &n), .q_start = lmf_graph_tensor(g, LMF_INPUT, "q_start", LMF_I32, 1, &two) };
    lmf_tensor *x = m->arch->body(g, &in, m->arch->embed(g, &in));
    lmf_graph_output(g, "logits", lmf_matmul_nt(g, x, lmf_nn_weight(g, "head", false)));
    assert_ok(ctx, lmf_graph_finish(g));
    assert_ok(ctx, lmf_plan_create(dev, &g, 1, NULL, &plan));
    assert_ok(ctx, lmf_plan_bind(plan, (lmf_weights *[]){ m->weights }, 1));
    memcpy(lmf_plan_io(plan, 0, "token"), tok, (size_t)n * sizeof *tok);
    for (int64_t t = 0; t < n; t++)
        ((int32_t *)lmf_plan_io(plan, 0, "pos"))[t] = (int32_t)t;
    ((int32_t *)lmf_plan_io(plan, 0, "q_start"))[1] = (int32_t)n;
    assert_ok(ctx, lmf_plan_run(plan, 0));
    memcpy(logits, lmf_plan_io(plan, 0, "logits"), (size_t)(n * TINY_VOCAB) * sizeof *logits);
    lmf_plan_destroy(plan);
    lmf_graph_destroy(g);
    lmf_device_close(dev);
}

static inline double tiny_logp(const float *row, int32_t id)
{
    double top = row[0], sum = 0;
    for (int i = 1; i < TINY_VOCAB; i++)
        top = fmax(top, (double)row[i]);
    for (int i = 0; i < TINY_VOCAB; i++)
        sum += exp((double)row[i] - top);
    return (double)row[id] - top - log(sum);
}

/* Steps until nothing is left to do; gives up after 10000 steps. */
static inline void run_all(lmf_ctx *ctx, lmf_engine *e)
{
    int live = 1;
    for (int i = 0; live; i++) {
        assert_true(i < 10000);
        assert_ok(ctx, lmf_engine_step(e, &live));
    }
}

/* All that is unread, at most cap. */
static inline int read_all(lmf_ctx *ctx, lmf_session *s, lmf_token *tok, int cap)
{
    int n = 0, k = 1;
    while (k && n < cap) {
        assert_ok(ctx, lmf_session_read(s, tok + n, cap - n, &k));
        n += k;
    }
    return n;
}

/* A session on prompt k of n tokens, queued for n_new tokens. */
static inline lmf_session *start(lmf_ctx *ctx, lmf_engine *e, int k, int n, int n_new, float temperature)
{
    int32_t tok[TINY_CONTEXT];
    lmf_session *s;
    lmf_gen_opts gen = lmf_gen_opts_default();
    gen.max_tok = n_new, gen.ignore_eos = true, gen.temperature = temperature, gen.seed = (uint64_t)k + 5;
    tiny_prompt(tok, k, n);
    assert_ok(ctx, lmf_session_create(e, NULL, &s));
    assert_ok(ctx, lmf_session_append(s, tok, n, NULL));
    assert_ok(ctx, lmf_session_generate(s, &gen));
    return s;
}

#endif
