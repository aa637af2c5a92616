/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of SLMConfig and TrainingConfig in the Python package of this name, 0.3. Those that other dialects have stand there. */
#include "config/dialect.h"

#define WEIGHTS_AS_THEY_ARE "weights are trained on as the file has them"

static const lmf_dialect_row rows[] = {
    { "model_name", .field = "model" },
    { "revision", .ignore = "main", .why = "name the folder of that revision" },
    { "max_seq_length", .field = "seq-len" },
    { "dtype", .ignore = "float16|bfloat16|float32|auto", .why = WEIGHTS_AS_THEY_ARE },
    { "use_gradient_checkpointing", .field = "recompute" },
    { "use_flash_attention", .ignore = "*" },
    { "use_unsloth", .ignore = "*" },
    { "lr_scheduler_type", .field = "scheduler",
      .map = "cosine=cosine|linear=linear|constant=constant|constant_with_warmup=constant|wsd=wsd|warmup_stable_decay=wsd" },
    { "optim", .field = "optimizer", .map = "adamw_torch=adamw|adamw_torch_fused=adamw|adamw_hf=adamw|adamw_8bit=adamw_8bit|"
      "adamw_bnb_8bit=adamw_8bit|sgd=sgd", .why = "adamw, adamw_8bit and sgd are there" },
    { "text_field", .ignore = "text", .why = "rows of plain text have the key text" },
    { 0 }
};

const lmf_dialect lmf_dialect_wrapper = { "wrapper", rows };
