/* SPDX-License-Identifier: Apache-2.0 */
/* params: which tensors a trainer trains, laid out in flat arrays, and their initial values. */
#ifndef LMF_TRAIN_PARAMS_H
#define LMF_TRAIN_PARAMS_H
#include "models/model.h"
#include "nn/nn.h"

/* A pair for each LoRA target of the model that target_modules names. Refuses a name that no target has. */
lmf_status lmf_params_lora(lmf_arena *arena, const lmf_model *m, int32_t r, const char *target_modules, lmf_params *out);
/* Every weight of the model once; norms and biases without decay. */
lmf_status lmf_params_full(lmf_arena *arena, const lmf_model *m, lmf_params *out);
/* LoRA: A uniform in +-1/sqrt(n_in) (PEFT's kaiming_uniform(a = sqrt 5)), B zero. Full: the model's values. p holds n_total floats. */
void       lmf_params_init_lora(const lmf_params *ps, uint64_t seed, float *p);
void       lmf_params_init_full(const lmf_params *ps, const lmf_model *m, float *p);
/* "layers.3.attn.q" -> PEFT's "model.layers.3.self_attn.q_proj" into text. False: no LoRA target. */
bool       lmf_lora_path(const lmf_model *m, const char *role, char *text, size_t n);

#endif
