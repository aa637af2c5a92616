/* SPDX-License-Identifier: Apache-2.0 */
/* A small byte-level vocabulary for tests: ids 0 to 255 are the bytes, then what merges give, then what a test adds. */
#ifndef LMF_TEXT_TOKENIZER_TEST_H
#define LMF_TEXT_TOKENIZER_TEST_H
#include <stdio.h>
#include <string.h>
#include "test.h"
#include "text/tokenizer/tokenizer.h"

enum { TEST_TOKENS = 400, TEST_MERGES = 64 };
typedef struct test_vocab {
    lmf_vocab   v;
    char        text[TEST_TOKENS][24];
    const char *token[TEST_TOKENS];
    uint8_t     kind[TEST_TOKENS], added[TEST_TOKENS];
    const char *merge[TEST_MERGES];
} test_vocab;

/* Returns the new token's id. */
static inline int32_t test_vocab_add(test_vocab *t, const char *text, lmf_token_kind kind, unsigned added)
{
    size_t i = t->v.n_tokens++;
    LMF_ASSERT(i < TEST_TOKENS && strlen(text) < sizeof *t->text);
    strcpy(t->text[i], text);
    t->token[i] = t->text[i];
    t->kind[i] = (uint8_t)kind;
    t->added[i] = (uint8_t)added;
    return (int32_t)i;
}

/* "a b": gives token "ab" too where it is not there yet. Returns its id. */
static inline int32_t test_vocab_merge(test_vocab *t, const char *merge)
{
    char joined[24];
    const char *space = strchr(merge, ' ');
    LMF_ASSERT(t->v.n_merges < TEST_MERGES && space && strlen(merge) < sizeof joined);
    snprintf(joined, sizeof joined, "%.*s%s", (int)(space - merge), merge, space + 1);
    t->merge[t->v.n_merges++] = merge;
    for (size_t i = 0; i < t->v.n_tokens; i++)
        if (!strcmp(t->token[i], joined))
            return (int32_t)i;
    return test_vocab_add(t, joined, LMF_TOKEN_NORMAL, 0);
}

static inline void test_vocab_init(test_vocab *t, const char *pretok)
{
    memset(t, 0, sizeof *t);
    lmf_vocab_init(&t->v);
    t->v.pretok = pretok;
    t->v.token = t->token;
    t->v.kind = t->kind;
    t->v.added = t->added;
    t->v.merge = t->merge;
    for (int b = 0, next = 256; b < 256; b++) {
        bool itself = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        int cp = itself ? b : next++;
        char s[3] = { (char)cp, 0, 0 };
        if (cp >= 0x80)
            s[0] = (char)(0xc0 | cp >> 6), s[1] = (char)(0x80 | (cp & 0x3f));
        test_vocab_add(t, s, LMF_TOKEN_NORMAL, 0);
    }
}

static inline lmf_tokenizer *test_tokenizer(lmf_ctx *ctx, const test_vocab *t)
{
    lmf_tokenizer *tok = NULL;
    assert_ok(ctx, lmf_tokenizer_create(ctx, &t->v, &tok));
    return tok;
}

/* Encodes and compares with want[0 .. n). */
static inline void assert_encodes(lmf_ctx *ctx, const lmf_tokenizer *t, const char *text, size_t n_text, unsigned flags, const int32_t *want, size_t n)
{
    lmf_ids ids;
    lmf_ids_init(&ids, ctx, 1 << 20);
    assert_ok(ctx, lmf_tokenizer_encode(t, text, n_text, flags, &ids));
    for (size_t i = 0; i < n && i < ids.n; i++)
        if (ids.data[i] != want[i])
            fail_msg("\"%s\": token %zu is %d, not %d", text, i, ids.data[i], want[i]);
    if (ids.n != n)
        fail_msg("\"%s\": %zu tokens, not %zu", text, ids.n, n);
    lmf_ids_clear(&ids);
}
#define IDS(...) (const int32_t[]){ __VA_ARGS__ }, sizeof (int32_t[]){ __VA_ARGS__ } / sizeof(int32_t)

#endif
