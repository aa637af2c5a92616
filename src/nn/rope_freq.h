/* SPDX-License-Identifier: Apache-2.0 */
/* rope_freq: the one home of rotary frequencies: bodies turn by them, the exporter writes llama3's stretching as GGUF's factors.
 * A pair i of n_rot dimensions turns by base^(-2i/n_rot) radians a position; long contexts turn slower:
 *   linear   all pairs by 1/factor
 *   llama3   pairs whose wave is longer than context/low by 1/factor, shorter than context/high not at all, between them in part
 * A file's own factors ("rope_factors", GGUF's rope_freqs.weight) take the place of both.
 * transformers' modeling_rope_utils.py; Dubey et al. 2024, arXiv 2407.21783. */
#ifndef LMF_NN_ROPE_FREQ_H
#define LMF_NN_ROPE_FREQ_H
#include "graph/graph.h"

typedef struct lmf_rope_spec {
    int32_t n_rot;                   /* dimensions of a head that turn, even, up to 1024 */
    float   base, factor, low, high;
    int32_t context;                 /* original context, for llama3 */
    char    type[33];                /* "", "default", "none", "linear", "llama3" */
} lmf_rope_spec;

lmf_status lmf_rope_check(lmf_ctx *ctx, const lmf_rope_spec *r);
double lmf_rope_frequency(const lmf_rope_spec *r, int64_t i);  /* radians a position */
double lmf_rope_divisor(const lmf_rope_spec *r, int64_t i);    /* llama3: what the pair's plain frequency is divided by */
/* [n_rot / 2] f32 as a constant of that name, by the model's own factors where it has some. */
lmf_tensor *lmf_nn_rope_freq(lmf_graph *g, const lmf_rope_spec *r, const char *name);

#endif
