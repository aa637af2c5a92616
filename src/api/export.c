/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "api/api.h"
#include "export/export.h"

void lmfast_export_opts_init(lmfast_export_opts *opts, size_t bytes)
{
    lmfast_export_opts o = { .struct_bytes = sizeof o, .quant = "copy" };
    lmf__api_init(opts, bytes, &o, sizeof o);
}

lmfast_status lmfast_export(lmfast_model *model, const char *path, const lmfast_export_opts *opts, lmfast_export_report *report)
{
    lmfast_export_opts o = lmfast_export_opts_default();
    lmf_export_report r;
    if (!model)
        return LMFAST_E_ARG;
    lmf_ctx *ctx = model->c->ctx;
    LMF_TRY(lmf__api_enter(model->c));
    LMF_TRY(lmf__api_take(ctx, "lmfast_export_opts", &o, opts, sizeof o));
    if (!path || !*path)
        return LMF_FAIL(ctx, LMF_E_ARG, "no path to write to was given");
    if (o.format != LMFAST_EXPORT_GGUF && o.format != LMFAST_EXPORT_HF)
        return LMF_FAIL(ctx, LMF_E_ARG, "format is %d; allowed are LMFAST_EXPORT_GGUF and LMFAST_EXPORT_HF", (int)o.format);
    lmf_export_opts eo = lmf_export_opts_default();
    eo.format = o.format == LMFAST_EXPORT_HF ? LMF_EXPORT_HF : LMF_EXPORT_GGUF;
    eo.adapter = o.adapter, eo.quant = o.quant ? o.quant : "copy", eo.overwrite = o.overwrite, eo.skip_verify = o.skip_verify;
    eo.progress = o.progress, eo.user = o.user;
    pthread_mutex_lock(&model->c->build);
    lmf_status s = lmf_export(ctx, model->m, path, &eo, &r);
    pthread_mutex_unlock(&model->c->build);
    LMF_TRY(s);
    lmfast_export_report out = { .n_tensors = r.n_tensors, .n_fallback = r.n_fallback, .n_bytes = r.n_bytes, .verified = r.verified,
        .max_dlogit = r.max_dlogit, .mean_kl = r.mean_kl, .same_top = r.same_top, .max_error = r.max_error };
    _Static_assert(sizeof out.notes == sizeof r.notes && sizeof out.losses == sizeof r.losses, "sentences of a report");
    memcpy(out.notes, r.notes, sizeof out.notes);
    memcpy(out.losses, r.losses, sizeof out.losses);
    return report ? lmf__api_give(ctx, "lmfast_export_report", report, &out, sizeof out) : LMFAST_OK;
}
