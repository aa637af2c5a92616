/* SPDX-License-Identifier: Apache-2.0 */
/* model_path: what a path given as "model" is, found by looking and not by its name alone. What can't be a model is
 * refused with a sentence that says what to do. Python pickles are refused always: reading one can run code. */
#ifndef LMF_FORMAT_MODEL_PATH_H
#define LMF_FORMAT_MODEL_PATH_H
#include "base/ctx.h"

typedef enum lmf_model_kind {
    LMF_MODEL_NONE,        /* refused */
    LMF_MODEL_GGUF,        /* a file */
    LMF_MODEL_SAFETENSORS, /* a file */
    LMF_MODEL_HF,          /* a folder with config.json */
    LMF_MODEL_ADAPTER      /* a folder with adapter_config.json */
} lmf_model_kind;

/* LMF_E_NOT_FOUND: nothing there. LMF_E_ARG: no file and no folder. LMF_E_UNSUPPORTED: a pickle. LMF_E_FORMAT: anything else. */
lmf_status lmf_model_path_kind(lmf_ctx *ctx, const char *path, lmf_model_kind *kind);
/* What others call the model at path: "org/name" where it lies in the cache of the Hugging Face hub,
 * .../models--org--name/snapshots/COMMIT; else path. Into text where it is not path itself. */
const char *lmf_model_path_origin(const char *path, char *text, size_t n);

#endif
