/* SPDX-License-Identifier: Apache-2.0 */
/* forms: how a tensor may lie in a file when it is not as the graph wants it, and back: the one table that reader, exporter, adapters and
 * the exporter's check go by. A form is a bit, since a matrix may be several things at once: GPT-2's fused q, k, v is transposed and its
 * parts stand side by side. A vector (a bias) takes the same forms, element by element. Rows are moved whole, so block formats stay as
 * they are; what would have to cut blocks is refused. Values in f32 are exact, f16 and bf16 too, but for LESS_ONE, which rounds in f32. */
#ifndef LMF_FORMAT_FORMS_H
#define LMF_FORMAT_FORMS_H
#include "device/kernel.h"

enum { LMF_FORM_PLAIN,               /* as the graph wants it */
       LMF_FORM_TRANSPOSED = 1,      /* [in, out] instead of [out, in]: rows are columns in the file */
       LMF_FORM_QK_PERMUTED = 2,     /* rows of each head interleaved: GGUF's llama rope order */
       LMF_FORM_SLICE = 4,           /* a part of a fused matrix, whose parts are stacked along the output dimension */
       LMF_FORM_LESS_ONE = 8 };      /* values without the 1 that the norm adds to them: Gemma */
typedef struct lmf_form_spec { uint8_t form; int64_t n_heads, first_row, all_rows; } lmf_form_spec; /* the last two: SLICE */

typedef struct lmf_form {            /* ends with bit 0; graph to file in the table's order, file to graph backwards */
    uint8_t     bit;
    int64_t   (*row_to)(const lmf_form_spec *, int64_t i, int64_t rows);   /* of a tensor's rows: where row i lies in the file. NULL: i */
    int64_t   (*row_from)(const lmf_form_spec *, int64_t i, int64_t rows); /* which row of the tensor the file's i-th is; -1: none */
    float     (*value_to)(float), (*value_from)(float);                    /* NULL: the same */
} lmf_form;
extern const lmf_form lmf_forms[];

/* Dims of the stored tensor that gives a graph tensor of those dims; returns their number. */
int        lmf_form_stored(const lmf_form_spec *spec, int n_dims, const int64_t *dim, int64_t *stored);
int64_t    lmf_form_row_to(const lmf_form_spec *spec, int64_t i, int64_t rows);
int64_t    lmf_form_row_from(const lmf_form_spec *spec, int64_t i, int64_t rows);
bool       lmf_form_changes_values(uint8_t form);
void       lmf_form_values_to(const lmf_form_spec *spec, float *x, int64_t n);
/* src: the stored tensor's packed bytes in format f, of the dims above. dst: the graph's tensor, packed, of format f or f32, with
 * its data; f32 where values change. name is for sentences. */
lmf_status lmf_form_read(lmf_ctx *ctx, const lmf_form_spec *spec, const char *name, const lmf_format *f, const void *src, const lmf_view *dst);

#endif
