/* SPDX-License-Identifier: Apache-2.0 */
/* model: a model file or folder, opened: weights, tokenizer, chat template. Weights stay where they lie in the mapped file, so that opening
 * takes milliseconds and a second process shares their memory. The file must not change while it is open.
 *
 *     lmfast_model *model;
 *     if (lmfast_model_open(ctx, "SmolLM2-135M-Instruct.Q4_1.gguf", NULL, &model))
 *         return fprintf(stderr, "%s\n", lmfast_error(ctx)), 1;
 *     lmfast_model_info info = { .struct_bytes = sizeof info };
 *     if (lmfast_model_get_info(model, &info) == LMFAST_OK)
 *         printf("%s: %s, %lld parameters\n", info.name, info.arch, (long long)info.n_params);
 *     lmfast_model_close(model);
 *
 * Threads: any number may use an open model. */
#ifndef LMFAST_MODEL_H
#define LMFAST_MODEL_H
#include "lmfast/context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmfast_model lmfast_model;

/* Where control tokens that are spelled in a text are control tokens. Those of the template itself always are. */
enum {
    LMFAST_CONTROL_BY_ORIGIN = 0,  /* in plain text and in what the assistant says; not in what users, systems and tools say */
    LMFAST_CONTROL_EVERYWHERE = 1, /* as transformers' apply_chat_template does: a user can forge a turn */
    LMFAST_CONTROL_NOWHERE = 2
};

typedef struct lmfast_model_opts {
    size_t      struct_bytes;
    const char *chat_template;  /* file with the chat template to use instead of the model's own; NULL: its own */
    int32_t     control;        /* LMFAST_CONTROL_*; default BY_ORIGIN */
    int64_t     clock_unix;     /* what templates see as now, in seconds since 1970, UTC; 0: the time of opening */
} lmfast_model_opts;

typedef struct lmfast_model_info {
    size_t      struct_bytes;
    const char *path, *name, *arch; /* as given; what the file calls itself; "llama". Live as long as the model */
    int64_t     n_params;       /* weights, tied ones once */
    int32_t     n_layers, n_embd, vocab; /* blocks, width of a token's row, tokens of the vocabulary */
    int32_t     context;        /* tokens that the model was made for */
    bool        has_tokenizer, has_chat_template;
} lmfast_model_info;

LMFAST_API void lmfast_model_opts_init(lmfast_model_opts *opts, size_t bytes);
static inline lmfast_model_opts lmfast_model_opts_default(void)
{
    lmfast_model_opts o;
    lmfast_model_opts_init(&o, sizeof o);
    return o;
}

/* path: a GGUF file, a folder of Hugging Face's form, or a safetensors file in one. LMFAST_E_NOT_FOUND, LMFAST_E_FORMAT (damaged, or no
 * model), LMFAST_E_UNSUPPORTED (an architecture or a setting that is not understood, by name: nothing that a file says is passed over). */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_model_open(lmfast_context *ctx, const char *path, const lmfast_model_opts *opts,
                                                           lmfast_model **out);
LMFAST_API void lmfast_model_close(lmfast_model *model);
/* Fills info up to its struct_bytes. LMFAST_E_ARG: that is 0. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_model_get_info(const lmfast_model *model, lmfast_model_info *info);
LMFAST_API lmfast_context *lmfast_model_context(const lmfast_model *model);

#ifdef __cplusplus
}
#endif
#endif
