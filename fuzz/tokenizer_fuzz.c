/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer_fuzz: the first bytes make a vocabulary, the rest is text for it. What create accepts must give back the text
 * byte for byte (less what has no token), whole UTF-8 from the stream, and no control token unless asked. */
#include <stdio.h>
#include <string.h>
#include "text/tokenizer/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
extern const lmf_tables lmf_all_tables;

enum { MAX_ITEMS = 600 };

typedef struct input {
    const uint8_t *p;
    size_t         n;
} input;

static unsigned take(input *in) { return in->n ? (in->n--, *in->p++) : 0; }

/* A string of the input: length in one byte. */
static const char *take_string(input *in, uint32_t *n)
{
    size_t k = take(in) % 40;
    k = k < in->n ? k : in->n;
    const char *s = (const char *)in->p;
    in->p += k, in->n -= k;
    *n = (uint32_t)k;
    return s;
}

typedef struct vocab {
    lmf_vocab   v;
    char        byte_text[256][2];
    const char *token[MAX_ITEMS], *merge[MAX_ITEMS];
    uint32_t    token_bytes[MAX_ITEMS], merge_bytes[MAX_ITEMS];
    uint8_t     kind[MAX_ITEMS], added[MAX_ITEMS];
    float       score[MAX_ITEMS];
    lmf_norm_step norm[2];
    char        byte_name[256][8];
} vocab;

/* SentencePiece's kind: the flags in a byte, spaces and some bytes as tokens. */
static void make_spaced(vocab *w, input *in)
{
    unsigned how = take(in);
    w->v.model = "llama";
    w->v.pretok = NULL;
    w->v.lead = (lmf_lead)(how % 3);
    w->v.each_space = how & 4, w->v.marked = how & 8, w->v.fuse_unk = how & 16, w->v.score = how & 32 ? w->score : NULL;
    w->v.norm = w->norm;
    if (how & 64)
        w->norm[w->v.n_norm++] = (lmf_norm_step){ LMF_NORM_PREPEND, NULL, " ", 0, 1 };
    w->norm[w->v.n_norm++] = (lmf_norm_step){ LMF_NORM_REPLACE, LMF_SPACE_MARK, " ", 3, 1 };
    for (int b = 0; b < 256; b++) {
        if ((how & 128) && b % 3 == 0)
            continue;
        snprintf(w->byte_name[b], sizeof w->byte_name[b], "<0x%02X>", (unsigned)b);
        w->token[w->v.n_tokens] = w->byte_name[b];
        w->token_bytes[w->v.n_tokens] = 6;
        w->kind[w->v.n_tokens++] = LMF_TOKEN_BYTE;
    }
}

static void make(vocab *w, input *in)
{
    static const char *const pretok[] = { "gpt-2", "smollm", "llama-bpe" };
    unsigned head = take(in);
    lmf_vocab_init(&w->v);
    w->v.pretok = pretok[head % 3];
    w->v.whole_words = (lmf_choice)(head / 3 % 3);
    w->v.add_bos = (lmf_choice)(head / 9 % 3);
    w->v.token = w->token, w->v.token_bytes = w->token_bytes, w->v.kind = w->kind, w->v.added = w->added;
    w->v.merge = w->merge, w->v.merge_bytes = w->merge_bytes;
    bool spaced = (head & 0xc0) == 0x40;
    if (spaced)
        make_spaced(w, in);
    if (head & 0x80)
        for (int b = 0, next = 256; b < 256; b++) { /* all bytes, so that most inputs get past create */
            int cp = (b >= 33 && b <= 126) || (b >= 161 && b != 173) ? b : next++;
            w->byte_text[b][0] = (char)(cp < 0x80 ? cp : 0xc0 | cp >> 6);
            w->byte_text[b][1] = (char)(0x80 | (cp & 0x3f));
            w->token[w->v.n_tokens] = w->byte_text[b];
            w->token_bytes[w->v.n_tokens] = cp < 0x80 ? 1 : 2;
            w->kind[w->v.n_tokens++] = LMF_TOKEN_NORMAL;
        }
    for (unsigned i = take(in); i; i--) {
        unsigned k = take(in);
        w->kind[w->v.n_tokens] = (uint8_t)(k & 7 ? k & 7 : 1);
        w->added[w->v.n_tokens] = (uint8_t)(k >> 4);
        w->score[w->v.n_tokens] = (float)(int8_t)(k ^ i);
        w->token[w->v.n_tokens] = take_string(in, &w->token_bytes[w->v.n_tokens]);
        w->v.n_tokens++;
    }
    for (unsigned i = take(in); i; i--) {
        w->merge[w->v.n_merges] = take_string(in, &w->merge_bytes[w->v.n_merges]);
        w->v.n_merges++;
    }
    w->v.bos = (int8_t)take(in);
    w->v.unk = spaced && w->v.bos >= 0 && (size_t)w->v.bos < w->v.n_tokens ? w->v.bos : -1;
}

static void check_text(lmf_ctx *ctx, const vocab *w, const lmf_tokenizer *t, const input *in, unsigned flags)
{
    lmf_ids ids;
    lmf_buf whole, streamed;
    lmf_decode_stream d = { 0 };
    bool strips = false;
    lmf_ids_init(&ids, ctx, 1 << 24);
    lmf_buf_init(&whole, ctx, 1 << 26);
    lmf_buf_init(&streamed, ctx, 1 << 28);
    for (size_t i = 0; i < w->v.n_tokens; i++)
        strips |= (w->added[i] & (LMF_ADDED_LSTRIP | LMF_ADDED_RSTRIP)) != 0;
    LMF_ASSERT(!lmf_tokenizer_encode(t, (const char *)in->p, in->n, flags, &ids));
    LMF_ASSERT(!lmf_tokenizer_decode(t, ids.data, ids.n, 0, &whole));
    for (size_t i = 0; i < ids.n; i++) {
        lmf_token_kind kind = lmf_tokenizer_kind(t, ids.data[i]);
        LMF_ASSERT(kind != LMF_TOKEN_UNUSED && ((flags & LMF_ENCODE_SPECIAL) || (kind != LMF_TOKEN_CONTROL && kind != LMF_TOKEN_UNKNOWN)));
        LMF_ASSERT(!lmf_decode_stream_push(&d, t, ids.data[i], 0, &streamed));
    }
    LMF_ASSERT(!lmf_decode_stream_end(&d, &streamed));
    if (!strips && !w->v.model) /* spaces are put in, marks become spaces */
        LMF_ASSERT(whole.n + ids.n_dropped == in->n && (ids.n_dropped || !in->n || !memcmp(whole.data, in->p, in->n)));
    for (size_t i = 0; i < streamed.n;) { /* lead bytes with the right number of others behind */
        uint8_t b = (uint8_t)streamed.data[i++];
        for (int more = b < 0x80 ? 0 : b < 0xe0 ? 1 : b < 0xf0 ? 2 : 3; more; more--)
            LMF_ASSERT(b >= 0xc2 && i < streamed.n && ((uint8_t)streamed.data[i++] & 0xc0) == 0x80);
    }
    lmf_ids_clear(&ids);
    lmf_buf_clear(&whole);
    lmf_buf_clear(&streamed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    lmf_ctx ctx;
    lmf_tokenizer *t;
    input in = { data, n };
    lmf_ctx_init(&ctx, &lmf_all_tables);
    vocab *w = lmf_new(&ctx, vocab);
    LMF_ASSERT(w);
    make(w, &in);
    if (!lmf_tokenizer_create(&ctx, &w->v, &t)) {
        check_text(&ctx, w, t, &in, 0);
        check_text(&ctx, w, t, &in, LMF_ENCODE_SPECIAL);
        check_text(&ctx, w, t, &in, LMF_ENCODE_PLAIN);
        lmf_tokenizer_destroy(t);
    } else {
        LMF_ASSERT(!t && *lmf_error(&ctx));
    }
    lmf_delete(&ctx, w);
    LMF_ASSERT(ctx.live_bytes == 0);
    lmf_ctx_clear(&ctx);
    return 0;
}
