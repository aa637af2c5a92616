/* SPDX-License-Identifier: Apache-2.0 */
/* Stacked adapters against models whose weights have the difference added. */
#include "format/adapter.h"
#include "infer/engine_test.h"

enum { RANK_A = 3, RANK_B = 5, NEW = 10 };

/* Matrices of the kind that GGUF stores as they are; the permuted ones are compared with PEFT by tools/oracle/generate.py. */
static const struct { const char *path, *gguf; int n_out, n_in; } target[] = {
    { "model.layers.0.mlp.down_proj", "blk.0.ffn_down.weight", TINY_WIDTH, TINY_FFN },
    { "model.layers.0.self_attn.v_proj", "blk.0.attn_v.weight", TINY_KV_HEADS * TINY_HEAD, TINY_WIDTH },
    { "model.layers.1.mlp.gate_proj", "blk.1.ffn_gate.weight", TINY_FFN, TINY_WIDTH },
    { "model.layers.1.self_attn.o_proj", "blk.1.attn_output.weight", TINY_WIDTH, TINY_HEADS * TINY_HEAD } };
enum { N_TARGETS = 4, MAX_MATRIX = 64 * 8 };

typedef struct lora { float a[N_TARGETS][MAX_MATRIX], b[N_TARGETS][MAX_MATRIX]; lmf_adapter_entry entry[N_TARGETS]; tiny_delta delta[N_TARGETS]; int n; } lora;

/* Adapter number k of rank r on the targets from `from` on. */
static void make_lora(lora *l, uint32_t k, int r, float alpha, int from)
{
    l->n = 0;
    for (int t = from; t < N_TARGETS; t++) {
        for (int i = 0; i < r * target[t].n_in; i++)
            l->a[t][i] = tiny_weight(100 * k + (uint32_t)t, i, 0.3f);
        for (int i = 0; i < r * target[t].n_out; i++)
            l->b[t][i] = tiny_weight(100 * k + 50 + (uint32_t)t, i, 0.3f);
        l->entry[l->n] = (lmf_adapter_entry){ target[t].path, LMF_F32, target[t].n_in, target[t].n_out, r, alpha, l->a[t], l->b[t] };
        l->delta[l->n++] = (tiny_delta){ target[t].gguf, l->a[t], l->b[t], r, alpha / (float)r };
    }
}

static void save(lmf_ctx *ctx, const lora *l, int r, float alpha, const char *dir)
{
    static const char *const names[] = { "down_proj", "v_proj", "gate_proj", "o_proj" };
    lmf_adapter_config c = { .r = r, .alpha = (double)alpha, .base_model = "tiny", .task_type = "CAUSAL_LM", .target = names, .n_targets = 4 };
    assert_ok(ctx, lmf_adapter_save(ctx, dir, &c, l->entry, (size_t)l->n));
}

static lmf_session *ask(lmf_ctx *ctx, lmf_engine *e, int slot)
{
    int32_t tok[30];
    lmf_session *s;
    lmf_gen_opts gen = lmf_gen_opts_default();
    gen.max_tok = NEW, gen.ignore_eos = true;
    tiny_prompt(tok, 1, 30);
    assert_ok(ctx, lmf_session_create(e, &(lmf_session_opts){ sizeof(lmf_session_opts), slot }, &s));
    assert_ok(ctx, lmf_session_append(s, tok, 30, NULL));
    assert_ok(ctx, lmf_session_generate(s, &gen));
    return s;
}

/* The answer of a model with the difference in its weights. */
static void merged_answer(lmf_ctx *ctx, const lora *l, lmf_token *out)
{
    tiny_spec spec = { .delta = l ? l->delta : NULL, .n_delta = l ? l->n : 0 };
    lmf_model *m = tiny_open(ctx, "merged.gguf", &spec);
    lmf_engine *e = tiny_engine(ctx, m, 1, 32, 16);
    lmf_session *s = ask(ctx, e, -1);
    run_all(ctx, e);
    assert_int_equal(read_all(ctx, s, out, NEW), NEW);
    lmf_engine_destroy(e);
    lmf_model_close(m);
}

static void assert_close(const lmf_token *a, const lmf_token *b)
{
    for (int i = 0; i < NEW; i++) {
        assert_int_equal(a[i].id, b[i].id);
        assert_true(fabsf(a[i].logp - b[i].logp) < 2e-5f);
    }
}

static double difference(const lmf_token *a, const lmf_token *b) { return fabs((double)a[0].logp - (double)b[0].logp) + (a[0].id != b[0].id); }

static void slots(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    static lora one, two;
    lmf_token want[3][NEW], got[NEW];
    char dir[2][512];
    lmf_engine *e;
    make_lora(&one, 1, RANK_A, 6, 0);
    make_lora(&two, 2, RANK_B, 4, 2);
    for (int i = 0; i < 2; i++)
        snprintf(dir[i], sizeof dir[i], "%s", lmf_test_path(i ? "two" : "one"));
    save(ctx, &one, RANK_A, 6, dir[0]);
    save(ctx, &two, RANK_B, 4, dir[1]);
    merged_answer(ctx, NULL, want[0]);
    merged_answer(ctx, &one, want[1]);
    merged_answer(ctx, &two, want[2]);
    assert_true(difference(want[0], want[1]) > 1e-2 && difference(want[0], want[2]) > 1e-2 && difference(want[1], want[2]) > 1e-2);
    lmf_model *m = tiny_open(ctx, "tiny.gguf", NULL);
    lmf_engine_opts o = lmf_engine_opts_default();
    o.compute = 0, o.max_seqs = 3, o.adapters = (const char *const[]){ dir[0], dir[1] }, o.n_adapters = 2;
    assert_ok(ctx, lmf_engine_create(ctx, m, &o, &e));
    assert_true(lmf_engine_adapter_find(e, "one") == 0 && lmf_engine_adapter_find(e, "two") == 1 && lmf_engine_adapter_find(e, "three") == -1);
    lmf_session *s[3]; /* all three at once */
    for (int i = 0; i < 3; i++)
        s[i] = ask(ctx, e, i - 1);
    run_all(ctx, e);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_all(ctx, s[i], got, NEW), NEW);
        assert_close(got, want[i]);
        lmf_session_destroy(s[i]);
    }
    lmf_session *none;
    assert_refused(ctx, LMF_E_NOT_FOUND, "slot 2", lmf_session_create(e, &(lmf_session_opts){ sizeof(lmf_session_opts), 2 }, &none));
    lmf_engine_destroy(e);
    /* the same, loaded and replaced later */
    o.adapters = NULL, o.n_adapters = 0, o.max_adapters = 1, o.max_rank = RANK_B;
    assert_ok(ctx, lmf_engine_create(ctx, m, &o, &e));
    int slot = -2;
    assert_refused(ctx, LMF_E_NOT_FOUND, "slot 0", lmf_session_create(e, &(lmf_session_opts){ sizeof(lmf_session_opts), 0 }, &none));
    assert_ok(ctx, lmf_engine_adapter(e, "mine", dir[0], &slot));
    assert_int_equal(slot, 0);
    s[0] = ask(ctx, e, 0);
    assert_refused(ctx, LMF_E_BUSY, "adapters change", lmf_engine_adapter(e, "mine", dir[1], &slot));
    run_all(ctx, e);
    assert_int_equal(read_all(ctx, s[0], got, NEW), NEW);
    assert_close(got, want[1]);
    assert_refused(ctx, LMF_E_BUSY, "slots are taken", lmf_engine_adapter(e, "other", dir[1], &slot));
    assert_ok(ctx, lmf_engine_adapter(e, "mine", dir[1], &slot)); /* the rest of one is gone, and what s[0] computed with it */
    assert_ok(ctx, lmf_session_rewind(s[0], 30, &slot));
    assert_int_equal(slot, 0);
    lmf_gen_opts gen = lmf_gen_opts_default();
    gen.max_tok = NEW, gen.ignore_eos = true;
    assert_ok(ctx, lmf_session_generate(s[0], &gen));
    run_all(ctx, e);
    assert_int_equal(read_all(ctx, s[0], got, NEW), NEW);
    assert_close(got, want[2]);
    assert_ok(ctx, lmf_engine_adapter(e, "mine", NULL, &slot));
    assert_true(slot == -1 && lmf_engine_adapter_find(e, "mine") == -1);
    assert_refused(ctx, LMF_E_NOT_FOUND, "no adapter is named", lmf_engine_adapter(e, "mine", NULL, &slot));
    lmf_session_destroy(s[0]);
    lmf_engine_destroy(e);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static void misfits(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = tiny_open(ctx, "tiny.gguf", NULL);
    lmf_engine *e;
    static lora l;
    char dir[512];
    const char *list[] = { dir };
    lmf_engine_opts o = lmf_engine_opts_default();
    o.adapters = list, o.n_adapters = 1, o.max_seqs = 1, o.prefill_chunk = 4;
    static const struct { const char *name, *path; int n_in, n_out; lmf_status s; const char *words; } rows[] = {
        { "bad0", "model.layers.7.mlp.down_proj", TINY_FFN, TINY_WIDTH, LMF_E_NOT_FOUND, "1 of the adapter's 4 layers" },
        { "bad1", "model.layers.0.mlp.down_proj", TINY_FFN + 1, TINY_WIDTH, LMF_E_SHAPE, "49 inputs" },
        { "bad2", "model.layers.0.mlp.down_proj", TINY_FFN, TINY_WIDTH - 1, LMF_E_SHAPE, "31 outputs" } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        make_lora(&l, 1, 2, 2, 0);
        l.entry[0].path = rows[i].path, l.entry[0].n_in = rows[i].n_in, l.entry[0].n_out = rows[i].n_out;
        snprintf(dir, sizeof dir, "%s", lmf_test_path(rows[i].name));
        save(ctx, &l, 2, 2, dir);
        assert_refused(ctx, rows[i].s, rows[i].words, lmf_engine_create(ctx, m, &o, &e));
        assert_non_null(strstr(lmf_error(ctx), dir));
    }
    make_lora(&l, 1, 4, 2, 0);
    snprintf(dir, sizeof dir, "%s", lmf_test_path("wide"));
    save(ctx, &l, 4, 2, dir);
    o.max_rank = 3;
    assert_refused(ctx, LMF_E_LIMIT, "rank 4", lmf_engine_create(ctx, m, &o, &e));
    snprintf(dir, sizeof dir, "%s", lmf_test_path("nowhere"));
    assert_true(lmf_engine_create(ctx, m, &o, &e) && !e);
    o.n_adapters = 0;
    assert_ok(ctx, lmf_engine_create(ctx, m, &o, &e));
    assert_refused(ctx, LMF_E_UNSUPPORTED, "without adapter slots", lmf_engine_adapter(e, "x", dir, NULL));
    lmf_engine_destroy(e);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

/* A slot is loaded while a session of another works, in the middle of its answer; what the old adapter computed is not found. */
static void loaded_beside(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    static lora one, two;
    lmf_token want[3][NEW], got[NEW];
    char dir[2][512];
    lmf_engine *e;
    int live;
    make_lora(&one, 1, RANK_A, 6, 0);
    make_lora(&two, 2, RANK_B, 4, 2);
    for (int i = 0; i < 2; i++)
        snprintf(dir[i], sizeof dir[i], "%s", lmf_test_path(i ? "two" : "one"));
    save(ctx, &one, RANK_A, 6, dir[0]);
    save(ctx, &two, RANK_B, 4, dir[1]);
    merged_answer(ctx, NULL, want[0]);
    merged_answer(ctx, &one, want[1]);
    merged_answer(ctx, &two, want[2]);
    lmf_model *m = tiny_open(ctx, "tiny.gguf", NULL);
    lmf_engine_opts o = lmf_engine_opts_default();
    o.compute = 0, o.max_seqs = 3, o.max_adapters = 2, o.max_rank = RANK_B, o.elastic = true, o.page_size = 4;
    assert_ok(ctx, lmf_engine_create(ctx, m, &o, &e));
    assert_ok(ctx, lmf_engine_load_slot(e, 1, dir[0]));
    lmf_session *s[3] = { ask(ctx, e, 1), ask(ctx, e, -1), NULL };
    for (int i = 0; i < 3; i++)
        assert_ok(ctx, lmf_engine_step(e, &live));
    assert_int_equal(live, 2);
    assert_refused(ctx, LMF_E_BUSY, "in slot 1", lmf_engine_load_slot(e, 1, dir[1]));
    assert_refused(ctx, LMF_E_NOT_FOUND, "nowhere", lmf_engine_load_slot(e, 0, "nowhere"));
    assert_refused(ctx, LMF_E_ARG, "no slot 2", lmf_engine_load_slot(e, 2, dir[1]));
    assert_refused(ctx, LMF_E_ARG, "no slot -1", lmf_engine_load_slot(e, -1, dir[1]));
    assert_ok(ctx, lmf_engine_load_slot(e, 0, dir[1]));
    s[2] = ask(ctx, e, 0);
    run_all(ctx, e);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_all(ctx, s[i], got, NEW), NEW);
        assert_close(got, want[i == 0 ? 1 : i == 1 ? 0 : 2]);
        lmf_session_destroy(s[i]);
    }
    assert_ok(ctx, lmf_engine_load_slot(e, 1, dir[1]));
    s[0] = ask(ctx, e, 1);
    run_all(ctx, e);
    assert_int_equal(read_all(ctx, s[0], got, NEW), NEW);
    assert_close(got, want[2]);
    lmf_engine_destroy(e);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

/* Finite numbers that the scale makes infinite would reach the answers of others. */
static void too_large(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    static lora one;
    lmf_engine *e;
    char dir[512];
    make_lora(&one, 1, RANK_A, 6, 0);
    one.b[1][3] = 1e38f;
    for (int i = 0; i < one.n; i++)
        one.entry[i].alpha = 64;
    snprintf(dir, sizeof dir, "%s", lmf_test_path("large"));
    save(ctx, &one, RANK_A, 64, dir);
    lmf_model *m = tiny_open(ctx, "tiny.gguf", NULL);
    lmf_engine_opts o = lmf_engine_opts_default();
    o.adapters = (const char *const[]){ dir }, o.n_adapters = 1;
    assert_refused(ctx, LMF_E_FORMAT, "infinite", lmf_engine_create(ctx, m, &o, &e));
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(adapter_slots) = { { "slots answer like merged models", slots }, { "adapters that don't fit are refused", misfits },
                             { "a slot is loaded while others work", loaded_beside }, { "infinite weights are refused", too_large },
                             { 0 } };
