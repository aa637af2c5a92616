/* SPDX-License-Identifier: Apache-2.0 */
/* forms: how a tensor may lie in a file when it is not as the graph wants it. A form is a set of bits, since a matrix may be
 * several things at once: GPT-2's fused q, k, v is transposed and its parts stand side by side. A vector (a bias) takes the same
 * forms, element by element. Rows are moved whole, so block formats stay as they are; what would have to cut blocks is refused.
 * Values in f32 are exact, f16 and bf16 too. */
#ifndef LMF_FORMAT_FORMS_H
#define LMF_FORMAT_FORMS_H
#include "device/kernel.h"

enum { LMF__FORM_PLAIN, LMF__FORM_TRANSPOSED = 1, LMF__FORM_QK_PERMUTED = 2, LMF__FORM_SLICE = 4 }; /* values of models/arch.h's LMF_FORM_* */
typedef struct lmf_form_spec { uint8_t form; int64_t n_heads, first_row, all_rows; } lmf_form_spec; /* the last two: SLICE */

/* Dims of the stored tensor that gives a graph tensor of those dims; returns their number. */
int        lmf_form_stored(const lmf_form_spec *spec, int n_dims, const int64_t *dim, int64_t *stored);
/* src: the stored tensor's packed bytes in format f, of the dims above. dst: the graph's tensor, packed, of format f or f32, with
 * its data. For SLICE dst's rows are taken from first_row on, of all_rows. name is for sentences. */
lmf_status lmf_form_read(lmf_ctx *ctx, const lmf_form_spec *spec, const char *name, const lmf_format *f, const void *src, const lmf_view *dst);
/* The stored row that graph row i becomes (QK_PERMUTED), rows rows in all. For writers. */
int64_t lmf_form_qk_row(int64_t i, int64_t rows, int64_t n_heads);

#endif
