/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what is compared is said, and no more: our reader takes the file for a graph and its tensors for the model's, but nothing here
 * runs it. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "export/onnx.h"

/* ---- values as the file has them ---- */
static float get_float(const lmf_onnx_tensor *t, int64_t at)
{
    uint16_t h;
    float f;
    if (t->type == LMF_ONNX_F16) {
        memcpy(&h, t->data + 2 * at, 2);
        return lmf_f16_to_f32(h);
    }
    memcpy(&f, t->data + 4 * at, 4);
    return f;
}

/* Weight j of row i, by what ONNX says of the types, without a word of the writer's. */
static float get_weight(const lmf__onnx_item *t, const lmf_onnx_tensor *f, const lmf_onnx_tensor *scale, int64_t i, int64_t j)
{
    int64_t turned = j * t->n + i, packed = i * t->k + j;
    switch (t->kind) {
    case LMF__ONNX_TURNED: return get_float(f, turned);
    case LMF__ONNX_CODES: return (float)((f->data[packed / 2] >> 4 * (packed % 2) & 15) - 8) * get_float(scale, i * (t->k / 32) + j / 32);
    case LMF__ONNX_CODES_TURNED: {
        int code = f->data[turned / 2] >> 4 * (turned % 2) & 15;
        return (float)(code < 8 ? code : code - 16) * get_float(scale, j / 32 * t->n + i);
    }
    }
    return get_float(f, packed);
}

static lmf_status compare_item(lmf__onnx *o, const lmf__onnx_item *t, const lmf_onnx_tensor *f, const lmf_onnx_tensor *scale, float *row)
{
    const lmf_format *fmt = lmf_format_get(o->x->ctx, t->kind >= LMF__ONNX_CODES ? LMF_Q4_0 : f->type == LMF_ONNX_F16 ? LMF_F16 : LMF_F32);
    bool kept = t->part.w->v.dtype == fmt->dtype && !t->part.b;
    double error = 0, sum = 0, limit = kept ? 0 : fmt->written.error;
    for (int64_t i = 0; i < t->n; i++) {
        lmf__export_row(&t->part, i, t->k, row);
        for (int64_t j = 0; j < t->k; j++) {
            double d = (double)row[j] - (double)get_weight(t, f, scale, i, j);
            error += d * d, sum += (double)row[j] * (double)row[j];
        }
    }
    error = sum > 0 ? sqrt(error / sum) : sqrt(error);
    o->x->report->max_error = error > o->x->report->max_error ? error : o->x->report->max_error;
    if (!(error <= limit))
        return LMF_FAIL(o->x->ctx, LMF_E_INTERNAL, "the written file is not the model: %s is off by %.3g of its size, %.3g is allowed",
                        t->name, error, limit);
    return LMF_OK;
}

static lmf_status compare_tensors(lmf__onnx *o, const lmf_onnx *got, float *row)
{
    int32_t n;
    lmf_onnx_tensor_at(&o->w, 0, &n);
    for (int32_t i = 0; i < n; i++) {
        const lmf_onnx_tensor *a = lmf_onnx_tensor_at(&o->w, i, NULL), *b = lmf_onnx_find(got, a->name);
        if (!b || b->type != a->type || b->n_dims != a->n_dims || memcmp(b->dim, a->dim, sizeof b->dim) ||
            (a->data && memcmp(a->data, b->data, a->bytes)))
            return LMF_FAIL(o->x->ctx, LMF_E_INTERNAL, "the written file is not the model: the tensor %s differs", a->name);
    }
    for (int32_t i = 0; i < o->n_items; i++) {
        const lmf__onnx_item *t = &o->items[i];
        bool scales = t->kind == LMF__ONNX_SCALES || t->kind == LMF__ONNX_SCALES_TURNED;
        const char *of = lmf_arena_printf(&o->x->arena, "%s.scale", t->name);
        if (!of)
            return LMF_NO_MEMORY(o->x->ctx, strlen(t->name), "a name");
        if (!scales) /* these are compared with their codes */
            LMF_TRY(compare_item(o, t, lmf_onnx_find(got, t->name), lmf_onnx_find(got, of), row));
    }
    return n == got->n_tensors ? LMF_OK : LMF_FAIL(o->x->ctx, LMF_E_INTERNAL,
                                                   "the written file is not the model: it has %d tensors, not %d", got->n_tensors, n);
}

lmf_status lmf__onnx_verify(lmf__onnx *o, const char *path)
{
    lmf_onnx *got;
    int64_t widest = 1;
    for (int32_t i = 0; i < o->n_items; i++)
        widest = o->items[i].k > widest ? o->items[i].k : widest;
    LMF_TRY(lmf_onnx_open(o->x->ctx, path, &got));
    size_t bytes = (size_t)widest * sizeof(float);
    float *row = lmf_alloc(o->x->ctx, bytes);
    lmf_status s = row ? LMF_OK : LMF_NO_MEMORY(o->x->ctx, bytes, "comparing tensors");
    if (!s && (got->nodes.n != o->w.nodes.n || memcmp(got->nodes.data, o->w.nodes.data, got->nodes.n) ||
               got->ir_version != LMF_ONNX_IR || got->opset != LMF_ONNX_OPSET))
        s = LMF_FAIL(o->x->ctx, LMF_E_INTERNAL, "the written file is not the model: its operators differ");
    if (!s)
        s = compare_tensors(o, got, row);
    if (row)
        lmf_free(o->x->ctx, row, bytes);
    lmf_onnx_close(got);
    return s;
}

/* ---- the folder ---- */
/* What Transformers.js reads in config.json: the type of past keys and values by its name for the model's, and that there is a file
 * beside it. */
static lmf_status describe(lmf_exporter *x, const char *file, bool half, bool external)
{
    json_t *js = json_object();
    const char *dtype = strstr(file, "q4f16") ? "q4f16" : "fp16";
    json_decref(x->more);
    x->dtype = half ? "float16" : "float32";
    if (half)
        json_object_set_new(js, "kv_cache_dtype", json_pack("{s:s}", dtype, "float16"));
    if (external)
        json_object_set_new(js, "use_external_data_format", json_pack("{s:i}", file, 1));
    x->more = json_pack("{s:o}", "transformers.js_config", js);
    return x->more ? LMF_OK : LMF_NO_MEMORY(x->ctx, 256, "config.json");
}

static lmf_status write_all(lmf__onnx *o, const char *dir)
{
    char inner[4096], path[4096];
    const char *file;
    bool external;
    lmf_exporter *x = o->x;
    LMF_TRY(lmf__onnx_precision(x, &o->half, &o->four, &file));
    LMF_TRY(lmf__onnx_build(o));
    LMF_TRY(lmf_path_join(x->ctx, inner, sizeof inner, dir, "onnx"));
    LMF_TRY(lmf_path_join(x->ctx, path, sizeof path, inner, file));
    LMF_TRY(lmf_dir_create(x->ctx, inner));
    LMF_TRY(describe(x, file, o->half, x->opts->external)); /* before the tensors: a tokenizer that can't be written costs no time */
    LMF_TRY(lmf__export_hf_files(x, dir));
    LMF_TRY(lmf_onnx_save(&o->w, path, x->opts->external, lmf__onnx_fill, o, &external));
    if (external != x->opts->external) {
        LMF_TRY(describe(x, file, o->half, external));
        LMF_TRY(lmf__export_hf_files(x, dir));
    }
    x->report->n_tensors = o->n_items;
    x->report->n_nodes = o->w.n_nodes;
    x->report->n_fallback = o->n_fallback;
    for (int32_t i = 0; i < o->n_items; i++)
        x->report->n_bytes += lmf_onnx_tensor_at(&o->w, lmf_name_index_find(&o->w.names, o->items[i].name), NULL)->bytes;
    if (x->opts->skip_verify)
        return LMF_OK;
    LMF_TRY(lmf__onnx_verify(o, path));
    LMF_TRY(lmf__export_verify_text(x, dir));
    x->report->verified = true;
    return LMF_OK;
}

lmf_status lmf__export_onnx(lmf_exporter *x, const char *dir)
{
    lmf__onnx o = { .x = x, .microsoft = x->opts->microsoft };
    lmf_onnx_begin(&o.w, x->ctx);
    lmf_status s = write_all(&o, dir);
    lmf_onnx_end(&o.w);
    json_decref(x->more);
    x->more = NULL;
    return s;
}
