/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: after resolving nobody can tell a relative from an architecture that wrote down all of it: tables and functions are whole. */
#include <string.h>
#include "models/model.h"

/* The relative's row of that name, or NULL. */
static const lmf_weight_row *own_weight(const lmf_arch *a, const char *role)
{
    for (const lmf_weight_row *r = a->weights; r && r->role; r++)
        if (strcmp(r->role, role) == 0)
            return r;
    return NULL;
}

static const lmf_hparam *own_hparam(const lmf_arch *a, const char *field)
{
    for (const lmf_hparam *h = a->hparams; h && h->field; h++)
        if (strcmp(h->field, field) == 0)
            return h;
    return NULL;
}

/* Rows of the base, each replaced by the relative's of that name, or left out; then those that only the relative has. */
static const lmf_weight_row *merge_weights(lmf_arena *arena, const lmf_arch *base, const lmf_arch *a)
{
    size_t n = 0, n_max = 1;
    for (const lmf_weight_row *r = base->weights; r->role; r++)
        n_max++;
    for (const lmf_weight_row *r = a->weights; r && r->role; r++)
        n_max++;
    lmf_weight_row *out = lmf_arena_array(arena, n_max, sizeof *out);
    for (const lmf_weight_row *r = base->weights; out && r->role; r++) {
        const lmf_weight_row *own = own_weight(a, r->role);
        if (!own || own->shape)
            out[n++] = own ? *own : *r;
    }
    for (const lmf_weight_row *r = a->weights; out && r && r->role; r++)
        if (!own_weight(base, r->role))
            out[n++] = *r;
    if (out)
        out[n] = (lmf_weight_row){ 0 };
    return out;
}

static const lmf_hparam *merge_hparams(lmf_arena *arena, const lmf_arch *base, const lmf_arch *a)
{
    size_t n = 0, n_max = 1;
    for (const lmf_hparam *h = base->hparams; h->field; h++)
        n_max++;
    for (const lmf_hparam *h = a->hparams; h && h->field; h++)
        n_max++;
    lmf_hparam *out = lmf_arena_array(arena, n_max, sizeof *out);
    for (const lmf_hparam *h = base->hparams; out && h->field; h++) {
        const lmf_hparam *own = own_hparam(a, h->field);
        if (!own || own->hf || own->gguf)
            out[n++] = own ? *own : *h;
    }
    for (const lmf_hparam *h = a->hparams; out && h && h->field; h++)
        if (!own_hparam(base, h->field))
            out[n++] = *h;
    if (out)
        out[n] = (lmf_hparam){ 0 };
    return out;
}

lmf_status lmf_arch_resolve(lmf_ctx *ctx, lmf_arena *arena, const lmf_arch *arch, const lmf_arch **out)
{
    const lmf_arch *base = arch->like;
    *out = arch;
    if (!base)
        return LMF_OK;
    LMF_ASSERT(!base->like); /* one step: who is like a relative is like its base */
    lmf_arch *a = lmf_arena_alloc(arena, sizeof *a);
    if (!a)
        return LMF_NO_MEMORY(ctx, sizeof *a, "an architecture");
    *a = *arch;
    a->weights = merge_weights(arena, base, arch);
    a->hparams = merge_hparams(arena, base, arch);
    if (!a->weights || !a->hparams)
        return LMF_NO_MEMORY(ctx, 0, "an architecture's tables");
    a->config_bytes = arch->config_bytes ? arch->config_bytes : base->config_bytes;
    a->harmless = arch->harmless ? arch->harmless : base->harmless;
    a->dim = arch->dim ? arch->dim : base->dim;
    a->check = arch->check ? arch->check : base->check;
    a->check_gguf = arch->check_gguf ? arch->check_gguf : base->check_gguf;
    a->state = arch->state ? arch->state : base->state;
    a->embed = arch->embed ? arch->embed : base->embed;
    a->body = arch->body ? arch->body : base->body;
    a->head = arch->head ? arch->head : base->head;
    *out = a;
    return LMF_OK;
}
