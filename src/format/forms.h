/* SPDX-License-Identifier: Apache-2.0 */
/* forms: how a matrix may lie in a file when it is not as the graph wants it, as pairs of functions: read brings the file's form
 * into the graph's, write brings it back. Rows are moved whole, so block formats stay as they are; what would have to cut
 * blocks is refused. Values in f32 are exact, f16 and bf16 too. */
#ifndef LMF_FORMAT_FORMS_H
#define LMF_FORMAT_FORMS_H
#include "device/kernel.h"

enum { LMF__FORM_PLAIN, LMF__FORM_TRANSPOSED, LMF__FORM_QK_PERMUTED, LMF__FORM_SLICE }; /* values of models/arch.h's LMF_FORM_* */
typedef struct lmf_form_spec { uint8_t form; int64_t n_heads; int part; } lmf_form_spec;

/* src: the stored tensor's packed bytes in format f. dst: the graph's tensor, packed, of format f or f32, with its data. For SLICE dst's
 * rows are taken from row part * dst.dim[0] on. name is for sentences. */
lmf_status lmf_form_read(lmf_ctx *ctx, const lmf_form_spec *spec, const char *name, const lmf_format *f, const void *src, const lmf_view *dst);
/* The stored row that graph row i becomes (QK_PERMUTED), rows rows in all. For writers. */
int64_t lmf_form_qk_row(int64_t i, int64_t rows, int64_t n_heads);

#endif
