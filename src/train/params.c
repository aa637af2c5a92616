/* SPDX-License-Identifier: Apache-2.0 */
#include "train/params.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/philox.h"

bool lmf_lora_path(const lmf_model *m, const char *role, char *text, size_t n)
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

/* Whether "q_proj" stands in "q_proj,v_proj". */
static bool in_list(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = list; *p; p += strcspn(p, ", "), p += strspn(p, ", "))
        if (strcspn(p, ", ") == n && strncmp(p, name, n) == 0)
            return true;
    return false;
}

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

static lmf_status check_targets(const lmf_model *m, const char *list)
{
    char name[64], path[256], known[512] = "";
    for (const char *p = list; *p; p += strcspn(p, ", "), p += strspn(p, ", ")) {
        size_t n = strcspn(p, ", ");
        bool found = false;
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        known[0] = 0;
        for (int i = 0; i < m->weights->n; i++)
            if (lmf_lora_path(m, m->weights->items[i].name, path, sizeof path)) {
                found |= strcmp(last_part(path), name) == 0;
                size_t at = strlen(known);
                if (!in_list(known, last_part(path)))
                    snprintf(known + at, sizeof known - at, "%s%s", at ? "," : "", last_part(path));
            }
        if (!found)
            return LMF_FAIL(m->ctx, LMF_E_ARG, "the model has no module \"%s\" to adapt; it has %s", name, known);
    }
    return list[0] ? LMF_OK : LMF_FAIL(m->ctx, LMF_E_ARG, "no target modules are named");
}

static void add(lmf_params *ps, const char *name, int n_dims, const int64_t *dim, bool decay)
{
    lmf_param *p = &ps->items[ps->n++];
    *p = (lmf_param){ .name = name, .offset = ps->n_total, .count = 1, .n_dims = (uint8_t)n_dims, .decay = decay };
    for (int i = 0; i < n_dims; i++)
        p->count *= p->dim[i] = dim[i];
    ps->n_total += p->count;
    ps->n_decay = decay ? ps->n_total : ps->n_decay;
}

lmf_status lmf_params_lora(lmf_arena *arena, const lmf_model *m, int32_t r, const char *target_modules, lmf_params *out)
{
    char path[256];
    bool all = strcmp(target_modules, "all-linear") == 0;
    *out = (lmf_params){ .items = lmf_arena_array(arena, 2 * (size_t)m->weights->n, sizeof *out->items) };
    if (!out->items)
        return LMF_NO_MEMORY(m->ctx, 2 * (size_t)m->weights->n * sizeof *out->items, "the adapter's parameters");
    if (!all)
        LMF_TRY(check_targets(m, target_modules));
    for (int i = 0; i < m->weights->n; i++) {
        const lmf_weight *w = &m->weights->items[i];
        if (!lmf_lora_path(m, w->name, path, sizeof path) || !(all || in_list(target_modules, last_part(path))))
            continue;
        const char *a = lmf_arena_printf(arena, "%s.lora_a", w->name), *b = lmf_arena_printf(arena, "%s.lora_b", w->name);
        if (!a || !b)
            return LMF_NO_MEMORY(m->ctx, strlen(w->name), "a parameter's name");
        add(out, a, 2, (int64_t[]){ r, w->v.dim[1] }, true);
        add(out, b, 2, (int64_t[]){ w->v.dim[0], r }, true);
    }
    return LMF_OK;
}

lmf_status lmf_params_full(lmf_arena *arena, const lmf_model *m, lmf_params *out)
{
    *out = (lmf_params){ .items = lmf_arena_array(arena, (size_t)m->weights->n, sizeof *out->items) };
    if (!out->items)
        return LMF_NO_MEMORY(m->ctx, (size_t)m->weights->n * sizeof *out->items, "the model's parameters");
    for (int decay = 1; decay >= 0; decay--)
        for (int i = 0; i < m->weights->n; i++) {
            const lmf_weight *w = &m->weights->items[i];
            int layer;
            const lmf_weight_row *row = lmf_model_row(m, w->name, &layer);
            const lmf_weight *tied = row && row->tied ? lmf_weights_find(m->weights, row->tied) : NULL;
            if ((tied && tied->v.data == w->v.data) || (row && (row->flags & LMF_ROW_OPTIONAL) && !strstr(w->name, "_bias")) || (w->v.n_dims > 1) != decay)
                continue;
            add(out, w->name, w->v.n_dims, w->v.dim, decay);
        }
    return LMF_OK;
}

void lmf_params_init_lora(const lmf_params *ps, uint64_t seed, float *p)
{
    enum { STREAM_LORA = 0x10a };
    for (int i = 0; i < ps->n; i++) {
        const lmf_param *q = &ps->items[i];
        bool is_a = strcmp(q->name + strlen(q->name) - 7, ".lora_a") == 0;
        float bound = 1 / sqrtf((float)q->dim[1]);
        for (int64_t k = 0; k < q->count; k++)
            p[q->offset + k] = is_a ? bound * (2 * lmf_random_f32(seed, (uint32_t)i, STREAM_LORA, (uint64_t)k) - 1) : 0;
    }
}

void lmf_params_init_full(const lmf_params *ps, const lmf_model *m, float *p)
{
    for (int i = 0; i < ps->n; i++) {
        const lmf_weight *w = lmf_weights_find(m->weights, ps->items[i].name);
        w->v.fmt->unpack(w->v.data, p + ps->items[i].offset, ps->items[i].count);
    }
}
