/* SPDX-License-Identifier: Apache-2.0 */
/* align is train with another choice of objectives: those that learn from what was preferred. */
#include "cli/command.h"
#include "train/objective_flags.h"

extern const lmf_command lmf_command_train;

static int more_flags(lmf_arena *a, const lmf_tables *tables, lmf_flag *out, int n)
{
    if (n < 1 || lmf__objective_choice(a, tables, LMF_TAKES_PREFERENCE | LMF_TAKES_LABELLED, 0, "orpo", out) < 0)
        return -1;
    out->name = "method", out->as = "objective";
    return 1;
}

const lmf_command lmf_command_align = { "align", "learn from better and worse answers: ORPO, DPO and their family, KTO", NULL, 0, NULL,
    .like = &lmf_command_train, .more = more_flags,
    .example = "lmfast align --model SmolLM2-135M-Instruct.Q4_1.gguf --data pairs.jsonl --output aligned --method orpo --epochs 3" };
