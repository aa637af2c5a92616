/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a matrix is never whole in memory as f32: one that lies turned in the file is made a band of its columns at a time. */
#include <stdio.h>
#include <string.h>
#include "export/onnx.h"
#include "quant/q4_0/q4_0.h"

enum { BAND_BYTES = 64 << 20, GROUP = 32 };

static const struct precision { const char *quant; bool half, four; const char *file; } precisions[] = {
    { "f32", false, false, "model.onnx" }, { "f16", true, false, "model_fp16.onnx" }, { "q4_0", false, true, "model_q4.onnx" },
    { LMF_EXPORT_Q4F16, true, true, "model_q4f16.onnx" },
};

/* The one type that all matrices of the layers have, or "". */
static const char *own_type(const lmf_model *m)
{
    const char *name = "";
    int layer;
    for (int32_t i = 0; i < m->weights->n; i++) {
        const lmf_weight *w = &m->weights->items[i];
        const lmf_weight_row *row = lmf_model_row(m, w->name, &layer);
        if (layer < 0 || !row || (row->flags & LMF_ROW_NO_QUANT))
            continue;
        if (*name && strcmp(name, w->v.fmt->name))
            return "";
        name = w->v.fmt->name;
    }
    return name;
}

lmf_status lmf__onnx_precision(const lmf_exporter *x, bool *half, bool *four, const char **file)
{
    bool copy = strcmp(x->opts->quant, "copy") == 0;
    const char *want = copy ? own_type(x->model) : x->opts->quant;
    for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++)
        if (strcmp(precisions[i].quant, want) == 0) {
            *half = precisions[i].half, *four = precisions[i].four, *file = precisions[i].file;
            return LMF_OK;
        }
    if (copy)
        return LMF_FAIL(x->ctx, LMF_E_ARG,
            "an ONNX file holds f32, f16 or q4_0, not %s as the model is stored: give --quant f32, f16, q4_0 or " LMF_EXPORT_Q4F16,
                        *want ? want : "the mixed types");
    return LMF_FAIL(x->ctx, LMF_E_ARG, "an ONNX file holds f32, f16 or q4_0, not %s: give --quant f32, f16, q4_0 or " LMF_EXPORT_Q4F16,
                    want);
}

static const lmf__onnx_item *find(const lmf__onnx *o, const char *name)
{
    for (int32_t i = 0; i < o->n_items; i++)
        if (strcmp(o->items[i].name, name) == 0)
            return &o->items[i];
    return NULL;
}

/* The tensor's type and shape in the file. */
static int shape_of(const lmf__onnx *o, const lmf__onnx_item *t, int64_t dim[3], int *n_dims)
{
    int type = o->half ? LMF_ONNX_F16 : LMF_ONNX_F32;
    bool turned = t->kind == LMF__ONNX_TURNED || t->kind == LMF__ONNX_CODES_TURNED || t->kind == LMF__ONNX_SCALES_TURNED;
    bool scales = t->kind == LMF__ONNX_SCALES || t->kind == LMF__ONNX_SCALES_TURNED;
    int64_t k = scales ? t->k / GROUP : t->k;
    *n_dims = t->part.w->v.n_dims == 1 ? 1 : t->kind == LMF__ONNX_CODES ? 3 : 2;
    dim[0] = *n_dims == 1 || turned ? k : t->n, dim[1] = turned ? t->n : k;
    if (t->kind == LMF__ONNX_CODES)
        dim[1] = k / GROUP, dim[2] = GROUP / 2;
    return t->kind == LMF__ONNX_CODES ? LMF_ONNX_U8 : t->kind == LMF__ONNX_CODES_TURNED ? LMF_ONNX_I4 : type;
}

const char *lmf__onnx_matrix(lmf__onnx *o, const char *role, int kind)
{
    lmf_exporter *x = o->x;
    lmf__onnx_item t = { .kind = kind };
    int64_t dim[3];
    int n_dims, layer;
    bool codes = kind >= LMF__ONNX_CODES, scales = kind == LMF__ONNX_SCALES || kind == LMF__ONNX_SCALES_TURNED;
    t.part.w = lmf_weights_find(x->model->weights, role);
    const lmf_weight_row *row = lmf_model_row(x->model, role, &layer);
    LMF_ASSERT(t.part.w && t.part.w->v.n_dims <= 2);
    t.k = t.part.w->v.dim[t.part.w->v.n_dims - 1], t.n = t.part.w->v.n_dims == 2 ? t.part.w->v.dim[0] : 1;
    if (codes && (t.k % GROUP || t.n % 2)) {
        o->n_fallback += !scales && !find(o, role);
        snprintf(x->report->notes, LMF_EXPORT_NOTES,
                 "matrices whose rows are no multiple of 32, or odd in number, stay in %s: %s has %lld rows of %lld",
                 o->half ? "f16" : "f32", role, (long long)t.n, (long long)t.k);
        return NULL;
    }
    bool turned_codes = kind == LMF__ONNX_CODES_TURNED || kind == LMF__ONNX_SCALES_TURNED;
    t.name = lmf_arena_printf(&x->arena, "%s%s%s", role, turned_codes ? ".turned" : "", scales ? ".scale" : "");
    if (!t.name || find(o, t.name))
        return t.name;
    lmf_lora_find(x->lora, role, &t.part.a, &t.part.b, &t.part.m);
    int type = shape_of(o, &t, dim, &n_dims);
    /* what norms multiply stays f32, as it is computed; biases are added to what goes on */
    bool norm = n_dims == 1 && row && (row->flags & LMF_ROW_NO_QUANT) && !strstr(role, "_bias");
    LMF_ASSERT(o->n_items < o->cap);
    o->items[o->n_items++] = t;
    if (lmf_onnx_put_tensor(&o->w, t.name, norm ? LMF_ONNX_F32 : type, n_dims, dim, NULL) < 0)
        return NULL;
    return t.name;
}

/* ---- bytes ---- */
typedef struct band {           /* rooms for a row, its blocks, and columns of all rows */
    float    *row;
    lmf_q4_0 *blocks;
    uint8_t  *out;
    size_t    bytes, out_bytes; /* of all; of out */
} band;

static lmf_status open_band(lmf_ctx *ctx, int64_t k, size_t out_bytes, band *b)
{
    size_t row = (size_t)k * sizeof(float), blocks = (size_t)(k / GROUP + 1) * sizeof(lmf_q4_0);
    blocks = (blocks + 15) & ~(size_t)15;
    b->bytes = row + blocks + out_bytes;
    b->out_bytes = out_bytes;
    b->row = lmf_alloc(ctx, b->bytes);
    if (!b->row)
        return LMF_NO_MEMORY(ctx, b->bytes, "a part of a matrix");
    b->out = (uint8_t *)b->row + row;
    b->blocks = (lmf_q4_0 *)(void *)(b->out + out_bytes);
    return LMF_OK;
}

/* Row i, an adapter merged in, as values or as blocks. A matrix that is q4_0 already keeps its blocks. */
static void get_row(lmf_ctx *ctx, const lmf__onnx_item *t, int64_t i, band *b)
{
    lmf__export_row(&t->part, i, t->k, b->row);
    if (t->kind < LMF__ONNX_CODES)
        return;
    const lmf_format *f = lmf_format_get(ctx, LMF_Q4_0);
    if (t->part.w->v.dtype == LMF_Q4_0 && !t->part.b)
        memcpy(b->blocks, (const char *)t->part.w->v.data + (size_t)i * lmf_format_bytes(f, t->k), lmf_format_bytes(f, t->k));
    else
        f->pack(b->row, b->blocks, t->k);
}

static int code_of(const band *b, int64_t j)
{
    const lmf_q4_0 *p = &b->blocks[j / GROUP];
    int e = (int)(j % GROUP);
    return e < 16 ? p->qs[e] & 15 : p->qs[e - 16] >> 4;
}

static void put_float(uint8_t *to, int64_t at, int type, float v)
{
    uint16_t h = lmf_f32_to_f16(v);
    if (type == LMF_ONNX_F16)
        memcpy(to + 2 * at, &h, 2);
    else
        memcpy(to + 4 * at, &v, 4);
}

/* Columns [from, to) of row i, into column i of the band. */
static void put_column(const lmf__onnx_item *t, int type, int64_t i, int64_t from, int64_t to, band *b)
{
    for (int64_t j = from; j < to; j++) {
        int64_t at = (j - from) * t->n + i;
        if (t->kind == LMF__ONNX_CODES_TURNED)
            b->out[at / 2] = (uint8_t)(at % 2 ? (b->out[at / 2] & 15) | (code_of(b, j) ^ 8) << 4 :
                                       (code_of(b, j) ^ 8)); /* signed: 8 less */
        else if (t->kind == LMF__ONNX_SCALES_TURNED)
            put_float(b->out, at, type, lmf_f16_to_f32((uint16_t)(b->blocks[j].d[0] | b->blocks[j].d[1] << 8)));
        else
            put_float(b->out, at, type, b->row[j]);
    }
}

static lmf_status fill_turned(lmf_ctx *ctx, const lmf__onnx_item *t, const lmf_onnx_tensor *to, lmf_onnx_sink sink, void *user)
{
    int64_t columns = to->dim[0], width = BAND_BYTES / (4 * t->n);
    band b;
    lmf_status s = LMF_OK;
    width = width < 1 ? 1 : width > columns ? columns : width;
    size_t column = to->bytes / (size_t)columns; /* whole bytes: rows are even */
    LMF_TRY(open_band(ctx, t->k, column * (size_t)width, &b));
    for (int64_t from = 0; from < columns && !s; from += width) {
        int64_t end = from + width < columns ? from + width : columns;
        for (int64_t i = 0; i < t->n; i++) {
            get_row(ctx, t, i, &b);
            put_column(t, to->type, i, from, end, &b);
        }
        s = sink(user, b.out, column * (size_t)(end - from));
    }
    lmf_free(ctx, b.row, b.bytes);
    return s;
}

static lmf_status fill_rows(lmf_ctx *ctx, const lmf__onnx_item *t, const lmf_onnx_tensor *to, lmf_onnx_sink sink, void *user)
{
    size_t n = to->bytes / (size_t)t->n;
    band b;
    lmf_status s = LMF_OK;
    LMF_TRY(open_band(ctx, t->k, n, &b));
    for (int64_t i = 0; i < t->n && !s; i++) {
        get_row(ctx, t, i, &b);
        for (int64_t j = 0; t->kind == LMF__ONNX_CODES && j < t->k / 2; j++)
            b.out[j] = (uint8_t)(code_of(&b, 2 * j) | code_of(&b, 2 * j + 1) << 4);
        for (int64_t j = 0; t->kind == LMF__ONNX_SCALES && j < t->k / GROUP; j++)
            put_float(b.out, j, to->type, lmf_f16_to_f32((uint16_t)(b.blocks[j].d[0] | b.blocks[j].d[1] << 8)));
        for (int64_t j = 0; t->kind == LMF__ONNX_AS_IS && j < t->k; j++)
            put_float(b.out, j, to->type, b.row[j]);
        s = sink(user, b.out, n);
    }
    lmf_free(ctx, b.row, b.bytes);
    return s;
}

lmf_status lmf__onnx_fill(void *user, const lmf_onnx_tensor *t, lmf_onnx_sink sink, void *sink_user)
{
    lmf__onnx *o = user;
    const lmf__onnx_item *item = find(o, t->name);
    LMF_ASSERT(item);
    bool turned = item->kind == LMF__ONNX_TURNED || item->kind == LMF__ONNX_CODES_TURNED || item->kind == LMF__ONNX_SCALES_TURNED;
    LMF_TRY(turned ? fill_turned(o->x->ctx, item, t, sink, sink_user) : fill_rows(o->x->ctx, item, t, sink, sink_user));
    int64_t all = o->x->model->weights->n; /* what callers count in */
    if (o->x->opts->progress && !o->x->opts->progress(o->x->opts->user, ++o->n_done * all / o->n_items, all))
        return LMF_FAIL(o->x->ctx, LMF_E_CANCELLED, "stopped; nothing was written");
    return LMF_OK;
}
