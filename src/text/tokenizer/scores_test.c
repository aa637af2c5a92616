/* SPDX-License-Identifier: Apache-2.0 */
#include "text/tokenizer/scores.h"
#include "text/tokenizer/tokenizer_test.h"

/* a, b, ab, ba, aba; merges in the order given. */
static void vocab_of(test_vocab *v, const char *const *merge, const float *score)
{
    static const char *const words[] = { "\xe2\x96\x81", "a", "b", "ab", "ba", "aba" };
    memset(v, 0, sizeof *v);
    lmf_vocab_init(&v->v);
    v->v.model = "llama";
    v->v.token = v->token, v->v.kind = v->kind, v->v.added = v->added, v->v.merge = v->merge;
    for (int i = 0; i < 6; i++)
        test_vocab_add(v, words[i], LMF_TOKEN_NORMAL, 0);
    for (; merge && *merge; merge++)
        test_vocab_merge(v, *merge);
    v->v.score = score;
}

static void pairs_of_scores(void **state)
{
    (void)state;
    static const float score[] = { 0, 0, 0, -3, -2, -1 };
    static const lmf_pair want[] = { { 1, 4 }, { 3, 1 }, { 2, 1 }, { 1, 2 } }; /* a ba, ab a, b a, a b */
    lmf_ctx *ctx = lmf_test_ctx();
    test_vocab v;
    lmf_arena arena;
    lmf_pair *pair;
    size_t n;
    vocab_of(&v, NULL, score);
    lmf_tokenizer *t = test_tokenizer(ctx, &v);
    lmf_arena_init(&arena, ctx, 1 << 20);
    assert_ok(ctx, lmf_pairs_of_scores(t, &arena, &pair, &n));
    assert_int_equal(n, 4);
    assert_memory_equal(pair, want, sizeof want);
    lmf_arena_clear(&arena);
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

static void scores_of_pairs(void **state)
{
    (void)state;
    static const struct { const char *merge[5]; bool same; size_t n_overlap; } rows[] = {
        { { "b a", "a b", "a ba", "ab a" }, true, 1 },      /* ab a ba: the list says a ba, scores the leftmost */
        { { "b a", "a b", "ab a", "a ba" }, true, 0 },
        { { "b a", "a b", "a ba" }, false, 1 },         /* ab a is no merge, and would be one by scores */
        { { "b a", "a ba", "a b", "ab a" }, false, 0 }, /* the pairs of aba do not stand together */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        test_vocab v;
        lmf_arena arena;
        float *score;
        bool same;
        size_t n_overlap;
        vocab_of(&v, rows[i].merge, NULL);
        lmf_tokenizer *t = test_tokenizer(ctx, &v);
        lmf_arena_init(&arena, ctx, 1 << 20);
        assert_ok(ctx, lmf_scores_of_pairs(t, &arena, &score, &same, &n_overlap));
        assert_int_equal(same, rows[i].same);
        assert_int_equal(n_overlap, rows[i].n_overlap);
        assert_true(score[4] > score[3] && (!same || score[3] > score[5])); /* ba, ab, aba */
        lmf_arena_clear(&arena);
        lmf_tokenizer_destroy(t);
        lmf_test_ctx_done(ctx);
    }
}

/* aaa is a aa and aa a: in aa a aa the first that fits is the second pair, and the list says the first. */
static void overlapping_pairs_are_counted(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    test_vocab v;
    lmf_arena arena;
    float *score;
    bool same;
    size_t n_overlap;
    vocab_of(&v, NULL, NULL);
    test_vocab_merge(&v, "a a");
    test_vocab_merge(&v, "a aa");
    test_vocab_merge(&v, "aa a");
    v.merge[3] = "b a", v.merge[4] = "a b", v.merge[5] = "ab a", v.merge[6] = "a ba", v.v.n_merges = 7;
    lmf_tokenizer *t = test_tokenizer(ctx, &v);
    lmf_arena_init(&arena, ctx, 1 << 20);
    assert_ok(ctx, lmf_scores_of_pairs(t, &arena, &score, &same, &n_overlap));
    assert_true(same);
    assert_int_equal(n_overlap, 1);
    lmf_arena_clear(&arena);
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(scores) = {
    { "pairs of scores", pairs_of_scores },
    { "scores of pairs", scores_of_pairs },
    { "overlapping pairs are counted", overlapping_pairs_are_counted },
    { 0 }
};
