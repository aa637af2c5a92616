/* SPDX-License-Identifier: Apache-2.0 */
#include "train/params.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/philox.h"

/* Whether "q_proj" stands in "q_proj,v_proj". */
static bool in_list(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = list; *p; p += strcspn(p, ", "), p += strspn(p, ", "))
        if (strcspn(p, ", ") == n && strncmp(p, name, n) == 0)
            return true;
    return false;
}

static lmf_status check_targets(lmf_ctx *ctx, const lmf_modules *all, const char *list)
{
    char name[64], known[512] = "";
    for (const char *p = list; *p; p += strcspn(p, ", "), p += strspn(p, ", ")) {
        size_t n = strcspn(p, ", ");
        bool found = false;
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        known[0] = 0;
        for (int32_t i = 0; i < all->n; i++) {
            const char *own = lmf_module_name(&all->items[i]);
            size_t at = strlen(known);
            found |= strcmp(own, name) == 0;
            if (!in_list(known, own))
                snprintf(known + at, sizeof known - at, "%s%s", at ? "," : "", own);
        }
        if (!found)
            return LMF_FAIL(ctx, LMF_E_ARG, "the model has no module \"%s\" to adapt; it has %s", name, known);
    }
    return list[0] ? LMF_OK : LMF_FAIL(ctx, LMF_E_ARG, "no target modules are named");
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

/* A module's A under the role of its first part, which the others share; and the rows of B of each part, one behind the other. */
static lmf_status add_module(lmf_arena *arena, lmf_params *ps, const lmf_module *module, int32_t r, bool dora)
{
    int32_t i_a = ps->n;
    for (int i = 0; i < module->n_parts; i++) {
        const lmf_module_part *part = &module->part[i];
        const char *a = lmf_arena_printf(arena, "%s.lora_a", part->role), *b = lmf_arena_printf(arena, "%s.lora_b", part->role);
        if (!a || !b)
            return LMF_NO_MEMORY(arena->ctx, strlen(part->role), "a parameter's name");
        if (i == 0)
            add(ps, a, 2, (int64_t[]){ r, module->n_in }, true);
        else
            ps->alias[ps->n_alias++] = (lmf_param_alias){ a, i_a };
        add(ps, b, 2, (int64_t[]){ part->n, r }, true);
    }
    for (int i = 0; dora && i < module->n_parts; i++) {
        const char *m = lmf_arena_printf(arena, "%s.lora_m", module->part[i].role);
        if (!m)
            return LMF_NO_MEMORY(arena->ctx, strlen(module->part[i].role), "a parameter's name");
        add(ps, m, 1, &module->part[i].n, true); /* with decay, as transformers' Trainer has it */
    }
    return LMF_OK;
}

lmf_status lmf_params_lora(lmf_arena *arena, const lmf_model *m, int32_t r, bool dora, const char *target_modules, lmf_params *out,
                           lmf_modules *chosen)
{
    bool all = strcmp(target_modules, "all-linear") == 0;
    size_t n = (size_t)m->weights->n;
    *out = (lmf_params){ .items = lmf_arena_array(arena, 3 * n, sizeof *out->items),
                         .alias = lmf_arena_array(arena, n, sizeof *out->alias) };
    if (!out->items || !out->alias)
        return LMF_NO_MEMORY(m->ctx, 3 * n * sizeof *out->items, "the adapter's parameters");
    LMF_TRY(lmf_modules_list(arena, m, chosen));
    if (!all)
        LMF_TRY(check_targets(m->ctx, chosen, target_modules));
    int32_t n_all = chosen->n;
    chosen->n = 0;
    for (int32_t i = 0; i < n_all; i++)
        if (all || in_list(target_modules, lmf_module_name(&chosen->items[i])))
            chosen->items[chosen->n++] = chosen->items[i];
    for (int32_t i = 0; i < chosen->n; i++)
        LMF_TRY(add_module(arena, out, &chosen->items[i], r, dora));
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
            if ((tied && tied->v.data == w->v.data) || (row && (row->flags & LMF_ROW_OPTIONAL) && !strstr(w->name, "_bias")) ||
                (w->v.n_dims > 1) != decay)
                continue;
            add(out, w->name, w->v.n_dims, w->v.dim, decay);
        }
    return LMF_OK;
}

/* What DoRA begins with: B is zero, so the length is the weight's own. */
static void row_lengths(const lmf_model *m, const lmf_param *q, float *to)
{
    enum { PIECE = 4096 };
    char role[LMF_NN_NAME_BYTES];
    float x[PIECE];
    snprintf(role, sizeof role, "%.*s", (int)(strlen(q->name) - strlen(".lora_m")), q->name);
    const lmf_view *v = &lmf_weights_find(m->weights, role)->v;
    for (int64_t i = 0; i < q->count; i++) {
        double sum = 0;
        for (int64_t at = 0, k = v->dim[1]; at < k; at += PIECE) {
            int64_t n = k - at < PIECE ? k - at : PIECE;
            v->fmt->unpack((const char *)v->data + lmf_format_bytes(v->fmt, i * k + at), x, n);
            for (int64_t j = 0; j < n; j++)
                sum += (double)x[j] * (double)x[j];
        }
        to[i] = (float)sqrt(sum);
    }
}

void lmf_params_init_lora(const lmf_params *ps, const lmf_model *m, uint64_t seed, float *p)
{
    enum { STREAM_LORA = 0x10a };
    for (int i = 0; i < ps->n; i++) {
        const lmf_param *q = &ps->items[i];
        bool is_a = strcmp(q->name + strlen(q->name) - 7, ".lora_a") == 0;
        if (strcmp(q->name + strlen(q->name) - 7, ".lora_m") == 0) {
            row_lengths(m, q, p + q->offset);
            continue;
        }
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
