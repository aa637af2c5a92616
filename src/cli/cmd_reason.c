/* SPDX-License-Identifier: Apache-2.0 */
/* reason is train with another choice of objectives: those that learn from answers that the model samples, by their rewards. */
#include "cli/command.h"
#include "config/train_config.h"
#include "train/objective_flags.h"

extern const lmf_command lmf_command_train;

static const lmf_flag flags[] = {
    { "reward", 0, LMF_FLAG_LIST, offsetof(lmf_train_config, reward), .required = true,
      .help = "what answers are worth: NAME, NAME:ARGUMENT, with =WEIGHT behind; several are added up (docs/TRAINING.md lists them)" },
    { "batch-size", 'b', LMF_FLAG_INT, offsetof(lmf_train_config, batch_size), 1, 4096, .fallback = "8", .unit = "rows",
      .help = "answers a batch" },
    { "lr", 0, LMF_FLAG_DOUBLE, offsetof(lmf_train_config, lr), 0, 10, .fallback = "1e-5", .help = "learning rate" },
    { "logging-steps", 0, LMF_FLAG_INT, offsetof(lmf_train_config, logging_steps), 1, 1e9, .fallback = "1", .unit = "steps",
      .help = "steps between lines of metrics.jsonl, and of samples.jsonl" },
    { 0 }
};

static int more_flags(lmf_arena *a, const lmf_tables *tables, lmf_flag *out, int n)
{
    if (n < 1 || lmf__objective_choice(a, tables, LMF_TAKES_PROMPT, 0, "grpo", out) < 0)
        return -1;
    out->name = "method", out->as = "objective";
    return 1;
}

const lmf_command lmf_command_reason = { "reason", "learn from sampled answers and what they are worth: GRPO, RFT", flags, 0, NULL,
    .like = &lmf_command_train, .more = more_flags,
    .example = "lmfast reason --model SmolLM2-135M-Instruct.Q4_1.gguf --data rows.jsonl --reward tool_call --output reasoned "
               "--max-completion-length 96 --max-steps 50" };
