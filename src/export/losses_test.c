/* SPDX-License-Identifier: Apache-2.0 */
/* What a GGUF file has no place for is named, and what it has a place for comes back. */
#include <string.h>
#include "export/export.h"
#include "formula.h"
#include "pieces.h"

typedef struct row { const char *words; lmf_norm_kind norm; bool has_norm; int flags; int32_t ends[5]; int n_ends; } row;

/* The formula model with one thing changed in memory, as a folder would say it. */
static void losses(void **state)
{
    static const row rows[] = {
        { .words = "" }, { .words = "normalizer", .has_norm = true, .norm = LMF_NORM_NFC },
        { .words = "flags (lstrip, rstrip, single_word) of 1 tokens, <|im_end|>", .flags = LMF_ADDED_LSTRIP },
        { .words = "flags (lstrip, rstrip, single_word) of 1 tokens, <|im_end|>", .flags = LMF_ADDED_RSTRIP },
        { .words = "flags (lstrip, rstrip, single_word) of 1 tokens, <|im_end|>", .flags = LMF_ADDED_SINGLE_WORD },
        { .words = "", .flags = LMF_ADDED_NORMALIZED },                       /* found later, but no other token overlaps it */
        { .words = "", .ends = { 259, 261, 256 }, .n_ends = 3 }, { .words = "beyond three: the tokens 258", .ends = { 259, 261, 256, 258 },
            .n_ends = 4 } };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row *r = &rows[i];
        lmf_ctx *ctx = lmf_test_ctx();
        lmf_model *m, *got;
        lmf_export_report report;
        lmf_export_opts o = lmf_export_opts_default();
        uint8_t added[264] = { 0 };
        char out[600];
        assert_ok(ctx, lmf_model_open(ctx, lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 1 }), &m));
        const lmf_norm_step step = { .kind = r->norm };
        if (r->has_norm)
            m->vocab.norm = &step, m->vocab.n_norm = 1;
        added[261] = (uint8_t)r->flags;
        m->vocab.added = added;
        lmf_tokenizer_destroy(m->tokenizer);
        assert_ok(ctx, lmf_tokenizer_create(ctx, &m->vocab, &m->tokenizer));
        m->chat.tokenizer = m->tokenizer;
        if (r->n_ends)
            m->chat.n_eos = 0;
        for (int k = 0; k < r->n_ends; k++)
            lmf_chat_add_eos(&m->chat, r->ends[k]);
        snprintf(out, sizeof out, "%s", lmf_test_path("lost.gguf"));
        assert_ok(ctx, lmf_export(ctx, m, out, &o, &report));
        if (*r->words ? !strstr(report.losses, r->words) : *report.losses != 0)
            fail_msg("row %zu: \"%s\" does not say \"%s\"", i, report.losses, r->words);
        assert_true(report.verified);
        assert_ok(ctx, lmf_model_open(ctx, out, &got));
        for (int k = 0; k < r->n_ends; k++)
            assert_true(lmf_chat_is_eos(&got->chat, r->ends[k]) == (r->ends[k] != 258));
        lmf_model_close(got);
        lmf_model_close(m);
        lmf_test_ctx_done(ctx);
    }
}

/* Tokens of two passes that overlap may be found otherwise where both are looked for at once. */
static void order(void **state)
{
    static const struct { const char *late, *early; bool said; } rows[] = {
        { "<ab>", "<a", true }, { "x<|im_end|>", NULL, true }, { "<|im_en", NULL, true }, { "|>x", NULL, true }, { "ab<|im", NULL, true },
            { "<cd>", "<a", false } };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        lmf_model *m;
        lmf_export_report report;
        lmf_export_opts o = lmf_export_opts_default();
        const char *token[264];
        uint32_t bytes[264];
        uint8_t added[264] = { 0 }, kind[264];
        char out[600];
        assert_ok(ctx, lmf_model_open(ctx, lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 1 }), &m));
        size_t n = m->vocab.n_tokens;
        for (size_t k = 0; k < n; k++)
            token[k] = m->vocab.token[k], bytes[k] = m->vocab.token_bytes[k], kind[k] = m->vocab.kind[k];
        added[n] = LMF_ADDED_NORMALIZED;
        token[n] = rows[i].late, bytes[n] = (uint32_t)strlen(rows[i].late), kind[n++] = LMF_TOKEN_USER_DEFINED;
        if (rows[i].early)
            token[n] = rows[i].early, bytes[n] = (uint32_t)strlen(rows[i].early), kind[n++] = LMF_TOKEN_USER_DEFINED;
        m->vocab.token = token, m->vocab.token_bytes = bytes, m->vocab.kind = kind, m->vocab.added = added, m->vocab.n_tokens = n;
        lmf_tokenizer_destroy(m->tokenizer);
        assert_ok(ctx, lmf_tokenizer_create(ctx, &m->vocab, &m->tokenizer));
        m->chat.tokenizer = m->tokenizer;
        snprintf(out, sizeof out, "%s", lmf_test_path("order.gguf"));
        assert_ok(ctx, lmf_export(ctx, m, out, &o, &report));
        if (!!strstr(report.losses, "order") != rows[i].said)
            fail_msg("%s: \"%s\"", rows[i].late, report.losses);
        lmf_model_close(m);
        lmf_test_ctx_done(ctx);
    }
}

/* A tokenizer.model as tokenizer.json and as GGUF: what is said, and the ids of a text with a control token in front. */
static void pieces(void **state)
{
    static const char text[] = "<s>ab a<u>b";
    static const struct { const char *config, *last, *words; bool prefix; lmf_export_format format; int32_t ids[9]; } rows[] = {
        { "{}", "<u>", "begins with one, too; ", true, LMF_EXPORT_HF, { 1, 262, 259, 260, 263, 261 } },
        { "{\"legacy\":true}", "<u>", "behind an added token no space", true, LMF_EXPORT_HF, { 1, 259, 262, 259, 260, 263, 259, 261 } },
        { "{}", "<u>", "that user-defined pieces", true, LMF_EXPORT_HF, { 1, 262, 259, 260, 263, 261 } },
        { "{}", "<u>", "", false, LMF_EXPORT_HF, { 1, 262, 259, 260, 263, 261 } },
        { "{}", LMF_SPACE_MARK "<u>", "that user-defined pieces", false, LMF_EXPORT_HF, { 1, 262, 259, 260, 63, 120, 65, 261 } },
        { "{}", "<u>", "of the first text alone", true, LMF_EXPORT_GGUF, { 1, 259, 262, 259, 260, 263, 259, 261 } } };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        lmf_model *m, *got;
        lmf_export_report report;
        lmf_export_opts o = lmf_export_opts_default();
        lmf_ids ids;
        char dir[600], out[600];
        size_t n = 0;
        lmf_test_pieces_folder(ctx, rows[i].config, rows[i].prefix, rows[i].last, dir);
        assert_ok(ctx, lmf_model_open(ctx, dir, &m));
        snprintf(out, sizeof out, "%s", lmf_test_path("pieces"));
        o.format = rows[i].format;
        assert_ok(ctx, lmf_export(ctx, m, out, &o, &report));
        if (*rows[i].words ? !strstr(report.losses, rows[i].words) : *report.losses != 0)
            fail_msg("row %zu: \"%s\" does not say \"%s\"", i, report.losses, rows[i].words);
        assert_true(report.verified);
        assert_ok(ctx, lmf_model_open(ctx, out, &got));
        lmf_ids_init(&ids, ctx, 100);
        assert_ok(ctx, lmf_tokenizer_encode(got->tokenizer, text, strlen(text), LMF_ENCODE_SPECIAL, &ids));
        for (; n < 9 && rows[i].ids[n]; n++)
            if (n >= ids.n || ids.data[n] != rows[i].ids[n])
                fail_msg("row %zu: token %zu of %zu is not %d", i, n, ids.n, rows[i].ids[n]);
        assert_int_equal(ids.n, n);
        lmf_ids_clear(&ids);
        lmf_model_close(got);
        lmf_model_close(m);
        lmf_test_ctx_done(ctx);
    }
}

LMF_TESTS(losses) = {
    { "a tokenizer.model in other files", pieces },
    { "what a GGUF file has no place for", losses },
    { "added tokens that overlap", order },
    { 0 },
};
