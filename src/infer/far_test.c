/* SPDX-License-Identifier: Apache-2.0 */
/* The engine on a device that has memory of its own and works while the host goes on. */
#include "graph/far_device_test.h"
#include "infer/engine_test.h"

enum { NEW = 24, N = 5 };

static lmf_status even_tokens(void *user, void *grammar, const int32_t *tok, int n_tok, uint32_t *bits)
{
    (void)user, (void)grammar, (void)tok, (void)n_tok;
    memset(bits, 0x55, (TINY_VOCAB + 31) / 32 * 4);
    return LMF_OK;
}

/* Five sessions, two at a time: greedy, drawn, with penalties, with a mask; and one that is scored. */
static void answers(lmf_ctx *ctx, const lmf_model *m, const char *device, lmf_token out[N][NEW], float *score)
{
    lmf_engine *e;
    lmf_session *s[N], *scored;
    static const int n_prompt[N] = { 100, 12, 19, 90, 33 }; /* some steps read prompts alone */
    int32_t tok[100];
    lmf_engine_opts o = lmf_engine_opts_default();
    o.device = device, o.max_seqs = 2, o.prefill_chunk = 32, o.compute = 0, o.score = true, o.mask = even_tokens;
    assert_ok(ctx, lmf_engine_create(ctx, m, &o, &e));
    for (int i = 0; i < N; i++) {
        lmf_gen_opts gen = lmf_gen_opts_default();
        gen.max_tok = NEW, gen.ignore_eos = true, gen.temperature = i ? 0.9f : 0, gen.seed = (uint64_t)i;
        gen.repetition_penalty = i == 2 ? 1.3f : 1, gen.grammar = i == 3 ? &gen : NULL, gen.n_top = i == 4 ? 3 : 0;
        tiny_prompt(tok, i, n_prompt[i]);
        assert_ok(ctx, lmf_session_create(e, NULL, &s[i]));
        assert_ok(ctx, lmf_session_append(s[i], tok, n_prompt[i], NULL));
        assert_ok(ctx, lmf_session_generate(s[i], &gen));
    }
    assert_ok(ctx, lmf_session_create(e, NULL, &scored));
    tiny_prompt(tok, 9, 40);
    assert_ok(ctx, lmf_session_score(scored, tok, 40, score));
    run_all(ctx, e);
    for (int i = 0; i < N; i++)
        assert_int_equal(read_all(ctx, s[i], out[i], NEW), NEW);
    lmf_engine_destroy(e);
}

static void same_answers(void **state)
{
    (void)state;
    static lmf_token near[N][NEW], far[N][NEW];
    float near_score[40], far_score[40];
    lmf_ctx *ctx = lmf_test_ctx();
    far_tables(ctx);
    lmf_model *m = tiny_open(ctx, "tiny.gguf", NULL);
    answers(ctx, m, "cpu", near, near_score);
    answers(ctx, m, "far", far, far_score);
    assert_memory_equal(near, far, sizeof near);
    assert_memory_equal(near_score, far_score, sizeof near_score);
    for (int i = 0; i < NEW; i++)
        assert_true(far[3][i].id % 2 == 0);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(far) = { { "answers on a device of its own", same_answers }, { 0 } };
