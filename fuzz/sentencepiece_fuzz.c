/* SPDX-License-Identifier: Apache-2.0 */
/* sentencepiece_fuzz: any bytes as a tokenizer.model. What is accepted is read through and made a vocabulary of; broken promises
 * (sentencepiece.h) are crashes. */
#include <string.h>
#include "format/hf_json.h"
#include "format/sentencepiece.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool is_control(const lmf_sentencepiece *sp, int32_t id)
{
    return id == -1 || (id >= 0 && (size_t)id < sp->n && sp->piece[id].kind == LMF_PIECE_CONTROL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    lmf_ctx ctx;
    lmf_sentencepiece sp;
    lmf_hf_tokenizer t = { 0 };
    size_t n_bytes = 0;
    lmf_ctx_init(&ctx, NULL);
    lmf_status s = lmf_sentencepiece_parse(&ctx, data, n, "fuzz", &sp);
    LMF_ASSERT((s == LMF_OK) == (sp.n > 0) && (!s || *lmf_error(&ctx)));
    for (size_t i = 0; i < sp.n; i++) {
        const lmf_piece *p = &sp.piece[i];
        LMF_ASSERT(p->text.n && p->text.n <= LMF_PIECE_MAX_BYTES && !p->text.p[p->text.n] && lmf_utf8_is_valid(p->text.p, p->text.n));
        LMF_ASSERT(p->score - p->score == 0 && p->kind != LMF_PIECE_UNUSED && p->kind >= LMF_PIECE_NORMAL && p->kind <= LMF_PIECE_BYTE);
        n_bytes += p->kind == LMF_PIECE_BYTE;
    }
    if (!s) {
        LMF_ASSERT(sp.unk >= 0 && sp.piece[sp.unk].kind == LMF_PIECE_UNKNOWN && (sp.byte_fallback ? n_bytes >= 256 : n_bytes == 0));
        LMF_ASSERT(is_control(&sp, sp.bos) && is_control(&sp, sp.eos) && is_control(&sp, sp.pad));
        s = lmf_hf_tokenizer_of_pieces(&ctx, &sp, &t);
        for (size_t i = 0; !s && i < sp.n; i++)
            LMF_ASSERT(lmf_hf_tokenizer_find(&t, sp.piece[i].text.p, sp.piece[i].text.n) == (int64_t)i);
    }
    lmf_hf_tokenizer_close(&t);
    lmf_sentencepiece_close(&sp);
    LMF_ASSERT(ctx.live_bytes == 0 && ctx.peak_bytes <= 200 * n + (8u << 20));
    lmf_ctx_clear(&ctx);
    return 0;
}
