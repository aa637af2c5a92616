/* SPDX-License-Identifier: Apache-2.0 */
#include "text/tokenizer/bpe_train.h"
#include <stdio.h>
#include <string.h>
#include "base/philox.h"
#include "test.h"

static lmf_status train(lmf_ctx *ctx, const char *const *text, int n, int32_t vocab, int64_t min_count, lmf_bpe_trained *out)
{
    static const char *const special[] = { "<|endoftext|>" };
    lmf_word_counts *w;
    LMF_TRY(lmf_word_counts_create(ctx, "smollm", &w));
    lmf_status s = LMF_OK;
    for (int i = 0; !s && i < n; i++)
        s = lmf_word_counts_add(w, text[i], strlen(text[i]));
    if (!s)
        s = lmf_bpe_train(w, &(lmf_bpe_train_opts){ .vocab = vocab, .min_count = min_count, .special = special, .n_special = 1 }, out);
    lmf_word_counts_destroy(w);
    return s;
}

static void assert_merge(const lmf_bpe_trained *t, int i, const char *left, const char *right)
{
    assert_true(i < t->n_merges);
    assert_string_equal(t->token[t->merge[i][0]], left);
    assert_string_equal(t->token[t->merge[i][1]], right);
}

/* Words and merges of an example in the documentation of Hugging Face's trainer. */
static void an_example(void **state)
{
    (void)state;
    static const char *const text[] = { "roses", "are", "red", "voilets", "are", "blue", "BERT", "is", "big", "and", "so", "is", "GPT-2" };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_bpe_trained t;
    assert_ok(ctx, train(ctx, text, 13, 10000, 2, &t));
    assert_int_equal(t.n_merges, 3);
    assert_int_equal(t.n_tokens, 1 + 256 + 3);
    assert_merge(&t, 0, "r", "e");
    assert_merge(&t, 1, "a", "re");
    assert_merge(&t, 2, "i", "s");
    assert_string_equal(t.token[0], "<|endoftext|>");
    assert_string_equal(t.token[1], "!");               /* the first printable byte */
    assert_string_equal(t.token[1 + 188], "\xc4\x80");  /* the first of the others: the byte 0 */
    assert_string_equal(t.token[1 + 188 + 32], "\xc4\xa0");
    assert_string_equal(t.token[257], "re");
    lmf_bpe_trained_clear(&t);
    lmf_test_ctx_done(ctx);
}

/* The slow, short reference: counts all pairs anew each round. */
enum { WORDS = 40, LENGTH = 9, ROUNDS = 24 };
typedef struct naive { int32_t s[WORDS][LENGTH]; int n[WORDS]; int32_t merge[ROUNDS][2]; int n_merges; } naive;

static int64_t occurs(const naive *m, int32_t a, int32_t b)
{
    int64_t n = 0;
    for (int w = 0; w < WORDS; w++)
        for (int i = 0; i + 1 < m->n[w]; i++)
            n += m->s[w][i] == a && m->s[w][i + 1] == b;
    return n;
}

static void naive_round(naive *m, char (*text)[64], int32_t *n_tokens)
{
    int32_t best[2] = { 0, 0 };
    int64_t most = 0;
    for (int w = 0; w < WORDS; w++)
        for (int i = 0; i + 1 < m->n[w]; i++) {
            int32_t a = m->s[w][i], b = m->s[w][i + 1];
            int64_t n = occurs(m, a, b);
            if (n > most || (n == most && (a < best[0] || (a == best[0] && b < best[1]))))
                most = n, best[0] = a, best[1] = b;
        }
    if (!most)
        return;
    char both[64];
    snprintf(both, sizeof both, "%.30s%.30s", text[best[0]], text[best[1]]);
    memcpy(text[*n_tokens], both, sizeof both);
    for (int32_t k = 0; k < *n_tokens; k++) /* a token comes about in one way alone */
        assert_string_not_equal(text[k], text[*n_tokens]);
    memcpy(m->merge[m->n_merges++], best, sizeof best);
    for (int w = 0; w < WORDS; w++) {
        int to = 0;
        for (int i = 0; i < m->n[w]; i++) {
            bool here = i + 1 < m->n[w] && m->s[w][i] == best[0] && m->s[w][i + 1] == best[1];
            m->s[w][to++] = here ? *n_tokens : m->s[w][i];
            i += here;
        }
        m->n[w] = to;
    }
    ++*n_tokens;
}

static void as_the_reference(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    int n_compared = 0;
    for (uint32_t seed = 0; seed < 40; seed++) {
        static naive m;
        static char text[300][64];
        char words[WORDS][LENGTH + 2];
        const char *list[WORDS];
        int32_t n_tokens = 257;
        memset(&m, 0, sizeof m);
        for (int c = 33; c < 127; c++)
            snprintf(text[c - 32], 64, "%c", c);
        for (int w = 0; w < WORDS; w++) { /* letters a to e: one word each, as nothing cuts letters */
            m.n[w] = 1 + (int)(lmf_random_u32(seed, 1, 0, (uint64_t)w) % LENGTH);
            for (int i = 0; i < m.n[w]; i++) {
                int c = 'a' + (int)(lmf_random_u32(seed, 2, (uint32_t)w, (uint64_t)i) % 5);
                words[w][i] = (char)c, words[w][i + 1] = 0;
                m.s[w][i] = c - 32;
            }
            list[w] = words[w];
        }
        for (int i = 0; i < ROUNDS; i++)
            naive_round(&m, text, &n_tokens);
        lmf_bpe_trained t;
        assert_ok(ctx, train(ctx, list, WORDS, 257 + ROUNDS, 0, &t));
        if (m.n_merges == ROUNDS) {
            n_compared++;
            assert_int_equal(t.n_merges, ROUNDS);
            assert_memory_equal(t.merge, m.merge, sizeof m.merge);
        }
        lmf_bpe_trained_clear(&t);
    }
    assert_true(n_compared > 10);
    lmf_test_ctx_done(ctx);
}

static void refusals(void **state)
{
    (void)state;
    static const char *const text[] = { "a b" };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_bpe_trained t;
    lmf_word_counts *w;
    assert_refused(ctx, LMF_E_ARG, "at least the 256 bytes", train(ctx, text, 1, 256, 0, &t));
    assert_refused(ctx, LMF_E_UNSUPPORTED, "no pre-tokenizer \"none\"", lmf_word_counts_create(ctx, "none", &w));
    assert_ok(ctx, train(ctx, text, 0, 300, 0, &t));
    assert_int_equal(t.n_tokens, 257);
    assert_int_equal(t.n_merges, 0);
    lmf_bpe_trained_clear(&t);
    lmf_test_ctx_done(ctx);
}

static lmf_status body(lmf_ctx *ctx, void *arg)
{
    static const char *const text[] = { "abab abab caba", "caba caba 12" };
    lmf_bpe_trained t = { 0 };
    (void)arg;
    lmf_status s = train(ctx, text, 2, 264, 0, &t);
    lmf_bpe_trained_clear(&t);
    return s;
}

static void each_allocation_fails_once(void **state)
{
    (void)state;
    assert_true(lmf_test_fail_each_call(body, NULL) > 5);
}

LMF_TESTS(bpe_train) = { { "an_example", an_example }, { "as_the_reference", as_the_reference }, { "refusals", refusals },
                         { "each_allocation_fails_once", each_allocation_fails_once }, { 0 } };
