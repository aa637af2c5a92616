/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a tensor whose type stays is copied byte by byte; packing again a tensor that is packed already loses precision. A merged one
 * is W + B A in f32, packed once. */
#include <math.h>
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
    bool copy = strcmp(quant, "copy") == 0, made = false; /* made: packed anew */
    uint16_t dtype = t->part[0].w->v.dtype;
    int64_t width = t->dim[t->n_dims - 1];
    for (int i = 0; i < t->n_parts; i++)
        made |= t->part[i].b || (t->part[i].spec.form & LMF_FORM_TRANSPOSED) || lmf_form_changes_values(t->part[i].spec.form);
    *fell = false;
    t->fmt = t->n_dims < 2 || (t->row->flags & LMF_ROW_NO_QUANT) ? lmf_format_get(x->ctx, LMF_F32) :
             copy ? lmf_format_get(x->ctx, dtype) : lmf_format_find(x->ctx, quant);
    if (t->fmt)
        for (int i = 0; i < t->n_parts; i++)
            made |= t->part[i].w->v.dtype != t->fmt->dtype;
    if (!t->fmt || (!copy && !t->fmt->written.summary) || (!t->fmt->pack && made))
        return LMF_FAIL(x->ctx, LMF_E_UNSUPPORTED, "tensors can't be written as %s", t->fmt ? t->fmt->name : quant);
    if (x->opts->format == LMF_EXPORT_HF && (t->fmt->flags & LMF_FORMAT_QUANT))
        return LMF_FAIL(x->ctx, LMF_E_ARG, "a Hugging Face folder holds f32, f16 or bf16, not %s: give --quant f16, or --format gguf",
                        t->fmt->name);
    if (x->opts->format == LMF_EXPORT_GGUF && t->fmt->dtype == LMF_NF4)
        return LMF_FAIL(x->ctx, LMF_E_ARG, "GGUF has no type nf4, in which the weights are: give --quant q8_0, q4_0 or another type");
    if (width % t->fmt->block == 0)
        return LMF_OK;
    *fell = true;
    t->fmt = lmf_format_get(x->ctx, width % 32 == 0 ? LMF_Q8_0 : LMF_F16);
    return LMF_OK;
}

/* The tensor of that name in the file: a new one, or that of other parts of the same matrix. */
static lmf_status find_item(lmf_exporter *x, lmf_name_index *names, const char *name, lmf_out_tensor **out)
{
    int32_t at = lmf_name_index_find(names, name);
    if (at < 0) {
        const char *own = lmf_arena_strdup(&x->arena, name);
        if (!own)
            return LMF_NO_MEMORY(x->ctx, strlen(name), "a tensor's name");
        at = (int32_t)x->n++;
        x->items[at] = (lmf_out_tensor){ .name = own };
        LMF_TRY(lmf_name_index_add(names, own, at));
    }
    *out = &x->items[at];
    return LMF_OK;
}

static lmf_status add_item(lmf_exporter *x, lmf_name_index *names, const lmf_weight_row *row, int layer)
{
    char role[160], name[256];
    bool gguf = x->opts->format == LMF_EXPORT_GGUF;
    const char *pattern = gguf ? row->gguf : row->hf;
    lmf_out_part p = { 0 };
    lmf_out_tensor *t;
    LMF_TRY(lmf_model_name(x->ctx, row->role, layer, "", role, sizeof role));
    const lmf_weight *tied = row->tied ? lmf_weights_find(x->model->weights, row->tied) : NULL;
    p.w = lmf_weights_find(x->model->weights, role);
    if (!p.w || (tied && tied->v.data == p.w->v.data))
        return LMF_OK;
    if (!pattern)
        return LMF_FAIL(x->ctx, LMF_E_UNSUPPORTED, "the tensor %s has no place in a %s", role, gguf ? "GGUF file" : "Hugging Face folder");
    LMF_TRY(lmf_model_name(x->ctx, pattern, layer, "", name, sizeof name));
    LMF_TRY(find_item(x, names, name, &t));
    LMF_TRY(lmf_row_form(x->model, row, gguf, p.w->v.dim[0], &p.spec));
    if (t->n_parts == LMF_OUT_PARTS || (t->n_parts && !(p.spec.form & LMF_FORM_SLICE)))
        return LMF_FAIL(x->ctx, LMF_E_INTERNAL, "%s: the tables have two roles for %s", x->model->arch->name, name);
    lmf_lora_find(x->lora, role, &p.a, &p.b, &p.m);
    t->row = t->n_parts ? t->row : row;
    t->n_dims = lmf_form_stored(&p.spec, p.w->v.n_dims, p.w->v.dim, t->dim);
    t->part[t->n_parts++] = p;
    return LMF_OK;
}

static int64_t part_rows(const lmf_out_part *p)
{
    return p->w->v.n_dims == 1 && p->spec.form != LMF_FORM_PLAIN ? p->w->v.dim[0] : lmf_view_rows(&p->w->v); /* a bias: each element is a row */
}

static int64_t part_width(const lmf_out_part *p)
{
    return lmf_view_count(&p->w->v) / (part_rows(p) ? part_rows(p) : 1);
}

/* Rows of all parts together, as the graph has them. */
static int64_t all_rows(const lmf_out_tensor *t)
{
    int64_t n = 0;
    for (int i = 0; i < t->n_parts; i++)
        n += part_rows(&t->part[i]);
    return n;
}

static lmf_status finish_item(lmf_exporter *x, lmf_out_tensor *t)
{
    bool fell;
    if ((t->part[0].spec.form & LMF_FORM_SLICE) && all_rows(t) != t->part[0].spec.all_rows)
        return LMF_FAIL(x->ctx, LMF_E_UNSUPPORTED, "%s has %lld rows, of which the model has %lld", t->name,
                        (long long)t->part[0].spec.all_rows, (long long)all_rows(t));
    LMF_TRY(choose_format(x, t, &fell));
    x->report->n_fallback += fell;
    if (fell && !x->report->notes[0])
        snprintf(x->report->notes, LMF_EXPORT_NOTES, "rows that are no whole %s blocks were written in a larger type: %s has rows of %lld "
                 "and became %s", x->opts->quant, t->name, (long long)t->dim[t->n_dims - 1], t->fmt->name);
    return LMF_OK;
}

lmf_status lmf__export_list(lmf_exporter *x)
{
    lmf_name_index names;
    lmf_status s = LMF_OK;
    x->items = lmf_arena_array(&x->arena, (size_t)x->model->weights->n + 1, sizeof *x->items);
    if (!x->items)
        return LMF_NO_MEMORY(x->ctx, (size_t)x->model->weights->n * sizeof *x->items, "the list of tensors");
    lmf_name_index_init(&names, x->ctx);
    for (const lmf_weight_row *row = x->model->arch->weights; row->role && !s; row++) {
        bool layered = strstr(row->role, "{l}") != NULL;
        for (int l = 0; l < (layered ? lmf_model_config(x->model)->n_layers : 1) && !s; l++)
            s = add_item(x, &names, row, layered ? l : -1);
    }
    lmf_name_index_clear(&names);
    for (int64_t i = 0; i < x->n && !s; i++)
        s = finish_item(x, &x->items[i]);
    return s;
}

void lmf__export_row(const lmf_out_part *p, int64_t i, int64_t k, float *to)
{
    const lmf_format *f = p->w->v.fmt;
    f->unpack((const char *)p->w->v.data + (size_t)i * lmf_format_bytes(f, k), to, k);
    if (!p->b)
        return;
    int64_t rank = p->a->v.dim[0];
    const float *a = p->a->v.data, *b = (const float *)p->b->v.data + i * rank;
    for (int64_t r = 0; r < rank; r++)
        for (int64_t j = 0; b[r] != 0 && j < k; j++)
            to[j] += b[r] * a[r * k + j];
    double sum = 0;
    for (int64_t j = 0; p->m && j < k; j++)
        sum += (double)to[j] * (double)to[j];
    for (int64_t j = 0; sum > 0 && j < k; j++)
        to[j] = (float)((double)to[j] * ((double)((const float *)p->m->v.data)[i] / sqrt(sum)));
}

/* The part that row j of the file's matrix comes from, and its row *i. */
static const lmf_out_part *find_row(const lmf_out_tensor *t, int64_t j, int64_t *i)
{
    for (const lmf_out_part *p = t->part; p < t->part + t->n_parts; p++)
        if ((*i = lmf_form_row_from(&p->spec, j, part_rows(p))) >= 0)
            return p;
    return NULL;
}

/* Row by row of the file; values: room for a row and its packed form. */
static lmf_status write_rows(const lmf_out_tensor *t, int64_t k, float *values, lmf_export_sink sink, void *user)
{
    size_t packed = lmf_format_bytes(t->fmt, k);
    lmf_status s = LMF_OK;
    for (int64_t j = 0, n = all_rows(t), i; j < n && !s; j++) {
        const lmf_out_part *p = find_row(t, j, &i);
        LMF_ASSERT(p);
        if (t->fmt->dtype == p->w->v.dtype && !p->b && !lmf_form_changes_values(p->spec.form)) {
            s = sink(user, (const char *)p->w->v.data + (size_t)i * packed, packed);
            continue;
        }
        lmf__export_row(p, i, k, values);
        lmf_form_values_to(&p->spec, values, k);
        t->fmt->pack(values, values + k, k);
        s = sink(user, values + k, packed);
    }
    return s;
}

/* The matrix is made whole, then written column by column. */
static lmf_status write_turned(lmf_exporter *x, const lmf_out_tensor *t, lmf_export_sink sink, void *user)
{
    int64_t k = t->dim[0], n = t->dim[1];
    size_t whole = (size_t)(n * k) * sizeof(float), packed = lmf_format_bytes(t->fmt, n), room = whole + (size_t)n * sizeof(float) + packed;
    float *m = lmf_alloc(x->ctx, room), *row = m + n * k;
    lmf_status s = LMF_OK;
    if (!m)
        return LMF_NO_MEMORY(x->ctx, room, t->name);
    for (int64_t j = 0, i; j < n; j++) {
        const lmf_out_part *p = find_row(t, j, &i);
        LMF_ASSERT(p);
        lmf__export_row(p, i, k, m + j * k);
        lmf_form_values_to(&p->spec, m + j * k, k);
    }
    for (int64_t c = 0; c < k && !s; c++) {
        for (int64_t j = 0; j < n; j++)
            row[j] = m[j * k + c];
        t->fmt->pack(row, row + n, n);
        s = sink(user, row + n, packed);
    }
    lmf_free(x->ctx, m, room);
    return s;
}

lmf_status lmf__export_tensor(lmf_exporter *x, const lmf_out_tensor *t, lmf_export_sink sink, void *user)
{
    if (t->n_parts == 0)
        return sink(user, t->own, (size_t)t->dim[0] * sizeof *t->own);
    if ((t->part[0].spec.form & LMF_FORM_TRANSPOSED) && t->n_dims == 2)
        return write_turned(x, t, sink, user);
    int64_t k = part_width(&t->part[0]);
    size_t room = (size_t)k * sizeof(float) + lmf_format_bytes(t->fmt, k);
    float *values = lmf_alloc(x->ctx, room);
    if (!values)
        return LMF_NO_MEMORY(x->ctx, room, t->name);
    lmf_status s = write_rows(t, k, values, sink, user);
    lmf_free(x->ctx, values, room);
    return s;
}
