/* SPDX-License-Identifier: Apache-2.0 */
#include "format/forms.h"
#include <string.h>

/* GGUF's llama order pairs neighbours: within a head, graph row half*k + i stands at 2*i + k. */
static int64_t qk_to(const lmf_form_spec *s, int64_t i, int64_t rows)
{
    int64_t size = rows / s->n_heads, at = i % size, half = size / 2;
    return i - at + 2 * (at % half) + at / half;
}

static int64_t qk_from(const lmf_form_spec *s, int64_t i, int64_t rows)
{
    int64_t size = rows / s->n_heads, at = i % size, half = size / 2;
    return i - at + at / 2 + at % 2 * half;
}

static int64_t slice_to(const lmf_form_spec *s, int64_t i, int64_t rows)
{
    (void)rows;
    return s->first_row + i;
}

static int64_t slice_from(const lmf_form_spec *s, int64_t i, int64_t rows)
{
    return i >= s->first_row && i < s->first_row + rows ? i - s->first_row : -1;
}

static float less_one(float x) { return x - 1; }
static float and_one(float x) { return x + 1; }

const lmf_form lmf_forms[] = {
    { LMF_FORM_QK_PERMUTED, .row_to = qk_to, .row_from = qk_from },
    { LMF_FORM_SLICE, .row_to = slice_to, .row_from = slice_from },
    { LMF_FORM_LESS_ONE, .value_to = less_one, .value_from = and_one },
    { LMF_FORM_TRANSPOSED }, /* no row moves: the file's rows are columns */
    { 0 }
};
enum { N_FORMS = sizeof lmf_forms / sizeof *lmf_forms - 1 };

int lmf_form_stored(const lmf_form_spec *spec, int n_dims, const int64_t *dim, int64_t *stored)
{
    memcpy(stored, dim, (size_t)n_dims * sizeof *dim);
    if (n_dims < 1)
        return 0;
    if (spec->form & LMF_FORM_SLICE)
        stored[0] = spec->all_rows;
    if ((spec->form & LMF_FORM_TRANSPOSED) && n_dims == 2) {
        int64_t rows = stored[0];
        stored[0] = stored[1];
        stored[1] = rows;
    }
    return n_dims;
}

int64_t lmf_form_row_to(const lmf_form_spec *spec, int64_t i, int64_t rows)
{
    for (int k = 0; k < N_FORMS; k++)
        if ((spec->form & lmf_forms[k].bit) && lmf_forms[k].row_to)
            i = lmf_forms[k].row_to(spec, i, rows);
    return i;
}

int64_t lmf_form_row_from(const lmf_form_spec *spec, int64_t i, int64_t rows)
{
    for (int k = N_FORMS - 1; k >= 0 && i >= 0; k--)
        if ((spec->form & lmf_forms[k].bit) && lmf_forms[k].row_from)
            i = lmf_forms[k].row_from(spec, i, rows);
    return i;
}

bool lmf_form_changes_values(uint8_t form)
{
    for (const lmf_form *f = lmf_forms; f->bit; f++)
        if ((form & f->bit) && f->value_to)
            return true;
    return false;
}

void lmf_form_values_to(const lmf_form_spec *spec, float *x, int64_t n)
{
    for (const lmf_form *f = lmf_forms; f->bit; f++)
        for (int64_t i = 0; (spec->form & f->bit) && f->value_to && i < n; i++)
            x[i] = f->value_to(x[i]);
}

static void values_from(const lmf_form_spec *spec, float *x, int64_t n)
{
    for (int k = N_FORMS - 1; k >= 0; k--)
        for (int64_t i = 0; (spec->form & lmf_forms[k].bit) && lmf_forms[k].value_from && i < n; i++)
            x[i] = lmf_forms[k].value_from(x[i]);
}

/* n elements of format f at src as elements `to` on of dst. */
static void copy_part(const lmf_format *f, const char *src, const lmf_view *dst, int64_t to, int64_t n)
{
    size_t bytes = lmf_format_bytes(dst->fmt, n);
    if (dst->dtype == f->dtype)
        memcpy((char *)dst->data + lmf_format_bytes(dst->fmt, to), src, bytes);
    else
        f->unpack(src, (float *)dst->data + to, n);
}

lmf_status lmf_form_read(lmf_ctx *ctx, const lmf_form_spec *spec, const char *name, const lmf_format *f, const void *src, const lmf_view *dst)
{
    bool vector = dst->n_dims == 1 && spec->form != LMF_FORM_PLAIN, turned = (spec->form & LMF_FORM_TRANSPOSED) && dst->n_dims == 2;
    int64_t n = vector ? 1 : dst->dim[dst->n_dims - 1], rows = vector ? dst->dim[0] : lmf_view_rows(dst);
    int64_t all_rows = spec->form & LMF_FORM_SLICE ? spec->all_rows : rows;
    if ((vector || turned) && f->block != 1)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "tensor \"%s\" is stored transposed in blocks, which can't be turned", name);
    if ((spec->form & LMF_FORM_QK_PERMUTED) && (spec->n_heads < 1 || rows % (2 * spec->n_heads)))
        return LMF_FAIL(ctx, LMF_E_SHAPE, "tensor \"%s\" has %lld rows, which are no %lld heads of an even size", name, (long long)rows,
                        (long long)spec->n_heads);
    LMF_ASSERT(!lmf_form_changes_values(spec->form) || dst->dtype == LMF_F32);
    for (int64_t i = 0; i < rows; i++) {
        int64_t from = lmf_form_row_to(spec, i, rows);
        if (!turned)
            copy_part(f, (const char *)src + lmf_format_bytes(f, from * n), dst, i * n, n);
        for (int64_t k = 0; turned && k < n; k++)
            copy_part(f, (const char *)src + (size_t)(k * all_rows + from) * f->block_bytes, dst, i * n + k, 1);
    }
    if (lmf_form_changes_values(spec->form))
        values_from(spec, dst->data, rows * n);
    return LMF_OK;
}
