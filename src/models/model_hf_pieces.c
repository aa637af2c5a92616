/* SPDX-License-Identifier: Apache-2.0 */
/* A Hugging Face folder whose only tokenizer is SentencePiece's tokenizer.model, as that of Llama 2 and Mistral.
 * Rule: ids of a plain text are SentencePiece's. What it does not know, control tokens in a text, added tokens and what is put around a
 * text, is as in transformers 5's LlamaTokenizer; a folder of another class is refused, since each has rules of its own. */
#include <string.h>
#include "base/file.h"
#include "format/hf_json.h"
#include "format/sentencepiece.h"
#include "models/model.h"

lmf_status lmf__model_find_pieces(lmf_model *m, lmf_sentencepiece *sp, bool *found)
{
    char path[4096];
    *sp = (lmf_sentencepiece){ 0 };
    *found = false;
    LMF_TRY(lmf_path_join(m->ctx, path, sizeof path, m->path, "tokenizer.json"));
    if (lmf_path_stat(path) != LMF_PATH_NONE)
        return LMF_OK;
    LMF_TRY(lmf_path_join(m->ctx, path, sizeof path, m->path, "tokenizer.model"));
    *found = lmf_path_stat(path) != LMF_PATH_NONE;
    return *found ? lmf_sentencepiece_open(m->ctx, path, sp) : LMF_OK;
}

static lmf_status check_class(lmf_model *m, const char *name)
{
    static const char *const known[] = { "", "LlamaTokenizer", "LlamaTokenizerFast" };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i]))
            return LMF_OK;
    return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tokenizer_config.json: the class %.60s with a tokenizer.model and no tokenizer.json is not "
                    "supported; LlamaTokenizer is", name);
}

/* A space in front: of the first text alone, or as `legacy` has it also behind every token that is cut out. */
static lmf_status set_lead(lmf_model *m, const lmf_sentencepiece *sp, const lmf_hf_special *s)
{
    lmf_vocab *v = &m->vocab;
    if (s->prefix_space == 1 && !sp->add_dummy_prefix)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "add_prefix_space is true in tokenizer_config.json and add_dummy_prefix false in "
                        "tokenizer.model: they contradict each other");
    bool leads = sp->add_dummy_prefix && s->prefix_space != 0;
    lmf_norm_step *step = lmf_arena_array(&m->arena, 2, sizeof *step);
    if (!step)
        return LMF_NO_MEMORY(m->ctx, 2 * sizeof *step, "the vocabulary");
    v->norm = step;
    if (leads)
        step[v->n_norm++] = (lmf_norm_step){ LMF_NORM_PREPEND, NULL, " ", 0, 1 };
    step[v->n_norm++] = (lmf_norm_step){ LMF_NORM_REPLACE, LMF_SPACE_MARK, " ", 3, 1 };
    v->prepend = s->legacy == 1 ? LMF_PREPEND_GAPS : LMF_PREPEND_FIRST;
    v->strip = leads;
    return LMF_OK;
}

lmf_status lmf__model_read_pieces(lmf_model *m, const lmf_sentencepiece *sp)
{
    lmf_hf_special s;
    lmf_vocab *v = &m->vocab;
    float *score = lmf_arena_array(&m->arena, v->n_tokens, sizeof *score);
    if (!score)
        return LMF_NO_MEMORY(m->ctx, v->n_tokens * sizeof *score, "scores of tokens");
    uint8_t *kind = (uint8_t *)(uintptr_t)v->kind, *added = (uint8_t *)(uintptr_t)v->added; /* in our arena */
    for (size_t i = 0; i < v->n_tokens; i++) {
        const lmf_piece *p = i < sp->n ? &sp->piece[i] : NULL;
        bool user = p && p->kind == LMF_PIECE_USER_DEFINED && kind[i] == LMF_TOKEN_USER_DEFINED;
        score[i] = p ? p->score : 0;
        if (p && (p->kind == LMF_PIECE_BYTE || p->kind == LMF_PIECE_UNKNOWN))
            kind[i] = (uint8_t)p->kind;
        /* a piece of the user's is found behind the space in front; other added tokens are cut out before */
        added[i] = (uint8_t)((added[i] & ~LMF_ADDED_NORMALIZED) | (user ? LMF_ADDED_NORMALIZED : 0));
    }
    v->model = "llama";
    v->score = score;
    v->fuse_unk = true;
    LMF_TRY(lmf_hf_special_open(m->ctx, m->path, &s));
    lmf_status status = check_class(m, s.class_name);
    if (!status)
        status = set_lead(m, sp, &s);
    lmf_hf_special_close(&s);
    return status;
}

/* What the folder does not name, the model does. Nothing is put around a text unless the folder says so, as in transformers 5. */
lmf_status lmf__model_name_pieces(lmf_model *m, const lmf_sentencepiece *sp)
{
    lmf_hf_special s;
    lmf_vocab *v = &m->vocab;
    LMF_TRY(lmf_hf_special_open(m->ctx, m->path, &s));
    if (!*s.bos)
        v->bos = sp->bos;
    if (!*s.eos)
        v->eos = sp->eos;
    v->bos_unnamed = v->bos < 0, v->eos_unnamed = v->eos < 0;
    v->unk = sp->unk;
    v->add_bos = s.add_bos == 1 ? LMF_YES : LMF_NO;
    v->add_eos = s.add_eos == 1;
    lmf_hf_special_close(&s);
    return LMF_OK;
}
