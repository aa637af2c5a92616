/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the stacked set is shaped at create and never again: A [n_slots * rank, K], B [N, n_slots * rank], f32. Slot i owns rows, or
 * columns, i * rank on; what an adapter does not fill stays zero, so a smaller rank or a missing layer adds nothing. B carries
 * the adapter's scale. */
#include <stdio.h>
#include <string.h>
#include "format/adapter.h"
#include "infer/engine_impl.h"

enum { NAME_BYTES = 256, DEFAULT_RANK = 64 };

/* Name of a role's module as PEFT spells it: the Hugging Face name without .weight. */
static lmf_status module_path(lmf_engine *e, const lmf_weight_row *row, int layer, char *text, size_t n)
{
    LMF_TRY(lmf_model_name(e->ctx, row->hf, layer, "", text, n));
    size_t len = strlen(text), end = strlen(".weight");
    if (len > end && strcmp(text + len - end, ".weight") == 0)
        text[len - end] = 0;
    return LMF_OK;
}

static const lmf_adapter_pair *find_pair(const lmf_adapter *a, const char *path)
{
    size_t lo = 0, hi = lmf_adapter_n(a);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = strcmp(lmf_adapter_at(a, mid)->path, path);
        if (c == 0)
            return lmf_adapter_at(a, mid);
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

typedef lmf_status (*visit_fn)(lmf_engine *e, const lmf_weight_row *row, const char *role, const lmf_adapter_pair *pair, void *user);

/* Every LoRA target of the model with the adapter's pair for it, or NULL (a NULL). *n_used: pairs found. */
static lmf_status each_target(lmf_engine *e, const lmf_adapter *a, visit_fn visit, void *user, size_t *n_used)
{
    char role[NAME_BYTES], path[NAME_BYTES];
    *n_used = 0;
    for (const lmf_weight_row *row = e->model->arch->weights; row->role; row++) {
        bool layered = strstr(row->role, "{l}") != NULL;
        if (!(row->flags & LMF_ROW_LORA_TARGET) || !row->hf)
            continue;
        for (int l = 0; l < (layered ? lmf_model_config(e->model)->n_layers : 1); l++) {
            LMF_TRY(lmf_model_name(e->ctx, row->role, l, "", role, sizeof role));
            LMF_TRY(module_path(e, row, l, path, sizeof path));
            const lmf_adapter_pair *pair = a ? find_pair(a, path) : NULL;
            *n_used += pair && (!(row->hf_form & LMF_FORM_SLICE) || row->hf_part == 0);
            LMF_TRY(visit(e, row, role, pair, user));
        }
    }
    return LMF_OK;
}

static lmf_status add_stacked(lmf_engine *e, const lmf_weight_row *row, const char *role, const lmf_adapter_pair *pair, void *user)
{
    char name[NAME_BYTES + 8];
    const bool *all = user;
    lmf_adapters *ad = &e->adapters;
    const lmf_weight *w = lmf_weights_find(e->model->weights, role);
    (void)row;
    if (!w || (!*all && !pair))
        return LMF_OK;
    int64_t width = (int64_t)ad->n_slots * ad->rank;
    snprintf(name, sizeof name, "%s.lora_a", role);
    if (lmf_weights_find(ad->set, name))
        return LMF_OK;
    LMF_TRY(lmf_weights_add(ad->set, name, LMF_F32, 2, (int64_t[]){ width, w->v.dim[1] }, NULL, false, NULL));
    snprintf(name, sizeof name, "%s.lora_b", role);
    return lmf_weights_add(ad->set, name, LMF_F32, 2, (int64_t[]){ w->v.dim[0], width }, NULL, false, NULL);
}

static lmf_view tensor_view(lmf_engine *e, const lmf_st_tensor *t)
{
    lmf_view v = { .fmt = lmf_format_get(e->ctx, t->dtype), .dtype = t->dtype, .n_dims = (uint8_t)t->n_dims, .data = (void *)(uintptr_t)t->data };
    for (int i = 0; i < t->n_dims && i < LMF_MAX_DIMS; i++)
        v.dim[i] = t->dim[i];
    lmf_view_set_dense(&v);
    return v;
}

/* Checks one pair against the model, and writes it unless `write` is false. */
typedef struct fill { int slot; bool write; } fill;
static lmf_status fill_slot(lmf_engine *e, const lmf_weight_row *row, const char *role, const lmf_adapter_pair *pair, void *user)
{
    char name[NAME_BYTES + 8];
    const fill *f = user;
    lmf_adapters *ad = &e->adapters;
    snprintf(name, sizeof name, "%s.lora_a", role);
    const lmf_weight *wa = lmf_weights_find(ad->set, name);
    snprintf(name, sizeof name, "%s.lora_b", role);
    const lmf_weight *wb = lmf_weights_find(ad->set, name);
    if (!wa && !pair)
        return LMF_OK;
    if (!wa || !wb)
        return LMF_FAIL(e->ctx, LMF_E_NOT_FOUND, "the adapter changes %s, which the model lacks", pair->path);
    int64_t k = wa->v.dim[1], n = wb->v.dim[0], width = wb->v.dim[1], at = (int64_t)f->slot * ad->rank;
    int64_t parts = (row->hf_form & LMF_FORM_SLICE) ? row->hf_n_parts : 1, skip = (row->hf_form & LMF_FORM_SLICE) ? row->hf_part * n : 0;
    if (pair && pair->r > ad->rank)
        return LMF_FAIL(e->ctx, LMF_E_LIMIT, "%s has rank %lld, the engine's slots have %d; create it with a larger max_rank", pair->path, (long long)pair->r, ad->rank);
    if (pair && (pair->a->dim[1] != k || pair->b->dim[0] != n * parts))
        return LMF_FAIL(e->ctx, LMF_E_SHAPE, "%s is for a layer of %lld inputs and %lld outputs; the model's has %lld and %lld", pair->path,
                        (long long)pair->a->dim[1], (long long)pair->b->dim[0], (long long)k, (long long)(n * parts));
    if (!f->write)
        return LMF_OK;
    float *a = (float *)wa->v.data + at * k, *b = (float *)wb->v.data + at;
    memset(a, 0, (size_t)(ad->rank * k) * sizeof *a);
    for (int64_t i = 0; i < n; i++)
        memset(b + i * width, 0, (size_t)ad->rank * sizeof *b);
    if (!pair)
        return LMF_OK;
    lmf_view va = tensor_view(e, pair->a), vb = tensor_view(e, pair->b);
    for (int64_t i = 0; i < pair->r * k; i++)
        a[i] = (float)lmf_get(&va, i);
    for (int64_t i = 0; i < n; i++)
        for (int64_t r = 0; r < pair->r; r++)
            b[i * width + r] = (float)(pair->scale * lmf_get(&vb, (skip + i) * pair->r + r));
    return LMF_OK;
}

/* All of it is checked before anything is written. */
static lmf_status load_slot(lmf_engine *e, int slot, const lmf_adapter *a, const char *dir)
{
    fill f = { slot, false };
    size_t used;
    lmf_status s = each_target(e, a, fill_slot, &f, &used);
    if (!s && a && used != lmf_adapter_n(a)) {
        s = LMF_FAIL(e->ctx, LMF_E_NOT_FOUND, "%zu of the adapter's %zu layers are not in the model, or can't have an adapter; it belongs to another base",
                     lmf_adapter_n(a) - used, lmf_adapter_n(a));
    }
    f.write = true;
    if (!s)
        s = each_target(e, a, fill_slot, &f, &used);
    return s ? lmf_fail_prefix(e->ctx, s, "adapter %s", dir) : LMF_OK;
}

static const char *base_name(const char *dir)
{
    const char *end = dir + strlen(dir), *p;
    while (end > dir && end[-1] == '/')
        end--;
    for (p = end; p > dir && p[-1] != '/'; p--)
        continue;
    return p;
}

static lmf_status set_name(lmf_engine *e, int slot, const char *name)
{
    char *to = e->adapters.name[slot];
    size_t n = strcspn(name, "/");
    if (n == 0 || n >= LMF_ADAPTER_NAME_BYTES)
        return LMF_FAIL(e->ctx, LMF_E_ARG, "an adapter's name has 1 to %d bytes", LMF_ADAPTER_NAME_BYTES - 1);
    memcpy(to, name, n);
    to[n] = 0;
    return LMF_OK;
}

lmf_status lmf__adapters_init(lmf_engine *e, const lmf_engine_opts *o)
{
    lmf_adapters *ad = &e->adapters;
    lmf_adapter *open[LMF_MAX_SLOTS] = { 0 };
    lmf_status s = LMF_OK;
    size_t used;
    bool all = o->max_adapters > o->n_adapters;
    ad->n_slots = all ? o->max_adapters : o->n_adapters;
    if (ad->n_slots == 0)
        return LMF_OK;
    ad->rank = o->max_rank ? o->max_rank : all ? DEFAULT_RANK : 1;
    for (int i = 0; i < o->n_adapters; i++) {
        LMF_TRY_TO(done, lmf_adapter_open(e->ctx, o->adapters[i], &open[i]));
        for (size_t k = 0; k < lmf_adapter_n(open[i]) && !o->max_rank; k++)
            if (lmf_adapter_at(open[i], k)->r > ad->rank)
                ad->rank = (int32_t)lmf_adapter_at(open[i], k)->r;
    }
    LMF_TRY_TO(done, lmf_weights_create(e->ctx, &ad->set));
    if (all)
        LMF_TRY_TO(done, each_target(e, NULL, add_stacked, &all, &used));
    for (int i = 0; i < o->n_adapters; i++)
        LMF_TRY_TO(done, each_target(e, open[i], add_stacked, &all, &used));
    for (int i = 0; i < o->n_adapters; i++) {
        LMF_TRY_TO(done, set_name(e, i, base_name(o->adapters[i])));
        LMF_TRY_TO(done, load_slot(e, i, open[i], o->adapters[i]));
    }
done:
    for (int i = 0; i < o->n_adapters; i++)
        lmf_adapter_close(open[i]);
    return s;
}

void lmf__adapters_clear(lmf_adapters *a)
{
    for (int i = 0; i < a->n_slots; i++)
        lmf__live_drop(a, i);
    lmf_weights_destroy(a->set);
    *a = (lmf_adapters){ 0 };
}

int lmf_engine_adapter_find(lmf_engine *e, const char *name)
{
    for (int i = 0; name[0] && i < e->adapters.n_slots; i++)
        if (strcmp(e->adapters.name[i], name) == 0)
            return i;
    return -1;
}

lmf_status lmf__adapter_slot(lmf_engine *e, const char *name, bool added, int *slot)
{
    lmf_adapters *ad = &e->adapters;
    int i = lmf_engine_adapter_find(e, name);
    if (!name[0] || strchr(name, '/') || strlen(name) >= LMF_ADAPTER_NAME_BYTES)
        return LMF_FAIL(e->ctx, LMF_E_ARG, "an adapter's name has 1 to %d bytes and no slash", LMF_ADAPTER_NAME_BYTES - 1);
    if (e->n_running || e->n_waiting)
        return LMF_FAIL(e->ctx, LMF_E_BUSY, "%d sessions still work; adapters change when none does", e->n_running + e->n_waiting);
    if (i < 0 && !added)
        return LMF_FAIL(e->ctx, LMF_E_NOT_FOUND, "no adapter is named \"%.64s\"", name);
    for (int k = 0; k < ad->n_slots && i < 0; k++)
        if (!ad->name[k][0])
            i = k;
    if (i < 0)
        return LMF_FAIL(e->ctx, LMF_E_BUSY, "all %d adapter slots are taken; unload one, or create the engine with a larger max_adapters", ad->n_slots);
    *slot = i;
    return LMF_OK;
}

static lmf_status change_slot(lmf_engine *e, const char *name, const lmf_adapter *a, const char *dir, int *slot)
{
    lmf_adapters *ad = &e->adapters;
    int i;
    LMF_TRY(lmf__adapter_slot(e, name, a != NULL, &i));
    LMF_TRY(load_slot(e, i, a, dir ? dir : name));
    ad->set->version++;
    LMF_TRY(lmf_plan_update_weights(e->plan));
    lmf__live_drop(ad, i);
    lmf__sessions_forget(e, i);
    ad->name[i][0] = 0;
    if (slot)
        *slot = a ? i : -1;
    return a ? set_name(e, i, name) : LMF_OK;
}

lmf_status lmf_engine_adapter(lmf_engine *e, const char *name, const char *dir, int *slot)
{
    lmf_adapter *a = NULL;
    if (!e->adapters.set)
        return LMF_FAIL(e->ctx, LMF_E_UNSUPPORTED, "the engine was created without adapter slots (max_adapters)");
    if (dir)
        LMF_TRY(lmf_adapter_open(e->ctx, dir, &a));
    pthread_mutex_lock(&e->lock);
    lmf_status s = change_slot(e, name, a, dir, slot);
    pthread_mutex_unlock(&e->lock);
    lmf_adapter_close(a);
    return s;
}
