/* SPDX-License-Identifier: Apache-2.0 */
/* Adapters whose pairs live elsewhere and change.
 * Rule: the stacked set holds a copy of one version, B times the scale, made again before the first step after the owner counted up; what
 * was computed under an older version is forgotten before anything is computed under the new one. A step allocates nothing: the host's
 * room for pairs that lie on a device is taken when they are borrowed. */
#include <stdio.h>
#include <string.h>
#include "infer/engine_impl.h"

enum { NAME_BYTES = 256 };

static bool is_a(const char *name)
{
    size_t n = strlen(name);
    return n > 7 && strcmp(name + n - 7, ".lora_a") == 0;
}

/* The other half of a pair whose A has that name. */
static const lmf_weight *find_b(const lmf_weights *set, const char *a)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s", a);
    name[strlen(name) - 1] = 'b';
    return lmf_weights_find(set, name);
}

/* Every pair has its place in the stacked set. */
static lmf_status check_pairs(lmf_engine *e, const lmf_weights *pairs)
{
    const lmf_adapters *ad = &e->adapters;
    for (int32_t i = 0; i < pairs->n; i++) {
        const lmf_weight *a = &pairs->items[i];
        if (!is_a(a->name))
            continue;
        const lmf_weight *b = find_b(pairs, a->name), *wa = lmf_weights_find(ad->set, a->name), *wb = find_b(ad->set, a->name);
        if (!b || a->v.dtype != LMF_F32 || b->v.dtype != LMF_F32 || a->v.n_dims != 2 || b->v.n_dims != 2 || a->v.dim[0] != b->v.dim[1])
            return LMF_FAIL(e->ctx, LMF_E_SHAPE, "%s and its B are not a pair [r, K] and [N, r] in f32", a->name);
        if (!wa || !wb)
            return LMF_FAIL(e->ctx, LMF_E_NOT_FOUND, "%s: the model has no such layer, or the engine was created without room for it "
                            "(max_adapters)", a->name);
        if (a->v.dim[0] > ad->rank)
            return LMF_FAIL(e->ctx, LMF_E_LIMIT, "%s has rank %lld, the engine's slots have %d; create it with a larger max_rank", a->name,
                            (long long)a->v.dim[0], ad->rank);
        if (a->v.dim[1] != wa->v.dim[1] || b->v.dim[0] != wb->v.dim[0])
            return LMF_FAIL(e->ctx, LMF_E_SHAPE, "%s is for a layer of %lld inputs and %lld outputs; the model's has %lld and %lld",
                            a->name, (long long)a->v.dim[1], (long long)b->v.dim[0], (long long)wa->v.dim[1], (long long)wb->v.dim[0]);
    }
    return LMF_OK;
}

static size_t pair_bytes(const lmf_weights *pairs)
{
    size_t bytes = 0;
    for (int32_t i = 0; i < pairs->n; i++)
        bytes += (size_t)lmf_view_count(&pairs->items[i].v) * sizeof(float);
    return bytes;
}

/* Where the host reads each item: at its place, or in the copy that is made here. */
static lmf_status fetch(const lmf_live *l)
{
    lmf_device *d = l->pairs->dev;
    size_t at = 0;
    for (int32_t i = 0; d && i < l->pairs->n; i++) {
        size_t bytes = (size_t)lmf_view_count(&l->pairs->items[i].v) * sizeof(float);
        LMF_TRY(d->ops->copy(d, NULL, l->copy + at, l->pairs->items[i].v.data, bytes));
        at += bytes;
    }
    return d ? d->ops->stream_sync(d, NULL) : LMF_OK;
}

static const float *host_floats(const lmf_live *l, const lmf_weight *w)
{
    size_t at = 0;
    if (!l->pairs->dev)
        return w->v.data;
    for (const lmf_weight *k = l->pairs->items; k < w; k++)
        at += (size_t)lmf_view_count(&k->v) * sizeof(float);
    return (const float *)(const void *)(l->copy + at);
}

static void fill_pair(lmf_adapters *ad, int slot, const lmf_live *l, const lmf_weight *wa, const lmf_weight *wb)
{
    const lmf_weight *pa = lmf_weights_find(l->pairs, wa->name), *pb = pa ? find_b(l->pairs, wa->name) : NULL;
    int64_t k = wa->v.dim[1], n = wb->v.dim[0], width = wb->v.dim[1], r = pa ? pa->v.dim[0] : 0, at = (int64_t)slot * ad->rank;
    float *a = (float *)wa->v.data + at * k, *b = (float *)wb->v.data + at;
    const float *from = pa ? host_floats(l, pa) : NULL, *from_b = pb ? host_floats(l, pb) : NULL;
    memset(a, 0, (size_t)(ad->rank * k) * sizeof *a);
    if (pa)
        memcpy(a, from, (size_t)(r * k) * sizeof *a);
    for (int64_t i = 0; i < n; i++, b += width) {
        memset(b, 0, (size_t)ad->rank * sizeof *b);
        for (int64_t j = 0; j < r; j++)
            b[j] = (float)(l->scale * (double)from_b[i * r + j]);
    }
}

static lmf_status fill(lmf_engine *e, int slot, lmf_live *l)
{
    lmf_adapters *ad = &e->adapters;
    LMF_TRY(fetch(l));
    for (int32_t i = 0; i < ad->set->n; i++)
        if (is_a(ad->set->items[i].name))
            fill_pair(ad, slot, l, &ad->set->items[i], find_b(ad->set, ad->set->items[i].name));
    l->version = l->pairs->version;
    ad->set->version++;
    return LMF_OK;
}

lmf_status lmf__live_refresh(lmf_engine *e)
{
    bool changed = false;
    for (int i = 0; i < e->adapters.n_slots; i++) {
        lmf_live *l = &e->adapters.live[i];
        if (!l->pairs || l->version == l->pairs->version)
            continue;
        LMF_TRY(fill(e, i, l));
        lmf__sessions_forget(e, i);
        changed = true;
    }
    return changed ? lmf_plan_update_weights(e->plan) : LMF_OK;
}

void lmf__live_drop(lmf_adapters *ad, int slot)
{
    lmf_live *l = &ad->live[slot];
    if (l->copy)
        l->pairs->dev->ops->release(l->pairs->dev, 1, l->copy, l->copy_bytes);
    *l = (lmf_live){ 0 };
}

lmf_status lmf_engine_live_adapter(lmf_engine *e, const char *name, const lmf_weights *pairs, double scale, int *slot)
{
    lmf_live l = { .pairs = pairs, .scale = scale };
    int i;
    if (!e->adapters.set)
        return LMF_FAIL(e->ctx, LMF_E_UNSUPPORTED, "the engine was created without adapter slots (max_adapters)");
    LMF_TRY(check_pairs(e, pairs));
    if (pairs->dev) {
        l.copy_bytes = pair_bytes(pairs);
        LMF_TRY(pairs->dev->ops->alloc(pairs->dev, 1, l.copy_bytes, (void **)&l.copy));
    }
    pthread_mutex_lock(&e->lock);
    lmf_status s = lmf__adapter_slot(e, name, true, &i);
    if (!s)
        s = fill(e, i, &l);
    if (!s)
        s = lmf_plan_update_weights(e->plan);
    if (!s) {
        lmf__live_drop(&e->adapters, i);
        lmf__sessions_forget(e, i);
        snprintf(e->adapters.name[i], LMF_ADAPTER_NAME_BYTES, "%s", name);
        e->adapters.live[i] = l;
        if (slot)
            *slot = i;
    } else if (l.copy) {
        pairs->dev->ops->release(pairs->dev, 1, l.copy, l.copy_bytes);
    }
    pthread_mutex_unlock(&e->lock);
    return s;
}
