/* SPDX-License-Identifier: Apache-2.0 */
/* tools/oracle/pieces.py compares trained models with sentencepiece and transformers. */
#include <string.h>
#include "models/model.h"
#include "pieces.h"
#include "test.h"

typedef struct row { const char *config; bool prefix; const char *text; unsigned flags; int32_t want[8]; const char *back; } row;

/* Ids, 0 ends a list, and the text that they decode to. */
static void ids(void **state)
{
    enum { SPECIAL = LMF_ENCODE_SPECIAL, ALL = LMF_ENCODE_SPECIAL | LMF_ENCODE_DEFAULTS };
    static const char plain[] = "{}", legacy[] = "{\"legacy\":true}", off[] = "{\"add_prefix_space\":false}",
        bos[] = "{\"add_bos_token\":true,\"add_eos_token\":true,\"tokenizer_class\":\"LlamaTokenizer\"}";
    static const row rows[] = {
        { NULL, true, "ab", ALL, { 259, 262 }, "ab" }, { plain, true, "ab", 0, { 259, 262 }, "ab" },
        { plain, true, " ab", 0, { 259, 259, 262 }, " ab" }, { plain, true, LMF_SPACE_MARK "a", 0, { 259, 259, 260 }, " a" },
        { plain, true, "", 0, { 0 }, "" }, { plain, true, "a\n", 0, { 259, 260, 13 }, "a\n" },
        { plain, true, "<u>b", 0, { 259, 263, 261 }, "<u>b" }, { plain, true, "a<u>b", 0, { 259, 260, 263, 261 }, "a<u>b" },
        { plain, true, "<s>ab", SPECIAL, { 1, 262 }, "<s>ab" }, { legacy, true, "<s>ab", SPECIAL, { 1, 259, 262 }, "<s> ab" },
        { legacy, true, "<s> ab", SPECIAL, { 1, 259, 262 }, "<s> ab" }, { legacy, true, " ab", 0, { 259, 259, 262 }, " ab" },
        { legacy, true, "a<u>b", 0, { 259, 260, 263, 261 }, "a<u>b" }, { off, true, "ab", 0, { 262 }, "ab" },
        { plain, false, "ab", 0, { 262 }, "ab" }, { bos, true, "ab", ALL, { 1, 259, 262, 2 }, "<s> ab</s>" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        char dir[600];
        lmf_model *m;
        lmf_ids got;
        lmf_buf back;
        lmf_test_pieces_folder(ctx, rows[i].config, rows[i].prefix, "<u>", dir);
        assert_ok(ctx, lmf_model_open(ctx, dir, &m));
        lmf_ids_init(&got, ctx, 100);
        lmf_buf_init(&back, ctx, 100);
        assert_ok(ctx, lmf_tokenizer_encode(m->tokenizer, rows[i].text, strlen(rows[i].text), rows[i].flags, &got));
        size_t n = 0;
        for (; n < 8 && rows[i].want[n]; n++)
            if (n >= got.n || got.data[n] != rows[i].want[n])
                fail_msg("row %zu: token %zu of %zu is not %d", i, n, got.n, rows[i].want[n]);
        assert_int_equal(got.n, n);
        assert_ok(ctx, lmf_tokenizer_decode(m->tokenizer, got.data, got.n, 0, &back));
        assert_string_equal(lmf_buf_str(&back), rows[i].back);
        assert_true(lmf_chat_is_eos(&m->chat, 2) && m->vocab.unk == 0 && m->vocab.bos == 1);
        assert_true(m->vocab.score[260] == -3 && m->vocab.score[262] == -1);
        lmf_buf_clear(&back);
        lmf_ids_clear(&got);
        lmf_model_close(m);
        lmf_test_ctx_done(ctx);
    }
}

static void refused(void **state)
{
    static const struct { const char *config; bool prefix; const char *last, *why; lmf_status status; } rows[] = {
        { "{\"tokenizer_class\":\"GemmaTokenizer\"}", true, "<u>", "GemmaTokenizer", LMF_E_UNSUPPORTED },
        { "{\"add_prefix_space\":true}", false, "<u>", "contradict", LMF_E_FORMAT },
        { "{\"split_special_tokens\":true}", true, "<u>", "split_special_tokens", LMF_E_UNSUPPORTED },
        { "{\"added_tokens_decoder\":{\"7\":{\"content\":\"<s>\"}}}", true, "<u>", "by tokenizer.model it is 1", LMF_E_FORMAT },
        { "{}", true, "ab", "has the piece ab twice", LMF_E_FORMAT }, { "{}", true, "a c", "with a space", LMF_E_UNSUPPORTED },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        char dir[600];
        lmf_model *m;
        lmf_test_pieces_folder(ctx, rows[i].config, rows[i].prefix, rows[i].last, dir);
        assert_refused(ctx, rows[i].status, rows[i].why, lmf_model_open(ctx, dir, &m));
        lmf_test_ctx_done(ctx);
    }
}

static lmf_status open_body(lmf_ctx *ctx, void *dir)
{
    lmf_model *m;
    LMF_TRY(lmf_model_open(ctx, dir, &m));
    lmf_model_close(m);
    return LMF_OK;
}

static void every_call_may_fail(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    char dir[600];
    lmf_test_pieces_folder(ctx, "{}", true, "<u>", dir);
    lmf_test_ctx_done(ctx);
    assert_true(lmf_test_fail_each_call(open_body, dir) > 15);
}

LMF_TESTS(model_hf_pieces) = { { "ids of texts", ids }, { "what is refused, each with its sentence", refused },
                               { "every call may fail", every_call_may_fail }, { 0 } };
