/* SPDX-License-Identifier: Apache-2.0 */
/* lora: a PEFT adapter folder as the tensors that a model's graph wants beside its own: "<role>.lora_a" [R, K] and
 * "<role>.lora_b" [N, R], f32, B times the adapter's scale; R is the largest rank of its pairs, smaller ones end in zeros. So the
 * adapted weight is W + B A. Of DoRA "<role>.lora_m" [N] too: each row of that has this length.
 * Owner: open/close. Threads: read only after opening.
 *
 *     lmf_lora lora;
 *     LMF_TRY(lmf_lora_open(ctx, model, "my_adapter", &lora));
 *     lmf_nn nn = { .weights = model->weights, .adapters = lora.set, .n_slots = 1, .slot_rank = lora.rank }; */
#ifndef LMF_EVAL_LORA_H
#define LMF_EVAL_LORA_H
#include "format/adapter.h"
#include "models/model.h"

typedef struct lmf_lora { lmf_weights *set; int32_t rank; int64_t n_pairs; bool dora; } lmf_lora;

/* LMF_E_SHAPE, LMF_E_NOT_FOUND: the adapter is of another base; the sentence names the first layer that does not fit. */
lmf_status lmf_lora_open(lmf_ctx *ctx, const lmf_model *model, const char *dir, lmf_lora *out);
void       lmf_lora_close(lmf_lora *lora); /* a zeroed one is fine */
/* A, B and DoRA's lengths or NULL of a role ("layers.0.attn.q"), or false: the adapter leaves it alone. */
bool       lmf_lora_find(const lmf_lora *lora, const char *role, const lmf_weight **a, const lmf_weight **b, const lmf_weight **m);

#endif
