/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a tensor whose type stays is copied byte by byte; packing again a tensor that is packed already loses precision. A merged one
 * is W + B A in f32, packed once. */
#include <stdio.h>
#include <string.h>
#include "export/parts.h"
#include "format/forms.h"

bool lmf__export_is_tied(const lmf_model *m)
{
    for (const lmf_weight_row *row = m->arch->weights; row->role; row++) {
        const lmf_weight *w = row->tied ? lmf_weights_find(m->weights, row->role) : NULL, *t = w ? lmf_weights_find(m->weights, row->tied) : NULL;
        if (t && t->v.data == w->v.data)
            return true;
    }
    return false;
}

static bool comes_before(const lmf_format *a, const lmf_format *b)
{
    uint32_t a_bytes = a->block_bytes * b->block, b_bytes = b->block_bytes * a->block; /* for as many weights */
    return a_bytes != b_bytes ? a_bytes > b_bytes : a->written.error < b->written.error;
}

int lmf_export_formats(const lmf_tables *tables, const lmf_format **out, int n)
{
    int n_all = 0;
    for (const lmf_format *const *f = tables->formats; *f; f++) {
        if (!(*f)->written.summary || n_all++ >= n)
            continue;
        int i = n_all - 1;
        for (; i > 0 && comes_before(*f, out[i - 1]); i--)
            out[i] = out[i - 1];
        out[i] = *f;
    }
    return n_all;
}

/* The type that a tensor gets, and whether it is not the one asked for. */
static lmf_status choose_format(lmf_exporter *x, lmf_out_tensor *t, bool *fell)
{
    const char *quant = x->opts->quant;
    bool copy = strcmp(quant, "copy") == 0;
    int64_t width = t->dim[t->n_dims - 1];
    *fell = false;
    t->fmt = t->n_dims < 2 || (t->row->flags & LMF_ROW_NO_QUANT) ? lmf_format_get(x->ctx, LMF_F32) :
             copy ? lmf_format_get(x->ctx, t->w->v.dtype) : lmf_format_find(x->ctx, quant);
    if (!t->fmt || (!copy && !t->fmt->written.summary) || (!t->fmt->pack && (t->fmt->dtype != t->w->v.dtype || t->b)))
        return LMF_FAIL(x->ctx, LMF_E_UNSUPPORTED, "tensors can't be written as %s", t->fmt ? t->fmt->name : quant);
    if (x->opts->format == LMF_EXPORT_HF && (t->fmt->flags & LMF_FORMAT_QUANT))
        return LMF_FAIL(x->ctx, LMF_E_ARG, "a Hugging Face folder holds f32, f16 or bf16, not %s: give --quant f16, or --format gguf", t->fmt->name);
    if (width % t->fmt->block == 0)
        return LMF_OK;
    *fell = true;
    t->fmt = lmf_format_get(x->ctx, width % 32 == 0 ? LMF_Q8_0 : LMF_F16);
    return LMF_OK;
}

static lmf_status add_item(lmf_exporter *x, const lmf_weight_row *row, int layer)
{
    char role[160], name[256];
    bool fell, gguf = x->opts->format == LMF_EXPORT_GGUF;
    const char *pattern = gguf ? row->gguf : row->hf;
    LMF_TRY(lmf_model_name(x->ctx, row->role, layer, "", role, sizeof role));
    const lmf_weight *w = lmf_weights_find(x->model->weights, role), *tied = row->tied ? lmf_weights_find(x->model->weights, row->tied) : NULL;
    if (!w || (tied && tied->v.data == w->v.data))
        return LMF_OK;
    if (!pattern)
        return LMF_FAIL(x->ctx, LMF_E_UNSUPPORTED, "the tensor %s has no place in a %s", role, gguf ? "GGUF file" : "Hugging Face folder");
    LMF_TRY(lmf_model_name(x->ctx, pattern, layer, "", name, sizeof name));
    lmf_out_tensor *t = &x->items[x->n++];
    *t = (lmf_out_tensor){ .role = w->name, .name = lmf_arena_strdup(&x->arena, name), .w = w, .row = row, .form = gguf ? row->gguf_form : row->hf_form, .n_dims = w->v.n_dims };
    if (!t->name)
        return LMF_NO_MEMORY(x->ctx, strlen(name), "a tensor's name");
    if ((t->form & LMF_FORM_SLICE) || ((t->form & LMF_FORM_TRANSPOSED) && w->v.n_dims == 2))
        return LMF_FAIL(x->ctx, LMF_E_UNSUPPORTED, "%s: %s is stored fused or transposed, which export does not write", x->model->arch->name, name);
    memcpy(t->dim, w->v.dim, sizeof t->dim);
    lmf_lora_find(x->lora, role, &t->a, &t->b);
    LMF_TRY(choose_format(x, t, &fell));
    x->report->n_fallback += fell;
    if (fell && !x->report->notes[0])
        snprintf(x->report->notes, LMF_EXPORT_NOTES, "rows that are no whole %s blocks were written in a larger type: %s has rows of %lld and became %s", x->opts->quant, name,
                 (long long)t->dim[t->n_dims - 1], t->fmt->name);
    return LMF_OK;
}

lmf_status lmf__export_list(lmf_exporter *x)
{
    x->items = lmf_arena_array(&x->arena, (size_t)x->model->weights->n + 1, sizeof *x->items);
    if (!x->items)
        return LMF_NO_MEMORY(x->ctx, (size_t)x->model->weights->n * sizeof *x->items, "the list of tensors");
    for (const lmf_weight_row *row = x->model->arch->weights; row->role; row++) {
        bool layered = strstr(row->role, "{l}") != NULL;
        for (int l = 0; l < (layered ? lmf_model_config(x->model)->n_layers : 1); l++)
            LMF_TRY(add_item(x, row, layered ? l : -1));
    }
    return LMF_OK;
}

void lmf__export_row(const lmf_out_tensor *t, int64_t i, int64_t k, float *to)
{
    const lmf_format *f = t->w->v.fmt;
    f->unpack((const char *)t->w->v.data + (size_t)i * lmf_format_bytes(f, k), to, k);
    if (!t->b)
        return;
    int64_t rank = t->a->v.dim[0];
    const float *a = t->a->v.data, *b = (const float *)t->b->v.data + i * rank;
    for (int64_t r = 0; r < rank; r++)
        for (int64_t j = 0; b[r] != 0 && j < k; j++)
            to[j] += b[r] * a[r * k + j];
}

lmf_status lmf__export_tensor(lmf_exporter *x, const lmf_out_tensor *t, lmf_export_sink sink, void *user)
{
    if (t->own)
        return sink(user, t->own, (size_t)t->dim[0] * sizeof *t->own);
    int64_t k = t->dim[t->n_dims - 1], rows = lmf_view_rows(&t->w->v), heads = t->row->heads ? x->model->arch->dim(x->model->config, t->row->heads) : 0;
    size_t stored = lmf_format_bytes(t->w->v.fmt, k), packed = lmf_format_bytes(t->fmt, k), room = (size_t)k * sizeof(float) + packed;
    if (t->form == LMF_FORM_QK_PERMUTED && t->n_dims == 1) /* a bias: each element is a row */
        rows = k, k = 1, stored = lmf_format_bytes(t->w->v.fmt, 1), packed = lmf_format_bytes(t->fmt, 1);
    bool same = t->fmt->dtype == t->w->v.dtype && !t->b;
    int64_t *from = NULL;
    lmf_status s = LMF_OK;
    if (t->form == LMF_FORM_QK_PERMUTED && !(from = lmf_alloc(x->ctx, (size_t)rows * sizeof *from)))
        return LMF_NO_MEMORY(x->ctx, (size_t)rows * sizeof *from, t->name);
    for (int64_t i = 0; from && i < rows; i++) /* which graph row stands at each of the file's */
        from[lmf_form_qk_row(i, rows, heads)] = i;
    float *values = lmf_alloc(x->ctx, room);
    if (!values)
        s = LMF_NO_MEMORY(x->ctx, room, t->name);
    for (int64_t i = 0; !s && i < rows; i++) {
        int64_t r = from ? from[i] : i;
        if (same) {
            s = sink(user, (const char *)t->w->v.data + (size_t)r * stored, stored);
            continue;
        }
        lmf__export_row(t, r, k, values);
        t->fmt->pack(values, values + k, k);
        s = sink(user, values + k, packed);
    }
    lmf_free(x->ctx, values, room);
    lmf_free(x->ctx, from, (size_t)rows * sizeof *from);
    return s;
}
