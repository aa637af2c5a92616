/* SPDX-License-Identifier: Apache-2.0 */
#include "model_test.h"
#include "base/file.h"
#include "format/forms.h"

enum { N_TOK = 9 };
static const int32_t prompt[N_TOK] = { 256, 5, 77, 200, 5, 5, 31, 0, 255 };
static const wrong nothing_wrong = { 0 };

static void both_forms_give_equal_bits(void **state)
{
    static float a[N_TOK * M_VOCAB], b[N_TOK * M_VOCAB];
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *gguf, *hf;
    const char *file = lmf_test_path("tiny.gguf"), *dir = lmf_test_path("tiny");
    assert_ok(ctx, model_write_gguf(ctx, file, &nothing_wrong));
    assert_ok(ctx, model_write_hf(ctx, dir, &nothing_wrong));
    assert_ok(ctx, lmf_model_open(ctx, file, &gguf));
    assert_ok(ctx, lmf_model_open(ctx, dir, &hf));
    assert_ok(ctx, model_logits(ctx, gguf, prompt, N_TOK, a));
    assert_ok(ctx, model_logits(ctx, hf, prompt, N_TOK, b));
    assert_memory_equal(a, b, sizeof a);
    float most = 0;
    for (int i = 0; i < N_TOK * M_VOCAB; i++)
        most = fmaxf(most, fabsf(a[i]));
    assert_true(most > 0.5f && isfinite(most));
    assert_int_equal(gguf->n_params, hf->n_params);
    assert_int_equal(gguf->vocab.bos, 256);
    assert_int_equal(hf->vocab.bos, 256);
    assert_int_equal(hf->chat.eos[0], 257);
    int layer;
    assert_string_equal(lmf_model_row(hf, "layers.1.attn.k", &layer)->shape, "K*C,D");
    assert_int_equal(layer, 1);
    assert_null(lmf_model_row(hf, "layers.1.attn.z", &layer));
    lmf_model_close(gguf);
    lmf_model_close(hf);
    lmf_test_ctx_done(ctx);
}

/* Opens what w makes in both forms or one; a refusal must be one, with a sentence that holds the words. */
static void assert_open_refused(const wrong *w, bool hf, lmf_status want, const char *words)
{
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m;
    const char *path = lmf_test_path(hf ? "bad" : "bad.gguf");
    assert_ok(ctx, hf ? model_write_hf(ctx, path, w) : model_write_gguf(ctx, path, w));
    lmf_status s = lmf_model_open(ctx, path, &m);
    if (s != want && !(want == LMF_OK && s))
        fail_msg("%s, tensor %s fault %d, key %s how %d: %s, \"%s\"", hf ? "folder" : "file", w->tensor ? w->tensor : "-", w->fault, w->key ? w->key : "-", w->how,
                 lmf_status_name(s), lmf_error(ctx));
    if (!strstr(lmf_error(ctx), words) || !strstr(lmf_error(ctx), path))
        fail_msg("\"%s\" does not say \"%s\" and the path", lmf_error(ctx), words);
    assert_null(m);
    lmf_test_ctx_done(ctx);
}

static void refuses_bad_tensors(void **state)
{
    (void)state;
    for (int i = 0; i < M_TENSORS; i++) {
        model_tensor t = model_tensor_at(i);
        for (int hf = 0; hf < 2; hf++) {
            const char *name = hf ? t.hf : t.gguf;
            wrong w = { .tensor = t.gguf };
            if (i != 2 && i != 0) { /* without one of the two the model is tied */
                w.fault = MISSING;
                assert_open_refused(&w, hf, LMF_E_NOT_FOUND, name);
            }
            if (i != 0 || hf) { /* GGUF: the embedding's rows are the vocabulary */
                w.fault = MORE_ROWS;
                assert_open_refused(&w, hf, LMF_E_SHAPE, name);
            }
            w.fault = NOT_FINITE;
            assert_open_refused(&w, hf, LMF_E_FORMAT, "not finite");
            w.fault = INTEGERS;
            assert_open_refused(&w, hf, LMF_E_UNSUPPORTED, name);
            w.fault = FLAT;
            assert_open_refused(&w, hf, LMF_E_SHAPE, name);
            if (t.rows != t.cols && (i || hf)) {
                w.fault = SWAPPED;
                assert_open_refused(&w, hf, LMF_E_SHAPE, name);
            }
            for (fault f = SCALAR; hf && f <= NO_ROWS; f++) {
                w.fault = f;
                assert_open_refused(&w, true, LMF_E_SHAPE, name);
            }
        }
    }
}

/* Every key, with values that no model has. What may pass is listed: it must then compute finite numbers. */
static void refuses_bad_numbers(void **state)
{
    static const struct { const char *gguf, *hf; how fine[5]; } keys[] = {
        { "llama.block_count", "num_hidden_layers", { AS_IS } },
        { "llama.embedding_length", "hidden_size", { AS_IS } },
        { "llama.context_length", "max_position_embeddings", { DROPPED, AS_IS } },
        { "llama.attention.head_count", "num_attention_heads", { AS_IS } },
        { "llama.attention.head_count_kv", "num_key_value_heads", { AS_IS } },
        { "llama.feed_forward_length", "intermediate_size", { AS_IS } },
        { "llama.attention.key_length", "head_dim", { ZERO, DROPPED, AS_IS } },         /* 0: width / heads */
        { "llama.rope.dimension_count", NULL, { ZERO, DROPPED, AS_IS } },               /* 0: not said */
        { "llama.vocab_size", NULL, { ZERO, MINUS_ONE, DROPPED, AS_IS } },              /* the embedding's rows count */
        { NULL, "vocab_size", { AS_IS } },
        { "llama.attention.layer_norm_rms_epsilon", "rms_norm_eps", { AS_IS } },
        { "llama.rope.freq_base", "rope_theta", { TWO_31, HALF, DROPPED, AS_IS } },
        { "llama.rope.scaling.factor", NULL, { DROPPED, AS_IS } },                      /* a factor needs a type */
    };
    static float logits[N_TOK * M_VOCAB];
    (void)state;
    int n_refused = 0, n_fine = 0;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        for (how h = DROPPED; h <= TEXT; h++)
            for (int hf = 0; hf < 2; hf++) {
                wrong w = { .key = hf ? keys[i].hf : keys[i].gguf, .how = h };
                bool fine = hf && h == TWO_63 && keys[i].fine[0] == TWO_31; /* 2^63 is a fine f32 there */
                for (const how *f = keys[i].fine; *f != AS_IS; f++)
                    fine |= *f == h;
                if (!w.key)
                    continue;
                if (!fine) {
                    assert_open_refused(&w, hf, LMF_OK, "");
                    n_refused++;
                    continue;
                }
                lmf_ctx *ctx = lmf_test_ctx();
                lmf_model *m;
                const char *path = lmf_test_path(hf ? "odd" : "odd.gguf");
                assert_ok(ctx, hf ? model_write_hf(ctx, path, &w) : model_write_gguf(ctx, path, &w));
                assert_ok(ctx, lmf_model_open(ctx, path, &m));
                assert_ok(ctx, model_logits(ctx, m, prompt, N_TOK, logits));
                for (int k = 0; k < N_TOK * M_VOCAB; k++)
                    assert_true(isfinite(logits[k]));
                lmf_model_close(m);
                lmf_test_ctx_done(ctx);
                n_fine++;
            }
    assert_true(n_refused > 100 && n_fine > 15);
}

static void refuses_other_mistakes(void **state)
{
    static const struct { wrong w; int hf; lmf_status s; const char *words; } rows[] = {
        { { .arch = "gpt99" }, 0, LMF_E_UNSUPPORTED, "\"gpt99\"" },
        { { .arch = "" }, 0, LMF_E_NOT_FOUND, "general.architecture" },
        { { .arch = "Gpt99LMHeadModel" }, 1, LMF_E_UNSUPPORTED, "Gpt99LMHeadModel" },
        { { .n_tokens = 280 }, 0, LMF_E_FORMAT, "280 tokens" },
        { { .n_tokens = 280 }, 1, LMF_E_FORMAT, "280 tokens" },
        { { .rows = 1400 }, 0, LMF_E_FORMAT, "belong together" },
        { { .n_types = 200 }, 0, LMF_E_FORMAT, "200 entries" },
        { { .n_types = 300 }, 0, LMF_E_FORMAT, "300 entries" },
        { { .bos = 258 }, 0, LMF_E_FORMAT, "bos_token_id is 258" },
        { { .bos = -7 }, 0, LMF_E_FORMAT, "bos_token_id is -7" },
        { { .bos = INT32_MAX }, 0, LMF_E_FORMAT, "bos_token_id" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_open_refused(&rows[i].w, rows[i].hf, rows[i].s, rows[i].words);
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m;
    const char *empty = lmf_test_path("empty.gguf"), *dir = lmf_test_path("nothing");
    assert_int_equal(mkdir(dir, 0777), 0);
    FILE *f = fopen(empty, "w");
    assert_true(f && fclose(f) == 0);
    assert_true(lmf_model_open(ctx, empty, &m) != LMF_OK && !m);
    assert_true(lmf_model_open(ctx, dir, &m) != LMF_OK && !m);
    assert_true(lmf_model_open(ctx, "/no/such/model.gguf", &m) != LMF_OK && !m);
    assert_true(strstr(lmf_error(ctx), "/no/such/model.gguf") != NULL);
    lmf_test_ctx_done(ctx);
}

static lmf_status open_and_close(lmf_ctx *ctx, void *path)
{
    lmf_model *m;
    lmf_status s = lmf_model_open(ctx, path, &m);
    lmf_model_close(m);
    return s;
}

static void every_call_may_fail(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    char file[600], dir[600];
    snprintf(file, sizeof file, "%s", lmf_test_path("tiny.gguf"));
    snprintf(dir, sizeof dir, "%s", lmf_test_path("tiny"));
    assert_ok(ctx, model_write_gguf(ctx, file, &nothing_wrong));
    assert_ok(ctx, model_write_hf(ctx, dir, &nothing_wrong));
    lmf_test_ctx_done(ctx);
    assert_true(lmf_test_fail_each_call(open_and_close, file) > 15);
    assert_true(lmf_test_fail_each_call(open_and_close, dir) > 15);
}

/* Cut anywhere, the file is refused; nothing crashes. */
static void survives_cut_files(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m;
    const char *path = lmf_test_path("cut.gguf");
    static char bytes[1 << 20];
    assert_ok(ctx, model_write_gguf(ctx, path, &nothing_wrong));
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_true(n > 10000 && n < sizeof bytes);
    for (size_t cut = 0; cut < n; cut += cut < 2000 ? 97 : 4001) {
        f = fopen(path, "wb");
        assert_true(f && fwrite(bytes, 1, cut, f) == cut && fclose(f) == 0);
        if (lmf_model_open(ctx, path, &m) == LMF_OK)
            fail_msg("a file cut at %zu of %zu bytes opens", cut, n);
        assert_null(m);
    }
    lmf_test_ctx_done(ctx);
}

/* A fused q, k, v matrix [3 N, D], stored turned as GPT-2's Conv1D has it: element (i, k) of part p is at [k][p N + i]. */
static void forms_combine(void **state)
{
    enum { N = 6, W = 4, PARTS = 3 };
    float plain[PARTS * N * W], turned[PARTS * N * W], out[N * W];
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_format *f32 = lmf_format_get(ctx, LMF_F32), *q8 = lmf_format_get(ctx, LMF_Q8_0);
    int64_t stored[LMF_MAX_DIMS];
    for (int i = 0; i < PARTS * N * W; i++) {
        plain[i] = (float)i;
        turned[i % W * PARTS * N + i / W] = (float)i;
    }
    for (int part = 0; part < PARTS; part++)
        for (int t = 0; t < 2; t++) {
            lmf_form_spec spec = { .form = (uint8_t)(LMF_FORM_SLICE | (t ? LMF_FORM_TRANSPOSED : 0)), .first_row = part * N, .all_rows = PARTS * N };
            lmf_view v = { .data = out, .fmt = f32, .dtype = LMF_F32, .n_dims = 2, .dim = { N, W } };
            lmf_view_set_dense(&v);
            assert_int_equal(lmf_form_stored(&spec, 2, v.dim, stored), 2);
            assert_int_equal(stored[t ? 1 : 0], PARTS * N);
            assert_int_equal(stored[t ? 0 : 1], W);
            assert_ok(ctx, lmf_form_read(ctx, &spec, "qkv", f32, t ? turned : plain, &v));
            assert_memory_equal(out, plain + part * N * W, sizeof out);
            v.n_dims = 1, v.dim[0] = N; /* its bias [3 N] */
            lmf_view_set_dense(&v);
            assert_int_equal(lmf_form_stored(&spec, 1, v.dim, stored), 1);
            assert_int_equal(stored[0], PARTS * N);
            assert_ok(ctx, lmf_form_read(ctx, &spec, "qkv", f32, plain, &v));
            assert_memory_equal(out, plain + part * N, N * sizeof *out);
        }
    lmf_form_spec turn = { .form = LMF_FORM_TRANSPOSED }, permute = { .form = LMF_FORM_QK_PERMUTED, .n_heads = 4 };
    lmf_view v = { .data = out, .fmt = q8, .dtype = LMF_Q8_0, .n_dims = 2, .dim = { 2, 32 } };
    assert_refused(ctx, LMF_E_UNSUPPORTED, "in blocks", lmf_form_read(ctx, &turn, "x", q8, plain, &v));
    v = (lmf_view){ .data = out, .fmt = f32, .dtype = LMF_F32, .n_dims = 2, .dim = { N, W } };
    assert_refused(ctx, LMF_E_SHAPE, "no 4 heads", lmf_form_read(ctx, &permute, "x", f32, plain, &v));
    permute.n_heads = 0;
    assert_refused(ctx, LMF_E_SHAPE, "no 0 heads", lmf_form_read(ctx, &permute, "x", f32, plain, &v));
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(model) = {
    { "both forms give equal bits", both_forms_give_equal_bits },
    { "refuses bad tensors", refuses_bad_tensors },
    { "refuses bad numbers", refuses_bad_numbers },
    { "refuses other mistakes", refuses_other_mistakes },
    { "every call may fail", every_call_may_fail },
    { "survives cut files", survives_cut_files },
    { "forms combine", forms_combine },
    { 0 }
};
