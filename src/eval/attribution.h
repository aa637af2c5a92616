/* SPDX-License-Identifier: Apache-2.0 */
/* attribution: which tokens of a text a model looked at for the one that it predicts next. The body is run once over all tokens without a
 * cache; queries and keys of each layer are kept, rotated and normed as its attention takes them, and any head's map is made of
 * them when it is asked for. No map is kept.
 *
 *     lmf_attribution_opts o = { .id = ids, .n = n, .layer = -1, .max_bytes = LMF_POWER2(30) };
 *     LMF_TRY(lmf_attribution_create(ctx, model, &o, &a));        // plans, and refuses what is too much
 *     LMF_TRY(lmf_attribution_run(a));
 *     LMF_TRY(lmf_attribution_map(a, 0, 3, map));                 // [n, n]: row t is what token t looked at
 *
 * All products are f32, softmax is f64. Owner: borrows model, adapter and ids, which must outlive it. Threads: one. */
#ifndef LMF_EVAL_ATTRIBUTION_H
#define LMF_EVAL_ATTRIBUTION_H
#include "eval/lora.h"
#include "graph/plan.h"

typedef struct lmf_attribution lmf_attribution;
typedef struct lmf_attribution_opts {
    const char     *device;      /* NULL: "cpu" */
    const lmf_lora *lora;        /* or NULL */
    const int32_t  *id;          /* [n] */
    int32_t         n;
    int32_t         layer;       /* the one whose maps are wanted; -1: all, and then rollout is possible */
    size_t          max_bytes;   /* LMF_E_LIMIT where more would be asked for */
} lmf_attribution_opts;
/* A layer that attends. window: tokens that a row looks back at, itself included; 0: all. */
typedef struct lmf_attribution_layer { int32_t layer, n_heads, n_kv_heads, window; } lmf_attribution_layer;

/* LMF_E_UNSUPPORTED: the model attends in a way that is not understood here, by the name of what it is; LMF_E_NOT_FOUND: no such layer. */
lmf_status lmf_attribution_create(lmf_ctx *ctx, const lmf_model *model, const lmf_attribution_opts *opts, lmf_attribution **out);
void       lmf_attribution_destroy(lmf_attribution *a);                        /* NULL is fine */
size_t     lmf_attribution_bytes(const lmf_attribution *a);                    /* asked for beyond the model itself */
lmf_status lmf_attribution_run(lmf_attribution *a);
/* ---- after the run ---- */
const float *lmf_attribution_logits(const lmf_attribution *a);                 /* [V], behind the last token */
int          lmf_attribution_n_layers(const lmf_attribution *a);               /* that have maps */
lmf_attribution_layer lmf_attribution_layer_at(const lmf_attribution *a, int i);
/* softmax of scale q k, capped where the model caps scores, [n, n] with zeros where a row does not look. */
lmf_status lmf_attribution_map(lmf_attribution *a, int i_layer, int head, float *map);
/* The mean of a layer's heads, [n, n]. */
lmf_status lmf_attribution_mean(lmf_attribution *a, int i_layer, double *mean);
/* Attention rollout, [n, n]: the product over all layers, the last leftmost, of (mean of the heads + 1) / 2 with rows of sum 1.
 * Abnar and Zuidema 2020, arXiv 2005.00928. LMF_E_ARG: one layer alone was asked for. */
lmf_status lmf_attribution_rollout(lmf_attribution *a, double *rollout);

#endif
