/* SPDX-License-Identifier: Apache-2.0 */
/* adapter: a LoRA adapter as PEFT stores it: a folder with adapter_config.json and adapter_model.safetensors, whose
 * keys are base_model.model.<path>.lora_A.weight [R, n_in] and .lora_B.weight [n_out, R]. The layer's output gains
 * scale * B (A x), scale = alpha / r, or alpha / sqrt(r) with use_rslora.
 *
 * DoRA (use_dora): .lora_magnitude_vector [n_out] beside each pair; the layer is then magnitude * (W + scale B A) /
 * |W + scale B A|, by rows.
 *
 * Refused with a sentence: modules_to_save, trained biases, fan_in_fan_out, adapters of embeddings, other PEFT types,
 * starts that change the base (PiSSA, OLoRA, CorDA, LoftQ), and keys of the configuration that say something and are not known.
 * Owner: the opener; strings and tensors die with close. Threads: read only after opening.
 *
 *     lmf_adapter *a;
 *     LMF_TRY(lmf_adapter_open(ctx, dir, &a));
 *     for (size_t i = 0; i < lmf_adapter_n(a); i++)
 *         use(lmf_adapter_at(a, i)->path); */
#ifndef LMF_FORMAT_ADAPTER_H
#define LMF_FORMAT_ADAPTER_H
#include "format/safetensors.h"

typedef struct lmf_adapter_config {
    int64_t     r;                   /* at least 1 */
    double      alpha, dropout;      /* finite; dropout in [0, 1) */
    bool        use_rslora, use_dora;
    const char *base_model;          /* base_model_name_or_path, or "" */
    const char *task_type;           /* "CAUSAL_LM", or "" */
    const char *const *target;       /* names of modules; NULL when target_regex says it */
    size_t      n_targets;
    const char *target_regex;        /* or NULL */
} lmf_adapter_config;

typedef struct lmf_adapter_pair {
    const char          *path;       /* "model.layers.0.self_attn.q_proj" */
    const lmf_st_tensor *a, *b;      /* [r, n_in], [n_out, r]; the same dtype: F32, F16 or BF16 */
    int64_t              r;          /* this pair's own, after rank_pattern */
    const lmf_st_tensor *m;          /* DoRA: [n_out], of a and b's dtype; else NULL */
    double               scale;      /* with this pair's alpha, after alpha_pattern */
} lmf_adapter_pair;

typedef struct lmf_adapter lmf_adapter;
lmf_status lmf_adapter_open(lmf_ctx *ctx, const char *dir, lmf_adapter **out);
void       lmf_adapter_close(lmf_adapter *a); /* NULL is fine */
const lmf_adapter_config *lmf_adapter_get_config(const lmf_adapter *a);
size_t lmf_adapter_n(const lmf_adapter *a);
const lmf_adapter_pair *lmf_adapter_at(const lmf_adapter *a, size_t i); /* by path, in byte order */

typedef struct lmf_adapter_entry {   /* a pair to write */
    const char *path;
    uint16_t    dtype;               /* F32, F16, BF16 */
    int64_t     n_in, n_out, r;
    double      alpha;               /* goes to alpha_pattern where it is not the configuration's */
    const void *a, *b;               /* packed [r, n_in] and [n_out, r] */
    const void *m;                   /* with use_dora: packed [n_out] */
} lmf_adapter_entry;
/* Makes dir if needed; writes adapter_model.safetensors, README.md (a short model card) and last
 * adapter_config.json, each whole or not at all. The same arguments give the same bytes. */
lmf_status lmf_adapter_save(lmf_ctx *ctx, const char *dir, const lmf_adapter_config *config, const lmf_adapter_entry *entry, size_t n);

#endif
