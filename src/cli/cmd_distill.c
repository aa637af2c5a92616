/* SPDX-License-Identifier: Apache-2.0 */
/* distill is train for the objective of that name: a small model learns what a larger one thinks of each next token. */
#include "cli/command.h"
#include "config/train_config.h"

extern const lmf_command lmf_command_train;

static const lmf_flag flags[] = {
    { "teacher", 0, LMF_FLAG_STRING, offsetof(lmf_train_config, teacher), .hub = LMF_HUB_MODEL,
      .help = "the model to learn from: file, folder or org/name of the hub with the student's vocabulary, of any size and family" },
    { "student", 0, LMF_FLAG_STRING, offsetof(lmf_train_config, model), .required = true, .as = "model", .hub = LMF_HUB_MODEL,
      .help = "the model that learns: GGUF file, Hugging Face folder, or org/name of the hub" },
    { "objective", 0, LMF_FLAG_CHOICE, offsetof(lmf_train_config, objective), .fallback = "distill", .choices = "distill",
      .help = "what is trained for; lmfast train has others" },
    { 0 }
};

const lmf_command lmf_command_distill = { "distill", "learn from a larger model: its probabilities of each next token", flags,
    sizeof(lmf_train_config), NULL, .like = &lmf_command_train,
    .example = "lmfast distill --teacher SmolLM2-360M-Instruct.gguf --student SmolLM2-135M-Instruct.Q4_1.gguf --data rows.jsonl" };
