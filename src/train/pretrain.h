/* SPDX-License-Identifier: Apache-2.0 */
/* pretrain: what a model that starts from nothing needs before its first step: a tokenizer out of the text, the text as tokens in shards,
 * and first weights, in one folder. It is a Hugging Face folder of an untrained model with the shards beside it:
 *
 *     PREPARED/tokenizer.json, tokenizer_config.json, config.json, generation_config.json, model.safetensors
 *     PREPARED/train-00000.tokens, eval-00000.tokens      (data/shards.h)
 *     PREPARED/prepared.json                              what it was made of, with hashes; counts
 *
 * First weights: numbers of a normal distribution with standard deviation 0.02, of the two matrices of a layer that add to what goes on
 * (o_proj, down_proj) 0.02 / sqrt(2 layers), as GPT-2 has it; norms are 1. They depend on the seed, a tensor's place and an element's
 * alone. Documents are shuffled by the seed; the last of that order are held out, and the tokenizer does not see them.
 *
 *     LMF_TRY(lmf_pretrain_prepare(ctx, &config, "out.prepared", &watch, &p));
 *     ... lmf_run with model "out.prepared", samples p.train->samples, p.eval->samples
 *     lmf_prepared_close(&p);
 *
 * Owner: prepare/close. Threads: one; all workers of the context work. */
#ifndef LMF_TRAIN_PRETRAIN_H
#define LMF_TRAIN_PRETRAIN_H
#include "config/train_config.h"
#include "data/shards.h"

#define LMF_PRETRAIN_BORDER "<|endoftext|>"

typedef struct lmf_pretrain_config {
    lmf_train_config train;          /* first: both tables of flags set members of one struct */
    const char *prepared;            /* NULL: "OUTPUT.prepared" */
    int64_t vocab, width, ffn, n_layers, n_heads, n_kv_heads, min_count; /* ffn 0: 8/3 of the width,
        up to a multiple of 64; n_kv_heads 0: n_heads */
    double  rope_theta;
    bool    tied;
} lmf_pretrain_config;

typedef struct lmf_pretrain_watch {
    bool (*progress)(void *user, const char *what, int64_t done, int64_t total); /* true: stop */
    void (*note)(void *user, bool warning, const char *sentence);
    void  *user;
} lmf_pretrain_watch;

typedef struct lmf_prepared {
    lmf_shards *train, *eval;        /* eval NULL: nothing is held out */
    json_t     *facts;               /* prepared.json */
    bool        reused;              /* it was there, made of the same */
} lmf_prepared;

/* Makes the folder, or opens the one that was made of the same text and settings. LMF_E_EXISTS: another lies there, and train.overwrite is
 * not set; LMF_E_ARG: settings that give no model, no text, a share held out that leaves none; LMF_E_CANCELLED leaves nothing behind. */
lmf_status lmf_pretrain_prepare(lmf_ctx *ctx, const lmf_pretrain_config *c, const char *dir, const lmf_pretrain_watch *watch,
                                lmf_prepared *out);
void       lmf_prepared_close(lmf_prepared *p);
/* Bits that the text's bytes take, from the mean loss of its tokens, borders included. */
double     lmf_bits_per_byte(const lmf_shards *s, double loss);

/* ---- pretrain_model.c ---- */
/* The configuration and first weights of a llama into dir. LMF_E_ARG: sizes that don't go together. */
lmf_status lmf__pretrain_write_model(lmf_ctx *ctx, const lmf_pretrain_config *c, int32_t n_tokens, int32_t border, const char *dir);

#endif
