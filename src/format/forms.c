/* SPDX-License-Identifier: Apache-2.0 */
#include "format/forms.h"
#include <string.h>

/* GGUF's llama order pairs neighbours: within a head, graph row half*k + i stands at 2*i + k. */
int64_t lmf_form_qk_row(int64_t i, int64_t rows, int64_t n_heads)
{
    int64_t size = rows / n_heads, head = i / size, in_head = i % size, half = size / 2;
    return head * size + 2 * (in_head % half) + in_head / half;
}

int lmf_form_stored(const lmf_form_spec *spec, int n_dims, const int64_t *dim, int64_t *stored)
{
    memcpy(stored, dim, (size_t)n_dims * sizeof *dim);
    if (n_dims < 1)
        return 0;
    if (spec->form & LMF__FORM_SLICE)
        stored[0] = spec->all_rows;
    if ((spec->form & LMF__FORM_TRANSPOSED) && n_dims == 2) {
        int64_t rows = stored[0];
        stored[0] = stored[1];
        stored[1] = rows;
    }
    return n_dims;
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
    bool vector = dst->n_dims == 1 && spec->form != LMF__FORM_PLAIN, turned = (spec->form & LMF__FORM_TRANSPOSED) && dst->n_dims == 2;
    int64_t n = vector ? 1 : dst->dim[dst->n_dims - 1], rows = vector ? dst->dim[0] : lmf_view_rows(dst);
    int64_t all_rows = spec->form & LMF__FORM_SLICE ? spec->all_rows : rows;
    if ((vector || turned) && f->block != 1)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "tensor \"%s\" is stored transposed in blocks, which can't be turned", name);
    if ((spec->form & LMF__FORM_QK_PERMUTED) && (spec->n_heads < 1 || rows % (2 * spec->n_heads)))
        return LMF_FAIL(ctx, LMF_E_SHAPE, "tensor \"%s\" has %lld rows, which are no %lld heads of an even size", name, (long long)rows, (long long)spec->n_heads);
    for (int64_t i = 0; i < rows; i++) {
        int64_t from = spec->form & LMF__FORM_QK_PERMUTED ? lmf_form_qk_row(i, rows, spec->n_heads) : i;
        if (spec->form & LMF__FORM_SLICE)
            from += spec->first_row;
        if (!turned)
            copy_part(f, (const char *)src + lmf_format_bytes(f, from * n), dst, i * n, n);
        for (int64_t k = 0; turned && k < n; k++)
            copy_part(f, (const char *)src + (size_t)(k * all_rows + from) * f->block_bytes, dst, i * n + k, 1);
    }
    return LMF_OK;
}
