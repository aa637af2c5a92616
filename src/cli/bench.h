/* SPDX-License-Identifier: Apache-2.0 */
/* bench: what the two halves of lmfast bench share: answering (cmd_bench.c) and training (bench_train.c). */
#ifndef LMF_CLI_BENCH_H
#define LMF_CLI_BENCH_H
#include "cli/command.h"
#include "graph/plan.h"

enum { LMF_BENCH_MAX_RUNS = 100 };

typedef struct bench_args {
    const char *job, *model, *streams, *compute, *activations, *adapter, *method;
    int64_t prompts, runs, prompt_tokens, new_tokens, seed, batch_size, seq_len, steps, lora_r;
    bool recompute, profile;
} bench_args;

/* Times optimizer steps over the same rows of random tokens and prints rate, planned memory and losses: they must fall. */
lmf_status lmf__bench_train(lmf_cli *cli, const bench_args *a);
double     lmf__bench_median(const double *x, int n);     /* n up to MAX_RUNS */
json_t    *lmf__bench_list(const double *x, int n);
void       lmf__bench_profile(const lmf_profile_row *rows, int n); /* on stderr */

#endif
