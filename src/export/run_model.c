/* SPDX-License-Identifier: Apache-2.0 */
#include "export/run_model.h"
#include "export/export.h"

lmf_status lmf_export_run_model(lmf_ctx *ctx, const lmf_model *tuned, const char *dir, const char *type)
{
    lmf_export_report report;
    lmf_export_opts o = lmf_export_opts_default();
    o.format = LMF_EXPORT_HF;
    o.quant = type;
    o.overwrite = true;
    return lmf_export(ctx, tuned, dir, &o, &report);
}
