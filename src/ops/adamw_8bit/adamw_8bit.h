/* SPDX-License-Identifier: Apache-2.0 */
/* adamw_8bit: one step of AdamW on a flat array of parameters, in place, whose moments are kept in 8 bits: a code an element
 * (quant/dynamic8.h, the table with signs for m, the other for v) and one f32 a block of 256, its greatest magnitude.
 *   p      [N]  f32, STATE: parameters
 *   m, v   [N]  i8, STATE: codes, as unsigned bytes
 *   s      [2, B]  f32, STATE: scales of m's blocks, then of v's; B = ceil(N / 256). All zero before the first step
 *   g      [N]  f32, gradient
 *   norm   [1]  f32, global norm of the gradients (grad_norm)
 *   hyper  [LMF_ADAMW_8BIT_HYPER]  f32, data: as adamw's
 * adamw's formulas on map[m] s and map[v] s, then both are coded anew: the nearest of x (1 / s), s the block's new greatest magnitude.
 * A norm that is not finite leaves everything as it is. In f32, reference too: codes are what f32 makes them. Same bits for any worker
 * count: a block is one worker's.
 * Refuses LMF_E_SHAPE where N, B or the number of values don't fit, LMF_E_DTYPE for other types.
 * Dettmers et al. 2021, arXiv 2110.02861; bitsandbytes' AdamW8bit, whose blocks begin anew with each parameter. */
#ifndef LMF_OPS_ADAMW_8BIT_H
#define LMF_OPS_ADAMW_8BIT_H
#include <math.h>
#include "graph/graph.h"
#include "quant/dynamic8.h"

enum { LMF_ADAMW_8BIT_LR, LMF_ADAMW_8BIT_BETA1, LMF_ADAMW_8BIT_BETA2, LMF_ADAMW_8BIT_EPS, LMF_ADAMW_8BIT_DECAY, LMF_ADAMW_8BIT_BIAS1,
       LMF_ADAMW_8BIT_BIAS2, LMF_ADAMW_8BIT_MAX_NORM, LMF_ADAMW_8BIT_HYPER, LMF_ADAMW_8BIT_BLOCK = 256 };
extern const lmf_op lmf_op_adamw_8bit;

/* Returns the parameters after the step. */
lmf_tensor *lmf_adamw_8bit(lmf_graph *g, lmf_tensor *p, lmf_tensor *m, lmf_tensor *v, lmf_tensor *s, lmf_tensor *grad, lmf_tensor *norm,
                           lmf_tensor *hyper);
#define lmf_adamw_8bit(g, ...) (lmf_adamw_8bit)(LMF_AT(g), __VA_ARGS__)

typedef struct lmf_maps8 { float m[256], v[256]; } lmf_maps8; /* signed, unsigned */

static inline float lmf__adamw_8bit_code(const float map[256], const float *x, int64_t n, uint8_t *code)
{
    float top = 0;
    for (int64_t i = 0; i < n; i++)
        top = fmaxf(top, fabsf(x[i]));
    float r = 1 / (top > 1e-38f ? top : 1e-38f);
    for (int64_t i = 0; i < n; i++)
        code[i] = lmf_dynamic8_code(map, x[i] * r);
    return top;
}

/* One block, n at most 256; sm, sv: its scales. */
static inline void lmf_adamw_8bit_block(const lmf_maps8 *map, const float *h, float clip, const float *g, int64_t n, float *p, uint8_t *m,
                                        uint8_t *v, float *sm, float *sv)
{
    float a[LMF_ADAMW_8BIT_BLOCK], b[LMF_ADAMW_8BIT_BLOCK], b1 = h[LMF_ADAMW_8BIT_BETA1], b2 = h[LMF_ADAMW_8BIT_BETA2];
    float rate = h[LMF_ADAMW_8BIT_LR] / h[LMF_ADAMW_8BIT_BIAS1], root = sqrtf(h[LMF_ADAMW_8BIT_BIAS2]);
    float keep = 1 - h[LMF_ADAMW_8BIT_LR] * h[LMF_ADAMW_8BIT_DECAY];
    for (int64_t i = 0; i < n; i++) {
        float x = g[i] * clip;
        a[i] = b1 * (map->m[m[i]] * *sm) + (1 - b1) * x;
        b[i] = b2 * (map->v[v[i]] * *sv) + (1 - b2) * x * x;
        p[i] = p[i] * keep - rate * a[i] / (sqrtf(b[i]) / root + h[LMF_ADAMW_8BIT_EPS]);
    }
    *sm = lmf__adamw_8bit_code(map->m, a, n, m);
    *sv = lmf__adamw_8bit_code(map->v, b, n, v);
}

#endif
