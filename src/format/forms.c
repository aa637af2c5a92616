/* SPDX-License-Identifier: Apache-2.0 */
#include "format/forms.h"
#include <string.h>

/* GGUF's llama order pairs neighbours: within a head, graph row half*k + i stands at 2*i + k. */
int64_t lmf_form_qk_row(int64_t i, int64_t rows, int64_t n_heads)
{
    int64_t size = rows / n_heads, head = i / size, in_head = i % size, half = size / 2;
    return head * size + 2 * (in_head % half) + in_head / half;
}

static void copy_row(const lmf_format *f, const char *src, const lmf_view *dst, int64_t to, int64_t n)
{
    size_t row_bytes = lmf_format_bytes(dst->fmt, n);
    if (dst->dtype == f->dtype)
        memcpy((char *)dst->data + (size_t)to * row_bytes, src, row_bytes);
    else
        f->unpack(src, (float *)dst->data + to * n, n);
}

static lmf_status transpose(lmf_ctx *ctx, const char *name, const lmf_format *f, const char *src, const lmf_view *dst)
{
    int64_t rows = dst->dim[0], cols = dst->dim[1];
    if (f->block != 1 || dst->dtype != f->dtype)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "tensor \"%s\" is stored transposed in blocks, which can't be turned", name);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < cols; k++)
            memcpy((char *)dst->data + (size_t)(i * cols + k) * f->block_bytes, src + (size_t)(k * rows + i) * f->block_bytes, f->block_bytes);
    return LMF_OK;
}

lmf_status lmf_form_read(lmf_ctx *ctx, const lmf_form_spec *spec, const char *name, const lmf_format *f, const void *src, const lmf_view *dst)
{
    int64_t n = dst->dim[dst->n_dims - 1], rows = lmf_view_rows(dst);
    size_t stored = lmf_format_bytes(f, n);
    if (dst->n_dims == 2 && spec->form == LMF__FORM_TRANSPOSED)
        return transpose(ctx, name, f, src, dst);
    if (spec->form == LMF__FORM_QK_PERMUTED && (spec->n_heads < 1 || rows % (2 * spec->n_heads)))
        return LMF_FAIL(ctx, LMF_E_SHAPE, "tensor \"%s\" has %lld rows, which are no %lld heads of an even size", name, (long long)rows, (long long)spec->n_heads);
    for (int64_t i = 0; i < rows; i++) {
        int64_t from = spec->form == LMF__FORM_QK_PERMUTED ? lmf_form_qk_row(i, rows, spec->n_heads) :
                       spec->form == LMF__FORM_SLICE ? spec->part * rows + i : i;
        copy_row(f, (const char *)src + (size_t)from * stored, dst, i, n);
    }
    return LMF_OK;
}
