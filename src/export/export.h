/* SPDX-License-Identifier: Apache-2.0 */
/* export: a model, with an adapter merged in or not, as a GGUF file, a Hugging Face folder or a folder with an ONNX model; and the proof
 * that the
 * file is the model.
 * The architecture's tables, which read files, are read backwards here: there is no list of names in this folder.
 *
 * What is written lies under "<path>.part" until it has been opened again by our own reader and compared: every tensor's shape and values, token
 * ids of a set of texts, the rendered template, the end-of-answer tokens, and the logits of a prompt. Only then it gets its name; a
 * file that fails is removed.
 * Owner: borrows model. Threads: one.
 *
 *     lmf_export_opts opts = lmf_export_opts_default();
 *     opts.quant = "q8_0";
 *     LMF_TRY(lmf_export(ctx, model, "small.gguf", &opts, &report)); */
#ifndef LMF_EXPORT_EXPORT_H
#define LMF_EXPORT_EXPORT_H
#include "eval/lora.h"

typedef enum lmf_export_format { LMF_EXPORT_GGUF, LMF_EXPORT_HF, LMF_EXPORT_ONNX } lmf_export_format;
#define LMF_EXPORT_Q4F16 "q4f16" /* ONNX alone: matrices in q4_0, all else in f16 */

typedef struct lmf_export_opts {
    size_t            struct_bytes;
    lmf_export_format format;
    const char       *adapter;    /* PEFT folder to merge, or NULL */
    const char       *quant;      /* "f32", "f16", "bf16", "q4_0" ...; "copy" (default): each tensor as it is stored */
    bool              overwrite;  /* a GGUF file, or a folder that an export wrote, may be replaced */
    bool              skip_verify;
    bool            (*progress)(void *user, int64_t done, int64_t total); /* tensors; false stops. Or NULL */
    void             *user;
    bool              microsoft;  /* ONNX: with Microsoft's operators */
    bool              external;   /* ONNX: tensors in a file beside the model, which is done anyway from 2 GB on */
} lmf_export_opts;
lmf_export_opts lmf_export_opts_default(void);

enum { LMF_EXPORT_NOTES = 512, LMF_EXPORT_LOSSES = 1024 };
typedef struct lmf_export_report {
    int64_t  n_tensors, n_fallback;    /* tensors written; of them in a larger type because their rows are no whole blocks */
    uint64_t n_bytes;                  /* of tensor data */
    char     notes[LMF_EXPORT_NOTES];  /* a sentence on what fell back, or "" */
    char     losses[LMF_EXPORT_LOSSES]; /* what the format has no place for, in sentences, or ""; all else was compared */
    bool     verified;
    int32_t  n_texts, n_prompt_tok;    /* compared */
    double   max_dlogit, mean_kl, same_top; /* against the model as given: nats a token; fraction of equal likeliest tokens */
    double   max_error;                /* of a tensor: root mean square of the difference over that of its values */
    double   dlogit_limit, kl_limit;   /* what was allowed; dlogit_limit 0: none */
    int64_t  n_nodes;                  /* ONNX: operators of the graph, none of which was run: n_prompt_tok is 0 */
} lmf_export_report;

/* The formats that `quant` takes, those with most bits a weight first: returns how many there are; at most n go to out. */
int lmf_export_formats(const lmf_tables *tables, const lmf_format **out, int n);
/* LMF_E_EXISTS: path is there and not ours to replace. LMF_E_INTERNAL: the written file is not the model; it was removed. */
lmf_status lmf_export(lmf_ctx *ctx, const lmf_model *model, const char *path, const lmf_export_opts *opts, lmf_export_report *out);

#endif
