/* SPDX-License-Identifier: Apache-2.0 */
/* Names of transformers' TrainingArguments, TRL, LLaMA-Factory and Unsloth that no other table has. */
#include "config/dialect.h"

static const lmf_dialect_row rows[] = {
    { "model_name_or_path", .field = "model" },
    { "dataset_name", .field = "data" },
    { "eval_dataset", .field = "eval-data" },
    { "val_size", .field = "val-set-size" },
    { "per_device_train_batch_size", .field = "batch-size" },
    { "per_device_eval_batch_size", .ignore = "*" },
    { "num_train_epochs", .field = "epochs" },
    { "max_length", .field = "seq-len" },
    { "cutoff_len", .field = "seq-len" },
    { "packing", .ignore = "*" },
    { "finetuning_type", .field = "method", .map = "lora=lora|full=full", .why = "lora and full are there" },
    { "stage", .field = "objective", .map = "sft=sft|dpo=dpo" },
    { "do_train", .ignore = "true", .why = "lmfast train trains" },
    { "lora_rank", .field = "lora-r" },
    { "lora_target", .field = "target-modules", .map = "all=all-linear|*=*", .join = ',' },
    { "use_rslora", .field = "rslora" },
    { "use_dora", .field = "use-dora" },
    { "r", .field = "lora-r" },
    { "quantization_bit", .field = "load-in-4bit", .map = "4=true", .why = "4 is there" },
    { "bnb_4bit_quant_type", .ignore = "nf4", .why = "load_in_4bit is nf4" },
    { "bnb_4bit_use_double_quant", .ignore = "true", .why = "load_in_4bit has double quantization" },
    { "bnb_4bit_compute_dtype", .ignore = "*" },
    { "lora.alpha", .field = "lora-alpha" },
    { "lora.dropout", .field = "lora-dropout" },
    { "target_modules", .field = "target-modules", .join = ',' },
    { "overwrite_output_dir", .field = "overwrite" },
    { "overwrite_cache", .ignore = "*" },
    { "report_to", .ignore = "*", .join = ',' },
    { "plot_loss", .ignore = "*" },
    { "preprocessing_num_workers", .ignore = "*" },
    { "remove_unused_columns", .ignore = "*" },
    { "group_by_length", .ignore = "false", .why = "rows are shuffled; packing saves the padding" },
    { "assistant_only_loss", .ignore = "true", .why = "answers of the assistant are learned" },
    { "completion_only_loss", .ignore = "true", .why = "of prompt and completion the completion is learned" },
    { "train_on_completions", .ignore = "true", .why = "answers of the assistant are learned" },
    { "random_state", .field = "seed" },
    { 0 }
};

const lmf_dialect lmf_dialect_hf = { "hf", rows };
