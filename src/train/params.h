/* SPDX-License-Identifier: Apache-2.0 */
/* params: which tensors a trainer trains, laid out in flat arrays, and their initial values. */
#ifndef LMF_TRAIN_PARAMS_H
#define LMF_TRAIN_PARAMS_H
#include "models/adapter.h"
#include "nn/nn.h"

/* A pair for each module that target_modules names ("q_proj,v_proj", or "all-linear"), which go to chosen. Their
 * parameters stand in that order: A, under the role of the module's first part and with an alias for the others, then the rows of B of each
 * part, so that B lies whole; of DoRA then the magnitudes of each part. Refuses a name that no module has. */
lmf_status lmf_params_lora(lmf_arena *arena, const lmf_model *m, int32_t r, bool dora, const char *target_modules, lmf_params *out,
                           lmf_modules *chosen);
/* Every weight of the model once; norms and biases without decay. */
lmf_status lmf_params_full(lmf_arena *arena, const lmf_model *m, lmf_params *out);
/* LoRA: A uniform in +-1/sqrt(n_in) (PEFT's kaiming_uniform(a = sqrt 5)), B zero; magnitudes: lengths of the model's rows. Full: the
 * model's values. p holds n_total floats. */
void       lmf_params_init_lora(const lmf_params *ps, const lmf_model *m, uint64_t seed, float *p);
void       lmf_params_init_full(const lmf_params *ps, const lmf_model *m, float *p);

#endif
