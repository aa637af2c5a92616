/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run_4bit.h"
#include <string.h>
#include "base/cpu.h"
#include "train/run_folder.h"

/* Bytes of the matrices that could be made smaller. */
static uint64_t float_bytes(const lmf_model *m)
{
    uint64_t n = 0;
    int layer;
    for (int32_t i = 0; i < m->weights->n; i++) {
        const lmf_view *v = &m->weights->items[i].v;
        if (v->n_dims == 2 && (v->fmt->flags & LMF_FORMAT_FLOAT) && lmf_model_row(m, m->weights->items[i].name, &layer) && layer >= 0)
            n += lmf_format_bytes(v->fmt, lmf_view_count(v));
    }
    return n;
}

/* The model where it lies and all that the run asks for, by a plan that is thrown away. */
static lmf_status planned_bytes(lmf_ctx *ctx, lmf_model *m, const char *device, const lmf_samples *samples, lmf_train_opts o, uint64_t *out)
{
    lmf_trainer *t;
    o.plan_only = true;
    LMF_TRY(lmf_trainer_create(ctx, device, m, samples, &o, &t));
    *out = (uint64_t)lmf_trainer_memory(t)->mapped + (uint64_t)lmf_trainer_bytes(t);
    lmf_trainer_destroy(t);
    return LMF_OK;
}

static lmf_status convert(lmf_ctx *ctx, lmf_train_config *c, lmf_model *m, bool asked, const lmf_run_listener *l)
{
    lmf_in_4bit sum;
    LMF_TRY(lmf_model_to_4bit(m, &sum));
    if (!sum.n_params && !asked)
        return LMF_OK;
    if (!sum.n_params && sum.n_quantized)
        return LMF_FAIL(ctx, LMF_E_ARG, "--load-in-4bit true: the weights of %s are quantized already, and are trained on as they are",
            c->model);
    if (!sum.n_params)
        return LMF_FAIL(ctx, LMF_E_ARG, "--load-in-4bit true: no matrix of %s has rows of a multiple of 64", c->model);
    c->load_in_4bit = "true";
    lmf__run_tell(l, false, "the base is kept in NF4, %.1f MB instead of %.1f%s; %lld matrices stay as they are", (double)sum.bytes / 1e6,
                  (double)sum.bytes_before / 1e6, asked ? "" : ", since model and plan would take more than half of the memory",
                      (long long)sum.n_left);
    return LMF_OK;
}

lmf_status lmf__run_4bit(lmf_ctx *ctx, lmf_train_config *c, lmf_model *m, bool shared, const char *device, const lmf_samples *samples,
                         const lmf_train_opts *o, const lmf_run_listener *l)
{
    bool asked = !strcmp(c->load_in_4bit, "true"), gpu = !strncmp(device, "cuda", 4);
    uint64_t memory = lmf_memory_limit(), floats = float_bytes(m), all = 0;
    if (!strcmp(c->load_in_4bit, "false"))
        return LMF_OK;
    if (asked && o->full)
        return LMF_FAIL(ctx, LMF_E_ARG, "--load-in-4bit true with --method full: what is trained can't be in 4 bits; take --method lora");
    if (asked && gpu)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "--load-in-4bit true: %s has no kernels for NF4; train on the CPU, or with false", device);
    if (asked && shared)
        return LMF_FAIL(ctx, LMF_E_ARG, "load_in_4bit: the model is open already, and stays as it is; name it by its path");
    if (asked)
        return convert(ctx, c, m, true, l);
    c->load_in_4bit = "false";
    if (o->full || gpu || shared || floats < memory / 32)
        return LMF_OK;
    LMF_TRY(planned_bytes(ctx, m, device, samples, *o, &all));
    if (lmf__run_wants_4bit(floats, all, memory))
        return convert(ctx, c, m, false, l);
    lmf__run_tell(l, false, "the base stays as it is: with its plan it takes %.1f of %.1f GB; --load-in-4bit true would keep it in 4 bits",
                  (double)all / 1e9, (double)memory / 1e9);
    return LMF_OK;
}
