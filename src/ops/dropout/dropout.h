/* SPDX-License-Identifier: Apache-2.0 */
/* dropout: each element is zero with probability p, and else 1 / (1 - p) of itself, so that the expectation stays.
 *     y = keep ? x / (1 - p) : 0   (+ c)
 *   x     [T, K]  f32
 *   pos   [T]     i32; place of the row in its sample
 *   item  [T]     i32; number of its sample in the data
 *   noise [3]     i32; low and high half of the seed, step
 *   c     optional, [T, K] f32: what y adds to
 *   y     [T, K]  f32
 *   p      in [0, 1), the share that is zero
 *   stream numbers the layers: those with different ones draw independently
 * keep of element (t, k) depends on seed, step, stream, sample, place in the sample and k alone: not on how samples are packed, on
 * micro-batches, workers or resuming. With philox(key, low, high) of base/philox.h and its four words r[0..3]:
 *     r = philox(seed, item << 32 | pos, step << 32 | stream),   keep where (philox(r[1] << 32 | r[0], k / 4, 0)[k % 4] >> 8) 2^-24 >= p
 * Keeps nothing for backward, and its result is not kept: it is made again (LMF_OP_AGAIN). Gradient: the same of dy, onto the gradient so
 * far. One product, or one fma; error at most 2^-23 of |x| / (1 - p) + |c|. Same bits for any worker count; a row depends on itself alone.
 * Refuses LMF_E_SHAPE where T, K or c don't fit, LMF_E_DTYPE for other types.
 * Srivastava et al. 2014; PEFT's lora_dropout, before A. */
#ifndef LMF_OPS_DROPOUT_H
#define LMF_OPS_DROPOUT_H
#include "graph/graph.h"
#include "ops/dropout/dropout_draw.h"

typedef struct lmf_dropout_attrs { float p; int32_t stream; } lmf_dropout_attrs;
extern const lmf_op lmf_op_dropout;

lmf_tensor *lmf_dropout(lmf_graph *g, lmf_tensor *x, lmf_tensor *pos, lmf_tensor *item, lmf_tensor *noise, lmf_tensor *c,
                        lmf_dropout_attrs attrs);
#define lmf_dropout(g, ...) (lmf_dropout)(LMF_AT(g), __VA_ARGS__)

/* The least of (word >> 8) that is kept: ceil(p 2^24). */
static inline uint32_t lmf_dropout_bound(float p)
{
    float scaled = p * 0x1p24f;
    uint32_t whole = (uint32_t)scaled;
    return whole + ((float)whole < scaled);
}

#endif
