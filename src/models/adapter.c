/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every pair of an adapter finds its module whole, or nothing is opened: a half-applied adapter is a wrong model. */
#include "models/adapter.h"
#include <string.h>

bool lmf_module_path(const lmf_model *m, const char *role, char *text, size_t n)
{
    int layer;
    const lmf_weight_row *row = lmf_model_row(m, role, &layer);
    if (!row || !(row->flags & LMF_ROW_LORA_TARGET) || !row->hf || lmf_model_name(m->ctx, row->hf, layer, "", text, n))
        return false;
    size_t len = strlen(text), tail = strlen(".weight");
    if (len > tail && strcmp(text + len - tail, ".weight") == 0)
        text[len - tail] = 0;
    return true;
}

const char *lmf_module_name(const lmf_module *module)
{
    const char *dot = strrchr(module->path, '.');
    return dot ? dot + 1 : module->path;
}

/* The module of that path; a new one at the end where there is none. */
static lmf_status find_module(lmf_arena *arena, lmf_modules *all, lmf_name_index *paths, const char *path, lmf_module **out)
{
    int32_t at = lmf_name_index_find(paths, path);
    if (at < 0) {
        const char *own = lmf_arena_strdup(arena, path);
        if (!own)
            return LMF_NO_MEMORY(arena->ctx, strlen(path), "a list of modules");
        at = all->n++;
        all->items[at] = (lmf_module){ .path = own };
        LMF_TRY(lmf_name_index_add(paths, own, at));
    }
    *out = &all->items[at];
    return LMF_OK;
}

static lmf_status add_part(lmf_ctx *ctx, const lmf_model *m, const lmf_weight *w, lmf_module *module)
{
    int layer, at = module->n_parts++;
    const lmf_weight_row *row = lmf_model_row(m, w->name, &layer);
    lmf_module_part p = { .role = w->name, .n = w->v.dim[0] };
    int64_t n_out = p.n;
    bool fits = at < LMF_MODULE_PARTS && w->v.n_dims == 2;
    if (fits && (row->hf_form & LMF_FORM_SLICE))
        fits = lmf_row_slice(m->arch, m->config, row, p.n, &p.first, &n_out);
    if (!fits || (at && (module->n_in != w->v.dim[1] || module->n_out != n_out)))
        return LMF_FAIL(ctx, LMF_E_INTERNAL, "the tables of %s make no matrix of %s", m->arch->name, module->path);
    module->n_in = w->v.dim[1];
    module->n_out = n_out;
    for (; at > 0 && module->part[at - 1].first > p.first; at--)
        module->part[at] = module->part[at - 1];
    module->part[at] = p;
    return LMF_OK;
}

/* The parts are all rows of the module, one behind the other. */
static bool is_whole(const lmf_module *module)
{
    int64_t at = 0;
    for (int i = 0; i < module->n_parts; i++) {
        if (module->part[i].first != at)
            return false;
        at += module->part[i].n;
    }
    return at == module->n_out;
}

lmf_status lmf_modules_list(lmf_arena *arena, const lmf_model *m, lmf_modules *out)
{
    char path[LMF_MODULE_PATH_BYTES];
    lmf_name_index paths;
    lmf_module *module;
    lmf_status s = LMF_OK;
    *out = (lmf_modules){ .items = lmf_arena_array(arena, (size_t)m->weights->n, sizeof *out->items) };
    if (!out->items)
        return LMF_NO_MEMORY(arena->ctx, (size_t)m->weights->n * sizeof *out->items, "a list of modules");
    lmf_name_index_init(&paths, arena->ctx);
    for (int32_t i = 0; i < m->weights->n && !s; i++) {
        const lmf_weight *w = &m->weights->items[i];
        if (!lmf_module_path(m, w->name, path, sizeof path))
            continue;
        s = find_module(arena, out, &paths, path, &module);
        if (!s)
            s = add_part(arena->ctx, m, w, module);
    }
    lmf_name_index_clear(&paths);
    for (int32_t i = 0; i < out->n && !s; i++)
        if (!is_whole(&out->items[i]))
            s = LMF_FAIL(arena->ctx, LMF_E_INTERNAL, "the tables of %s leave rows of %s out", m->arch->name, out->items[i].path);
    return s;
}

/* ---- a folder ---- */

static const lmf_adapter_pair *find_pair(const lmf_adapter *a, const char *path)
{
    size_t lo = 0, hi = lmf_adapter_n(a);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = strcmp(lmf_adapter_at(a, mid)->path, path);
        if (c == 0)
            return lmf_adapter_at(a, mid);
        *(c < 0 ? &lo : &hi) = c < 0 ? mid + 1 : mid;
    }
    return NULL;
}

/* A pair that no module has taken. */
static const char *first_left(const lmf_model_adapter *a)
{
    for (size_t i = 0; i < lmf_adapter_n(a->file); i++) {
        bool taken = false;
        for (int32_t k = 0; k < a->modules.n && !taken; k++)
            taken = a->pair[k] == lmf_adapter_at(a->file, i);
        if (!taken)
            return lmf_adapter_at(a->file, i)->path;
    }
    return "";
}

static lmf_status map_pairs(lmf_ctx *ctx, lmf_model_adapter *a)
{
    size_t n = lmf_adapter_n(a->file), n_used = 0;
    a->pair = lmf_arena_array(&a->arena, (size_t)a->modules.n + 1, sizeof *a->pair);
    if (!a->pair)
        return LMF_NO_MEMORY(ctx, (size_t)a->modules.n * sizeof *a->pair, "an adapter");
    for (int32_t i = 0; i < a->modules.n; i++) {
        const lmf_module *module = &a->modules.items[i];
        const lmf_adapter_pair *p = a->pair[i] = find_pair(a->file, module->path);
        if (!p)
            continue;
        n_used++;
        a->rank = p->r > a->rank ? p->r : a->rank;
        if (p->a->dim[1] != module->n_in || p->b->dim[0] != module->n_out)
            return LMF_FAIL(ctx, LMF_E_SHAPE, "%s is for a layer of %lld inputs and %lld outputs, the model's has %lld and %lld: the "
                            "adapter belongs to another base", p->path, (long long)p->a->dim[1], (long long)p->b->dim[0],
                            (long long)module->n_in, (long long)module->n_out);
    }
    if (n_used != n)
        return LMF_FAIL(ctx, LMF_E_NOT_FOUND, "%zu of the adapter's %zu layers are not in the model, or can't have an adapter, %.160s the "
                        "first: it belongs to another base", n - n_used, n, first_left(a));
    return LMF_OK;
}

lmf_status lmf_model_adapter_open(lmf_ctx *ctx, const lmf_model *m, const char *dir, lmf_model_adapter *out)
{
    *out = (lmf_model_adapter){ 0 };
    LMF_TRY(lmf_adapter_open(ctx, dir, &out->file));
    lmf_arena_init(&out->arena, ctx, 1 << 26);
    lmf_status s = lmf_modules_list(&out->arena, m, &out->modules);
    if (!s)
        s = map_pairs(ctx, out);
    if (s) {
        lmf_model_adapter_close(out);
        lmf_fail_prefix(ctx, s, "adapter %s", dir);
    }
    return s;
}

void lmf_model_adapter_close(lmf_model_adapter *a)
{
    if (!a->file)
        return;
    lmf_adapter_close(a->file);
    lmf_arena_clear(&a->arena);
    *a = (lmf_model_adapter){ 0 };
}

void lmf_pair_read(lmf_ctx *ctx, const lmf_adapter_pair *pair, const lmf_module_part *part, double scale, float *a, float *b,
                   int64_t b_stride)
{
    const lmf_format *f = lmf_format_get(ctx, pair->a->dtype);
    int64_t r = pair->r;
    f->unpack(pair->a->data, a, r * pair->a->dim[1]);
    for (int64_t i = 0; i < part->n; i++, b += b_stride) {
        f->unpack((const char *)pair->b->data + lmf_format_bytes(f, (part->first + i) * r), b, r);
        for (int64_t k = 0; k < r; k++)
            b[k] = (float)(scale * (double)b[k]);
    }
}

lmf_status lmf_model_adapter_save(lmf_ctx *ctx, const char *dir, const lmf_adapter_config *config, const lmf_trained_pair *pairs, size_t n)
{
    lmf_arena arena;
    lmf_adapter_config c = *config;
    lmf_arena_init(&arena, ctx, 1 << 26);
    lmf_adapter_entry *entry = lmf_arena_array(&arena, n + 1, sizeof *entry);
    const char **target = lmf_arena_array(&arena, n + 1, sizeof *target);
    c.target = target;
    c.n_targets = 0;
    for (size_t i = 0; entry && target && i < n; i++) {
        const lmf_module *module = pairs[i].module;
        size_t k = 0;
        entry[i] = (lmf_adapter_entry){ .path = module->path, .dtype = LMF_F32, .n_in = module->n_in, .n_out = module->n_out, .r = c.r,
                                        .alpha = c.alpha, .a = pairs[i].a, .b = pairs[i].b, .m = pairs[i].m };
        while (k < c.n_targets && strcmp(target[k], lmf_module_name(module)))
            k++;
        if (k == c.n_targets)
            target[c.n_targets++] = lmf_module_name(module);
    }
    lmf_status s = entry && target ? lmf_adapter_save(ctx, dir, &c, entry, n) : LMF_NO_MEMORY(ctx, n * sizeof *entry, "an adapter");
    lmf_arena_clear(&arena);
    return s;
}
