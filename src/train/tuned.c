/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: each weight of the model is in the tuned set under its own name, a tied one as the very bytes of the other, so that whoever writes
 * it finds them tied. */
#include <string.h>
#include "format/types.h"
#include "train/trainer_internal.h"

/* A weight that was trained, from the flat parameters p. */
static const float *trained(const lmf_trainer *t, const float *p, const char *name)
{
    for (int i = 0; i < t->params.n; i++)
        if (strcmp(t->params.items[i].name, name) == 0)
            return p + t->params.items[i].offset;
    return NULL;
}

static lmf_status fill(lmf_trainer *t, const float *p, lmf_weights *to)
{
    for (int32_t i = 0; i < t->model->weights->n; i++) {
        const lmf_weight *w = &t->model->weights->items[i];
        int layer;
        const lmf_weight_row *row = lmf_model_row(t->model, w->name, &layer);
        const lmf_weight *tied = row && row->tied ? lmf_weights_find(t->model->weights, row->tied) : NULL;
        bool same = tied && tied->v.data == w->v.data;
        const float *now = trained(t, p, same ? tied->name : w->name);
        LMF_TRY(now ? lmf_weights_add(to, w->name, LMF_F32, w->v.n_dims, w->v.dim, now, false, NULL)
                    : lmf_weights_add(to, w->name, w->v.dtype, w->v.n_dims, w->v.dim, w->v.data, w->mapped, NULL));
    }
    return LMF_OK;
}

lmf_status lmf_trainer_tuned(lmf_trainer *t, lmf_model *out)
{
    size_t bytes = (size_t)t->params.n_total * sizeof(float);
    if (!t->opts.full)
        return LMF_FAIL(t->ctx, LMF_E_ARG, "an adapter was trained, not the model: save the adapter");
    *out = *t->model;
    LMF_TRY(lmf_weights_create(t->ctx, &out->weights));
    float *p = lmf_arena_alloc(&out->weights->arena, bytes);
    lmf_status s = p ? lmf_plan_state_read(t->plan, "train.p", p, bytes) : LMF_NO_MEMORY(t->ctx, bytes, "the tuned weights");
    if (!s && !lmf_floats_are_finite(LMF_F32, p, bytes))
        s = LMF_FAIL(t->ctx, LMF_E_LIMIT,
                     "weights are not finite after step %lld, and are not saved; start again with a lower learning rate",
                     (long long)t->step);
    if (!s)
        s = fill(t, p, out->weights);
    if (s)
        lmf_trainer_tuned_clear(out);
    return s;
}

void lmf_trainer_tuned_clear(lmf_model *tuned)
{
    lmf_weights_destroy(tuned->weights);
    *tuned = (lmf_model){ 0 };
}
