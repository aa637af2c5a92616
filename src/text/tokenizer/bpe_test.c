/* SPDX-License-Identifier: Apache-2.0 */
#include "text/tokenizer/bpe.h"
#include "text/tokenizer/tokenizer_test.h"

static void merges_by_rank(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    test_vocab v;
    test_vocab_init(&v, "gpt-2");
    int32_t bc = test_vocab_merge(&v, "b c"), ab = test_vocab_merge(&v, "a b"), aa = test_vocab_merge(&v, "a a");
    int32_t abc = test_vocab_merge(&v, "ab c"), x = test_vocab_merge(&v, "\xc4\xa0 x");
    lmf_tokenizer *t = test_tokenizer(ctx, &v);
    assert_encodes(ctx, t, "abd", 3, 0, IDS(ab, 'd'));
    assert_encodes(ctx, t, "abc", 3, 0, IDS('a', bc)); /* the better merge first, though a token "abc" is there */
    assert_encodes(ctx, t, "aaa", 3, 0, IDS(aa, 'a')); /* the leftmost of equals */
    assert_encodes(ctx, t, "aaab", 4, 0, IDS(aa, ab));
    assert_encodes(ctx, t, "a x", 3, 0, IDS('a', x));
    assert_encodes(ctx, t, "abc a x", 7, 0, IDS('a', bc, ' ', 'a', x)); /* what was learnt about tokens the first time */
    assert_encodes(ctx, t, "\xff\xc3", 2, 0, IDS(0xff, 0xc3));
    lmf_tokenizer_destroy(t);

    v.v.whole_words = LMF_YES;
    t = test_tokenizer(ctx, &v);
    assert_encodes(ctx, t, "abc", 3, 0, IDS(abc));
    assert_encodes(ctx, t, "abcd", 4, 0, IDS('a', bc, 'd'));
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

/* The slow, short reference: look for the best pair, merge it, again. */
static size_t reference(const test_vocab *v, const char *word, size_t n, int32_t *id)
{
    for (size_t i = 0; i < n; i++)
        id[i] = (uint8_t)word[i];
    for (;;) {
        size_t best_rank = SIZE_MAX, best = 0;
        char pair[64], joined[64];
        for (size_t i = 0; i + 1 < n; i++) {
            snprintf(pair, sizeof pair, "%s %s", v->token[id[i]], v->token[id[i + 1]]);
            for (size_t k = 0; k < v->v.n_merges && k < best_rank; k++)
                if (!strcmp(pair, v->merge[k]))
                    best_rank = k, best = i;
        }
        if (best_rank == SIZE_MAX)
            return n;
        snprintf(joined, sizeof joined, "%s%s", v->token[id[best]], v->token[id[best + 1]]);
        for (size_t k = 0; k < v->v.n_tokens; k++)
            if (!strcmp(joined, v->token[k]))
                id[best] = (int32_t)k;
        memmove(id + best + 1, id + best + 2, (n - best - 2) * sizeof *id);
        n--;
    }
}

static void short_and_long_words_agree_with_the_reference(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    test_vocab v;
    test_vocab_init(&v, "gpt-2");
    static const char *const merges[] = { "b a", "a b", "a a", "ab c", "aa a", "aa aa", "c ba", "abc abc", "aaa b", "b b", "bb a", "cba cba", "ba ba" };
    for (size_t i = 0; i < sizeof merges / sizeof *merges; i++)
        test_vocab_merge(&v, merges[i]);
    lmf_tokenizer *t = test_tokenizer(ctx, &v);
    uint32_t x = 7;
    for (int round = 0; round < 400; round++) {
        char word[301];
        int32_t want[300];
        size_t n = 1 + (size_t)round % (round % 3 ? 60 : 300);
        for (size_t i = 0; i < n; i++)
            word[i] = "aaaabbcab"[((x = x * 1664525 + 1013904223) >> 24) % (round % 2 ? 9 : 4)];
        word[n] = 0;
        size_t k = reference(&v, word, n, want);
        assert_encodes(ctx, t, word, n, 0, want, k);
    }
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

static void bytes_without_a_token_are_left_out(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_ids ids;
    test_vocab v;
    test_vocab_init(&v, "gpt-2");
    int32_t ac = test_vocab_merge(&v, "a c");
    v.text['b'][0] = 'Q', v.text['b'][1] = 'Q'; /* now no token is "b" */
    v.v.unk = 0;
    lmf_tokenizer *t = test_tokenizer(ctx, &v);
    lmf_ids_init(&ids, ctx, 100);
    assert_ok(ctx, lmf_tokenizer_encode(t, "abbc", 4, 0, &ids));
    assert_int_equal(ids.n, 1);
    assert_int_equal(ids.data[0], ac);
    assert_int_equal(ids.n_dropped, 2);
    char word[100];
    memset(word, 'b', sizeof word);
    assert_ok(ctx, lmf_tokenizer_encode(t, word, sizeof word, 0, &ids));
    assert_int_equal(ids.n, 1);
    assert_int_equal(ids.n_dropped, 102);
    lmf_ids_clear(&ids);
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

static void merges_never_give_control_tokens(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    test_vocab v;
    for (int kind = LMF_TOKEN_UNKNOWN; kind <= LMF_TOKEN_UNUSED; kind++) {
        if (kind == LMF_TOKEN_USER_DEFINED)
            continue;
        test_vocab_init(&v, "llama-bpe"); /* whole words first: the other way to a token */
        int32_t ab = test_vocab_merge(&v, "a b");
        v.kind[ab] = (uint8_t)kind;
        lmf_tokenizer *t = test_tokenizer(ctx, &v);
        assert_encodes(ctx, t, "ab", 2, 0, IDS('a', 'b'));
        assert_encodes(ctx, t, "abab", 4, LMF_ENCODE_PLAIN, IDS('a', 'b', 'a', 'b'));
        lmf_tokenizer_destroy(t);
    }
    lmf_test_ctx_done(ctx);
}

static void refuse(lmf_ctx *ctx, const test_vocab *v, lmf_status status, const char *words)
{
    lmf_tokenizer *t;
    assert_refused(ctx, status, words, lmf_tokenizer_create(ctx, &v->v, &t));
    assert_null(t);
}

static void broken_vocabularies_are_refused(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    test_vocab v;
    lmf_vocab empty;
    lmf_tokenizer *t;
    lmf_vocab_init(&empty);
    empty.pretok = "gpt-2";
    assert_refused(ctx, LMF_E_FORMAT, "no tokens", lmf_tokenizer_create(ctx, &empty, &t));
#define BROKEN(status, words, ...) do { test_vocab_init(&v, "gpt-2"); test_vocab_merge(&v, "a b"); __VA_ARGS__; refuse(ctx, &v, status, words); } while (0)
    BROKEN(LMF_E_LIMIT, "2097153 tokens", v.v.n_tokens = LMF_VOCAB_MAX_TOKENS + 1);
    BROKEN(LMF_E_LIMIT, "4194305 merges", v.v.n_merges = LMF_VOCAB_MAX_MERGES + 1);
    BROKEN(LMF_E_FORMAT, "token 257 has the text of token 97: \"a\"", test_vocab_add(&v, "a", LMF_TOKEN_NORMAL, 0));
    BROKEN(LMF_E_FORMAT, "token 257 has the text of token 97: \"a\"", test_vocab_add(&v, "a", LMF_TOKEN_CONTROL, 0));
    BROKEN(LMF_E_FORMAT, "token 257 is empty", test_vocab_add(&v, "", LMF_TOKEN_NORMAL, 0));
    BROKEN(LMF_E_FORMAT, "token 256 has type 7", v.kind[256] = 7);
    BROKEN(LMF_E_FORMAT, "token 256 has type 0", v.kind[256] = 0);
    BROKEN(LMF_E_FORMAT, "merge 1 names a token that is not in the vocabulary: \"a zz\"", v.merge[v.v.n_merges++] = "a zz");
    BROKEN(LMF_E_FORMAT, "merge 1 names a token that is not in the vocabulary: \"zz a\"", v.merge[v.v.n_merges++] = "zz a");
    BROKEN(LMF_E_FORMAT, "merge 1 gives a token that is not in the vocabulary: \"b a\"", v.merge[v.v.n_merges++] = "b a");
    BROKEN(LMF_E_FORMAT, "merge 1 was given before as merge 0", v.merge[v.v.n_merges++] = "a b");
    static const char *const shapes[] = { "", "ab", " ab", "ab ", "a", " ", "a b c", "a  b" };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        BROKEN(LMF_E_FORMAT, "merge 1 is not two tokens", v.merge[v.v.n_merges++] = shapes[i]);
    BROKEN(LMF_E_FORMAT, "EOS token has id 257", v.v.eos = 257);
    BROKEN(LMF_E_FORMAT, "BOS token has id -2", v.v.bos = -2);
    BROKEN(LMF_E_FORMAT, "asks for BOS", v.v.add_bos = LMF_YES);
    BROKEN(LMF_E_FORMAT, "asks for EOS", v.v.bos = 1, v.v.add_bos = LMF_YES, v.v.add_eos = true);
    BROKEN(LMF_E_UNSUPPORTED, "\"bert\"", v.v.model = "bert");
    BROKEN(LMF_E_UNSUPPORTED, "\"nobody\"", v.v.pretok = "nobody");
    BROKEN(LMF_E_UNSUPPORTED, "does not name", v.v.pretok = NULL);
    char longest[LMF_TOKEN_MAX_BYTES + 2];
    memset(longest, 'z', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    BROKEN(LMF_E_LIMIT, "token 256 has 4097 bytes", v.token[256] = longest; v.v.n_merges = 0);
#undef BROKEN
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(bpe) = {
    { "merges by rank", merges_by_rank },
    { "short and long words agree with the reference", short_and_long_words_agree_with_the_reference },
    { "bytes without a token are left out", bytes_without_a_token_are_left_out },
    { "merges never give control tokens", merges_never_give_control_tokens },
    { "broken vocabularies are refused", broken_vocabularies_are_refused },
    { 0 },
};
