/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the stacked set is shaped at create and never again: A [n_slots * rank, K], B [N, n_slots * rank], f32. Slot i owns rows, or
 * columns, i * rank on; what an adapter does not fill stays zero, so a smaller rank or a missing layer adds nothing. B carries
 * the adapter's scale. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "infer/engine_impl.h"
#include "models/adapter.h"

enum { NAME_BYTES = 256, DEFAULT_RANK = 64, ARENA_BYTES = 1 << 26 };

static const lmf_weight *half_of(const lmf_adapters *ad, const char *role, char half)
{
    char name[NAME_BYTES + 8];
    snprintf(name, sizeof name, "%s.lora_%c", role, half);
    return lmf_weights_find(ad->set, name);
}

/* Room for one module in all slots. */
static lmf_status add_stacked(lmf_engine *e, const lmf_module *module)
{
    char name[NAME_BYTES + 8];
    lmf_adapters *ad = &e->adapters;
    int64_t width = (int64_t)ad->n_slots * ad->rank;
    for (int i = 0; i < module->n_parts; i++) {
        const lmf_module_part *part = &module->part[i];
        if (half_of(ad, part->role, 'a'))
            continue;
        snprintf(name, sizeof name, "%s.lora_a", part->role);
        LMF_TRY(lmf_weights_add(ad->set, name, LMF_F32, 2, (int64_t[]){ width, module->n_in }, NULL, false, NULL));
        snprintf(name, sizeof name, "%s.lora_b", part->role);
        LMF_TRY(lmf_weights_add(ad->set, name, LMF_F32, 2, (int64_t[]){ part->n, width }, NULL, false, NULL));
    }
    return LMF_OK;
}

/* The file's values are finite, times the scale they may not be. All slots are multiplied with each row, what is not the row's own with
 * zeros: an infinity would reach them all. */
static bool is_finite(lmf_ctx *ctx, const lmf_adapter_pair *pair)
{
    float x[1024];
    const lmf_format *f = lmf_format_get(ctx, pair->b->dtype);
    int64_t n = pair->b->dim[0] * pair->b->dim[1];
    for (int64_t at = 0; at < n; at += 1024) {
        int64_t k = n - at < 1024 ? n - at : 1024;
        f->unpack((const char *)pair->b->data + lmf_format_bytes(f, at), x, k);
        for (int64_t i = 0; i < k; i++)
            if (!isfinite((float)(pair->scale * (double)x[i])))
                return false;
    }
    return true;
}

/* What an engine without free slots has room for: the modules of the adapters it begins with. */
static lmf_status check_slot(lmf_engine *e, const lmf_model_adapter *a)
{
    const lmf_adapters *ad = &e->adapters;
    if (lmf_adapter_get_config(a->file)->use_dora)
        return LMF_FAIL(e->ctx, LMF_E_UNSUPPORTED, "it is a DoRA adapter (use_dora), which can't stand beside a model that answers; "
                        "merge it first: lmfast export --adapter");
    for (int32_t i = 0; i < a->modules.n; i++) {
        const lmf_adapter_pair *pair = a->pair[i];
        if (pair && !half_of(ad, a->modules.items[i].part[0].role, 'a'))
            return LMF_FAIL(e->ctx, LMF_E_NOT_FOUND, "the adapter changes %s, for which the engine was created without room", pair->path);
        if (pair && pair->r > ad->rank)
            return LMF_FAIL(e->ctx, LMF_E_LIMIT, "%s has rank %lld, the slots for adapters have %d; max_rank (--max-lora-rank) makes room for more",
                            pair->path, (long long)pair->r, ad->rank);
        if (pair && !is_finite(e->ctx, pair))
            return LMF_FAIL(e->ctx, LMF_E_FORMAT, "%s has values that its scale of %g makes infinite", pair->path, pair->scale);
    }
    return LMF_OK;
}

static void clear_slot(lmf_adapters *ad, int slot)
{
    int64_t width = (int64_t)ad->n_slots * ad->rank, at = (int64_t)slot * ad->rank;
    for (int32_t i = 0; i < ad->set->n; i++) {
        lmf_view *v = &ad->set->items[i].v;
        bool is_a = ad->set->items[i].name[strlen(ad->set->items[i].name) - 1] == 'a';
        float *x = v->data;
        if (is_a)
            memset(x + at * v->dim[1], 0, (size_t)(ad->rank * v->dim[1]) * sizeof *x);
        for (int64_t k = 0; !is_a && k < v->dim[0]; k++)
            memset(x + k * width + at, 0, (size_t)ad->rank * sizeof *x);
    }
}

static void fill_part(lmf_engine *e, int slot, const lmf_adapter_pair *pair, const lmf_module_part *part)
{
    lmf_adapters *ad = &e->adapters;
    const lmf_weight *wa = half_of(ad, part->role, 'a'), *wb = half_of(ad, part->role, 'b');
    int64_t at = (int64_t)slot * ad->rank;
    lmf_pair_read(e->ctx, pair, part, pair->scale, (float *)wa->v.data + at * wa->v.dim[1], (float *)wb->v.data + at, wb->v.dim[1]);
}

/* All of it is checked before anything is written. a NULL: the slot is emptied. */
static lmf_status load_slot(lmf_engine *e, int slot, const lmf_model_adapter *a, const char *dir)
{
    lmf_status s = a ? check_slot(e, a) : LMF_OK;
    if (s)
        return lmf_fail_prefix(e->ctx, s, "adapter %s", dir);
    clear_slot(&e->adapters, slot);
    for (int32_t i = 0; a && i < a->modules.n; i++)
        for (int k = 0; a->pair[i] && k < a->modules.items[i].n_parts; k++)
            fill_part(e, slot, a->pair[i], &a->modules.items[i].part[k]);
    return LMF_OK;
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

static lmf_status add_all(lmf_engine *e)
{
    lmf_arena arena;
    lmf_modules all;
    lmf_arena_init(&arena, e->ctx, ARENA_BYTES);
    lmf_status s = lmf_modules_list(&arena, e->model, &all);
    for (int32_t i = 0; i < all.n && !s; i++)
        s = add_stacked(e, &all.items[i]);
    lmf_arena_clear(&arena);
    return s;
}

lmf_status lmf__adapters_init(lmf_engine *e, const lmf_engine_opts *o)
{
    lmf_adapters *ad = &e->adapters;
    lmf_model_adapter open[LMF_MAX_SLOTS] = { 0 };
    lmf_status s = LMF_OK;
    bool all = o->max_adapters > o->n_adapters;
    ad->n_slots = all ? o->max_adapters : o->n_adapters;
    if (ad->n_slots == 0)
        return LMF_OK;
    ad->rank = o->max_rank ? o->max_rank : all ? DEFAULT_RANK : 1;
    for (int i = 0; i < o->n_adapters; i++) {
        LMF_TRY_TO(done, lmf_model_adapter_open(e->ctx, e->model, o->adapters[i], &open[i]));
        if (!o->max_rank && open[i].rank > ad->rank)
            ad->rank = (int32_t)open[i].rank;
    }
    LMF_TRY_TO(done, lmf_weights_create(e->ctx, &ad->set));
    if (all)
        LMF_TRY_TO(done, add_all(e));
    for (int i = 0; i < o->n_adapters; i++)
        for (int32_t k = 0; k < open[i].modules.n; k++)
            if (open[i].pair[k])
                LMF_TRY_TO(done, add_stacked(e, &open[i].modules.items[k]));
    for (int i = 0; i < o->n_adapters; i++) {
        LMF_TRY_TO(done, set_name(e, i, base_name(o->adapters[i])));
        LMF_TRY_TO(done, load_slot(e, i, &open[i], o->adapters[i]));
    }
done:
    for (int i = 0; i < o->n_adapters; i++)
        lmf_model_adapter_close(&open[i]);
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

static lmf_status change_slot(lmf_engine *e, const char *name, const lmf_model_adapter *a, const char *dir, int *slot)
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
    lmf_model_adapter a = { 0 };
    if (!e->adapters.set)
        return LMF_FAIL(e->ctx, LMF_E_UNSUPPORTED, "the engine was created without adapter slots (max_adapters)");
    if (dir)
        LMF_TRY(lmf_model_adapter_open(e->ctx, e->model, dir, &a));
    pthread_mutex_lock(&e->lock);
    lmf_status s = change_slot(e, name, dir ? &a : NULL, dir, slot);
    pthread_mutex_unlock(&e->lock);
    lmf_model_adapter_close(&a);
    return s;
}

static lmf_status replace_slot(lmf_engine *e, int slot, const lmf_model_adapter *a, const char *dir)
{
    lmf_adapters *ad = &e->adapters;
    for (const lmf_session *s = e->sessions; s; s = s->next)
        if (s->adapter == slot && s->state != LMF_SESSION_IDLE)
            return LMF_FAIL(e->ctx, LMF_E_BUSY, "a session still works with the adapter in slot %d", slot);
    LMF_TRY(load_slot(e, slot, a, dir));
    ad->set->version++;
    ad->name[slot][0] = 0;
    lmf__live_drop(ad, slot);
    lmf__sessions_forget(e, slot);
    LMF_TRY(lmf_plan_update_weights(e->plan));
    snprintf(ad->name[slot], LMF_ADAPTER_NAME_BYTES, "/%d", slot); /* names have no slash */
    return LMF_OK;
}

lmf_status lmf_engine_load_slot(lmf_engine *e, int slot, const char *dir)
{
    lmf_model_adapter a = { 0 };
    if (slot < 0 || slot >= e->adapters.n_slots)
        return LMF_FAIL(e->ctx, LMF_E_ARG, "there is no slot %d for an adapter, but %d slots", slot, e->adapters.n_slots);
    LMF_TRY(lmf_model_adapter_open(e->ctx, e->model, dir, &a));
    pthread_mutex_lock(&e->lock);
    lmf_status s = replace_slot(e, slot, &a, dir);
    pthread_mutex_unlock(&e->lock);
    lmf_model_adapter_close(&a);
    return s;
}
