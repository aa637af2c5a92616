/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer: text to token ids and back, as the model was trained with. It is part of a model and lives as long.
 *
 *     lmfast_tokenizer *tok;
 *     int32_t ids[64];
 *     size_t n;
 *     if (lmfast_model_tokenizer(model, &tok) || lmfast_tokenizer_encode(tok, "Hello", 5, LMFAST_ENCODE_DEFAULTS, ids, 64, &n))
 *         return fprintf(stderr, "%s\n", lmfast_error(ctx)), 1;
 *     for (size_t i = 0; i < n && i < 64; i++)
 *         printf("%d ", ids[i]);
 *
 * Functions that fill a buffer write what fits into it and give in *n how much there is: more than the buffer holds means call again with
 * a larger one. Texts are bytes with their number and need no NUL. Threads: any number may use one. */
#ifndef LMFAST_TOKENIZER_H
#define LMFAST_TOKENIZER_H
#include "lmfast/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmfast_tokenizer lmfast_tokenizer;

enum {
    LMFAST_ENCODE_DEFAULTS = 1, /* beginning and end tokens as the model asks for them */
    LMFAST_ENCODE_BOS = 2, LMFAST_ENCODE_EOS = 4, /* whether it asks or not */
    LMFAST_ENCODE_SPECIAL = 8   /* control tokens spelled in the text are such; without it no text gives one */
};
enum { LMFAST_DECODE_SKIP_SPECIAL = 1 }; /* control tokens give no text */

/* Borrowed from the model. LMFAST_E_UNSUPPORTED: the model has none. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_model_tokenizer(lmfast_model *model, lmfast_tokenizer **out);
/* flags: LMFAST_ENCODE_*. LMFAST_E_ARG: a token was asked for that the model does not have. LMFAST_E_LIMIT: over 256 MiB of text. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_tokenizer_encode(lmfast_tokenizer *tok, const char *text, size_t n_bytes, uint32_t flags,
                                                                 int32_t *ids, size_t cap, size_t *n);
/* The bytes that ids stand for, without a NUL: not whole UTF-8 if the ids do not end there. flags: LMFAST_DECODE_*. LMFAST_E_ARG: an id
 * out of range. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_tokenizer_decode(lmfast_tokenizer *tok, const int32_t *ids, size_t n_ids, uint32_t flags,
                                                                 char *text, size_t cap, size_t *n);
LMFAST_API int32_t lmfast_tokenizer_n_tokens(const lmfast_tokenizer *tok);
/* The token whose text is this, "<|im_end|>" or " the"; -1: none. */
LMFAST_API int32_t lmfast_tokenizer_find(const lmfast_tokenizer *tok, const char *text, size_t n_bytes);
/* "bos", "eos", "eot", "pad", "unk"; -1: the model has none, or name is another word. */
LMFAST_API int32_t lmfast_tokenizer_special(const lmfast_tokenizer *tok, const char *name);
/* Whether the token ends an answer. */
LMFAST_API bool lmfast_tokenizer_is_end(const lmfast_tokenizer *tok, int32_t id);

#ifdef __cplusplus
}
#endif
#endif
