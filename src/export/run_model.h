/* SPDX-License-Identifier: Apache-2.0 */
/* run_model: what a training run of all weights writes at its end (train/run.h, write_model): a Hugging Face folder, opened again and
 * compared. An export that lies there already is replaced. */
#ifndef LMF_EXPORT_RUN_MODEL_H
#define LMF_EXPORT_RUN_MODEL_H
#include "models/model.h"

/* type: "f32", "bf16", "f16". */
lmf_status lmf_export_run_model(lmf_ctx *ctx, const lmf_model *tuned, const char *dir, const char *type);

#endif
