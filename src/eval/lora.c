/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/lora.h"
#include <stdio.h>
#include "models/adapter.h"

enum { NAME_BYTES = 256 };

static lmf_status add_part(lmf_ctx *ctx, const lmf_module *module, const lmf_module_part *part, const lmf_adapter_pair *pair, lmf_lora *out)
{
    char name[NAME_BYTES + 8];
    lmf_weight *a, *b, *m;
    snprintf(name, sizeof name, "%s.lora_a", part->role);
    LMF_TRY(lmf_weights_add(out->set, name, LMF_F32, 2, (int64_t[]){ out->rank, module->n_in }, NULL, false, &a));
    float *to = a->v.data;
    snprintf(name, sizeof name, "%s.lora_b", part->role);
    LMF_TRY(lmf_weights_add(out->set, name, LMF_F32, 2, (int64_t[]){ part->n, out->rank }, NULL, false, &b));
    lmf_pair_read(ctx, pair, part, pair->scale, to, b->v.data, out->rank);
    if (!pair->m)
        return LMF_OK;
    const lmf_format *f = lmf_format_get(ctx, pair->m->dtype);
    snprintf(name, sizeof name, "%s.lora_m", part->role);
    LMF_TRY(lmf_weights_add(out->set, name, LMF_F32, 1, &part->n, NULL, false, &m));
    f->unpack((const char *)pair->m->data + lmf_format_bytes(f, part->first), m->v.data, part->n);
    return LMF_OK;
}

lmf_status lmf_lora_open(lmf_ctx *ctx, const lmf_model *m, const char *dir, lmf_lora *out)
{
    lmf_model_adapter a;
    *out = (lmf_lora){ 0 };
    LMF_TRY(lmf_model_adapter_open(ctx, m, dir, &a));
    out->rank = (int32_t)a.rank;
    lmf_status s = lmf_weights_create(ctx, &out->set);
    for (int32_t i = 0; i < a.modules.n && !s; i++)
        for (int k = 0; a.pair[i] && k < a.modules.items[i].n_parts && !s; k++)
            s = add_part(ctx, &a.modules.items[i], &a.modules.items[i].part[k], a.pair[i], out);
    out->dora = lmf_adapter_get_config(a.file)->use_dora;
    out->n_pairs = (int64_t)lmf_adapter_n(a.file);
    lmf_model_adapter_close(&a);
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

bool lmf_lora_find(const lmf_lora *lora, const char *role, const lmf_weight **a, const lmf_weight **b, const lmf_weight **m)
{
    char name[NAME_BYTES + 8];
    snprintf(name, sizeof name, "%s.lora_a", role);
    *a = lora && lora->set ? lmf_weights_find(lora->set, name) : NULL;
    snprintf(name, sizeof name, "%s.lora_b", role);
    *b = *a ? lmf_weights_find(lora->set, name) : NULL;
    snprintf(name, sizeof name, "%s.lora_m", role);
    *m = *a ? lmf_weights_find(lora->set, name) : NULL;
    return *b != NULL;
}
