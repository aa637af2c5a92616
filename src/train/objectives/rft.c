/* SPDX-License-Identifier: Apache-2.0 */
/* rft: rejection sampling fine-tuning (Yuan et al. 2023, arXiv 2308.01825): of several answers to a prompt, sampled by the model itself,
 * those that are good enough are learned as rows are in sft, an answer that came twice once. accept best is RAFT (Dong et al. 2023,
 * arXiv 2304.06767). */
#include "train/objectives/sampled.h"
#include "train/objectives/sft.h"

typedef struct rft_opts { lmf_sampled_opts s; float threshold; int32_t accept; } rft_opts;
enum { ALL, BEST };
static const lmf_objective_option options[] = {
    LMF_SAMPLED_OPTIONS(rft_opts, "8", "of sampling"),
    { "reward-threshold", LMF_FIELD_F32, offsetof(rft_opts, threshold), "", -1e6, 1e6, "1",
      "answers with at least this reward are learned" },
    { "accept", LMF_FIELD_I32, offsetof(rft_opts, accept), "", 0, 0, "all",
      "of the answers to a prompt that reach --reward-threshold: all that differ, or the one with most reward", "all|best" },
    LMF_SAMPLED_ITERATIONS(rft_opts),
    LMF_SAMPLED_MASK(rft_opts, "true", "on by default: answers that did not end by themselves are not learned; --no-... takes them"), { 0 }
};

static void sampling(const void *opts, lmf_sampling *out)
{
    const rft_opts *o = opts;
    *out = lmf__sampled_of(&o->s);
    out->accept = true, out->threshold = o->threshold, out->best = o->accept == BEST;
}

const lmf_objective lmf_objective_rft = { .name = "rft",
    .summary = "answers that the model samples itself and that are good enough, as rows", .group_size = 1,
    .takes = LMF_TAKES_PROMPT, .sampling = sampling, .options = options, .opts_bytes = sizeof(rft_opts),
    .inputs = lmf__sft_inputs, .loss = lmf__sft_loss, .score = lmf__sft_score };
