/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every pair of the adapter finds its layer, or nothing is opened: a half-applied adapter is worse than none. */
#include "eval/lora.h"
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 256 };

static const lmf_adapter_pair *find_pair(const lmf_adapter *a, const char *path)
{
    for (size_t i = 0; i < lmf_adapter_n(a); i++)
        if (strcmp(lmf_adapter_at(a, i)->path, path) == 0)
            return lmf_adapter_at(a, i);
    return NULL;
}

static lmf_view view_of(lmf_ctx *ctx, const lmf_st_tensor *t)
{
    lmf_view v = { .fmt = lmf_format_get(ctx, t->dtype), .dtype = t->dtype, .n_dims = 2, .data = (void *)(uintptr_t)t->data };
    v.dim[0] = t->dim[0];
    v.dim[1] = t->dim[1];
    lmf_view_set_dense(&v);
    return v;
}

static lmf_status add_pair(lmf_ctx *ctx, const lmf_weight *w, const lmf_weight_row *row, const lmf_adapter_pair *p, lmf_lora *out)
{
    char name[NAME_BYTES + 8];
    lmf_weight *a, *b;
    int64_t n = w->v.dim[0], k = w->v.dim[1];
    int64_t parts = (row->hf_form & LMF_FORM_SLICE) ? row->hf_n_parts : 1, skip = (row->hf_form & LMF_FORM_SLICE) ? row->hf_part * n : 0;
    if (p->a->dim[1] != k || p->b->dim[0] != n * parts)
        return LMF_FAIL(ctx, LMF_E_SHAPE, "%s is for a layer of %lld inputs and %lld outputs, the model's has %lld and %lld: the adapter belongs to another base", p->path,
                        (long long)p->a->dim[1], (long long)p->b->dim[0], (long long)k, (long long)(n * parts));
    snprintf(name, sizeof name, "%s.lora_a", w->name);
    LMF_TRY(lmf_weights_add(out->set, name, LMF_F32, 2, (int64_t[]){ out->rank, k }, NULL, false, &a));
    float *to = a->v.data;
    snprintf(name, sizeof name, "%s.lora_b", w->name);
    LMF_TRY(lmf_weights_add(out->set, name, LMF_F32, 2, (int64_t[]){ n, out->rank }, NULL, false, &b));
    lmf_view va = view_of(ctx, p->a), vb = view_of(ctx, p->b);
    for (int64_t i = 0; i < p->r * k; i++)
        to[i] = (float)lmf_get(&va, i);
    to = b->v.data;
    for (int64_t i = 0; i < n; i++)
        for (int64_t r = 0; r < p->r; r++)
            to[i * out->rank + r] = (float)(p->scale * lmf_get(&vb, (skip + i) * p->r + r));
    return LMF_OK;
}

static lmf_status add_row(lmf_ctx *ctx, const lmf_model *m, const lmf_weight_row *row, int layer, const lmf_adapter *a, lmf_lora *out)
{
    char role[NAME_BYTES], path[NAME_BYTES];
    LMF_TRY(lmf_model_name(ctx, row->role, layer, "", role, sizeof role));
    LMF_TRY(lmf_model_name(ctx, row->hf, layer, "", path, sizeof path));
    size_t n = strlen(path), tail = strlen(".weight");
    if (n > tail && strcmp(path + n - tail, ".weight") == 0)
        path[n - tail] = 0;
    const lmf_adapter_pair *p = find_pair(a, path);
    const lmf_weight *w = lmf_weights_find(m->weights, role);
    if (!p || !w)
        return LMF_OK;
    out->n_pairs += !(row->hf_form & LMF_FORM_SLICE) || row->hf_part == 0;
    return add_pair(ctx, w, row, p, out);
}

static lmf_status load(lmf_ctx *ctx, const lmf_model *m, const lmf_adapter *a, lmf_lora *out)
{
    for (size_t i = 0; i < lmf_adapter_n(a); i++)
        if (lmf_adapter_at(a, i)->r > out->rank)
            out->rank = (int32_t)lmf_adapter_at(a, i)->r;
    LMF_TRY(lmf_weights_create(ctx, &out->set));
    for (const lmf_weight_row *row = m->arch->weights; row->role; row++) {
        bool layered = strstr(row->role, "{l}") != NULL;
        if (!(row->flags & LMF_ROW_LORA_TARGET) || !row->hf)
            continue;
        for (int l = 0; l < (layered ? lmf_model_config(m)->n_layers : 1); l++)
            LMF_TRY(add_row(ctx, m, row, layered ? l : -1, a, out));
    }
    if (out->n_pairs != (int64_t)lmf_adapter_n(a))
        return LMF_FAIL(ctx, LMF_E_NOT_FOUND, "%lld of its %zu layers are not in the model, or can't have an adapter: it belongs to another base",
                        (long long)((int64_t)lmf_adapter_n(a) - out->n_pairs), lmf_adapter_n(a));
    return LMF_OK;
}

lmf_status lmf_lora_open(lmf_ctx *ctx, const lmf_model *m, const char *dir, lmf_lora *out)
{
    lmf_adapter *a;
    *out = (lmf_lora){ 0 };
    LMF_TRY(lmf_adapter_open(ctx, dir, &a));
    lmf_status s = load(ctx, m, a, out);
    lmf_adapter_close(a);
    if (s) {
        lmf_lora_close(out);
        lmf_fail_prefix(ctx, s, "adapter %s", dir);
    }
    return s;
}

void lmf_lora_close(lmf_lora *lora)
{
    lmf_weights_destroy(lora->set);
    *lora = (lmf_lora){ 0 };
}

bool lmf_lora_find(const lmf_lora *lora, const char *role, const lmf_weight **a, const lmf_weight **b)
{
    char name[NAME_BYTES + 8];
    snprintf(name, sizeof name, "%s.lora_a", role);
    *a = lora && lora->set ? lmf_weights_find(lora->set, name) : NULL;
    snprintf(name, sizeof name, "%s.lora_b", role);
    *b = *a ? lmf_weights_find(lora->set, name) : NULL;
    return *b != NULL;
}
